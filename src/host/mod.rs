//! Floor 7: the kernel and the file system of this host.

pub mod cri_log;
pub mod log_dir;
mod log_file;
mod log_files;
pub mod logger;
pub mod logs;
