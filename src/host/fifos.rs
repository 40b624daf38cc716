//! The named pipes between the agent and a command in a container.
//!
//! One directory each, `<pod's run directory>/exec/<container>.<attempt>.<id>`, made before containerd hears of the
//! command and removed after it has forgotten it: whatever an agent that died has left behind is found by its name.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::{libc::O_NONBLOCK, sys::stat::Mode, unistd::mkfifo};
use tokio::net::unix::pipe::{self, Receiver, Sender};

use crate::base::ids::ExecId;

/// The directory below a pod's run directory.
const FOLDER: &str = "exec";

/// A command by its directory's name: the container, which of its runs, and the command's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The container's name.
    pub container: String,
    /// Which attempt.
    pub attempt: u32,
    /// The command's id.
    pub id: ExecId,
}

/// Where the pipes of a command are.
pub fn dir(run_dir: &Path, container: &str, attempt: u32, id: &ExecId) -> PathBuf {
    run_dir.join(FOLDER).join(format!("{container}.{attempt}.{id}"))
}

/// Every command of a pod that has pipes.
pub fn list(run_dir: &Path) -> Vec<Found> {
    let entries = fs::read_dir(run_dir.join(FOLDER)).into_iter().flatten().flatten();
    let found = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let mut parts = name.splitn(3, '.');
        let container = parts.next()?.to_owned();
        let attempt = parts.next()?.parse().ok()?;
        Some(Found { container, attempt, id: ExecId::new(parts.next()?) })
    };
    entries.filter_map(found).collect()
}

/// Makes the pipes of a command; fails with `AlreadyExists` when another one has left them there. `apart` tells its
/// errors from its output.
pub fn make(dir: &Path, stdin: bool, apart: bool) -> io::Result<()> {
    if let Some(parent) = dir.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    DirBuilder::new().mode(0o700).create(dir)?;
    for (name, wanted) in [("in", stdin), ("out", true), ("err", apart)] {
        if wanted {
            mkfifo(&dir.join(name), Mode::S_IRUSR | Mode::S_IWUSR)?;
        }
    }
    Ok(())
}

/// Removes the pipes of a command; doing it again is fine.
pub fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes the pipes that commands of one run of a container left.
pub fn remove_all(run_dir: &Path, container: &str, attempt: u32) -> io::Result<()> {
    let left = list(run_dir);
    let mut of_it =
        left.iter().filter(|found| found.container == container && found.attempt == attempt);
    of_it.try_for_each(|found| remove(&dir(run_dir, container, attempt, &found.id)))
}

/// The agent's ends of a command's pipes.
#[derive(Debug)]
pub struct Ends {
    /// What the command reads.
    pub stdin: Option<Sender>,
    /// What it says.
    pub stdout: Receiver,
    /// What it says on its standard error, when that is told apart.
    pub stderr: Option<Receiver>,
    /// Writing ends, so that an end is not seen before the command has begun.
    held: Vec<File>,
}

impl Ends {
    /// Opens them. The shim waits for somebody at the other end, so this comes before it hears of the command.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let mut held = Vec::new();
        let mut receiver = |name: &str| {
            let path = dir.join(name);
            let both =
                OpenOptions::new().read(true).write(true).custom_flags(O_NONBLOCK).open(&path)?;
            held.push(both);
            pipe::OpenOptions::new().open_receiver(path)
        };
        let stdout = receiver("out")?;
        let stderr = dir.join("err").exists().then(|| receiver("err")).transpose()?;
        let stdin = dir.join("in");
        // Open for reading as well: it may be written before the shim opens it.
        let sender = || pipe::OpenOptions::new().read_write(true).open_sender(&stdin);
        let stdin = stdin.exists().then(sender).transpose()?;
        Ok(Self { stdin, stdout, stderr, held })
    }

    /// The command has begun and its shim has the pipes open: from now on their end is the command's.
    pub fn begun(&mut self) {
        self.held.clear();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn pipes_are_found_by_name_and_end_with_their_writer() {
        let run = tempfile::tempdir().unwrap();
        let id = ExecId::new("probe-liveness");
        let dir = dir(run.path(), "main", 3, &id);
        make(&dir, true, true).unwrap();
        let again = make(&dir, true, true).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        let found = Found { container: "main".into(), attempt: 3, id };
        assert_eq!(list(run.path()), [found]);
        let mut ends = Ends::open(&dir).unwrap();
        assert!(ends.stdin.is_some() && ends.stderr.is_some());
        let writer = OpenOptions::new().write(true).open(dir.join("out")).unwrap();
        ends.begun();
        io::Write::write_all(&mut &writer, b"said").unwrap();
        drop(writer);
        let mut said = String::new();
        ends.stdout.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "said");
        remove_all(run.path(), "main", 2).unwrap();
        assert_eq!(list(run.path()).len(), 1);
        remove_all(run.path(), "main", 3).unwrap();
        remove(&dir).unwrap();
        assert_eq!(list(run.path()), []);
    }
}
