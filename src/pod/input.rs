//! What the pod machine is told.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use jiff::Timestamp;

use super::{
    action::Outcome, effect::Hook, fault::StartFault, probes::ProbeKind, record::PinnedImage,
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
    /// `PullImage` is done.
    ImageReady {
        /// The container.
        container: String,
        /// The image that it runs from now on.
        image: PinnedImage,
        /// How it came here, for the operator.
        message: String,
    },
    /// `PullImage` failed.
    PullFailed {
        /// The container.
        container: String,
        /// Why.
        fault: StartFault,
    },
    /// `StartContainer` is done.
    Started {
        /// The container.
        container: String,
        /// The attempt.
        attempt: u32,
        /// When its process began.
        at: Timestamp,
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
    /// A probe has answered.
    Probed {
        /// The container.
        container: String,
        /// The attempt.
        attempt: u32,
        /// Which of its probes.
        kind: ProbeKind,
        /// What came of it.
        outcome: Outcome,
    },
    /// A hook has come to its end.
    HookDone {
        /// The container.
        container: String,
        /// The attempt.
        attempt: u32,
        /// Which of its hooks.
        hook: Hook,
        /// What came of it.
        outcome: Outcome,
    },
    /// What the containers share is gone under them.
    SandboxLost,
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
    /// ConfigMaps or Secrets that the pod refers to changed: whoever waits for one may try again.
    ObjectsChanged,
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
