//! Fleets: hosts in namespaces of their own, each with a containerd and an agent, on a network that can be cut.

mod bad_updates;
mod broken_rollouts;
#[path = "../support/etcd.rs"]
mod etcd;
mod faults;
mod gates;
mod harness;
mod history;
mod hosts;
mod operations;
mod quiet;
mod sampler;
mod steady;
mod stores;
#[path = "../it/support/mod.rs"]
#[allow(dead_code, reason = "the integration tests use the rest")]
mod support;
mod updates;
mod versions;
