//! The pod machine: inputs come in, effects come out, and nothing in between takes time.
//!
//! ```text
//!            SandboxReady              Delete                  last process gone         PodRemoved
//! Preparing ─────────────▶ Up ───────────────────▶ Stopping ────────────────────▶ Cleaning ──────────▶ Gone
//!     ▲                    │ (adopted without its sandbox)
//!     └──── Resetting ◀────┘
//! ```
//!
//! Guarantees: no container is started once a deletion was asked for; an attempt is started once; `RemovePod`
//! is the last effect and comes only when nothing of the pod is in flight any more.
//! Assumptions: effects are idempotent and each one that announces an answer gets it exactly once.

use std::{
    collections::BTreeMap,
    mem,
    path::PathBuf,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::base::{
    backoff::{Backoff, Bounds},
    time::Now,
};

use super::{
    containers::{State, wants_image},
    fault::StartFault,
    record::{PinnedImage, PodRecord},
    sandbox::SandboxFacts,
};

/// What happened, told to the machine.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The deadline that the machine named has passed.
    Deadline,
    /// The pod is to go.
    Delete {
        /// What its processes get between stop signal and kill.
        grace: Duration,
        /// Why, for the operator.
        cause: String,
    },
    /// `CreateSandbox` is done.
    SandboxReady {
        /// What the containers share.
        facts: SandboxFacts,
        /// Where each volume is on the host.
        volumes: BTreeMap<String, PathBuf>,
    },
    /// `CreateSandbox` failed.
    SandboxFailed(StartFault),
    /// `StartContainer` is done.
    Started {
        /// The container.
        container: String,
        /// The attempt.
        attempt: u32,
        /// When its process began.
        at: Timestamp,
        /// The image it runs.
        image: PinnedImage,
    },
    /// `StartContainer` failed before there was a process to run.
    StartFailed {
        /// The container.
        container: String,
        /// The attempt.
        attempt: u32,
        /// Why.
        fault: StartFault,
    },
    /// A container that was watched has ended, or its process could not be run at all.
    Exited {
        /// The container.
        container: String,
        /// The attempt.
        attempt: u32,
        /// How.
        exit: Exit,
    },
    /// `ResetPod` is done.
    ResetDone,
    /// `ResetPod` failed.
    ResetFailed(String),
    /// `RemovePod` is done.
    PodRemoved,
    /// `RemovePod` failed.
    RemoveFailed(String),
    /// New images arrived: whoever waits for one may try again.
    ImagesChanged,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Its code.
    pub code: u32,
    /// When.
    pub at: Timestamp,
    /// Which kind of end it was.
    pub kind: ExitKind,
    /// The termination message that it left; empty when it left none.
    pub message: String,
}

/// The kinds of end that an exit code alone does not tell apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitKind {
    /// The process ended by itself or by a signal.
    Ended,
    /// The kernel killed it for memory.
    OutOfMemory,
    /// Nobody saw how it ended: its shim died, or the host was restarted.
    Lost,
    /// The runtime could not run it; the text says why.
    NeverRan(String),
}

/// What is to be done, in the pod's own terms. All are idempotent.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Write the record, before any effect that follows.
    Save,
    /// Tell the operator.
    Record(PodEvent),
    /// Make cgroup, volumes, namespaces and files. Answers `SandboxReady` or `SandboxFailed`.
    CreateSandbox,
    /// Start one attempt. Answers `Started`, `StartFailed` or `Exited` with `NeverRan`.
    StartContainer {
        /// The container.
        container: String,
        /// The attempt.
        attempt: u32,
        /// An ended attempt that must be gone before.
        remove_first: Option<u32>,
    },
    /// Tell when the attempt ends. Answers `Exited`.
    Watch {
        /// The container.
        container: String,
        /// The attempt.
        attempt: u32,
    },
    /// Send a signal. No answer.
    Signal {
        /// The container.
        container: String,
        /// The attempt.
        attempt: u32,
        /// Which one.
        signal: Signal,
    },
    /// Remove what is left of an ended attempt. No answer: `RemovePod` finds what this one missed.
    RemoveContainer {
        /// The container.
        container: String,
        /// The attempt.
        attempt: u32,
    },
    /// Kill whatever is left in the pod's cgroup. No answer.
    KillPod,
    /// Remove containers and sandbox but keep volumes and record. Answers `ResetDone` or `ResetFailed`.
    ResetPod,
    /// Remove everything, the record last. Answers `PodRemoved` or `RemoveFailed`.
    RemovePod,
}

/// A signal in the terms of a pod's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// The image's stop signal, or SIGTERM.
    Stop,
    /// SIGKILL.
    Kill,
}

/// Something that an operator wants to see about this pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodEvent {
    /// Whether it is a warning.
    pub warning: bool,
    /// Its reason, such as `Started`.
    pub reason: &'static str,
    /// Its text.
    pub message: String,
}

/// The paces of a pod's retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Restarts of containers that ended.
    pub crash: Bounds,
    /// Starts that failed for want of an image.
    pub image: Bounds,
    /// Starts that failed for another reason.
    pub fault: Bounds,
    /// Sandboxes that could not be made or removed.
    pub sandbox: Bounds,
}

impl Default for Policy {
    fn default() -> Self {
        let bounds = |initial, cap| Bounds {
            initial: Duration::from_millis(initial),
            cap: Duration::from_secs(cap),
        };
        Self {
            crash: bounds(10_000, 300),
            image: bounds(10_000, 300),
            fault: bounds(1_000, 60),
            sandbox: bounds(500, 122),
        }
    }
}

/// Where the pod as a whole stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// It waits for something that this host does not offer.
    Held(StartFault),
    /// Its sandbox is being made, or waits to be tried again.
    Preparing {
        /// What went wrong the last time.
        fault: Option<StartFault>,
        /// The back-off earned so far.
        backoff: Backoff,
        /// When to try again; `None` while a try is under way.
        retry_at: Option<Instant>,
    },
    /// Its containers live their own lives.
    Up,
    /// Its sandbox was lost; what is left of it is being cleared away.
    Resetting {
        /// The back-off earned so far.
        backoff: Backoff,
        /// When to try again; `None` while a try is under way.
        retry_at: Option<Instant>,
    },
    /// Its processes are being stopped.
    Stopping {
        /// When the stop signal becomes a kill.
        kill_at: Instant,
        /// How many kills were sent.
        kills: u32,
        /// Whether a sandbox effect is still under way.
        busy: bool,
    },
    /// Its remains are being removed.
    Cleaning {
        /// The back-off earned so far.
        backoff: Backoff,
        /// When to try again; `None` while a try is under way.
        retry_at: Option<Instant>,
    },
    /// Nothing is left of it.
    Gone,
}

/// One pod: its record, its stage and its containers' states.
#[derive(Debug, Clone, PartialEq)]
pub struct Pod {
    /// What is durable about it.
    pub record: PodRecord,
    /// Where it stands.
    pub(super) stage: Stage,
    /// Where each container stands, by name.
    pub(super) containers: BTreeMap<String, State>,
    /// The paces of its retries.
    pub(super) policy: Policy,
}

impl Pod {
    /// A pod that never was before, and its first effects. Its record must be on disk already.
    pub fn new(record: PodRecord, policy: Policy) -> (Self, Vec<Effect>) {
        let containers = record
            .spec()
            .containers
            .iter()
            .map(|container| (container.name.clone(), State::creating()))
            .collect();
        let mut pod = Self { record, stage: Stage::Gone, containers, policy };
        let mut effects = Vec::new();
        pod.stage = pod.prepare(&mut effects);
        (pod, effects)
    }

    /// Takes one input and says what is to be done about it.
    pub fn step(&mut self, now: Now, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        let out = &mut effects;
        self.stage = match mem::replace(&mut self.stage, Stage::Gone) {
            Stage::Held(fault) => self.when_held(now, fault, input, out),
            Stage::Preparing { fault, backoff, retry_at } => {
                self.when_preparing(now, (fault, backoff, retry_at), input, out)
            }
            Stage::Up => self.when_up(now, input, out),
            Stage::Resetting { backoff, retry_at } => {
                self.when_resetting(now, backoff, retry_at, input, out)
            }
            Stage::Stopping { kill_at, kills, busy } => {
                self.when_stopping(now, (kill_at, kills, busy), input, out)
            }
            Stage::Cleaning { backoff, retry_at } => {
                self.when_cleaning(now, backoff, retry_at, input, out)
            }
            Stage::Gone => Stage::Gone,
        };
        effects
    }

    /// When `Input::Deadline` is due.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Held(_) | Stage::Gone => None,
            Stage::Preparing { retry_at, .. }
            | Stage::Resetting { retry_at, .. }
            | Stage::Cleaning { retry_at, .. } => *retry_at,
            Stage::Up => self.containers.values().filter_map(State::retry_at).min(),
            Stage::Stopping { kill_at, .. } => Some(*kill_at),
        }
    }

    /// Whether nothing is left of it.
    pub fn gone(&self) -> bool {
        self.stage == Stage::Gone
    }

    /// Whether its deletion was asked for.
    pub fn stopping(&self) -> bool {
        self.record.deletion.is_some()
    }

    /// Whether it waits for nothing: all its containers run.
    pub fn ready(&self) -> bool {
        self.stage == Stage::Up && self.containers.values().all(State::running)
    }

    /// The first stage of a pod without a sandbox.
    pub(super) fn prepare(&mut self, out: &mut Vec<Effect>) -> Stage {
        if self.record.spec().host_network != Some(true) {
            let message = "network is not ready: a pod without hostNetwork needs CNI, \
                           which this version does not drive; set hostNetwork: true";
            let fault = StartFault { reason: "NetworkNotReady", message: message.into() };
            out.push(warning(fault.reason, fault.message.clone()));
            return Stage::Held(fault);
        }
        out.push(Effect::CreateSandbox);
        Stage::Preparing { fault: None, backoff: Backoff::default(), retry_at: None }
    }

    /// Held: only deletion matters.
    fn when_held(
        &mut self,
        now: Now,
        fault: StartFault,
        input: Input,
        out: &mut Vec<Effect>,
    ) -> Stage {
        match input {
            Input::Delete { grace, cause } => self.stop(now, grace, cause, false, out),
            _ => Stage::Held(fault),
        }
    }

    /// Preparing: the sandbox is made, fails and is tried again.
    fn when_preparing(
        &mut self,
        now: Now,
        (fault, mut backoff, retry_at): (Option<StartFault>, Backoff, Option<Instant>),
        input: Input,
        out: &mut Vec<Effect>,
    ) -> Stage {
        match input {
            Input::SandboxReady { facts, volumes } => {
                self.record.sandbox = Some(facts);
                self.record.volumes = volumes;
                out.push(Effect::Save);
                self.start_all(out);
                Stage::Up
            }
            Input::SandboxFailed(fault) => {
                let wait = backoff.next(self.policy.sandbox);
                out.push(warning(fault.reason, fault.message.clone()));
                Stage::Preparing { fault: Some(fault), backoff, retry_at: Some(now.mono + wait) }
            }
            Input::Delete { grace, cause } => self.stop(now, grace, cause, retry_at.is_none(), out),
            Input::Deadline if due(retry_at, now) => {
                out.push(Effect::CreateSandbox);
                Stage::Preparing { fault, backoff, retry_at: None }
            }
            // A volume that is made from an image.
            Input::ImagesChanged
                if retry_at.is_some()
                    && fault.as_ref().is_some_and(|fault| wants_image(fault.reason)) =>
            {
                out.push(Effect::CreateSandbox);
                Stage::Preparing { fault, backoff, retry_at: None }
            }
            _ => Stage::Preparing { fault, backoff, retry_at },
        }
    }

    /// Up: the containers live; the pod itself only waits for its deletion.
    fn when_up(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) -> Stage {
        match input {
            Input::Started { container, attempt, at, image } => {
                self.started(&container, attempt, at, image, out);
            }
            Input::StartFailed { container, attempt, fault } => {
                self.start_failed(now, &container, attempt, fault, out);
            }
            Input::Exited { container, attempt, exit } => {
                self.exited(now, &container, attempt, &exit, out);
            }
            Input::Deadline => self.retry_due(now, out),
            Input::ImagesChanged => self.retry_images(out),
            Input::Delete { grace, cause } => return self.stop(now, grace, cause, false, out),
            Input::SandboxReady { .. }
            | Input::SandboxFailed(_)
            | Input::ResetDone
            | Input::ResetFailed(_)
            | Input::PodRemoved
            | Input::RemoveFailed(_) => {}
        }
        Stage::Up
    }

    /// Resetting: what the lost sandbox left behind goes, then a new one is made.
    fn when_resetting(
        &mut self,
        now: Now,
        mut backoff: Backoff,
        retry_at: Option<Instant>,
        input: Input,
        out: &mut Vec<Effect>,
    ) -> Stage {
        match input {
            Input::ResetDone => self.prepare(out),
            Input::ResetFailed(message) => {
                out.push(warning("FailedKillPod", message));
                let wait = backoff.next(self.policy.sandbox);
                Stage::Resetting { backoff, retry_at: Some(now.mono + wait) }
            }
            Input::Delete { grace, cause } => self.stop(now, grace, cause, retry_at.is_none(), out),
            Input::Deadline if due(retry_at, now) => {
                out.push(Effect::ResetPod);
                Stage::Resetting { backoff, retry_at: None }
            }
            _ => Stage::Resetting { backoff, retry_at },
        }
    }

    /// Cleaning: removal is tried until nothing is left.
    fn when_cleaning(
        &mut self,
        now: Now,
        mut backoff: Backoff,
        retry_at: Option<Instant>,
        input: Input,
        out: &mut Vec<Effect>,
    ) -> Stage {
        match input {
            Input::PodRemoved => Stage::Gone,
            Input::RemoveFailed(message) => {
                out.push(warning("FailedKillPod", message));
                let wait = backoff.next(self.policy.sandbox);
                Stage::Cleaning { backoff, retry_at: Some(now.mono + wait) }
            }
            Input::Deadline if due(retry_at, now) => {
                out.push(Effect::RemovePod);
                Stage::Cleaning { backoff, retry_at: None }
            }
            _ => Stage::Cleaning { backoff, retry_at },
        }
    }
}

/// Whether a retry is due.
pub(super) fn due(retry_at: Option<Instant>, now: Now) -> bool {
    retry_at.is_some_and(|at| at <= now.mono)
}

/// A warning for the operator.
pub(super) fn warning(reason: &'static str, message: impl Into<String>) -> Effect {
    Effect::Record(PodEvent { warning: true, reason, message: message.into() })
}

/// A note for the operator.
pub(super) fn note(reason: &'static str, message: impl Into<String>) -> Effect {
    Effect::Record(PodEvent { warning: false, reason, message: message.into() })
}
