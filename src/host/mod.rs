//! Floor 7: this machine's kernel: mounts, volumes, sandboxes, control groups, accounts, facts.

pub mod cgroup;
mod cgroup_systemd;
mod cgroup_v1;
mod cgroup_v2;
pub mod facts;
pub mod mounts;
pub mod removal;
pub mod sandbox;
pub mod users;
pub mod volumes;

#[cfg(test)]
pub mod tests;
