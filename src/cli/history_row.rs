//! The row of a `ControllerRevision`: one entry of a set's history.

use jiff::Timestamp;
use serde_json::Value;

use crate::fleet::{merge3::annotation, revision::CHANGE_CAUSE};

use super::object_row::created;
use super::rows::Column;
use super::table::{age, or_none};

/// The columns.
pub const COLUMNS: [Column; 5] = [
    ("NAME", false),
    ("CONTROLLER", false),
    ("REVISION", false),
    ("AGE", false),
    ("CHANGE-CAUSE", true),
];

/// The cells.
pub fn cells(revision: &Value, now: Timestamp) -> Vec<String> {
    let metadata = &revision["metadata"];
    let owner = metadata["ownerReferences"][0]["name"].as_str();
    vec![
        metadata["name"].as_str().unwrap_or_default().to_owned(),
        owner.map_or_else(|| "<none>".to_owned(), |name| format!("daemonset.apps/{name}")),
        revision["revision"].as_i64().unwrap_or_default().to_string(),
        age(created(revision).as_ref(), now),
        or_none(annotation(revision, CHANGE_CAUSE)),
    ]
}
