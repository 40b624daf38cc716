//! What a container takes from its image, and the mounts that make up its root.

use serde::{Deserialize, Serialize};

/// The part of an image's configuration that shapes a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// ENTRYPOINT.
    pub entrypoint: Vec<String>,
    /// CMD.
    pub cmd: Vec<String>,
    /// ENV, as `NAME=value`.
    pub env: Vec<String>,
    /// WORKDIR; empty when the image names none.
    pub working_dir: String,
    /// USER: `name`, `uid`, `name:group` or `uid:gid`; empty when the image names none.
    pub user: String,
    /// STOPSIGNAL; empty when the image names none.
    pub stop_signal: String,
    /// VOLUME paths.
    pub volumes: Vec<String>,
}

/// One mount of a snapshot, in containerd's terms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// The file system type, such as `overlay` or `bind`.
    pub kind: String,
    /// What is mounted.
    pub source: String,
    /// Where below the root it goes; empty for the root itself.
    pub target: String,
    /// Options as in fstab, flags and data mixed.
    pub options: Vec<String>,
}
