//! The socket file: who may use it, whose it is, and when it goes.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use nix::unistd::{Group, chown};
use tokio::net::UnixListener;

use super::ServeError;

/// The group whose members may use the socket without being root.
const GROUP: &str = "podward";

/// The file that this process made, to be removed only while it is still the same.
#[derive(Debug)]
pub struct SocketFile {
    /// The path.
    path: PathBuf,
    /// Device and inode.
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    /// Removes the file unless another process has replaced it.
    pub fn remove(&self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            // Left behind, it is found stale by the next agent.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens on `path` for root and the group `podward`.
pub fn bind(path: &Path) -> Result<(UnixListener, SocketFile), ServeError> {
    let failed = |step, path: &Path| {
        let path = path.to_owned();
        move |source| ServeError::Prepare { step, path, source }
    };
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)
            .map_err(failed("create", parent))?;
    }
    refuse_a_living_one(path)?;
    // Made under another name and renamed, so that nobody ever sees it with wider permissions.
    let mut fresh = path.as_os_str().to_owned();
    fresh.push("~");
    let fresh = PathBuf::from(fresh);
    match fs::remove_file(&fresh) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(failed("remove", &fresh)(source));
        }
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&fresh).map_err(failed("listen on", &fresh))?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o660))
        .map_err(failed("set the mode of", &fresh))?;
    if let Ok(Some(group)) = Group::from_name(GROUP) {
        chown(&fresh, None, Some(group.gid))
            .map_err(io::Error::from)
            .map_err(failed("give to the group podward", &fresh))?;
    }
    fs::rename(&fresh, path).map_err(failed("put in place", path))?;
    Ok((listener, SocketFile { path: path.to_owned(), identity: identity(path) }))
}

/// Refuses a path where an agent answers or where something else than a socket stands.
fn refuse_a_living_one(path: &Path) -> Result<(), ServeError> {
    match fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(found) if !found.file_type().is_socket() => {
            Err(ServeError::NotASocket { path: path.to_owned() })
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => Err(ServeError::InUse { path: path.to_owned() }),
            Err(_) => Ok(()),
        },
    }
}

/// Device and inode of a file.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}
