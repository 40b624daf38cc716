//! How much of the disk a volume takes, whatever its containers do in it meanwhile.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};

/// The unit in which the kernel counts what a file takes, whatever the file system's.
const BLOCK: u64 = 512;

/// What everything at and below a directory takes in bytes, mounts in it apart. Counting ends once it is more than
/// `enough`. What comes or goes meanwhile may be counted or not.
pub fn usage(dir: &Path, enough: u64) -> io::Result<u64> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = open(dir, flags, Mode::empty())?;
    let mut count = Count::default();
    count.add(&fstat(&root)?);
    let mut waiting = vec![PathBuf::from(".")];
    while let Some(place) = waiting.pop() {
        // One that is gone, or became a symlink or a mount, takes nothing here.
        let Ok(dir) = open_below(&root, &place) else { continue };
        let mut dir = Dir::from_fd(dir)?;
        let names: Vec<CString> =
            dir.iter().filter_map(Result::ok).map(|entry| entry.file_name().to_owned()).collect();
        for name in names.iter().filter(|name| !matches!(name.as_bytes(), b"." | b"..")) {
            let Ok(found) = fstatat(&dir, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW) else {
                continue;
            };
            count.add(&found);
            if found.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits() {
                waiting.push(place.join(std::ffi::OsStr::from_bytes(name.as_bytes())));
            }
        }
        if count.bytes > enough {
            break;
        }
    }
    Ok(count.bytes)
}

/// Opens a directory below the root: no symlink and no mount on the way.
fn open_below(root: &OwnedFd, place: &Path) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    openat2(root, place, OpenHow::new().flags(flags).resolve(resolve))
}

/// A sum in the making.
#[derive(Default)]
struct Count {
    /// The bytes so far.
    bytes: u64,
    /// Files of several names that were counted.
    seen: BTreeSet<(u64, u64)>,
}

impl Count {
    /// Adds an entry, unless it was added under another name.
    fn add(&mut self, found: &FileStat) {
        let several =
            found.st_nlink > 1 && found.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFDIR.bits();
        if !several || self.seen.insert((found.st_dev, found.st_ino)) {
            self.bytes += u64::try_from(found.st_blocks).unwrap_or(0) * BLOCK;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_files_take_is_counted_once_and_links_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let (volume, outside) = (dir.path().join("volume"), dir.path().join("outside"));
        fs::create_dir_all(volume.join("a/b")).unwrap();
        fs::create_dir(&outside).unwrap();
        let empty = usage(&volume, u64::MAX).unwrap();
        fs::write(outside.join("large"), vec![1; 1 << 20]).unwrap();
        symlink(&outside, volume.join("a/link")).unwrap();
        symlink(outside.join("large"), volume.join("file-link")).unwrap();
        assert!(usage(&volume, u64::MAX).unwrap() < empty + (64 << 10));
        fs::write(volume.join("a/b/large"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(volume.join("a/b/large"), volume.join("again")).unwrap();
        let full = usage(&volume, u64::MAX).unwrap();
        assert!((1 << 20..2 << 20).contains(&full), "{full}");
        // A file of one byte less than a hole is as small as it looks on the disk.
        fs::File::create(volume.join("hole")).unwrap().set_len(1 << 40).unwrap();
        assert!(usage(&volume, u64::MAX).unwrap() < 2 << 20);
        assert!(usage(&dir.path().join("gone"), 0).is_err());
    }
}
