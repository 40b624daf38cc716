//! What becomes of an object that is applied: the author's part of three versions of it, and what the store adds.
//!
//! As with kubectl and custom resources: what the author dropped since last time goes, what others added stays, and a
//! list is one value, so that the author's counts whole.

use jiff::Timestamp;
use serde_json::{Map, Value};

/// The annotation that keeps what the author applied last.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// What only the store says of an object.
const STORES_OWN: [&str; 6] =
    ["uid", "creationTimestamp", "generation", "resourceVersion", "managedFields", "selfLink"];

/// The new version: `last` is what the author applied last, `live` what is there, `new` what the author says now.
pub fn merge(last: &Value, live: &Value, new: &Value) -> Value {
    let Value::Object(new) = new else {
        return new.clone();
    };
    let mut merged = live.as_object().cloned().unwrap_or_default();
    if let Value::Object(last) = last {
        merged.retain(|key, _| new.contains_key(key) || !last.contains_key(key));
    }
    for (key, value) in new {
        if value.is_null() {
            merged.remove(key);
        } else {
            let live = merged.get(key).unwrap_or(&Value::Null);
            let value = merge(last.get(key).unwrap_or(&Value::Null), live, value);
            merged.insert(key.clone(), value);
        }
    }
    Value::Object(merged)
}

/// Takes away what only the store says of an object: authors copy it with the rest.
pub fn strip(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in STORES_OWN {
            metadata.remove(field);
        }
    }
}

/// What the author applied last, as far as the object remembers it.
pub fn last_applied(object: &Value) -> Value {
    let kept = annotation(object, LAST_APPLIED);
    kept.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null)
}

/// Notes on an object what its author applied: the object itself.
pub fn note_applied(object: &mut Value) {
    forget_applied(object);
    let text = format!("{object}\n");
    annotate(object, LAST_APPLIED, text);
}

/// Takes away the note of what was applied.
pub fn forget_applied(object: &mut Value) {
    forget(object, LAST_APPLIED);
}

/// Takes an annotation away.
pub fn forget(object: &mut Value, key: &str) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
        && let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut)
    {
        annotations.remove(key);
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
}

/// An annotation.
pub fn annotation<'v>(object: &'v Value, key: &str) -> Option<&'v str> {
    object.get("metadata")?.get("annotations")?.get(key)?.as_str()
}

/// Sets an annotation.
pub fn annotate(object: &mut Value, key: &str, text: String) {
    let annotations = metadata(object).entry("annotations").or_insert(Value::Null);
    if !annotations.is_object() {
        *annotations = Map::new().into();
    }
    annotations[key] = text.into();
}

/// An object's metadata, made when missing.
pub fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    if !object["metadata"].is_object() {
        object["metadata"] = Map::new().into();
    }
    object["metadata"].as_object_mut().expect("it was made an object")
}

/// Who writes an object, and when.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// The uid of an object that is new.
    pub uid: &'a str,
    /// The generation of what was deleted under this name before: a new object begins above it, since nodes take a lower
    /// one for an old document that somebody plays back.
    pub buried: i64,
    /// When.
    pub now: Timestamp,
}

/// Gives an object what only the store says of it: a new uid and creation time, or those of `live`, and a generation that
/// grows with each change of what the object wants.
pub fn stamp(live: Option<&Value>, object: &mut Value, stamp: Stamp<'_>) {
    let of_live = |field: &str| {
        let value = live.and_then(|live| live.get("metadata")?.get(field));
        value.filter(|value| !value.is_null()).cloned()
    };
    let changed = live.is_none_or(|live| !same_will(live, object));
    let before = live.map_or(stamp.buried, generation);
    let uid = of_live("uid").unwrap_or_else(|| stamp.uid.into());
    let created = of_live("creationTimestamp").unwrap_or_else(|| second(stamp.now).into());
    let metadata = metadata(object);
    metadata.insert("uid".into(), uid);
    metadata.insert("creationTimestamp".into(), created);
    metadata.insert("generation".into(), (before + i64::from(changed)).into());
}

/// A time as Kubernetes writes it.
pub fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// An object's generation.
pub fn generation(object: &Value) -> i64 {
    object["metadata"]["generation"].as_i64().unwrap_or(0)
}

/// Whether two versions of an object want the same, whatever their metadata say.
fn same_will(one: &Value, other: &Value) -> bool {
    let will = |object: &Value| -> Option<Map<String, Value>> {
        let mut fields = object.as_object()?.clone();
        fields.retain(|field, _| !matches!(field.as_str(), "metadata" | "status"));
        Some(fields)
    };
    will(one) == will(other)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn three_versions_merge_as_kubectl_merges_custom_resources() {
        let none = Value::Null;
        for (last, live, new, merged) in [
            // Nothing was there.
            (none.clone(), none.clone(), json!({"a": {"b": 1, "c": null}}), json!({"a": {"b": 1}})),
            // What others added stays.
            (json!({"a": 1}), json!({"a": 1, "x": 2}), json!({"a": 1}), json!({"a": 1, "x": 2})),
            // What the author dropped goes.
            (json!({"a": 1, "b": 2}), json!({"a": 1, "b": 2}), json!({"a": 1}), json!({"a": 1})),
            // Also deep inside, beside what others added.
            (
                json!({"m": {"l": {"a": "1", "b": "2"}}}),
                json!({"m": {"l": {"a": "1", "b": "2", "x": "3"}}}),
                json!({"m": {"l": {"a": "1"}}}),
                json!({"m": {"l": {"a": "1", "x": "3"}}}),
            ),
            // What was dropped whole goes whole.
            (json!({"m": {"a": 1}}), json!({"m": {"a": 1, "x": 2}}), json!({}), json!({})),
            // What others changed is the author's again.
            (json!({"a": 1}), json!({"a": 5}), json!({"a": 1}), json!({"a": 1})),
            // Without a memory nothing is dropped.
            (none.clone(), json!({"a": 1, "b": 2}), json!({"a": 3}), json!({"a": 3, "b": 2})),
            // Lists count whole.
            (json!({"l": [1, 2]}), json!({"l": [1, 2, 3]}), json!({"l": [2]}), json!({"l": [2]})),
            // Another type takes the place of the old one.
            (json!({"a": {"b": 1}}), json!({"a": {"b": 1}}), json!({"a": "t"}), json!({"a": "t"})),
            (json!({"a": "t"}), json!({"a": "t"}), json!({"a": {"b": 1}}), json!({"a": {"b": 1}})),
            // null takes away.
            (none, json!({"a": 1, "b": 1}), json!({"a": null}), json!({"b": 1})),
        ] {
            assert_eq!(merge(&last, &live, &new), merged, "{last} {live} {new}");
        }
    }

    #[test]
    fn an_object_remembers_what_was_applied_without_remembering_the_memory() {
        let mut object = json!({"kind": "DaemonSet", "metadata": {"name": "w"}});
        let plain = object.clone();
        note_applied(&mut object);
        note_applied(&mut object);
        assert_eq!(last_applied(&object), plain);
        forget_applied(&mut object);
        assert_eq!(object, plain);
    }

    #[test]
    fn what_only_the_store_says_is_not_the_authors() {
        let mut object = json!({"metadata": {"name": "w", "uid": "u", "generation": 4, "resourceVersion": "1"},
            "status": {"numberReady": 3}, "spec": {}});
        strip(&mut object);
        assert_eq!(object, json!({"metadata": {"name": "w"}, "spec": {}}));
    }

    #[test]
    fn the_generation_grows_with_each_change_of_the_will() {
        let at = Stamp { uid: "new", buried: 0, now: Timestamp::UNIX_EPOCH };
        let mut first = json!({"metadata": {"name": "w"}, "spec": {"a": 1}});
        stamp(None, &mut first, at);
        assert_eq!(
            first["metadata"],
            json!({"name": "w", "uid": "new", "creationTimestamp": "1970-01-01T00:00:00Z", "generation": 1})
        );
        let mut labelled =
            json!({"metadata": {"name": "w", "labels": {"x": "y"}}, "spec": {"a": 1}});
        stamp(Some(&first), &mut labelled, Stamp { uid: "other", ..at });
        assert_eq!((generation(&labelled), &labelled["metadata"]["uid"]), (1, &json!("new")));
        let mut changed = json!({"metadata": {"name": "w"}, "spec": {"a": 2}});
        stamp(Some(&first), &mut changed, at);
        assert_eq!(generation(&changed), 2);
        let mut again = json!({"metadata": {"name": "w"}, "spec": {"a": 1}});
        stamp(None, &mut again, Stamp { buried: 7, ..at });
        assert_eq!(generation(&again), 8, "above what was deleted");
    }
}
