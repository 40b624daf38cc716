//! Deleting a pod's directory without ever reaching into what is mounted in it.
//!
//! Guarantees: nothing behind a mount or a symlink is touched, even when unmounting failed; a tree of any depth
//! takes a bounded number of descriptors and stack frames, whatever a container has built there.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::{fs, io};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::base::errors::Errors;

use super::mounts::unmount_below;

/// How deep the walk goes; deeper directories are first moved to the top.
const MAX_DEPTH: usize = 32;

/// Unmounts everything at and below a path and deletes it. A path that is gone already is fine.
pub fn remove_tree(path: &Path) -> Result<(), Errors> {
    let mut errors = Errors::default();
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        let refusal = io::Error::other("not a directory of ours");
        errors.note::<(), _>(&format!("delete {}", path.display()), Err(refusal));
        return errors.into_result();
    };
    // The table of mounts knows paths without symlinks.
    let parent = match fs::canonicalize(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => match errors.note(&format!("find {}", parent.display()), other) {
            Some(parent) => parent,
            None => return errors.into_result(),
        },
    };
    unmount_below(&parent.join(name), &mut errors);
    errors.note(&format!("delete {}", path.display()), delete(&parent, name));
    errors.into_result()
}

/// Deletes an entry of a directory with all that is in it.
fn delete(parent: &Path, name: &OsStr) -> io::Result<()> {
    let parent =
        open(parent, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let name = CString::new(name.as_bytes())?;
    let top = match open_dir(parent.as_fd(), &name) {
        Err(Errno::ENOENT) => return Ok(()),
        Err(Errno::ENOTDIR | Errno::ELOOP) => {
            return Ok(unlinkat(&parent, name.as_c_str(), UnlinkatFlags::NoRemoveDir)?);
        }
        other => named(&name, other)?,
    };
    let mut walk = Walk { top, moved: 0 };
    loop {
        let before = walk.moved;
        let dir = named(&name, open_dir(parent.as_fd(), &name))?;
        walk.clear(dir, 0)?;
        if walk.moved == before {
            break;
        }
    }
    Ok(unlinkat(&parent, name.as_c_str(), UnlinkatFlags::RemoveDir)?)
}

/// Opens a directory for reading; fails with `EXDEV` when something is mounted on it.
fn open_dir(parent: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    openat2(parent, name, OpenHow::new().flags(flags).resolve(resolve))
}

/// Adds an entry's name to its error.
fn named<T>(name: &CStr, result: Result<T, Errno>) -> io::Result<T> {
    result.map_err(|errno| {
        let name = name.to_string_lossy();
        match errno {
            Errno::EXDEV | Errno::EBUSY => io::Error::other(format!("{name}: still a mount")),
            errno => io::Error::other(format!("{name}: {errno}")),
        }
    })
}

/// One deletion.
struct Walk {
    /// The directory that is being deleted.
    top: OwnedFd,
    /// How many directories were moved up to it.
    moved: u64,
}

impl Walk {
    /// Empties a directory, as far as that goes; the first failure is told.
    fn clear(&mut self, dir: OwnedFd, depth: usize) -> io::Result<()> {
        let mut dir = Dir::from_fd(dir)?;
        let entries: Vec<(CString, Option<Type>)> = dir
            .iter()
            .filter_map(Result::ok)
            .map(|entry| (entry.file_name().to_owned(), entry.file_type()))
            .filter(|(name, _)| name.as_bytes() != b"." && name.as_bytes() != b"..")
            .collect();
        let mut first = Ok(());
        for (name, kind) in entries {
            first = first.and(self.remove(&dir, &name, kind, depth));
        }
        first
    }

    /// Removes one entry.
    fn remove(
        &mut self,
        dir: &Dir,
        name: &CStr,
        kind: Option<Type>,
        depth: usize,
    ) -> io::Result<()> {
        if kind != Some(Type::Directory) {
            match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => return Ok(()),
                // A file system that tells no kinds.
                Err(Errno::EISDIR) => {}
                Err(errno) => return named(name, Err(errno)),
            }
        }
        let below = match open_dir(dir, name) {
            Err(Errno::ENOENT) => return Ok(()),
            other => named(name, other)?,
        };
        if depth >= MAX_DEPTH {
            drop(below);
            return self.move_up(dir, name);
        }
        self.clear(below, depth + 1)?;
        named(name, unlinkat(dir, name, UnlinkatFlags::RemoveDir))
    }

    /// Moves a deep directory to the top, for the next pass.
    fn move_up(&mut self, dir: &Dir, name: &CStr) -> io::Result<()> {
        loop {
            self.moved += 1;
            let target = format!(".podward-deep-{}", self.moved);
            match renameat(dir, name, &self.top, target.as_str()) {
                // The container has an entry of that name: take the next one.
                Err(Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR) => {}
                other => return named(name, other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::mount::{MsFlags, mount};

    use crate::host::tests::as_root;

    use super::*;

    #[test]
    fn a_deep_tree_goes_without_deep_recursion() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("pod");
        let mut at = top.clone();
        for _ in 0..300 {
            at.push("d");
        }
        fs::create_dir_all(&at).unwrap();
        fs::write(at.join("file"), "x").unwrap();
        fs::write(top.join(".podward-deep-1"), "in the way").unwrap();
        remove_tree(&top).unwrap();
        assert!(!top.exists());
        remove_tree(&top).unwrap();
        remove_tree(&top.join("below/nothing")).unwrap();
    }

    #[test]
    fn symlinks_are_deleted_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (top, outside) = (dir.path().join("pod"), dir.path().join("outside"));
        fs::create_dir(&top).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("keep"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, top.join("link")).unwrap();
        remove_tree(&top).unwrap();
        assert!(!top.exists() && outside.join("keep").exists());
    }

    #[test]
    fn mounts_are_undone_and_their_content_stays() {
        if !as_root("mounts_are_undone_and_their_content_stays") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (top, outside) = (dir.path().join("pod"), dir.path().join("outside"));
        fs::create_dir_all(top.join("a b/c")).unwrap();
        fs::create_dir_all(outside.join("c")).unwrap();
        fs::write(outside.join("keep"), "x").unwrap();
        let bind = |target: &Path| {
            mount(Some(&outside), target, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        };
        // Twice on the same point, and once more below it.
        bind(&top.join("a b"));
        bind(&top.join("a b"));
        bind(&top.join("a b/c"));
        remove_tree(&top).unwrap();
        assert!(!top.exists() && outside.join("keep").exists());
    }

    #[test]
    fn a_mount_that_stays_is_never_entered() {
        if !as_root("a_mount_that_stays_is_never_entered") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (top, outside) = (dir.path().join("pod"), dir.path().join("outside"));
        fs::create_dir_all(top.join("m")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("keep"), "x").unwrap();
        let point = top.join("m");
        mount(Some(&outside), &point, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        // Only the deletion, as if unmounting had failed.
        let error = delete(dir.path(), OsStr::new("pod")).unwrap_err();
        assert_eq!(error.to_string(), "m: still a mount");
        assert!(outside.join("keep").exists());
        remove_tree(&top).unwrap();
        assert!(!top.exists() && outside.join("keep").exists());
    }
}
