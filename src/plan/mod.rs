//! Floor 4: desired against observed gives steps and holds.

pub mod eviction;
pub mod renewal;
pub mod steps;

#[cfg(test)]
mod tests;
