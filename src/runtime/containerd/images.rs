//! Images: from a reference to the snapshot that a container stands on.

use std::{
    collections::{BTreeMap, HashMap},
    sync::PoisonError,
};

use containerd_client::services::v1::{
    CreateImageRequest, GetImageRequest, Image as Record, ListImagesRequest, UpdateImageRequest,
};
use prost_types::FieldMask;
use serde::de::DeserializeOwned;

use super::{
    Containerd,
    client::call,
    error::{Class, Error},
    unpack::{Failure, Layer, wire_descriptor},
};
use crate::image::documents::{Configuration, Descriptor, Index, Manifest, Platform};
use crate::image::reference::Reference;
use crate::pod::image::ImageConfig;

/// How deep indexes may point to indexes.
const DEPTH: u32 = 4;

/// How many images are remembered.
const REMEMBERED: usize = 64;

/// Images that were read before, by the digest of their top document.
pub(super) type Known = BTreeMap<String, Resolved>;

/// An image, ready for containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The name under which containerd knows it.
    pub reference: String,
    /// The digest of its manifest for this host.
    pub digest: String,
    /// The snapshot of its top layer: the parent of its containers' snapshots; empty for an image without layers.
    pub chain_id: String,
    /// How it wants to be run.
    pub config: ImageConfig,
}

/// What an image's documents say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resolved {
    /// The manifest's digest.
    pub(super) manifest: String,
    /// The bytes of its configuration and layers as they travel.
    pub(super) size: u64,
    /// The configuration's digest.
    config_digest: String,
    /// How to run it.
    config: ImageConfig,
    /// Its layers.
    layers: Vec<Layer>,
}

impl Containerd {
    /// The image of a reference, unpacked; `None` when containerd has none of that name. The name is
    /// tried as it stands before it is completed.
    pub async fn image(&self, reference: &str) -> Result<Option<Image>, Error> {
        let Some(record) = self.find_record(reference).await? else {
            return Ok(None);
        };
        self.ready_image(reference, record).await.map(Some)
    }

    /// A label of the image of a reference, with the digest of what it labels; an empty one when there is no such label.
    pub async fn image_label(
        &self,
        reference: &str,
        key: &str,
    ) -> Result<Option<(String, String)>, Error> {
        let record = self.find_record(reference).await?;
        Ok(record.map(|mut record| {
            let digest = record.target.unwrap_or_default().digest;
            (digest, record.labels.remove(key).unwrap_or_default())
        }))
    }

    /// The image of a manifest, unpacked, whatever its names point to by now; `None` when a part of it is gone.
    pub async fn image_by_manifest(
        &self,
        reference: &str,
        manifest: &str,
    ) -> Result<Option<Image>, Error> {
        let failed = |failure| failed(reference, failure);
        if self.blob_info(manifest).await?.is_none() {
            return Ok(None);
        }
        let descriptor = Descriptor::of(manifest);
        let resolved = match self.read_image(&Platform::of_host(), descriptor).await {
            Err(Failure::Broken(_)) => return Ok(None),
            read => read.map_err(failed)?,
        };
        let chain_id = resolved.chain_id();
        if !self.has_layers(&chain_id).await? {
            for layer in &resolved.layers {
                if self.blob_info(&layer.descriptor.digest).await?.is_none() {
                    return Ok(None);
                }
            }
            self.unpack(&resolved.config_digest, &resolved.layers).await.map_err(failed)?;
        }
        let digest = resolved.manifest;
        Ok(Some(Image {
            reference: reference.to_owned(),
            digest,
            chain_id,
            config: resolved.config,
        }))
    }

    /// Gives an image its name, or gives the name to another image.
    pub async fn name_image(&self, name: &str, target: &Descriptor) -> Result<(), Error> {
        let image = Record {
            name: name.to_owned(),
            target: Some(wire_descriptor(target)),
            ..Record::default()
        };
        let mut service = self.client().images();
        let request =
            CreateImageRequest { image: Some(image.clone()), ..CreateImageRequest::default() };
        let created =
            call("create image", name, service.create(self.client().request(request))).await;
        match created {
            Err(error) if error.class() == Class::Exists => {}
            reply => return reply.map(|_| ()),
        }
        let request = UpdateImageRequest {
            image: Some(image),
            update_mask: Some(FieldMask { paths: vec!["target".to_owned()] }),
            ..UpdateImageRequest::default()
        };
        call("update image", name, service.update(self.client().request(request))).await.map(|_| ())
    }

    /// The record that a reference means.
    async fn find_record(&self, reference: &str) -> Result<Option<Record>, Error> {
        if reference.is_empty() {
            Reference::parse(reference)?;
        }
        if let Some(record) = self.record_named(reference).await? {
            return Ok(Some(record));
        }
        let parsed = Reference::parse(reference)?;
        let Some(digest) = &parsed.digest else {
            for name in parsed.names() {
                if let Some(record) = self.record_named(&name).await? {
                    return Ok(Some(record));
                }
            }
            return Ok(None);
        };
        // A digest says what the image is: any name of the same repository will do.
        let records = self.records_where(vec![format!("target.digest=={digest}")]).await?;
        let same = |record: &Record| {
            Reference::parse(&record.name).is_ok_and(|name| name.repository == parsed.repository)
        };
        Ok(records.into_iter().find(same))
    }

    /// The record of exactly this name.
    pub(super) async fn record_named(&self, name: &str) -> Result<Option<Record>, Error> {
        let mut service = self.client().images();
        let request = GetImageRequest { name: name.to_owned() };
        match call("find image", name, service.get(self.client().request(request))).await {
            Ok(reply) => Ok(reply.image),
            Err(error) if error.class() == Class::Missing => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The records that pass any of the filters.
    pub(super) async fn records_where(&self, filters: Vec<String>) -> Result<Vec<Record>, Error> {
        let mut service = self.client().images();
        let request = ListImagesRequest { filters };
        let reply = call("list", "images", service.list(self.client().request(request)));
        Ok(reply.await?.images)
    }

    /// Reads and unpacks an image. A chain that was collected between two of our calls is unpacked anew.
    async fn ready_image(&self, reference: &str, record: Record) -> Result<Image, Error> {
        let failed = |failure| failed(reference, failure);
        let resolved = self.resolve(&record).await.map_err(failed)?;
        let unpacked = match self.unpack(&resolved.config_digest, &resolved.layers).await {
            Err(Failure::Call(error)) if error.class() == Class::Missing => {
                self.unpack(&resolved.config_digest, &resolved.layers).await
            }
            outcome => outcome,
        };
        unpacked.map_err(failed)?;
        Ok(Image {
            reference: record.name,
            chain_id: resolved.chain_id(),
            digest: resolved.manifest,
            config: resolved.config,
        })
    }

    /// Reads an image's documents, or remembers them.
    pub(super) async fn resolve(&self, record: &Record) -> Result<Resolved, Failure> {
        let target = record.target.clone().unwrap_or_default();
        let known = |known: &Known| known.get(&target.digest).cloned();
        let lock = || self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(resolved) = known(&lock()) {
            return Ok(resolved);
        }
        let top = Descriptor {
            media_type: target.media_type,
            digest: target.digest.clone(),
            size: target.size,
            annotations: BTreeMap::new(),
            platform: None,
        };
        let host = Platform::of_host();
        let manifest = self.manifest_for(&host, top).await?;
        let resolved = self.read_image(&host, manifest).await?;
        let mut known = lock();
        if known.len() >= REMEMBERED {
            known.pop_first();
        }
        known.insert(target.digest, resolved.clone());
        Ok(resolved)
    }

    /// Follows indexes to the manifest for this host.
    async fn manifest_for(&self, host: &Platform, top: Descriptor) -> Result<Descriptor, Failure> {
        let mut here = top;
        for _ in 0..DEPTH {
            if !here.is_index() {
                return Ok(here);
            }
            let index: Index = self.document("index", &here.digest).await?;
            let Some(choice) = index.choices(host).first().copied().cloned() else {
                return Err(Failure::Broken(format!(
                    "has no image for {host}, only for {}; give one that runs here",
                    index.platforms()
                )));
            };
            here = choice;
        }
        Err(Failure::Broken(format!("has more than {DEPTH} indexes inside each other")))
    }

    /// Reads a manifest and its configuration.
    async fn read_image(
        &self,
        host: &Platform,
        descriptor: Descriptor,
    ) -> Result<Resolved, Failure> {
        let manifest: Manifest = self.document("manifest", &descriptor.digest).await?;
        let config: Configuration = self.document("configuration", &manifest.config.digest).await?;
        if !config.runs_on(host) {
            let platform = &config.platform;
            return Err(Failure::Broken(format!(
                "is for {platform}, this host is {host}; give one that runs here"
            )));
        }
        let layers = layers_of(&manifest, &config).map_err(Failure::Broken)?;
        Ok(Resolved {
            size: manifest.size(),
            manifest: descriptor.digest,
            config_digest: manifest.config.digest,
            config: config.image_config(),
            layers,
        })
    }

    /// Reads one document of an image.
    async fn document<T: DeserializeOwned>(&self, kind: &str, digest: &str) -> Result<T, Failure> {
        let Some(bytes) = self.read_document(digest).await? else {
            return Err(Failure::Broken(format!(
                "its {kind} {digest} is not in containerd's content store; import or pull it again"
            )));
        };
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::Broken(format!("its {kind} {digest} cannot be read: {error}"))
        })
    }
}

impl Resolved {
    /// The snapshot of the top layer.
    fn chain_id(&self) -> String {
        self.layers.last().map(|top| top.chain_id.clone()).unwrap_or_default()
    }
}

/// Why an image is not ready.
fn failed(reference: &str, failure: Failure) -> Error {
    let reference = reference.to_owned();
    match failure {
        Failure::Call(source) => Error::Image { reference, source: Box::new(source) },
        Failure::Broken(problem) => Error::BrokenImage { reference, problem },
    }
}

/// A manifest's layers with the snapshots that they become.
pub fn layers_of(manifest: &Manifest, config: &Configuration) -> Result<Vec<Layer>, String> {
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != manifest.layers.len() {
        return Err(format!(
            "its manifest has {} layers, its configuration {}",
            manifest.layers.len(),
            diff_ids.len()
        ));
    }
    let layers = manifest.layers.iter().zip(diff_ids).zip(config.chain_ids());
    Ok(layers
        .map(|((descriptor, diff_id), chain_id)| Layer {
            descriptor: descriptor.clone(),
            diff_id: diff_id.clone(),
            chain_id,
        })
        .collect())
}

/// The labels by which an index or a manifest holds what it names.
pub fn holding_labels<'a>(
    children: impl IntoIterator<Item = (String, &'a Descriptor)>,
) -> HashMap<String, String> {
    children
        .into_iter()
        .map(|(role, child)| (format!("containerd.io/gc.ref.content.{role}"), child.digest.clone()))
        .collect()
}
