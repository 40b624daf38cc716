//! From a reference to the manifest for this host: each document by its digest, indexes on the way.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::image::documents::{
    Configuration, DOCUMENT_LIMIT, Descriptor, INDEX, Index, MANIFEST, Manifest, Platform,
    digest_of,
};
use crate::image::reference::Reference;
use crate::runtime::containerd::{Blob, Containerd, Layer, holding_labels, layers_of};

use super::{
    PullError,
    registry::{Document, Registry},
};

/// How deep indexes may point to indexes.
const DEPTH: usize = 4;

/// What the parts of layers' types are called that a registry does not hand out.
const ELSEWHERE: [&str; 2] = ["nondistributable", "foreign"];

/// An image's documents.
#[derive(Debug)]
pub(super) struct Resolved {
    /// The documents with the labels by which each holds what it names: the manifest, then the indexes around it.
    pub(super) documents: Vec<(Document, Blob)>,
    /// The manifest.
    pub(super) manifest: Manifest,
}

impl Resolved {
    /// The document that the reference means.
    pub(super) fn top(&self) -> Descriptor {
        let Some((document, blob)) = self.documents.last() else { return Descriptor::of("") };
        let size = i64::try_from(blob.size).unwrap_or(i64::MAX);
        let media_type = document.media_type.clone();
        Descriptor { media_type, size, ..Descriptor::of(&document.digest) }
    }

    /// The digest of the manifest for this host.
    pub(super) fn manifest_digest(&self) -> &str {
        self.documents.first().map_or("", |(document, _)| document.digest.as_str())
    }
}

/// Asks what a reference means.
pub(super) async fn resolve(
    containerd: &Containerd,
    registry: &Registry,
    reference: &Reference,
    image: &str,
) -> Result<Resolved, PullError> {
    let host = Platform::of_host();
    let asked = reference.digest.as_deref().or(reference.tag.as_deref()).unwrap_or("latest");
    let mut document = registry.manifest(asked).await?;
    let mut documents = Vec::new();
    for _ in 0..DEPTH {
        let content: Value = parse(image, &document.digest, &document.bytes)?;
        if content.get("manifests").is_none() {
            let manifest = manifest(image, &mut document, content)?;
            let parts = manifest.layers.iter().enumerate();
            let parts = parts.map(|(number, layer)| (format!("l.{number}"), layer));
            let labels = holding_labels(parts.chain([("config".to_owned(), &manifest.config)]));
            documents.push(with_labels(document, labels));
            documents.reverse();
            return Ok(Resolved { documents, manifest });
        }
        document.media_type = kind(&document, &content, INDEX);
        let index: Index = parse(image, &document.digest, &document.bytes)?;
        let Some(choice) = index.choices(&host).first().copied() else {
            let platforms = index.platforms();
            return Err(broken(
                image,
                format!("has no image for {host}, only for {platforms}; give one that runs here"),
            ));
        };
        let number = index.manifests.iter().position(|one| one == choice).unwrap_or_default();
        let labels = holding_labels([(format!("m.{number}"), choice)]);
        documents.push(with_labels(document, labels));
        document = by_digest(containerd, registry, choice).await?;
    }
    Err(broken(image, format!("has more than {DEPTH} indexes inside each other")))
}

/// A document out of the content store or else the registry.
async fn by_digest(
    containerd: &Containerd,
    registry: &Registry,
    descriptor: &Descriptor,
) -> Result<Document, PullError> {
    let Descriptor { digest, media_type, .. } = descriptor.clone();
    match containerd.read_document(&digest).await? {
        Some(bytes) => Ok(Document { digest, media_type, bytes }),
        None => registry.manifest(&digest).await,
    }
}

/// Reads a manifest, and refuses what is none or cannot be had.
fn manifest(image: &str, document: &mut Document, content: Value) -> Result<Manifest, PullError> {
    if content.get("config").is_none() || content.get("layers").is_none() {
        let problem = "its manifest names no configuration and layers; push it again as OCI's or \
                       docker's schema 2";
        return Err(broken(image, problem.to_owned()));
    }
    document.media_type = kind(document, &content, MANIFEST);
    let manifest: Manifest = serde_json::from_value(content).map_err(|error| {
        broken(image, format!("its manifest {} cannot be read: {error}", document.digest))
    })?;
    for layer in &manifest.layers {
        if ELSEWHERE.iter().any(|word| layer.media_type.contains(word)) {
            let Descriptor { digest, media_type, .. } = layer;
            return Err(broken(
                image,
                format!(
                    "its layer {digest} is of the type {media_type}, which its registry does not hand out; \
                     give an image whose layers it does"
                ),
            ));
        }
    }
    Ok(manifest)
}

/// What a document is: by its own word, or by what it looks like.
fn kind(document: &Document, content: &Value, otherwise: &str) -> String {
    let own = content.get("mediaType").and_then(Value::as_str);
    let is_known = document.media_type.starts_with("application/vnd.");
    let told = is_known.then_some(document.media_type.as_str());
    own.or(told).unwrap_or(otherwise).to_owned()
}

/// A document as a blob that holds others.
fn with_labels(
    document: Document,
    labels: std::collections::HashMap<String, String>,
) -> (Document, Blob) {
    let blob = Blob { digest: document.digest.clone(), size: document.bytes.len() as u64, labels };
    (document, blob)
}

/// Fetches and reads an image's configuration: the layers' snapshots, and how to run it.
pub(super) async fn configuration(
    containerd: &Containerd,
    registry: &Registry,
    image: &str,
    manifest: &Manifest,
) -> Result<(Vec<u8>, Configuration, Vec<Layer>), PullError> {
    let Descriptor { digest, .. } = &manifest.config;
    let bytes = match containerd.read_document(digest).await? {
        Some(bytes) => bytes,
        None => whole(registry, image, &manifest.config).await?,
    };
    let configuration: Configuration = parse(image, digest, &bytes)?;
    let host = Platform::of_host();
    if !configuration.runs_on(&host) {
        let platform = &configuration.platform;
        return Err(broken(
            image,
            format!("is for {platform}, this host is {host}; give one that runs here"),
        ));
    }
    let layers = layers_of(manifest, &configuration).map_err(|problem| broken(image, problem))?;
    Ok((bytes, configuration, layers))
}

/// A small blob.
async fn whole(
    registry: &Registry,
    image: &str,
    descriptor: &Descriptor,
) -> Result<Vec<u8>, PullError> {
    let mut stream = registry.blob(descriptor, 0).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await? {
        bytes.extend_from_slice(&piece);
        if bytes.len() as u64 > DOCUMENT_LIMIT {
            let problem = format!("its configuration is longer than {DOCUMENT_LIMIT} bytes");
            return Err(broken(image, problem));
        }
    }
    let digest = digest_of(&bytes);
    if digest == descriptor.digest {
        return Ok(bytes);
    }
    stream.distrust();
    Err(PullError::Digest {
        host: image.split('/').next().unwrap_or_default().to_owned(),
        what: format!("configuration of {image}"),
        problem: format!("{digest} instead of {}", descriptor.digest),
    })
}

/// Reads a document.
fn parse<T: DeserializeOwned>(image: &str, digest: &str, bytes: &[u8]) -> Result<T, PullError> {
    serde_json::from_slice(bytes)
        .map_err(|error| broken(image, format!("its document {digest} cannot be read: {error}")))
}

/// An image that cannot be used.
pub(super) fn broken(image: &str, problem: String) -> PullError {
    PullError::Broken { image: image.to_owned(), problem }
}
