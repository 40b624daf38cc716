//! What a container finds mounted, in the order in which it is mounted.
//!
//! Kernel file systems come first, then everything of the pod by depth of path, so that a volume at
//! `/data` never covers one at `/data/cache`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, PodSpec, VolumeMount};
use oci_spec::runtime::Mount;

use super::fault::StartFault;
use super::image::ImageConfig;
use super::oci::Surroundings;
use super::payload::FileKind;
use super::security::{privileged, read_only_root};
use super::sub_paths::is_partial;
use super::termination::message_path;

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

/// What was made on the host for one start of a container, to be mounted beside its pod's volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prepared {
    /// The file for the termination message.
    pub message: Option<PathBuf>,
    /// The parts of volumes, by the number of their mount.
    pub sub_paths: BTreeMap<usize, PathBuf>,
    /// The image's anonymous volumes, by their path in the container.
    pub image_volumes: BTreeMap<String, PathBuf>,
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
    /// What the container may do there, as mount options.
    access: &'static [&'static str],
    /// How later mounts travel.
    propagation: Propagation,
}

/// Everything.
const WRITABLE: &[&str] = &["rw"];
/// Reading; mounts below may still be writable.
const READ_ONLY: &[&str] = &["ro"];
/// Reading, in all mounts below too.
const ALL_READ_ONLY: &[&str] = &["rro"];
/// Reading what came with an image as data; no program of it is run.
const DATA_ONLY: &[&str] = &["ro", "noexec"];

/// Everything that is mounted for a container.
pub fn mounts(of: &Surroundings<'_>) -> Result<Mounts, StartFault> {
    let mut binds = volume_binds(of)?;
    let widest = binds.iter().map(|bind| bind.propagation).max();
    binds.extend(own_binds(of));
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
    let mounts = of.container.volume_mounts.iter().flatten().enumerate();
    mounts.map(|(index, mount)| volume_bind(of, index, mount)).collect()
}

/// One volume mount.
fn volume_bind(
    of: &Surroundings<'_>,
    index: usize,
    mount: &VolumeMount,
) -> Result<Bind, StartFault> {
    let volume = of.volumes.get(&mount.name).ok_or_else(|| {
        StartFault::config(format!(
            "cannot find volume \"{}\" to mount into container \"{}\"",
            mount.name, of.container.name
        ))
    })?;
    let source = if is_partial(mount) {
        // Mounting the whole volume instead would show the container more than it was given.
        of.prepared.sub_paths.get(&index).ok_or_else(|| {
            StartFault::config(format!(
                "volumeMounts[{index}]: the part of volume \"{}\" is not there",
                mount.name
            ))
        })?
    } else {
        volume
    };
    Ok(Bind {
        destination: normal_path(&mount.mount_path),
        source: source.clone(),
        access: access(of, index, mount)?,
        propagation: Propagation::of(mount)?,
    })
}

/// What a container may do with a volume that it mounts.
fn access(
    of: &Surroundings<'_>,
    index: usize,
    mount: &VolumeMount,
) -> Result<&'static [&'static str], StartFault> {
    let kind = volume_kind(of.spec, &mount.name);
    let plain = match kind {
        VolumeKind::Image => DATA_ONLY,
        VolumeKind::Files => READ_ONLY,
        VolumeKind::Other if mount.read_only == Some(true) => READ_ONLY,
        VolumeKind::Other => WRITABLE,
    };
    // Mounts below it cannot be in what was made for this pod alone.
    let all = if kind == VolumeKind::Image { DATA_ONLY } else { ALL_READ_ONLY };
    match mount.recursive_read_only.as_deref() {
        Some("Enabled") if !of.host.recursive_read_only => Err(StartFault::config(format!(
            "volumeMounts[{index}].recursiveReadOnly: Enabled: volume \"{}\" requested recursive read-only mode, \
             but it is not supported by the runtime; it needs Linux 5.12 and runc 1.1, or write IfPossible",
            mount.name
        ))),
        Some("Enabled" | "IfPossible") if of.host.recursive_read_only => Ok(all),
        _ => Ok(plain),
    }
}

/// The kinds of volume that differ in what may be done with them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum VolumeKind {
    /// Files that the agent writes: no container may.
    Files,
    /// The content of an image.
    Image,
    /// Writable unless its mount says otherwise.
    Other,
}

/// The kind of a volume of the pod.
fn volume_kind(spec: &PodSpec, name: &str) -> VolumeKind {
    let Some(volume) = spec.volumes.iter().flatten().find(|volume| volume.name == name) else {
        return VolumeKind::Other;
    };
    match &volume.image {
        Some(_) => VolumeKind::Image,
        None if FileKind::of(volume).is_some() => VolumeKind::Files,
        None => VolumeKind::Other,
    }
}

/// Whether a container asks for mounts that are read-only all the way down.
pub fn asks_recursive(container: &Container) -> bool {
    let mounts = container.volume_mounts.iter().flatten();
    let asks = |mode: &str| matches!(mode, "IfPossible" | "Enabled");
    mounts.filter_map(|mount| mount.recursive_read_only.as_deref()).any(asks)
}

/// The VOLUME paths of the image for which the container gets an anonymous volume: those where it mounts none itself.
pub fn anonymous_volumes(container: &Container, image: &ImageConfig) -> Vec<String> {
    let own = container.volume_mounts.iter().flatten();
    let own: Vec<String> = own.map(|mount| normal_path(&mount.mount_path)).collect();
    let mut paths: Vec<String> = image.volumes.iter().map(|path| normal_path(path)).collect();
    paths.sort_unstable();
    paths.dedup();
    paths.retain(|path| path != "/" && !own.contains(path));
    paths
}

/// What was made for this start: the file for its last words, and the image's anonymous volumes.
fn own_binds(of: &Surroundings<'_>) -> Vec<Bind> {
    let bind = |(destination, source): (String, &PathBuf)| Bind {
        destination,
        source: source.clone(),
        access: WRITABLE,
        propagation: Propagation::None,
    };
    let message = message_path(of.container).zip(of.prepared.message.as_ref());
    let volumes = of.prepared.image_volumes.iter().map(|(path, dir)| (path.clone(), dir));
    volumes.chain(message).map(bind).collect()
}

/// The sandbox's files, where the pod mounts nothing of its own.
fn sandbox_binds(of: &Surroundings<'_>, volumes: &[Bind]) -> Vec<Bind> {
    let as_the_root = if read_only_root(of.container) { READ_ONLY } else { WRITABLE };
    [
        // The kubelet mounts its hosts file writable, the runtime its own files as the root is.
        ("/etc/hosts", &of.sandbox.hosts, WRITABLE),
        ("/etc/hostname", &of.sandbox.hostname_file, as_the_root),
        ("/etc/resolv.conf", &of.sandbox.resolv_conf, as_the_root),
        ("/dev/shm", &of.sandbox.shm, WRITABLE),
    ]
    .into_iter()
    .filter(|(path, ..)| !volumes.iter().any(|bind| bind.destination == *path))
    .map(|(path, source, access)| Bind {
        destination: path.to_owned(),
        source: source.clone(),
        access,
        propagation: Propagation::None,
    })
    .collect()
}

/// A bind as the runtime takes it.
fn bind_mount(bind: &Bind) -> Mount {
    let options = [&["rbind", bind.propagation.option()], bind.access].concat();
    mount(&bind.destination, "bind", &bind.source, &options)
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
pub(super) fn normal_path(path: &str) -> String {
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
