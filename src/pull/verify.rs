//! Looks for the signatures that the policy demands of an image before it is pulled.

use std::{fs, path::Path};

use crate::image::cosign::{
    PublicKey, SIGNATURE_LIMITS, Signature, bundle_manifests, judge, referrers_tag,
    signature_blobs, signature_tag,
};
use crate::image::documents::{Descriptor, digest_of};
use crate::image::policy::SignatureRule;

use super::PullError;
use super::registry::Registry;

/// The signatures that were found, and each host that could not be asked for them.
#[derive(Debug, Default)]
struct Found {
    /// The signatures, or why one cannot be read.
    signatures: Vec<Result<Signature, String>>,
    /// What the hosts said where several were asked and none had anything.
    away: Vec<String>,
}

/// Demands that one of a rule's keys has signed the digest that an image's reference resolved to.
pub(super) async fn verify(
    registry: &Registry,
    rule: &SignatureRule,
    repository: &str,
    digest: &str,
) -> Result<(), PullError> {
    // Read for each pull: a new key counts at once.
    let keys = rule.keys.iter().map(|file| key(file)).collect::<Result<Vec<_>, _>>()?;
    let mut found = Found::default();
    if let Some(document) = manifest(registry, &signature_tag(digest), &mut found).await? {
        signatures(registry, &document, &mut found).await?;
    }
    if judge(&found.signatures, &keys, digest, repository).is_ok() {
        return Ok(());
    }
    if let Some(index) = manifest(registry, &referrers_tag(digest), &mut found).await? {
        for one in bundle_manifests(&index) {
            if let Some(document) = manifest(registry, &one.digest, &mut found).await? {
                signatures(registry, &document, &mut found).await?;
            }
        }
    }
    judge(&found.signatures, &keys, digest, repository).map_err(|why| {
        let why = [vec![why], found.away].concat().join("; ");
        PullError::Signature { image: repository.to_owned(), why }
    })
}

/// The label of images whose signatures were verified; its value is [`mark`].
pub const SIGNED: &str = "podward.dev/signed-by";

/// What tells the keys of a rule and the image that was verified from others: the image need not be verified again while
/// they are the same.
pub fn mark(rule: &SignatureRule, digest: &str) -> Result<String, PullError> {
    let mut all = digest.as_bytes().to_vec();
    for file in &rule.keys {
        all.extend(read(file)?);
    }
    Ok(digest_of(&all)["sha256:".len()..][..32].to_owned())
}

/// The bytes of a key's file.
fn read(file: &Path) -> Result<Vec<u8>, PullError> {
    fs::read(file).map_err(|error| PullError::File {
        path: file.to_owned(),
        problem: format!("cannot be read: {error}; it is a key of images.policy.signatures"),
    })
}

/// A public key out of its file.
fn key(file: &Path) -> Result<PublicKey, PullError> {
    let wrong = |problem| PullError::File { path: file.to_owned(), problem };
    let pem = read(file)?;
    let name = file.display().to_string();
    PublicKey::parse(&name, &pem)
        .map_err(|problem| wrong(problem.trim_start_matches(&format!("{name}: ")).to_owned()))
}

/// A manifest, if there is one.
async fn manifest(
    registry: &Registry,
    tag_or_digest: &str,
    found: &mut Found,
) -> Result<Option<Vec<u8>>, PullError> {
    match registry.manifest(tag_or_digest).await {
        Ok(document) => Ok(Some(document.bytes)),
        Err(PullError::Missing { .. }) => Ok(None),
        // A mirror often has the image without its signatures, so that its answer differs from the registry's.
        Err(PullError::Hosts { errors, .. }) => {
            found.away.push(errors);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Adds the signatures in the blobs of a manifest.
async fn signatures(
    registry: &Registry,
    manifest: &[u8],
    found: &mut Found,
) -> Result<(), PullError> {
    for blob in signature_blobs(manifest) {
        let bytes = whole(registry, &blob).await?;
        found.signatures.push(Signature::read(&blob, bytes));
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        io::{BufRead as _, BufReader, Write as _},
        net::TcpListener,
        thread,
    };

    use serde_json::{Value, json};

    use super::*;
    use crate::image::cosign::tests::{
        ENVELOPE, P256, REPOSITORY, SIGNATURES, bundle_text, digest, payload, pem, statement,
    };
    use crate::image::documents::{INDEX, MANIFEST, digest_of};
    use crate::image::hosts::Endpoint;
    use crate::image::pattern::Pattern;
    use crate::image::reference::Reference;
    use crate::net::client::{Client, Limits};
    use crate::net::proxy::Proxies;

    /// What a registry has: by path, the type and the bytes.
    type Content = BTreeMap<String, (&'static str, Vec<u8>)>;

    /// A registry of a few lines that lives as long as the tests.
    fn serve(content: Content) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
                let path = path.split('?').next().unwrap_or_default();
                let (status, (kind, bytes)) = match content.get(path) {
                    Some(found) => ("200 OK", found.clone()),
                    None => ("404 Not Found", ("application/json", b"{}".to_vec())),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    bytes.len()
                );
                let _ = (&stream).write_all(&[head.as_bytes(), &bytes].concat());
            }
        });
        Endpoint { tls: false, ..Endpoint::of(&format!("127.0.0.1:{port}")).unwrap() }
    }

    /// A manifest whose one layer is a blob, at a tag or its digest; the manifest's digest comes with it.
    fn push(
        content: &mut Content,
        at: Option<&str>,
        kind: &str,
        notes: &Value,
        blob: &[u8],
    ) -> String {
        let layer = json!({
            "mediaType": kind, "digest": digest_of(blob), "size": blob.len(), "annotations": notes,
        });
        let config =
            json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(b"{}")});
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
        let manifest = manifest.to_string().into_bytes();
        let own = digest_of(&manifest);
        let path = |what: &str, name: &str| format!("/v2/team/app/{what}/{name}");
        let octets = "application/octet-stream";
        content.insert(path("blobs", &digest_of(blob)), (octets, blob.to_vec()));
        content.insert(path("manifests", at.unwrap_or(&own)), (MANIFEST, manifest));
        own
    }

    /// What a registry has of an image that is signed in the older form.
    fn signed() -> Content {
        let mut content = Content::new();
        let kind = "application/vnd.dev.cosign.simplesigning.v1+json";
        let notes = json!({"dev.cosignproject.cosign/signature": SIGNATURES[0].2});
        push(&mut content, Some(&signature_tag(&digest())), kind, &notes, &payload());
        content
    }

    /// Verifies the image on these hosts with the key of P-256.
    fn verified(hosts: Vec<Endpoint>) -> Result<(), String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cosign.pub");
        fs::write(&file, pem(P256)).unwrap();
        with_key(hosts, &file).map_err(|error| {
            error.to_string().replace(&format!("{}", dir.path().display()), "/keys")
        })
    }

    /// Verifies the image on these hosts with a key.
    fn with_key(hosts: Vec<Endpoint>, file: &Path) -> Result<(), PullError> {
        let client = Client::new("test".to_owned(), Proxies::of(|_| None), Limits::default());
        let reference = Reference::parse(REPOSITORY).unwrap();
        let hosts = hosts.into_iter().map(|host| (host, Vec::new())).collect();
        let registry = Registry::new(&client, &reference, hosts);
        let pattern = Pattern::parse("registry.example").unwrap();
        let rule = SignatureRule { pattern, keys: vec![file.to_owned()] };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let digest = digest();
        runtime.unwrap().block_on(verify(&registry, &rule, REPOSITORY, &digest))
    }

    #[test]
    fn an_image_that_a_key_has_signed_is_let_in() {
        assert_eq!(verified(vec![serve(signed())]), Ok(()));
        let mirror = Endpoint { own: false, ..serve(Content::new()) };
        assert_eq!(verified(vec![mirror, serve(signed())]), Ok(()), "a mirror without it");
    }

    #[test]
    fn a_bundle_in_the_index_of_referrers_counts() {
        let mut content = Content::new();
        let kind = "application/vnd.dev.sigstore.bundle.v0.3+json";
        let bundle = bundle_text(&statement(), ENVELOPE);
        let own = push(&mut content, None, kind, &json!({}), &bundle);
        let index =
            json!({"manifests": [{"mediaType": MANIFEST, "digest": own, "artifactType": kind}]});
        let at = format!("/v2/team/app/manifests/{}", referrers_tag(&digest()));
        content.insert(at, (INDEX, index.to_string().into_bytes()));
        assert_eq!(verified(vec![serve(content)]), Ok(()));
    }

    #[test]
    fn an_image_without_a_signature_is_kept_out_with_key_digest_and_what_was_found() {
        let start = format!(
            "image {REPOSITORY}: signature validation failed: {} of {REPOSITORY} has no signature by /keys/cosign.pub: ",
            digest()
        );
        let nothing = format!("nothing is signed at the tag {}", signature_tag(&digest()));
        let said = verified(vec![serve(Content::new())]).unwrap_err();
        assert_eq!(said, format!("{start}{nothing}"));
        let mirror = Endpoint { own: false, ..serve(Content::new()) };
        let said = verified(vec![mirror, serve(Content::new())]).unwrap_err();
        assert!(said.starts_with(&format!("{start}{nothing}")), "{said}");
        let mut other = Content::new();
        let kind = "application/vnd.dev.cosign.simplesigning.v1+json";
        let notes = json!({"dev.cosignproject.cosign/signature": SIGNATURES[3].2});
        push(&mut other, Some(&signature_tag(&digest())), kind, &notes, &payload());
        let said = verified(vec![serve(other)]).unwrap_err();
        assert_eq!(said, format!("{start}the one signature is by another key"));
    }

    #[test]
    fn a_key_that_cannot_be_read_lets_nothing_in() {
        let missing = with_key(vec![serve(signed())], Path::new("/nonexistent/cosign.pub"));
        assert_eq!(
            missing.unwrap_err().to_string(),
            "/nonexistent/cosign.pub: cannot be read: No such file or directory (os error 2); \
             it is a key of images.policy.signatures"
        );
    }
}
