//! Signatures of cosign with a key: where they lie in a registry, what is signed, and whether a key signed it.
//!
//! Two forms are read. The older: a manifest with the tag `sha256-<hex>.sig`, each of whose layers is a payload ("simple
//! signing") with its signature in an annotation. The newer: a Sigstore bundle, the layer of a manifest that refers to the
//! image, whose envelope (DSSE) holds an in-toto statement about the image's digest.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject as _};
use serde_json::Value;

use super::documents::{Descriptor, Manifest};
use super::pattern::canonical;
use super::reference::Reference;

/// The type of a payload of the older form.
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation of a payload that carries its signature.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// What the payload says it is.
const SIGNATURE_TYPE: &str = "cosign container image signature";
/// What the type of a Sigstore bundle begins with.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
/// What a statement in a bundle says it is.
const PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";
/// How many signatures of one image are looked at, and how long one may be.
pub const SIGNATURE_LIMITS: (usize, i64) = (64, 256 << 10);

/// A public key and the name of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// The file.
    pub file: String,
    /// The algorithm, as DER.
    algorithm: Vec<u8>,
    /// The key itself, as its algorithm writes it.
    key: Vec<u8>,
}

impl PublicKey {
    /// Reads `cosign.pub`: a PEM of `SubjectPublicKeyInfo` with a key of ECDSA on P-256 or P-384, Ed25519 or RSA.
    pub fn parse(file: &str, pem: &[u8]) -> Result<Self, String> {
        const REMEDY: &str = "write the cosign.pub that cosign generate-key-pair makes";
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem)
            .map_err(|_| format!("{file}: has no PEM block PUBLIC KEY; {REMEDY}"))?;
        let (algorithm, key) =
            parts(&der).ok_or_else(|| format!("{file}: is no public key; {REMEDY}"))?;
        let known = default_provider().signature_verification_algorithms.all;
        if !known.iter().any(|one| *one.public_key_alg_id() == *algorithm) {
            return Err(format!(
                "{file}: its algorithm is not known here; use ECDSA on P-256 or P-384, Ed25519 or RSA"
            ));
        }
        Ok(Self { file: file.to_owned(), algorithm: algorithm.to_vec(), key: key.to_vec() })
    }

    /// Whether it signed a message, with whichever hash and padding its algorithm allows.
    fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let known = default_provider().signature_verification_algorithms.all;
        known
            .iter()
            .filter(|one| *one.public_key_alg_id() == *self.algorithm)
            .any(|one| one.verify_signature(&self.key, message, signature).is_ok())
    }
}

/// Algorithm and key out of a `SubjectPublicKeyInfo`.
fn parts(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (whole, rest) = element(der, 0x30)?;
    let (algorithm, after) = element(whole, 0x30)?;
    let (bits, end) = element(after, 0x03)?;
    let (unused, key) = bits.split_first()?;
    (rest.is_empty() && end.is_empty() && *unused == 0).then_some((algorithm, key))
}

/// The content of a DER element with this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (head, rest) = der.split_at_checked(2)?;
    let (length, rest) = match head[1] {
        short if short < 0x80 => (usize::from(short), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), &rest[2..]),
        _ => return None,
    };
    if head[0] == tag { rest.split_at_checked(length) } else { None }
}

/// The tag at which the signatures of a digest lie, in the older form.
pub fn signature_tag(digest: &str) -> String {
    format!("{}.sig", digest.replace(':', "-"))
}

/// The tag of the index that names what refers to a digest, where the registry keeps no such list itself.
pub fn referrers_tag(digest: &str) -> String {
    digest.replace(':', "-")
}

/// A signature, and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// A payload, and the signature of it.
    Simple {
        /// What is signed.
        payload: Vec<u8>,
        /// The signature.
        signature: Vec<u8>,
    },
    /// A statement in an envelope.
    Envelope {
        /// The statement.
        payload: Vec<u8>,
        /// What the envelope says the statement is.
        kind: String,
        /// The signatures.
        signatures: Vec<Vec<u8>>,
    },
}

/// The blobs of a manifest that are signatures in either form.
pub fn signature_blobs(manifest: &[u8]) -> Vec<Descriptor> {
    let manifest = serde_json::from_slice::<Manifest>(manifest);
    let layers = manifest.map(|manifest| manifest.layers).unwrap_or_default();
    let fits = |layer: &Descriptor| {
        (layer.media_type == SIMPLE_SIGNING && layer.annotations.contains_key(SIGNATURE)
            || layer.media_type.starts_with(BUNDLE))
            && layer.size <= SIGNATURE_LIMITS.1
    };
    layers.into_iter().filter(fits).take(SIGNATURE_LIMITS.0).collect()
}

/// The manifests of an index of referrers that may hold bundles.
pub fn bundle_manifests(index: &[u8]) -> Vec<Descriptor> {
    let index: Value = serde_json::from_slice(index).unwrap_or_default();
    let manifests = index["manifests"].as_array().map_or(&[][..], Vec::as_slice);
    let bundle = |one: &&Value| match one["artifactType"].as_str() {
        Some(kind) => kind.starts_with(BUNDLE),
        None => true,
    };
    let found = manifests.iter().filter(bundle);
    found
        .filter_map(|one| serde_json::from_value(one.clone()).ok())
        .take(SIGNATURE_LIMITS.0)
        .collect()
}

impl Signature {
    /// Reads a blob of a manifest of signatures.
    pub fn read(blob: &Descriptor, bytes: Vec<u8>) -> Result<Self, String> {
        if let Some(signature) = blob.annotations.get(SIGNATURE) {
            let signature = decoded(signature).ok_or("its signature is not base64")?;
            return Ok(Self::Simple { payload: bytes, signature });
        }
        let bundle: Value =
            serde_json::from_slice(&bytes).map_err(|error| format!("is no bundle: {error}"))?;
        let envelope = &bundle["dsseEnvelope"];
        let text = |value: &Value| value.as_str().and_then(decoded);
        let payload = text(&envelope["payload"]).ok_or("its bundle has no envelope")?;
        let signatures = envelope["signatures"].as_array().map_or(&[][..], Vec::as_slice);
        Ok(Self::Envelope {
            payload,
            kind: envelope["payloadType"].as_str().unwrap_or_default().to_owned(),
            signatures: signatures.iter().filter_map(|one| text(&one["sig"])).collect(),
        })
    }

    /// Whether one of the keys made it, and whether it is about the image; otherwise what it is instead.
    fn check(&self, keys: &[PublicKey], digest: &str, repository: &str) -> Result<(), String> {
        let signed = match self {
            Self::Simple { payload, signature } => {
                keys.iter().any(|key| key.signed(payload, signature))
            }
            Self::Envelope { payload, kind, signatures } => {
                // What is signed is not the statement alone but its type and lengths as well.
                let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
                let message = [head.as_bytes(), payload].concat();
                let by = |key: &PublicKey| signatures.iter().any(|one| key.signed(&message, one));
                keys.iter().any(by)
            }
        };
        if !signed {
            return Err("is by another key".to_owned());
        }
        let (Self::Simple { payload, .. } | Self::Envelope { payload, .. }) = self;
        let claims: Value =
            serde_json::from_slice(payload).map_err(|_| "is by a key, but signs no JSON")?;
        match self {
            Self::Simple { .. } => simple_claims(&claims["critical"], digest, repository),
            Self::Envelope { .. } => statement_claims(&claims, digest),
        }
    }
}

/// Whether the payload of the older form is about an image.
fn simple_claims(critical: &Value, digest: &str, repository: &str) -> Result<(), String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = text(&critical["type"]);
    if kind != SIGNATURE_TYPE {
        return Err(format!("is by a key, but for {kind:?} instead of {SIGNATURE_TYPE:?}"));
    }
    let signed = text(&critical["image"]["docker-manifest-digest"]);
    if signed != digest {
        return Err(format!("is by a key, but for the digest {signed:?}"));
    }
    let name = text(&critical["identity"]["docker-reference"]);
    let same = Reference::parse(&name).is_ok_and(|reference| {
        let host = |repository: &str| canonical(repository.split('/').next().unwrap_or_default());
        let path = |repository: &str| repository.split_once('/').map(|(_, path)| path.to_owned());
        host(&reference.repository) == host(repository)
            && path(&reference.repository) == path(repository)
    });
    if !same {
        return Err(format!(
            "is by a key, but for the repository {name:?}; sign with cosign sign --sign-container-identity {repository}"
        ));
    }
    Ok(())
}

/// Whether the statement of a bundle is about an image.
fn statement_claims(statement: &Value, digest: &str) -> Result<(), String> {
    let kind = statement["predicateType"].as_str().unwrap_or_default();
    if kind != PREDICATE {
        return Err(format!("is by a key, but states {kind:?} and no signature of an image"));
    }
    let hex = digest.trim_start_matches("sha256:");
    let subjects = statement["subject"].as_array().map_or(&[][..], Vec::as_slice);
    if !subjects.iter().any(|subject| subject["digest"]["sha256"] == hex) {
        return Err("is by a key, but for another digest".to_owned());
    }
    Ok(())
}

/// Whether one of the signatures that were found is by one of the keys and about the image; otherwise why not.
pub fn judge(
    found: &[Result<Signature, String>],
    keys: &[PublicKey],
    digest: &str,
    repository: &str,
) -> Result<(), String> {
    let mut problems: Vec<String> = Vec::new();
    for signature in found {
        let checked = match signature {
            Ok(signature) => signature.check(keys, digest, repository),
            Err(problem) => Err(problem.clone()),
        };
        let Err(problem) = checked else { return Ok(()) };
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    let files: Vec<&str> = keys.iter().map(|key| key.file.as_str()).collect();
    let files = files.join(" or ");
    let found = match found.len() {
        0 => format!("nothing is signed at the tag {}", signature_tag(digest)),
        1 => format!("the one signature {}", problems.join(", ")),
        many => format!("each of {many} signatures {}", problems.join(", or ")),
    };
    Err(format!("{digest} of {repository} has no signature by {files}: {found}"))
}

/// Base64 as cosign writes it.
fn decoded(text: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(text.trim()).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    // Made by openssl: `ecparam -genkey`, `genpkey`, `genrsa`, `dgst -sign`, `pkeyutl -sign -rawin`. The private keys are gone.

    /// A key of ECDSA on P-256.
    pub(crate) const P256: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAETdjU+4yY5+H7fNVmvZ4N22a279JssXQGlj/B2lNVkpEXz/0hGAq4dJr7ulJApU2L3Pmn+u8zmtzB1Qf3Ft/evA==";
    /// A key of ECDSA on P-384.
    const P384: &str = "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEWoWCuu4NNCJo6lBVc1smiRFCDpEd0paj2g2gVhnhJnBn35kjbhPSuahxyZe8gl1XSRlZZa0A8nHkkEUq7IQ1BvpGJCZyC6stGrRX4bdRStEcvwQxHNXx9ndeeK+bqmOX";
    /// A key of Ed25519.
    const ED25519: &str = "MCowBQYDK2VwAyEAZVPJVhOFFkeeoV6shJyPc0ZgDkgCN1HW39Id9FOR6cQ=";
    /// A key of RSA.
    const RSA: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAy9eqKY9pUgksngKdpfnJDQFlOQIXk4t4iuIOZjoWK4rl9pt2VO/MqzftQeIX0mH3LCidoj4jw3q1RmDD6R/ZrutDZKh+0Jo9Bp+kPhuslB+HRRelMmRtpuxUcDwMpTHuHPGl1CrC2RGH22k6lhW+A48FM7viDNTSbv94hti4fTDG8vE9A7I7myxwejfW3caPJEZZkob0uGfc/DqAvZ63dfLLnJcXDphNLPXUTuQGMz24S0aVyyzWGat8zSry4SfvZ7gxOFwUpmJnrGl4QSWY+f7Jj+PxEmzOySKYPyYTAnxtkReHAJHCNODmvDYAhuSvARghsPdGOmNJsPmymfmYlwIDAQAB";
    /// A key of ECDSA on P-521.
    const P521: &str = "MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQAYEtHD3G8rTZ526F2I7x26StCYZcrDXM1zkw1/cO3xXeIRqAFYTm66VWNyZkahGkPAfs90WkdRhmVSF5Zx3pnS+cA2tvVeIB/GvlT3ptZz43cKTz6t4TtY9ViwOPd/WcqT6Ozc0oM7JhCXjsWW+jG1KJ6TqEvx5zFotE5yBf1ZaULhy0=";

    /// Signatures of the payload, by key and by what they are.
    pub(crate) const SIGNATURES: [(&str, &str, &str); 6] = [
        (
            "ECDSA on P-256",
            P256,
            "MEUCIHJxU+DFkrZ+PWj93giu+78ODW7mzquZo11A6BwZPpzlAiEAqRmIoV1TuhLKbHzaOtWKo5VYLj2OmATNDQ7Lu84LWMk=",
        ),
        (
            "ECDSA on P-384 with SHA-256",
            P384,
            "MGYCMQDVAo3pcj0kKiHxXOWCI1Mdb1b6JKsyIhKaiaf3cUC0kQKXSW3Q2x8V7vZHxf0qQ5gCMQDbkdyeclUEgUwnd/IN2kAej3eQ+JnO34K9Y7Hode70BDDLJ2m3+bQoXhCdftC2xS0=",
        ),
        (
            "ECDSA on P-384 with SHA-384",
            P384,
            "MGYCMQDlRsBFTisTaGfyN7f3JBZMTOrPQDxsw+86PyK4GhmvlZH2axIdxeSMk4LIJyODbyUCMQD/7TuX2XxXBUVZiuuX1iuk+IBMRavpPmmuVK00FVxLeBwwGdW2S8pyCamseUwCnRY=",
        ),
        (
            "Ed25519",
            ED25519,
            "Hgt1Yk1c2/3bNLwmNCB79P8qPCyvhE3rs+R2mBlGFT6/LhOJ8288q1pZT1+eN3FrNDH2R5whVUXL1S2+r+dMCA==",
        ),
        (
            "RSA by PKCS 1",
            RSA,
            "JdDTLLGALS1vy87g2MCWJvaTiks0djOrRSpSocsziC0fD5ggVOTPKZg3VziXPWBVijJI8Vt1NUGpR8werrSmn1kypS/OrRbICjK7ZOTDscDDMogtxMcj7aOFRu6XxA8XwFC/9AfbsIThfHrJN/uL32Uu1CeMhLQiUyQ3vmyQQJaFvbfOsGI8Zbcr5I9qx2xto94T6nz841AbwfThBUQIk6jo8WCbcR/XGhvr6cCMM2O5FHC9reKTzVMm3uQlIKXVAyvgpbEISFf2bbaMPaN2v2yl4RfGnfC7x21hEy1kl5Zvo/ZfIWBbynF7jhM9kHgHWtAuV4rWFovPTcSI8EvqzA==",
        ),
        (
            "RSA by PSS",
            RSA,
            "P8CEtIMui7g6Cv71CPne6TjfcELXSRVDxf4dsdexCnaw85Eyck1c3Hf1lhUNfmsuHUI2d9CbBzHxFRBz6al6J8+fzZ5z4IiOZJ9FAYECcBOmrmqQCzucLuaGlZP8cftlaF+CBvKsT8w7EwRRI8UjULvRmkycJxHSEYlH8m+vZIRsdCVCF03iYHJEhuTFxA2SpG1kFtvDRDJFP3VEXgEpbvaarxLONFIKwG5B3/cHbk6AHN4zNuzY9AE+Yyk14agwZRwqxL/MErfoynEkqr+2GwVaoc8MXnqRat2wB+rK1uZ426WBAon8TP3wUElL+Ql5SwG8C7CMqQp5CZ2aLjoYWQ==",
        ),
    ];

    /// The signature of the envelope of the statement, by the key on P-256.
    pub(crate) const ENVELOPE: &str = "MEUCIQC9JzoiriopdOiXm591EMLcotT208IUybNiujHuWhTNtgIgXXyEFW8+WmFevbj8qwy4SQKQFGRWv/Z8unvJXugq3Y8=";
    /// The repository that the payload names.
    pub(crate) const REPOSITORY: &str = "registry.example/team/app";

    /// The digest that payload and statement name.
    pub(crate) fn digest() -> String {
        format!("sha256:{}", "a".repeat(64))
    }

    /// What is signed in the older form, letter by letter.
    pub(crate) fn payload() -> Vec<u8> {
        let digest = digest();
        format!(r#"{{"critical":{{"identity":{{"docker-reference":"{REPOSITORY}"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"cosign container image signature"}},"optional":null}}"#).into_bytes()
    }

    /// What is signed in a bundle, letter by letter.
    pub(crate) fn statement() -> Vec<u8> {
        let hex = "a".repeat(64);
        format!(r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha256":"{hex}"}}}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{{}}}}"#).into_bytes()
    }

    /// A key out of the middle of its PEM.
    fn key(middle: &str) -> PublicKey {
        PublicKey::parse("/k.pub", pem(middle).as_bytes()).unwrap()
    }

    /// A PEM.
    pub(crate) fn pem(middle: &str) -> String {
        format!("-----BEGIN PUBLIC KEY-----\n{middle}\n-----END PUBLIC KEY-----\n")
    }

    /// A blob of a manifest of signatures.
    fn blob(media_type: &str, signature: Option<&str>) -> Descriptor {
        let annotations = signature.map(|one| (SIGNATURE.to_owned(), one.to_owned()));
        Descriptor {
            media_type: media_type.to_owned(),
            digest: digest(),
            size: 100,
            annotations: annotations.into_iter().collect(),
            platform: None,
        }
    }

    /// A signature of the older form.
    fn simple(payload: Vec<u8>, signature: &str) -> Result<Signature, String> {
        Signature::read(&blob(SIMPLE_SIGNING, Some(signature)), payload)
    }

    /// A bundle around a statement.
    pub(crate) fn bundle_text(statement: &[u8], signature: &str) -> Vec<u8> {
        let bundle = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": "x"}},
            "dsseEnvelope": {
                "payload": BASE64_STANDARD.encode(statement), "payloadType": "application/vnd.in-toto+json",
                "signatures": [{"sig": signature}],
            },
        });
        bundle.to_string().into_bytes()
    }

    /// That bundle as it is read.
    fn bundle(statement: &[u8], signature: &str) -> Result<Signature, String> {
        let kind = "application/vnd.dev.sigstore.bundle.v0.3+json";
        Signature::read(&blob(kind, None), bundle_text(statement, signature))
    }

    #[test]
    fn a_signature_by_each_sort_of_key_counts() {
        for (sort, middle, signature) in SIGNATURES {
            let found = [simple(payload(), signature)];
            assert_eq!(judge(&found, &[key(middle)], &digest(), REPOSITORY), Ok(()), "{sort}");
        }
        let keys = [key(P384), key(P256)];
        let found = [simple(payload(), SIGNATURES[3].2), simple(payload(), SIGNATURES[0].2)];
        assert_eq!(judge(&found, &keys, &digest(), REPOSITORY), Ok(()), "any key, any signature");
    }

    #[test]
    fn a_bundle_by_a_key_counts() {
        let found = [bundle(&statement(), ENVELOPE)];
        assert_eq!(judge(&found, &[key(P256)], &digest(), REPOSITORY), Ok(()));
        assert!(judge(&found, &[key(P384)], &digest(), REPOSITORY).is_err());
        let other = format!("sha256:{}", "b".repeat(64));
        let said = judge(&found, &[key(P256)], &other, REPOSITORY).unwrap_err();
        assert!(said.ends_with("the one signature is by a key, but for another digest"), "{said}");
        let changed =
            String::from_utf8(statement()).unwrap().replace("predicate\":{}", "predicate\":1");
        let found = [bundle(changed.as_bytes(), ENVELOPE)];
        let said = judge(&found, &[key(P256)], &digest(), REPOSITORY).unwrap_err();
        assert!(said.ends_with("the one signature is by another key"), "{said}");
    }

    #[test]
    fn what_is_wrong_with_the_signatures_is_said() {
        let signature = SIGNATURES[0].2;
        let start = format!("{} of {REPOSITORY} has no signature by /k.pub: ", digest());
        for (found, problem) in [
            (vec![], format!("nothing is signed at the tag sha256-{}.sig", "a".repeat(64))),
            (
                vec![simple(payload(), SIGNATURES[3].2)],
                "the one signature is by another key".to_owned(),
            ),
            (
                vec![simple(b"{}".to_vec(), signature), simple(payload(), "%")],
                "each of 2 signatures is by another key, or its signature is not base64".to_owned(),
            ),
        ] {
            let said = judge(&found, &[key(P256)], &digest(), REPOSITORY).unwrap_err();
            assert_eq!(said, format!("{start}{problem}"));
        }
    }

    #[test]
    fn a_signature_for_something_else_does_not_count() {
        let found = [simple(payload(), SIGNATURES[0].2)];
        let other = format!("sha256:{}", "b".repeat(64));
        let said = judge(&found, &[key(P256)], &other, REPOSITORY).unwrap_err();
        assert!(said.contains(&format!("but for the digest \"{}\"", digest())), "{said}");
        let said =
            judge(&found, &[key(P256)], &digest(), "registry.example/team/other").unwrap_err();
        assert!(
            said.ends_with(
                "is by a key, but for the repository \"registry.example/team/app\"; \
                 sign with cosign sign --sign-container-identity registry.example/team/other"
            ),
            "{said}"
        );
        let same = "Registry.Example:443/team/app";
        assert_eq!(judge(&found, &[key(P256)], &digest(), same), Ok(()));
        let kind = json!({"type": "atomic container signature"});
        assert!(simple_claims(&kind, &digest(), REPOSITORY).is_err());
        let hub = json!({
            "type": SIGNATURE_TYPE, "image": {"docker-manifest-digest": digest()},
            "identity": {"docker-reference": "index.docker.io/library/busybox"},
        });
        assert_eq!(simple_claims(&hub, &digest(), "docker.io/library/busybox"), Ok(()));
    }

    #[test]
    fn files_that_are_no_keys_are_named() {
        for (text, problem) in [
            ("hello".to_owned(), "/k.pub: has no PEM block PUBLIC KEY; write the cosign.pub"),
            (pem("AAAA"), "/k.pub: is no public key; write the cosign.pub"),
            (pem(P521), "/k.pub: its algorithm is not known here; use ECDSA on P-256"),
            (pem(P256).replace("PUBLIC", "PRIVATE"), "/k.pub: has no PEM block PUBLIC KEY"),
        ] {
            let said = PublicKey::parse("/k.pub", text.as_bytes()).unwrap_err();
            assert!(said.starts_with(problem), "{said}");
        }
    }

    #[test]
    fn signatures_are_found_in_manifests_and_indexes() {
        let layer = |kind: &str, size: i64, note: &str| json!({"mediaType": kind, "digest": digest(), "size": size, "annotations": {note: "x"}});
        let manifest = json!({"config": {"digest": digest()}, "layers": [
            layer(SIMPLE_SIGNING, 10, SIGNATURE),
            layer(SIMPLE_SIGNING, 10, "other"),
            layer(SIMPLE_SIGNING, 1 << 30, SIGNATURE),
            layer("application/vnd.dev.sigstore.bundle.v0.3+json", 10, "other"),
        ]});
        assert_eq!(signature_blobs(manifest.to_string().as_bytes()).len(), 2);
        assert_eq!(signature_blobs(b"no manifest"), []);
        let index = json!({"manifests": [
            {"digest": digest(), "artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json"},
            {"digest": digest(), "artifactType": "application/spdx+json"},
            {"digest": digest()},
        ]});
        assert_eq!(bundle_manifests(index.to_string().as_bytes()).len(), 2);
        assert_eq!(bundle_manifests(b"no index"), []);
    }
}
