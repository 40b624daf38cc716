//! The settings as the agent uses them, and their defaults.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use k8s_openapi::api::core::v1::Taint;

use crate::image::policy::Policy;
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
    /// Where images come from and how long they stay.
    pub images: ImageSettings,
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
    /// The shared store.
    pub etcd: EtcdSettings,
    /// Where metrics are served; `None` for nowhere.
    pub metrics: Option<SocketAddr>,
    /// The public keys of those whose specs are believed; empty for anybody's.
    pub trusted_keys: Vec<PathBuf>,
    /// The private key that operators' verbs sign with.
    pub sign_key: Option<PathBuf>,
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
    /// The keys of labels and taints that nobody changes from afar.
    pub protected: Vec<String>,
}

/// One source of sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceSettings {
    /// A file or a directory.
    File {
        /// Its path.
        path: PathBuf,
    },
    /// A page by HTTP.
    Http(HttpSettings),
    /// The shared store.
    Etcd,
}

/// How to read a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// Its address.
    pub url: String,
    /// How often it is asked for.
    pub interval: Duration,
    /// How long it may take as a whole.
    pub timeout: Duration,
    /// How long it may be in bytes, unpacked.
    pub max_size: u64,
    /// The authority of the server's certificate, beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
    /// The file with the bearer token.
    pub token_file: Option<PathBuf>,
    /// The user's name.
    pub username: Option<String>,
    /// The file with the user's password.
    pub password_file: Option<PathBuf>,
}

impl HttpSettings {
    /// The settings of an address that says nothing else.
    pub fn of(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(30),
            max_size: 4 << 20,
            ca_file: None,
            cert_file: None,
            key_file: None,
            token_file: None,
            username: None,
            password_file: None,
        }
    }
}

/// How to reach the shared store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdSettings {
    /// The members; none for no store.
    pub endpoints: Vec<String>,
    /// What all keys begin with.
    pub prefix: String,
    /// The authority of the members' certificates, beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
    /// Who we are, where that is not by certificate.
    pub username: Option<String>,
    /// The file with the password.
    pub password_file: Option<PathBuf>,
    /// How long this host counts as alive without a sign of life.
    pub lease_ttl: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
}

impl Default for EtcdSettings {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            prefix: "/podward".into(),
            ca_file: None,
            cert_file: None,
            key_file: None,
            username: None,
            password_file: None,
            lease_ttl: Duration::from_secs(40),
            timeout: Duration::from_secs(5),
        }
    }
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
    /// Who pulls images.
    pub pull: PullBy,
}

/// Who pulls images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullBy {
    /// The agent, into containerd's content store.
    Client,
    /// containerd's transfer service.
    Transfer,
}

impl PullBy {
    /// Each by its name.
    pub const NAMES: [(&'static str, Self); 2] =
        [("client", Self::Client), ("transfer", Self::Transfer)];
}

/// Where images come from and how long they stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSettings {
    /// The host-wide credentials: a docker `config.json`.
    pub auth_file: PathBuf,
    /// The directory of `hosts.toml` files.
    pub hosts_dir: PathBuf,
    /// The file that names the credential provider plugins.
    pub credential_provider_config: Option<PathBuf>,
    /// The directory of the credential provider plugins.
    pub credential_provider_bin_dir: PathBuf,
    /// How many images are pulled at once.
    pub max_parallel_pulls: usize,
    /// How many layers of one image are fetched at once.
    pub max_parallel_layers: usize,
    /// The use of the disk from which images are collected, in percent; 100 for never.
    pub gc_high_threshold_percent: u8,
    /// The use of the disk down to which images are collected, in percent.
    pub gc_low_threshold_percent: u8,
    /// How long an image stays unused before it may be collected.
    pub minimum_gc_age: Duration,
    /// What images must be like.
    pub policy: Policy,
}

impl Default for ImageSettings {
    fn default() -> Self {
        Self {
            auth_file: "/etc/podward/auth.json".into(),
            hosts_dir: "/etc/containerd/certs.d".into(),
            credential_provider_config: None,
            credential_provider_bin_dir: "/usr/libexec/podward/credential-providers".into(),
            max_parallel_pulls: 3,
            max_parallel_layers: 3,
            gc_high_threshold_percent: 85,
            gc_low_threshold_percent: 80,
            minimum_gc_age: Duration::from_mins(2),
            policy: Policy::default(),
        }
    }
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
                pull: PullBy::Client,
            },
            cgroup_parent: None,
            images: ImageSettings::default(),
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
            etcd: EtcdSettings::default(),
            metrics: None,
            trusted_keys: Vec::new(),
            sign_key: None,
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
