//! The row of a Node.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;

use super::rows::Column;
use super::table::{age, or_none};

/// The columns.
pub const COLUMNS: [Column; 10] = [
    ("NAME", false),
    ("STATUS", false),
    ("ROLES", false),
    ("AGE", false),
    ("VERSION", false),
    ("INTERNAL-IP", true),
    ("EXTERNAL-IP", true),
    ("OS-IMAGE", true),
    ("KERNEL-VERSION", true),
    ("CONTAINER-RUNTIME", true),
];

/// The cells.
pub fn cells(node: &Node, now: Timestamp) -> Vec<String> {
    let info = node.status.as_ref().and_then(|status| status.node_info.as_ref());
    let unknown = |text: Option<&str>| match text {
        None | Some("") => "<unknown>".to_owned(),
        Some(text) => text.to_owned(),
    };
    let kernel = info.filter(|info| !info.kernel_version.is_empty()).map(|info| {
        match info.architecture.as_str() {
            "" => info.kernel_version.clone(),
            architecture => format!("{} ({architecture})", info.kernel_version),
        }
    });
    vec![
        node.metadata.name.clone().unwrap_or_default(),
        condition(node),
        roles(node),
        age(node.metadata.creation_timestamp.as_ref(), now),
        info.map(|info| info.kubelet_version.clone()).unwrap_or_default(),
        address(node, "InternalIP"),
        address(node, "ExternalIP"),
        unknown(info.map(|info| info.os_image.as_str())),
        unknown(kernel.as_deref()),
        unknown(info.map(|info| info.container_runtime_version.as_str())),
    ]
}

/// Whether the node is ready, and whether it takes pods.
fn condition(node: &Node) -> String {
    let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.rfind(|condition| condition.type_ == "Ready");
    let mut text = match ready.map(|ready| ready.status.as_str()) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true)) {
        text.push_str(",SchedulingDisabled");
    }
    text
}

/// The roles that labels give the node.
pub fn roles(node: &Node) -> String {
    let labels = node.metadata.labels.iter().flatten();
    let roles: BTreeSet<&str> = labels
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None => (key == "kubernetes.io/role").then_some(value.as_str()),
        })
        .filter(|role| !role.is_empty())
        .collect();
    or_none(Some(&roles.into_iter().collect::<Vec<_>>().join(",")))
}

/// The node's first address of one sort.
fn address(node: &Node, sort: &str) -> String {
    let mut addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    let found = addresses.find(|address| address.type_ == sort);
    or_none(found.map(|address| address.address.as_str()))
}
