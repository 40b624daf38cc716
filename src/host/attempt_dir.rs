//! What one run of a container has to itself on this host: its termination message, a note of its end, its
//! anonymous volumes. It comes with the run and goes with it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc;

use crate::base::errors::Errors;

use super::removal::remove_tree;

/// The directory of one run: `<pod>/containers/<name>/<attempt>`.
#[derive(Clone, Debug)]
pub struct AttemptDir(PathBuf);

impl AttemptDir {
    /// The directory of that run; nothing is made yet.
    pub fn of(pod_dir: &Path, container: &str, attempt: u32) -> Self {
        Self(pod_dir.join("containers").join(container).join(attempt.to_string()))
    }

    /// The file that the container finds at its terminationMessagePath.
    pub fn message_file(&self) -> PathBuf {
        self.0.join("message")
    }

    /// Where the anonymous volume of that number lies.
    pub fn volume(&self, number: usize) -> PathBuf {
        self.0.join("volumes").join(number.to_string())
    }

    /// Makes it fresh: whatever an earlier try of the same start left is gone.
    pub fn create(&self) -> io::Result<()> {
        self.remove().map_err(io::Error::other)?;
        DirBuilder::new().recursive(true).mode(0o755).create(&self.0)?;
        let file = OpenOptions::new().write(true).create_new(true).open(self.message_file())?;
        // Every user may write to it; the umask has no say.
        file.set_permissions(Permissions::from_mode(0o666))
    }

    /// The last bytes of the message, none when there is no file.
    pub fn message(&self, limit: usize) -> io::Result<Vec<u8>> {
        // A container that runs as the host's root may have put anything in the file's place.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let opened = File::options().read(true).custom_flags(flags).open(self.message_file());
        let mut file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let found = file.metadata()?;
        if !found.is_file() {
            return Ok(Vec::new());
        }
        let limit = limit as u64;
        file.seek(SeekFrom::Start(found.len().saturating_sub(limit)))?;
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Notes how the run ended, for an agent that finds it without its task.
    pub fn note_end(&self, note: &str) -> io::Result<()> {
        let fresh = self.0.join("end.new");
        fs::write(&fresh, note)?;
        fs::rename(fresh, self.0.join("end"))
    }

    /// The note of the run's end, if somebody left one.
    pub fn noted_end(&self) -> Option<String> {
        fs::read_to_string(self.0.join("end")).ok()
    }

    /// Removes it with all that is in it; a missing one is fine.
    pub fn remove(&self) -> Result<(), Errors> {
        remove_tree(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn the_file_is_open_to_all_and_its_end_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let attempt = AttemptDir::of(dir.path(), "main", 3);
        assert_eq!(attempt.message(10).unwrap(), b"");
        attempt.create().unwrap();
        assert_eq!(fs::metadata(attempt.message_file()).unwrap().mode() & 0o777, 0o666);
        assert_eq!(attempt.message(10).unwrap(), b"");
        fs::write(attempt.message_file(), "0123456789abc").unwrap();
        assert_eq!(attempt.message(10).unwrap(), b"3456789abc");
        assert_eq!(attempt.message(100).unwrap(), b"0123456789abc");
        attempt.remove().unwrap();
        attempt.remove().unwrap();
        assert_eq!(fs::read_dir(dir.path().join("containers/main")).unwrap().count(), 0);
    }

    #[test]
    fn a_start_that_is_tried_again_finds_nothing_of_the_last_try() {
        let dir = tempfile::tempdir().unwrap();
        let attempt = AttemptDir::of(dir.path(), "main", 0);
        attempt.create().unwrap();
        fs::write(attempt.message_file(), "old").unwrap();
        attempt.note_end("old").unwrap();
        fs::create_dir_all(attempt.volume(0)).unwrap();
        attempt.create().unwrap();
        assert_eq!(attempt.message(10).unwrap(), b"");
        assert_eq!(attempt.noted_end(), None);
        assert!(!attempt.volume(0).exists());
    }

    #[test]
    fn what_is_no_file_any_more_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let attempt = AttemptDir::of(dir.path(), "main", 0);
        attempt.create().unwrap();
        fs::remove_file(attempt.message_file()).unwrap();
        fs::create_dir(attempt.message_file()).unwrap();
        assert_eq!(attempt.message(10).unwrap(), b"");
        fs::remove_dir(attempt.message_file()).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", attempt.message_file()).unwrap();
        assert!(attempt.message(10).is_err());
    }
}
