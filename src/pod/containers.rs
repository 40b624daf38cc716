//! A container's life inside its pod: starting, running, ending, waiting to be started again.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::base::{
    backoff::Backoff,
    time::{Now, elapsed, go_duration},
};

use super::{
    fault::{IMAGE_GONE, PULL_ERROR, StartFault},
    machine::{Effect, Exit, ExitKind, Pod, Stage, note, warning},
    record::{ContainerRecord, Terminated},
    restart::{Ending, restarts},
    stopping::{Stop, StopCause},
};

/// A container that ran this long since its back-off last grew starts with a clean slate.
const FORGIVEN_AFTER: Duration = Duration::from_mins(10);

/// Where one container stands.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// It is not started.
    Waiting {
        /// Why, as the operator sees it.
        reason: &'static str,
        /// More of it.
        message: String,
        /// When it is tried again; `None` when something else must happen first.
        retry_at: Option<Instant>,
        /// The back-off of starts that failed.
        faults: Backoff,
    },
    /// Its image is sought here, or comes out of a registry.
    Pulling {
        /// The back-off of starts that failed.
        faults: Backoff,
    },
    /// A start is under way.
    Starting {
        /// The attempt.
        attempt: u32,
        /// The back-off of starts that failed.
        faults: Backoff,
        /// The ended attempt that is removed once this one runs, since removing it first would take time.
        previous: Option<u32>,
    },
    /// Its process runs, and its postStart hook has not come to its end: for the operator it is not up yet.
    Hooking {
        /// The attempt.
        attempt: u32,
    },
    /// Its process runs.
    Running {
        /// The attempt.
        attempt: u32,
    },
    /// Its process runs and is being stopped.
    Stopping {
        /// The attempt.
        attempt: u32,
        /// How far that is.
        stop: Stop,
    },
    /// Its process ended, and there will be no other: its pod is going, or it did all that it should.
    Ended,
}

impl State {
    /// The attempt whose process runs.
    pub fn attempt(&self) -> Option<u32> {
        match self {
            Self::Hooking { attempt }
            | Self::Running { attempt }
            | Self::Stopping { attempt, .. } => Some(*attempt),
            Self::Waiting { .. } | Self::Pulling { .. } | Self::Starting { .. } | Self::Ended => {
                None
            }
        }
    }

    /// Whether it waits for nothing but its turn to be started.
    pub fn idle(&self) -> bool {
        matches!(self, Self::Waiting { retry_at: None, .. })
    }

    /// When something about it is due: its next start, or the next step of its stop.
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Waiting { retry_at, .. } => *retry_at,
            Self::Stopping { stop, .. } => Some(stop.due),
            Self::Pulling { .. }
            | Self::Starting { .. }
            | Self::Hooking { .. }
            | Self::Running { .. }
            | Self::Ended => None,
        }
    }
}

/// The terminated state that an exit leaves behind.
pub(super) fn terminated(attempt: u32, started: Option<Timestamp>, exit: &Exit) -> Terminated {
    let (exit_code, reason, message) = match &exit.kind {
        ExitKind::OutOfMemory => (exit.code, "OOMKilled", exit.message.clone()),
        ExitKind::Lost => (255, "Unknown", "nobody saw how the container ended".into()),
        ExitKind::NeverRan(message) => (128, "StartError", message.clone()),
        ExitKind::Ended if exit.code == 0 => (0, "Completed", exit.message.clone()),
        ExitKind::Ended => (exit.code, "Error", exit.message.clone()),
    };
    Terminated { attempt, exit_code, reason: reason.into(), message, started, finished: exit.at }
}

impl Pod {
    /// A container before its first start.
    pub(super) fn creating(&self) -> State {
        let initializes =
            self.record.spec().init_containers.as_ref().is_some_and(|c| !c.is_empty());
        State::Waiting {
            reason: if initializes && self.record.initialized.is_none() {
                "PodInitializing"
            } else {
                "ContainerCreating"
            },
            message: String::new(),
            retry_at: None,
            faults: Backoff::default(),
        }
    }

    /// Starts the next attempt of one container, once its image is here: what it ran before it runs again.
    pub(super) fn start(
        &mut self,
        name: &str,
        faults: Backoff,
        previous: Option<u32>,
        out: &mut Vec<Effect>,
    ) {
        if self.lost {
            // There is nothing to start it in; it starts with the next sandbox.
            self.containers.insert(name.to_owned(), self.creating());
            return;
        }
        if self.record_of(name).image.is_some() {
            return self.launch(name, faults, previous, out);
        }
        self.leftovers.extend(previous.map(|attempt| (name.to_owned(), attempt)));
        self.pull(name, faults, out);
    }

    /// Starts the next attempt of one container whose image is here.
    pub(super) fn launch(
        &mut self,
        name: &str,
        faults: Backoff,
        previous: Option<u32>,
        out: &mut Vec<Effect>,
    ) {
        let attempt = self.record_of(name).attempt.map_or(0, |attempt| attempt + 1);
        // Children of a container without a PID namespace of its own may still hold what the next one needs.
        let host_pid = self.record.spec().host_pid == Some(true);
        let (remove_first, previous) = if host_pid { (previous, None) } else { (None, previous) };
        self.containers.insert(name.to_owned(), State::Starting { attempt, faults, previous });
        out.push(Effect::StartContainer { container: name.to_owned(), attempt, remove_first });
    }

    /// Removes the attempt that a start replaced, now that the start is over.
    fn remove_previous(&mut self, name: &str) {
        if let Some(State::Starting { previous, .. }) = self.containers.get_mut(name)
            && let Some(attempt) = previous.take()
        {
            self.leftovers.push((name.to_owned(), attempt));
        }
    }

    /// Removes what ended attempts have left, unless a start is under way and nothing runs: the last container to go
    /// takes the pod's shim with it, and a start that is about to use that shim would fail.
    pub(super) fn discard(&mut self, out: &mut Vec<Effect>) {
        if self.stage != Stage::Up {
            // What is removed as a whole needs no removal of its parts.
            return self.leftovers.clear();
        }
        let starting = |state: &State| matches!(state, State::Starting { .. });
        let runs = self.containers.values().any(|state| state.attempt().is_some());
        if runs || !self.containers.values().any(starting) {
            for (container, attempt) in std::mem::take(&mut self.leftovers) {
                out.push(Effect::RemoveContainer { container, attempt });
            }
        }
    }

    /// Its history, made empty when there is none yet.
    pub(super) fn record_of(&mut self, name: &str) -> &mut ContainerRecord {
        self.record.containers.entry(name.to_owned()).or_default()
    }

    /// A start succeeded.
    pub(super) fn started(
        &mut self,
        now: Now,
        name: &str,
        attempt: u32,
        at: Timestamp,
        out: &mut Vec<Effect>,
    ) {
        if !self.awaits_start(name, attempt) {
            return;
        }
        self.remove_previous(name);
        self.note_start(name, attempt, at);
        out.push(Effect::Save);
        out.push(Effect::Watch { container: name.to_owned(), attempt });
        out.push(note("Created", format!("Container {name} created")));
        out.push(note("Started", format!("Container {name} started")));
        self.begin(now, name, attempt, out);
    }

    /// Keeps that an attempt runs; nothing that an earlier one earned holds for it.
    pub(super) fn note_start(&mut self, name: &str, attempt: u32, at: Timestamp) {
        let record = self.record_of(name);
        record.attempt = Some(attempt);
        record.running_since = Some(at);
        (record.started, record.ready) = (false, false);
        self.containers.insert(name.to_owned(), State::Running { attempt });
    }

    /// A start failed before there was a process: it is tried again, ever more seldom.
    pub(super) fn start_failed(
        &mut self,
        now: Now,
        name: &str,
        attempt: u32,
        fault: StartFault,
        out: &mut Vec<Effect>,
    ) {
        self.remove_previous(name);
        let mut faults = match self.containers.get(name) {
            Some(State::Starting { attempt: awaited, faults, .. }) if *awaited == attempt => {
                *faults
            }
            _ => return,
        };
        let again = faults != Backoff::default();
        let wait = faults.next(self.policy.fault);
        if fault.reason == IMAGE_GONE && !again {
            return self.pull(name, faults, out);
        }
        out.push(warning("Failed", format!("Error: {}: {}", fault.reason, fault.message)));
        let state = State::Waiting {
            reason: fault.reason,
            message: fault.message,
            retry_at: Some(now.mono + wait),
            faults,
        };
        self.containers.insert(name.to_owned(), state);
    }

    /// A process ended: start it again, at once or when its back-off is over, unless it is done.
    pub(super) fn exited(
        &mut self,
        now: Now,
        name: &str,
        attempt: u32,
        exit: &Exit,
        out: &mut Vec<Effect>,
    ) {
        self.remove_previous(name);
        let probed = matches!(self.containers.get(name),
            Some(State::Stopping { stop, .. }) if stop.cause == StopCause::Probe);
        if !self.note_exit(name, attempt, exit, out) {
            return;
        }
        let end = Ending::of(exit.code, &exit.kind, probed);
        let role = self.role(name);
        let again =
            self.record.container(name).is_some_and(|container| restarts(container, role, end));
        if !again || self.over().is_some() {
            self.record_of(name).finished = true;
            self.containers.insert(name.to_owned(), State::Ended);
            out.push(Effect::Save);
            self.leftovers.push((name.to_owned(), attempt));
            return;
        }
        let record = self.record_of(name);
        let ran_well =
            record.backoff_grew.is_some_and(|grew| elapsed(grew, exit.at) > FORGIVEN_AFTER);
        if ran_well {
            record.backoff.reset();
        }
        let wait = record.backoff.delay();
        if wait.is_zero() {
            self.restart(now, name, Some(attempt), out);
        } else {
            self.back_off(now, name, attempt, wait, out);
        }
    }

    /// Keeps how a process ended; `false` when the machine did not count on it any more.
    pub(super) fn note_exit(
        &mut self,
        name: &str,
        attempt: u32,
        exit: &Exit,
        out: &mut Vec<Effect>,
    ) -> bool {
        let counted = match self.containers.get(name) {
            Some(State::Starting { attempt: starting, .. }) => *starting == attempt,
            Some(state) => state.attempt() == Some(attempt),
            None => false,
        };
        if !counted {
            return false;
        }
        if let ExitKind::NeverRan(message) = &exit.kind {
            out.push(warning("Failed", format!("Error: {message}")));
        }
        self.probes.remove(name);
        let record = self.record_of(name);
        let started = record.running_since.take();
        record.attempt = Some(attempt);
        record.terminated = Some(terminated(attempt, started, exit));
        (record.started, record.ready) = (false, false);
        true
    }

    /// Performs a restart, which makes the next one wait longer.
    pub(super) fn restart(
        &mut self,
        now: Now,
        name: &str,
        previous: Option<u32>,
        out: &mut Vec<Effect>,
    ) {
        let crash = self.policy.crash;
        let record = self.record_of(name);
        record.backoff.next(crash);
        record.backoff_grew = Some(now.wall);
        out.push(Effect::Save);
        self.start(name, Backoff::default(), previous, out);
    }

    /// Waits out the back-off; the ended attempt is of no more use.
    fn back_off(
        &mut self,
        now: Now,
        name: &str,
        attempt: u32,
        wait: Duration,
        out: &mut Vec<Effect>,
    ) {
        self.wait_out(now, name, wait);
        let text = format!("Back-off restarting failed container {name} in pod {}", self.place());
        out.push(Effect::Save);
        out.push(warning("BackOff", text));
        self.leftovers.push((name.to_owned(), attempt));
    }

    /// Lets a container wait until its back-off is over.
    pub(super) fn wait_out(&mut self, now: Now, name: &str, wait: Duration) {
        let message = format!(
            "back-off {} restarting failed container={name} pod={}",
            go_duration(self.record_of(name).backoff.delay()),
            self.place()
        );
        let state = State::Waiting {
            reason: "CrashLoopBackOff",
            message,
            retry_at: Some(now.mono + wait),
            faults: Backoff::default(),
        };
        self.containers.insert(name.to_owned(), state);
    }

    /// The pod as kubelet names it in its messages.
    fn place(&self) -> String {
        let record = &self.record;
        format!("{}_{}({})", record.name, record.set.namespace, record.uid)
    }

    /// Tries those again whose time has come.
    pub(super) fn retry_due(&mut self, now: Now, out: &mut Vec<Effect>) {
        let due: Vec<(String, &str, Backoff)> = self
            .containers
            .iter()
            .filter_map(|(name, state)| match state {
                State::Waiting { reason, retry_at: Some(at), faults, .. } if *at <= now.mono => {
                    Some((name.clone(), *reason, *faults))
                }
                _ => None,
            })
            .collect();
        for (name, reason, faults) in due {
            match reason {
                "CrashLoopBackOff" => self.restart(now, &name, None, out),
                PULL_ERROR => self.wait_to_pull(now, &name, out),
                _ => self.start(&name, faults, None, out),
            }
        }
    }

    /// Tries those again at once that wait for a reason which may be gone now.
    pub(super) fn retry_waiting(&mut self, cured: fn(&str) -> bool, out: &mut Vec<Effect>) {
        let waiting: Vec<(String, Backoff)> = self
            .containers
            .iter()
            .filter_map(|(name, state)| match state {
                State::Waiting { reason, faults, .. } if cured(reason) => {
                    Some((name.clone(), *faults))
                }
                _ => None,
            })
            .collect();
        for (name, faults) in waiting {
            self.start(&name, faults, None, out);
        }
    }

    /// Whether that start is the one under way.
    pub(super) fn awaits_start(&self, name: &str, attempt: u32) -> bool {
        matches!(self.containers.get(name),
            Some(State::Starting { attempt: awaited, .. }) if *awaited == attempt)
    }
}
