//! Tests of the whole floor: from bytes to outcomes.

mod container_rules;
mod fixtures;
mod hostile;
mod objects;
mod reading;
mod rules;
mod schema;
mod support;
mod values;

use crate::spec::{Document, FieldValidation, Outcome, Reading, Set, Support, read};

/// A DaemonSet that is right, with a mark where more of a pod spec can stand, and one for a container.
const GOOD: &str = "\
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: web
spec:
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      hostNetwork: true
      #POD
      containers:
      - name: main
        image: busybox:1.36
        #CONTAINER
";

/// Reads a text strictly.
fn strict(text: &str) -> Reading {
    read("test.yaml", text.as_bytes(), FieldValidation::Strict)
}

/// The only document of a text.
fn only(text: &str) -> Document {
    let mut reading = strict(text);
    assert_eq!(reading.faults, [], "{text}");
    assert_eq!(reading.documents.len(), 1, "{text}");
    reading.documents.remove(0)
}

/// The good set with lines added to its pod spec.
fn pod(lines: &str) -> String {
    GOOD.replace("#POD", &lines.replace('\n', "\n      "))
}

/// The good set with lines added to its container.
fn container(lines: &str) -> String {
    GOOD.replace("#CONTAINER", &lines.replace('\n', "\n        "))
}

/// The set of a text that must be right.
fn set(text: &str) -> std::sync::Arc<Set> {
    let document = only(text);
    match document.outcome {
        Outcome::Set(set) => set,
        other => panic!("{other:?} {:?} of\n{text}", document.faults),
    }
}

/// The faults of a text, each as `path: problem`.
fn faults(text: &str) -> Vec<String> {
    let document = only(text);
    document.faults.iter().map(|fault| format!("{}: {}", fault.path, fault.problem)).collect()
}

/// What becomes of the field at a path.
fn support(text: &str, path: &str) -> Support {
    let document = only(text);
    let found = document.fields.iter().find(|field| field.path == path);
    found.unwrap_or_else(|| panic!("{path} is not classified in\n{text}")).support
}
