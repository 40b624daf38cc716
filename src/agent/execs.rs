//! Commands in containers as the agent runs them: begun with their pipes, ended with nothing left of them.
//!
//! A command's pipes are made first and removed last, so a command that an agent left behind is found by its pipes:
//! [`Effects::sweep_execs`] ends it, unless it is a hook, which is not to be run twice.

use std::{io, path::PathBuf, time::Duration};

use tracing::{info, warn};

use crate::base::{
    errors::Chain,
    ids::{ContainerId, ExecId, PodUid},
};
use crate::host::{
    fifos::{self, Ends},
    processes,
};
use crate::pod::record::PodRecord;
use crate::runtime::containerd::{Class, Error, NewExec, Task, TaskStatus, Terminal};

use super::effects::Effects;

/// How the ids of hooks begin.
pub(super) const HOOK: &str = "hook-";

/// How often, and at which pace, a start that was under way when an agent died is looked at until it is over.
const LOOKS: u32 = 20;
/// See [`LOOKS`].
const LOOK: Duration = Duration::from_millis(50);

/// Where a command runs, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecPlace {
    /// The pod.
    pub pod: PodUid,
    /// The container.
    pub container: String,
    /// Which run of it.
    pub attempt: u32,
    /// The command's id, which no other command has in this run.
    pub id: ExecId,
}

impl ExecPlace {
    /// containerd's id of the container's run.
    pub fn container_id(&self) -> ContainerId {
        ContainerId::of(&self.pod, &self.container, self.attempt)
    }
}

/// A command that runs.
#[derive(Debug)]
pub struct Begun {
    /// Its process on this host.
    pub pid: u32,
    /// The agent's ends of its pipes.
    pub ends: Ends,
}

/// Why a command did not begin.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// Its pipes could not be made.
    #[error("make the pipes of exec {id}")]
    Pipes {
        /// The command's id.
        id: ExecId,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// containerd or the runtime refuses.
    #[error(transparent)]
    Containerd(#[from] Error),
}

impl Effects {
    /// Where the pipes of a command are.
    fn pipes(&self, place: &ExecPlace) -> PathBuf {
        let run_dir = self.paths.sandbox(&place.pod);
        fifos::dir(&run_dir, &place.container, place.attempt, &place.id)
    }

    /// Starts a command. One of the same id that is there already is ended first; nothing is left of a start that
    /// failed. Its pipes lie in memory, so that making them holds up nobody.
    pub(super) async fn begin_exec(
        &self,
        place: &ExecPlace,
        args: Vec<String>,
        stdin: bool,
        terminal: Option<Terminal>,
        apart: bool,
    ) -> Result<Begun, ExecError> {
        let dir = self.pipes(place);
        let failed = |source| ExecError::Pipes { id: place.id.clone(), source };
        match fifos::make(&dir, stdin, apart) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.end_exec(place).await;
                fifos::make(&dir, stdin, apart).map_err(failed)?;
            }
            made => made.map_err(failed)?,
        }
        let new = NewExec {
            container: place.container_id(),
            id: place.id.clone(),
            args,
            terminal,
            stdin: stdin.then(|| dir.join("in")),
            stdout: dir.join("out"),
            stderr: dir.join(if apart { "err" } else { "out" }),
        };
        let begun = match Ends::open(&dir) {
            Ok(ends) => self.start_exec(&new, ends).await,
            Err(error) => Err(failed(error)),
        };
        if begun.is_err() {
            self.end_exec(place).await;
        }
        begun
    }

    /// Has containerd make a command and start it.
    async fn start_exec(&self, new: &NewExec, mut ends: Ends) -> Result<Begun, ExecError> {
        let client = &self.daemon.client;
        match client.create_exec(new).await {
            Err(error) if error.class() == Class::Exists => {
                client.remove_exec(&new.container, &new.id).await?;
                client.create_exec(new).await?;
            }
            made => made?,
        }
        let pid = client.start_exec(&new.container, &new.id).await?;
        ends.begun();
        Ok(Begun { pid, ends })
    }

    /// Takes up a command that another agent began; `None` when there is none.
    pub(super) async fn resume_exec(&self, place: &ExecPlace) -> Result<Option<Begun>, ExecError> {
        let client = &self.daemon.client;
        let id = place.container_id();
        let Some(there) = self.daemon.call(|| client.exec(&id, &place.id)).await? else {
            return Ok(None);
        };
        let dir = self.pipes(place);
        let failed = |source| ExecError::Pipes { id: place.id.clone(), source };
        match fifos::make(&dir, false, false) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed(error));
            }
            _ => {}
        }
        let mut ends = Ends::open(&dir).map_err(failed)?;
        let pid = match there.status {
            TaskStatus::Created => client.start_exec(&id, &place.id).await?,
            TaskStatus::Running
            | TaskStatus::Stopped
            | TaskStatus::Paused
            | TaskStatus::Unknown => there.pid,
        };
        ends.begun();
        Ok(Some(Begun { pid, ends }))
    }

    /// Ends a command with all that it started, and removes what is left of it.
    pub(super) async fn end_exec(&self, place: &ExecPlace) {
        let client = &self.daemon.client;
        let there = client.exec(&place.container_id(), &place.id).await;
        if let Ok(Some(there)) = &there
            && matches!(there.status, TaskStatus::Running | TaskStatus::Paused)
        {
            processes::kill_tree(there.pid);
        }
        match there {
            // There is nothing but pipes.
            Ok(None) => Self::report_exec(place, self.remove_pipes(place)),
            Ok(Some(_)) => self.clear_exec(place).await,
            Err(error) => Self::report_exec(place, Err(error.into())),
        }
    }

    /// Removes what is left of a command that has ended.
    pub(super) async fn clear_exec(&self, place: &ExecPlace) {
        let removed = self.daemon.client.remove_exec(&place.container_id(), &place.id).await;
        let removed = removed.map_err(ExecError::from);
        Self::report_exec(place, removed.and_then(|()| self.remove_pipes(place)));
    }

    /// Removes a command's pipes.
    fn remove_pipes(&self, place: &ExecPlace) -> Result<(), ExecError> {
        let failed = |source| ExecError::Pipes { id: place.id.clone(), source };
        fifos::remove(&self.pipes(place)).map_err(failed)
    }

    /// Logs that something is left of a command. Its pipes are still there, and by them the next one of its id, or the
    /// next agent, finds it.
    fn report_exec(place: &ExecPlace, ended: Result<(), ExecError>) {
        if let Err(error) = ended {
            warn!(pod = %place.pod, container = place.container, error = %Chain(&error), "failed to end an exec");
        }
    }

    /// Opens the pipes that earlier agents have left in a pod. A shim that is in the middle of a start waits for somebody
    /// at their other end, and keeps whoever asks it about its containers waiting as well.
    pub(super) fn open_pipes(&self, record: &PodRecord) -> Vec<Ends> {
        let run_dir = self.paths.sandbox(&record.uid);
        let found = fifos::list(&run_dir).into_iter();
        let dirs = found.map(|one| fifos::dir(&run_dir, &one.container, one.attempt, &one.id));
        // What cannot be opened was half made: no shim has heard of it.
        dirs.filter_map(|dir| Ends::open(&dir).ok()).collect()
    }

    /// Lets the start of a command come to its end that was under way when an agent died.
    async fn await_start(&self, place: &ExecPlace) {
        for _ in 0..LOOKS {
            let there = self.daemon.client.exec(&place.container_id(), &place.id).await;
            if !matches!(there, Ok(Some(Task { status: TaskStatus::Created, .. }))) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends what commands of people and of probes earlier agents have left in a pod.
    pub(super) async fn sweep_execs(&self, record: &PodRecord) {
        for found in fifos::list(&self.paths.sandbox(&record.uid)) {
            if found.id.as_str().starts_with(HOOK) {
                continue;
            }
            let place = ExecPlace {
                pod: record.uid.clone(),
                container: found.container,
                attempt: found.attempt,
                id: found.id,
            };
            info!(
                pod = record.name,
                container = place.container,
                "ending an exec that was left behind"
            );
            self.await_start(&place).await;
            self.end_exec(&place).await;
        }
    }
}
