//! Floor 7: this machine's kernel: mounts, volumes, sandboxes, control groups, accounts, facts.

pub mod facts;
