//! Faults that were put in.
