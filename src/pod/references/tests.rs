//! What pods refer to, and what of it makes them others.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::*;

/// A pod with one container that has these fields, and with these volumes.
fn pod(container: &Value, volumes: &Value) -> PodSpec {
    let mut container = container.clone();
    container["name"] = json!("main");
    serde_json::from_value(json!({"containers": [container], "volumes": volumes})).unwrap()
}

/// Objects with keys and values; the kind is the first letter of the name.
fn objects(all: &[(&str, &[(&str, &str)])]) -> Objects {
    let one = |(name, values): &(&str, &[(&str, &str)])| {
        let data = values.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()));
        let object = Object { data: data.collect(), ..Object::default() };
        (key(name), Arc::new(object))
    };
    all.iter().map(one).collect::<BTreeMap<_, _>>()
}

/// The key of an object of the tests.
fn key(name: &str) -> ObjectKey {
    let kind = if name.starts_with('s') { ObjectKind::Secret } else { ObjectKind::ConfigMap };
    ObjectKey { kind, namespace: "ns".into(), name: name.into() }
}

/// The hash of a pod with objects.
fn hash(spec: &PodSpec, all: &[(&str, &[(&str, &str)])]) -> String {
    let template = TemplateHash::new("template");
    effective_hash(&template, &references("ns", spec), &objects(all)).to_string()
}

/// What a pod lacks.
fn lacks(spec: &PodSpec, all: &[(&str, &[(&str, &str)])]) -> Vec<String> {
    missing(&references("ns", spec), &objects(all))
}

#[test]
fn a_pod_without_references_keeps_its_templates_hash() {
    let plain = pod(&json!({"env": [{"name": "A", "value": "1"}]}), &json!([]));
    assert_eq!(hash(&plain, &[("c", &[("k", "1")])]), "template");
    let mounted = pod(
        &json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}),
        &json!([{"name": "v", "configMap": {"name": "c"}}]),
    );
    assert_eq!(hash(&mounted, &[("c", &[("k", "1")])]), "template");
    assert_eq!(hash(&mounted, &[]), "template");
}

#[test]
fn a_variable_makes_its_own_key_count_and_no_other() {
    let spec = pod(
        &json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}),
        &json!([]),
    );
    let first = hash(&spec, &[("s", &[("k", "1"), ("other", "1")])]);
    assert_eq!(first.len(), 10);
    assert_eq!(hash(&spec, &[("s", &[("k", "1"), ("other", "2")])]), first);
    assert_ne!(hash(&spec, &[("s", &[("k", "2"), ("other", "1")])]), first);
    assert_ne!(hash(&spec, &[]), first);
    assert_ne!(hash(&spec, &[("s", &[("k", "")])]), hash(&spec, &[]));
}

#[test]
fn env_from_makes_every_key_count() {
    let spec = pod(&json!({"envFrom": [{"configMapRef": {"name": "c"}}]}), &json!([]));
    let first = hash(&spec, &[("c", &[("a", "1")])]);
    assert_ne!(hash(&spec, &[("c", &[("a", "1"), ("b", "1")])]), first);
    assert_ne!(hash(&spec, &[("c", &[("a1", "")])]), hash(&spec, &[("c", &[("a", "1")])]));
    assert_ne!(hash(&spec, &[("c", &[])]), hash(&spec, &[]));
}

#[test]
fn binary_data_is_no_variable() {
    let spec = pod(&json!({"envFrom": [{"configMapRef": {"name": "c"}}]}), &json!([]));
    let with = |binary: &str| {
        let binary = BTreeMap::from([("b".to_owned(), binary.as_bytes().to_vec())]);
        let object = Object { binary, ..Object::default() };
        let all = BTreeMap::from([(key("c"), Arc::new(object))]);
        effective_hash(&TemplateHash::new("template"), &references("ns", &spec), &all)
    };
    assert_eq!(with("1"), with("2"));
}

#[test]
fn a_sub_path_makes_the_file_there_count_and_no_other() {
    let mount =
        |path: &str| json!({"volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": path}]});
    let whole = json!([{"name": "v", "configMap": {"name": "c"}}]);
    let spec = pod(&mount("./k"), &whole);
    let first = hash(&spec, &[("c", &[("k", "1"), ("other", "1")])]);
    assert_ne!(first, "template");
    assert_eq!(hash(&spec, &[("c", &[("k", "1"), ("other", "2")])]), first);
    assert_ne!(hash(&spec, &[("c", &[("k", "2")])]), first);

    let items = json!([{"name": "v", "projected": {"sources": [
        {"configMap": {"name": "c", "items": [
            {"key": "k", "path": "dir/file"}, {"key": "l", "path": "other/file"},
        ]}},
    ]}}]);
    let spec = pod(&mount("dir"), &items);
    let first = hash(&spec, &[("c", &[("k", "1"), ("l", "1")])]);
    assert_eq!(hash(&spec, &[("c", &[("k", "1"), ("l", "2")])]), first);
    assert_ne!(hash(&spec, &[("c", &[("k", "2"), ("l", "1")])]), first);
}

#[test]
fn a_sub_path_of_variables_makes_all_of_the_volume_count() {
    let spec = pod(
        &json!({"volumeMounts": [{"name": "v", "mountPath": "/v", "subPathExpr": "$(NODE)"}]}),
        &json!([{"name": "v", "secret": {"secretName": "s"}}]),
    );
    assert_ne!(hash(&spec, &[("s", &[("k", "1")])]), hash(&spec, &[("s", &[("k", "2")])]));
}

#[test]
fn what_is_missing_is_named_with_object_and_key() {
    let spec = pod(
        &json!({
            "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "url"}}}],
            "envFrom": [{"secretRef": {"name": "s"}}],
            "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "nowhere"}],
        }),
        &json!([{"name": "v", "configMap": {"name": "c", "items": [{"key": "f", "path": "f"}]}}]),
    );
    assert_eq!(lacks(&spec, &[]), ["configmap \"ns/c\" not found", "secret \"ns/s\" not found"]);
    assert_eq!(
        lacks(&spec, &[("c", &[("url", "")]), ("s", &[])]),
        ["configmap \"ns/c\" has no key \"f\""]
    );
    assert!(lacks(&spec, &[("c", &[("url", ""), ("f", "")]), ("s", &[])]).is_empty());
}

#[test]
fn what_is_optional_is_never_missing() {
    let spec = pod(
        &json!({
            "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": true}}}],
            "envFrom": [{"configMapRef": {"name": "c", "optional": true}}],
        }),
        &json!([{"name": "v", "secret": {"secretName": "s2", "optional": true}}]),
    );
    assert!(lacks(&spec, &[("s", &[])]).is_empty());
    let names: Vec<String> = referred("ns", &spec).into_iter().map(|object| object.name).collect();
    assert_eq!(names, ["c", "s", "s2"]);
}

#[test]
fn init_containers_refer_as_others_do() {
    let spec: PodSpec = serde_json::from_value(json!({
        "initContainers": [{"name": "first", "envFrom": [{"configMapRef": {"name": "c"}}]}],
        "containers": [{"name": "main"}],
    }))
    .unwrap();
    assert_eq!(referred("ns", &spec).len(), 1);
}
