//! What a container finds mounted, in the order in which it is mounted.
//!
//! Kernel file systems come first, then everything of the pod by depth of path, so that a volume at
//! `/data` never covers one at `/data/cache`.

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::VolumeMount;
use oci_spec::runtime::Mount;

use super::fault::StartFault;
use super::oci::Surroundings;
use super::payload::FileKind;
use super::security::{privileged, read_only_root};

/// Default mounts below and at `/dev`, which give way to a volume at `/dev`.
const DEV: &str = "/dev";

/// A container's mounts.
#[derive(Debug)]
pub struct Mounts {
    /// The mounts in order.
    pub list: Vec<Mount>,
    /// What the root's propagation must be for them; `None` is the runtime's default.
    pub root_propagation: Option<&'static str>,
}

/// How mounts made later travel between host and container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Propagation {
    /// Not at all.
    None,
    /// From the host into the container.
    HostToContainer,
    /// Both ways.
    Bidirectional,
}

impl Propagation {
    /// What a volume mount asks for.
    pub fn of(mount: &VolumeMount) -> Result<Self, StartFault> {
        match mount.mount_propagation.as_deref() {
            None | Some("" | "None") => Ok(Self::None),
            Some("HostToContainer") => Ok(Self::HostToContainer),
            Some("Bidirectional") => Ok(Self::Bidirectional),
            Some(other) => Err(StartFault::config(format!(
                "volumeMounts: {}: mountPropagation: {other}: unknown; write None, \
                 HostToContainer or Bidirectional",
                mount.mount_path
            ))),
        }
    }

    /// The mount option.
    fn option(self) -> &'static str {
        match self {
            Self::None => "rprivate",
            Self::HostToContainer => "rslave",
            Self::Bidirectional => "rshared",
        }
    }
}

/// One bind mount of the pod.
struct Bind {
    /// The path in the container, in normal form.
    destination: String,
    /// The path on the host.
    source: PathBuf,
    /// Whether the container may only read it.
    read_only: bool,
    /// How later mounts travel.
    propagation: Propagation,
}

/// Everything that is mounted for a container.
pub fn mounts(of: &Surroundings<'_>) -> Result<Mounts, StartFault> {
    let mut binds = volume_binds(of)?;
    let widest = binds.iter().map(|bind| bind.propagation).max();
    binds.extend(sandbox_binds(of, &binds));
    // Stable: among equals the operator's order holds.
    binds.sort_by_key(|bind| bind.destination.matches('/').count());
    let taken = |path: &str| binds.iter().any(|bind| bind.destination == path);
    let defaults = default_mounts(privileged(of.container)).into_iter().filter(|mount| {
        let path = mount.destination().to_string_lossy();
        !(taken(&path) || taken(DEV) && path.starts_with("/dev/"))
    });
    let list = defaults.chain(binds.iter().map(bind_mount)).collect();
    let root_propagation =
        widest.filter(|widest| *widest > Propagation::None).map(Propagation::option);
    Ok(Mounts { list, root_propagation })
}

/// The kernel's file systems.
fn default_mounts(privileged: bool) -> [Mount; 6] {
    let mode = if privileged { "rw" } else { "ro" };
    let quiet = ["nosuid", "noexec", "nodev"];
    [
        mount("/proc", "proc", "proc", &quiet),
        mount(DEV, "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/mqueue", "mqueue", "mqueue", &quiet),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", mode]),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", mode],
        ),
    ]
}

/// The container's volume mounts.
fn volume_binds(of: &Surroundings<'_>) -> Result<Vec<Bind>, StartFault> {
    of.container.volume_mounts.iter().flatten().map(|mount| volume_bind(of, mount)).collect()
}

/// One volume mount.
fn volume_bind(of: &Surroundings<'_>, mount: &VolumeMount) -> Result<Bind, StartFault> {
    let set = |field: &Option<String>| field.as_ref().is_some_and(|text| !text.is_empty());
    if set(&mount.sub_path) || set(&mount.sub_path_expr) {
        // Mounting the whole volume instead would show the container more than it was given.
        return Err(StartFault::config(format!(
            "volumeMounts: {}: subPath is not supported",
            mount.mount_path
        )));
    }
    let source = of.volumes.get(&mount.name).ok_or_else(|| {
        StartFault::config(format!(
            "cannot find volume \"{}\" to mount into container \"{}\"",
            mount.name, of.container.name
        ))
    })?;
    Ok(Bind {
        destination: normal_path(&mount.mount_path),
        source: source.clone(),
        read_only: mount.read_only == Some(true) || holds_files(of, &mount.name),
        propagation: Propagation::of(mount)?,
    })
}

/// Whether the agent writes the files of a volume: no container may.
fn holds_files(of: &Surroundings<'_>, volume: &str) -> bool {
    let mut volumes = of.spec.volumes.iter().flatten();
    volumes.any(|known| known.name == volume && FileKind::of(known).is_some())
}

/// The sandbox's files, where the pod mounts nothing of its own.
fn sandbox_binds(of: &Surroundings<'_>, volumes: &[Bind]) -> Vec<Bind> {
    let read_only = read_only_root(of.container);
    [
        // The kubelet mounts its hosts file writable, the runtime its own files as the root is.
        ("/etc/hosts", &of.sandbox.hosts, false),
        ("/etc/hostname", &of.sandbox.hostname_file, read_only),
        ("/etc/resolv.conf", &of.sandbox.resolv_conf, read_only),
        ("/dev/shm", &of.sandbox.shm, false),
    ]
    .into_iter()
    .filter(|(path, ..)| !volumes.iter().any(|bind| bind.destination == *path))
    .map(|(path, source, read_only)| Bind {
        destination: path.to_owned(),
        source: source.clone(),
        read_only,
        propagation: Propagation::None,
    })
    .collect()
}

/// A bind as the runtime takes it.
fn bind_mount(bind: &Bind) -> Mount {
    let mode = if bind.read_only { "ro" } else { "rw" };
    mount(&bind.destination, "bind", &bind.source, &["rbind", bind.propagation.option(), mode])
}

/// A mount of the OCI spec.
pub fn mount(destination: &str, kind: &str, source: impl AsRef<Path>, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(destination.into())
        .set_typ(Some(kind.into()))
        .set_source(Some(source.as_ref().into()))
        .set_options(Some(options.iter().map(|option| (*option).to_owned()).collect()));
    mount
}

/// A path in the container, absolute and without `.`, `..` and doubled slashes.
fn normal_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests;
