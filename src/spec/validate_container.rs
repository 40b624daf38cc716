//! Validation of one container.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::spec::{
    names,
    report::Report,
    spot::Spot,
    validate_pod::Role,
    validate_probe::{hooks, probes},
    validate_restart::restarts,
    validate_security, validate_values,
};

/// Checks one container; `volumes` are the names that it may mount.
pub fn container(
    container: &Spot,
    role: Role,
    pod: &Spot,
    volumes: &BTreeSet<&str>,
    report: &mut Report,
) {
    container.at("name").check(report, names::dns_label);
    image(container, report);
    container.at("imagePullPolicy").one_of(report, &["Always", "IfNotPresent", "Never"]);
    container.at("terminationMessagePolicy").one_of(report, &["File", "FallbackToLogsOnError"]);
    restarts(container, report);
    validate_values::environment(container, report);
    ports(&container.at("ports"), report);
    resources(&container.at("resources"), report);
    mounts(container, volumes, report);
    validate_security::container(container, report);
    let sidecar = container.at("restartPolicy").text() == Some("Always");
    if role == Role::Init && !sidecar {
        for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            if let Some(found) = container.has(field) {
                found.fault(
                    report,
                    "may not stand on an init container",
                    "remove it, or write restartPolicy: Always",
                );
            }
        }
    }
    probes(container, report);
    hooks(container, pod, report);
    for policy in container.at("resizePolicy").items() {
        policy.at("resourceName").one_of(report, &["cpu", "memory"]);
        policy.at("restartPolicy").one_of(report, &["NotRequired", "RestartContainer"]);
    }
}

/// Checks the image.
fn image(container: &Spot, report: &mut Report) {
    match container.has("image") {
        Some(image) => match image.text() {
            Some(text) if text.trim() != text => {
                image.fault(report, "has blanks around it", "remove them");
            }
            Some("") => image.check(report, names::image),
            // What no image can be called is refused by the table: Kubernetes takes it.
            _ => {}
        },
        None => container.at("image").fault(
            report,
            "required field is missing",
            "give a reference such as docker.io/library/busybox:1.36",
        ),
    }
}

/// Reports an object that has not exactly one of its fields.
pub fn exactly_one(spot: &Spot, noun: &str, report: &mut Report) {
    let Some(fields) = spot.value.as_object() else {
        return;
    };
    if fields.len() != 1 {
        let names: Vec<&str> = fields.keys().map(String::as_str).collect();
        let problem = if names.is_empty() {
            format!("has no {noun}")
        } else {
            format!("has more than one {noun}: {}", names.join(", "))
        };
        report.fault(&spot.path, &Value::Null, problem, format!("write exactly one {noun}"));
    }
}

/// Reports an object that has not exactly one of the named fields.
pub fn exactly_one_of(spot: &Spot, names: &[&str], report: &mut Report) {
    let found: Vec<&&str> = names.iter().filter(|name| spot.has(name).is_some()).collect();
    if found.len() != 1 && spot.value.is_object() {
        let problem = if found.is_empty() {
            "has none of its choices"
        } else {
            "has more than one of its choices"
        };
        let remedy = format!("write exactly one of {}", names.join(", "));
        report.fault(&spot.path, &Value::Null, problem, remedy);
    }
}

/// Checks ports.
fn ports(ports: &Spot, report: &mut Report) {
    let mut named = BTreeMap::new();
    for port in ports.items() {
        port.at("containerPort").within(report, 1, 65535);
        if port.at("hostPort").number() != Some(0) {
            port.at("hostPort").within(report, 1, 65535);
        }
        port.at("protocol").one_of(report, &["TCP", "UDP", "SCTP"]);
        let name = port.at("name");
        if let Some(text) = name.text().filter(|text| !text.is_empty()) {
            name.check(report, names::port_name);
            if let Some(first) = named.insert(text, port.path.clone()) {
                name.fault(
                    report,
                    format!("{first} has the same name"),
                    "give each port a name of its own",
                );
            }
        }
    }
}

/// Checks requests and limits.
fn resources(resources: &Spot, report: &mut Report) {
    for (field, other) in [("limits", None), ("requests", Some(resources.at("limits")))] {
        for (name, amount) in resources.at(field).entries() {
            resource_name(name, &amount, report);
            quantity(&amount, report);
            let Some(limit) = other.as_ref().and_then(|limits| limits.has(name)) else {
                continue;
            };
            let (Some(asked), Some(most)) = (amount.amount(), limit.amount()) else {
                continue;
            };
            if asked > most {
                let remedy = format!("write at most {}", limit.text().unwrap_or_default());
                amount.fault(report, "is more than the limit", remedy);
            } else if asked != most && !["cpu", "memory", "ephemeral-storage"].contains(&name) {
                amount.fault(
                    report,
                    "must equal the limit for this resource",
                    "write the same amount",
                );
            }
        }
    }
}

/// Checks the name of a resource.
fn resource_name(name: &str, amount: &Spot, report: &mut Report) {
    let standard = ["cpu", "memory", "ephemeral-storage"].contains(&name);
    if standard || name.starts_with("hugepages-") {
        return;
    }
    if !name.contains('/') {
        let remedy = "write cpu, memory, ephemeral-storage, hugepages-SIZE or a name with a domain such as example.com/device";
        amount.fault(report, "is no resource of a container", remedy);
    } else if let Err(remedy) = names::label_key(name) {
        amount.fault(report, "the name is not well-formed", remedy);
    } else if amount.amount().is_some_and(|count| count.milli() % 1000 != 0) {
        amount.fault(report, "is no whole number", "devices are counted whole");
    }
}

/// Checks a quantity.
pub fn quantity(spot: &Spot, report: &mut Report) {
    match (spot.text(), spot.amount()) {
        (Some(_), None) => {
            let remedy = "write a number with an optional suffix, such as 100m, 2, 64Mi or 1e3";
            spot.fault(report, "is not a quantity", remedy);
        }
        (_, Some(amount)) if amount.is_negative() => {
            spot.fault(report, "is negative", "write 0 or more");
        }
        _ => {}
    }
}

/// Checks mounts.
fn mounts(container: &Spot, volumes: &BTreeSet<&str>, report: &mut Report) {
    let mut paths = BTreeMap::new();
    for mount in container.at("volumeMounts").items() {
        let name = mount.at("name");
        if let Some(text) = name.text()
            && !volumes.contains(text)
        {
            let remedy = if volumes.is_empty() {
                "add it to spec.template.spec.volumes".to_owned()
            } else {
                let known: Vec<&str> = volumes.iter().copied().take(20).collect();
                format!("name one of {}, or add it to spec.template.spec.volumes", known.join(", "))
            };
            name.fault(report, "no such volume", remedy);
        }
        mount_path(&mount, &mut paths, report);
        propagation(container, &mount, report);
    }
}

/// Checks where a volume is mounted.
fn mount_path<'a>(mount: &Spot<'a>, paths: &mut BTreeMap<&'a str, String>, report: &mut Report) {
    let path = mount.at("mountPath");
    match path.text() {
        Some("") => path.fault(report, "is empty", "write an absolute path"),
        Some(text) => {
            if let Some(first) = paths.insert(text, mount.path.clone()) {
                path.fault(
                    report,
                    format!("{first} is mounted there too"),
                    "mount each volume at a path of its own",
                );
            }
        }
        None => {}
    }
    for field in ["subPath", "subPathExpr"] {
        mount.at(field).check(report, names::relative_path);
    }
    let given = |field: &str| mount.at(field).text().is_some_and(|text| !text.is_empty());
    if given("subPath") && given("subPathExpr") {
        mount.at("subPathExpr").fault(report, "stands beside subPath", "keep one of the two");
    }
}

/// Checks propagation, and read-only mounts that go all the way down.
fn propagation(container: &Spot, mount: &Spot, report: &mut Report) {
    let propagation = mount.at("mountPropagation");
    propagation.one_of(report, &["None", "HostToContainer", "Bidirectional"]);
    let privileged = container.at("securityContext").at("privileged").is_true();
    if propagation.text() == Some("Bidirectional") && !privileged {
        let remedy =
            "write privileged: true in the container's securityContext, or HostToContainer here";
        propagation.fault(report, "needs a privileged container", remedy);
    }
    let recursive = mount.at("recursiveReadOnly");
    recursive.one_of(report, &["Disabled", "IfPossible", "Enabled"]);
    if matches!(recursive.text(), Some("IfPossible" | "Enabled")) {
        if !mount.at("readOnly").is_true() {
            recursive.fault(report, "needs a mount that is read-only", "write readOnly: true");
        }
        if !matches!(propagation.text(), None | Some("None")) {
            recursive.fault(report, "excludes mountPropagation", "remove mountPropagation");
        }
    }
}
