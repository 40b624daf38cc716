//! Floor 6: what the operator sees of the sets: events and status. Quiet.

pub mod events;
pub mod status;
