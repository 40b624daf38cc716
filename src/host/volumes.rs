//! A pod's volumes on this host: checked or made before the first container, undone after the last.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, HostPathVolumeSource, PodSpec, Volume};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use crate::base::errors::Errors;
use crate::base::quantity::Amount;
use crate::pod::mounts::Propagation;
use crate::pod::payload::{FileKind, PayloadFault};
use crate::pod::resources::{all_containers, pod_resources};

use super::fs_group::{self, Use};
use super::mounts::{mount_of, table};
use super::payload_volume::{self, Contents};
use super::removal::remove_tree;

/// Where emptyDir volumes lie below the pod's directory.
const EMPTY_DIRS: &str = "volumes/kubernetes.io~empty-dir";

/// Where image volumes are mounted below the pod's directory.
const IMAGES: &str = "volumes/kubernetes.io~image";

/// Why a volume cannot be used. The texts are the kubelet's, so that what people know to search for is found.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// A hostPath of another kind than its type says.
    #[error(
        "MountVolume.SetUp failed for volume \"{volume}\" : hostPath type check failed: {path} is not a {wanted}"
    )]
    WrongKind {
        /// The volume's name.
        volume: String,
        /// The path on the host.
        path: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A hostPath type that Kubernetes does not know.
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : {kind} is an invalid volume type")]
    UnknownType {
        /// The volume's name.
        volume: String,
        /// The type as it was written.
        kind: String,
    },
    /// A kind of volume that this agent does not offer.
    #[error(
        "MountVolume.SetUp failed for volume \"{volume}\" : {reason}; use hostPath or emptyDir"
    )]
    Unsupported {
        /// The volume's name.
        volume: String,
        /// What is not offered.
        reason: &'static str,
    },
    /// A mount that shall travel to the host, from where none can.
    #[error(
        "path \"{path}\" is mounted on \"{point}\" but it is not a shared mount; run `mount \
         --make-rshared {point}` or use mountPropagation HostToContainer"
    )]
    NotShared {
        /// The path on the host.
        path: String,
        /// The mount it lies on.
        point: String,
    },
    /// A volume of files whose content is not there.
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : {fault}")]
    Content {
        /// The volume's name.
        volume: String,
        /// What is missing.
        fault: PayloadFault,
    },
    /// The kernel refused.
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : {step} {path}")]
    Kernel {
        /// The volume's name.
        volume: String,
        /// What was tried.
        step: &'static str,
        /// On which path.
        path: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// Makes every volume of a pod ready and says where each lies. Repeating it changes nothing.
pub fn prepare(
    spec: &PodSpec,
    pod_dir: &Path,
    contents: Contents<'_>,
) -> Result<BTreeMap<String, PathBuf>, VolumeError> {
    let mut paths = BTreeMap::new();
    for volume in spec.volumes.iter().flatten() {
        let path = match (&volume.host_path, &volume.empty_dir) {
            (Some(source), _) => host_path(&volume.name, source)?,
            (None, Some(source)) => empty_dir(spec, &volume.name, source, pod_dir)?,
            (None, None) if has_no_source(volume) => {
                empty_dir(spec, &volume.name, &EmptyDirVolumeSource::default(), pod_dir)?
            }
            // It was mounted before: that takes containerd.
            (None, None) if volume.image.is_some() => image_dir(pod_dir, &volume.name),
            (None, None) => match FileKind::of(volume) {
                Some(kind) => payload_volume::prepare(spec, volume, kind, pod_dir, contents)?,
                None => {
                    return Err(VolumeError::Unsupported {
                        volume: volume.name.clone(),
                        reason: "this kind of volume is not supported",
                    });
                }
            },
        };
        paths.insert(volume.name.clone(), path);
    }
    check_sharing(spec, &paths)?;
    Ok(paths)
}

/// Checks what of a pod's volumes can be checked without making any.
pub fn check(spec: &PodSpec) -> Result<(), VolumeError> {
    for volume in spec.volumes.iter().flatten() {
        if let Some(source) = &volume.host_path {
            let missing = !Path::new(&source.path).exists();
            let made = matches!(
                source.type_.as_deref(),
                None | Some("" | "DirectoryOrCreate" | "FileOrCreate")
            );
            if !(missing && made) {
                host_path(&volume.name, source)?;
            }
        }
    }
    Ok(())
}

/// Where an image is mounted as a volume.
pub fn image_dir(pod_dir: &Path, volume: &str) -> PathBuf {
    pod_dir.join(IMAGES).join(volume)
}

/// Unmounts whatever lies below a pod's directory and deletes the directory. Repeating it is fine.
pub fn remove(pod_dir: &Path) -> Result<(), Errors> {
    remove_tree(pod_dir)
}

/// Whether a volume names no source at all: Kubernetes makes it an emptyDir.
fn has_no_source(volume: &Volume) -> bool {
    *volume == Volume { name: volume.name.clone(), ..Volume::default() }
}

/// Checks or makes a hostPath by its type and follows its symlinks.
fn host_path(volume: &str, source: &HostPathVolumeSource) -> Result<PathBuf, VolumeError> {
    let path = Path::new(&source.path);
    let failed = |step: &'static str| {
        move |error: io::Error| VolumeError::Kernel {
            volume: volume.to_owned(),
            step,
            path: source.path.clone(),
            source: error,
        }
    };
    let found = match fs::metadata(path) {
        Ok(found) => Some(found.file_type()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed("look at")(error)),
    };
    let is = |test: fn(&fs::FileType) -> bool, wanted| {
        if found.as_ref().is_some_and(test) {
            return Ok(());
        }
        Err(VolumeError::WrongKind { volume: volume.into(), path: source.path.clone(), wanted })
    };
    let make_dir = || directory(path, 0o755).map_err(failed("create directory"));
    match source.type_.as_deref().unwrap_or_default() {
        // The runtime makes what is missing, and takes what is there as it is.
        "" | "DirectoryOrCreate" if found.is_none() => make_dir()?,
        "" => {}
        "DirectoryOrCreate" | "Directory" => is(fs::FileType::is_dir, "directory")?,
        // Parents are not made.
        "FileOrCreate" if found.is_none() => empty_file(path).map_err(failed("create file"))?,
        "FileOrCreate" | "File" => is(fs::FileType::is_file, "file")?,
        "Socket" => is(FileTypeExt::is_socket, "socket file")?,
        "CharDevice" => is(FileTypeExt::is_char_device, "character device")?,
        "BlockDevice" => is(FileTypeExt::is_block_device, "block device")?,
        other => {
            return Err(VolumeError::UnknownType { volume: volume.into(), kind: other.into() });
        }
    }
    fs::canonicalize(path).map_err(failed("resolve"))
}

/// Makes a directory and its parents.
fn directory(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// Makes an empty file; one that is there stays as it is.
fn empty_file(path: &Path) -> io::Result<()> {
    let made: io::Result<File> =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o644).open(path);
    made.map(drop)
}

/// Makes an emptyDir: a directory that every user may write to, on disk or in memory.
fn empty_dir(
    spec: &PodSpec,
    volume: &str,
    source: &EmptyDirVolumeSource,
    pod_dir: &Path,
) -> Result<PathBuf, VolumeError> {
    let path = pod_dir.join(EMPTY_DIRS).join(volume);
    let failed = |step: &'static str| {
        let (volume, path) = (volume.to_owned(), path.display().to_string());
        move |source: io::Error| VolumeError::Kernel { volume, step, path, source }
    };
    let in_memory = match source.medium.as_deref().unwrap_or_default() {
        "" => false,
        "Memory" => true,
        _ => {
            return Err(VolumeError::Unsupported {
                volume: volume.into(),
                reason: "only the media \"\" and Memory are supported for emptyDir",
            });
        }
    };
    directory(&pod_dir.join(EMPTY_DIRS), 0o750).map_err(failed("create directory"))?;
    directory(&path, 0o777).map_err(failed("create directory"))?;
    let path = fs::canonicalize(&path).map_err(failed("resolve"))?;
    if in_memory {
        mount_memory(&path, memory_size(spec, source)).map_err(failed("mount tmpfs on"))?;
    }
    // The umask has no say in this mode.
    fs::set_permissions(&path, Permissions::from_mode(0o777)).map_err(failed("set the mode of"))?;
    if let Some(group) = fs_group::of(spec) {
        // Only of the directory itself: what a container made in it belongs to the group by the directory's bit.
        fs_group::apply(&path, group, Use::Write).map_err(failed("set the group of"))?;
    }
    Ok(path)
}

/// How large a volume in memory may grow: its own limit or the pod's, whichever is less; the kernel's
/// default (half of the memory) where neither is set.
fn memory_size(spec: &PodSpec, source: &EmptyDirVolumeSource) -> Option<i64> {
    let own = source.size_limit.as_ref().and_then(|limit| Amount::parse(&limit.0).ok());
    let own = own.map(Amount::value).filter(|size| *size > 0);
    own.into_iter().chain(pod_resources(spec).memory_limit).min()
}

/// Mounts a tmpfs unless one is there; what it holds shall not be swapped out where the kernel can promise that.
fn mount_memory(path: &Path, size: Option<i64>) -> io::Result<()> {
    let mounted = table()?.iter().any(|entry| entry.point == path && entry.kind == "tmpfs");
    if mounted {
        return Ok(());
    }
    let size = size.map_or_else(String::new, |size| format!(",size={size}"));
    let attempt = |extra: &str| {
        let data = format!("mode=0777{size}{extra}");
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some(data.as_str()))
    };
    // Kernels before 6.4 do not know the option.
    let result = attempt(",noswap").or_else(|errno| match errno {
        Errno::EINVAL => attempt(""),
        errno => Err(errno),
    });
    Ok(result?)
}

/// Bidirectional mounts must lie on a shared mount, else the host would never see what the container mounts.
/// (`HostToContainer` on a private mount is let through: there is nothing that could travel.)
fn check_sharing(spec: &PodSpec, paths: &BTreeMap<String, PathBuf>) -> Result<(), VolumeError> {
    let wanted: Vec<&PathBuf> = all_containers(spec)
        .flat_map(|container| container.volume_mounts.iter().flatten())
        .filter(|mount| Propagation::of(mount) == Ok(Propagation::Bidirectional))
        .filter_map(|mount| paths.get(&mount.name))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let table = table().map_err(|source| VolumeError::Kernel {
        volume: String::new(),
        step: "read",
        path: "/proc/self/mountinfo".into(),
        source,
    })?;
    for path in wanted {
        match mount_of(&table, path) {
            Some(entry) if !entry.shared => {
                return Err(VolumeError::NotShared {
                    path: path.display().to_string(),
                    point: entry.point.display().to_string(),
                });
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
