//! podward runs Kubernetes DaemonSets on hosts that have no Kubernetes.
//!
//! The modules are floors: each may import lower ones only. ARCHITECTURE.md holds the table, and
//! `tests/tidy.rs` reads it from there.

mod agent;
mod base;
mod cli;
mod config;
mod fleet;
mod serve;

pub use cli::main;
