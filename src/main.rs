//! The binary: agent, command line and container logger in one.

fn main() {}
