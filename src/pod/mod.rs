//! Floor 3: one pod's life and content as values.

pub mod image;
