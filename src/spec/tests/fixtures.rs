//! Manifests as their vendors publish them.

use std::fmt::Write as _;
use std::{env, fs};

use serde_json::Value;

use crate::spec::{Document, FieldValidation, Outcome, Reading, Support, read};

/// Each published manifest with its reading.
fn manifests() -> Vec<(String, String, Reading)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/daemonsets");
    let mut all: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap();
            let reading = read(&name, text.as_bytes(), FieldValidation::Strict);
            (name, text, reading)
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(all.len() >= 30);
    all
}

#[test]
fn each_published_manifest_holds_a_set_and_only_the_known_faults() {
    for (name, _, reading) in manifests() {
        assert_eq!(reading.faults, [], "{name}");
        let sets = reading.documents.iter().filter(|document| document.kind == "DaemonSet");
        let mut count = 0;
        for document in sets {
            count += 1;
            assert!(document.key.is_some() && document.draft.is_some(), "{name}");
            for fault in &document.faults {
                // Kubernetes' own manifest has a mistyped field; nothing else is at fault.
                assert!(name == "npd-addon.yaml", "{fault}");
                assert_eq!(fault.path, "spec.template.spec.nodeSelectors", "{fault}");
                assert_eq!(fault.remedy, "did you mean nodeSelector?", "{fault}");
            }
        }
        assert!(count > 0, "{name}");
        let others = reading.documents.iter().filter(|document| document.kind != "DaemonSet");
        for document in others {
            let object = matches!(document.kind.as_str(), "ConfigMap" | "Secret");
            let right = match document.outcome {
                Outcome::Object { .. } => object,
                Outcome::Ignored { .. } => !object,
                // Azure's manifest leaves its Secret's values to whoever installs it.
                Outcome::Rejected => name == "azure-monitor-logs.yaml" && document.kind == "Secret",
                Outcome::Set(_) => false,
            };
            assert!(right, "{name}: {document:?}");
        }
    }
}

/// Adds the path of each scalar below a value.
fn leaves(value: &Value, path: &str, paths: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                leaves(value, crate::spec::shape::entry_path(path, key).trim_matches('.'), paths);
            }
        }
        Value::Array(items) if items.iter().all(Value::is_object) => {
            for (index, item) in items.iter().enumerate() {
                leaves(item, &format!("{path}[{index}]"), paths);
            }
        }
        Value::Null => {}
        _ => paths.push(path.to_owned()),
    }
}

#[test]
fn each_field_of_each_published_manifest_is_classified() {
    for (name, text, reading) in manifests() {
        let options = crate::spec::bytes::options(false);
        let sets: Vec<Value> = serde_saphyr::from_multiple_with_options(&text, options)
            .unwrap_or_default()
            .into_iter()
            .flat_map(|value: Value| match value.get("items") {
                Some(Value::Array(items)) => items.clone(),
                _ => vec![value],
            })
            .filter(|value| value["kind"] == "DaemonSet")
            .collect();
        let documents = reading.documents.iter().filter(|document| document.kind == "DaemonSet");
        for (document, value) in documents.zip(&sets) {
            let mut paths = Vec::new();
            leaves(value, "", &mut paths);
            for path in paths {
                let header = path == "apiVersion" || path == "kind";
                let known = header || document.fields.iter().any(|field| field.path == path);
                let faulty = document.faults.iter().any(|fault| path.starts_with(&fault.path));
                assert!(known || faulty, "{name}: {path}");
            }
        }
        assert!(!sets.is_empty(), "{name}");
    }
}

/// What becomes of a document, as far as it is not simply honoured; what goes for a field is not repeated for those below it.
fn account(document: &Document, page: &mut String) {
    let outcome = match &document.outcome {
        Outcome::Object { .. } => "object".to_owned(),
        Outcome::Set(_) => "runs".to_owned(),
        Outcome::Ignored { reason } => format!("ignored: {reason}"),
        Outcome::Rejected if document.faults.is_empty() => "refused".to_owned(),
        Outcome::Rejected => "invalid".to_owned(),
    };
    let _ = writeln!(page, "{} {}: {outcome}", document.kind, document.name);
    for (word, messages) in [("fault", &document.faults), ("warning", &document.warnings)] {
        for message in messages {
            let _ = writeln!(page, "  {word}: {}: {}", message.path, message.problem);
        }
    }
    let mut head = "";
    for field in document.fields.iter().filter(|field| field.support != Support::Honoured) {
        let below = field.path.strip_prefix(head).is_some_and(|rest| rest.starts_with(['.', '[']));
        if head.is_empty() || !below {
            head = &field.path;
            let short = field.path.strip_prefix("spec.template.spec.").unwrap_or(&field.path);
            let _ = writeln!(page, "  {}: {short}: {}", field.support.as_str(), field.reason);
        }
    }
}

#[test]
fn what_becomes_of_each_published_manifest_is_as_recorded() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/daemonsets.txt");
    let mut page = "What podward makes of tests/fixtures/daemonsets. Written by PODWARD_BLESS=1 cargo test --lib spec::; \
                    read each line of the difference: is it true?\n"
        .to_owned();
    for (name, _, reading) in manifests() {
        let _ = writeln!(page, "\n== {name}");
        reading.documents.iter().for_each(|document| account(document, &mut page));
    }
    if env::var_os("PODWARD_BLESS").is_some() {
        fs::write(path, &page).unwrap();
    }
    let recorded = fs::read_to_string(path).unwrap_or_default();
    let bless =
        "tests/fixtures/daemonsets.txt is old; run: PODWARD_BLESS=1 cargo test --lib spec::";
    assert!(recorded == page, "{bless}");
}
