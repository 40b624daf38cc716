//! One repository of a registry, asked over HTTP by the distribution protocol, at whichever of its hosts serves it.

use std::sync::Arc;

use hyper::body::Bytes;

use crate::base::errors::Chain;
use crate::image::{
    credentials::Login,
    documents::{DOCUMENT_LIMIT, Descriptor, digest_of},
    hosts::Endpoint,
    reference::{Reference, is_digest},
};
use crate::net::client::{Body, Client, Reply};

use super::{PullError, registry_host::Host};

/// The documents that we read.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json, \
                      application/vnd.docker.distribution.manifest.v2+json";

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
pub(super) struct Registry {
    /// The registry's name.
    name: String,
    /// The repository on it.
    path: String,
    /// Its hosts, the first to ask first.
    hosts: Vec<Arc<Host>>,
}

impl Registry {
    /// Nothing is contacted yet. Each host comes with the logins that are meant for it, which are tried in their order:
    /// those for the registry go to its own hosts, and to a mirror only what is meant for the mirror.
    pub fn new(
        client: &Arc<Client>,
        reference: &Reference,
        hosts: Vec<(Endpoint, Vec<Login>)>,
    ) -> Self {
        let (name, path) = (reference.registry().to_owned(), reference.path().to_owned());
        let hosts = hosts.into_iter().map(|(endpoint, logins)| {
            Arc::new(Host::new(Arc::clone(client), endpoint, logins, &name, &path))
        });
        Self { hosts: hosts.collect(), name, path }
    }

    /// The manifest or index of a tag or a digest; bytes that are not the digest's are an error.
    pub async fn manifest(&self, tag_or_digest: &str) -> Result<Document, PullError> {
        let what = format!("manifest {tag_or_digest} of {}", self.path);
        let mut errors = Vec::new();
        for host in self.order(!is_digest(tag_or_digest)) {
            match Box::pin(manifest_at(&host, tag_or_digest, &what)).await {
                Ok(document) => return Ok(document),
                Err(error) => errors.push(host.note(error)),
            }
        }
        Err(self.given_up(errors, &what))
    }

    /// A blob from byte `from` on.
    pub async fn blob(&self, blob: &Descriptor, from: u64) -> Result<BlobStream, PullError> {
        let what = format!("blob {} of {}", blob.digest, self.path);
        let mut errors = Vec::new();
        for host in self.order(false) {
            match Box::pin(blob_at(&host, blob, from, &what)).await {
                Ok(stream) => return Ok(stream),
                Err(error) => errors.push(host.note(error)),
            }
        }
        Err(self.given_up(errors, &what))
    }

    /// The hosts that may say what a tag means, or else serve content; those that failed before are asked last.
    fn order(&self, resolves: bool) -> Vec<Arc<Host>> {
        let may = |host: &&Arc<Host>| {
            if resolves { host.endpoint.resolves } else { host.endpoint.pulls }
        };
        let mut hosts: Vec<Arc<Host>> = self.hosts.iter().filter(may).map(Arc::clone).collect();
        hosts.sort_by_key(|host| host.has_failed());
        hosts
    }

    /// What all hosts' errors come to.
    fn given_up(&self, mut errors: Vec<PullError>, what: &str) -> PullError {
        if errors.len() == 1 {
            return errors.remove(0);
        }
        let errors: Vec<String> = errors.iter().map(|error| Chain(error).to_string()).collect();
        let errors = if errors.is_empty() {
            format!("none may be asked for {what}; see `capabilities` in its hosts.toml")
        } else {
            errors.join("; ")
        };
        PullError::Hosts { registry: self.name.clone(), errors }
    }
}

/// Asks one host for a manifest.
async fn manifest_at(host: &Arc<Host>, asked: &str, what: &str) -> Result<Document, PullError> {
    let accept = [("accept".to_owned(), ACCEPT.to_owned())];
    let reply = host.ask(what, &format!("manifests/{asked}"), &accept).await?;
    if reply.status != 200 {
        return Err(host.refusal(what, reply).await);
    }
    let odd = |problem| PullError::Answer { host: host.name(), what: what.to_owned(), problem };
    let kind = reply.header("content-type").unwrap_or_default();
    let media_type = kind.split(';').next().unwrap_or_default().trim().to_owned();
    if !is_digest(asked) && !ACCEPT.split(", ").any(|accepted| accepted == media_type) {
        return Err(odd(format!(
            "it is of the type {media_type:?}, which is no image manifest of OCI's or docker's schema 2"
        )));
    }
    let announced = reply.header("docker-content-digest").map(str::to_owned);
    let limit = usize::try_from(DOCUMENT_LIMIT).unwrap_or(usize::MAX);
    let (bytes, whole) = reply.body.all(limit).await.map_err(|source| host.broken(what, source))?;
    if !whole {
        return Err(odd(format!("it is longer than {DOCUMENT_LIMIT} bytes, which no manifest is")));
    }
    let digest = digest_of(&bytes);
    let expected = if is_digest(asked) { Some(asked) } else { announced.as_deref() };
    if let Some(expected) = expected.filter(|expected| *expected != digest && is_digest(expected)) {
        return Err(PullError::Digest {
            host: host.name(),
            what: what.to_owned(),
            problem: format!("{digest} instead of {expected}"),
        });
    }
    Ok(Document { digest, media_type, bytes })
}

/// Asks one host for a blob.
async fn blob_at(
    host: &Arc<Host>,
    blob: &Descriptor,
    from: u64,
    what: &str,
) -> Result<BlobStream, PullError> {
    let path = format!("blobs/{}", blob.digest);
    let range = [("range".to_owned(), format!("bytes={from}-"))];
    let mut reply = host.ask(what, &path, if from > 0 { &range } else { &[] }).await?;
    if reply.status == 416 && from > 0 {
        // Parts are not served, or the blob is shorter than we think. The whole of it will tell.
        reply.body.skip().await;
        reply = host.ask(what, &path, &[]).await?;
    }
    let begins = match reply.status {
        200 => 0,
        206 => begins(&reply).filter(|begins| *begins == from && from > 0).ok_or_else(|| {
            PullError::Answer {
                host: host.name(),
                what: what.to_owned(),
                problem: format!("it serves another part than the one from byte {from} on"),
            }
        })?,
        _ => return Err(host.refusal(what, reply).await),
    };
    let size = u64::try_from(blob.size).ok().filter(|size| *size > 0);
    let left = size.map(|size| size.saturating_sub(begins));
    let announced = reply.header("content-length").and_then(|length| length.parse().ok());
    if let (Some(left), Some(announced)) = (left, announced)
        && left != announced
    {
        return Err(PullError::Answer {
            host: host.name(),
            what: what.to_owned(),
            problem: format!("it announces {announced} bytes where the manifest says {left}"),
        });
    }
    Ok(BlobStream {
        from: begins,
        left: left.or(announced),
        body: reply.body,
        host: Arc::clone(host),
        what: what.to_owned(),
    })
}

/// Where the part of a blob begins.
fn begins(reply: &Reply) -> Option<u64> {
    let range = reply.header("content-range")?.strip_prefix("bytes ")?;
    range.split_once('-')?.0.trim().parse().ok()
}

/// The bytes of a blob.
#[derive(Debug)]
pub(super) struct BlobStream {
    /// Where it begins: 0 when the host does not serve parts.
    pub from: u64,
    /// How many bytes are still to come, where that is known.
    left: Option<u64>,
    /// Where they come from.
    body: Body,
    /// Who serves them.
    host: Arc<Host>,
    /// What they are, for errors.
    what: String,
}

impl BlobStream {
    /// The next bytes; `None` at the end. Fewer bytes than were announced are an error, after which another stream may
    /// begin where this one broke off; it comes from another host if there is one.
    pub async fn next(&mut self) -> Result<Option<Bytes>, PullError> {
        let bytes = match self.body.next().await {
            Ok(bytes) => bytes,
            Err(source) => return Err(self.host.note(self.host.broken(&self.what, source))),
        };
        let odd = |problem| {
            let (host, what) = (self.host.name(), self.what.clone());
            Err(self.host.note(PullError::Answer { host, what, problem }))
        };
        let Some(left) = self.left else { return Ok(bytes) };
        match bytes {
            None if left > 0 => odd(format!("it ends {left} bytes before its end")),
            None => Ok(None),
            Some(bytes) => match left.checked_sub(bytes.len() as u64) {
                None => odd("it is longer than the manifest says".into()),
                Some(left) => {
                    self.left = Some(left);
                    Ok(Some(bytes))
                }
            },
        }
    }

    /// Notes that the bytes were not what their digest says, so that they come from another host if there is one.
    pub fn distrust(&self) {
        self.host.fail();
    }
}

#[cfg(test)]
mod real_tests;
#[cfg(test)]
mod tests;
