//! The template hash: equal templates have equal hashes, however they were written.

use std::fmt::Write as _;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::base::ids::TemplateHash;

/// Letters that spell no words and look alike to nobody.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The hash of a defaulted template.
pub fn template_hash(template: &PodTemplateSpec) -> TemplateHash {
    let value = serde_json::to_value(template).expect("Kubernetes objects are JSON");
    let mut text = String::new();
    canonical(&value, &mut text);
    hash_of(&Sha256::digest(text.as_bytes()))
}

/// A digest as a hash that people can read aloud.
pub fn hash_of(digest: &[u8]) -> TemplateHash {
    // Two bytes a letter, so that no letter is noticeably likelier than another.
    let letters = digest.chunks_exact(2).take(10).map(|pair| {
        let number = usize::from(pair[0]) << 8 | usize::from(pair[1]);
        char::from(LETTERS[number % LETTERS.len()])
    });
    TemplateHash::new(letters.collect::<String>())
}

/// Writes JSON with sorted keys and without what is empty by absence.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().filter(|(_, value)| !value.is_null()).collect();
            fields.sort_unstable_by_key(|(name, _)| name.as_str());
            text.push('{');
            for (name, value) in fields {
                let _ = write!(text, "{}:", Value::String(name.clone()));
                canonical(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let _ = write!(text, "{value}");
        }
    }
}
