//! DaemonSets of retired API versions become apps/v1, with the defaults that they had.

use serde_json::{Map, Value, json};

use crate::spec::{kinds::holds_sets, report::Report};

/// Brings a DaemonSet of any version to apps/v1, with a warning when it was of another one.
pub fn to_apps_v1(object: &mut Map<String, Value>, report: &mut Report) {
    let version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
    object.insert("apiVersion".to_owned(), json!("apps/v1"));
    // One that never was is a fault already, and the rest is read as it is written today.
    if version == "apps/v1" || !holds_sets(&version) {
        return;
    }
    report.warn(
        "apiVersion",
        &Value::String(version.clone()),
        "Kubernetes no longer serves this version; it is read as apps/v1 with the defaults of old",
        "write apiVersion: apps/v1",
    );
    if version == "extensions/v1beta1"
        && let Some(Value::Object(spec)) = object.get_mut("spec")
    {
        old_defaults(spec);
    }
}

/// What extensions/v1beta1 had on its own: the selector came from the labels, updates waited for deletion.
fn old_defaults(spec: &mut Map<String, Value>) {
    spec.remove("templateGeneration");
    let labels = spec.get("template").and_then(|template| template.get("metadata")?.get("labels"));
    let labels = labels.filter(|labels| labels.is_object()).cloned();
    if spec.get("selector").is_none_or(Value::is_null)
        && let Some(labels) = labels
    {
        spec.insert("selector".to_owned(), json!({ "matchLabels": labels }));
    }
    let strategy = spec.entry("updateStrategy").or_insert(Value::Null);
    if strategy.is_null() {
        *strategy = json!({});
    }
    if let Value::Object(strategy) = strategy {
        let kind = strategy.entry("type").or_insert(Value::Null);
        if kind.is_null() {
            *kind = json!("OnDelete");
        }
    }
}
