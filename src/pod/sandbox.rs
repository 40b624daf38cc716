//! What a pod's containers share, and what they need to know of the host.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The pieces of a sandbox that its containers mount or join.
#[derive(Default, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxFacts {
    /// The pinned IPC namespace; `None` shares the host's.
    pub ipc: Option<PathBuf>,
    /// The pinned process namespace of containers that share their processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<PathBuf>,
    /// The directory that containers see as `/dev/shm`.
    pub shm: PathBuf,
    /// The pod's `/etc/hosts`.
    pub hosts: PathBuf,
    /// The pod's `/etc/hostname`.
    pub hostname_file: PathBuf,
    /// The pod's `/etc/resolv.conf`.
    pub resolv_conf: PathBuf,
    /// The host name that the containers see.
    pub hostname: String,
}

/// What a container's making depends on in the kernel and the hardware.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// Whether `/sys/fs/cgroup` is the unified hierarchy.
    pub cgroup_v2: bool,
    /// Whether the kernel counts swap per cgroup; without it a swap limit makes runc fail.
    pub swap_accounting: bool,
    /// The machine's memory in bytes.
    pub memory_capacity: u64,
    /// Whether mounts can be made read-only all the way down; looked up for the containers that ask for it.
    pub recursive_read_only: bool,
    /// Every capability that a container can be given here, as `CAP_…`.
    pub capabilities: Vec<String>,
    /// What the kernel confines processes by.
    pub confines: Confines,
    /// The least `oom_score_adj` that a container can be given here.
    pub least_oom_score_adj: i32,
    /// Every device node below `/dev`; only privileged pods get them.
    pub devices: Vec<HostDevice>,
    /// The `thermal_throttle` directories of the processors, which Kubernetes masks.
    pub thermal_throttle: Vec<String>,
}

/// By what a kernel confines processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confines {
    /// The architecture whose system calls it filters, as Rust names it.
    pub arch: &'static str,
    /// Whether it filters system calls.
    pub seccomp: bool,
    /// Whether a filter holds for traced processes too: from Linux 4.8 on.
    pub safe_ptrace: bool,
    /// Whether `AppArmor` is there and on.
    pub app_armor: bool,
}

/// Which of the two kinds of device node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// A block device.
    Block,
    /// A character device.
    Character,
}

/// A device node of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostDevice {
    /// Its path.
    pub path: PathBuf,
    /// Block or character.
    pub kind: DeviceKind,
    /// The major number.
    pub major: u32,
    /// The minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}
