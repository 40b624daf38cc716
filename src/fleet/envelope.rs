//! Signed specs: DSSE envelopes with ed25519 signatures, and the keys for them.
//!
//! An envelope is JSON: `{"payloadType": …, "payload": "<base64>", "signatures": [{"keyid": …, "sig": "<base64>"}]}`. What
//! is signed is DSSE's pre-authentication encoding, `DSSEv1 <length> <type> <length> <payload>`, so that nobody can
//! pass a payload of one type off as another. In the store the payload is the plain value; beside a file or a page it
//! names the digest of the bytes and a generation. A key's id is a hint that helps people; each key is tried.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::{
    digest::{SHA256, digest},
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use serde_json::{Value, json};

use crate::base::ids::hex;

/// The type of every payload of ours.
pub const PAYLOAD_TYPE: &str = "application/vnd.podward.v1+json";

/// How many signatures of one envelope are looked at.
const MOST_SIGNATURES: usize = 16;

/// What a public ed25519 key begins with as DER: `SubjectPublicKeyInfo` with the algorithm 1.3.101.112 and 32 bytes.
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The object identifiers of other keys, as DER, and what people call them.
const OTHERS: [(&[u8], &str); 3] = [
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01], "an RSA key"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01], "an elliptic curve key"),
    (&[0x06, 0x03, 0x2b, 0x65, 0x71], "an ed448 key"),
];

/// Why a file holds no key that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It has no PEM block.
    #[error("holds no key in PEM; {remedy}")]
    NoPem {
        /// What makes one.
        remedy: &'static str,
    },
    /// The block is of another sort.
    #[error("holds {found} where {wanted} belongs; {remedy}")]
    Kind {
        /// What it is.
        found: String,
        /// What it should be.
        wanted: &'static str,
        /// What makes one.
        remedy: &'static str,
    },
    /// The block's content is damaged.
    #[error("is damaged; {remedy}")]
    Damaged {
        /// What makes a new one.
        remedy: &'static str,
    },
}

/// What to do for a private key.
const PRIVATE_REMEDY: &str = "make one by `openssl genpkey -algorithm ed25519 -out ops.key`";
/// What to do for a public key.
const PUBLIC_REMEDY: &str = "make it by `openssl pkey -in ops.key -pubout -out ops.pub`";

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// The first 16 hexadecimal digits of the SHA-256 of its DER.
    pub id: String,
    /// The key itself.
    key: [u8; 32],
}

impl PublicKey {
    /// Reads a PEM as `openssl pkey -pubout` writes it.
    pub fn parse(pem: &[u8]) -> Result<Self, KeyError> {
        let (label, der) = block(pem, PUBLIC_REMEDY)?;
        let key = der.strip_prefix(&SPKI).and_then(|key| key.try_into().ok());
        match (label.as_str(), key) {
            ("PUBLIC KEY", Some(key)) => Ok(Self::of(key)),
            ("PUBLIC KEY", None) if named(&der).is_none() => {
                Err(KeyError::Damaged { remedy: PUBLIC_REMEDY })
            }
            _ => Err(KeyError::Kind {
                found: kind(&label, &der),
                wanted: "a public ed25519 key",
                remedy: PUBLIC_REMEDY,
            }),
        }
    }

    /// The key of these bytes.
    fn of(key: [u8; 32]) -> Self {
        let hash = digest(&SHA256, &[&SPKI[..], &key].concat());
        Self { id: hex(&hash.as_ref()[..8]), key }
    }

    /// Whether it signed a message.
    fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.key).verify(message, signature).is_ok()
    }
}

/// A private key. Its `Debug` shows only its id.
pub struct PrivateKey {
    /// The id of its public half.
    pub id: String,
    /// Both halves.
    pair: Ed25519KeyPair,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl PrivateKey {
    /// Reads a PEM as `openssl genpkey` writes it: PKCS#8, without a password.
    pub fn parse(pem: &[u8]) -> Result<Self, KeyError> {
        let (label, der) = block(pem, PRIVATE_REMEDY)?;
        if label == "PRIVATE KEY" {
            if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der) {
                let public = pair.public_key().as_ref().try_into();
                let public = public.map_err(|_| KeyError::Damaged { remedy: PRIVATE_REMEDY })?;
                return Ok(Self { id: PublicKey::of(public).id, pair });
            }
            if named(&der).is_none() {
                return Err(KeyError::Damaged { remedy: PRIVATE_REMEDY });
            }
        }
        Err(KeyError::Kind {
            found: kind(&label, &der),
            wanted: "a private ed25519 key without a password",
            remedy: PRIVATE_REMEDY,
        })
    }

    /// The envelope of a payload.
    pub fn seal(&self, payload: &[u8]) -> Vec<u8> {
        let signature = self.pair.sign(&encoding(PAYLOAD_TYPE, payload));
        json!({
            "payloadType": PAYLOAD_TYPE,
            "payload": BASE64_STANDARD.encode(payload),
            "signatures": [{ "keyid": self.id, "sig": BASE64_STANDARD.encode(signature) }],
        })
        .to_string()
        .into_bytes()
    }
}

/// Why a value is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no envelope.
    #[error("unsigned")]
    Unsigned,
    /// It is an envelope that cannot be read.
    #[error("bad envelope: {0}")]
    Malformed(&'static str),
    /// Nobody whom we know signed it.
    #[error("signed by an unknown key ({0})")]
    UnknownKey(String),
    /// A known key is named, but did not sign this.
    #[error("altered: the signature of key {0} is not of these bytes")]
    Altered(String),
}

/// What an envelope holds, and who vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The payload.
    pub payload: Vec<u8>,
    /// The id of the key that signed it.
    pub key: String,
}

/// The payload of an envelope that one of the keys signed.
pub fn open(bytes: &[u8], keys: &[PublicKey]) -> Result<Opened, Refusal> {
    let envelope = Envelope::read(bytes)?.ok_or(Refusal::Unsigned)?;
    let message = encoding(PAYLOAD_TYPE, &envelope.payload);
    for (_, signature) in &envelope.signatures {
        if let Some(key) = keys.iter().find(|key| key.signed(&message, signature)) {
            return Ok(Opened { payload: envelope.payload, key: key.id.clone() });
        }
    }
    let ids = envelope.signatures.iter().map(|(id, _)| id);
    match ids.clone().find(|id| keys.iter().any(|key| key.id == **id)) {
        Some(known) => Err(Refusal::Altered(known.clone())),
        None => Err(Refusal::UnknownKey(ids.map(String::as_str).collect::<Vec<_>>().join(", "))),
    }
}

/// The payload of an envelope, whoever signed it; `None` when the bytes are no envelope.
pub fn payload(bytes: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
    Ok(Envelope::read(bytes)?.map(|envelope| envelope.payload))
}

/// An envelope, taken apart.
struct Envelope {
    /// The payload.
    payload: Vec<u8>,
    /// Ids of keys, fit to be shown, and signatures.
    signatures: Vec<(String, Vec<u8>)>,
}

impl Envelope {
    /// Reads one; `None` when the bytes are something else.
    fn read(bytes: &[u8]) -> Result<Option<Self>, Refusal> {
        // Much that is no envelope comes by here: only what looks like one is read.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Ok(None);
        }
        let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return Ok(None) };
        let (Some(kind), Some(payload)) = (value.get("payloadType"), value.get("payload")) else {
            return Ok(None);
        };
        if kind != PAYLOAD_TYPE {
            return Err(Refusal::Malformed("its payloadType is not podward's"));
        }
        let decoded = |value: &Value| BASE64_STANDARD.decode(value.as_str()?).ok();
        let payload = decoded(payload).ok_or(Refusal::Malformed("its payload is not base64"))?;
        let signatures = value.get("signatures").and_then(Value::as_array);
        let signatures = signatures.filter(|all| !all.is_empty());
        let signatures = signatures.ok_or(Refusal::Malformed("it has no signatures"))?;
        if signatures.len() > MOST_SIGNATURES {
            return Err(Refusal::Malformed("it has more than 16 signatures"));
        }
        let read = |one: &Value| {
            let id = shown(one.get("keyid").and_then(Value::as_str).unwrap_or_default());
            let signature = one.get("sig").and_then(decoded);
            Ok((id, signature.ok_or(Refusal::Malformed("a signature is not base64"))?))
        };
        let signatures: Result<_, Refusal> = signatures.iter().map(read).collect();
        Ok(Some(Self { payload, signatures: signatures? }))
    }
}

/// The digest of bytes as a detached signature names it.
pub fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(digest(&SHA256, bytes).as_ref()))
}

/// The payload of a detached signature.
pub fn detached(bytes: &[u8], generation: i64) -> Vec<u8> {
    json!({ "digest": digest_of(bytes), "generation": generation }).to_string().into_bytes()
}

/// What the payload of a detached signature says: the digest and the generation.
pub fn detached_says(payload: &[u8]) -> Option<(String, i64)> {
    let value: Value = serde_json::from_slice(payload).ok()?;
    let digest = value.get("digest")?.as_str()?.to_owned();
    Some((digest, value.get("generation")?.as_i64()?))
}

/// What is signed: DSSE's pre-authentication encoding.
fn encoding(kind: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// The label and the content of the first PEM block.
fn block(pem: &[u8], remedy: &'static str) -> Result<(String, Vec<u8>), KeyError> {
    let text = String::from_utf8_lossy(pem);
    let none = KeyError::NoPem { remedy };
    let (_, rest) = text.split_once("-----BEGIN ").ok_or(none.clone())?;
    let (label, rest) = rest.split_once("-----").ok_or(none)?;
    let end = format!("-----END {label}-----");
    let (body, _) = rest.split_once(&end).ok_or(KeyError::Damaged { remedy })?;
    let body: String = body.lines().map(str::trim).collect();
    // Old forms have headers in their blocks; their labels say enough.
    Ok((shown(label), BASE64_STANDARD.decode(body).unwrap_or_default()))
}

/// What sort of key something is that is not ours.
fn kind(label: &str, der: &[u8]) -> String {
    match label {
        "ENCRYPTED PRIVATE KEY" => "a private key with a password".to_owned(),
        "OPENSSH PRIVATE KEY" => "a key of OpenSSH".to_owned(),
        "CERTIFICATE" => "a certificate".to_owned(),
        "RSA PRIVATE KEY" | "RSA PUBLIC KEY" => "an RSA key".to_owned(),
        "EC PRIVATE KEY" => "an elliptic curve key".to_owned(),
        label => match (named(der), label) {
            (Some(name), _) => name.to_owned(),
            (None, "PRIVATE KEY") => "a private key".to_owned(),
            (None, "PUBLIC KEY") => "a public key".to_owned(),
            (None, label) => format!("a PEM block {label}"),
        },
    }
}

/// What people call a key by another algorithm.
fn named(der: &[u8]) -> Option<&'static str> {
    let holds = |identifier: &[u8]| der.windows(identifier.len()).any(|part| part == identifier);
    OTHERS.iter().find(|(identifier, _)| holds(identifier)).map(|(_, name)| *name)
}

/// A text from afar, fit for a message.
fn shown(text: &str) -> String {
    let plain = |letter: &char| letter.is_ascii_graphic() || *letter == ' ';
    let short: String = text.chars().filter(plain).take(64).collect();
    if short.is_empty() { "without a name".to_owned() } else { short }
}

#[cfg(test)]
mod tests;
