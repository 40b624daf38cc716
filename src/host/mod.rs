//! Floor 7: this machine's kernel and file system: mounts, volumes, sandboxes, control groups, accounts, logs, facts.

pub mod cgroup;
pub mod cri_log;
pub mod facts;
pub mod log_dir;
mod log_file;
mod log_files;
pub mod logger;
pub mod logs;
mod mounts;
mod removal;
pub mod sandbox;
pub mod users;
pub mod volumes;
