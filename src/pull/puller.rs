//! A whole pull: resolve, fetch what is missing, unpack as layers arrive, name the image.

use std::path::PathBuf;

use tokio::sync::watch;

use crate::image::{
    credentials::{Keyring, Login},
    documents::{Configuration, Descriptor},
    hosts::Endpoint,
    policy::SignatureRule,
    progress::{LayerProgress, LayerState, Progress},
    reference::Reference,
};
use crate::net::client::Client;
use crate::runtime::containerd::{Blob, Containerd, ContentLease, Image, Labels, Layer};

use super::{
    PullError,
    fetch::Layers,
    hosts_dir,
    logins::{LoginSettings, Logins},
    registry::Registry,
    resolve::{Resolved, configuration, resolve},
    transfer::{Wanted, transfer},
    verify::{SIGNED, mark, verify},
};

/// How images are pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether containerd's transfer service does it.
    pub transfer: bool,
    /// The directory of `hosts.toml` files.
    pub hosts_dir: PathBuf,
    /// Who knows credentials.
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
    /// Who knows credentials.
    logins: Logins,
}

impl Puller {
    /// Nothing is contacted yet.
    pub fn new(containerd: Containerd, settings: Settings) -> Self {
        Self { containerd, logins: Logins::new(settings.logins.clone()), settings }
    }

    /// Pulls an image, going on where an earlier try left off. Dropping the future leaves it for a later try.
    pub async fn pull(
        &self,
        request: Request<'_>,
        progress: &watch::Sender<Progress>,
    ) -> Result<Pulled, PullError> {
        let Request { reference, secrets, signatures } = request;
        let endpoints = hosts_dir::endpoints(&self.settings.hosts_dir, reference.registry())?;
        let (logins, problems) = self.logins.of_endpoints(reference, &endpoints, secrets).await;
        let hosts = endpoints.iter().cloned().zip(logins.iter().cloned()).collect();
        let registry = Registry::new(&Client::of_process(), reference, hosts);
        let name = lasting_name(reference);
        let hosts = (endpoints.as_slice(), logins.as_slice());
        let pull = Pull { puller: self, registry, hosts, reference, name, progress };
        let outcome = Box::pin(pull.run(signatures)).await;
        match outcome {
            Err(PullError::Unauthorized { host, what, status }) if !problems.is_empty() => {
                let status = format!("{status} ({})", problems.join("; "));
                Err(PullError::Unauthorized { host, what, status })
            }
            Err(error) if error.disk_full() => {
                // The running pods need the room more than the next try does.
                let _ = self.forget(reference).await;
                Err(error)
            }
            outcome => outcome,
        }
    }

    /// Gives up what a pull that was cut off has left for a later try.
    pub async fn forget(&self, reference: &Reference) -> Result<(), PullError> {
        Ok(self.containerd.end_pull_lease(&lasting_name(reference), true).await?)
    }
}

/// One pull.
struct Pull<'a> {
    /// By whom.
    puller: &'a Puller,
    /// From where.
    registry: Registry,
    /// The registry's hosts, and the logins for each.
    hosts: (&'a [Endpoint], &'a [Vec<Login>]),
    /// Of what.
    reference: &'a Reference,
    /// The name that it gives the image.
    name: String,
    /// How far it is.
    progress: &'a watch::Sender<Progress>,
}

impl Pull<'_> {
    /// Resolves, verifies, and brings the image.
    async fn run(&self, signatures: Option<&SignatureRule>) -> Result<Pulled, PullError> {
        let Puller { containerd, settings, .. } = self.puller;
        let Some(rule) = signatures else {
            return if settings.transfer {
                self.hand_over(None).await
            } else {
                let resolved =
                    resolve(containerd, &self.registry, self.reference, &self.name).await?;
                self.fetch(resolved).await
            };
        };
        let resolved = resolve(containerd, &self.registry, self.reference, &self.name).await?;
        let (top, repository) = (resolved.top(), &self.reference.repository);
        verify(&self.registry, rule, repository, &top.digest).await?;
        let pulled = if settings.transfer {
            self.hand_over(Some(&top.digest)).await?
        } else {
            self.fetch(resolved).await?
        };
        for name in [format!("{repository}@{}", top.digest), self.name.clone()] {
            containerd.label_image(&name, SIGNED, &mark(rule, &top.digest)?).await?;
        }
        Ok(pulled)
    }

    /// Has containerd pull the image, the one of this digest if it was verified.
    async fn hand_over(&self, digest: Option<&str>) -> Result<Pulled, PullError> {
        let Puller { containerd, settings, .. } = self.puller;
        let (reference, (endpoints, logins)) = (self.reference, self.hosts);
        let wanted =
            Wanted { reference, digest, hosts_dir: &settings.hosts_dir, endpoints, logins };
        transfer(containerd, wanted, self.progress).await
    }

    /// Brings the image under the pull's lease.
    async fn fetch(&self, resolved: Resolved) -> Result<Pulled, PullError> {
        let Puller { containerd, .. } = self.puller;
        let top = resolved.top();
        let lease = containerd.pull_lease(&self.name).await?;
        let (configuration, layers) = self.bring(&lease, &resolved).await?;
        for (document, blob) in &resolved.documents {
            containerd.write_bytes(&lease, blob, &document.bytes).await?;
        }
        let chain_id = layers.last().map(|top| top.chain_id.clone()).unwrap_or_default();
        self.give_names(&top).await?;
        // A lease that stays behind ends when the agent starts next, or at its expiry.
        let _ = containerd.end_pull_lease(&self.name, false).await;
        let image = Image {
            reference: self.name.clone(),
            digest: resolved.manifest_digest().to_owned(),
            chain_id,
            config: configuration.image_config(),
        };
        Ok(Pulled { image, size: resolved.manifest.size() })
    }

    /// Brings configuration and layers, and unpacks these.
    async fn bring(
        &self,
        lease: &ContentLease,
        resolved: &Resolved,
    ) -> Result<(Configuration, Vec<Layer>), PullError> {
        let Puller { containerd, settings, .. } = self.puller;
        let manifest = &resolved.manifest;
        let (bytes, configuration, layers) =
            configuration(containerd, &self.registry, &self.name, manifest).await?;
        let labels: Labels =
            layers.last().map(|top| containerd.snapshot_label(top)).into_iter().collect();
        let digest = manifest.config.digest.clone();
        let blob = Blob { digest, size: bytes.len() as u64, labels };
        containerd.write_bytes(lease, &blob, &bytes).await?;
        let unpacked = containerd.unpacked_layers(lease, &layers).await?;
        self.progress.send_replace(begun(&layers, unpacked));
        let work = (layers.as_slice(), unpacked);
        let all =
            Layers::new(containerd, &self.registry, lease, self.reference, work, self.progress);
        all.bring(settings.parallel_layers).await?;
        Ok((configuration, layers))
    }

    /// Names the image: by what was asked for, and by its digest, so that a tag that moves on does not take the layers
    /// of those that run on it.
    async fn give_names(&self, top: &Descriptor) -> Result<(), PullError> {
        let lasting = format!("{}@{}", self.reference.repository, top.digest);
        self.puller.containerd.name_image(&lasting, top).await?;
        if self.name != lasting {
            self.puller.containerd.name_image(&self.name, top).await?;
        }
        Ok(())
    }
}

/// The name that a pull gives an image: by tag what is asked for by tag, by digest what is asked for by digest, since
/// nobody has asked what the tag beside a digest means.
fn lasting_name(reference: &Reference) -> String {
    let Reference { repository, tag, digest } = reference;
    match digest {
        Some(digest) => format!("{repository}@{digest}"),
        None => format!("{repository}:{}", tag.as_deref().unwrap_or("latest")),
    }
}

/// A pull of which only these layers are here.
fn begun(layers: &[Layer], unpacked: usize) -> Progress {
    let layers = layers.iter().enumerate().map(|(number, layer)| {
        let size = u64::try_from(layer.descriptor.size).unwrap_or(0);
        let (here, state) =
            if number < unpacked { (size, LayerState::Present) } else { (0, LayerState::Waiting) };
        LayerProgress { digest: layer.descriptor.digest.clone(), size, here, state }
    });
    Progress { layers: layers.collect() }
}
