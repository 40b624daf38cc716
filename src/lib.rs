//! podward runs Kubernetes DaemonSets on hosts that have no Kubernetes.
//!
//! The modules are floors: each may import lower ones only. ARCHITECTURE.md holds the table, and
//! `tests/tidy.rs` reads it from there.

mod base;
mod cli;
mod spec;
