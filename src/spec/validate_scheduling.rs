//! Validation of what chooses nodes: selectors, affinity, tolerations, spread.

use crate::spec::{
    names,
    report::Report,
    spot::Spot,
    validate::{label_selector, labels},
};

/// Checks what of a pod spec chooses nodes.
pub fn scheduling(pod: &Spot, report: &mut Report) {
    labels(&pod.at("nodeSelector"), report);
    pod.at("nodeName")
        .check(report, |name| if name.is_empty() { Ok(()) } else { names::dns_subdomain(name) });
    let affinity = pod.at("affinity");
    node_affinity(&affinity.at("nodeAffinity"), report);
    for kind in ["podAffinity", "podAntiAffinity"] {
        pod_affinity(&affinity.at(kind), report);
    }
    for toleration in pod.at("tolerations").items() {
        self::toleration(&toleration, report);
    }
    for constraint in pod.at("topologySpreadConstraints").items() {
        constraint.at("maxSkew").within(report, 1, i64::from(i32::MAX));
        constraint.at("minDomains").within(report, 1, i64::from(i32::MAX));
        constraint.at("topologyKey").check(report, names::label_key);
        constraint.at("whenUnsatisfiable").one_of(report, &["DoNotSchedule", "ScheduleAnyway"]);
        constraint.at("nodeAffinityPolicy").one_of(report, &["Honor", "Ignore"]);
        constraint.at("nodeTaintsPolicy").one_of(report, &["Honor", "Ignore"]);
        label_selector(&constraint.at("labelSelector"), report);
    }
}

/// Checks node affinity, required and preferred.
fn node_affinity(affinity: &Spot, report: &mut Report) {
    if let Some(required) = affinity.has("requiredDuringSchedulingIgnoredDuringExecution") {
        let terms = required.at("nodeSelectorTerms");
        if terms.value.is_array() && terms.len() == 0 {
            terms.fault(report, "is empty and so matches no node", "write at least one term");
        }
        for term in terms.items() {
            self::term(&term, report);
        }
    }
    for preferred in affinity.at("preferredDuringSchedulingIgnoredDuringExecution").items() {
        preferred.at("weight").within(report, 1, 100);
        term(&preferred.at("preference"), report);
    }
}

/// Checks a term of node affinity.
fn term(term: &Spot, report: &mut Report) {
    for expression in term.at("matchExpressions").items() {
        requirement(&expression, report);
    }
    for field in term.at("matchFields").items() {
        if field.at("key").text().is_some_and(|key| key != "metadata.name") {
            field.at("key").fault(report, "is no field of a node", "write metadata.name");
        }
        field.at("operator").one_of(report, &["In", "NotIn"]);
        let values = field.at("values");
        if values.len() != 1 {
            values.fault(report, "must hold exactly one value", "write one node name");
        }
        for value in values.items() {
            value.check(report, names::dns_subdomain);
        }
    }
}

/// Checks a requirement on a node's labels.
fn requirement(requirement: &Spot, report: &mut Report) {
    requirement.at("key").check(report, names::label_key);
    let operator = requirement.at("operator");
    operator.one_of(report, &["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]);
    let values = requirement.at("values");
    match (operator.text(), values.len()) {
        (Some("In" | "NotIn"), 0) => {
            values.fault(report, "is empty", "list at least one value");
        }
        (Some("Exists" | "DoesNotExist"), 1..) => {
            values.fault(report, "has no meaning with this operator", "remove it");
        }
        (Some("Gt" | "Lt"), count) if count != 1 => {
            values.fault(report, "must hold exactly one value", "write one whole number in quotes");
        }
        _ => {}
    }
    for value in values.items() {
        value.check(report, names::label_value);
    }
}

/// Checks pod affinity, although nothing looks at it.
fn pod_affinity(affinity: &Spot, report: &mut Report) {
    let required = affinity.at("requiredDuringSchedulingIgnoredDuringExecution").items();
    let preferred = affinity.at("preferredDuringSchedulingIgnoredDuringExecution").items();
    let mut terms = required;
    for weighted in preferred {
        weighted.at("weight").within(report, 1, 100);
        terms.push(weighted.at("podAffinityTerm"));
    }
    for term in terms {
        term.at("topologyKey").check(report, names::label_key);
        label_selector(&term.at("labelSelector"), report);
        label_selector(&term.at("namespaceSelector"), report);
        for namespace in term.at("namespaces").items() {
            namespace.check(report, names::dns_label);
        }
    }
}

/// Checks a toleration.
fn toleration(toleration: &Spot, report: &mut Report) {
    let key = toleration.at("key");
    let operator = toleration.at("operator");
    let value = toleration.at("value");
    if key.text().is_some_and(|key| !key.is_empty()) {
        key.check(report, names::label_key);
    } else if operator.text() != Some("Exists") {
        operator.fault(
            report,
            "a toleration without a key needs operator Exists",
            "write Exists, or a key",
        );
    }
    operator.one_of(report, &["", "Equal", "Exists"]);
    match operator.text() {
        Some("Exists") if value.text().is_some_and(|value| !value.is_empty()) => {
            value.fault(report, "has no meaning with operator Exists", "remove it");
        }
        Some("Exists") => {}
        _ => value.check(report, names::label_value),
    }
    let effect = toleration.at("effect");
    effect.one_of(report, &["", "NoSchedule", "PreferNoSchedule", "NoExecute"]);
    if toleration.has("tolerationSeconds").is_some() && effect.text() != Some("NoExecute") {
        let remedy = "write effect: NoExecute, or remove tolerationSeconds";
        report.fault(
            &effect.path,
            effect.value,
            "must be NoExecute beside tolerationSeconds",
            remedy,
        );
    }
}
