//! The row of an Event.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::rows::Column;
use super::table::age;

/// The columns.
pub const COLUMNS: [Column; 10] = [
    ("LAST SEEN", false),
    ("TYPE", false),
    ("REASON", false),
    ("OBJECT", false),
    ("SUBOBJECT", true),
    ("SOURCE", true),
    ("MESSAGE", false),
    ("FIRST SEEN", true),
    ("COUNT", true),
    ("NAME", true),
];

/// The cells.
pub fn cells(event: &Event, now: Timestamp) -> Vec<String> {
    let involved = &event.involved_object;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    vec![
        age(last_seen(event), now),
        text(&event.type_),
        text(&event.reason),
        format!("{}/{}", text(&involved.kind).to_ascii_lowercase(), text(&involved.name)),
        text(&involved.field_path),
        source(event),
        text(&event.message).trim().to_owned(),
        age(first_seen(event), now),
        event.count.unwrap_or(1).to_string(),
        text(&event.metadata.name),
    ]
}

/// When the event was last seen.
pub fn last_seen(event: &Event) -> Option<&Time> {
    event.last_timestamp.as_ref().or_else(|| first_seen(event))
}

/// When the event was first seen.
pub fn first_seen(event: &Event) -> Option<&Time> {
    event.first_timestamp.as_ref().or(event.metadata.creation_timestamp.as_ref())
}

/// Who reported, and from where.
fn source(event: &Event) -> String {
    let source = event.source.as_ref();
    let parts =
        [source.and_then(|s| s.component.as_deref()), source.and_then(|s| s.host.as_deref())];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
