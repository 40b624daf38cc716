//! The images that containerd holds, as garbage collection and people look at them.

use std::collections::BTreeMap;

use containerd_client::{
    services::v1::{DeleteImageRequest, Image as Record, UpdateImageRequest},
    types,
};
use jiff::Timestamp;
use prost_types::FieldMask;

use super::{
    Containerd,
    client::call,
    error::{Class, Error},
    leases::moment,
    unpack::Failure,
};

/// The label by which containerd's CRI plugin says that an image stays, which other tools set as well.
const PINNED: (&str, &str) = ("io.cri-containerd.pinned", "pinned");

/// An image with all of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredImage {
    /// Its names.
    pub names: Vec<String>,
    /// The digest of its top document, a manifest or an index.
    pub target: String,
    /// The digest of its manifest for this host; empty when it has none, or when a part of it is gone.
    pub manifest: String,
    /// The bytes of its configuration and layers as they travel; 0 when that cannot be told.
    pub size: u64,
    /// When it got its first name.
    pub created: Timestamp,
    /// When it last got a name, or a label of one.
    pub updated: Timestamp,
    /// Whether somebody said that it stays.
    pub pinned: bool,
    /// The labels of all of its names.
    pub labels: BTreeMap<String, String>,
}

impl Containerd {
    /// All images, by the digests of their top documents.
    pub async fn stored_images(&self) -> Result<Vec<StoredImage>, Error> {
        let mut images: BTreeMap<String, StoredImage> = BTreeMap::new();
        for record in self.records_where(Vec::new()).await? {
            let target = record.target.clone().unwrap_or_default().digest;
            if !images.contains_key(&target) {
                let (manifest, size) = self.contents(&record).await?;
                images.insert(target.clone(), StoredImage::unnamed(target.clone(), manifest, size));
            }
            if let Some(image) = images.get_mut(&target) {
                image.add(record);
            }
        }
        Ok(images.into_values().collect())
    }

    /// An image's manifest and size. One that cannot be used can still be looked at and removed.
    async fn contents(&self, record: &Record) -> Result<(String, u64), Error> {
        match self.resolve(record).await {
            Ok(resolved) => Ok((resolved.manifest, resolved.size)),
            Err(Failure::Broken(_)) => Ok((String::new(), 0)),
            Err(Failure::Call(error)) => Err(error),
        }
    }

    /// Takes away names of an image; those that are gone already are no error. What no name holds any more becomes
    /// garbage; with `sync`, containerd collects it before it answers.
    pub async fn remove_image(&self, names: &[String], sync: bool) -> Result<(), Error> {
        for (number, name) in names.iter().enumerate() {
            // Collecting once is enough.
            let sync = sync && number + 1 == names.len();
            let request = DeleteImageRequest { name: name.clone(), sync, ..Default::default() };
            let mut service = self.client().images();
            match call("delete image", name, service.delete(self.client().request(request))).await {
                Err(error) if error.class() != Class::Missing => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Notes something on one name of an image.
    pub async fn label_image(&self, name: &str, key: &str, value: &str) -> Result<(), Error> {
        let labels = [(key.to_owned(), value.to_owned())].into();
        // containerd 1.7 and 2.x die, the whole daemon, of an image without target, also where the mask leaves it out.
        let target = Some(types::Descriptor::default());
        let request = UpdateImageRequest {
            image: Some(Record { name: name.to_owned(), labels, target, ..Record::default() }),
            update_mask: Some(FieldMask { paths: vec![format!("labels.{key}")] }),
            ..UpdateImageRequest::default()
        };
        let mut service = self.client().images();
        call("label image", name, service.update(self.client().request(request))).await.map(|_| ())
    }

    /// When a name was last given to an image; `None` when there is no such name.
    pub(super) async fn named_at(&self, name: &str) -> Result<Option<Timestamp>, Error> {
        Ok(self.record_named(name).await?.map(|record| moment(record.updated_at)))
    }
}

impl StoredImage {
    /// An image whose names are not read yet.
    fn unnamed(target: String, manifest: String, size: u64) -> Self {
        Self {
            names: Vec::new(),
            target,
            manifest,
            size,
            created: Timestamp::MAX,
            updated: Timestamp::MIN,
            pinned: false,
            labels: BTreeMap::new(),
        }
    }

    /// Adds a name.
    fn add(&mut self, record: Record) {
        self.created = self.created.min(moment(record.created_at));
        self.updated = self.updated.max(moment(record.updated_at));
        self.pinned |= record.labels.get(PINNED.0).is_some_and(|value| value == PINNED.1);
        self.labels.extend(record.labels);
        self.names.push(record.name);
    }
}
