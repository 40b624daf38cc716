//! The pure parts alone: reading a manifest, deciding whether it belongs here, hashing its template.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use k8s_openapi::api::core::v1;
use podward::testing::{FieldValidation, Node, Outcome, Set, eligibility, read};

/// A manifest of the usual size.
const EXPORTER: &str = include_str!("../examples/node-exporter.yaml");
/// One with affinity and tolerations.
const SHIPPER: &str = include_str!("../examples/log-shipper.yaml");
/// A node with a few labels and taints, as JSON.
const NODE: &str = r#"{"apiVersion": "v1", "kind": "Node",
  "metadata": {"name": "n1", "labels": {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "logs": "ship"}},
  "spec": {"taints": [{"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}, {"key": "drained", "effect": "NoExecute"}]}}"#;

/// The one set that a manifest holds.
fn set(text: &str) -> std::sync::Arc<Set> {
    let reading = read("bench.yaml", text.as_bytes(), FieldValidation::Strict);
    let sets = reading.documents.into_iter().filter_map(|document| match document.outcome {
        Outcome::Set(set) => Some(set),
        Outcome::Object { .. } | Outcome::Ignored { .. } | Outcome::Rejected => None,
    });
    sets.last().expect("the example holds a set")
}

/// Reading, which parses, defaults, validates and hashes.
fn reading(criterion: &mut Criterion) {
    criterion.bench_function("read one manifest", |bencher| {
        bencher
            .iter(|| read("bench.yaml", black_box(EXPORTER.as_bytes()), FieldValidation::Strict));
    });
    let twenty = [EXPORTER; 20].join("\n---\n");
    criterion.bench_function("read twenty sets in one file", |bencher| {
        bencher.iter(|| read("bench.yaml", black_box(twenty.as_bytes()), FieldValidation::Strict));
    });
    let broken = EXPORTER.replace("hostNetwork", "hostNetwrok");
    criterion.bench_function("read one manifest with a fault", |bencher| {
        bencher.iter(|| read("bench.yaml", black_box(broken.as_bytes()), FieldValidation::Strict));
    });
}

/// Deciding, with every clause's reason.
fn deciding(criterion: &mut Criterion) {
    let object: v1::Node = serde_json::from_str(NODE).expect("a Node");
    let node = Node::from_object("bench.json", &object).expect("a valid Node");
    let set = set(SHIPPER);
    criterion.bench_function("decide whether a set belongs here", |bencher| {
        bencher.iter(|| eligibility(black_box(&node), black_box(set.template())));
    });
}

criterion_group!(benches, reading, deciding);
criterion_main!(benches);
