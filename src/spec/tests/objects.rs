//! How ConfigMaps and Secrets are read, and that a Secret's values are never repeated.

use std::sync::Arc;

use super::{GOOD, faults, only, strict};
use crate::spec::{Document, FieldValidation, Object, ObjectKey, Outcome, read};

/// The object of a text that must be right.
fn object(text: &str) -> (ObjectKey, Arc<Object>) {
    let document = only(text);
    match document.outcome {
        Outcome::Object { key, value } => (key, value),
        other => panic!("{other:?} {:?} of\n{text}", document.faults),
    }
}

/// A ConfigMap with these lines behind its metadata.
fn config(lines: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\n{lines}\n")
}

/// A Secret, likewise.
fn secret(lines: &str) -> String {
    config(lines).replace("ConfigMap", "Secret")
}

#[test]
fn a_config_map_holds_texts_and_bytes() {
    let (key, value) = object(&config(
        "data:\n  a.conf: |\n    one\n    two\n  empty:\nbinaryData:\n  logo: |\n    AAH/\n    /w==\nimmutable: true",
    ));
    assert_eq!(key.to_string(), "configmap \"default/c\"");
    assert_eq!(value.value("a.conf"), Some(&b"one\ntwo\n"[..]));
    assert_eq!(value.value("empty"), Some(&b""[..]));
    assert_eq!(value.binary["logo"], [0, 1, 255, 255]);
    assert!(value.immutable && !value.data.contains_key("logo"));
    assert_eq!(value.keys().count(), 3);
}

#[test]
fn a_secret_is_decoded_and_its_strings_lie_over_its_data() {
    let text = secret("type: Opaque\ndata: {a: b2xk, b: Yg==}\nstringData: {a: new}");
    let (key, value) = object(&text.replace("name: c", "name: c, namespace: sys"));
    assert_eq!(key.to_string(), "secret \"sys/c\"");
    assert_eq!((value.value("a"), value.value("b")), (Some(&b"new"[..]), Some(&b"b"[..])));
    assert!(!value.immutable);
}

#[test]
fn objects_stand_in_lists_and_in_json_as_well() {
    let list =
        "apiVersion: v1\nkind: ConfigMapList\nitems: [{metadata: {name: a}, data: {k: v}}]\n";
    assert_eq!(object(list).1.value("k"), Some(&b"v"[..]));
    let json = r#"{"apiVersion":"v1","kind":"List","items":[
        {"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"data":{"k":"dg=="}},
        {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}]}"#;
    let reading = strict(json);
    assert_eq!(reading.documents.len(), 2);
    let right = |document: &Document| matches!(document.outcome, Outcome::Object { .. });
    assert!(reading.documents.iter().all(right));
    let beside = strict(&format!("{GOOD}---\n{}", config("data: {a: b}")));
    assert!(matches!(beside.documents[0].outcome, Outcome::Set(_)) && right(&beside.documents[1]));
}

#[test]
fn what_is_wrong_with_an_object_is_said_with_its_path() {
    let long = "k".repeat(254);
    for (lines, fault) in [
        ("data: {a/b: x}", "data[a/b]: the key is not well-formed"),
        ("data: {\"..\": x}", "data[..]: the key is not well-formed"),
        ("data: {..a: x}", "data[..a]: the key is not well-formed"),
        (&format!("data: {{{long}: x}}"), &format!("data.{long}: the key is not well-formed")),
        ("data: {port: 8080}", "data.port: is a number, but must be a string"),
        ("data: {on: true}", "data.on: is true or false, but must be a string"),
        ("data: {a: {b: c}}", "data.a: is a mapping, but must be a string"),
        ("data: [a]", "data: is a list, but must be a mapping of keys to values"),
        ("binaryData: {a: \"%%\"}", "binaryData.a: is not base64"),
        ("data: {a: x}\nbinaryData: {a: eA==}", "binaryData.a: stands in data as well"),
        ("datas: {a: x}", "datas: unknown field"),
        ("stringData: {a: x}", "stringData: unknown field"),
        ("immutable: maybe", "immutable: is a string, but must be true or false"),
    ] {
        assert_eq!(faults(&config(lines)), [fault.to_owned()], "{lines}");
    }
    let unnamed = config("").replace("name: c", "labels: {a: b}");
    assert_eq!(faults(&unnamed), ["metadata.name: required field is missing"]);
    let named = config("").replace("name: c", "name: C_");
    assert_eq!(faults(&named), ["metadata.name: is not well-formed"]);
}

#[test]
fn an_object_has_at_most_a_mebibyte() {
    let of = |size: usize| config(&format!("data: {{a: \"{}\", b: c}}", "x".repeat(size)));
    object(&of((1 << 20) - 1));
    assert_eq!(faults(&of(1 << 20)), [": its values have 1048577 bytes, more than 1048576"]);
}

#[test]
fn the_number_that_was_meant_as_text_is_shown_as_it_was_written() {
    let document = only(&config("data: {mode: 0o644, version: 1.10}"));
    let remedies: Vec<&str> = document.faults.iter().map(|fault| fault.remedy.as_str()).collect();
    assert_eq!(remedies, ["write it in quotes: \"0o644\"", "write it in quotes: \"1.10\""]);
}

#[test]
fn the_same_object_twice_in_a_file_is_rejected_the_second_time() {
    let reading = strict(&format!("{}---\n{}", secret(""), secret("")));
    assert!(matches!(reading.documents[0].outcome, Outcome::Object { .. }));
    let fault = &reading.documents[1].faults[0];
    assert_eq!(fault.problem, "document 1 of this file describes secret \"default/c\" already");
    // A ConfigMap of the same name is another object.
    let both = strict(&format!("{}---\n{}", secret(""), config("")));
    assert!(both.documents.iter().all(|document| document.faults.is_empty()));
}

#[test]
fn a_badly_marked_object_is_still_known() {
    for head in [
        "apiVersion: apps/v1\nkind: ConfigMap",
        "kind: ConfigMap",
        "apiVersion: v1\nkind: configmap",
    ] {
        let document = only(&format!("{head}\nmetadata: {{name: c}}\n"));
        assert_eq!(document.faults.len(), 1, "{:?}", document.faults);
        assert_eq!(document.object.unwrap().to_string(), "configmap \"default/c\"");
    }
    let broken = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: c\ndata: [\n";
    assert_eq!(only(broken).object.unwrap().to_string(), "secret \"default/c\"");
}

#[test]
fn no_message_repeats_a_value_of_a_secret() {
    let word = "hunter2";
    for lines in [
        "data: {a: \"hunter2!\"}",
        "data: {a: {hunter2: hunter2}}",
        "data: hunter2",
        "data: [hunter2]",
        "stringData: [hunter2]",
        "stringData: {a: [hunter2]}",
        "datas: {a: hunter2}",
        "password: hunter2",
        "stringData: {a: *hunter2 }",
        "stringData: {a: hunter2, b: \"hunter2}",
        "stringData:\n  a: !hunter2 {\n",
        "stringData: {a: x}\ndata: hunter2: hunter2",
        "stringData:\n  a: hunter2\n b: hunter2",
        "stringData: {a: @hunter2}",
    ] {
        for mode in [FieldValidation::Strict, FieldValidation::Warn] {
            let reading = read("test.yaml", secret(lines).as_bytes(), mode);
            let text = format!("{reading:?}");
            assert!(!text.contains(word), "{lines}\n{text}");
            let told = reading
                .documents
                .iter()
                .any(|document| !document.faults.is_empty() || !document.warnings.is_empty());
            assert!(told, "{lines}");
        }
    }
    // Numbers cannot hide in words: one that was meant as text is not repeated either.
    let number = format!("{:?}", strict(&secret("stringData: {pin: 4711}")));
    assert!(number.contains("stringData.pin") && !number.contains("4711"), "{number}");
    let annotated = secret("").replace("name: c", "name: c, annotations: {last: [hunter2]}");
    assert!(!format!("{:?}", strict(&annotated)).contains(word));
    let list = "apiVersion: v1\nkind: SecretList\nitems: {a: hunter2}\n";
    assert!(!format!("{:?}", strict(list)).contains(word));
    let good = format!("{:?}", strict(&secret("stringData: {a: hunter2}")));
    assert!(!good.contains(word) && good.contains("\"a\""), "{good}");
}
