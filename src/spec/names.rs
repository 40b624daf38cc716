//! The well-formedness of names: each rule says what to write when a text breaks it.

/// A rule's answer: `Err` holds the remedy.
type Answer = Result<(), &'static str>;

/// `Ok` when it holds.
fn when(holds: bool, remedy: &'static str) -> Answer {
    if holds { Ok(()) } else { Err(remedy) }
}

/// Whether every byte is one of lower-case letters, digits and `extra`.
fn lower(text: &str, extra: &str) -> bool {
    text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || extra.contains(c))
}

/// Whether a text begins and ends with a letter or digit.
fn framed(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
}

/// A DNS label: names of containers, volumes, namespaces.
pub fn dns_label(text: &str) -> Answer {
    when(
        text.len() <= 63 && lower(text, "-") && framed(text),
        "write at most 63 lower-case letters, digits and -, with a letter or digit at both ends",
    )
}

/// A DNS subdomain: names of sets and nodes.
pub fn dns_subdomain(text: &str) -> Answer {
    when(
        text.len() <= 253 && text.split('.').all(|part| lower(part, "-") && framed(part)),
        "write at most 253 lower-case letters, digits, - and ., with a letter or digit at both ends of each part",
    )
}

/// The part of a label key behind the slash.
fn qualified(text: &str) -> bool {
    text.len() <= 63 && framed(text) && inner(text)
}

/// Whether all is letters, digits, `-`, `_` or `.`.
fn inner(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// A key of a label, taint or annotation; annotations fold the case first.
pub fn label_key(text: &str) -> Answer {
    let well = match text.split_once('/') {
        Some((prefix, name)) => {
            !prefix.is_empty() && dns_subdomain(prefix).is_ok() && qualified(name)
        }
        None => qualified(text),
    };
    when(
        well,
        "write a key such as app or example.com/app: at most 63 letters, digits, -, _ and . behind an optional DNS prefix and a slash",
    )
}

/// A key of an annotation.
pub fn annotation_key(text: &str) -> Answer {
    label_key(&text.to_ascii_lowercase())
}

/// A value of a label.
pub fn label_value(text: &str) -> Answer {
    when(
        text.is_empty() || (text.len() <= 63 && framed(text) && inner(text)),
        "write at most 63 letters, digits, -, _ and ., with a letter or digit at both ends",
    )
}

/// A key of a ConfigMap or Secret, which is a file's name as well.
pub fn object_key(text: &str) -> Answer {
    let well = !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
        && text != "."
        && !text.starts_with("..");
    when(
        well && text.len() <= 253,
        "write at most 253 letters, digits, -, _ and ., not . alone and not .. at the beginning",
    )
}

/// The name of a port.
pub fn port_name(text: &str) -> Answer {
    let letter = text.chars().any(|c| c.is_ascii_lowercase());
    when(
        text.len() <= 15 && lower(text, "-") && framed(text) && letter && !text.contains("--"),
        "write at most 15 lower-case letters, digits and single -, with at least one letter and none of - at the ends",
    )
}

/// The name of an environment variable.
pub fn variable(text: &str) -> Answer {
    when(
        !text.is_empty() && text.chars().all(|c| (' '..='~').contains(&c) && c != '='),
        "write printable ASCII characters without =",
    )
}

/// The name of a header of HTTP.
pub fn header(text: &str) -> Answer {
    when(
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'),
        "write letters, digits and -, such as X-Probe",
    )
}

/// A relative path that stays where it is.
pub fn relative_path(text: &str) -> Answer {
    when(
        !text.starts_with('/') && text.split('/').all(|part| part != ".."),
        "write a relative path without ..",
    )
}

/// An image's reference: `[host[:port]/]name[:tag][@digest]`.
pub fn image(text: &str) -> Answer {
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    let (path, tag) = match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (name, None),
    };
    when(
        is_repository(path) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest),
        "write a reference such as docker.io/library/busybox:1.36",
    )
}

/// Whether a text is a repository, with or without its host.
fn is_repository(text: &str) -> bool {
    let mut parts: Vec<&str> = text.split('/').collect();
    if parts.len() > 1 && is_host(parts[0]) {
        parts.remove(0);
    }
    text.len() <= 255 && parts.iter().all(|part| is_component(part))
}

/// Whether the first part of a repository is a host.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let named = text.contains(['.', ':']) || text == "localhost" || text != text.to_lowercase();
    let address = host.starts_with('[') && host.ends_with(']');
    let labels = host
        .split('.')
        .all(|label| framed(label) && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'));
    let port = port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    named && (address || labels) && port
}

/// Whether a part of a repository is lower-case with single separators.
fn is_component(text: &str) -> bool {
    let separated = !text.contains("..") && !text.contains("._") && !text.contains("_.");
    let dashes = !text.contains("-.") && !text.contains(".-") && !text.contains("-_");
    lower(text, "._-") && framed(text) && separated && dashes && !text.contains("___")
}

/// Whether a text is a tag.
fn is_tag(text: &str) -> bool {
    let start = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    start && text.len() <= 128 && inner(text)
}

/// Whether a text is a digest.
fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else {
        return false;
    };
    let digits = hex.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase());
    match algorithm {
        "sha256" => hex.len() == 64 && digits,
        "sha384" => hex.len() == 96 && digits,
        "sha512" => hex.len() == 128 && digits,
        _ => false,
    }
}
