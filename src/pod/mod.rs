//! Floor 3: one pod's life, decided from facts; nothing here does anything.

pub mod adopt;
pub mod containers;
pub mod fault;
pub mod image;
pub mod machine;
pub mod record;
pub mod sandbox;
pub mod stopping;

#[cfg(test)]
mod tests;
