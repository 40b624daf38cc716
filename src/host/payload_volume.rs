//! Volumes of files in a pod's directory: made before its first container, followed when their content changes.
//!
//! What may be secret lies on a tmpfs. All work is done through an open directory, which is locked: two writers never
//! meet, and one that comes late, when the pod is being removed, writes into what is going away and nowhere else.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{PodSpec, Volume};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};

use crate::pod::payload::{FileKind, Payload, PayloadFault, nested_mount_points};

use super::atomic_dir;
use super::mounts::table;
use super::volumes::VolumeError;

/// Says what is to lie in a volume; asked when nobody else can write to it.
pub type Contents<'a> = &'a dyn Fn(&Volume) -> Result<Payload, PayloadFault>;

/// Makes a volume and writes its files; says where it lies. Repeating it changes nothing.
pub fn prepare(
    spec: &PodSpec,
    volume: &Volume,
    kind: FileKind,
    pod_dir: &Path,
    contents: Contents<'_>,
) -> Result<PathBuf, VolumeError> {
    let place = place(pod_dir, kind, volume);
    let failed = |step, source| failure(volume, step, &place, source);
    let make = || -> io::Result<PathBuf> {
        let parent = place.parent().unwrap_or(pod_dir);
        DirBuilder::new().recursive(true).mode(0o750).create(parent)?;
        DirBuilder::new().recursive(true).mode(0o755).create(&place)?;
        // The table of mounts knows paths without symlinks.
        fs::canonicalize(&place)
    };
    let path = make().map_err(|error| failed("create directory", error))?;
    if kind.in_memory() {
        mount_memory(&path).map_err(|error| failed("mount tmpfs on", error))?;
    }
    let dir = Locked::open(&path).map_err(|error| failed("open", error))?;
    dir.make_mount_points(spec, volume).map_err(|error| failed("make mount points in", error))?;
    dir.write(volume, &place, contents)?;
    Ok(path)
}

/// Writes the files of a volume that is there already; `true` when they changed. Of a pod that is not made yet, or
/// gone, there is nothing to follow.
pub fn refresh(
    volume: &Volume,
    kind: FileKind,
    pod_dir: &Path,
    contents: Contents<'_>,
) -> Result<bool, VolumeError> {
    let place = place(pod_dir, kind, volume);
    let dir = match Locked::open(&place) {
        Ok(dir) => dir,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failure(volume, "open", &place, error)),
    };
    let in_memory = fstatfs(&dir.lock).is_ok_and(|found| found.filesystem_type() == TMPFS_MAGIC);
    let unmounted = kind.in_memory() && !in_memory;
    if unmounted || !atomic_dir::is_written(&dir.root) {
        return Ok(false);
    }
    dir.write(volume, &place, contents)
}

/// Where a volume lies.
fn place(pod_dir: &Path, kind: FileKind, volume: &Volume) -> PathBuf {
    pod_dir.join("volumes").join(format!("kubernetes.io~{}", kind.plugin())).join(&volume.name)
}

/// What the kernel refused.
fn failure(volume: &Volume, step: &'static str, path: &Path, source: io::Error) -> VolumeError {
    let path = path.display().to_string();
    VolumeError::Kernel { volume: volume.name.clone(), step, path, source }
}

/// Mounts a tmpfs unless one is there. What it holds shall not be swapped out where the kernel can promise that.
fn mount_memory(path: &Path) -> io::Result<()> {
    if table()?.iter().any(|entry| entry.point == path && entry.kind == "tmpfs") {
        return Ok(());
    }
    let attempt =
        |data: &str| mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some(data));
    // Kernels before 6.4 do not know the option.
    let result = attempt("mode=0755,noswap").or_else(|errno| match errno {
        Errno::EINVAL => attempt("mode=0755"),
        errno => Err(errno),
    });
    Ok(result?)
}

/// A volume's directory that nobody else writes to.
struct Locked {
    /// The directory, open; the lock ends with it.
    lock: File,
    /// The path that leads through the open directory, wherever it is mounted.
    root: PathBuf,
}

impl Locked {
    /// Opens and locks a directory.
    fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        let lock = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
        lock.lock()?;
        let root = PathBuf::from(format!("/proc/self/fd/{}", lock.as_raw_fd()));
        Ok(Self { lock, root })
    }

    /// Makes the directories that other volumes are mounted on.
    fn make_mount_points(&self, spec: &PodSpec, volume: &Volume) -> io::Result<()> {
        for point in nested_mount_points(spec, &volume.name) {
            DirBuilder::new().recursive(true).mode(0o755).create(self.root.join(point))?;
        }
        Ok(())
    }

    /// Writes the files.
    fn write(
        &self,
        volume: &Volume,
        place: &Path,
        contents: Contents<'_>,
    ) -> Result<bool, VolumeError> {
        let payload = contents(volume)
            .map_err(|fault| VolumeError::Content { volume: volume.name.clone(), fault })?;
        let write = || {
            // The umask has no say in this mode.
            fs::set_permissions(&self.root, Permissions::from_mode(0o755))?;
            atomic_dir::write(&self.root, &payload, |_| Ok(()))
        };
        write().map_err(|error| failure(volume, "write the files of", place, error))
    }
}

#[cfg(test)]
mod tests;
