//! Properties of eligibility, above all that it agrees with the oracle.

use k8s_openapi::api::core::v1;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::node::eligibility::{Verdict, eligibility, id};
use crate::node::facts::Node;
use crate::node::oracle;

/// The verdict for a pod spec on a v1 Node, both as JSON.
pub fn verdict(spec: &Value, node: &Value) -> Verdict {
    let template = json!({ "spec": spec });
    let template: v1::PodTemplateSpec = serde_json::from_value(template).unwrap();
    let node: v1::Node = serde_json::from_value(node.clone()).unwrap();
    eligibility(&Node::from_object("node.yaml", &node).unwrap(), &template)
}

/// The three answers of a verdict in the oracle's form.
pub fn answer(verdict: &Verdict) -> oracle::Answer {
    let evict = verdict.evict_after.map(|after| after.as_secs());
    (verdict.should_run, verdict.should_continue, evict)
}

/// A key: mostly one of two, so that they meet.
fn key() -> impl Strategy<Value = String> {
    let odd = vec![
        "",
        "A",
        "a b",
        "x/",
        "/x",
        "x.io/a",
        "X.io/a",
        "metadata.name",
        "-a",
        "a/b/c",
        "é",
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/disk-pressure",
        "node.kubernetes.io/network-unavailable",
    ];
    prop_oneof![5 => select(vec!["a", "b"]), 2 => select(odd)].prop_map(str::to_owned)
}

/// A label value, legal or not.
fn value() -> impl Strategy<Value = String> {
    let odd = vec![
        "X",
        "-1",
        "+3",
        "007",
        "0x1",
        "1_0",
        "1.0",
        " 1",
        "-",
        "+",
        "é",
        "-0",
        "n1",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "0123456789012345678901234567890123456789012345678901234567890123",
    ];
    prop_oneof![5 => select(vec!["", "x", "y", "1", "2", "10"]), 2 => select(odd)]
        .prop_map(str::to_owned)
}

/// A value, or none, or null.
fn optional(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Option<Value>> {
    prop_oneof![3 => value.prop_map(Some), 1 => Just(Some(Value::Null)), 2 => Just(None)]
}

/// An object of the fields that are there.
fn object(fields: Vec<(&'static str, Option<Value>)>) -> Value {
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// A requirement of an expression or a field, mostly one that can be read.
fn requirement(field: bool) -> impl Strategy<Value = Value> {
    let odd = vec!["in", "", "Equal", "Gt", "Exists", "In", "Lt", "DoesNotExist"];
    let readable = prop_oneof![
        (select(vec!["In", "NotIn"]), vec(value(), 1..3)),
        (select(vec!["Exists", "DoesNotExist"]), vec(value(), 0..1)),
        (select(vec!["Gt", "Lt"]), vec(select(vec!["1", "2", "007"]).prop_map(str::to_owned), 1)),
    ];
    let any = prop_oneof![6 => readable, 1 => (select(odd), vec(value(), 0..3))];
    let names = select(vec!["n1", "n2", ""]).prop_map(str::to_owned);
    let by_field = (select(vec!["In", "NotIn", "Exists"]), vec(names, 1..2));
    let keys = prop_oneof![Just("metadata.name".to_owned()), key()];
    if field {
        let both = prop_oneof![5 => by_field.boxed(), 1 => any.boxed()];
        (keys.boxed(), both.boxed())
    } else {
        (key().boxed(), any.boxed())
    }
    .prop_map(
        |(key, (operator, values))| json!({"key": key, "operator": operator, "values": values}),
    )
}

/// A term of the required node affinity.
fn term() -> impl Strategy<Value = Value> {
    let expressions = optional(vec(requirement(false), 0..3).prop_map(Value::from));
    let fields = optional(vec(requirement(true), 0..2).prop_map(Value::from));
    (expressions, fields).prop_map(|(expressions, fields)| {
        object(vec![("matchExpressions", expressions), ("matchFields", fields)])
    })
}

/// A toleration, legal or not.
fn toleration() -> impl Strategy<Value = Value> {
    let operators = vec!["Exists", "Exists", "Equal", "", "Gt", "Lt", "exists"];
    let seconds = vec![-5, 0, 1, 30, 300, i64::MAX, i64::MIN];
    let effects = vec!["NoSchedule", "NoExecute", "NoExecute", "PreferNoSchedule", "", "noExecute"];
    let free = (
        optional(key().prop_map(Value::from)),
        optional(select(operators).prop_map(Value::from)),
        optional(value().prop_map(Value::from)),
        optional(select(effects).prop_map(Value::from)),
        optional(select(seconds.clone()).prop_map(Value::from)),
    )
        .prop_map(|(key, operator, value, effect, seconds)| {
            object(vec![
                ("key", key),
                ("operator", operator),
                ("value", value),
                ("effect", effect),
                ("tolerationSeconds", seconds),
            ])
        });
    // The shapes that the automatic tolerations overwrite, and their neighbours.
    let near = (
        select(vec!["Exists", "Exists", "Equal", ""]),
        select(vec!["NoExecute", "NoExecute", "", "NoSchedule"]),
        select(seconds),
    )
        .prop_map(|(operator, effect, seconds)| {
            json!({
                "key": "node.kubernetes.io/not-ready", "operator": operator, "effect": effect,
                "tolerationSeconds": seconds,
            })
        });
    // And plain ones that meet the taints often, for a time.
    let plain = (select(vec!["a", "b", ""]), select(vec![0, 1, 30, 300])).prop_map(
        |(key, seconds)| json!({"key": key, "operator": "Exists", "tolerationSeconds": seconds}),
    );
    prop_oneof![3 => free, 1 => near, 2 => plain]
}

/// The part of a pod spec that eligibility looks at.
fn spec() -> impl Strategy<Value = Value> {
    let pairs = btree_map(key(), value(), 0..2).prop_map(|pairs| json!(pairs));
    let affinity = vec(term(), 0..4).prop_map(|terms| {
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": terms}}})
    });
    let names = prop_oneof![8 => Just(""), 4 => Just("n1"), 1 => Just("n2")];
    (
        prop_oneof![3 => Just(None), 1 => names.prop_map(|name| Some(json!(name)))],
        prop_oneof![3 => Just(None), 1 => pairs.prop_map(Some)],
        prop_oneof![1 => Just(None), 1 => affinity.prop_map(Some)],
        optional(vec(toleration(), 0..5).prop_map(Value::from)),
        optional(any::<bool>().prop_map(Value::from)),
    )
        .prop_map(|(name, pairs, affinity, tolerations, host_network)| {
            object(vec![
                ("nodeName", name),
                ("nodeSelector", pairs),
                ("affinity", affinity),
                ("tolerations", tolerations),
                ("hostNetwork", host_network),
            ])
        })
}

/// A v1 Node.
fn node() -> impl Strategy<Value = Value> {
    let effects = vec!["NoSchedule", "NoExecute", "NoExecute", "PreferNoSchedule", "", "noExecute"];
    let taint = (key(), optional(value().prop_map(Value::from)), select(effects)).prop_map(
        |(key, value, effect)| {
            object(vec![
                ("key", Some(json!(key))),
                ("value", value),
                ("effect", Some(json!(effect))),
            ])
        },
    );
    (select(vec!["n1", "n2"]), btree_map(key(), value(), 0..4), vec(taint, 0..4)).prop_map(
        |(name, labels, taints)| {
            json!({"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints}})
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn eligibility_agrees_with_the_oracle(spec in spec(), node in node()) {
        prop_assert_eq!(answer(&verdict(&spec, &node)), oracle::answer(&spec, &node));
    }

    #[test]
    fn every_no_names_its_clauses(spec in spec(), node in node()) {
        let verdict = verdict(&spec, &node);
        let mut against = verdict.reasons.iter().filter(|reason| reason.decides() && !reason.holds);
        prop_assert_eq!(verdict.should_run, against.clone().next().is_none());
        prop_assert_eq!(verdict.should_run, verdict.refusal().is_none());
        prop_assert_eq!(
            verdict.should_continue,
            against.all(|reason| reason.clause.starts_with("taint ")
                && reason.clause.ends_with(":NoSchedule"))
        );
        let evicting = |reason: &crate::node::eligibility::Reason| {
            reason.id == id::TAINT_FOR_A_TIME
                || (reason.id == id::TAINT && !reason.holds && reason.clause.ends_with(":NoExecute"))
        };
        prop_assert_eq!(verdict.evict_after.is_some(), verdict.reasons.iter().any(evicting));
        prop_assert!(verdict.reasons.iter().all(|r| !r.message.is_empty() && !r.clause.is_empty()));
    }

    #[test]
    fn more_tolerations_never_make_a_node_less_eligible(
        spec in spec(), node in node(), extra in toleration()
    ) {
        let before = verdict(&spec, &node);
        let mut wider = spec.clone();
        let mut tolerations = spec["tolerations"].as_array().cloned().unwrap_or_default();
        tolerations.push(extra);
        wider["tolerations"] = tolerations.into();
        let after = verdict(&wider, &node);
        prop_assert!(after.should_run >= before.should_run);
        prop_assert!(after.should_continue >= before.should_continue);
    }
}

#[test]
fn the_generators_reach_every_answer() {
    let mut runner = TestRunner::deterministic();
    let (mut run, mut keep, mut stop, mut timed, mut matched) = (0, 0, 0, 0, 0);
    for _ in 0..2000 {
        let spec = spec().new_tree(&mut runner).unwrap().current();
        let node = node().new_tree(&mut runner).unwrap().current();
        let verdict = verdict(&spec, &node);
        match (verdict.should_run, verdict.should_continue) {
            (true, _) => run += 1,
            (false, true) => keep += 1,
            (false, false) => stop += 1,
        }
        timed += i32::from(verdict.evict_after.is_some_and(|after| !after.is_zero()));
        matched += i32::from(verdict.reasons.iter().any(|r| r.id == id::NODE_AFFINITY && r.holds));
    }
    for count in [run, keep, stop, timed, matched] {
        assert!(
            count > 60,
            "run {run}, keep {keep}, stop {stop}, timed {timed}, matched {matched}"
        );
    }
}
