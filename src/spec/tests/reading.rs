//! How files are read: forms of YAML and JSON, documents, versions, defaults, hashes.

use serde_json::{Value, json};

use super::{GOOD, container, faults, only, pod, set, strict};
use crate::spec::{FieldValidation, Outcome, read};

/// A field of a set as it was understood, by its JSON pointer from the pod spec.
fn understood(text: &str, pointer: &str) -> Value {
    let object = serde_json::to_value(&set(text).object).unwrap();
    object.pointer(&format!("/spec/template/spec{pointer}")).cloned().unwrap_or(Value::Null)
}

#[test]
fn numbers_and_flags_are_read_as_kubernetes_reads_them() {
    for (written, pointer, meant) in [
        ("terminationGracePeriodSeconds: 0640", "/terminationGracePeriodSeconds", json!(416)),
        ("terminationGracePeriodSeconds: 0o400", "/terminationGracePeriodSeconds", json!(256)),
        ("terminationGracePeriodSeconds: 420", "/terminationGracePeriodSeconds", json!(420)),
        ("terminationGracePeriodSeconds: 0x10", "/terminationGracePeriodSeconds", json!(16)),
        ("terminationGracePeriodSeconds: 5.0", "/terminationGracePeriodSeconds", json!(5)),
        ("terminationGracePeriodSeconds: 1_000", "/terminationGracePeriodSeconds", json!(1000)),
        ("hostPID: yes", "/hostPID", json!(true)),
        ("hostPID: On", "/hostPID", json!(true)),
        ("hostPID: no", "/hostPID", json!(false)),
        ("nodeSelector: {a: \"true\"}", "/nodeSelector/a", json!("true")),
        ("nodeSelector: {a: null}", "/nodeSelector/a", json!("")),
        ("nodeSelector: {on: \"1\"}", "/nodeSelector/on", json!("1")),
    ] {
        assert_eq!(understood(&pod(written), pointer), meant, "{written}");
    }
    for (written, meant) in [
        ("2", "2"),
        ("0.15", "150m"),
        ("\"0.5\"", "500m"),
        ("500m", "500m"),
        ("1500m", "1500m"),
        ("2000m", "2"),
        ("1e1", "10"),
        ("100u", "1m"),
    ] {
        let text = container(&format!("resources: {{limits: {{cpu: {written}}}}}"));
        assert_eq!(understood(&text, "/containers/0/resources/limits/cpu"), meant, "{written}");
    }
    for (written, meant) in [
        ("1024Mi", "1Gi"),
        ("1536Mi", "1536Mi"),
        ("1000k", "1M"),
        ("1048576", "1048576"),
        ("0", "0"),
    ] {
        let text = container(&format!("resources: {{limits: {{memory: {written}}}}}"));
        assert_eq!(understood(&text, "/containers/0/resources/limits/memory"), meant, "{written}");
    }
}

#[test]
fn null_means_absent() {
    let text = pod(
        "tolerations:\nsecurityContext: null\ndnsConfig: ~\nvolumes:\n- name: v\n  emptyDir:\naffinity:",
    );
    let set = set(&text);
    let spec = set.pod_spec();
    assert_eq!(spec.tolerations, None);
    assert!(spec.security_context.is_some() && spec.affinity.is_none());
    assert!(spec.volumes.as_ref().unwrap()[0].empty_dir.is_some());
    let whole = GOOD.replace("name: web\n", "name: web\n  labels:\n  creationTimestamp: null\n");
    assert!(matches!(only(&whole).outcome, Outcome::Set(_)));
}

#[test]
fn anchors_and_merge_keys_unfold() {
    let text = GOOD.replace("matchLabels: {app: web}", "matchLabels: &labels {app: web}").replace(
        "labels: {app: web}\n    spec",
        "labels:\n        <<: *labels\n        tier: x\n    spec",
    );
    let labels = set(&text).template().metadata.as_ref().unwrap().labels.clone().unwrap();
    assert_eq!(labels["app"], "web");
    assert_eq!(labels["tier"], "x");
}

#[test]
fn line_ends_and_marks_of_windows_do_not_matter() {
    let plain = set(GOOD).hash.clone();
    assert_eq!(set(&GOOD.replace('\n', "\r\n")).hash, plain);
    assert_eq!(set(&format!("\u{feff}{GOOD}")).hash, plain);
    assert_eq!(set(GOOD.trim_end()).hash, plain);
    let two =
        format!("{GOOD}---\n{}", GOOD.replace("name: web", "name: two")).replace('\n', "\r\n");
    assert_eq!(strict(&two).documents.len(), 2);
}

#[test]
fn empty_documents_are_none() {
    for text in [
        "",
        "\n\n",
        "# only a comment\n",
        "---\n",
        "---\n---\n# x\n---\n",
        "...\n",
        "--- # x\n",
        "null\n",
        "~",
    ] {
        let reading = strict(text);
        assert_eq!((reading.faults.len(), reading.documents.len()), (0, 0), "{text:?}");
    }
    let framed = format!("# a\n---\n# b\n---\n{GOOD}...\n---\n# end\n");
    let document = only(&framed);
    assert_eq!((document.index, document.line), (1, 5));
    assert_eq!(only(&format!("%YAML 1.1\n---\n{GOOD}")).faults, []);
}

#[test]
fn a_malformed_document_hides_no_other_one() {
    let text =
        format!("{GOOD}---\na: [1, 2\nb: }}\n---\n{}", GOOD.replace("name: web", "name: two"));
    let reading = strict(&text);
    let ends: Vec<bool> = reading
        .documents
        .iter()
        .map(|document| matches!(document.outcome, Outcome::Set(_)))
        .collect();
    assert_eq!(ends, [true, false, true]);
    let fault = &reading.documents[1].faults[0];
    assert_eq!(fault.line, Some(GOOD.lines().count() + 3), "{fault}");
    assert!(fault.problem.starts_with("not valid YAML"), "{fault}");
}

#[test]
fn a_malformed_set_still_says_which_one_it_is() {
    let broken = GOOD.replace("image: busybox", "image: [busybox");
    let document = only(&broken.replace("  name: web", "  labels: {a: b}\n  name: \"web\" # here"));
    assert_eq!(document.key.unwrap().to_string(), "default/web");
    let spaced =
        broken.replace("metadata:\n  name: web", "metadata:\n  name: web\n  namespace: sys");
    assert_eq!(only(&spaced).key.unwrap().to_string(), "sys/web");
    assert!(only("kind: Pod\nmetadata:\n  name: [\n").key.is_none());
}

#[test]
fn json_is_read_too() {
    let value: Value = serde_saphyr::from_str(GOOD).unwrap();
    let plain = set(GOOD).hash.clone();
    assert_eq!(set(&value.to_string()).hash, plain);
    assert_eq!(set(&serde_json::to_string_pretty(&value).unwrap().replace("  ", "\t")).hash, plain);
    assert_eq!(set(&format!("---\n{value}\n")).hash, plain);
    let other = value.to_string().replace("\"name\":\"web\"", "\"name\":\"two\"");
    let reading = strict(&format!("{value}\n\n{other}\n"));
    assert_eq!(reading.documents.iter().map(|document| document.line).collect::<Vec<_>>(), [1, 3]);
    let twice = value
        .to_string()
        .replace("\"hostNetwork\":true", "\"hostNetwork\":true,\"hostNetwork\":true");
    assert_eq!(faults(&twice), [": the key hostNetwork stands twice in one mapping"]);
}

#[test]
fn lists_are_unfolded_with_the_lines_of_their_items() {
    let indented = GOOD.replace('\n', "\n    ");
    let bad = indented.replace("name: web", "name: Two");
    let text = format!(
        "apiVersion: v1\nkind: List\nitems:\n  - {indented}\n  - {bad}\n  - kind: DaemonSetList\n    apiVersion: apps/v1\n    items: []\n"
    );
    let reading = strict(&text);
    assert_eq!(reading.documents.len(), 2);
    assert_eq!((reading.documents[0].index, reading.documents[0].line), (1, 4));
    let fault = &reading.documents[1].faults[0];
    assert_eq!((fault.path.as_str(), fault.document), ("metadata.name", Some(2)));
    let line = text.lines().position(|line| line.contains("name: Two")).unwrap() + 1;
    assert_eq!(fault.line, Some(line));
}

#[test]
fn a_fault_stands_at_its_line() {
    let text = format!("# first\n{}", container("env:\n- name: A\n  value: 8080\nlabel.x: 1"));
    let document = only(&text);
    let line = |needle: &str| text.lines().position(|line| line.contains(needle)).unwrap() + 1;
    let at = |path: &str| document.faults.iter().find(|fault| fault.path == path).unwrap().line;
    assert_eq!(at("spec.template.spec.containers[0].env[0].value"), Some(line("8080")));
    assert_eq!(at("spec.template.spec.containers[0][label.x]"), Some(line("label.x")));
}

#[test]
fn retired_versions_are_read_with_the_defaults_of_old() {
    let beta2 = only(&GOOD.replace("apps/v1", "apps/v1beta2"));
    let Outcome::Set(set) = &beta2.outcome else { panic!("{:?}", beta2.faults) };
    assert!(!set.on_delete());
    assert!(beta2.warnings[0].to_string().contains("no longer serves this version"));
    let old = GOOD
        .replace("apps/v1", "extensions/v1beta1")
        .replace("  selector:\n    matchLabels: {app: web}\n", "  templateGeneration: 3\n");
    let document = only(&old);
    let Outcome::Set(set) = &document.outcome else { panic!("{:?}", document.faults) };
    assert!(set.on_delete());
    let selector = &set.object.spec.as_ref().unwrap().selector;
    assert_eq!(selector.match_labels.as_ref().unwrap()["app"], "web");
    assert_eq!(serde_json::to_value(&set.object).unwrap()["apiVersion"], "apps/v1");
}

#[test]
fn other_kinds_are_ignored_each_with_its_reason() {
    for (version, kind, word) in [
        ("v1", "Service", "Service"),
        ("example.com/v1", "ConfigMap", "knows nothing of example.com/v1 ConfigMap"),
        ("v1", "Namespace", "namespace"),
        ("apps/v1", "Deployment", "only DaemonSets"),
        ("rbac.authorization.k8s.io/v1", "ClusterRole", "access"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "custom resources"),
        ("policy/v1beta1", "PodSecurityPolicy", "retired"),
        ("apps.kruise.io/v1alpha1", "DaemonSet", "knows nothing of apps.kruise.io"),
        ("example.com/v1", "Thing", "knows nothing of example.com/v1 Thing"),
    ] {
        let document =
            only(&format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: x}}\n"));
        let Outcome::Ignored { reason } = document.outcome else { panic!("{kind}") };
        assert!(reason.contains(word), "{kind}: {reason}");
        assert!(document.key.is_none() && document.name == "x");
    }
}

#[test]
fn what_is_no_object_is_a_fault() {
    for (text, fault) in [
        ("apiVersion: app/v1\nkind: DaemonSet", "apiVersion: has no DaemonSet"),
        (
            "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: a}",
            "spec: required field is missing",
        ),
        (
            "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: a}\nspec: [x]",
            "spec: is a list, but must be a mapping",
        ),
        (
            "apiVersion: v1\nkind: List\nitems: {a: b}",
            "items: is a mapping, but must be a list of objects",
        ),
        ("just words", ": is a string, but a Kubernetes object is a mapping"),
        ("- a\n- b", ": is a list, but a Kubernetes object is a mapping"),
        ("a: 1", "apiVersion: required field is missing"),
        ("apiVersion: 1\nkind: [x]", "apiVersion: must be a string that is not empty"),
        ("apiVersion: v1\nkind: DaemonSet", "apiVersion: has no DaemonSet"),
        ("apiVersion: apps/v2\nkind: DaemonSet", "apiVersion: has no DaemonSet"),
        ("apiVersion: apps/v1\nkind: Daemonset", "kind: unknown kind"),
        ("apiVersion: apps/v1\nkind: DaemonSets", "kind: unknown kind"),
        ("apiversion: apps/v1\nkind: DaemonSet", "apiVersion: required field is missing"),
    ] {
        assert!(faults(text).contains(&fault.to_owned()), "{text}\n{:#?}", faults(text));
    }
}

#[test]
fn a_set_that_stands_twice_in_a_file_is_rejected_the_second_time() {
    let reading = strict(&format!("{GOOD}---\n{GOOD}"));
    assert!(matches!(reading.documents[0].outcome, Outcome::Set(_)));
    let fault = &reading.documents[1].faults[0];
    assert_eq!(fault.problem, "document 1 of this file describes default/web already");
}

#[test]
fn repeated_keys_are_taken_as_asked_for() {
    let text = pod("hostPID: true\nhostPID: false");
    assert_eq!(faults(&text), [": the key hostPID stands twice in one mapping"]);
    let reading = read("a", text.as_bytes(), FieldValidation::Warn);
    assert!(reading.documents[0].warnings[0].problem.contains("hostPID stands twice"));
    let Outcome::Set(set) = &reading.documents[0].outcome else { panic!() };
    assert_eq!(set.pod_spec().host_pid, Some(false));
    let reading = read("a", text.as_bytes(), FieldValidation::Ignore);
    assert!(reading.documents[0].warnings.is_empty());
}

#[test]
fn defaults_are_those_of_kubernetes() {
    let text = container(
        "ports: [{containerPort: 80}]\nlivenessProbe: {httpGet: {port: 80}, timeoutSeconds: 0}",
    );
    let set = set(&text.replace("#POD", "volumes: [{name: v}]"));
    let object = serde_json::to_value(&set.object).unwrap();
    for (pointer, value) in [
        ("/metadata/namespace", json!("default")),
        ("/spec/revisionHistoryLimit", json!(10)),
        ("/spec/updateStrategy/type", json!("RollingUpdate")),
        ("/spec/updateStrategy/rollingUpdate/maxUnavailable", json!(1)),
        ("/spec/updateStrategy/rollingUpdate/maxSurge", json!(0)),
        ("/spec/template/spec/restartPolicy", json!("Always")),
        ("/spec/template/spec/terminationGracePeriodSeconds", json!(30)),
        ("/spec/template/spec/dnsPolicy", json!("ClusterFirst")),
        ("/spec/template/spec/securityContext", json!({})),
        ("/spec/template/spec/volumes/0/emptyDir", json!({})),
        ("/spec/template/spec/containers/0/imagePullPolicy", json!("IfNotPresent")),
        ("/spec/template/spec/containers/0/terminationMessagePath", json!("/dev/termination-log")),
        ("/spec/template/spec/containers/0/ports/0/protocol", json!("TCP")),
        ("/spec/template/spec/containers/0/livenessProbe/timeoutSeconds", json!(1)),
        ("/spec/template/spec/containers/0/livenessProbe/failureThreshold", json!(3)),
        ("/spec/template/spec/containers/0/livenessProbe/httpGet/path", json!("/")),
        ("/spec/template/spec/containers/0/livenessProbe/httpGet/scheme", json!("HTTP")),
    ] {
        assert_eq!(object.pointer(pointer), Some(&value), "{pointer}");
    }
    // Requests default from limits on the pod only, so the template's hash does not change by it.
    let limited = super::set(&container("resources: {limits: {cpu: 1}}"));
    let resources = limited.pod_spec().containers[0].resources.as_ref().unwrap();
    assert_eq!(resources.requests, None);
}

#[test]
fn the_pull_policy_follows_the_tag() {
    for (image, policy) in [
        ("busybox", "Always"),
        ("busybox:latest", "Always"),
        ("host:5000/busybox", "Always"),
        ("busybox:1.36", "IfNotPresent"),
        ("host:5000/busybox:1", "IfNotPresent"),
    ] {
        let text = GOOD.replace("busybox:1.36", image);
        assert_eq!(understood(&text, "/containers/0/imagePullPolicy"), policy, "{image}");
    }
}

#[test]
fn equal_templates_have_equal_hashes_however_written() {
    let plain = set(GOOD).hash.clone();
    assert_eq!(plain.as_str().len(), 10);
    assert!(plain.as_str().chars().all(|c| "bcdfghjklmnpqrstvwxz2456789".contains(c)));
    for same in [
        GOOD.replace("name: web", "name: other"),
        pod("restartPolicy: Always\nhostPID:"),
        container("imagePullPolicy: IfNotPresent"),
        GOOD.replace(
            "- name: main\n        image: busybox:1.36",
            "- image: busybox:1.36\n        name: main",
        ),
        GOOD.replace(
            "labels: {app: web}\n    spec",
            "labels: {app: web}\n      creationTimestamp: null\n    spec",
        ),
    ] {
        assert_eq!(set(&same).hash, plain, "{same}");
    }
    for other in [
        GOOD.replace("busybox:1.36", "busybox:1.37"),
        container("command: [a]"),
        pod("nodeSelector: {a: b}"),
    ] {
        assert_ne!(set(&other).hash, plain, "{other}");
    }
    let half = set(&container("resources: {limits: {cpu: 0.5}}")).hash.clone();
    assert_eq!(set(&container("resources: {limits: {cpu: 500m}}")).hash, half);
    // A fixed value: were it to change, an upgrade of the agent would restart every pod.
    assert_eq!(plain.as_str(), "8tfsjjlznb");
}

#[test]
fn a_set_survives_its_way_out_and_back() {
    let rich =
        container("env: [{name: A, value: \"1\"}]\nresources: {limits: {cpu: 1.5, memory: 1Gi}}");
    let first = set(&rich);
    let json = serde_json::to_string(&first.object).unwrap();
    let yaml = serde_saphyr::to_string(&first.object).unwrap();
    assert_eq!(set(&json).object, first.object);
    assert_eq!(set(&yaml).object, first.object);
    assert_eq!(set(&yaml).hash, first.hash);
}

#[test]
fn what_only_a_cluster_writes_is_dropped() {
    let text = GOOD.replace(
        "name: web\nspec",
        "name: web\n  uid: x\n  generation: 4\n  resourceVersion: \"7\"\n  creationTimestamp: \"2020-01-01T00:00:00Z\"\nstatus: {numberReady: 3}\nspec",
    );
    let set = set(&text);
    let metadata = &set.object.metadata;
    assert!(metadata.uid.is_none() && metadata.generation.is_none());
    assert!(metadata.creation_timestamp.is_none() && set.object.status.is_none());
}

#[test]
fn a_badly_marked_set_shows_all_its_faults_at_once() {
    let body = "metadata: {name: A}\nspec: {replicas: 1}\n";
    for head in [
        "apiVersion: app/v1\nkind: DaemonSet",
        "kind: DaemonSet",
        "apiVersion: apps/v1\nkind: Daemonset",
    ] {
        let found = faults(&format!("{head}\n{body}"));
        for path in ["metadata.name: ", "spec.replicas: ", "spec.selector: ", "spec.template: "] {
            assert!(found.iter().any(|fault| fault.starts_with(path)), "{path}{found:#?}");
        }
    }
}

#[test]
fn items_of_a_typed_list_need_not_say_what_they_are() {
    let list = "apiVersion: apps/v1\nkind: DaemonSetList\nitems: [{metadata: {name: a}}]\n";
    assert_eq!(faults(list), ["spec: required field is missing"]);
}

#[test]
fn leftovers_of_other_tools_are_called_by_their_name() {
    for (text, remedy) in [
        ("{{- if .Values.a }}\na: b\n{{- end }}\n", "render it first"),
        ("a: {{ .Values.a }}-b\n", "render it first"),
        ("a: b\n<<<<<<< HEAD\nc: d\n=======\n", "a merge was left unfinished"),
        ("a: @b\n", "write the value in quotes"),
        ("a:\n\tb: c\n", "indent with spaces"),
    ] {
        let fault = &only(text).faults[0];
        assert!(fault.remedy.contains(remedy), "{fault}");
    }
}
