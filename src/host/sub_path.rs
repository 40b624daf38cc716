//! Parts of volumes, safe against whatever a container has built in them.
//!
//! A path in a volume is resolved by the kernel below the volume's root: no `..` and no symlink leads out. What it
//! led to is held open and bind-mounted from there, so that nothing swapped in afterwards is mounted instead.
//!
//! Guarantees: nothing outside the volume is made, opened or mounted; repeating it mounts anew what the path means now.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat, mkdirat};

use crate::base::errors::Errors;
use crate::pod::mounts::Propagation;

use super::removal::remove_tree;

/// Why a part of a volume cannot be mounted.
#[derive(Debug, thiserror::Error)]
pub enum SubPathError {
    /// The path leaves the volume.
    #[error(
        "leads out of the volume by a symlink; let the link be relative and stay in the volume"
    )]
    Outside,
    /// Something in the way is not what the path needs.
    #[error(
        "a file or a symlink that leads nowhere is where a directory must be; remove it from the \
         volume, or write another path"
    )]
    InTheWay,
    /// The kernel refused.
    #[error("{step}")]
    Kernel {
        /// What was tried.
        step: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// What was mounted for an earlier start stays.
    #[error("clear away the mount of an earlier start")]
    Stuck(#[source] Errors),
}

/// A part of a volume to be mounted.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The volume's directory on the host.
    pub volume: &'a Path,
    /// The path in it.
    pub path: &'a str,
    /// Where it is mounted for the runtime to take it from.
    pub target: &'a Path,
    /// How later mounts travel.
    pub propagation: Propagation,
}

/// Where a pod's directory holds the part of a volume that a container mounts.
pub fn target(pod_dir: &Path, volume: &str, container: &str, index: usize) -> PathBuf {
    pod_dir.join("volume-subpaths").join(volume).join(container).join(index.to_string())
}

/// Mounts a part of a volume at its target, in place of what an earlier start mounted there.
pub fn bind(part: &Part<'_>) -> Result<(), SubPathError> {
    remove_tree(part.target).map_err(SubPathError::Stuck)?;
    let found = find(part.volume, part.path)?;
    let is_dir = kind(&found).map_err(kernel("look at it"))? == SFlag::S_IFDIR;
    make_target(part.target, is_dir).map_err(kernel("make the place to mount it"))?;
    let source = format!("/proc/self/fd/{}", found.as_raw_fd());
    let bound =
        mount(Some(source.as_str()), part.target, None::<&str>, MsFlags::MS_BIND, None::<&str>);
    bound.map_err(|errno| kernel("mount it")(errno.into()))?;
    // A peer of the host's mount would undo mounts of the host when it is unmounted.
    let flag = match part.propagation {
        Propagation::None => MsFlags::MS_PRIVATE,
        Propagation::HostToContainer => MsFlags::MS_SLAVE,
        Propagation::Bidirectional => return Ok(()),
    };
    let set = mount(None::<&str>, part.target, None::<&str>, flag, None::<&str>);
    set.map_err(|errno| kernel("set its propagation")(errno.into()))
}

/// An error of the kernel in one step.
fn kernel(step: &'static str) -> impl Fn(io::Error) -> SubPathError {
    move |source| SubPathError::Kernel { step, source }
}

/// What an error of resolving means.
fn unresolved(errno: Errno) -> SubPathError {
    match errno {
        Errno::EXDEV => SubPathError::Outside,
        Errno::ELOOP | Errno::ENOTDIR => SubPathError::InTheWay,
        errno => kernel("open it")(errno.into()),
    }
}

/// The kind of an open file.
fn kind(file: &OwnedFd) -> io::Result<SFlag> {
    Ok(SFlag::from_bits_truncate(fstat(file)?.st_mode & SFlag::S_IFMT.bits()))
}

/// Makes an empty directory or file to mount over.
fn make_target(target: &Path, is_dir: bool) -> io::Result<()> {
    let made = |path: &Path| DirBuilder::new().recursive(true).mode(0o750).create(path);
    if is_dir {
        return made(target);
    }
    made(target.parent().unwrap_or(target))?;
    File::create(target).map(drop)
}

/// Opens the part, and makes the directories that are missing on the way to it.
fn find(volume: &Path, path: &str) -> Result<OwnedFd, SubPathError> {
    let volume = fs::canonicalize(volume).map_err(kernel("find the volume"))?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = open(&volume, flags, Mode::empty()).map_err(unresolved)?;
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    match open_below(&root, &parts, OFlag::O_PATH) {
        Err(Errno::ENOENT) => {}
        other => return other.map_err(unresolved),
    }
    // The longest part of the way that is there.
    let mut known = parts.len();
    let mut dir = loop {
        known = known.saturating_sub(1);
        match open_below(&root, &parts[..known], OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
            Err(Errno::ENOENT) if known > 0 => {}
            other => break other.map_err(unresolved)?,
        }
    };
    let mode = fstat(&root).map_err(unresolved)?.st_mode;
    let mode = Mode::from_bits_truncate(mode & !SFlag::S_IFMT.bits());
    for part in &parts[known..] {
        dir = make_below(&dir, part, mode)?;
    }
    Ok(dir)
}

/// Opens a path below a root that nothing leads out of.
fn open_below(root: &OwnedFd, parts: &[&str], flags: OFlag) -> Result<OwnedFd, Errno> {
    let path = if parts.is_empty() { ".".to_owned() } else { parts.join("/") };
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    openat2(root, path.as_str(), OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve))
}

/// Makes a directory in an open one and opens it. One that somebody else made just now is as good; a symlink is not.
fn make_below(dir: &OwnedFd, name: &str, mode: Mode) -> Result<OwnedFd, SubPathError> {
    let fresh = match mkdirat(dir.as_fd(), OsStr::new(name), mode) {
        Err(Errno::EEXIST) => false,
        other => {
            other.map_err(|errno| kernel("make a directory on the way")(errno.into()))?;
            true
        }
    };
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
    let opened = openat2(dir, name, OpenHow::new().flags(flags).resolve(resolve));
    let opened = opened.map_err(unresolved)?;
    if fresh {
        // The umask has no say.
        fchmod(&opened, mode).map_err(|errno| kernel("set its mode")(errno.into()))?;
    }
    Ok(opened)
}

#[cfg(test)]
mod tests;
