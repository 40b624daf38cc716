//! The client of pulls against servers of a few lines.
