//! Fills in what Kubernetes fills in, on the JSON form, before anything is checked.

use serde_json::{Map, Value, json};

/// An object's fields.
type Fields = Map<String, Value>;

/// Fills in the defaults of a DaemonSet of apps/v1, and drops what only a cluster's API server writes.
pub fn fill(object: &mut Fields) {
    object.remove("status");
    if let Some(metadata) = inner(object, "metadata") {
        keep(metadata, &["name", "namespace", "labels", "annotations"]);
        if metadata.get("namespace").is_none_or(|namespace| namespace == "") {
            metadata.insert("namespace".to_owned(), json!("default"));
        }
    }
    let Some(spec) = inner(object, "spec") else {
        return;
    };
    set(spec, "revisionHistoryLimit", json!(10));
    set(spec, "updateStrategy", json!({}));
    if let Some(strategy) = inner(spec, "updateStrategy") {
        set(strategy, "type", json!("RollingUpdate"));
        if strategy.get("type") == Some(&json!("RollingUpdate")) {
            set(strategy, "rollingUpdate", json!({}));
            if let Some(rolling) = inner(strategy, "rollingUpdate") {
                set(rolling, "maxUnavailable", json!(1));
                set(rolling, "maxSurge", json!(0));
            }
        }
    }
    let Some(template) = inner(spec, "template") else {
        return;
    };
    if let Some(metadata) = inner(template, "metadata") {
        // The name of a template means nothing, and should roll no pods.
        keep(metadata, &["labels", "annotations"]);
    }
    if let Some(pod) = inner(template, "spec") {
        fill_pod(pod);
    }
}

/// Drops all fields but some.
fn keep(fields: &mut Fields, names: &[&str]) {
    fields.retain(|name, _| names.contains(&name.as_str()));
}

/// Fills in the defaults of a pod spec.
fn fill_pod(pod: &mut Fields) {
    set(pod, "restartPolicy", json!("Always"));
    set(pod, "terminationGracePeriodSeconds", json!(30));
    set(pod, "dnsPolicy", json!("ClusterFirst"));
    set(pod, "enableServiceLinks", json!(true));
    set(pod, "schedulerName", json!("default-scheduler"));
    set(pod, "securityContext", json!({}));
    // The old name of the service account is an alias.
    if let Some(account) = pod.get("serviceAccountName").or(pod.get("serviceAccount")).cloned() {
        pod.insert("serviceAccountName".to_owned(), account.clone());
        pod.insert("serviceAccount".to_owned(), account);
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        each(pod, list, fill_container);
    }
    each(pod, "volumes", fill_volume);
}

/// Fills in the defaults of a container.
fn fill_container(container: &mut Fields) {
    let policy = match container.get("image").and_then(Value::as_str) {
        Some(image) if is_latest(image) => "Always",
        _ => "IfNotPresent",
    };
    set(container, "imagePullPolicy", json!(policy));
    set(container, "terminationMessagePath", json!("/dev/termination-log"));
    set(container, "terminationMessagePolicy", json!("File"));
    each(container, "ports", |port| {
        set(port, "protocol", json!("TCP"));
    });
    each(container, "env", |variable| {
        if let Some(field) = inner(variable, "valueFrom").and_then(|from| inner(from, "fieldRef")) {
            set(field, "apiVersion", json!("v1"));
        }
    });
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = inner(container, probe) {
            fill_probe(probe);
        }
    }
    for hook in ["postStart", "preStop"] {
        if let Some(hook) = inner(container, "lifecycle").and_then(|hooks| inner(hooks, hook)) {
            fill_http(hook);
        }
    }
}

/// Fills in the defaults of a probe: a zero cannot mean "none" there.
fn fill_probe(probe: &mut Fields) {
    for (field, value) in [
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ] {
        if probe.get(field).is_none_or(|given| given == 0) {
            probe.insert(field.to_owned(), json!(value));
        }
    }
    fill_http(probe);
    if let Some(grpc) = inner(probe, "grpc") {
        set(grpc, "service", json!(""));
    }
}

/// Fills in the defaults of an HTTP request.
fn fill_http(handler: &mut Fields) {
    if let Some(http) = inner(handler, "httpGet") {
        set(http, "path", json!("/"));
        set(http, "scheme", json!("HTTP"));
    }
}

/// Fills in the defaults of a volume: one without a source is an emptyDir.
fn fill_volume(volume: &mut Fields) {
    if volume.keys().all(|field| field == "name") {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    if let Some(path) = inner(volume, "hostPath") {
        set(path, "type", json!(""));
    }
    for source in ["configMap", "secret", "downwardAPI", "projected"] {
        if let Some(source) = inner(volume, source) {
            set(source, "defaultMode", json!(0o644));
        }
    }
}

/// Whether an image is pulled anew each time: its tag is `latest`, or it has neither tag nor digest.
fn is_latest(image: &str) -> bool {
    let (name, digest) = image.split_once('@').map_or((image, false), |(name, _)| (name, true));
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => !digest,
    }
}

/// Sets a field that is not there; an empty text counts as absent, as in Go.
fn set(fields: &mut Fields, name: &str, value: Value) {
    if fields.get(name).is_none_or(|given| given == "") {
        fields.insert(name.to_owned(), value);
    }
}

/// The object in a field.
fn inner<'a>(fields: &'a mut Fields, name: &str) -> Option<&'a mut Fields> {
    fields.get_mut(name)?.as_object_mut()
}

/// Does something to each object of a list.
fn each(fields: &mut Fields, name: &str, change: impl Fn(&mut Fields)) {
    let items = fields.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten();
    items.filter_map(Value::as_object_mut).for_each(change);
}
