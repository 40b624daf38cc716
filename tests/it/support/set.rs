//! A builder of DaemonSets, so that a test spells out only what it is about.

use serde_json::{Map, Value, json};

use super::image::IMAGE;

/// A container that stays until it is told to stop, and then goes at once.
pub(crate) const STAY: &str = "trap 'exit 0' TERM; echo up; while :; do sleep 1000 & wait $!; done";

/// A DaemonSet in the making. It is written as JSON, which is YAML.
#[derive(Debug, Clone)]
pub(crate) struct Set(Value);

impl Set {
    /// A set in namespace `default` with one container, `main`, that stays.
    pub(crate) fn named(name: &str) -> Self {
        Self(json!({
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {
                        "hostNetwork": true,
                        "terminationGracePeriodSeconds": 5,
                        "containers": [{"name": "main", "image": IMAGE, "command": ["sh", "-c", STAY]}],
                    },
                },
            },
        }))
    }

    /// Lets the first container run a script of the shell.
    pub(crate) fn script(self, script: &str) -> Self {
        self.container(&json!({"command": ["sh", "-c", script]}))
    }

    /// Lays fields over the first container.
    pub(crate) fn container(mut self, fields: &Value) -> Self {
        merge(&mut self.0["spec"]["template"]["spec"]["containers"][0], fields);
        self
    }

    /// Adds a container that runs a script.
    pub(crate) fn also(mut self, name: &str, script: &str) -> Self {
        let container = json!({"name": name, "image": IMAGE, "command": ["sh", "-c", script]});
        let containers = &mut self.0["spec"]["template"]["spec"]["containers"];
        containers.as_array_mut().expect("containers are a list").push(container);
        self
    }

    /// Adds an init container that runs a script, with more fields laid over it.
    pub(crate) fn init(mut self, name: &str, script: &str, fields: &Value) -> Self {
        let mut container = json!({"name": name, "image": IMAGE, "command": ["sh", "-c", script]});
        merge(&mut container, fields);
        let spec = &mut self.0["spec"]["template"]["spec"];
        if spec["initContainers"].is_null() {
            spec["initContainers"] = json!([]);
        }
        let inits = spec["initContainers"].as_array_mut().expect("init containers are a list");
        inits.push(container);
        self
    }

    /// Lays fields over the pod's spec.
    pub(crate) fn pod(mut self, fields: &Value) -> Self {
        merge(&mut self.0["spec"]["template"]["spec"], fields);
        self
    }

    /// Lays fields over the set's spec.
    pub(crate) fn spec(mut self, fields: &Value) -> Self {
        merge(&mut self.0["spec"], fields);
        self
    }

    /// Lays fields over the set's metadata.
    pub(crate) fn metadata(mut self, fields: &Value) -> Self {
        merge(&mut self.0["metadata"], fields);
        self
    }

    /// Gives every container a directory of the host at `/out`.
    pub(crate) fn out(mut self, directory: &std::path::Path) -> Self {
        let spec = &mut self.0["spec"]["template"]["spec"];
        spec["volumes"] = json!([{"name": "out", "hostPath": {"path": directory}}]);
        for list in ["initContainers", "containers"] {
            for container in spec[list].as_array_mut().into_iter().flatten() {
                container["volumeMounts"] = json!([{"name": "out", "mountPath": "/out"}]);
            }
        }
        self
    }

    /// The document.
    pub(crate) fn text(&self) -> String {
        format!("{:#}\n", self.0)
    }
}

/// Lays `over` over `base`: objects are merged, everything else is replaced, `null` removes.
pub(crate) fn merge(base: &mut Value, over: &Value) {
    let Value::Object(over) = over else {
        *base = over.clone();
        return;
    };
    if !base.is_object() {
        *base = Value::Object(Map::new());
    }
    for (key, value) in over {
        if value.is_null() {
            base.as_object_mut().expect("made an object above").remove(key);
        } else {
            merge(&mut base[key.as_str()], value);
        }
    }
}
