//! Looks for the signatures that the policy demands of an image before it is pulled.

use std::{fs, path::Path};

use crate::image::cosign::{
    PublicKey, SIGNATURE_LIMITS, Signature, bundle_manifests, judge, referrers_tag,
    signature_blobs, signature_tag,
};
use crate::image::documents::Descriptor;
use crate::image::policy::SignatureRule;

use super::PullError;
use super::registry::Registry;

/// Demands that one of a rule's keys has signed the digest that an image's reference resolved to.
pub(super) async fn verify(
    registry: &Registry,
    rule: &SignatureRule,
    repository: &str,
    digest: &str,
) -> Result<(), PullError> {
    // Read for each pull: a new key counts at once.
    let keys = rule.keys.iter().map(|file| key(file)).collect::<Result<Vec<_>, _>>()?;
    let mut found = simple(registry, digest).await?;
    if judge(&found, &keys, digest, repository).is_ok() {
        return Ok(());
    }
    found.extend(bundles(registry, digest).await?);
    judge(&found, &keys, digest, repository)
        .map_err(|why| PullError::Signature { image: repository.to_owned(), why })
}

/// A public key out of its file.
fn key(file: &Path) -> Result<PublicKey, PullError> {
    let wrong = |problem| PullError::File { path: file.to_owned(), problem };
    let pem = fs::read(file).map_err(|error| {
        wrong(format!("cannot be read: {error}; it is a key of images.policy.signatures"))
    })?;
    let name = file.display().to_string();
    PublicKey::parse(&name, &pem)
        .map_err(|problem| wrong(problem.trim_start_matches(&format!("{name}: ")).to_owned()))
}

/// The signatures at the tag of the older form.
async fn simple(
    registry: &Registry,
    digest: &str,
) -> Result<Vec<Result<Signature, String>>, PullError> {
    match registry.manifest(&signature_tag(digest)).await {
        Ok(document) => signatures(registry, &document.bytes).await,
        Err(PullError::Missing { .. }) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The bundles that refer to a digest, by the tag at which their index lies.
async fn bundles(
    registry: &Registry,
    digest: &str,
) -> Result<Vec<Result<Signature, String>>, PullError> {
    let index = match registry.manifest(&referrers_tag(digest)).await {
        Ok(document) => document,
        Err(PullError::Missing { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for manifest in bundle_manifests(&index.bytes) {
        let document = registry.manifest(&manifest.digest).await?;
        found.extend(signatures(registry, &document.bytes).await?);
    }
    Ok(found)
}

/// The signatures in the blobs of a manifest.
async fn signatures(
    registry: &Registry,
    manifest: &[u8],
) -> Result<Vec<Result<Signature, String>>, PullError> {
    let mut found = Vec::new();
    for blob in signature_blobs(manifest) {
        let bytes = whole(registry, &blob).await?;
        found.push(Signature::read(&blob, bytes));
    }
    Ok(found)
}

/// A small blob. Its digest needs no check: what counts is what a key has signed.
async fn whole(registry: &Registry, blob: &Descriptor) -> Result<Vec<u8>, PullError> {
    let mut stream = registry.blob(blob, 0).await?;
    let mut bytes = Vec::new();
    while let Some(part) = stream.next().await? {
        bytes.extend_from_slice(&part);
        if i64::try_from(bytes.len()).is_ok_and(|length| length > SIGNATURE_LIMITS.1) {
            break;
        }
    }
    Ok(bytes)
}
