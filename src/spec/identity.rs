//! What a document says that it is, and what it was meant to be where it does not say it well.

use serde_json::{Map, Value};

use crate::base::ids::SetKey;
use crate::spec::{document::Document, kinds, object::ObjectKey, report::Report};

/// Whether an object is read as a set: when it says so, and when it was clearly meant to.
pub fn is_set(document: &Document, identified: bool) -> bool {
    let (version, kind) = (document.api_version.as_str(), document.kind.as_str());
    if identified {
        return kind == "DaemonSet" && kinds::holds_sets(version);
    }
    kind == "DaemonSet" || kinds::mistyped(version, kind)
}

/// The field that somebody wrote in the wrong case, such as `apiversion`.
fn miswritten<'a>(object: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
    object.keys().map(String::as_str).find(|key| key.eq_ignore_ascii_case(field))
}

/// Whether a document says what it is; says so if not.
pub fn identified(object: &Map<String, Value>, document: &Document, report: &mut Report) -> bool {
    let before = report.faults.len();
    let version = kinds::meant("", &document.kind).unwrap_or(&document.kind);
    let version = kinds::version_of(version).unwrap_or("apps/v1");
    for (field, example) in [("apiVersion", version), ("kind", "DaemonSet")] {
        match object.get(field) {
            Some(Value::String(text)) if !text.is_empty() => {}
            Some(value) if !value.is_null() => {
                report.fault(
                    field,
                    value,
                    "must be a string that is not empty",
                    format!("write {example}"),
                );
            }
            _ => {
                let remedy = match miswritten(object, field) {
                    Some(key) if key != field => format!("write {field} instead of {key}"),
                    _ => format!("write {field}: {example}"),
                };
                report.fault(field, &Value::Null, "required field is missing", remedy);
            }
        }
    }
    let (version, kind) = (document.api_version.as_str(), document.kind.as_str());
    if let Some(right) = kinds::version_of(kind).filter(|_| kinds::mistaken(version, kind)) {
        let version = Value::String(version.to_owned());
        report.fault("apiVersion", &version, format!("has no {kind}"), format!("write {right}"));
    }
    if let Some(meant) = kinds::meant(version, kind) {
        let kind = Value::String(kind.to_owned());
        report.fault("kind", &kind, "unknown kind", format!("did you mean {meant}?"));
    }
    report.faults.len() == before
}

/// Which ConfigMap or Secret a document describes, as far as it can be told.
pub fn object_key(document: &Document, key: Option<SetKey>) -> Option<ObjectKey> {
    let (version, kind) = (document.api_version.as_str(), document.kind.as_str());
    let ours = version == "v1" || version.is_empty() || kinds::mistaken(version, kind);
    let kind = kinds::object(kind).filter(|_| ours)?;
    key.map(|SetKey { namespace, name }| ObjectKey { kind, namespace, name })
}

/// Which set an object describes, or which object.
pub fn key_of(object: &Map<String, Value>) -> Option<SetKey> {
    let metadata = object.get("metadata")?;
    let name = metadata.get("name")?.as_str().filter(|name| !name.is_empty())?;
    let namespace =
        metadata.get("namespace").and_then(Value::as_str).filter(|name| !name.is_empty());
    Some(SetKey::new(namespace.unwrap_or("default"), name))
}

/// The name of any object, for people: with its namespace when it has one.
pub fn name_of(object: &Map<String, Value>) -> String {
    let word = |field: &str| object.get("metadata")?.get(field)?.as_str();
    match (word("namespace"), word("name")) {
        (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
        (None, Some(name)) => name.to_owned(),
        (_, None) => String::new(),
    }
}

/// What a text was meant to describe, by its lines alone: apiVersion, kind and key.
pub fn guess(text: &str) -> Option<(String, String, SetKey)> {
    let scalar = |line: &str, field: &str| {
        let value = line.trim().strip_prefix(field)?.strip_prefix(':')?;
        let value = value.split(" #").next().unwrap_or_default().trim();
        let value = value.trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| value.to_owned())
    };
    let top = |field: &str| {
        text.lines()
            .filter(|line| !line.starts_with([' ', '\t']))
            .find_map(|line| scalar(line, field))
    };
    let kind = top("kind")?;
    kinds::version_of(&kind)?;
    let metadata = text.lines().skip_while(|line| line.trim_end() != "metadata:").skip(1);
    let block: Vec<&str> = metadata
        .take_while(|line| line.starts_with([' ', '\t']) || line.trim().is_empty())
        .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        .collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let first = indent(block.first()?);
    let own = |field: &str| {
        block.iter().filter(|line| indent(line) == first).find_map(|line| scalar(line, field))
    };
    let namespace = own("namespace").unwrap_or_else(|| "default".to_owned());
    Some((top("apiVersion").unwrap_or_default(), kind, SetKey::new(namespace, own("name")?)))
}
