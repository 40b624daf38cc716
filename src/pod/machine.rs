//! The pod machine: inputs come in, effects come out, and nothing in between takes time.
//!
//! ```text
//!            SandboxReady              Delete                  last process gone         PodRemoved
//! Preparing ─────────────▶ Up ───────────────────▶ Stopping ────────────────────▶ Cleaning ──────────▶ Gone
//!     ▲                    │ SandboxLost, or adopted without its sandbox
//!     └──── Resetting ◀────┘
//! ```
//!
//! Within `Up` the init containers run one after the other, then the regular ones (`init.rs`); each container has a
//! state of its own (`containers.rs`), is probed (`health.rs`), and is stopped by the same steps whether it goes alone
//! or with its pod (`stopping.rs`).
//!
//! Guarantees: no container is started once a deletion was asked for; an attempt is started once; `RemovePod`
//! is the last effect and comes only when nothing of the pod is in flight any more.
//! Assumptions: effects are idempotent and each one that announces an answer gets it exactly once.

use std::{
    collections::BTreeMap,
    mem,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::base::{
    backoff::{Backoff, Bounds},
    time::Now,
};

use super::{
    containers::State,
    fault::{CONFIG_ERROR, StartFault},
    probes::Probes,
    pulling::wants_image,
    record::{PodRecord, Readiness},
    restart::{Role, names},
};

pub use super::{
    effect::{Effect, Hook, PodEvent, Signal},
    input::{Exit, ExitKind, Input},
};

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
        /// When its grace is over.
        until: Instant,
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
    /// The probes of the containers that run.
    pub(super) probes: BTreeMap<String, Probes>,
    /// Ended attempts whose containers are of no more use.
    pub(super) leftovers: Vec<(String, u32)>,
    /// Whether its sandbox is gone, and only the starts that are under way keep it from being made anew.
    pub(super) lost: bool,
    /// The paces of its retries.
    pub(super) policy: Policy,
}

impl Pod {
    /// A pod that never was before, and its first effects. Its record must be on disk already.
    pub fn new(record: PodRecord, policy: Policy) -> (Self, Vec<Effect>) {
        let mut pod = Self::of(record, policy);
        let mut effects = Vec::new();
        pod.stage = pod.prepare(&mut effects);
        (pod, effects)
    }

    /// A pod of which nothing is there yet.
    pub(super) fn of(record: PodRecord, policy: Policy) -> Self {
        let mut pod = Self {
            record,
            stage: Stage::Gone,
            containers: BTreeMap::new(),
            probes: BTreeMap::new(),
            leftovers: Vec::new(),
            lost: false,
            policy,
        };
        for name in names(pod.record.spec()) {
            let state = pod.creating();
            pod.containers.insert(name, state);
        }
        pod
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
            Stage::Stopping { until, busy } => self.when_stopping(now, until, busy, input, out),
            Stage::Cleaning { backoff, retry_at } => {
                self.when_cleaning(now, backoff, retry_at, input, out)
            }
            Stage::Gone => Stage::Gone,
        };
        self.note_readiness(now, &mut effects);
        self.discard(&mut effects);
        effects
    }

    /// Keeps whether the pod is ready, and since when.
    pub(super) fn note_readiness(&mut self, now: Now, out: &mut Vec<Effect>) {
        let ready = self.ready();
        if self.record.readiness.is_none_or(|before| before.ready != ready) {
            self.record.readiness = Some(Readiness { ready, since: now.wall });
            if !self.gone() && !out.contains(&Effect::Save) {
                out.push(Effect::Save);
            }
        }
    }

    /// When `Input::Deadline` is due.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Held(_) | Stage::Gone => None,
            Stage::Preparing { retry_at, .. }
            | Stage::Resetting { retry_at, .. }
            | Stage::Cleaning { retry_at, .. } => *retry_at,
            Stage::Up | Stage::Stopping { .. } => {
                let own = self.containers.values().filter_map(State::deadline);
                own.chain(self.probes.values().filter_map(Probes::deadline)).min()
            }
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

    /// Since when it is ready; `None` while it is not.
    pub fn ready_since(&self) -> Option<Timestamp> {
        self.record.readiness.filter(|readiness| readiness.ready).map(|readiness| readiness.since)
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

    /// What the containers share is lost: what is left is cleared away, then all begins anew, init containers too.
    pub(super) fn start_over(&mut self, out: &mut Vec<Effect>) -> Stage {
        let was_up = self.record.sandbox.take().is_some();
        self.record.initialized = None;
        self.probes.clear();
        for name in names(self.record.spec()) {
            let init = self.role(&name) != Role::Regular;
            let record = self.record_of(&name);
            record.running_since = None;
            (record.started, record.ready) = (false, false);
            record.finished &= !init;
            let state = if record.finished { State::Ended } else { self.creating() };
            self.containers.insert(name, state);
        }
        out.push(Effect::Save);
        if was_up {
            out.push(note(
                "SandboxChanged",
                "Pod sandbox changed, it will be killed and re-created.",
            ));
        }
        out.push(Effect::ResetPod);
        Stage::Resetting { backoff: Backoff::default(), retry_at: None }
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
                self.advance(now, out);
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
            Input::ObjectsChanged if retry_at.is_some() && waits_for_mount(fault.as_ref()) => {
                out.push(Effect::CreateSandbox);
                Stage::Preparing { fault, backoff, retry_at: None }
            }
            _ => Stage::Preparing { fault, backoff, retry_at },
        }
    }

    /// Up: the containers live; the pod itself only waits for its deletion.
    fn when_up(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) -> Stage {
        match input {
            Input::ImageReady { container, image, message } => {
                self.image_ready(&container, image, message, out);
            }
            Input::PullFailed { container, fault } => {
                self.pull_failed(now, &container, fault, out);
            }
            Input::Started { container, attempt, at } => {
                self.started(now, &container, attempt, at, out);
            }
            Input::StartFailed { container, attempt, fault } => {
                self.start_failed(now, &container, attempt, fault, out);
            }
            Input::Exited { container, attempt, exit } => {
                self.exited(now, &container, attempt, &exit, out);
            }
            Input::Probed { container, attempt, kind, outcome } => {
                self.probed(now, &container, attempt, kind, outcome, out);
            }
            Input::HookDone { container, attempt, hook, outcome } => {
                self.hook_done(now, &container, attempt, hook, outcome, out);
            }
            Input::Deadline => {
                self.stops_due(now, out);
                self.probes_due(now, out);
                self.retry_due(now, out);
            }
            Input::ImagesChanged => self.retry_waiting(wants_image, out),
            Input::ObjectsChanged => self.retry_waiting(|reason| reason == CONFIG_ERROR, out),
            Input::Delete { grace, cause } => return self.stop(now, grace, cause, false, out),
            Input::SandboxLost => self.lost = true,
            Input::SandboxReady { .. }
            | Input::SandboxFailed(_)
            | Input::ResetDone
            | Input::ResetFailed(_)
            | Input::PodRemoved
            | Input::RemoveFailed(_) => {}
        }
        let starting = |state: &State| matches!(state, State::Starting { .. });
        if !self.lost {
            self.advance(now, out);
        } else if !self.containers.values().any(starting) {
            return self.lose_sandbox(now, out);
        }
        Stage::Up
    }

    /// Up, and the sandbox is gone: whatever ran in it ended unseen.
    fn lose_sandbox(&mut self, now: Now, out: &mut Vec<Effect>) -> Stage {
        self.lost = false;
        let exit = Exit { code: 255, at: now.wall, kind: ExitKind::Lost, message: String::new() };
        for name in names(self.record.spec()) {
            if let Some(attempt) = self.containers.get(&name).and_then(State::attempt) {
                self.note_exit(&name, attempt, &exit, out);
            }
        }
        self.start_over(out)
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

/// Whether a sandbox waits for a volume, which an object may complete.
fn waits_for_mount(fault: Option<&StartFault>) -> bool {
    fault.is_some_and(|fault| fault.reason == "FailedMount")
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
