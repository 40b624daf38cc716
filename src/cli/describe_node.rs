//! The description of a Node.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeSystemInfo, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::base::quantity::Amount;

use super::describe::Surroundings;
use super::node_row::roles;
use super::page::{Page, date, taint};
use super::resource::Kind;
use super::table::age;

/// The page.
pub fn page(node: &Node, around: &Surroundings, now: Timestamp) -> Page {
    let mut page = Page::default();
    let meta = &node.metadata;
    let name = meta.name.as_deref().unwrap_or_default();
    let spec = node.spec.clone().unwrap_or_default();
    let status = node.status.clone().unwrap_or_default();
    page.field(0, "Name", name);
    page.field(0, "Roles", roles(node));
    page.labels(0, "Labels", meta.labels.as_ref());
    page.annotations(0, meta.annotations.as_ref());
    page.field(0, "CreationTimestamp", date(meta.creation_timestamp.as_ref()));
    let mut taints = spec.taints.unwrap_or_default();
    taints.sort_unstable_by(|a, b| (&a.effect, &a.key).cmp(&(&b.effect, &b.key)));
    page.many(0, "Taints", &taints.iter().map(taint).collect::<Vec<_>>());
    page.field(0, "Unschedulable", spec.unschedulable.unwrap_or_default());
    conditions(&mut page, node);
    page.line("Addresses:");
    for address in status.addresses.iter().flatten() {
        page.field(1, &address.type_, &address.address);
    }
    for (title, amounts) in [("Capacity", &status.capacity), ("Allocatable", &status.allocatable)] {
        let amounts = amounts.iter().flatten();
        page.line(format_args!("{title}:"));
        for (name, Quantity(amount)) in amounts {
            page.field(1, name, amount);
        }
    }
    if let Some(info) = &status.node_info {
        system(&mut page, info);
    }
    let pods: Vec<&Pod> = around.pods.iter().filter(|pod| runs_on(pod, name)).collect();
    let allocatable = status.allocatable.as_ref().or(status.capacity.as_ref());
    self::pods(&mut page, &pods, allocatable.unwrap_or(&BTreeMap::new()), now);
    let turns = around.turns.iter().flatten().filter(|[node, ..]| node == name);
    let turns: Vec<String> = turns.map(|[_, set, turn]| format!("{set}: {turn}")).collect();
    if !turns.is_empty() {
        page.many(0, "Turns", &turns);
    }
    page.events(&around.events_of(Kind::Node, None, name), now);
    page
}

/// The table of conditions.
fn conditions(page: &mut Page, node: &Node) {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut begun = false;
    for condition in conditions {
        if !std::mem::replace(&mut begun, true) {
            page.line("Conditions:");
            page.line("  Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage");
            page.line("  ----\t------\t-----------------\t------------------\t------\t-------");
        }
        page.line(format_args!(
            "  {} \t{} \t{} \t{} \t{} \t{} ",
            condition.type_,
            condition.status,
            date(condition.last_heartbeat_time.as_ref()),
            date(condition.last_transition_time.as_ref()),
            condition.reason.as_deref().unwrap_or_default(),
            condition.message.as_deref().unwrap_or_default(),
        ));
    }
}

/// What the host is.
fn system(page: &mut Page, info: &NodeSystemInfo) {
    page.line("System Info:");
    for (label, text) in [
        ("Machine ID", &info.machine_id),
        ("System UUID", &info.system_uuid),
        ("Boot ID", &info.boot_id),
        ("Kernel Version", &info.kernel_version),
        ("OS Image", &info.os_image),
        ("Operating System", &info.operating_system),
        ("Architecture", &info.architecture),
        ("Container Runtime Version", &info.container_runtime_version),
        ("Kubelet Version", &info.kubelet_version),
    ] {
        page.field(1, label, text);
    }
}

/// Whether a pod uses this node's resources.
fn runs_on(pod: &Pod, node: &str) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node)
        && !matches!(phase, Some("Succeeded" | "Failed"))
}

/// CPU in thousandths and memory in bytes.
type Use = [i64; 2];

/// What the containers of a pod ask for, and what they may use. An init container runs alone, so
/// the larger of it and of the sum of the others counts.
fn uses(pod: &Pod, limits: bool) -> Use {
    let one = |container: &k8s_openapi::api::core::v1::Container| -> Use {
        let resources = container.resources.clone().unwrap_or_default();
        let asked = if limits { resources.limits } else { resources.requests };
        let amount = |name| {
            let Quantity(text) = asked.as_ref()?.get(name)?;
            Amount::parse(text).ok()
        };
        [amount("cpu").map_or(0, Amount::milli), amount("memory").map_or(0, Amount::value)]
    };
    let Some(spec) = pod.spec.as_ref() else {
        return [0, 0];
    };
    let sum = |a: Use, b: Use| [a[0] + b[0], a[1] + b[1]];
    let first = spec.init_containers.as_deref().unwrap_or_default();
    let (beside, before): (Vec<_>, Vec<_>) =
        first.iter().partition(|container| container.restart_policy.as_deref() == Some("Always"));
    let together = spec.containers.iter().chain(beside).map(one).fold([0, 0], sum);
    before.into_iter().map(one).fold(together, |a, b| [a[0].max(b[0]), a[1].max(b[1])])
}

/// The tables of pods and of what they use altogether.
fn pods(page: &mut Page, pods: &[&Pod], allocatable: &BTreeMap<String, Quantity>, now: Timestamp) {
    let whole = |name: &str| {
        let Quantity(text) = allocatable.get(name)?;
        Amount::parse(text).ok()
    };
    let whole = [whole("cpu").map_or(0, Amount::milli), whole("memory").map_or(0, Amount::value)];
    page.line(format_args!("Non-terminated Pods:\t({} in total)", pods.len()));
    page.line("  Namespace\tName\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge");
    page.line("  ---------\t----\t------------\t----------\t---------------\t-------------\t---");
    let mut sums: [Use; 2] = [[0, 0]; 2];
    for pod in pods {
        let (requests, limits) = (uses(pod, false), uses(pod, true));
        for (sum, used) in sums.iter_mut().zip([requests, limits]) {
            *sum = [sum[0] + used[0], sum[1] + used[1]];
        }
        page.line(format_args!(
            "  {}\t{}\t{}\t{}\t{}\t{}\t{}",
            pod.metadata.namespace.as_deref().unwrap_or_default(),
            pod.metadata.name.as_deref().unwrap_or_default(),
            cpu(requests[0], whole[0]),
            cpu(limits[0], whole[0]),
            memory(requests[1], whole[1]),
            memory(limits[1], whole[1]),
            age(pod.metadata.creation_timestamp.as_ref(), now),
        ));
    }
    page.line("Allocated resources:");
    page.line("  (Total limits may be over 100 percent, i.e., overcommitted.)");
    page.line("  Resource\tRequests\tLimits\n  --------\t--------\t------");
    let [requests, limits] = sums;
    page.line(format_args!("  cpu\t{}\t{}", cpu(requests[0], whole[0]), cpu(limits[0], whole[0])));
    page.line(format_args!(
        "  memory\t{}\t{}",
        memory(requests[1], whole[1]),
        memory(limits[1], whole[1])
    ));
}

/// CPU and its share of the node.
fn cpu(milli: i64, whole: i64) -> String {
    let amount = if milli % 1000 == 0 { (milli / 1000).to_string() } else { format!("{milli}m") };
    format!("{amount} ({}%)", percent(milli, whole))
}

/// Memory and its share of the node.
fn memory(bytes: i64, whole: i64) -> String {
    let units = [(1_i64 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")];
    let unit = units.into_iter().find(|(size, _)| bytes != 0 && bytes % size == 0);
    let (size, name) = unit.unwrap_or((1, ""));
    format!("{}{name} ({}%)", bytes / size, percent(bytes, whole))
}

/// A share in whole percent.
fn percent(part: i64, whole: i64) -> i64 {
    if whole > 0 {
        i64::try_from(i128::from(part) * 100 / i128::from(whole)).unwrap_or(i64::MAX)
    } else {
        0
    }
}
