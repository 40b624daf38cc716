//! A whole pull: resolve, fetch what is missing, unpack as layers arrive, name the image.

use std::path::PathBuf;

use tokio::sync::watch;

use crate::image::{
    credentials::Keyring, policy::SignatureRule, progress::Progress, reference::Reference,
};
use crate::runtime::containerd::{Containerd, Image};

use super::{
    PullError,
    logins::{LoginSettings, Logins},
    transfer::{Wanted, transfer},
};

/// How images are pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether containerd's transfer service does it.
    pub transfer: bool,
    /// The directory of `hosts.toml` files.
    pub hosts_dir: PathBuf,
    /// Where the host's credentials are.
    pub logins: LoginSettings,
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
    containerd: Containerd,
    /// How.
    settings: Settings,
    /// The host's credentials.
    logins: Logins,
}

impl Puller {
    /// Nothing is contacted yet.
    pub fn new(containerd: Containerd, settings: Settings) -> Self {
        let logins = Logins::new(settings.logins.clone());
        Self { containerd, settings, logins }
    }

    /// Pulls an image, going on where an earlier try left off. Dropping the future leaves it for a later try.
    pub async fn pull(
        &self,
        request: Request<'_>,
        progress: &watch::Sender<Progress>,
    ) -> Result<Pulled, PullError> {
        let Request { reference, secrets, .. } = request;
        if self.settings.transfer {
            let hosts_dir = &self.settings.hosts_dir;
            let logins = self.logins.logins(&reference.repository, secrets).await.logins;
            let wanted = Wanted { reference, hosts_dir, logins };
            return transfer(&self.containerd, wanted, progress).await;
        }
        unimplemented!()
    }

    /// Gives up what a pull that was cut off has left for a later try.
    pub async fn forget(&self, _reference: &Reference) -> Result<(), PullError> {
        unimplemented!()
    }
}
