//! Floor 5: turns between hosts. Which host may disturb its pod of a set, when, and what becomes of a turn; as plain
//! functions over what a host knows. docs/protocol.md is the same in words; the model in the tests explores it whole.

pub mod admit;
pub mod breaker;
pub mod deal;
pub mod order;
pub mod protocol;
pub mod turn;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
