//! `podward why -f` from files to answers.

use clap::Parser;
use serde_json::{Value, json};

use super::*;
use crate::node::cases;

/// A node that many tests use.
const NODE: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: {disk: ssd}}\n";

/// The answer for two texts.
fn answer(sets: &str, node: &str) -> Answer {
    evaluate(("set.yaml", sets.as_bytes()), ("node.yaml", node.as_bytes()))
}

/// A set with the given pod spec, in flow style.
fn set(spec: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: a, namespace: b}}\n\
         spec: {{template: {{spec: {spec}}}}}\n"
    )
}

#[test]
fn the_whole_table_is_answered_from_documents() {
    let mut wrong = Vec::new();
    for cases::Case { name, spec, node, wanted } in cases::table() {
        let set = json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "a"},
            "spec": {"template": {"spec": spec}},
        });
        let as_yaml = |value: &Value| serde_saphyr::to_string(value).unwrap();
        for answer in
            [answer(&set.to_string(), &node.to_string()), answer(&as_yaml(&set), &as_yaml(&node))]
        {
            let got: Vec<_> = answer
                .reports
                .iter()
                .map(|r| (r.should_run, r.should_continue, r.evict_after_seconds))
                .collect();
            if got != [wanted] || !answer.faults.is_empty() {
                wrong.push(format!("{name}: {got:?}, wanted {wanted:?}; {:?}", answer.faults));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_json_form_is_the_documented_one() {
    let answer = answer(&set("{nodeSelector: {disk: ssd}}"), NODE);
    assert_eq!(
        serde_json::to_value(&answer.reports[0]).unwrap(),
        json!({
            "set": "b/a", "node": "n1", "shouldRun": true, "shouldContinue": true,
            "evictAfterSeconds": null,
            "reasons": [
                {
                    "id": "node-selector", "holds": true,
                    "clause": "spec.template.spec.nodeSelector[disk]",
                    "message": "label disk is \"ssd\"; nodeSelector wants \"ssd\"",
                },
                {"id": "no-taints", "holds": true, "clause": "taints", "message": "the node has no taints"},
            ],
        })
    );
}

#[test]
fn the_human_form_has_a_verdict_and_a_line_for_each_clause() {
    let node = "{apiVersion: v1, kind: Node, metadata: {name: n1}, spec: {taints: [{key: t, effect: NoSchedule}]}}";
    let spec = "{affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: \
                {nodeSelectorTerms: [{matchExpressions: [{key: gpu, operator: Exists}]}]}}}}";
    let text = render(&answer(&set(spec), node).reports[0]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "b/a on node n1: does not run here");
    assert_eq!(lines[1], "  no   required node affinity: label gpu is missing; misses Exists");
    assert_eq!(
        lines[3],
        "  no       nodeSelectorTerms[0].matchExpressions[0]: label gpu is missing; misses Exists"
    );
    assert_eq!(lines[4], "  no   taint t:NoSchedule is not tolerated");
}

#[test]
fn every_daemonset_of_a_file_is_answered_and_other_kinds_are_passed_over() {
    let file = format!(
        "{}---\napiVersion: v1\nkind: Service\nspec: text\n---\n\
         apiVersion: v1\nkind: List\nitems:\n- {{apiVersion: extensions/v1beta1, kind: DaemonSet, \
         metadata: {{name: old}}, spec: {{template: {{spec: {{containers: [{{resources: {{limits: {{cpu: 2}}}}}}]}}}}}}}}\n",
        set("{}")
    );
    let answer = answer(&file, NODE);
    let sets: Vec<_> = answer.reports.iter().map(|report| report.set.as_str()).collect();
    assert_eq!(sets, ["b/a", "default/old"]);
    assert_eq!(answer.faults, []);
}

#[test]
fn unquoted_scalars_are_taken_as_written_with_a_warning() {
    let node = "apiVersion: v1\nkind: Node\nmetadata:\n  name: n1\n  labels: {a: y, b: 08, c: 1e3, d/e: true}\n";
    let answer =
        answer(&set("{nodeSelector: {a: \"y\", b: \"08\", c: \"1e3\", d/e: \"true\"}}"), node);
    assert!(answer.reports[0].should_run, "{:?}", answer.reports[0]);
    assert_eq!(answer.warnings.len(), 4);
    assert_eq!(
        answer.warnings[1].to_string(),
        "node.yaml: document 1: metadata.labels.b: 08: a number where a text belongs, taken as \
         one here; write \"08\" with quotes: Kubernetes refuses it without"
    );
    let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Node\n  \
                metadata: {name: n1, labels: {a: y}}\n";
    let answer = self::answer(&set("{nodeSelector: {a: \"y\"}}"), list);
    assert!(answer.reports[0].should_run);
}

#[test]
fn what_cannot_be_read_is_one_clear_error_each() {
    let first = |sets: &str, node: &str| answer(sets, node).faults[0].to_string();
    let good = set("{}");
    for (sets, node, fault) in [
        (
            "",
            NODE,
            "set.yaml: holds no DaemonSet but nothing; give a file with `apiVersion: apps/v1`",
        ),
        (NODE, NODE, "set.yaml: holds no DaemonSet but apiVersion \"v1\" kind \"Node\"; "),
        (&good, &good, "node.yaml: holds no Node but apiVersion \"apps/v1\" kind \"DaemonSet\"; "),
        (&good, "apiVersion: v1\nkind: Node\n", "node.yaml: metadata.name: \"\": missing"),
        (&good, "a: [", "node.yaml:"),
        (&good, "- 1", "node.yaml: holds no Node but a document without apiVersion and kind; "),
        (
            &set("{tolerations: [{tolerationSeconds: soon}]}"),
            NODE,
            "set.yaml: document 1: spec.template.spec.tolerations[0].tolerationSeconds: \"soon\": \
             a text where a whole number belongs; ",
        ),
        (
            &set("{nodeSelector: [a]}"),
            NODE,
            "set.yaml: document 1: spec.template.spec.nodeSelector: [\"a\"]: a list where an object of texts belongs; ",
        ),
    ] {
        assert!(first(sets, node).starts_with(fault), "{}", first(sets, node));
    }
    assert!(evaluate(("set.yaml", b"\xff"), ("node.yaml", NODE.as_bytes())).reports.is_empty());
}

#[test]
fn illegal_labels_and_taints_of_a_node_are_warned_of_and_evaluated() {
    let node = "{apiVersion: v1, kind: Node, metadata: {name: n1, labels: {a: \"-1\"}}, spec: {taints: [{key: t, effect: Never}]}}";
    let answer = answer(&set("{nodeSelector: {a: \"-1\"}}"), node);
    assert!(answer.reports[0].should_run);
    assert_eq!(answer.warnings.len(), 2);
    assert_eq!(answer.faults, []);
}

#[test]
fn a_node_as_a_cluster_prints_it_is_read() {
    let node = r#"{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "creationTimestamp":
        "2024-01-01T00:00:00Z", "labels": {"disk": "ssd"}, "managedFields": [{}]}, "spec": {"podCIDR":
        "10.0.0.0/24", "unschedulable": true, "taints": [{"key": "node.kubernetes.io/unschedulable",
        "effect": "NoSchedule", "timeAdded": "2024-01-01T00:00:00Z"}]}, "status": {"capacity": {"cpu": "4"},
        "images": [{"names": null, "sizeBytes": 1}]}}"#;
    let answer = answer(&set("{nodeSelector: {disk: ssd}}"), node);
    assert!(answer.reports[0].should_run);
    assert_eq!((answer.warnings, answer.faults), (vec![], vec![]));
}

#[test]
fn files_are_answered_with_an_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let (file, node) = (folder.path().join("set.yaml"), folder.path().join("node.yaml"));
    std::fs::write(&file, set("{}")).unwrap();
    let refusal = |_: &str, _: &[u8]| vec![Fault::of_file("set.yaml", "odd", "mend it")];
    let (mut out, mut err) = (Vec::new(), Vec::new());
    assert_eq!(
        answer_of_files((&file, &node), Output::Json, &refusal, &mut out, &mut err).unwrap(),
        1
    );
    assert!(out.is_empty());
    assert!(String::from_utf8(err).unwrap().contains("node.yaml: cannot be read: "));
    std::fs::write(&node, NODE).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    assert_eq!(
        answer_of_files((&file, &node), Output::Json, &refusal, &mut out, &mut err).unwrap(),
        0
    );
    assert_eq!(serde_json::from_slice::<Value>(&out).unwrap()["set"], "b/a");
    assert_eq!(String::from_utf8(err).unwrap(), "warning: set.yaml: odd; mend it\n");
}

/// The verb by itself.
#[derive(Debug, Parser)]
struct Verb {
    /// Its arguments.
    #[command(flatten)]
    why: WhyArgs,
}

#[test]
fn a_question_is_either_of_the_agent_or_of_two_files() {
    let parse = |words: &[&str]| Verb::try_parse_from([&["why"], words].concat());
    let asked = parse(&["ds/a", "-n", "b"]).unwrap().why;
    assert_eq!(asked.question(), Ok(Question::OfAgent(SetKey::new("b", "a"))));
    let asked = parse(&["-f", "s", "--node", "n", "-o", "json"]).unwrap().why;
    let files = Question::OfFiles { file: Path::new("s"), node: Path::new("n") };
    assert_eq!(asked.question(), Ok(files));
    assert!(parse(&["pod/a"]).unwrap().why.question().is_err());
    for usage in
        [&[][..], &["-f", "s"], &["--node", "n", "ds/a"], &["ds/a", "-f", "s", "--node", "n"]]
    {
        let refused = parse(usage).map_or(true, |verb| verb.why.question().is_err());
        assert!(refused, "{usage:?}");
    }
}
