//! The settings as the agent uses them, and their defaults.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use k8s_openapi::api::core::v1::Taint;

use crate::spec::FieldValidation;

/// Everything that an operator can set.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The fleet that this host belongs to.
    pub cluster: String,
    /// What this host says of itself.
    pub node: NodeSettings,
    /// Where sets come from; the first to name a set keeps it.
    pub sources: Vec<SourceSettings>,
    /// The directory of ConfigMaps and Secrets that no document holds.
    pub objects_dir: PathBuf,
    /// How to reach containerd and what to ask of it.
    pub containerd: ContainerdSettings,
    /// The cgroup above all pods; `None` for the driver's own default.
    pub cgroup_parent: Option<String>,
    /// Where things are kept.
    pub paths: Paths,
    /// Where vendors describe their devices, the least directory first.
    pub cdi_dirs: Vec<PathBuf>,
    /// How logs are rotated.
    pub logs: LogSettings,
    /// What happens to fields that Kubernetes does not know.
    pub field_validation: FieldValidation,
    /// The longest wait before a crashing container is started again.
    pub max_container_restart_period: Duration,
    /// The control socket, when it is not in `paths.run`.
    pub socket: Option<PathBuf>,
}

/// What this host says of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeSettings {
    /// Its name; `None` for the hostname.
    pub name: Option<String>,
    /// Labels beside those found on the host.
    pub labels: BTreeMap<String, String>,
    /// Taints.
    pub taints: Vec<Taint>,
}

/// One source of sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceSettings {
    /// A file or a directory.
    File {
        /// Its path.
        path: PathBuf,
    },
}

/// How to reach containerd and what to ask of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerdSettings {
    /// Its socket.
    pub address: PathBuf,
    /// The namespace that is ours.
    pub namespace: String,
    /// The snapshotter.
    pub snapshotter: String,
    /// The runtime of the containers.
    pub runtime: String,
    /// Who makes cgroups.
    pub cgroup_driver: CgroupDriver,
}

/// Who makes cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupDriver {
    /// systemd where it runs the host, otherwise we ourselves.
    Auto,
    /// We ourselves.
    Cgroupfs,
    /// systemd.
    Systemd,
}

impl CgroupDriver {
    /// Every driver by its name.
    pub const NAMES: [(&'static str, Self); 3] =
        [("auto", Self::Auto), ("cgroupfs", Self::Cgroupfs), ("systemd", Self::Systemd)];
}

/// Where things are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// What outlives a reboot.
    pub state: PathBuf,
    /// What does not.
    pub run: PathBuf,
    /// The pods' logs.
    pub pod_logs: PathBuf,
    /// Links to them, one for each container.
    pub container_logs: PathBuf,
}

/// How logs are rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// The size in bytes at which a file is rotated.
    pub max_size: u64,
    /// How many files a container may have.
    pub max_files: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cluster: "default".into(),
            node: NodeSettings::default(),
            sources: vec![SourceSettings::File { path: "/etc/podward/manifests".into() }],
            objects_dir: "/etc/podward/objects".into(),
            containerd: ContainerdSettings {
                address: "/run/containerd/containerd.sock".into(),
                namespace: "podward".into(),
                snapshotter: "overlayfs".into(),
                runtime: "io.containerd.runc.v2".into(),
                cgroup_driver: CgroupDriver::Auto,
            },
            cgroup_parent: None,
            paths: Paths {
                state: "/var/lib/podward".into(),
                run: "/run/podward".into(),
                pod_logs: "/var/log/pods".into(),
                container_logs: "/var/log/containers".into(),
            },
            cdi_dirs: vec!["/etc/cdi".into(), "/var/run/cdi".into()],
            logs: LogSettings { max_size: 10 << 20, max_files: 5 },
            field_validation: FieldValidation::Strict,
            max_container_restart_period: Duration::from_mins(5),
            socket: None,
        }
    }
}

impl Settings {
    /// The control socket.
    pub fn control_socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| self.paths.run.join("podward.sock"))
    }
}

/// The name of a value that has one.
pub(super) fn name_of<T: Copy + PartialEq>(names: &[(&'static str, T)], value: T) -> &'static str {
    names.iter().find(|(_, named)| *named == value).map_or("", |(name, _)| name)
}
