//! The images that containerd holds, as garbage collection and people look at them.

use std::collections::BTreeMap;

use containerd_client::services::v1::DeleteImageRequest;
use jiff::Timestamp;

use super::{
    Containerd,
    client::call,
    error::{Class, Error},
};

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
        Ok(Vec::new())
    }

    /// Takes away names of an image.
    pub async fn remove_image(&self, names: &[String], sync: bool) -> Result<(), Error> {
        for name in names {
            let request = DeleteImageRequest { name: name.clone(), sync, ..Default::default() };
            let mut service = self.client().images();
            match call("delete image", name, service.delete(self.client().request(request))).await {
                Err(error) if error.class() != Class::Missing => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}
