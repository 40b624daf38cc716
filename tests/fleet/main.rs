//! Fleets: hosts in namespaces of their own, each with a containerd and an agent, on a network that can be cut.

mod harness;
mod hosts;
#[path = "../it/support/mod.rs"]
#[allow(dead_code, reason = "the integration tests use the rest")]
mod support;
