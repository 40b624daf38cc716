//! One repository of a registry, asked over HTTP by the distribution protocol, at whichever of its hosts serves it.

use hyper::body::Bytes;

use crate::image::{
    credentials::Login, documents::Descriptor, hosts::Endpoint, reference::Reference,
};

use super::PullError;

/// A manifest or an index, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    /// The digest of its bytes.
    pub digest: String,
    /// What the registry calls it.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// One repository on all of its hosts.
#[derive(Debug)]
pub(super) struct Registry {}

impl Registry {
    /// Nothing is contacted yet. The logins are tried in their order.
    pub fn new(_reference: &Reference, _endpoints: Vec<Endpoint>, _logins: Vec<Login>) -> Self {
        Self {}
    }

    /// The manifest or index of a tag or a digest; bytes that are not the digest's are an error.
    pub async fn manifest(&self, _tag_or_digest: &str) -> Result<Document, PullError> {
        unimplemented!()
    }

    /// A blob from byte `from` on.
    pub async fn blob(&self, _blob: &Descriptor, _from: u64) -> Result<BlobStream, PullError> {
        unimplemented!()
    }
}

/// The bytes of a blob.
#[derive(Debug)]
pub(super) struct BlobStream {
    /// Where it begins: 0 when the host does not serve parts.
    pub from: u64,
}

impl BlobStream {
    /// The next bytes; `None` at the end. Fewer bytes than were announced are an error.
    pub async fn next(&mut self) -> Result<Option<Bytes>, PullError> {
        unimplemented!()
    }
}
