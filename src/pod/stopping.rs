//! The end of a pod: stop signal, grace, kill, and removal when the last process is gone.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::base::{backoff::Backoff, time::Now};

use super::{
    containers::State,
    machine::{Effect, Input, Pod, Signal, Stage, note, warning},
    record::Deletion,
};

/// Whatever the grace, a process gets this long between stop signal and kill; only a grace of zero kills at once.
const LEAST_GRACE: Duration = Duration::from_secs(2);

/// How long a killed process may take to be gone before the kill is repeated.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

impl Pod {
    /// Begins to stop. `busy` says that a sandbox effect is under way, whose answer must come first.
    pub(super) fn stop(
        &mut self,
        now: Now,
        grace: Duration,
        cause: String,
        busy: bool,
        out: &mut Vec<Effect>,
    ) -> Stage {
        self.record.deletion = Some(Deletion { requested: now.wall, grace, cause });
        out.push(Effect::Save);
        self.stop_processes(now, grace, busy, out)
    }

    /// Signals whatever runs; with nothing in the way the removal follows at once.
    pub(super) fn stop_processes(
        &mut self,
        now: Now,
        grace: Duration,
        busy: bool,
        out: &mut Vec<Effect>,
    ) -> Stage {
        let signal = if grace.is_zero() { Signal::Kill } else { Signal::Stop };
        let wait = if grace.is_zero() { KILL_PATIENCE } else { grace.max(LEAST_GRACE) };
        for (container, state) in &mut self.containers {
            match state {
                State::Running { attempt } => {
                    out.push(note("Killing", format!("Stopping container {container}")));
                    out.push(signal_to(container, *attempt, signal));
                }
                State::Waiting { .. } => *state = State::Ended,
                State::Starting { .. } | State::Ended => {}
            }
        }
        let kills = u32::from(grace.is_zero());
        self.settle(now.mono + wait, kills, busy, out)
    }

    /// Goes on to the removal once no process and no effect of the pod is left.
    fn settle(&mut self, kill_at: Instant, kills: u32, busy: bool, out: &mut Vec<Effect>) -> Stage {
        if busy || self.containers.values().any(|state| *state != State::Ended) {
            return Stage::Stopping { kill_at, kills, busy };
        }
        out.push(Effect::RemovePod);
        Stage::Cleaning { backoff: Backoff::default(), retry_at: None }
    }

    /// Stopping: processes end, or are killed when their grace is over.
    pub(super) fn when_stopping(
        &mut self,
        now: Now,
        (mut kill_at, mut kills, mut busy): (Instant, u32, bool),
        input: Input,
        out: &mut Vec<Effect>,
    ) -> Stage {
        match input {
            Input::Exited { container, attempt, exit } => {
                if self.note_exit(&container, attempt, &exit, out) {
                    self.containers.insert(container, State::Ended);
                    out.push(Effect::Save);
                }
            }
            Input::Started { container, attempt, at, .. } => {
                self.started_too_late(&container, attempt, at, kills, out);
            }
            Input::StartFailed { container, attempt, .. } => {
                if self.awaits_start(&container, attempt) {
                    self.containers.insert(container, State::Ended);
                }
            }
            Input::SandboxReady { .. }
            | Input::SandboxFailed(_)
            | Input::ResetDone
            | Input::ResetFailed(_) => busy = false,
            Input::Deadline if kill_at <= now.mono => {
                self.kill(kills, out);
                kills += 1;
                kill_at = now.mono + KILL_PATIENCE;
            }
            Input::Delete { grace, .. } => {
                kill_at = kill_at.min(now.mono + grace);
                if let Some(deletion) = &mut self.record.deletion {
                    deletion.grace = deletion.grace.min(grace);
                }
            }
            Input::Deadline
            | Input::ImagesChanged
            | Input::ObjectsChanged
            | Input::PodRemoved
            | Input::RemoveFailed(_) => {}
        }
        self.settle(kill_at, kills, busy, out)
    }

    /// A start that was under way when the deletion came: its process is stopped like the others.
    fn started_too_late(
        &mut self,
        container: &str,
        attempt: u32,
        at: Timestamp,
        kills: u32,
        out: &mut Vec<Effect>,
    ) {
        if !self.awaits_start(container, attempt) {
            return;
        }
        let record = self.record_of(container);
        record.attempt = Some(attempt);
        record.running_since = Some(at);
        self.containers.insert(container.to_owned(), State::Running { attempt });
        let signal = if kills == 0 { Signal::Stop } else { Signal::Kill };
        out.push(Effect::Save);
        out.push(Effect::Watch { container: container.to_owned(), attempt });
        out.push(signal_to(container, attempt, signal));
    }

    /// Kills what outlived its grace; from the second time on the whole cgroup.
    fn kill(&self, kills: u32, out: &mut Vec<Effect>) {
        for (container, state) in &self.containers {
            if let State::Running { attempt } = state {
                out.push(signal_to(container, *attempt, Signal::Kill));
            }
        }
        if kills > 0 {
            out.push(warning("FailedKillPod", "processes outlived SIGKILL; killing the cgroup"));
            out.push(Effect::KillPod);
        }
    }
}

/// A signal to one attempt.
fn signal_to(container: &str, attempt: u32, signal: Signal) -> Effect {
    Effect::Signal { container: container.to_owned(), attempt, signal }
}
