//! Floor 2: this host as Kubernetes would see it, and whether a set belongs on it.

pub mod affinity;
pub mod eligibility;
pub mod facts;
pub mod faults;
pub mod report;
pub mod requirement;
pub mod syntax;
pub mod taints;
pub mod tolerations;

#[cfg(test)]
pub mod cases;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod properties;

pub use eligibility::eligibility;
pub use facts::{HostIdentity, Node};
pub use report::{Report, report};
