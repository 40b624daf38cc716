//! Keys for verbs that sign, and envelopes around what they write into the store.

use std::{fs::File, io::Read as _, path::Path};

use crate::config::Settings;
use crate::fleet::envelope::{self, PrivateKey, PublicKey};

use super::contents::unreadable;

/// More of a key's file is never read.
const KEY_LIMIT: u64 = 64 << 10;

/// Reads a private key.
pub fn private_key(path: &Path) -> anyhow::Result<PrivateKey> {
    let pem = pem(path)?;
    PrivateKey::parse(&pem).map_err(|error| anyhow::anyhow!("{} {error}", path.display()))
}

/// Reads a public key.
pub fn public_key(path: &Path) -> anyhow::Result<PublicKey> {
    let pem = pem(path)?;
    PublicKey::parse(&pem).map_err(|error| anyhow::anyhow!("{} {error}", path.display()))
}

/// The value as it is written: in an envelope when there is a key to sign with.
pub fn seal(settings: &Settings, plain: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    match &settings.sign_key {
        Some(path) => Ok(private_key(path)?.seal(&plain)),
        None => Ok(plain),
    }
}

/// The plain value of what is in the store, whoever signed it: for people who look at it. `None` for a bad envelope.
pub fn open(bytes: &[u8]) -> Option<Vec<u8>> {
    envelope::payload(bytes).ok().map(|payload| payload.unwrap_or_else(|| bytes.to_vec()))
}

/// The bytes of a key's file.
fn pem(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut pem = Vec::new();
    File::open(path)
        .and_then(|file| file.take(KEY_LIMIT).read_to_end(&mut pem))
        .map_err(|error| anyhow::anyhow!("{}", unreadable(&path.display().to_string(), &error)))?;
    Ok(pem)
}
