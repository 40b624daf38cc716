//! Shims that outlive their containers: one whose agent died in the middle of a start may be known to nobody.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::base::errors::Errors;

use super::{mounts::unmount_below, removal::remove_tree};

/// How often, and how long apart, a shim that was told to end is looked for.
const LOOKS: (u32, Duration) = (50, Duration::from_millis(20));

/// One shim.
#[derive(Debug)]
struct Shim {
    /// Its process.
    pid: Pid,
    /// The bundle of its first container, when that is still there.
    bundle: Option<PathBuf>,
}

/// Ends every shim of a namespace whose first container is one of `ids`. Their containers must be gone already.
pub fn end(namespace: &str, ids: &BTreeSet<String>) -> Result<(), Errors> {
    let mut errors = Errors::default();
    for shim in find(namespace, ids) {
        end_one(&shim);
        if let Some(bundle) = &shim.bundle {
            unmount_below(bundle, &mut errors);
            errors.note("remove the bundle of a shim", remove_tree(bundle));
        }
    }
    errors.into_result()
}

/// Asks a shim to end, then makes it.
fn end_one(shim: &Shim) {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        for _ in 0..LOOKS.0 {
            if kill(shim.pid, signal).is_err() {
                return;
            }
            thread::sleep(LOOKS.1);
        }
    }
}

/// The shims of these containers.
fn find(namespace: &str, ids: &BTreeSet<String>) -> Vec<Shim> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let shim = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok().map(Pid::from_raw)?;
        let words = fs::read(entry.path().join("cmdline")).ok()?;
        let words: Vec<&str> =
            words.split(|byte| *byte == 0).filter_map(|word| str::from_utf8(word).ok()).collect();
        let value = |flag| words.iter().skip_while(|word| **word != flag).nth(1).copied();
        let ours = words.first().is_some_and(|program| program.contains("containerd-shim"))
            && value("-namespace") == Some(namespace)
            && value("-id").is_some_and(|id| ids.contains(id));
        ours.then(|| Shim { pid, bundle: bundle(&entry.path()) })
    };
    processes.filter_map(shim).collect()
}

/// A shim works in the bundle of its first container.
fn bundle(process: &Path) -> Option<PathBuf> {
    fs::read_link(process.join("cwd")).ok().filter(|path| path.is_dir() && path.parent().is_some())
}
