//! Floor 6: what the operator sees of the sets: events and status; what hosts and operators write for each other. Quiet.

pub mod events;
pub mod overlay;
pub mod records;
pub mod status;
