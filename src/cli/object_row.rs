//! The rows of ConfigMaps and Secrets. They show how much there is, never what.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use super::resource::Kind;
use super::rows::Column;
use super::table::age;

/// The columns of a ConfigMap.
pub const CONFIG_MAP: [Column; 3] = [("NAME", false), ("DATA", false), ("AGE", false)];
/// The columns of a Secret.
pub const SECRET: [Column; 4] = [("NAME", false), ("TYPE", false), ("DATA", false), ("AGE", false)];

/// The cells.
pub fn cells(kind: Kind, object: &Value, now: Timestamp) -> Vec<String> {
    let count = |field: &str| object[field].as_object().map_or(0, serde_json::Map::len);
    let mut cells = vec![object["metadata"]["name"].as_str().unwrap_or_default().to_owned()];
    if kind == Kind::Secret {
        cells.push(object["type"].as_str().unwrap_or("Opaque").to_owned());
    }
    cells.push((count("data") + count("binaryData")).to_string());
    cells.push(age(created(object).as_ref(), now));
    cells
}

/// When an object was made.
pub fn created(object: &Value) -> Option<Time> {
    let text = object["metadata"]["creationTimestamp"].as_str()?;
    text.parse().ok().map(Time)
}
