//! Validation of a set around its pods: metadata, selector, update strategy.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::spec::{names, report::Report, rollout, spot::Spot, validate_pod};

/// Checks a defaulted DaemonSet and reports all that Kubernetes would refuse.
pub fn validate(object: &Value, report: &mut Report) {
    let root = Spot::root(object);
    metadata(&root.at("metadata"), "name the set", report);
    let spec = root.at("spec");
    if spec.value.is_null() {
        let remedy = "describe the set with a selector and a template";
        spec.fault(report, "required field is missing", remedy);
        return;
    }
    spec.at("minReadySeconds").within(report, 0, i64::from(i32::MAX));
    spec.at("revisionHistoryLimit").within(report, 0, i64::from(i32::MAX));
    strategy(&spec.at("updateStrategy"), report);
    rollout::check(&root.at("metadata").at("annotations"), report);
    surge(&spec, report);
    let template = spec.at("template");
    selector(&spec.at("selector"), &template.at("metadata").at("labels"), report);
    if spec.has("template").is_some() {
        labels_and_annotations(&template.at("metadata"), report);
        if let Some(pod) = template.has("spec") {
            validate_pod::pod(&pod, report);
        } else {
            report.fault(
                &template.at("spec").path,
                &Value::Null,
                "required field is missing",
                "describe the pod with at least one container",
            );
        }
    }
}

/// Checks the metadata of a set or object; `remedy` is for one without a name.
pub fn metadata(metadata: &Spot, remedy: &str, report: &mut Report) {
    if metadata.value.is_null() {
        return;
    }
    match metadata.has("name") {
        Some(name) => name.check(report, names::dns_subdomain),
        None => metadata.at("name").fault(report, "required field is missing", remedy),
    }
    metadata.at("namespace").check(report, names::dns_label);
    labels_and_annotations(metadata, report);
}

/// The most that all annotations of an object may hold.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Checks labels and annotations.
fn labels_and_annotations(metadata: &Spot, report: &mut Report) {
    labels(&metadata.at("labels"), report);
    let annotations = metadata.at("annotations");
    let mut size = 0;
    for (key, value) in annotations.entries() {
        if let Err(remedy) = names::annotation_key(key) {
            value.fault(report, "the key is not well-formed", remedy);
        }
        size += key.len() + value.text().map_or(0, str::len);
    }
    if size > MAX_ANNOTATIONS {
        let problem = format!("hold {size} bytes, more than {MAX_ANNOTATIONS}");
        report.fault(&annotations.path, &Value::Null, problem, "write less");
    }
}

/// Checks a map of labels.
pub fn labels(labels: &Spot, report: &mut Report) {
    for (key, value) in labels.entries() {
        if let Err(remedy) = names::label_key(key) {
            value.fault(report, "the key is not well-formed", remedy);
        }
        value.check(report, names::label_value);
    }
}

/// Checks the selector, and that it selects the set's own pods.
fn selector(selector: &Spot, labels: &Spot, report: &mut Report) {
    if !selector.value.is_object() {
        return;
    }
    let before = report.faults.len();
    if selector.at("matchLabels").len() + selector.at("matchExpressions").len() == 0 {
        // What is of the wrong type was taken out, and told already.
        if report.holds_broken(&selector.path) {
            return;
        }
        selector.fault(report, "is empty", "select the labels of spec.template.metadata.labels");
        return;
    }
    label_selector(selector, report);
    // A selector with faults of its own says nothing about the labels yet.
    if report.faults.len() > before
        || report.is_broken(&labels.path)
        || report.holds_broken(&labels.path)
    {
        return;
    }
    let have: BTreeMap<&str, &str> = labels
        .entries()
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.text()?)))
        .collect();
    for (key, wanted) in selector.at("matchLabels").entries() {
        if have.get(key).copied() != wanted.text() {
            let remedy = format!("write the same value at spec.template.metadata.labels.{key}");
            wanted.fault(report, "does not match the labels of the template", remedy);
        }
    }
    for requirement in selector.at("matchExpressions").items() {
        if !holds(&requirement, &have) {
            requirement.fault(
                report,
                "does not match the labels of the template",
                "change it or spec.template.metadata.labels",
            );
        }
    }
}

/// Whether labels meet one requirement.
fn holds(requirement: &Spot, have: &BTreeMap<&str, &str>) -> bool {
    let Some(key) = requirement.at("key").text() else {
        return true;
    };
    let values = requirement.at("values");
    let listed = |value: &str| values.items().iter().any(|item| item.text() == Some(value));
    match (requirement.at("operator").text(), have.get(key)) {
        (Some("In"), Some(value)) => listed(value),
        (Some("NotIn"), Some(value)) => !listed(value),
        (Some("Exists"), value) => value.is_some(),
        (Some("DoesNotExist"), value) => value.is_none(),
        (Some("In"), None) => false,
        _ => true,
    }
}

/// Checks the form of a label selector.
pub fn label_selector(selector: &Spot, report: &mut Report) {
    labels(&selector.at("matchLabels"), report);
    for requirement in selector.at("matchExpressions").items() {
        requirement.at("key").check(report, names::label_key);
        let operator = requirement.at("operator");
        operator.one_of(report, &["In", "NotIn", "Exists", "DoesNotExist"]);
        let values = requirement.at("values");
        match operator.text() {
            Some("In" | "NotIn") if values.len() == 0 => {
                values.fault(report, "is empty", "list at least one value");
            }
            Some("Exists" | "DoesNotExist") if values.len() > 0 => {
                values.fault(report, "has no meaning with this operator", "remove it");
            }
            _ => {}
        }
        for value in values.items() {
            value.check(report, names::label_value);
        }
    }
}

/// Checks the update strategy.
fn strategy(strategy: &Spot, report: &mut Report) {
    strategy.at("type").one_of(report, &["RollingUpdate", "OnDelete"]);
    let rolling = strategy.at("rollingUpdate");
    if strategy.at("type").text() != Some("RollingUpdate") || rolling.value.is_null() {
        return;
    }
    let unavailable = share(&rolling.at("maxUnavailable"), report);
    let surge = share(&rolling.at("maxSurge"), report);
    match (unavailable, surge) {
        (Some(0), Some(0)) => rolling.at("maxUnavailable").fault(
            report,
            "cannot be 0 when maxSurge is 0",
            "write 1 or more at one of the two",
        ),
        (Some(unavailable), Some(surge)) if unavailable > 0 && surge > 0 => {
            rolling.at("maxSurge").fault(
                report,
                "may not be set when maxUnavailable is non-zero (it is 1 when left out)",
                "write maxUnavailable: 0 beside it, or leave maxSurge out",
            );
        }
        _ => {}
    }
}

/// Checks that a new pod can run beside the old one: two that want the same port of the host cannot.
fn surge(spec: &Spot, report: &mut Report) {
    let surge = spec.at("updateStrategy").at("rollingUpdate").at("maxSurge");
    let none = match (surge.number(), surge.text()) {
        (Some(count), _) => count == 0,
        (_, Some(share)) => share.trim_end_matches('%').parse() == Ok(0),
        (None, None) => true,
    };
    if none || spec.at("updateStrategy").at("type").text() == Some("OnDelete") {
        return;
    }
    let pod = spec.at("template").at("spec");
    let host = pod.at("hostNetwork").is_true();
    for container in pod.at("containers").items() {
        for port in container.at("ports").items() {
            let number = port.at("hostPort").number().or(port.at("containerPort").number());
            if host || port.at("hostPort").number().is_some_and(|port| port != 0) {
                surge.fault(
                    report,
                    format!(
                        "the new pod cannot start beside the old one: both want port {} of the host ({})",
                        number.unwrap_or(0),
                        port.path
                    ),
                    "write maxUnavailable instead of maxSurge",
                );
                return;
            }
        }
    }
}

/// A count or percentage of nodes, when it is well-formed.
fn share(spot: &Spot, report: &mut Report) -> Option<i64> {
    let number = match spot.text() {
        None => spot.number()?,
        Some(text) => {
            let digits = text.strip_suffix('%').filter(|digits| {
                !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
            });
            match digits.and_then(|digits| digits.parse().ok()) {
                Some(percent) if percent <= 100 => percent,
                Some(_) => {
                    spot.fault(report, "is more than all nodes", "write at most 100%");
                    return None;
                }
                None => {
                    let remedy = "write a number such as 1, or a percentage such as 10%";
                    spot.fault(report, "is neither a number nor a percentage", remedy);
                    return None;
                }
            }
        }
    };
    spot.within(report, 0, i64::from(i32::MAX));
    (number >= 0).then_some(number)
}
