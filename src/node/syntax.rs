//! What Kubernetes accepts as the key and the value of a label, to the character.

/// The longest name part of a key, and the longest value.
const NAME_LIMIT: usize = 63;
/// The longest prefix of a key, and the longest node name.
const SUBDOMAIN_LIMIT: usize = 253;

/// Why `key` is no legal label or taint key; `None` when it is legal.
pub fn key_problem(key: &str) -> Option<&'static str> {
    let name = match key.split_once('/') {
        None => key,
        Some((_, rest)) if rest.contains('/') => return Some("a key has at most one `/`"),
        Some(("", _)) => return Some("the part before `/` is empty"),
        Some((prefix, name)) => {
            if subdomain_problem(prefix).is_some() {
                return Some("the part before `/` is not a lower-case DNS name");
            }
            name
        }
    };
    if name.is_empty() {
        return Some("the name is empty");
    }
    if name.len() > NAME_LIMIT {
        return Some("the name is longer than 63 characters");
    }
    (!word(name)).then_some(
        "a name holds letters, digits, `-`, `_` and `.`, and begins and ends with a letter or digit",
    )
}

/// Why `value` is no legal label or taint value; `None` when it is legal.
pub fn value_problem(value: &str) -> Option<&'static str> {
    if value.len() > NAME_LIMIT {
        return Some("a label value has at most 63 characters");
    }
    (!value.is_empty() && !word(value)).then_some(
        "a label value holds letters, digits, `-`, `_` and `.`, and begins and ends with a letter or digit",
    )
}

/// Why `name` is no legal DNS subdomain, the form of node names and key prefixes.
pub fn subdomain_problem(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > SUBDOMAIN_LIMIT {
        return Some("it is longer than 253 characters");
    }
    // Each part is not held to 63 characters here: Kubernetes does not either.
    let legal = name.split('.').all(|part| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        edged_by(part, inner) && part.bytes().all(|byte| inner(byte) || byte == b'-')
    });
    (!legal).then_some(
        "it holds lower-case letters, digits, `-` and `.`, and each part begins and ends with a letter or digit",
    )
}

/// Whether `text` has the alphabet of label names and values.
fn word(text: &str) -> bool {
    edged_by(text, |byte| byte.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Whether `text` is not empty, and its first and last byte are `allowed`.
fn edged_by(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(&first), Some(&last)) if allowed(first) && allowed(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_a_name_with_an_optional_dns_prefix() {
        let long = "a".repeat(63);
        let longer = "a".repeat(64);
        for legal in ["a", "A.b_c-d9", "0", "k8s.io/a", "a-b.c1/X", long.as_str()] {
            assert_eq!(key_problem(legal), None, "{legal}");
        }
        let prefix = format!("{}/a", "p".repeat(253));
        assert_eq!(key_problem(&prefix), None);
        let prefix = format!("{}/a", "p".repeat(254));
        for illegal in [
            "",
            "/",
            "/a",
            "a/",
            "a/b/c",
            "-a",
            "a-",
            "a b",
            "ä",
            "UP.io/a",
            "a..b/c",
            "-a/b",
            "a_b/c",
            longer.as_str(),
            prefix.as_str(),
        ] {
            assert!(key_problem(illegal).is_some(), "{illegal}");
        }
    }

    #[test]
    fn values_may_be_empty_but_not_ragged() {
        for legal in ["", "a", "1.5", "1_000", "0x10", "a--b", &"v".repeat(63)] {
            assert_eq!(value_problem(legal), None, "{legal}");
        }
        for illegal in ["-1", "+5", "a.", "_", " 5", "a/b", "é", &"v".repeat(64)] {
            assert!(value_problem(illegal).is_some(), "{illegal}");
        }
    }
}
