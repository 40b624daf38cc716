//! Validation of a pod spec as a whole: what must fit together across containers and volumes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::spec::{
    names, report::Report, spot::Spot, validate_container, validate_scheduling::scheduling,
    validate_security, validate_volume,
};

/// Which of a pod's lists a container stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It runs for as long as the pod does.
    Main,
    /// It runs before the others.
    Init,
}

/// Checks a pod spec.
pub fn pod(pod: &Spot, report: &mut Report) {
    if let Some(policy) = pod.has("restartPolicy")
        && policy.text() != Some("Always")
    {
        policy.fault(
            report,
            "a DaemonSet restarts its containers always",
            "write Always, or remove it",
        );
    }
    forbidden(pod, report);
    pod.at("terminationGracePeriodSeconds").within(report, 0, i64::MAX);
    pod.at("dnsPolicy")
        .one_of(report, &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]);
    pod.at("preemptionPolicy").one_of(report, &["PreemptLowerPriority", "Never"]);
    for name in ["hostname", "subdomain"] {
        optional(&pod.at(name), report, names::dns_label);
    }
    for name in ["serviceAccountName", "priorityClassName", "runtimeClassName"] {
        optional(&pod.at(name), report, names::dns_subdomain);
    }
    pod.at("os").at("name").one_of(report, &["linux", "windows"]);
    dns(pod, report);
    aliases(pod, report);
    scheduling(pod, report);
    validate_security::pod(pod, report);
    let volumes = validate_volume::volumes(&pod.at("volumes"), report);
    containers(pod, &volumes, report);
    network(pod, report);
}

/// Checks a text that may be empty.
fn optional(spot: &Spot, report: &mut Report, rule: impl Fn(&str) -> Result<(), &'static str>) {
    if spot.text().is_some_and(|text| !text.is_empty()) {
        spot.check(report, rule);
    }
}

/// Reports fields that Kubernetes forbids in a DaemonSet's template.
fn forbidden(pod: &Spot, report: &mut Report) {
    if let Some(deadline) = pod.has("activeDeadlineSeconds") {
        deadline.fault(report, "a pod of a DaemonSet runs without end", "remove it");
    }
    let ephemeral = pod.at("ephemeralContainers");
    if ephemeral.len() > 0 {
        report.fault(&ephemeral.path, &Value::Null, "may not stand in a template", "remove it");
    }
}

/// Checks the DNS settings.
fn dns(pod: &Spot, report: &mut Report) {
    let config = pod.at("dnsConfig");
    let servers = config.at("nameservers");
    if pod.at("dnsPolicy").text() == Some("None") && servers.len() == 0 {
        servers.fault(report, "is empty, though dnsPolicy is None", "give at least one nameserver");
    }
    if servers.len() > 3 {
        servers.fault(report, "holds more than 3 nameservers", "keep three");
    }
    if config.at("searches").len() > 32 {
        config.at("searches").fault(report, "holds more than 32 domains", "keep 32");
    }
    for server in servers.items() {
        server.check(report, address);
    }
    for option in config.at("options").items() {
        if option.at("name").text().is_none_or(str::is_empty) {
            option.at("name").fault(report, "is empty", "name the option");
        }
    }
}

/// An address of IP.
fn address(text: &str) -> Result<(), &'static str> {
    text.parse::<std::net::IpAddr>()
        .map(|_| ())
        .map_err(|_| "write an address such as 10.0.0.1 or fd00::1")
}

/// Checks lines for /etc/hosts.
fn aliases(pod: &Spot, report: &mut Report) {
    for alias in pod.at("hostAliases").items() {
        alias.at("ip").check(report, address);
        for name in alias.at("hostnames").items() {
            name.check(report, names::dns_subdomain);
        }
    }
}

/// Checks the containers, alone and together.
fn containers(pod: &Spot, volumes: &BTreeSet<&str>, report: &mut Report) {
    let list = pod.at("containers");
    if list.value.is_array() && list.len() == 0 {
        list.fault(report, "is empty", "describe at least one container");
    }
    let mut seen = BTreeMap::new();
    for (field, role) in [("initContainers", Role::Init), ("containers", Role::Main)] {
        for container in pod.at(field).items() {
            let name = container.at("name");
            if let Some(text) = name.text()
                && let Some(first) = seen.insert(text, container.path.clone())
            {
                name.fault(
                    report,
                    format!("{first} has the same name"),
                    "give each container a name of its own",
                );
            }
            validate_container::container(&container, role, pod, volumes, report);
        }
    }
}

/// Checks ports against the network that the pod asks for.
fn network(pod: &Spot, report: &mut Report) {
    let shared = pod.at("hostNetwork").is_true();
    let mut seen = BTreeMap::new();
    for container in pod.at("containers").items() {
        for port in container.at("ports").items() {
            let host = port.at("hostPort");
            let inner = port.at("containerPort").number();
            if shared
                && let (Some(outer), Some(inner)) = (host.number(), inner)
                && outer != 0
                && outer != inner
            {
                let remedy = format!("write {inner}, or remove it");
                host.fault(report, "must equal containerPort with hostNetwork", remedy);
            }
            let Some(number) = host.number().filter(|number| *number != 0) else {
                continue;
            };
            let key = (
                number,
                port.at("protocol").text().unwrap_or("TCP"),
                port.at("hostIP").text().unwrap_or_default(),
            );
            if let Some(first) = seen.insert(key, host.path.clone()) {
                host.fault(report, format!("{first} takes the same port"), "take another port");
            }
        }
    }
    if !shared {
        report.warn(
            &pod.at("hostNetwork").path,
            pod.at("hostNetwork").value,
            "pods with a network of their own are not started in this version; this one waits with NetworkNotReady",
            "write hostNetwork: true if the pod may use the host's network",
        );
    }
}
