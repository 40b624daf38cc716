//! What Kubernetes would refuse in a node's name, labels and taints, each with its remedy.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Taint;

use crate::base::fault::Fault;
use crate::base::nearest::nearest;
use crate::node::syntax::{key_problem, subdomain_problem, value_problem};

/// The effects that a taint may have.
pub const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// The fault of a node document that names no node.
pub fn missing_name(origin: &str) -> Fault {
    fault(
        origin,
        "metadata.name".into(),
        "",
        "missing, and a node is known by its name",
        "write the node's name, such as `name: host-1`",
    )
}

/// The faults of a node's name, which stands at `path` of `origin`.
pub fn faults_of_name(origin: &str, path: &str, name: &str) -> Vec<Fault> {
    let problem = subdomain_problem(name);
    let remedy = "choose a name such as `host-1` or `host-1.example.com`";
    problem.map(|problem| fault(origin, path.into(), name, problem, remedy)).into_iter().collect()
}

/// The faults of labels, which stand at `path` of `origin`.
pub fn faults_of_labels(origin: &str, path: &str, labels: &BTreeMap<String, String>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (key, value) in labels {
        if let Some(problem) = key_problem(key) {
            let remedy = "write a key such as `disktype` or `example.com/disktype`";
            faults.push(fault(origin, path.into(), key, problem, remedy));
        }
        if let Some(problem) = value_problem(value) {
            let remedy = "write a value such as `ssd`, or leave it empty";
            faults.push(fault(origin, format!("{path}[{key}]"), value, problem, remedy));
        }
    }
    faults
}

/// The faults of taints, which stand at `path` of `origin`.
pub fn faults_of_taints(origin: &str, path: &str, taints: &[Taint]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, taint) in taints.iter().enumerate() {
        let at = |field: &str| format!("{path}[{index}].{field}");
        let value = taint.value.as_deref().unwrap_or_default();
        if let Some(problem) = key_problem(&taint.key) {
            let remedy = "write a key such as `dedicated` or `example.com/dedicated`";
            faults.push(fault(origin, at("key"), &taint.key, problem, remedy));
        }
        if let Some(problem) = value_problem(value) {
            let remedy = "write a value such as `gpu`, or leave it out";
            faults.push(fault(origin, at("value"), value, problem, remedy));
        }
        if !EFFECTS.contains(&taint.effect.as_str()) {
            let remedy = effect_remedy(&taint.effect);
            let problem = "not an effect that a taint can have";
            faults.push(fault(origin, at("effect"), &taint.effect, problem, &remedy));
        }
        if !seen.insert((&taint.key, &taint.effect)) {
            let problem = "a second taint with the same key and effect";
            let shown = format!("{}:{}", taint.key, taint.effect);
            let remedy = "keep one of them";
            faults.push(fault(origin, format!("{path}[{index}]"), &shown, problem, remedy));
        }
    }
    faults
}

/// What to write in place of an effect that is none.
fn effect_remedy(effect: &str) -> String {
    match nearest(effect, EFFECTS) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("write one of {}", EFFECTS.join(", ")),
    }
}

/// One fault of a field.
fn fault(origin: &str, path: String, value: &str, problem: &str, remedy: &str) -> Fault {
    Fault { path, value: format!("{value:?}"), ..Fault::of_file(origin, problem, remedy) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A taint from its three parts.
    fn taint(key: &str, value: &str, effect: &str) -> Taint {
        Taint {
            key: key.into(),
            value: Some(value.into()),
            effect: effect.into(),
            time_added: None,
        }
    }

    #[test]
    fn legal_labels_and_taints_have_no_faults() {
        let labels = BTreeMap::from([("a.io/b".to_owned(), String::new())]);
        assert_eq!(faults_of_labels("c.yaml", "node.labels", &labels), []);
        let taints = [taint("a", "b", "NoSchedule"), taint("a", "", "NoExecute")];
        assert_eq!(faults_of_taints("c.yaml", "node.taints", &taints), []);
    }

    #[test]
    fn each_fault_names_the_field_the_value_and_the_remedy() {
        let labels = BTreeMap::from([("a b".to_owned(), "-1".to_owned())]);
        let faults = faults_of_labels("c.yaml", "node.labels", &labels);
        assert_eq!(faults.len(), 2);
        assert!(faults[1].to_string().starts_with("c.yaml: node.labels[a b]: \"-1\": "));
        let taints =
            [taint("a", "", "noSchedule"), taint("a", "", "noSchedule"), taint("", "é", "x")];
        let faults = faults_of_taints("c.yaml", "node.taints", &taints);
        let paths: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "node.taints[0].effect",
                "node.taints[1].effect",
                "node.taints[1]",
                "node.taints[2].key",
                "node.taints[2].value",
                "node.taints[2].effect",
            ]
        );
        assert_eq!(faults[0].remedy, "did you mean `NoSchedule`?");
    }
}
