//! A directory of files that changes as a whole, by the kubelet's layout.
//!
//! ```text
//! ..2026_01_31_12_00_00.123456789/   the files
//! ..data -> ..2026_…                 renamed over, so that every reader sees one version
//! key -> ..data/key                  one for each first part of a path
//! ```
//!
//! Guarantees: whatever line the writer dies at, readers see the old files or the new ones, and the next write puts
//! away what is left. Assumption: one writer at a time; see `payload_volume`.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::base::{keyed::distinct, time};
use crate::pod::payload::Payload;

/// The link that is renamed over.
const DATA: &str = "..data";
/// The same before it is.
const FRESH_DATA: &str = "..data_new";
/// What our own names begin with, and no file of a payload.
const OURS: &str = "..";

/// Whether something was ever written here.
pub fn is_written(root: &Path) -> bool {
    root.join(DATA).is_symlink()
}

/// Makes a directory show exactly these files; `true` when that was a change. `finish` sees the new files before
/// anybody else does.
pub fn write(
    root: &Path,
    payload: &Payload,
    finish: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<bool> {
    let old = fs::read_link(root.join(DATA)).ok();
    let current = old.filter(|name| holds(&root.join(name), payload));
    let changed = current.is_none();
    let current = if let Some(current) = current {
        current
    } else {
        let fresh = make_dir(root)?;
        fill(&root.join(&fresh), payload)?;
        finish(&root.join(&fresh))?;
        swap(root, &fresh)?;
        fresh
    };
    let visible: BTreeSet<&str> =
        distinct(payload.keys().filter_map(|path| path.split('/').next()));
    link(root, &visible)?;
    sweep(root, &visible, &current)?;
    Ok(changed)
}

/// Whether a directory holds exactly these files. One that cannot be read does not.
fn holds(dir: &Path, payload: &Payload) -> bool {
    let Ok(found) = files_below(dir) else {
        return false;
    };
    let wanted: BTreeSet<PathBuf> = distinct(payload.keys().map(PathBuf::from));
    found == wanted
        && payload.iter().all(|(path, file)| {
            let path = dir.join(path);
            let same_size =
                fs::metadata(&path).is_ok_and(|found| found.len() == file.bytes.len() as u64);
            same_size && fs::read(&path).is_ok_and(|bytes| bytes == file.bytes)
        })
}

/// The files below a directory, relative to it.
fn files_below(dir: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(part) = waiting.pop() {
        for entry in fs::read_dir(dir.join(&part))? {
            let entry = entry?;
            let path = part.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                waiting.push(path);
            } else {
                files.insert(path);
            }
        }
    }
    Ok(files)
}

/// Makes a directory for a new version and returns its name, which tells the time.
fn make_dir(root: &Path) -> io::Result<PathBuf> {
    let now = time::now().wall;
    let mut nanos = now.subsec_nanosecond();
    loop {
        let name = PathBuf::from(format!("{}.{nanos:09}", now.strftime("..%Y_%m_%d_%H_%M_%S")));
        match DirBuilder::new().mode(0o755).create(root.join(&name)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => nanos += 1,
            made => return made.map(|()| name),
        }
    }
}

/// Writes the files of a new version.
fn fill(dir: &Path, payload: &Payload) -> io::Result<()> {
    // The umask has no say in these modes.
    let open_dir = |path: &Path| fs::set_permissions(path, Permissions::from_mode(0o755));
    open_dir(dir)?;
    for (path, file) in payload {
        let path = dir.join(path);
        let above = path.ancestors().skip(1).take_while(|above| *above != dir);
        let missing: Vec<&Path> = above.take_while(|above| !above.exists()).collect();
        for part in missing.into_iter().rev() {
            fs::create_dir(part)?;
            open_dir(part)?;
        }
        let mut to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        to.write_all(&file.bytes)?;
        to.set_permissions(Permissions::from_mode(file.mode))?;
    }
    Ok(())
}

/// Lets readers see a new version.
fn swap(root: &Path, name: &Path) -> io::Result<()> {
    let fresh = root.join(FRESH_DATA);
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(name, &fresh)?;
    fs::rename(fresh, root.join(DATA))
}

/// Makes the links that are missing. Where something else stands, a mount point for another volume, it stays.
fn link(root: &Path, visible: &BTreeSet<&str>) -> io::Result<()> {
    for name in visible {
        let path = root.join(name);
        if fs::symlink_metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            symlink(Path::new(DATA).join(name), path)?;
        }
    }
    Ok(())
}

/// Puts away the links of files that are no more, and every version but the current one.
fn sweep(root: &Path, visible: &BTreeSet<&str>, current: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        let text = name.to_string_lossy();
        if text.starts_with(OURS) {
            if text == DATA || name == current.as_os_str() {
                continue;
            }
            if kind.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        } else if kind.is_symlink() && !visible.contains(&*text) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
