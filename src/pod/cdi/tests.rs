//! Devices of made-up vendors laid over specs.

use serde_json::{Value, json};

use super::*;

/// A vendor's file with two devices.
fn vendor() -> CdiFile {
    serde_json::from_value(json!({
        "cdiVersion": "0.6.0",
        "kind": "vendor.com/gpu",
        "containerEdits": {
            "env": ["VENDOR=yes"],
            "mounts": [{"hostPath": "/opt/vendor/lib", "containerPath": "/usr/lib/vendor"}],
        },
        "devices": [
            {"name": "0", "containerEdits": {
                "env": ["DEVICE=0"], "additionalGids": [0, 44],
                "deviceNodes": [{"path": "/dev/gpu0", "hostPath": "/dev/kvm", "permissions": "rw"}],
                "hooks": [{"hookName": "createContainer", "path": "/opt/vendor/hook", "args": ["hook", "x"]}],
            }},
            {"name": "1", "containerEdits": {"env": ["DEVICE=1"]}},
        ],
    }))
    .unwrap()
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn annotations_name_devices_each_once() {
    let annotations = [
        ("cdi.k8s.io/a", "vendor.com/gpu=1, vendor.com/gpu=0"),
        ("cdi.k8s.io/b", "vendor.com/gpu=1"),
        ("other/c", "vendor.com/gpu=2"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    assert_eq!(wanted(Some(&annotations)), ["vendor.com/gpu=1", "vendor.com/gpu=0"]);
    assert_eq!(wanted(None), [""; 0]);
}

#[test]
fn a_files_own_part_comes_once_and_a_device_that_nobody_describes_is_named() {
    let files = [vendor()];
    let both = edits(&names(&["vendor.com/gpu=1", "vendor.com/gpu=0"]), &files).unwrap();
    let env: Vec<_> = both.iter().flat_map(|edit| &edit.env).collect();
    assert_eq!(env, ["VENDOR=yes", "DEVICE=1", "DEVICE=0"]);
    for missing in ["vendor.com/gpu=7", "other.com/gpu=0", "nonsense"] {
        assert_eq!(edits(&names(&[missing]), &files).unwrap_err(), missing);
    }
    let mut newer = vendor();
    newer.devices[1].container_edits.env = names(&["DEVICE=new"]);
    let files = [vendor(), newer];
    let edits = edits(&names(&["vendor.com/gpu=1"]), &files).unwrap();
    assert_eq!(edits[1].env, ["DEVICE=new"]);
}

#[test]
fn a_container_gets_variables_nodes_mounts_groups_and_hooks() {
    let mut spec: Spec = serde_json::from_value(json!({
        "ociVersion": "1.0.2",
        "process": {"cwd": "/", "user": {"uid": 5, "gid": 6}, "env": ["DEVICE=none", "PATH=/bin"]},
        "mounts": [{"destination": "/usr/lib/vendor/deep", "source": "/x", "type": "bind"}],
        "linux": {"resources": {"devices": [{"allow": false, "access": "rwm"}]}},
    }))
    .unwrap();
    let kvm = HostDevice {
        path: "/dev/kvm".into(),
        kind: DeviceKind::Character,
        major: 10,
        minor: 232,
        mode: 0o660,
        uid: 0,
        gid: 104,
    };
    let file = [vendor()];
    let edits = edits(&names(&["vendor.com/gpu=0"]), &file).unwrap();
    apply(&mut spec, &Devices { edits, nodes: vec![kvm] }).unwrap();
    let made: Value = serde_json::to_value(&spec).unwrap();
    assert_eq!(made["process"]["env"], json!(["PATH=/bin", "VENDOR=yes", "DEVICE=0"]));
    assert_eq!(made["process"]["user"]["additionalGids"], json!([44]));
    let device = &made["linux"]["devices"][0];
    assert_eq!(
        (&device["path"], &device["type"], &device["major"], &device["minor"], &device["uid"]),
        (&json!("/dev/gpu0"), &json!("c"), &json!(10), &json!(232), &json!(5))
    );
    let rule = &made["linux"]["resources"]["devices"][1];
    assert_eq!((&rule["allow"], &rule["access"]), (&json!(true), &json!("rw")));
    let mounts: Vec<_> =
        made["mounts"].as_array().unwrap().iter().map(|mount| &mount["destination"]).collect();
    assert_eq!(mounts, ["/usr/lib/vendor", "/usr/lib/vendor/deep"]);
    assert_eq!(made["hooks"]["createContainer"][0]["path"], "/opt/vendor/hook");
}

#[test]
fn a_node_that_the_host_lacks_and_a_hook_that_nobody_knows_are_named() {
    let mut spec = Spec::default();
    let only = |edit| Devices { edits: vec![edit], nodes: Vec::new() };
    let node = CdiNode { path: "/dev/none".into(), ..CdiNode::default() };
    let edit = CdiEdits { device_nodes: vec![node], ..CdiEdits::default() };
    assert!(apply(&mut spec, &only(edit)).unwrap_err().message.contains("/dev/none"));
    let hook = CdiHook { hook_name: "never".into(), path: "/x".into(), ..CdiHook::default() };
    let edit = CdiEdits { hooks: vec![hook], ..CdiEdits::default() };
    assert!(apply(&mut spec, &only(edit)).unwrap_err().message.contains("never"));
}
