//! Floor 6: what the operator sees of the sets: events and status; what hosts and operators write for each other. Quiet.

pub mod envelope;
pub mod events;
pub mod fold;
pub mod merge3;
pub mod overlay;
pub mod records;
pub mod revision;
mod rollout_notes;
pub mod rollout_summary;
pub mod rollout_view;
mod rollout_waits;
pub mod status;
