//! The containerd client and the logger against the real things: one binary, one module per subject.
#![expect(clippy::print_stderr, reason = "a skipped test says so loudly")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod containerd;
mod daemon;
#[path = "../support/etcd.rs"]
mod etcd;
mod execs;
mod images;
mod ingest;
mod logger;
#[expect(dead_code, reason = "benchmarks need more of it")]
#[path = "../../benches/nodes/mod.rs"]
mod nodes;
mod pulls;
mod registry;
mod rollouts;
mod store;
mod store_access;
mod store_verbs;
mod transfer;
