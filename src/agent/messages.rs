//! Termination messages: what a container that ended left as its last words.

use std::{path::PathBuf, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::base::{errors::Chain, ids::ContainerId};
use crate::host::{attempt_dir::AttemptDir, logs};
use crate::pod::{
    machine::{Exit, ExitKind},
    record::PodRecord,
    termination::{FILE_LIMIT, LOG_LIMIT, LOG_LINES, MessageRule},
};

use super::effects::{Effects, blocking};

/// Where one run of a container leaves its last words, and what becomes of them.
#[derive(Clone, Debug)]
pub(super) struct LastWords {
    /// containerd's id of the run.
    id: ContainerId,
    /// Which attempt it is.
    attempt: u32,
    /// The run's own directory.
    dir: AttemptDir,
    /// The directory of the container's logs.
    logs: PathBuf,
    /// What is kept.
    rule: MessageRule,
}

/// The end of a run as it is noted in the run's directory.
#[derive(Serialize, Deserialize)]
struct NotedEnd {
    /// The exit code.
    code: u32,
    /// When.
    at: Timestamp,
    /// Whether the kernel killed it for memory.
    out_of_memory: bool,
}

impl LastWords {
    /// Those of one run; `None` for a container that the template does not name.
    pub(super) fn of(
        effects: &Effects,
        record: &PodRecord,
        name: &str,
        attempt: u32,
    ) -> Option<Self> {
        let container = record.container(name)?;
        Some(Self {
            id: ContainerId::of(&record.uid, name, attempt),
            attempt,
            dir: AttemptDir::of(&effects.records.pod_dir(&record.uid), name, attempt),
            logs: effects.pod_log_dir(record).join(name),
            rule: MessageRule::of(record.spec(), container),
        })
    }

    /// The message of a run whose logger has ended, or had the time to write all that there was.
    pub(super) fn read(&self, exit: &Exit) -> String {
        let mut said = self.written();
        if self.rule.asks_log(&said, exit.code) {
            said = self.logged();
        }
        self.rule.message(&said)
    }

    /// How the run ended, when an agent noted that and then died.
    pub(super) fn noted(&self) -> Option<Exit> {
        let NotedEnd { code, at, out_of_memory } =
            serde_json::from_str(&self.dir.noted_end()?).ok()?;
        let kind = if out_of_memory { ExitKind::OutOfMemory } else { ExitKind::Ended };
        Some(Exit { code, at, kind, message: String::new() })
    }

    /// What the container wrote into its file.
    fn written(&self) -> Vec<u8> {
        self.dir.message(FILE_LIMIT).unwrap_or_else(|error| {
            warn!(container = %self.id, error = %Chain(&error), "failed to read a termination message");
            Vec::new()
        })
    }

    /// What the container wrote to its log last.
    fn logged(&self) -> Vec<u8> {
        logs::last_words(&self.logs, self.attempt, LOG_LINES, LOG_LIMIT).unwrap_or_default()
    }

    /// Notes the end where the next agent finds it.
    fn note(&self, exit: &Exit) -> std::io::Result<()> {
        let out_of_memory = exit.kind == ExitKind::OutOfMemory;
        let noted = NotedEnd { code: exit.code, at: exit.at, out_of_memory };
        self.dir.note_end(&serde_json::to_string(&noted)?)
    }
}

impl Effects {
    /// Adds its last words to the end of a run.
    pub(super) async fn explain(self: &Arc<Self>, words: Option<LastWords>, exit: Exit) -> Exit {
        let Some(words) = words else { return exit };
        let own = words.clone();
        let said = blocking(move || own.written()).await;
        if !words.rule.asks_log(&said, exit.code) {
            return Exit { message: words.rule.message(&said), ..exit };
        }
        self.await_logger(&words, &exit).await;
        let end = exit.clone();
        let message = blocking(move || words.read(&end)).await;
        Exit { message, ..exit }
    }

    /// Returns once the logger of a run that ended has written everything. The shim holds the logger's pipes until
    /// the task is deleted, and then waits for the logger's end. With the task goes containerd's memory of the exit,
    /// so that is noted first.
    async fn await_logger(self: &Arc<Self>, words: &LastWords, exit: &Exit) {
        let (own, end) = (words.clone(), exit.clone());
        if let Err(error) = blocking(move || own.note(&end)).await {
            warn!(container = %words.id, error = %Chain(&error), "failed to note the end of a container");
            return;
        }
        let deleted = self.daemon.call(|| self.daemon.client.remove_task(&words.id)).await;
        if let Err(error) = deleted {
            warn!(container = %words.id, error = %Chain(&error), "failed to delete a task that ended");
        }
    }
}
