//! The checksum in the files that a host boots from: what a disk changed silently is no last good copy.

use std::io;

use serde_json::{Value, error::Category};
use sha2::{Digest, Sha256};

use crate::base::ids::hex;

/// The field beside the others.
const FIELD: &str = "sha256";

/// The text of an object, with its checksum in it.
pub(super) fn text(mut object: Value) -> serde_json::Result<Vec<u8>> {
    let sum = sum(&object)?;
    object[FIELD] = sum.into();
    serde_json::to_vec(&object)
}

/// The object of a text. Earlier builds wrote no checksum.
pub(super) fn object(text: &[u8]) -> io::Result<Value> {
    // The parser's own words may repeat a value.
    let torn = |error: serde_json::Error| match error.classify() {
        Category::Eof => io::Error::other("it is cut off"),
        _ => io::Error::other(format!(
            "it is no JSON from line {} column {} on",
            error.line(),
            error.column()
        )),
    };
    let mut object: Value = serde_json::from_slice(text).map_err(torn)?;
    let said = object.as_object_mut().and_then(|object| object.remove(FIELD));
    match said {
        Some(said) if said != sum(&object)? => {
            Err(io::Error::other("its checksum is that of something else"))
        }
        _ => Ok(object),
    }
}

/// The checksum of an object: fields have one order, so equal objects have equal texts.
fn sum(object: &Value) -> serde_json::Result<String> {
    Ok(hex(&Sha256::digest(serde_json::to_vec(object)?)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_changed_or_cut_off_is_told_from_what_was_written() {
        let written = text(json!({"version": 1, "sets": ["a"]})).unwrap();
        assert_eq!(object(&written).unwrap(), json!({"version": 1, "sets": ["a"]}));
        let changed = String::from_utf8(written.clone()).unwrap().replace("[\"a\"]", "[\"b\"]");
        let error = object(changed.as_bytes()).unwrap_err().to_string();
        assert_eq!(error, "its checksum is that of something else");
        let error = object(&written[..20]).unwrap_err().to_string();
        assert_eq!(error, "it is cut off");
        assert!(
            object(b"nonsense").unwrap_err().to_string().starts_with("it is no JSON from line 1")
        );
    }

    #[test]
    fn a_file_of_an_earlier_build_has_no_checksum() {
        assert_eq!(object(b"{\"version\":1}").unwrap(), json!({"version": 1}));
    }
}
