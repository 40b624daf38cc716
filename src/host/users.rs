//! `/etc/passwd` and `/etc/group` out of a snapshot that is not mounted.
//!
//! The layers of an overlay are searched from the top down, as the kernel would. What only the kernel can
//! tell (a directory that hides those below it, a symlink that leads into another layer) is left to it: the snapshot is then
//! mounted read-only in a mount namespace that ends with the thread that made it, so nothing is ever left mounted.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;

use crate::pod::image::MountPoint;

use super::snapshot;

/// Where accounts are kept.
const PASSWD: &str = "etc/passwd";

/// Where groups are kept.
const GROUP: &str = "etc/group";

/// More than this of a file is not read: images are written by strangers.
const MAX_SIZE: u64 = 4 << 20;

/// What looking through the layers came to.
enum Found {
    /// The file's text; empty when there is no such file.
    Text(String),
    /// Only the kernel can tell.
    AskKernel,
}

/// The texts of `/etc/passwd` and `/etc/group`; one that is missing is empty.
pub fn read_accounts(mounts: &[MountPoint]) -> io::Result<(String, String)> {
    if let Some(layers) = layers(mounts)
        && let Found::Text(passwd) = look_up(&layers, PASSWD)?
        && let Found::Text(group) = look_up(&layers, GROUP)?
    {
        return Ok((passwd, group));
    }
    read_mounted(mounts)
}

/// The directories that make up the root, the topmost first; `None` where it is not made of directories.
fn layers(mounts: &[MountPoint]) -> Option<Vec<PathBuf>> {
    let [only] = mounts else { return None };
    match only.kind.as_str() {
        _ if !only.target.is_empty() => None,
        "bind" | "rbind" => Some(vec![PathBuf::from(&only.source)]),
        "overlay" => {
            let option = |name: &str| only.options.iter().find_map(|o| o.strip_prefix(name));
            let lower = option("lowerdir=")?;
            // An escaped colon is rare enough to be left to the kernel.
            let plain = !lower.contains('\\') && lower.starts_with('/');
            let upper = option("upperdir=").map(PathBuf::from);
            plain.then(|| upper.into_iter().chain(lower.split(':').map(PathBuf::from)).collect())
        }
        _ => None,
    }
}

/// Looks a file up in layers, the topmost first.
fn look_up(layers: &[PathBuf], path: &str) -> io::Result<Found> {
    let missing = Ok(Found::Text(String::new()));
    if let [only] = layers {
        return Ok(Found::Text(read_in_root(&root(only)?, path)?));
    }
    let mut hidden = false;
    for (index, layer) in layers.iter().enumerate() {
        let last = index + 1 == layers.len();
        let directory = match fs::symlink_metadata(layer.join("etc")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        if is_whiteout(&directory) {
            return missing;
        }
        if !directory.is_dir() {
            return Ok(Found::AskKernel);
        }
        match fs::symlink_metadata(layer.join(path)) {
            Ok(file) if is_whiteout(&file) => return missing,
            // A directory above without the file may hide this one.
            Ok(_) if hidden => return Ok(Found::AskKernel),
            Ok(file) if file.is_file() => {
                return Ok(Found::Text(read_in_root(&root(layer)?, path)?));
            }
            Ok(_) => return Ok(Found::AskKernel),
            Err(error) if error.kind() == io::ErrorKind::NotFound => hidden |= !last,
            Err(error) => return Err(error),
        }
    }
    missing
}

/// Whether an entry is overlayfs's mark for "deleted here".
fn is_whiteout(entry: &fs::Metadata) -> bool {
    entry.file_type().is_char_device() && entry.rdev() == 0
}

/// Opens a directory to resolve paths in.
fn root(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?)
}

/// Reads a file below a root that no symlink leads out of. A pipe or device in its place is an error, not a hang.
fn read_in_root(root: &OwnedFd, path: &str) -> io::Result<String> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let file = match openat2(root, path, OpenHow::new().flags(flags).resolve(resolve)) {
        Ok(file) => File::from(file),
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(String::new()),
        Err(errno) => {
            return Err(io::Error::other(format!("open /{path} of the image: {errno}")));
        }
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(format!("/{path} of the image is not a regular file")));
    }
    let mut bytes = Vec::new();
    file.take(MAX_SIZE).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Lets the kernel put the layers together, and reads there.
fn read_mounted(mounts: &[MountPoint]) -> io::Result<(String, String)> {
    snapshot::read(mounts, |root| Ok((read_in_root(root, PASSWD)?, read_in_root(root, GROUP)?)))
}

#[cfg(test)]
mod tests;
