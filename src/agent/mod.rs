//! Floor 9: the agent, the only floor that spawns tasks.

pub mod handle;
pub mod wire;
