//! The protocol explored whole: every order in which hosts, the store and operators can come to act, with crashes,
//! partitions and lost answers among them, for a few hosts. The decisions and the transactions are the real ones; only
//! the store and the hosts are of the model.

mod explore;
mod faults;
mod invariants;
#[cfg(feature = "model")]
mod large;
mod mind;
mod moves;
mod reconciler;
pub(super) mod scenario;
mod scenarios;
mod seeded;
mod store;
mod world;
