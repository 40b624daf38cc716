//! The description of a Pod.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus};

use super::describe::Surroundings;
use super::describe_container::containers;
use super::describe_volume::volumes;
use super::page::{Page, date};
use super::resource::Kind;
use super::table::age;

/// The page.
pub fn page(pod: &Pod, around: &Surroundings, now: Timestamp) -> Page {
    let mut page = Page::default();
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let spec = pod.spec.clone().unwrap_or_default();
    let status = pod.status.clone().unwrap_or_default();
    head(&mut page, pod, &spec, &status);
    state(&mut page, pod, &status, now);
    let first = spec.init_containers.as_deref().unwrap_or_default();
    if !first.is_empty() {
        let statuses = status.init_container_statuses.as_deref();
        containers(&mut page, "Init Containers", first, statuses, false);
    }
    let statuses = status.container_statuses.as_deref();
    containers(&mut page, "Containers", &spec.containers, statuses, false);
    let conditions = status.conditions.unwrap_or_default();
    if !conditions.is_empty() {
        page.line("Conditions:\n  Type\tStatus");
        for condition in conditions {
            page.line(format_args!("  {} \t{} ", condition.type_, condition.status));
        }
    }
    volumes(&mut page, spec.volumes.as_deref().unwrap_or_default(), false);
    page.field(0, "QoS Class", status.qos_class.unwrap_or_else(|| "<none>".to_owned()));
    page.labels(0, "Node-Selectors", spec.node_selector.as_ref());
    page.tolerations(0, spec.tolerations.as_ref());
    page.events(&around.events_of(Kind::Pod, pod.metadata.namespace.as_deref(), name), now);
    page
}

/// Who the pod is and where it runs.
fn head(page: &mut Page, pod: &Pod, spec: &PodSpec, status: &PodStatus) {
    let meta = &pod.metadata;
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    page.field(0, "Name", meta.name.as_deref().unwrap_or_default());
    page.field(0, "Namespace", meta.namespace.as_deref().unwrap_or_default());
    page.field(0, "Priority", spec.priority.unwrap_or_default());
    if let Some(class) = given(&spec.priority_class_name) {
        page.field(0, "Priority Class Name", class);
    }
    if let Some(class) = given(&spec.runtime_class_name) {
        page.field(0, "Runtime Class Name", class);
    }
    let account = given(&spec.service_account_name);
    page.field(0, "Service Account", account.as_deref().unwrap_or("default"));
    match given(&spec.node_name) {
        Some(node) => {
            page.field(
                0,
                "Node",
                format_args!("{node}/{}", given(&status.host_ip).unwrap_or_default()),
            );
        }
        None => page.field(0, "Node", "<none>"),
    }
    if status.start_time.is_some() {
        page.field(0, "Start Time", date(status.start_time.as_ref()));
    }
    page.labels(0, "Labels", meta.labels.as_ref());
    page.annotations(0, meta.annotations.as_ref());
}

/// How the pod is, its addresses and its owner.
fn state(page: &mut Page, pod: &Pod, status: &PodStatus, now: Timestamp) {
    let meta = &pod.metadata;
    let phase = status.phase.as_deref().unwrap_or_default();
    if meta.deletion_timestamp.is_some() && !matches!(phase, "Succeeded" | "Failed") {
        let lasting = age(meta.deletion_timestamp.as_ref(), now);
        page.field(0, "Status", format_args!("Terminating (lasts {lasting})"));
        let grace = meta.deletion_grace_period_seconds.unwrap_or_default();
        page.field(0, "Termination Grace Period", format_args!("{grace}s"));
    } else {
        page.field(0, "Status", phase);
    }
    for (label, text) in [("Reason", &status.reason), ("Message", &status.message)] {
        if let Some(text) = text.as_deref().filter(|text| !text.is_empty()) {
            page.field(0, label, text);
        }
    }
    page.field(0, "IP", status.pod_ip.as_deref().unwrap_or_default());
    let addresses = status.pod_ips.as_deref().unwrap_or_default();
    if addresses.is_empty() {
        page.field(0, "IPs", "<none>");
    } else {
        page.line("IPs:");
        for address in addresses {
            page.field(1, "IP", &address.ip);
        }
    }
    let owners = meta.owner_references.iter().flatten();
    for owner in owners.filter(|owner| owner.controller == Some(true)) {
        page.field(0, "Controlled By", format_args!("{}/{}", owner.kind, owner.name));
    }
}
