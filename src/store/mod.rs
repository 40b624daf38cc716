//! Floor 8: the shared store, which is etcd: connections, transactions, watches, leases, and every key by its name.
//!
//! Decisions are transactions against revisions; watches and leases are hints that only delay.

mod auth;
mod client;
mod connect;
mod error;
pub mod keys;
pub mod kv;
mod noting;
mod refusal;
mod streams;

pub use auth::{Made, Right};
pub use client::{Status, Store};
pub use connect::{Settings, password};
pub use error::Error;
pub use keys::{Gate, Keys};
#[cfg(feature = "testing")]
pub use kv::TxnOutcome;
pub use kv::{Change, Compare, Header, Kv, Listing, Op, Range, Txn};
pub use streams::Watch;
