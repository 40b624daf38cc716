//! The end of a container, alone or with its pod: preStop hook, stop signal, grace, kill; and the end of a pod, whose
//! sidecars wait for those they serve and whose removal comes when the last process is gone.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::base::{backoff::Backoff, time::Now};

use super::{
    containers::State,
    machine::{Effect, Hook, Input, Pod, Signal, Stage, note, warning},
    record::Deletion,
    restart::{Role, names},
};

/// Whatever the grace, a process gets this long between stop signal and kill; only a grace of zero kills at once.
const LEAST_GRACE: Duration = Duration::from_secs(2);

/// How long a killed process may take to be gone before the kill is repeated.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// How far the stop of a container is.
#[derive(Debug, Clone, PartialEq)]
pub struct Stop {
    /// Why it is stopped.
    pub cause: StopCause,
    /// What it waits for.
    pub step: StopStep,
    /// When that has taken long enough.
    pub due: Instant,
    /// How many kills were sent.
    pub kills: u32,
}

/// Why a container is stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopCause {
    /// A probe condemned it; its policy decides whether it starts again.
    Probe,
    /// Its postStart hook failed, with the text for the operator.
    PostStart(String),
    /// Nobody is left whom it serves.
    Over,
    /// Its pod goes.
    Pod,
}

/// What a stop waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopStep {
    /// The end of the preStop hook.
    Hook,
    /// The end of those that it serves.
    Turn,
    /// The end of the process, which has had its signal.
    Process,
}

impl Pod {
    /// Begins to stop the pod. `busy` says that a sandbox effect is under way, whose answer must come first.
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

    /// Stops whatever runs; with nothing in the way the removal follows at once.
    pub(super) fn stop_processes(
        &mut self,
        now: Now,
        grace: Duration,
        busy: bool,
        out: &mut Vec<Effect>,
    ) -> Stage {
        for probes in self.probes.values_mut() {
            probes.keep_readiness();
        }
        for name in names(self.record.spec()) {
            match self.containers.get_mut(&name) {
                Some(State::Running { .. } | State::Hooking { .. }) => {
                    out.push(note("Killing", format!("Stopping container {name}")));
                    self.begin_stop(now, &name, grace, StopCause::Pod, out);
                }
                Some(State::Stopping { stop, .. }) => {
                    // The grace of the pod's end counts from here on, and only ever shortens another.
                    stop.cause = StopCause::Pod;
                    stop.due = stop.due.min(now.mono + grace);
                    if grace.is_zero() && stop.kills == 0 {
                        self.kill(now, &name, out);
                    }
                }
                Some(state @ (State::Waiting { .. } | State::Pulling { .. })) => {
                    *state = State::Ended;
                }
                Some(State::Starting { .. } | State::Ended) | None => {}
            }
        }
        self.settle(now, now.mono + grace, busy, out)
    }

    /// Begins to stop one container whose process runs.
    pub(super) fn begin_stop(
        &mut self,
        now: Now,
        name: &str,
        grace: Duration,
        cause: StopCause,
        out: &mut Vec<Effect>,
    ) {
        let state = self.containers.get(name);
        let Some(attempt) = state.and_then(State::attempt) else { return };
        if let Some(probes) = self.probes.get_mut(name) {
            probes.keep_readiness();
        }
        let hooked = self.hook_of(name, Hook::PreStop)
            && self.record_of(name).pre_stop != Some(attempt)
            && !grace.is_zero();
        let step = if hooked { StopStep::Hook } else { StopStep::Turn };
        let begun = Stop { cause, step, due: now.mono + grace, kills: 0 };
        self.containers.insert(name.to_owned(), State::Stopping { attempt, stop: begun });
        if hooked {
            let (container, hook) = (name.to_owned(), Hook::PreStop);
            out.push(Effect::RunHook { container, attempt, hook, timeout: Some(grace) });
        } else if grace.is_zero() {
            self.kill(now, name, out);
        } else {
            self.signal_in_turn(now, out);
        }
    }

    /// A preStop hook is through: the signal is next.
    pub(super) fn pre_stop_done(
        &mut self,
        now: Now,
        name: &str,
        attempt: u32,
        out: &mut Vec<Effect>,
    ) {
        self.record_of(name).pre_stop = Some(attempt);
        out.push(Effect::Save);
        if let Some(State::Stopping { stop, .. }) = self.containers.get_mut(name)
            && stop.step == StopStep::Hook
        {
            stop.step = StopStep::Turn;
            self.signal_in_turn(now, out);
        }
    }

    /// Signals those whose turn has come.
    fn signal_in_turn(&mut self, now: Now, out: &mut Vec<Effect>) {
        for name in names(self.record.spec()) {
            let waits = matches!(self.containers.get(&name),
                Some(State::Stopping { stop, .. }) if stop.step == StopStep::Turn);
            if waits && self.may_go(&name) {
                self.signal(now, &name, out);
            }
        }
    }

    /// Whether nobody needs the container any more. With its pod a sidecar outlives those that started after it.
    fn may_go(&self, name: &str) -> bool {
        let with_pod = matches!(self.containers.get(name),
            Some(State::Stopping { stop, .. }) if stop.cause == StopCause::Pod);
        if !with_pod || self.role(name) != Role::Sidecar {
            return true;
        }
        let all = names(self.record.spec());
        let mut later = all.iter().skip_while(|other| *other != name).skip(1);
        later.all(|other| {
            let ended = matches!(self.containers.get(other), Some(State::Ended) | None);
            ended || self.role(other) == Role::Init
        })
    }

    /// Sends the stop signal. What is left of the grace is what the process gets, and a little at least.
    fn signal(&mut self, now: Now, name: &str, out: &mut Vec<Effect>) {
        if let Some(State::Stopping { attempt, stop }) = self.containers.get_mut(name) {
            stop.step = StopStep::Process;
            stop.due = stop.due.max(now.mono + LEAST_GRACE);
            out.push(signal_to(name, *attempt, Signal::Stop));
        }
    }

    /// Kills a process; from the second time on, and when its pod goes, all that is in the pod's cgroup.
    fn kill(&mut self, now: Now, name: &str, out: &mut Vec<Effect>) {
        let Some(State::Stopping { attempt, stop }) = self.containers.get_mut(name) else {
            return;
        };
        stop.step = StopStep::Process;
        stop.due = now.mono + KILL_PATIENCE;
        stop.kills += 1;
        out.push(signal_to(name, *attempt, Signal::Kill));
        if stop.kills > 1 && stop.cause == StopCause::Pod && !out.contains(&Effect::KillPod) {
            out.push(warning("FailedKillPod", "processes outlived SIGKILL; killing the cgroup"));
            out.push(Effect::KillPod);
        }
    }

    /// Takes the next step with those whose present one has taken long enough.
    pub(super) fn stops_due(&mut self, now: Now, out: &mut Vec<Effect>) {
        for name in names(self.record.spec()) {
            let Some(State::Stopping { stop, .. }) = self.containers.get(&name) else { continue };
            if stop.due > now.mono {
                continue;
            }
            match stop.step {
                // The grace is over, whatever it was spent on: the signal, a moment, the kill.
                StopStep::Hook | StopStep::Turn => self.signal(now, &name, out),
                StopStep::Process => self.kill(now, &name, out),
            }
        }
    }

    /// Goes on to the removal once no process and no effect of the pod is left.
    fn settle(&mut self, now: Now, until: Instant, busy: bool, out: &mut Vec<Effect>) -> Stage {
        self.signal_in_turn(now, out);
        if busy || self.containers.values().any(|state| *state != State::Ended) {
            return Stage::Stopping { until, busy };
        }
        out.push(Effect::RemovePod);
        Stage::Cleaning { backoff: Backoff::default(), retry_at: None }
    }

    /// Stopping: processes end, or are killed when their grace is over.
    pub(super) fn when_stopping(
        &mut self,
        now: Now,
        mut until: Instant,
        mut busy: bool,
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
                self.started_too_late(now, &container, attempt, at, until, out);
            }
            Input::StartFailed { container, attempt, .. } => {
                if self.awaits_start(&container, attempt) {
                    self.containers.insert(container, State::Ended);
                }
            }
            Input::Probed { container, attempt, kind, outcome } => {
                self.probed(now, &container, attempt, kind, outcome, out);
            }
            Input::HookDone { container, attempt, hook, outcome } => {
                self.hook_done(now, &container, attempt, hook, outcome, out);
            }
            Input::SandboxReady { .. }
            | Input::SandboxFailed(_)
            | Input::ResetDone
            | Input::ResetFailed(_) => busy = false,
            Input::Deadline => {
                self.stops_due(now, out);
                self.probes_due(now, out);
            }
            Input::Delete { grace, .. } => {
                until = until.min(now.mono + grace);
                self.shorten(now, grace, out);
            }
            Input::ImageReady { .. }
            | Input::PullFailed { .. }
            | Input::ImagesChanged
            | Input::ObjectsChanged
            | Input::SandboxLost
            | Input::PodRemoved
            | Input::RemoveFailed(_) => {}
        }
        self.settle(now, until, busy, out)
    }

    /// A second wish to delete the pod can only make its end come sooner.
    fn shorten(&mut self, now: Now, grace: Duration, out: &mut Vec<Effect>) {
        if let Some(deletion) = &mut self.record.deletion {
            deletion.grace = deletion.grace.min(grace);
            out.push(Effect::Save);
        }
        for name in names(self.record.spec()) {
            if let Some(State::Stopping { stop, .. }) = self.containers.get_mut(&name)
                && stop.kills == 0
            {
                stop.due = stop.due.min(now.mono + grace);
                if grace.is_zero() {
                    self.kill(now, &name, out);
                }
            }
        }
    }

    /// A start that was under way when the deletion came: its process is stopped like the others.
    fn started_too_late(
        &mut self,
        now: Now,
        container: &str,
        attempt: u32,
        at: Timestamp,
        until: Instant,
        out: &mut Vec<Effect>,
    ) {
        if !self.awaits_start(container, attempt) {
            return;
        }
        self.note_start(container, attempt, at);
        out.push(Effect::Save);
        out.push(Effect::Watch { container: container.to_owned(), attempt });
        let killing = self.record.deletion.as_ref().is_some_and(|asked| asked.grace.is_zero());
        let rest = until.saturating_duration_since(now.mono);
        let grace = if killing { Duration::ZERO } else { rest.max(LEAST_GRACE) };
        self.begin_stop(now, container, grace, StopCause::Pod, out);
    }
}

/// A signal to one attempt.
fn signal_to(container: &str, attempt: u32, signal: Signal) -> Effect {
    Effect::Signal { container: container.to_owned(), attempt, signal }
}
