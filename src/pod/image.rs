//! What an image and a snapshot tell about a container's root.

use serde::{Deserialize, Serialize};

/// The parts of an image's configuration that a container starts from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// The entry point; `command` replaces it.
    pub entrypoint: Vec<String>,
    /// The arguments; `args` replaces them.
    pub cmd: Vec<String>,
    /// Variables as `NAME=value`.
    pub env: Vec<String>,
    /// The working directory; empty for `/`.
    pub working_dir: String,
    /// The user as `name`, `uid`, `name:group` or `uid:gid`; empty for root.
    pub user: String,
    /// The signal that stops the container; empty for SIGTERM.
    pub stop_signal: String,
    /// Paths that the image declares as volumes.
    pub volumes: Vec<String>,
}

/// One mount that makes up a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// The type, such as `overlay` or `bind`.
    pub kind: String,
    /// The source.
    pub source: String,
    /// The target below the container's root; mostly empty.
    pub target: String,
    /// The options, as in fstab.
    pub options: Vec<String>,
}
