//! Floor 7: this machine's kernel and file system: mounts, volumes, sandboxes, control groups, accounts, logs, facts.

mod atomic_dir;
pub mod attempt_dir;
pub mod cdi;
pub mod cgroup;
mod cgroup_systemd;
mod cgroup_v1;
mod cgroup_v2;
pub mod confinement;
pub mod copy_up;
pub mod cri_log;
pub mod disk_space;
pub mod disk_usage;
pub mod facts;
pub mod fifos;
pub mod fs_group;
pub mod holder;
pub mod log_dir;
mod log_file;
mod log_files;
pub mod logger;
pub mod logs;
pub mod mounts;
pub mod payload_volume;
pub mod ports;
pub mod processes;
pub mod program;
pub mod removal;
pub mod sandbox;
pub mod shims;
pub mod snapshot;
pub mod sub_path;
pub mod users;
pub mod volumes;

#[cfg(test)]
pub mod tests;
