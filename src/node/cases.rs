//! The hand-written table of eligibility: `tests/fixtures/eligibility`.

use serde_json::{Value, json};

use crate::node::oracle;
use crate::node::properties::{answer, verdict};

/// The files of the table.
const TABLE: [(&str, &str); 5] = [
    ("placement", include_str!("../../tests/fixtures/eligibility/placement.yaml")),
    ("terms", include_str!("../../tests/fixtures/eligibility/terms.yaml")),
    ("expressions", include_str!("../../tests/fixtures/eligibility/expressions.yaml")),
    ("taints", include_str!("../../tests/fixtures/eligibility/taints.yaml")),
    ("eviction", include_str!("../../tests/fixtures/eligibility/eviction.yaml")),
];

/// One line of the table, spelled out.
#[derive(Debug)]
pub struct Case {
    /// The file and the rule.
    pub name: String,
    /// The pod template's spec.
    pub spec: Value,
    /// The v1 Node.
    pub node: Value,
    /// The answer of Kubernetes.
    pub wanted: oracle::Answer,
}

/// The whole table.
pub fn table() -> Vec<Case> {
    let read = |(file, text): &(&str, &str)| {
        let lines: Vec<Value> = serde_saphyr::from_str(text).unwrap();
        lines.into_iter().map(|line| case(file, line)).collect::<Vec<_>>()
    };
    TABLE.iter().flat_map(read).collect()
}

/// Spells one line out.
fn case(file: &str, mut line: Value) -> Case {
    let name = format!("{file}: {}", line["name"].as_str().unwrap());
    let mut spec = line["spec"].take();
    if let Some(terms) = line.get("terms") {
        spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
            json!({ "nodeSelectorTerms": terms });
    }
    if let Some(tolerations) = line.get("tolerations") {
        spec["tolerations"] = tolerations.clone();
    }
    let taints: Vec<Value> = line["taints"].as_array().into_iter().flatten().map(taint).collect();
    let wanted = match line["want"].as_str() {
        Some("run") => (true, true),
        Some("keep") => (false, true),
        Some("stop") => (false, false),
        other => panic!("{name}: want {other:?}"),
    };
    let known = ["name", "spec", "terms", "tolerations", "labels", "taints", "want", "evict"];
    for field in line.as_object().unwrap().keys() {
        assert!(known.contains(&field.as_str()), "{name}: no field {field}");
    }
    Case {
        node: json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "n1", "labels": line["labels"]},
            "spec": {"taints": taints},
        }),
        spec: if spec.is_null() { json!({}) } else { spec },
        wanted: (wanted.0, wanted.1, line["evict"].as_u64()),
        name,
    }
}

/// A taint written as kubectl does, or as an object.
fn taint(written: &Value) -> Value {
    let Some(text) = written.as_str() else {
        return written.clone();
    };
    let (what, effect) = text.rsplit_once(':').unwrap();
    match what.split_once('=') {
        Some((key, value)) => json!({"key": key, "value": value, "effect": effect}),
        None => json!({"key": what, "effect": effect}),
    }
}

/// A spec as the API server decodes it: null elements of lists and maps are empty ones.
fn without_nulls(mut spec: Value) -> Value {
    fn fill(value: &mut Value, filler: &Value) {
        match value {
            Value::Array(list) => {
                list.iter_mut().filter(|one| one.is_null()).for_each(|one| *one = filler.clone());
            }
            Value::Object(map) => {
                map.values_mut().filter(|one| one.is_null()).for_each(|one| *one = filler.clone());
            }
            _ => {}
        }
    }
    fill(&mut spec["nodeSelector"], &json!(""));
    fill(&mut spec["tolerations"], &json!({}));
    let terms = spec.pointer_mut(
        "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms",
    );
    let Some(terms) = terms else { return spec };
    fill(terms, &json!({}));
    for term in terms.as_array_mut().into_iter().flatten() {
        for wanted in term["matchExpressions"].as_array_mut().into_iter().flatten() {
            fill(&mut wanted["values"], &json!(""));
        }
    }
    spec
}

#[test]
fn every_case_of_the_table_is_decided_as_kubernetes_does() {
    let mut wrong = Vec::new();
    for Case { name, spec, node, wanted } in table() {
        let spec = without_nulls(spec);
        let verdict = verdict(&spec, &node);
        if answer(&verdict) != wanted {
            wrong.push(format!("{name}: {:?}, wanted {wanted:?}", answer(&verdict)));
        }
        // The oracle is held against the table too, or its agreement would prove little.
        if oracle::answer(&spec, &node) != wanted {
            wrong.push(format!("{name}: the oracle says {:?}", oracle::answer(&spec, &node)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_is_long_and_each_name_is_used_once() {
    let cases = table();
    let names: std::collections::BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
    assert!(cases.len() >= 150, "{}", cases.len());
    assert_eq!(names.len(), cases.len());
}
