//! The description of a DaemonSet.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};

use crate::fleet::rollout_summary::Summary;

use super::daemon_set_row::selector;
use super::describe::Surroundings;
use super::describe_container::containers;
use super::describe_volume::volumes;
use super::page::Page;
use super::resource::Kind;

/// The page.
pub fn page(set: &DaemonSet, around: &Surroundings, rollout: &Summary, now: Timestamp) -> Page {
    let mut page = Page::default();
    let meta = &set.metadata;
    let name = meta.name.as_deref().unwrap_or_default();
    let namespace = meta.namespace.as_deref();
    let spec = set.spec.clone().unwrap_or_default();
    let status = set.status.clone().unwrap_or_default();
    page.field(0, "Name", name);
    page.field(0, "Namespace", namespace.unwrap_or_default());
    page.field(0, "Selector", selector(&spec.selector));
    let pod = spec.template.spec.as_ref();
    let node_selector = pod.and_then(|pod| pod.node_selector.as_ref());
    let node_selector = node_selector.into_iter().flatten();
    let node_selector: Vec<String> =
        node_selector.map(|(key, value)| format!("{key}={value}")).collect();
    match node_selector.as_slice() {
        [] => page.field(0, "Node-Selector", "<none>"),
        pairs => page.field(0, "Node-Selector", pairs.join(",")),
    }
    page.labels(0, "Labels", meta.labels.as_ref());
    page.annotations(0, meta.annotations.as_ref());
    let number = |number: Option<i32>| number.unwrap_or_default();
    for (what, count) in [
        ("Desired Number of Nodes Scheduled", status.desired_number_scheduled),
        ("Current Number of Nodes Scheduled", status.current_number_scheduled),
        ("Number of Nodes Scheduled with Up-to-date Pods", number(status.updated_number_scheduled)),
        ("Number of Nodes Scheduled with Available Pods", number(status.number_available)),
        ("Number of Nodes Misscheduled", status.number_misscheduled),
    ] {
        page.line(format_args!("{what}: {count}"));
    }
    let count = |phase| around.pods.iter().filter(|pod| owned(pod, set) && is(pod, phase)).count();
    page.line(format_args!(
        "Pods Status:\t{} Running / {} Waiting / {} Succeeded / {} Failed",
        count("Running"),
        count("Pending"),
        count("Succeeded"),
        count("Failed")
    ));
    if !rollout.is_empty() {
        page.line("Rollout:");
    }
    for (label, lines) in rollout {
        page.many(1, label, lines);
    }
    template(&mut page, &spec.template);
    page.events(&around.events_of(Kind::DaemonSet, namespace, name), now);
    page
}

/// Whether the pod belongs to the set.
fn owned(pod: &Pod, set: &DaemonSet) -> bool {
    let owners = pod.metadata.owner_references.iter().flatten();
    pod.metadata.namespace == set.metadata.namespace
        && owners.filter(|owner| owner.kind == "DaemonSet").any(|owner| {
            match set.metadata.uid.as_deref() {
                Some(uid) => owner.uid == uid,
                None => Some(&owner.name) == set.metadata.name.as_ref(),
            }
        })
}

/// Whether the pod is in a phase.
fn is(pod: &Pod, phase: &str) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some(phase)
}

/// The pod template.
pub fn template(page: &mut Page, template: &PodTemplateSpec) {
    let meta = template.metadata.clone().unwrap_or_default();
    let spec = template.spec.clone().unwrap_or_default();
    page.line("Pod Template:");
    page.labels(1, "Labels", meta.labels.as_ref());
    if meta.annotations.as_ref().is_some_and(|annotations| !annotations.is_empty()) {
        page.annotations(1, meta.annotations.as_ref());
    }
    if let Some(account) = spec.service_account_name.as_deref().filter(|name| !name.is_empty()) {
        page.field(1, "Service Account", account);
    }
    let first = spec.init_containers.unwrap_or_default();
    if !first.is_empty() {
        containers(page, "Init Containers", &first, None, true);
    }
    containers(page, "Containers", &spec.containers, None, true);
    volumes(page, spec.volumes.as_deref().unwrap_or_default(), true);
    let spread = spec.topology_spread_constraints.unwrap_or_default();
    if !spread.is_empty() {
        let spread: Vec<String> = spread
            .iter()
            .map(|one| {
                format!(
                    "{}:{} when max skew {} is exceeded",
                    one.topology_key, one.when_unsatisfiable, one.max_skew
                )
            })
            .collect();
        page.many(1, "Topology Spread Constraints", &spread);
    }
    if let Some(class) = spec.priority_class_name.as_deref().filter(|name| !name.is_empty()) {
        page.field(1, "Priority Class Name", class);
    }
    page.labels(1, "Node-Selectors", spec.node_selector.as_ref());
    page.tolerations(1, spec.tolerations.as_ref());
}
