//! What a container takes from its image, and the mounts that make up its root.

use k8s_openapi::api::core::v1::Container;
use serde::{Deserialize, Serialize};

use crate::base::signals::signal_number;

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

/// The signal that asks a container to end: its own, its image's, or SIGTERM.
pub fn stop_signal(container: Option<&Container>, image: Option<&ImageConfig>) -> u32 {
    const TERM: u32 = 15;
    let own = container.and_then(|container| container.lifecycle.as_ref()?.stop_signal.as_deref());
    let images = image.map(|image| image.stop_signal.as_str());
    [own, images].into_iter().flatten().find_map(signal_number).unwrap_or(TERM)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Lifecycle;

    use super::*;

    #[test]
    fn a_containers_stop_signal_beats_its_images_and_that_beats_sigterm() {
        let own = |signal: &str| Container {
            lifecycle: Some(Lifecycle { stop_signal: Some(signal.into()), ..Lifecycle::default() }),
            ..Container::default()
        };
        let image =
            |signal: &str| ImageConfig { stop_signal: signal.into(), ..ImageConfig::default() };
        assert_eq!(stop_signal(Some(&own("SIGUSR1")), Some(&image("SIGQUIT"))), 10);
        assert_eq!(stop_signal(Some(&Container::default()), Some(&image("SIGQUIT"))), 3);
        assert_eq!(stop_signal(Some(&Container::default()), Some(&image(""))), 15);
        assert_eq!(stop_signal(None, None), 15);
    }
}
