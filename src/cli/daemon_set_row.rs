//! The row of a DaemonSet.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Container;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::rows::Column;
use super::table::{age, or_none, pairs};

/// The columns.
pub const COLUMNS: [Column; 11] = [
    ("NAME", false),
    ("DESIRED", false),
    ("CURRENT", false),
    ("READY", false),
    ("UP-TO-DATE", false),
    ("AVAILABLE", false),
    ("NODE SELECTOR", false),
    ("AGE", false),
    ("CONTAINERS", true),
    ("IMAGES", true),
    ("SELECTOR", true),
];

/// The cells.
pub fn cells(set: &DaemonSet, now: Timestamp) -> Vec<String> {
    let status = set.status.clone().unwrap_or_default();
    let spec = set.spec.as_ref();
    let pod = spec.and_then(|spec| spec.template.spec.as_ref());
    let containers = pod.map(|pod| pod.containers.as_slice()).unwrap_or_default();
    let joined =
        |part: fn(&Container) -> &str| containers.iter().map(part).collect::<Vec<_>>().join(",");
    vec![
        set.metadata.name.clone().unwrap_or_default(),
        status.desired_number_scheduled.to_string(),
        status.current_number_scheduled.to_string(),
        status.number_ready.to_string(),
        status.updated_number_scheduled.unwrap_or_default().to_string(),
        status.number_available.unwrap_or_default().to_string(),
        pairs(pod.and_then(|pod| pod.node_selector.as_ref())),
        age(set.metadata.creation_timestamp.as_ref(), now),
        joined(|container| &container.name),
        joined(|container| container.image.as_deref().unwrap_or_default()),
        spec.map(|spec| selector(&spec.selector)).unwrap_or_default(),
    ]
}

/// A label selector in one line.
pub fn selector(selector: &LabelSelector) -> String {
    let equal = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    let others = selector.match_expressions.iter().flatten().map(|expression| {
        let (key, values) = (&expression.key, expression.values.iter().flatten());
        let values = values.map(String::as_str).collect::<Vec<_>>().join(",");
        match expression.operator.as_str() {
            "Exists" => key.clone(),
            "DoesNotExist" => format!("!{key}"),
            operator => format!("{key} {} ({values})", operator.to_ascii_lowercase()),
        }
    });
    or_none(Some(&equal.chain(others).collect::<Vec<_>>().join(",")))
}
