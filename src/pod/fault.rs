//! Why a container did not start.

/// A start that was refused or failed before the container's process ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartFault {
    /// The waiting reason that the operator sees.
    pub reason: &'static str,
    /// What was wrong.
    pub message: String,
}
