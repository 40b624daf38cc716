//! Floor 0: ids, time, back-off, errors, faults and quantities; knows nothing of pods.

pub mod backoff;
pub mod errors;
pub mod fault;
pub mod ids;
pub mod keyed;
pub mod nearest;
pub mod quantity;
pub mod signals;
pub mod time;
