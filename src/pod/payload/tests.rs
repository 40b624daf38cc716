//! Tables for the files of volumes.

use k8s_openapi::api::core::v1::VolumeMount;
use serde_json::{Value, json};

use crate::pod::downward::{Downward, tests as downward};
use crate::pod::environment::tests::objects;
use crate::pod::resources::tests::container;

use super::*;

/// The files of a volume in a pod of `prod`, as `path mode content`; or the fault.
fn files(volume: &Value) -> Result<Vec<String>, String> {
    let mut volume = volume.clone();
    volume["name"] = json!("v");
    let volume: Volume = serde_json::from_value(volume).unwrap();
    let record = downward::record(vec![container("main", &[("cpu", "", "250m")])]);
    let (objects, node) = (objects(), downward::node());
    let values = Values { objects: &objects, downward: Downward { record: &record, node: &node } };
    let payload = payload(&volume, &values).map_err(|fault| fault.to_string())?;
    let line = |(path, file): (&String, &File)| {
        format!("{path} {:o} {}", file.mode, String::from_utf8_lossy(&file.bytes))
    };
    Ok(payload.iter().map(line).collect())
}

#[test]
fn an_object_without_items_gives_every_key() {
    assert_eq!(
        files(&json!({"configMap": {"name": "given"}})).unwrap(),
        ["A 644 from $(HOME)", "a=b 644 odd", "blob 644 \0\u{fffd}", "two 644 2", "ü 644 odd"]
    );
    let secret = files(&json!({"secret": {"secretName": "given", "defaultMode": 0o400}})).unwrap();
    assert_eq!(secret[0], "A 400 hush");
    assert_eq!(secret.len(), 3);
}

#[test]
fn items_choose_keys_paths_and_modes() {
    let items = json!([
        {"key": "two", "path": "./deep//down/two", "mode": 0o755},
        {"key": "blob", "path": "blob"},
    ]);
    assert_eq!(
        files(&json!({"configMap": {"name": "given", "items": items, "defaultMode": 0o440}}))
            .unwrap(),
        ["blob 440 \0\u{fffd}", "deep/down/two 755 2"]
    );
}

#[test]
fn what_is_optional_may_be_missing() {
    let items = json!([{"key": "two", "path": "two"}, {"key": "none", "path": "none"}]);
    for (volume, expected) in [
        (json!({"configMap": {"name": "none", "optional": true}}), vec![]),
        (
            json!({"configMap": {"name": "given", "items": items, "optional": true}}),
            vec!["two 644 2"],
        ),
        (
            json!({"projected": {"sources": [{"secret": {"name": "none", "optional": true}}]}}),
            vec![],
        ),
        (json!({"projected": {}}), vec![]),
        (json!({"downwardAPI": {}}), vec![]),
    ] {
        assert_eq!(files(&volume).unwrap(), expected, "{volume}");
    }
}

#[test]
fn what_is_missing_is_named_with_object_key_and_remedy() {
    let items = json!([{"key": "none", "path": "none"}]);
    let projected =
        json!([{"configMap": {"name": "none"}}, {"secret": {"name": "given", "items": items}}]);
    let map = "configmap \"none\" not found: add the ConfigMap prod/none beside the DaemonSet, or put its values into objectsDir/prod/configmaps/none, a file for each key";
    let key = "secret references non-existent secret key: none: add it to the Secret prod/given beside the DaemonSet, or put the value into objectsDir/prod/secrets/given/none";
    for (volume, expected) in [
        (json!({"configMap": {"name": "none"}}), map.to_owned()),
        (json!({"secret": {"secretName": "given", "items": items}}), key.to_owned()),
        (json!({"projected": {"sources": projected}}), format!("[{map}, {key}]")),
        (
            json!({"configMap": {"name": "given", "items": items}}),
            "configmap references non-existent config key: none: add it to the ConfigMap prod/given beside the DaemonSet, or put the value into objectsDir/prod/configmaps/given/none".into(),
        ),
        (
            json!({"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}),
            "this kind of projected source is not supported".into(),
        ),
    ] {
        assert_eq!(files(&volume).unwrap_err(), expected);
    }
}

#[test]
fn the_pods_own_facts_become_files() {
    let items = json!([
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "app", "fieldRef": {"fieldPath": "metadata.labels['app']"}, "mode": 0o400},
        {"path": "cpu", "resourceFieldRef": {"containerName": "main", "resource": "limits.cpu", "divisor": "1m"}},
    ]);
    let expected = [
        "app 400 web",
        "cpu 644 250",
        "labels 644 app=\"web\"\ncontroller-revision-hash=\"5d8f\"\nexample.com/tier=\"front\"",
    ];
    assert_eq!(files(&json!({"downwardAPI": {"items": items}})).unwrap(), expected);
    let projected = json!({"projected": {"sources": [{"downwardAPI": {"items": items}}]}});
    assert_eq!(files(&projected).unwrap(), expected);
    let wrong = json!([{"path": "x", "fieldRef": {"fieldPath": "status.podIP"}}]);
    let fault = files(&json!({"downwardAPI": {"items": wrong}})).unwrap_err();
    assert_eq!(fault, "status.podIP: unsupported fieldPath");
}

#[test]
fn of_projected_sources_the_later_wins() {
    let sources = json!([
        {"configMap": {"name": "given", "items": [{"key": "two", "path": "A"}, {"key": "A", "path": "sub/A"}]}},
        {"secret": {"name": "given", "items": [{"key": "A", "path": "A", "mode": 0o400}]}},
    ]);
    assert_eq!(
        files(&json!({"projected": {"sources": sources, "defaultMode": 0o600}})).unwrap(),
        ["A 400 hush", "sub/A 600 from $(HOME)"]
    );
}

#[test]
fn paths_stay_in_the_volume_and_clear_of_its_own_names() {
    for path in ["/a", "../a", "a/../b", "..data", "..x/y", "", ".", "a\0b"] {
        let items = json!([{"key": "two", "path": path}]);
        let fault = files(&json!({"configMap": {"name": "given", "items": items}})).unwrap_err();
        assert!(fault.starts_with("invalid path"), "{path:?}: {fault}");
    }
    let items = json!([{"key": "two", "path": "a"}, {"key": "A", "path": "a/b/c"}]);
    let fault = files(&json!({"configMap": {"name": "given", "items": items}})).unwrap_err();
    assert_eq!(fault, "\"a\" is a file, and \"a/b/c\" is to lie below it");
    let fine = json!([{"key": "two", "path": "a..b"}, {"key": "A", "path": "x/..y"}]);
    assert!(files(&json!({"configMap": {"name": "given", "items": fine}})).is_ok());
}

#[test]
fn a_file_tells_no_content() {
    assert_eq!(format!("{:?}", File { bytes: b"hush".into(), mode: 0o400 }), "4 bytes, mode 0400");
}

#[test]
fn mount_points_below_a_volume_are_found_once() {
    let mut main = container("main", &[]);
    let mount = |name: &str, path: &str| VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        ..VolumeMount::default()
    };
    main.volume_mounts = Some(vec![
        mount("other", "/etc/app/cache/deep"),
        mount("v", "/etc/app/"),
        mount("other", "/etc/app/cache"),
        mount("other", "/etc/apple"),
        mount("other", "/etc/app/x/y"),
        mount("v", "/etc/app/again"),
    ]);
    let spec = PodSpec { containers: vec![main], ..PodSpec::default() };
    let found: Vec<String> = nested_mount_points(&spec, "v").into_iter().collect();
    assert_eq!(found, ["again", "cache", "x/y"]);
    assert!(nested_mount_points(&spec, "none").is_empty());
}
