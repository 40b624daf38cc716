//! The table of keys: the file, the environment, the flags and the reference page all follow it.

use std::fmt;

use crate::base::time::go_duration;
use crate::spec::FieldValidation;

use super::file::Tree;
use super::keys_images::IMAGE_KEYS;
use super::keys_sources::SOURCE_KEYS;
use super::read::Notes;
use super::settings::{CgroupDriver, PullBy, Settings, SourceSettings, name_of};
use super::values::{
    bytes, cgroup, choice, directories, files, labels, node_name, path, period, set, shown,
    shown_taint, taints, word,
};
use super::values_sources::{cluster, sources};

/// One key.
pub struct Key {
    /// Its path in the file.
    pub path: &'static str,
    /// What sort of value it takes, for the reference page.
    #[cfg_attr(not(test), expect(dead_code, reason = "a test makes the reference page"))]
    pub sort: &'static str,
    /// Whether it may stand in the file.
    pub in_file: bool,
    /// Whether an environment variable can carry it.
    pub in_environment: bool,
    /// Its flag.
    pub flag: Option<&'static str>,
    /// Whether a change takes effect without a restart of the agent.
    pub live: bool,
    /// What the default is when the settings cannot show it.
    #[cfg_attr(not(test), expect(dead_code, reason = "a test makes the reference page"))]
    pub otherwise: &'static str,
    /// What it is for.
    #[cfg_attr(not(test), expect(dead_code, reason = "a test makes the reference page"))]
    pub about: &'static str,
    /// Reads a value into the settings.
    pub read: fn(&Tree, &mut Settings, &mut Notes<'_>),
    /// Shows the settings' value.
    pub show: fn(&Settings) -> String,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Key {
    /// The environment variable that carries the key: `containerd.cgroupDriver` is
    /// `PODWARD_CONTAINERD_CGROUP_DRIVER`.
    pub fn variable(&self) -> Option<String> {
        self.in_environment.then(|| {
            let mut name = "PODWARD_".to_owned();
            let mut letters = self.path.chars().peekable();
            let mut before = '.';
            while let Some(letter) = letters.next() {
                // A word begins where a capital stands after or before a small letter: `minimumGCAge` has three.
                let small_next = letters.peek().is_some_and(char::is_ascii_lowercase);
                let begins = letter.is_ascii_uppercase() && before != '.';
                if begins && (before.is_ascii_lowercase() || small_next) {
                    name.push('_');
                }
                name.push(if letter == '.' { '_' } else { letter.to_ascii_uppercase() });
                before = letter;
            }
            name
        })
    }
}

/// Keys of later versions, at the top.
pub const LATER: [&str; 1] = ["network"];

/// The ways of field validation by their names.
const VALIDATIONS: [(&str, FieldValidation); 3] = [
    ("Strict", FieldValidation::Strict),
    ("Warn", FieldValidation::Warn),
    ("Ignore", FieldValidation::Ignore),
];

/// What most keys are: in the file and the environment, fixed while the agent runs.
pub(super) const PLAIN: Key = Key {
    path: "",
    sort: "text",
    in_file: true,
    in_environment: true,
    flag: None,
    live: false,
    otherwise: "",
    about: "",
    read: |_, _, _| {},
    show: |_| String::new(),
};

/// Every key, in the order of the reference page.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().chain(&SOURCE_KEYS).chain(&IMAGE_KEYS)
}

/// Every key but those of images and of the store.
static KEYS: [Key; 23] = [
    Key {
        path: "cluster",
        about: "The fleet that this host belongs to.",
        read: |tree, to, notes| set(&mut to.cluster, cluster(tree, notes)),
        show: |of| of.cluster.clone(),
        ..PLAIN
    },
    Key {
        path: "node.name",
        flag: Some("--node-name"),
        otherwise: "the hostname",
        about: "This host's name: lower-case letters, digits, `-` and `.`.",
        read: |tree, to, notes| set(&mut to.node.name, node_name(tree, notes).map(Some)),
        show: |of| of.node.name.clone().unwrap_or_default(),
        ..PLAIN
    },
    Key {
        path: "node.labels",
        sort: "mapping of texts",
        in_environment: false,
        live: true,
        otherwise: "none",
        about: "Labels beside those found on the host (`kubernetes.io/hostname`, `os`, `arch`).",
        read: labels,
        show: |of| format!("{:?}", of.node.labels).replace("{}", ""),
        ..PLAIN
    },
    Key {
        path: "node.taints",
        sort: "list of `{key, value, effect}`",
        in_environment: false,
        live: true,
        otherwise: "none",
        about: "Taints; the effect is `NoSchedule`, `PreferNoSchedule` or `NoExecute`.",
        read: taints,
        show: |of| of.node.taints.iter().map(shown_taint).collect::<Vec<_>>().join(","),
        ..PLAIN
    },
    Key {
        path: "sources",
        sort: "list of `{file: {path}}`, `{http: {url, …}}`, `{etcd: {}}`",
        in_environment: false,
        about: "Where sets, ConfigMaps and Secrets come from: files, or directories of `*.yaml`, `*.yml` and `*.json`; \
                pages by HTTP; the shared store. The first source that names a set keeps it. A page has `url` and, all \
                optional, `interval` (`30s`), `timeout` (`30s`), `maxSize` (`4Mi`, unpacked), `caFile`, `certFile` and \
                `keyFile`, and `tokenFile` or `username` and `passwordFile`; these files are read again each time.",
        read: sources,
        show: |of| {
            let shown = of.sources.iter().map(|source| match source {
                SourceSettings::File { path } => format!("file: {}", path.display()),
                SourceSettings::Http(http) => format!("http: {}", http.url),
                SourceSettings::Etcd => "etcd".to_owned(),
            });
            shown.collect::<Vec<_>>().join(", ")
        },
        ..PLAIN
    },
    Key {
        path: "objectsDir",
        sort: "path",
        about: "ConfigMaps and Secrets that no document holds: \
                `<namespace>/{configmaps,secrets}/<name>/<key>`, each file the value of its key.",
        read: |tree, to, notes| set(&mut to.objects_dir, path(tree, notes)),
        show: |of| shown(&of.objects_dir),
        ..PLAIN
    },
    Key {
        path: "containerd.address",
        sort: "path",
        about: "containerd's socket.",
        read: |tree, to, notes| set(&mut to.containerd.address, path(tree, notes)),
        show: |of| shown(&of.containerd.address),
        ..PLAIN
    },
    Key {
        path: "containerd.namespace",
        about: "The containerd namespace that belongs to this agent alone.",
        read: |tree, to, notes| set(&mut to.containerd.namespace, word(tree, notes)),
        show: |of| of.containerd.namespace.clone(),
        ..PLAIN
    },
    Key {
        path: "containerd.snapshotter",
        about: "The snapshotter of the containers' file systems.",
        read: |tree, to, notes| set(&mut to.containerd.snapshotter, word(tree, notes)),
        show: |of| of.containerd.snapshotter.clone(),
        ..PLAIN
    },
    Key {
        path: "containerd.runtime",
        about: "The runtime of the containers.",
        read: |tree, to, notes| set(&mut to.containerd.runtime, word(tree, notes)),
        show: |of| of.containerd.runtime.clone(),
        ..PLAIN
    },
    Key {
        path: "containerd.cgroupDriver",
        sort: "`auto`, `cgroupfs` or `systemd`",
        about: "Who makes cgroups: with `auto` systemd where it runs the host, otherwise the agent.",
        read: |tree, to, notes| {
            set(&mut to.containerd.cgroup_driver, choice(tree, notes, &CgroupDriver::NAMES));
        },
        show: |of| name_of(&CgroupDriver::NAMES, of.containerd.cgroup_driver).to_owned(),
        ..PLAIN
    },
    Key {
        path: "containerd.pull",
        sort: "`client` or `transfer`",
        about: "Who pulls images: the agent, which works with every containerd, or with `transfer` containerd's own \
                transfer service (2.0 and later), so that its image verifier plugins apply.",
        read: |tree, to, notes| {
            set(&mut to.containerd.pull, choice(tree, notes, &PullBy::NAMES));
        },
        show: |of| name_of(&PullBy::NAMES, of.containerd.pull).to_owned(),
        ..PLAIN
    },
    Key {
        path: "cgroupParent",
        otherwise: "`/podward`, with systemd `podward.slice`",
        about: "The cgroup above all pods.",
        read: |tree, to, notes| set(&mut to.cgroup_parent, cgroup(tree, notes).map(Some)),
        show: |of| of.cgroup_parent.clone().unwrap_or_default(),
        ..PLAIN
    },
    Key {
        path: "paths.state",
        sort: "path",
        about: "What outlives a reboot: records, volumes, `images/`, and `seccomp/` with the operator's seccomp profiles.",
        read: |tree, to, notes| set(&mut to.paths.state, path(tree, notes)),
        show: |of| shown(&of.paths.state),
        ..PLAIN
    },
    Key {
        path: "paths.run",
        sort: "path",
        about: "What does not outlive a reboot: the control socket, pinned namespaces.",
        read: |tree, to, notes| set(&mut to.paths.run, path(tree, notes)),
        show: |of| shown(&of.paths.run),
        ..PLAIN
    },
    Key {
        path: "paths.podLogs",
        sort: "path",
        about: "The containers' logs.",
        read: |tree, to, notes| set(&mut to.paths.pod_logs, path(tree, notes)),
        show: |of| shown(&of.paths.pod_logs),
        ..PLAIN
    },
    Key {
        path: "paths.containerLogs",
        sort: "path",
        about: "Links to the logs, one for each container, as log shippers expect them.",
        read: |tree, to, notes| set(&mut to.paths.container_logs, path(tree, notes)),
        show: |of| shown(&of.paths.container_logs),
        ..PLAIN
    },
    Key {
        path: "cdiDirs",
        sort: "list of paths",
        in_environment: false,
        about: "Where vendors describe their devices (the Container Device Interface): what a pod's annotations \
                `cdi.k8s.io/…` name is sought here, a later directory before an earlier one.",
        read: |tree, to, notes| set(&mut to.cdi_dirs, directories(tree, notes)),
        show: |of| of.cdi_dirs.iter().map(|dir| shown(dir)).collect::<Vec<_>>().join(", "),
        ..PLAIN
    },
    Key {
        path: "logs.maxSize",
        sort: "quantity of bytes",
        about: "The size at which a log is rotated.",
        read: |tree, to, notes| set(&mut to.logs.max_size, bytes(tree, notes)),
        show: |of| match of.logs.max_size {
            size if size.is_multiple_of(1 << 20) => format!("{}Mi", size >> 20),
            size => size.to_string(),
        },
        ..PLAIN
    },
    Key {
        path: "logs.maxFiles",
        sort: "number from 2 to 1000",
        about: "How many log files a container may have, the current one included.",
        read: |tree, to, notes| set(&mut to.logs.max_files, files(tree, notes)),
        show: |of| of.logs.max_files.to_string(),
        ..PLAIN
    },
    Key {
        path: "fieldValidation",
        sort: "`Strict`, `Warn` or `Ignore`",
        live: true,
        about: "What happens to a document with fields that Kubernetes does not know: it is \
                refused, accepted with a warning, or accepted in silence.",
        read: |tree, to, notes| {
            set(&mut to.field_validation, choice(tree, notes, &VALIDATIONS));
        },
        show: |of| of.field_validation.to_string(),
        ..PLAIN
    },
    Key {
        path: "crashLoopBackOff.maxContainerRestartPeriod",
        sort: "duration from `1s` to `5m`",
        about: "The longest wait before a crashing container is started again.",
        read: |tree, to, notes| set(&mut to.max_container_restart_period, period(tree, notes)),
        show: |of| go_duration(of.max_container_restart_period),
        ..PLAIN
    },
    Key {
        path: "socket",
        sort: "path",
        in_file: false,
        flag: Some("--socket"),
        otherwise: "`podward.sock` in `paths.run`",
        about: "The control socket, of the agent and of the commands that talk to it.",
        read: |tree, to, notes| set(&mut to.socket, path(tree, notes).map(Some)),
        show: |of| of.socket.as_deref().map(shown).unwrap_or_default(),
        ..PLAIN
    },
];
