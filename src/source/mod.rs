//! Floor 8: where the operator's documents come from, and the last good copy of each set.

pub mod file;
pub mod http;
pub mod merge;
pub mod objects_dir;
pub mod trust;
pub mod watch;

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
