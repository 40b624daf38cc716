//! podward runs Kubernetes DaemonSets on hosts that have no Kubernetes.
//!
//! The modules are floors: each may import lower ones only. ARCHITECTURE.md holds the table, and
//! `tests/tidy.rs` reads it from there.

mod base;
mod host;
mod pod;
mod runtime;

/// The container logger, which containerd's shim starts as `podward log VALUE`.
pub mod logger {
    pub use crate::host::logger::run;
}

/// What tests and benchmarks outside the crate may name; never part of a release.
#[cfg(feature = "testing")]
pub mod testing {
    pub use crate::base::ids::{ContainerId, PodUid};
    pub use crate::base::time;
    pub use crate::host::{logger, logs};
    pub use crate::pod::image;
    pub use crate::runtime::containerd;
}
