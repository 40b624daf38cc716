//! The distribution protocol against servers of a few lines, and against a real registry.
