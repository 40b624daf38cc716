//! What a pod's containers share on this host: an IPC namespace, `/dev/shm`, and three files of `/etc`.
//!
//! There is no pause process. The namespace is pinned by a bind mount and outlives the agent; `/dev/shm` is a
//! tmpfs; all of it lies in one directory below `/run`, so a reboot wipes it and [`intact`] says so. Each
//! step looks first whether it was done, so a sandbox that was left half-made is finished by making it again.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{io, thread};

use k8s_openapi::api::core::v1::PodSpec;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statfs::{NSFS_MAGIC, statfs};

use crate::base::errors::Errors;
use crate::pod::dns::resolv_conf;
use crate::pod::holder::shares_processes;
use crate::pod::sandbox::SandboxFacts;

use super::removal::remove_tree;

/// The host's own shared memory, for pods that share its IPC.
const HOST_SHM: &str = "/dev/shm";

/// What a sandbox is made from.
#[derive(Clone, Copy, Debug)]
pub struct SandboxPlan<'a> {
    /// The pod.
    pub spec: &'a PodSpec,
    /// The pod's own directory below `/run`.
    pub run_dir: &'a Path,
    /// The host's name, which a pod on the host's network bears too.
    pub node_hostname: &'a str,
    /// The directory of the host's `hosts` and `resolv.conf`: `/etc`.
    pub host_etc: &'a Path,
}

/// Why a sandbox could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The pod wants a network of its own.
    #[error(
        "network is not ready: this agent runs pods with hostNetwork: true only; the pod's own \
         network needs CNI"
    )]
    NetworkNotReady,
    /// The kernel or the file system refused.
    #[error("{step} {path}")]
    Step {
        /// What was tried.
        step: &'static str,
        /// On which path.
        path: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// The names in a sandbox's directory.
struct Layout {
    /// The pinned IPC namespace.
    ipc: PathBuf,
    /// The shared memory.
    shm: PathBuf,
    /// `/etc/hosts`.
    hosts: PathBuf,
    /// `/etc/hostname`.
    hostname: PathBuf,
    /// `/etc/resolv.conf`.
    resolv_conf: PathBuf,
}

impl Layout {
    /// The names below a run directory.
    fn of(run_dir: &Path) -> Self {
        Self {
            ipc: run_dir.join("ipc"),
            shm: run_dir.join("shm"),
            hosts: run_dir.join("hosts"),
            hostname: run_dir.join("hostname"),
            resolv_conf: run_dir.join("resolv.conf"),
        }
    }
}

/// Makes the sandbox, or what is missing of it. Files that differ from what the host says now are replaced:
/// containers that run keep the ones that they have.
pub fn create(plan: &SandboxPlan<'_>) -> Result<SandboxFacts, SandboxError> {
    if plan.spec.host_network != Some(true) {
        return Err(SandboxError::NetworkNotReady);
    }
    let layout = Layout::of(plan.run_dir);
    let made = DirBuilder::new().recursive(true).mode(0o755).create(plan.run_dir);
    step("create directory", plan.run_dir, made)?;
    write_files(plan, &layout)?;
    let host_ipc = plan.spec.host_ipc == Some(true);
    if !host_ipc {
        step("pin an IPC namespace on", &layout.ipc, pin_ipc(&layout.ipc))?;
        step("mount shared memory on", &layout.shm, mount_shm(&layout.shm))?;
    }
    Ok(SandboxFacts {
        ipc: (!host_ipc).then_some(layout.ipc),
        pid: None,
        shm: if host_ipc { HOST_SHM.into() } else { layout.shm },
        hosts: layout.hosts,
        hostname_file: layout.hostname,
        resolv_conf: layout.resolv_conf,
        hostname: plan.node_hostname.to_owned(),
    })
}

/// Whether all of a pod's sandbox is there. After a reboot, or when somebody wiped `/run`, it is not.
pub fn intact(run_dir: &Path, spec: &PodSpec) -> bool {
    let layout = Layout::of(run_dir);
    let files = [&layout.hosts, &layout.hostname, &layout.resolv_conf];
    files.iter().all(|path| path.is_file())
        && (!shares_processes(spec) || processes_held(run_dir))
        && (spec.host_ipc == Some(true) || (is_pin(&layout.ipc) && is_mounted(&layout.shm)))
}

/// Where the process namespace of a pod's containers is pinned.
pub fn processes_pin(run_dir: &Path) -> PathBuf {
    run_dir.join("pid")
}

/// Whether the pod's process namespace is pinned and its first process lives: without it nothing starts in there.
pub fn processes_held(run_dir: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    let pin = processes_pin(run_dir);
    let holder = fs::read_to_string(holder_file(run_dir)).unwrap_or_default();
    let its = identity(Path::new(&format!("/proc/{}/ns/pid", holder.trim())));
    is_pin(&pin) && its.is_some() && identity(&pin) == its
}

/// An empty directory as the root of the holder; a pin of an earlier holder is taken away.
pub fn empty_root(run_dir: &Path) -> Result<PathBuf, Errors> {
    let root = run_dir.join("holder");
    remove_tree(&processes_pin(run_dir))?;
    remove_tree(&root)?;
    let mut errors = Errors::default();
    errors.note(&format!("create {}", root.display()), fs::create_dir(&root));
    errors.into_result().map(|()| root)
}

/// Pins the process namespace whose first process is `holder`.
pub fn pin_processes(run_dir: &Path, holder: u32) -> Result<(), SandboxError> {
    let pin = processes_pin(run_dir);
    let file = holder_file(run_dir);
    step("write", &file, replace(&file, &holder.to_string()))?;
    step("create", &pin, File::create(&pin))?;
    let namespace = format!("/proc/{holder}/ns/pid");
    let bound = mount(Some(namespace.as_str()), &pin, None::<&str>, MsFlags::MS_BIND, None::<&str>);
    step("pin a process namespace on", &pin, bound)
}

/// Where the holder's process is written down.
fn holder_file(run_dir: &Path) -> PathBuf {
    run_dir.join("holder.pid")
}

/// Undoes a sandbox. Repeating it is fine.
pub fn remove(run_dir: &Path) -> Result<(), Errors> {
    remove_tree(run_dir)
}

/// Names the step and the path of a failure.
fn step<T, E: Into<io::Error>>(
    step: &'static str,
    path: &Path,
    result: Result<T, E>,
) -> Result<T, SandboxError> {
    result.map_err(|source| SandboxError::Step {
        step,
        path: path.display().to_string(),
        source: source.into(),
    })
}

/// Writes the three files of `/etc`.
fn write_files(plan: &SandboxPlan<'_>, layout: &Layout) -> Result<(), SandboxError> {
    let read = |name: &str| {
        let path = plan.host_etc.join(name);
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            other => step("read", &path, other).map(|b| String::from_utf8_lossy(&b).into_owned()),
        }
    };
    for (path, text) in [
        (&layout.hosts, hosts(plan.spec, &read("hosts")?)),
        (&layout.hostname, format!("{}\n", plan.node_hostname)),
        (&layout.resolv_conf, resolv_conf(plan.spec, &read("resolv.conf")?)),
    ] {
        step("write", path, replace(path, &text))?;
    }
    Ok(())
}

/// The hosts file of a pod on the host's network.
fn hosts(spec: &PodSpec, host: &str) -> String {
    let mut text = format!("# Kubernetes-managed hosts file (host network).\n{host}");
    let mut aliases = spec.host_aliases.iter().flatten().peekable();
    if aliases.peek().is_some() {
        text.push_str("\n# Entries added by HostAliases.\n");
    }
    for alias in aliases {
        let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        let _ = writeln!(text, "{}\t{names}", alias.ip);
    }
    text
}

/// Puts a file in place as a whole, unless it is there with the same text.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    if fs::read(path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(());
    }
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::set_permissions(&new, Permissions::from_mode(0o644))?;
    fs::rename(&new, path)
}

/// Makes an IPC namespace and pins it on a file. The thread that makes it ends at once: the pin alone keeps it.
fn pin_ipc(path: &Path) -> io::Result<()> {
    if is_pin(path) {
        return Ok(());
    }
    File::create(path)?;
    let target = path.to_owned();
    let maker = thread::Builder::new().name("ipc-pin".into()).stack_size(64 << 10);
    let made = maker.spawn(move || {
        unshare(CloneFlags::CLONE_NEWIPC)?;
        let own = Some("/proc/thread-self/ns/ipc");
        mount(own, &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
    })?;
    Ok(made.join().map_err(|_| io::Error::other("the thread that makes it panicked"))??)
}

/// Whether a namespace is pinned on a path.
fn is_pin(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == NSFS_MAGIC)
}

/// Mounts the pod's shared memory, unless it is there.
fn mount_shm(path: &Path) -> io::Result<()> {
    if is_mounted(path) {
        return Ok(());
    }
    DirBuilder::new().recursive(true).create(path)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    Ok(mount(Some("shm"), path, Some("tmpfs"), flags, Some("mode=1777,size=65536k"))?)
}

/// Whether a file system of its own is mounted on a path.
fn is_mounted(path: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    let parent = path.parent().and_then(device);
    device(path).is_some_and(|own| Some(own) != parent)
}

#[cfg(test)]
mod tests;
