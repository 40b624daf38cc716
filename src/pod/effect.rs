//! What the pod machine asks for.

use std::time::Duration;

use super::probes::ProbeKind;

/// What is to be done, in the pod's own terms. All are idempotent.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Write the record, before any effect that follows.
    Save,
    /// Tell the operator.
    Record(PodEvent),
    /// Make cgroup, volumes, namespaces and files. Answers `SandboxReady` or `SandboxFailed`.
    CreateSandbox,
    /// Have the image of a container here and unpacked. Answers `ImageReady` or `PullFailed`; a pod that stops does not wait
    /// for the answer.
    PullImage {
        /// The container.
        container: String,
    },
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
    /// Run a probe once. Answers `Probed`.
    Probe {
        /// The container.
        container: String,
        /// The attempt.
        attempt: u32,
        /// Which of its probes.
        kind: ProbeKind,
    },
    /// Run a hook. Answers `HookDone`.
    RunHook {
        /// The container.
        container: String,
        /// The attempt.
        attempt: u32,
        /// Which of its hooks.
        hook: Hook,
        /// How long it may take.
        timeout: Option<Duration>,
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

/// One of a container's two hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// After its process began.
    PostStart,
    /// Before its process is asked to end.
    PreStop,
}

/// A signal in the terms of a pod's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// The container's stop signal, its image's, or SIGTERM.
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
