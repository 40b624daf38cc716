//! Floor 8: the shared store, which is etcd: connections, transactions, watches, leases, and every key by its name.
//!
//! Decisions are transactions against revisions; watches and leases are hints that only delay.

pub mod client;
mod error;
pub mod keys;
pub mod kv;

pub use client::{KeepAlive, Settings, Store, Watch};
pub use error::Error;
pub use keys::Keys;
pub use kv::{Change, Compare, Header, Kv, Listing, Op, Range, Txn, TxnOutcome};
