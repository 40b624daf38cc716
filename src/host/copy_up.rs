//! The first content of an image's anonymous volume: what the image has at that path, owners and modes included.

use std::ffi::{CString, OsStr};
use std::fs::{self, File, FileTimes, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mknod};

use crate::pod::image::MountPoint;

use super::snapshot;

/// Fills empty directories, each from a path of the image. A path that the image has not leaves its directory empty.
pub fn copy_up(mounts: &[MountPoint], volumes: Vec<(String, PathBuf)>) -> io::Result<()> {
    snapshot::read(mounts, move |root| {
        for (path, target) in &volumes {
            let named = |error| io::Error::new(io::Error::kind(&error), format!("{path}: {error}"));
            copy_path(root, path, target).map_err(named)?;
        }
        Ok(())
    })
}

/// Copies the content of one directory of the image.
fn copy_path(root: &OwnedFd, path: &str, target: &Path) -> io::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let source = match openat2(root, path, OpenHow::new().flags(flags).resolve(resolve)) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
        other => other?,
    };
    let mut waiting = vec![PathBuf::new()];
    // Directories get their modes and times once nothing is written to them any more.
    let mut made: Vec<(PathBuf, FileStat)> = Vec::new();
    while let Some(place) = waiting.pop() {
        let here = if place.as_os_str().is_empty() { Path::new(".") } else { &place };
        let flags = flags | OFlag::O_NOFOLLOW;
        let mut dir = Dir::from_fd(openat(&source, here, flags, Mode::empty())?)?;
        made.push((target.join(&place), fstat(&dir)?));
        let names: Vec<CString> = dir
            .iter()
            .map(|entry| entry.map(|entry| entry.file_name().to_owned()))
            .filter(|name| !name.as_ref().is_ok_and(is_self_or_parent))
            .collect::<Result<_, _>>()?;
        for name in names {
            let found = fstatat(&dir, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
            let below = place.join(OsStr::from_bytes(name.as_bytes()));
            if kind(&found) == SFlag::S_IFDIR {
                fs::create_dir(target.join(&below))?;
                waiting.push(below);
            } else {
                copy_entry(&dir, &name, &found, &target.join(&below))?;
            }
        }
    }
    for (path, found) in made.iter().rev() {
        own(path, found)?;
        File::open(path)?.set_times(times(found))?;
    }
    Ok(())
}

/// Whether an entry is one of the two that every directory has.
fn is_self_or_parent(name: &CString) -> bool {
    matches!(name.as_bytes(), b"." | b"..")
}

/// The kind of a file.
fn kind(found: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits())
}

/// Copies what is no directory.
fn copy_entry(dir: &Dir, name: &CString, found: &FileStat, target: &Path) -> io::Result<()> {
    match kind(found) {
        SFlag::S_IFREG => {
            let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let mut from = File::from(openat(dir, name.as_c_str(), flags, Mode::empty())?);
            let mut to = File::create_new(target)?;
            io::copy(&mut from, &mut to)?;
            own(target, found)?;
            to.set_times(times(found))
        }
        SFlag::S_IFLNK => {
            symlink(readlinkat(dir, name.as_c_str())?, target)?;
            lchown(target, Some(found.st_uid), Some(found.st_gid))
        }
        // A socket is of no use without its process.
        SFlag::S_IFSOCK => Ok(()),
        special => {
            mknod(target, special, Mode::S_IRUSR, found.st_rdev)?;
            own(target, found)
        }
    }
}

/// Gives a copy the owner and then the mode of what it was copied from: a change of owner clears bits of the mode.
fn own(path: &Path, found: &FileStat) -> io::Result<()> {
    chown(path, Some(found.st_uid), Some(found.st_gid))?;
    fs::set_permissions(path, Permissions::from_mode(found.st_mode & 0o7777))
}

/// The time of the last change, as the copy's.
fn times(found: &FileStat) -> FileTimes {
    let seconds = Duration::from_secs(u64::try_from(found.st_mtime).unwrap_or(0));
    let rest = Duration::from_nanos(u64::try_from(found.st_mtime_nsec).unwrap_or(0));
    FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + seconds + rest)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};

    use nix::unistd::mkfifo;

    use super::*;
    use crate::host::tests::as_root;

    #[test]
    fn everything_below_the_path_is_copied_with_owners_modes_and_times() {
        if !as_root("everything_below_the_path_is_copied_with_owners_modes_and_times") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (root, target) = (dir.path().join("root"), dir.path().join("target"));
        let data = root.join("srv/data");
        fs::create_dir_all(data.join("deep/er")).unwrap();
        fs::create_dir(&target).unwrap();
        symlink("/srv/data", root.join("link")).unwrap();
        fs::write(data.join("deep/er/file"), "text").unwrap();
        symlink("/etc/passwd", data.join("out")).unwrap();
        mkfifo(&data.join("pipe"), Mode::S_IRWXU).unwrap();
        chown(data.join("deep"), Some(7), Some(8)).unwrap();
        fs::set_permissions(data.join("deep"), Permissions::from_mode(0o2511)).unwrap();
        fs::set_permissions(data.join("deep/er/file"), Permissions::from_mode(0o4755)).unwrap();
        let bind = MountPoint {
            kind: "bind".into(),
            source: root.display().to_string(),
            ..MountPoint::default()
        };
        let volumes = vec![("/link".to_owned(), target.clone())];
        copy_up(std::slice::from_ref(&bind), volumes).unwrap();
        for path in ["deep", "deep/er", "deep/er/file", "pipe", "out"] {
            let look = |base: &Path| {
                let found = fs::symlink_metadata(base.join(path)).unwrap();
                let time = if path == "out" { 0 } else { found.mtime() };
                (found.mode(), found.uid(), found.gid(), time)
            };
            assert_eq!(look(&target), look(&data), "{path}");
        }
        assert_eq!(fs::read_to_string(target.join("deep/er/file")).unwrap(), "text");
        assert_eq!(fs::read_link(target.join("out")).unwrap(), Path::new("/etc/passwd"));
        assert!(fs::metadata(target.join("pipe")).unwrap().file_type().is_fifo());
        let missing = dir.path().join("missing");
        fs::create_dir(&missing).unwrap();
        copy_up(&[bind], vec![("/no/such".into(), missing.clone())]).unwrap();
        assert_eq!(fs::read_dir(&missing).unwrap().count(), 0);
    }
}
