//! The operators' verbs: the built binary against real etcd, with the records of hosts that are not there. Any user may
//! run this; no containerd is needed.

#![allow(clippy::unwrap_used, reason = "a test ends at its first surprise")]
#![allow(clippy::disallowed_methods, reason = "tests wait for no longer than they must")]

#[path = "../support/etcd.rs"]
mod etcd;

mod applying;
mod deleting;
mod editing;
mod fleet;
mod nodes;
mod releasing;
mod rolling;
mod rollout;
mod seeing;
mod signing;
mod writers;
