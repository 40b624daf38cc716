//! A pod with nearly everything that a pod can have; what happens in it is told line by line in a file of the host.

use std::path::Path;

use serde_json::{Value, json};

use super::image::IMAGE;

/// A DaemonSet with the `ConfigMap` and the `Secret` that it reads, as one file. Its main container listens on `port`.
///
/// `first` and `second` run before `main`, and `side` beside all that comes after `first`. All of them write into `/out/NAME`.
pub(crate) fn rich(name: &str, version: &str, out: &Path, port: u16) -> String {
    let documents = [
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"},
            "data": {"version": version, "index.html": "served\n"},
        }),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"},
            "stringData": {"password": format!("secret of {version}")},
        }),
        set(name, out, port),
    ];
    documents.map(|document| format!("{document:#}\n")).join("---\n")
}

/// A command that says something in the pod's story.
fn say(name: &str, words: &str) -> String {
    format!("echo \"{words}\" >>/out/{name}")
}

/// A command of exec probes and hooks.
fn exec(script: &str) -> Value {
    json!({"exec": {"command": ["sh", "-c", script]}})
}

/// A process that says when it begins and ends.
fn stays(name: &str, own: &str, before: &str) -> String {
    let (ends, begins) = (say(name, &format!("{own} ends")), say(name, own));
    format!(
        "trap '{ends}; exit 0' TERM; {before}; {begins}; touch /tmp/up; while :; do sleep 1000 & wait $!; done"
    )
}

/// The set.
fn set(name: &str, out: &Path, port: u16) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "hostNetwork": true,
                    "terminationGracePeriodSeconds": 10,
                    "initContainers": [
                        container("first", &say(name, "first"), json!({})),
                        container("side", &stays(name, "side", ":"), json!({
                            "restartPolicy": "Always",
                            "startupProbe": probe(exec("test -e /tmp/up")),
                            "lifecycle": {"preStop": exec(&say(name, "side preStop"))},
                        })),
                        container("second", &say(name, "second reads $(cat /config/version)"), json!({})),
                    ],
                    "containers": [container(
                        "main",
                        &stays(name, "main $VERSION of $(cat /one/version)", "httpd -p $PORT -h /config"),
                        json!({
                            "env": [
                                {"name": "PORT", "value": port.to_string()},
                                {"name": "VERSION", "valueFrom": {"configMapKeyRef": {"name": name, "key": "version"}}},
                            ],
                            "ports": [{"name": "web", "containerPort": port}],
                            "startupProbe": probe(exec("test -e /tmp/up")),
                            "livenessProbe": probe(json!({"tcpSocket": {"port": "web"}})),
                            "readinessProbe": probe(json!({"httpGet": {"path": "/index.html", "port": "web"}})),
                            "lifecycle": {
                                "postStart": exec(&say(name, "postStart")),
                                "preStop": exec(&say(name, "preStop")),
                            },
                        }),
                    )],
                    "volumes": [
                        {"name": "out", "hostPath": {"path": out}},
                        {"name": "config", "configMap": {"name": name}},
                        {"name": "all", "projected": {"sources": [
                            {"configMap": {"name": name, "items": [{"key": "version", "path": "conf/version"}]}},
                            {"secret": {"name": name, "items": [{"key": "password", "path": "password", "mode": 0o400}]}},
                            {"downwardAPI": {"items": [{"path": "pod", "fieldRef": {"fieldPath": "metadata.name"}}]}},
                        ]}},
                    ],
                },
            },
        },
    })
}

/// A probe that asks each second.
fn probe(mut action: Value) -> Value {
    action["periodSeconds"] = json!(1);
    action
}

/// A container with the pod's volumes.
fn container(name: &str, script: &str, more: Value) -> Value {
    let mut container = more;
    container["name"] = json!(name);
    container["image"] = json!(IMAGE);
    container["command"] = json!(["sh", "-c", script]);
    container["volumeMounts"] = json!([
        {"name": "out", "mountPath": "/out"},
        {"name": "config", "mountPath": "/config"},
        {"name": "config", "mountPath": "/one/version", "subPath": "version"},
        {"name": "all", "mountPath": "/all", "readOnly": true},
    ]);
    container
}
