//! A whole pull: resolve, fetch what is missing, unpack as layers arrive, name the image.

use std::path::PathBuf;

use tokio::sync::watch;

use crate::image::{
    credentials::Keyring, policy::SignatureRule, progress::Progress, reference::Reference,
};
use crate::runtime::containerd::{Containerd, Image};

use super::PullError;

/// How images are pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether containerd's transfer service does it.
    pub transfer: bool,
    /// The directory of `hosts.toml` files.
    pub hosts_dir: PathBuf,
    /// The host-wide credentials: a docker `config.json`.
    pub auth_file: PathBuf,
    /// How many layers of one image are fetched at once.
    pub parallel_layers: usize,
}

/// What is to be pulled.
#[derive(Debug)]
pub struct Request<'a> {
    /// The image.
    pub reference: &'a Reference,
    /// The pod's credentials, which come before the host's own, in their order.
    pub secrets: &'a [Keyring],
    /// Whose signature it must bear.
    pub signatures: Option<&'a SignatureRule>,
}

/// What a pull brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The image, unpacked.
    pub image: Image,
    /// The bytes of its configuration and layers as they travel.
    pub size: u64,
}

/// Pulls images.
#[derive(Debug)]
pub struct Puller {
    /// Where they go.
    _containerd: Containerd,
    /// How.
    _settings: Settings,
}

impl Puller {
    /// Nothing is contacted yet.
    pub fn new(containerd: Containerd, settings: Settings) -> Self {
        Self { _containerd: containerd, _settings: settings }
    }

    /// Pulls an image, going on where an earlier try left off. Dropping the future leaves it for a later try.
    pub async fn pull(
        &self,
        _request: Request<'_>,
        _progress: &watch::Sender<Progress>,
    ) -> Result<Pulled, PullError> {
        unimplemented!()
    }

    /// Gives up what a pull that was cut off has left for a later try.
    pub async fn forget(&self, _reference: &Reference) -> Result<(), PullError> {
        unimplemented!()
    }
}
