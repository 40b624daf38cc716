//! The content store: blobs by digest.

use std::collections::HashMap;

use containerd_client::services::v1::{Info, InfoRequest, ReadContentRequest, UpdateRequest};
use prost_types::FieldMask;

use super::{
    Containerd,
    client::{call, refused},
    error::{Class, Error},
    leases::ContentLease,
};
use crate::image::documents::DOCUMENT_LIMIT;

/// Labels of a blob.
pub type Labels = HashMap<String, String>;

/// A blob that is about to be written.
#[derive(Debug, Clone)]
pub struct Blob {
    /// Its digest, which containerd checks.
    pub digest: String,
    /// Its size; 0 when it is not known.
    pub size: u64,
    /// Its labels, written with the last piece.
    pub labels: Labels,
}

impl Containerd {
    /// A document out of the content store; `None` when it is not there.
    pub async fn read_document(&self, digest: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(info) = self.blob_info(digest).await? else {
            return Ok(None);
        };
        let size = u64::try_from(info.size).unwrap_or(0);
        if size > DOCUMENT_LIMIT {
            // The reader of the document will say that it is none.
            return Ok(Some(Vec::new()));
        }
        let mut service = self.client().content();
        let request = ReadContentRequest { digest: digest.to_owned(), offset: 0, size: 0 };
        let reply = call("read content", digest, service.read(self.client().request(request)));
        let mut pieces = match reply.await {
            Err(error) if error.class() == Class::Missing => return Ok(None),
            reply => reply?,
        };
        let mut document = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        while let Some(piece) =
            pieces.message().await.map_err(|status| refused("read content", digest, &status))?
        {
            document.extend_from_slice(&piece.data);
        }
        Ok(Some(document))
    }

    /// What is known of a blob; `None` when it is not there.
    pub(super) async fn blob_info(&self, digest: &str) -> Result<Option<Info>, Error> {
        let request = InfoRequest { digest: digest.to_owned() };
        let mut service = self.client().content();
        match call("find content", digest, service.info(self.client().request(request))).await {
            Ok(reply) => Ok(reply.info),
            Err(error) if error.class() == Class::Missing => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Adds labels to a blob and leaves its others.
    pub(super) async fn label_blob(&self, digest: &str, labels: &Labels) -> Result<(), Error> {
        if labels.is_empty() {
            return Ok(());
        }
        let paths = labels.keys().map(|key| format!("labels.{key}")).collect();
        let info = Info { digest: digest.to_owned(), labels: labels.clone(), ..Info::default() };
        let request = UpdateRequest { info: Some(info), update_mask: Some(FieldMask { paths }) };
        let mut service = self.client().content();
        call("label content", digest, service.update(self.client().request(request)))
            .await
            .map(|_| ())
    }

    /// Lets a lease hold a blob that is there already, with our labels; `false` when it is not there.
    pub(super) async fn keep_blob(&self, lease: &ContentLease, blob: &Blob) -> Result<bool, Error> {
        if self.blob_info(&blob.digest).await?.is_none() {
            return Ok(false);
        }
        self.hold_blob(lease, &blob.digest).await?;
        match self.label_blob(&blob.digest, &blob.labels).await {
            Ok(()) => Ok(true),
            // Collected in between.
            Err(error) if error.class() == Class::Missing => Ok(false),
            Err(error) => Err(error),
        }
    }
}
