//! Floor 10: one file per verb.

pub mod validate;
