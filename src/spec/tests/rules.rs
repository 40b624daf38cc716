//! One table for each family of rules: what is refused, where, and what passes.

use super::{GOOD, container, faults, only, pod, set, support};
use crate::spec::{Outcome, Support};

/// Each text has exactly the fault, given without `spec.template.spec.`.
pub fn each_has(table: &[(String, &str)]) {
    for (text, fault) in table {
        let found = faults(text);
        let short: Vec<&str> = found
            .iter()
            .map(|fault| fault.strip_prefix("spec.template.spec.").unwrap_or(fault))
            .map(|fault| fault.strip_prefix("containers[0].").unwrap_or(fault))
            .collect();
        assert_eq!(short, [*fault], "{text}");
    }
}

/// Each text describes a set that can run, or would but for refused fields.
pub fn each_passes(texts: &[String]) {
    for text in texts {
        assert_eq!(faults(text), Vec::<String>::new(), "{text}");
    }
}

/// The good set with a piece of it replaced.
pub fn with(old: &str, new: &str) -> String {
    assert!(GOOD.contains(old), "{old}");
    GOOD.replace(old, new)
}

#[test]
fn the_good_set_is_good() {
    assert!(matches!(only(GOOD).outcome, Outcome::Set(_)));
    assert!(only(GOOD).warnings.is_empty());
}

#[test]
fn values_of_the_wrong_type_are_all_named_with_their_paths() {
    let text = container(
        "env:\n- {name: A, value: 8080}\n- {name: B, value: yes}\nargs: [a, 1]\nports: 80",
    )
    .replace("#POD", "hostPID: \"yes\"\n      nodeSelector: {a: 1}\n      tolerations: [x]");
    let document = only(&text);
    let found: Vec<String> = document.faults.iter().map(ToString::to_string).collect();
    let base = "test.yaml:";
    for part in [
        "containers[0].env[0].value: 8080: is a number, but must be a string; write it in quotes: \"8080\"",
        "containers[0].env[1].value: yes: is true or false, but must be a string; write it in quotes: \"yes\"",
        "containers[0].args[1]: 1: is a number, but must be a string",
        "containers[0].ports: 80: is a number, but must be a list of mappings",
        "spec.hostPID: \"yes\": is a string, but must be true or false; write true without quotes",
        "nodeSelector.a: 1: is a number, but must be a string",
        "tolerations[0]: \"x\": is a string, but must be a mapping",
    ] {
        assert!(
            found.iter().any(|fault| fault.starts_with(base) && fault.contains(part)),
            "{part}\n{found:#?}"
        );
    }
    assert_eq!(found.len(), 7, "{found:#?}");
}

#[test]
fn unknown_fields_name_the_nearest_known_one() {
    for (text, path, remedy) in [
        (
            pod("nodeSelectors: {a: b}"),
            "spec.template.spec.nodeSelectors",
            "did you mean nodeSelector?",
        ),
        (
            container("imagePullPolcy: Never"),
            "spec.template.spec.containers[0].imagePullPolcy",
            "did you mean imagePullPolicy?",
        ),
        (
            with("spec:\n  selector", "spec:\n  replicas: 2\n  selector"),
            "spec.replicas",
            "DaemonSetSpec has no such field; remove it",
        ),
        (GOOD.to_owned() + "stauts: {}\n", "stauts", "did you mean status?"),
        (pod("hostnetwork: null"), "spec.template.spec.hostnetwork", "did you mean hostNetwork?"),
    ] {
        let document = only(&text);
        assert_eq!(document.faults.len(), 1, "{:?}", document.faults);
        let fault = &document.faults[0];
        assert_eq!(
            (fault.path.as_str(), fault.problem.as_str(), fault.remedy.as_str()),
            (path, "unknown field", remedy)
        );
    }
}

#[test]
fn metadata_is_checked() {
    each_has(&[
        (with("name: web", "name: Web"), "metadata.name: is not well-formed"),
        (with("name: web", "name: web_1"), "metadata.name: is not well-formed"),
        (with("name: web", "name: \"\""), "metadata.name: is empty"),
        (with("name: web", "labels: {a: b}"), "metadata.name: required field is missing"),
        (
            with("name: web", "name: web\n  namespace: a.b"),
            "metadata.namespace: is not well-formed",
        ),
        (
            with("name: web", "name: web\n  labels: {\"a b\": c}"),
            "metadata.labels[a b]: the key is not well-formed",
        ),
        (
            with("name: web", "name: web\n  labels: {a: -b}"),
            "metadata.labels.a: is not well-formed",
        ),
        (
            with("name: web", "name: web\n  annotations: {/a: b}"),
            "metadata.annotations[/a]: the key is not well-formed",
        ),
    ]);
    each_passes(&[
        with("name: web", "name: a.b-c.d"),
        with("name: web", "name: web\n  annotations: {Example.com/X_y: \"any thing\"}"),
        with("name: web", "name: web\n  labels: {example.com/a: \"\"}"),
    ]);
}

#[test]
fn the_selector_must_match_the_template() {
    let expression =
        |text: &str| with("matchLabels: {app: web}", &format!("matchExpressions: [{text}]"));
    each_has(&[
        (
            with("  selector:\n    matchLabels: {app: web}\n", ""),
            "spec.selector: required field is missing",
        ),
        (with("matchLabels: {app: web}", "matchLabels: {}"), "spec.selector: is empty"),
        (
            with("matchLabels: {app: web}", "matchLabels: {app: x}"),
            "spec.selector.matchLabels.app: does not match the labels of the template",
        ),
        (
            expression("{key: app, operator: In, values: [x]}"),
            "spec.selector.matchExpressions[0]: does not match the labels of the template",
        ),
        (
            expression("{key: app, operator: Is}"),
            "spec.selector.matchExpressions[0].operator: is none of the known values",
        ),
        (
            expression("{key: app, operator: In}"),
            "spec.selector.matchExpressions[0].values: is empty",
        ),
        (
            expression("{key: app, operator: Exists, values: [x]}"),
            "spec.selector.matchExpressions[0].values: has no meaning with this operator",
        ),
        (
            expression("{key: app}"),
            "spec.selector.matchExpressions[0].operator: required field is missing",
        ),
        (
            expression("{key: app, operator: DoesNotExist}"),
            "spec.selector.matchExpressions[0]: does not match the labels of the template",
        ),
    ]);
    each_passes(&[
        expression("{key: app, operator: NotIn, values: [x]}"),
        expression("{key: app, operator: Exists}"),
    ]);
}

#[test]
fn the_update_strategy_is_checked() {
    let rolling = |text: &str| {
        with(
            "spec:\n  selector",
            &format!("spec:\n  updateStrategy: {{rollingUpdate: {{{text}}}}}\n  selector"),
        )
    };
    let spec = |text: &str| with("spec:\n  selector", &format!("spec:\n  {text}\n  selector"));
    let both = "spec.updateStrategy.rollingUpdate.maxSurge: may not be set when maxUnavailable is non-zero (it is 1 when left out)";
    each_has(&[
        (rolling("maxSurge: 1"), both),
        (rolling("maxSurge: 10%, maxUnavailable: 10%"), both),
        (
            rolling("maxUnavailable: 0"),
            "spec.updateStrategy.rollingUpdate.maxUnavailable: cannot be 0 when maxSurge is 0",
        ),
        (
            rolling("maxUnavailable: 0%"),
            "spec.updateStrategy.rollingUpdate.maxUnavailable: cannot be 0 when maxSurge is 0",
        ),
        (
            rolling("maxUnavailable: 101%"),
            "spec.updateStrategy.rollingUpdate.maxUnavailable: is more than all nodes",
        ),
        (
            rolling("maxUnavailable: \"3\""),
            "spec.updateStrategy.rollingUpdate.maxUnavailable: is neither a number nor a percentage",
        ),
        (
            rolling("maxUnavailable: -1"),
            "spec.updateStrategy.rollingUpdate.maxUnavailable: is out of bounds",
        ),
        (
            spec("updateStrategy: {type: Recreate}"),
            "spec.updateStrategy.type: is none of the known values",
        ),
        (spec("minReadySeconds: -1"), "spec.minReadySeconds: is out of bounds"),
        (spec("revisionHistoryLimit: -1"), "spec.revisionHistoryLimit: is out of bounds"),
    ]);
    each_passes(&[
        rolling("maxSurge: 1, maxUnavailable: 0"),
        rolling("maxUnavailable: 100%"),
        rolling("maxUnavailable: 50"),
        spec("updateStrategy: {type: OnDelete, rollingUpdate: {maxUnavailable: 0}}"),
    ]);
    assert!(set(&spec("updateStrategy: {type: OnDelete}")).on_delete());
    assert_eq!(set(&spec("minReadySeconds: 5")).min_ready().as_secs(), 5);
}

#[test]
fn the_pod_is_checked() {
    each_has(&[
        (pod("restartPolicy: Never"), "restartPolicy: a DaemonSet restarts its containers always"),
        (
            pod("activeDeadlineSeconds: 5"),
            "activeDeadlineSeconds: a pod of a DaemonSet runs without end",
        ),
        (
            pod("terminationGracePeriodSeconds: -1"),
            "terminationGracePeriodSeconds: is out of bounds",
        ),
        (pod("dnsPolicy: Cluster"), "dnsPolicy: is none of the known values"),
        (pod("dnsPolicy: None"), "dnsConfig.nameservers: is empty, though dnsPolicy is None"),
        (
            pod("hostAliases: [{ip: 1.2.3, hostnames: [a]}]"),
            "hostAliases[0].ip: is not well-formed",
        ),
        (
            pod("hostAliases: [{ip: 1.2.3.4, hostnames: [A]}]"),
            "hostAliases[0].hostnames[0]: is not well-formed",
        ),
        (
            pod("ephemeralContainers: [{name: a, image: b}]"),
            "ephemeralContainers: may not stand in a template",
        ),
        (pod("nodeName: A"), "nodeName: is not well-formed"),
        (pod("nodeSelector: {a: b c}"), "nodeSelector.a: is not well-formed"),
        (
            with(
                "      containers:\n      - name: main\n        image: busybox:1.36\n",
                "      containers: []\n",
            ),
            "containers: is empty",
        ),
        (
            with(
                "      containers:\n      - name: main\n        image: busybox:1.36\n",
                "      hostPID: true\n",
            ),
            "containers: required field is missing",
        ),
    ]);
}

#[test]
fn tolerations_and_affinity_are_checked() {
    let toleration = |text: &str| pod(&format!("tolerations: [{{{text}}}]"));
    let term = |text: &str| {
        let field = "requiredDuringSchedulingIgnoredDuringExecution";
        pod(&format!("affinity: {{nodeAffinity: {{{field}: {{nodeSelectorTerms: [{text}]}}}}}}"))
    };
    let at =
        "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
    let expressed = |text: &str| term(&format!("{{matchExpressions: [{{{text}}}]}}"));
    each_has(&[
        (
            toleration("operator: Equal, value: a"),
            "tolerations[0].operator: a toleration without a key needs operator Exists",
        ),
        (
            toleration("key: a, operator: Exists, value: b"),
            "tolerations[0].value: has no meaning with operator Exists",
        ),
        (
            toleration("key: a, operator: Matches"),
            "tolerations[0].operator: is none of the known values",
        ),
        (toleration("key: a, effect: Never"), "tolerations[0].effect: is none of the known values"),
        (
            toleration("key: a, tolerationSeconds: 5"),
            "tolerations[0].effect: must be NoExecute beside tolerationSeconds",
        ),
        (toleration("key: a b, operator: Exists"), "tolerations[0].key: is not well-formed"),
        (toleration("key: a, value: b c"), "tolerations[0].value: is not well-formed"),
        (term(""), &format!("{at}: is empty and so matches no node")),
        (
            expressed("key: a, operator: in, values: [b]"),
            &format!("{at}[0].matchExpressions[0].operator: is none of the known values"),
        ),
        (
            expressed("key: a, operator: In"),
            &format!("{at}[0].matchExpressions[0].values: is empty"),
        ),
        (
            expressed("key: a, operator: Gt, values: [\"1\", \"2\"]"),
            &format!("{at}[0].matchExpressions[0].values: must hold exactly one value"),
        ),
        (
            expressed("key: a, operator: Exists, values: [b]"),
            &format!("{at}[0].matchExpressions[0].values: has no meaning with this operator"),
        ),
        (
            expressed("key: a, operator: Gt, values: [1]"),
            &format!("{at}[0].matchExpressions[0].values[0]: is a number, but must be a string"),
        ),
        (
            term("{matchFields: [{key: spec.x, operator: In, values: [a]}]}"),
            &format!("{at}[0].matchFields[0].key: is no field of a node"),
        ),
        (
            term("{matchFields: [{key: metadata.name, operator: In, values: [a, b]}]}"),
            &format!("{at}[0].matchFields[0].values: must hold exactly one value"),
        ),
    ]);
    each_passes(&[
        toleration("operator: Exists"),
        toleration("key: a, operator: Exists, effect: NoExecute, tolerationSeconds: -5"),
        expressed("key: a, operator: Gt, values: [abc]"),
        term("{}"),
    ]);
}

#[test]
fn a_rejected_set_can_still_be_looked_at() {
    let document = only(&pod("restartPolicy: Never\nruntimeClassName: kata\nnodeSelector: {a: b}"));
    assert!(matches!(document.outcome, Outcome::Rejected));
    let draft = document.draft.unwrap();
    assert_eq!(draft.pod_spec().node_selector.as_ref().unwrap()["a"], "b");
}

#[rustfmt::skip] // a table
#[test]
fn what_restricts_is_refused_until_it_is_honoured() {
    let spec = "spec.template.spec.";
    let inner = "spec.template.spec.containers[0].securityContext.";
    let context = |text: &str| container(&format!("securityContext: {{{text}}}"));
    for (text, path, expected) in [
        // Starting a container holds it against the user of the image, too.
        (context("runAsNonRoot: true"), format!("{inner}runAsNonRoot"), Support::Honoured),
        (context("runAsNonRoot: true, runAsUser: 0"), format!("{inner}runAsNonRoot"), Support::Honoured),
        (pod("securityContext: {supplementalGroupsPolicy: Strict}"), format!("{spec}securityContext.supplementalGroupsPolicy"), Support::Honoured),
        (pod("dnsPolicy: None\ndnsConfig: {nameservers: [192.0.2.1]}"), format!("{spec}dnsPolicy"), Support::Honoured),
        (pod("dnsConfig: {searches: [a.example]}"), format!("{spec}dnsConfig.searches"), Support::Honoured),
        (with("image: busybox:1.36", "image: \"${IMAGE}\""), format!("{spec}containers[0].image"), Support::Refused),
        (pod("volumes: [{name: v, hostPath: {path: a/b}}]"), format!("{spec}volumes[0].hostPath.path"), Support::Refused),
        (pod("volumes: [{name: v, hostPath: {path: '\\\\.\\pipe\\x'}}]"), format!("{spec}volumes[0].hostPath.path"), Support::Honoured),
        (pod("volumes: [{name: v, emptyDir: {medium: memory}}]"), format!("{spec}volumes[0].emptyDir.medium"), Support::Refused),
        (pod("securityContext: {runAsNonRoot: true, runAsUser: 1000}"), format!("{spec}securityContext.runAsNonRoot"), Support::Honoured),
        (context("runAsNonRoot: false"), format!("{inner}runAsNonRoot"), Support::Honoured),
        (context("seccompProfile: {type: RuntimeDefault}"), format!("{inner}seccompProfile.type"), Support::Honoured),
        (context("seccompProfile: {type: Unconfined}"), format!("{inner}seccompProfile.type"), Support::Honoured),
        (context("appArmorProfile: {type: RuntimeDefault}"), format!("{inner}appArmorProfile.type"), Support::Honoured),
        (context("procMount: Unmasked"), format!("{inner}procMount"), Support::Refused),
        (context("seLinuxOptions: {level: s0}"), format!("{inner}seLinuxOptions"), Support::Refused),
        (context("seLinuxOptions: {level: s0}"), format!("{inner}seLinuxOptions.level"), Support::Refused),
        (context("privileged: true"), format!("{inner}privileged"), Support::Honoured),
        (pod("hostUsers: false").replace("hostNetwork: true", "hostPID: false"), format!("{spec}hostUsers"), Support::Refused),
        (pod("securityContext: {fsGroup: 1}"), format!("{spec}securityContext.fsGroup"), Support::Honoured),
        (pod("securityContext: {supplementalGroups: [1]}"), format!("{spec}securityContext.supplementalGroups"), Support::Honoured),
        (pod("runtimeClassName: kata"), format!("{spec}runtimeClassName"), Support::Refused),
        (pod("initContainers: []"), format!("{spec}initContainers"), Support::Honoured),
        (pod("volumes: [{name: v, configMap: {name: c}}]"), format!("{spec}volumes[0].configMap.name"), Support::Honoured),
        (pod("volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t}}]}}]"), format!("{spec}volumes[0].projected.sources[0].serviceAccountToken"), Support::Refused),
        (
            container("restartPolicy: Never\nrestartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [1]}}]"),
            format!("{spec}containers[0].restartPolicyRules[0].action"),
            Support::Refused,
        ),
        (pod("volumes: [{name: v, emptyDir: {medium: Memory, sizeLimit: 1Mi}}]"), format!("{spec}volumes[0].emptyDir.sizeLimit"), Support::Honoured),
        (pod("volumes: [{name: v, emptyDir: {sizeLimit: 1Mi}}]"), format!("{spec}volumes[0].emptyDir.sizeLimit"), Support::Honoured),
        (pod("volumes: [{name: v, emptyDir: {medium: HugePages}}]"), format!("{spec}volumes[0].emptyDir.medium"), Support::Refused),
        (pod("dnsPolicy: ClusterFirst"), format!("{spec}dnsPolicy"), Support::Honoured),
        (pod("dnsPolicy: ClusterFirst").replace("hostNetwork: true", ""), format!("{spec}dnsPolicy"), Support::Ignored),
        (pod("shareProcessNamespace: false"), format!("{spec}shareProcessNamespace"), Support::Honoured),
        (pod("serviceAccountName: x"), format!("{spec}serviceAccountName"), Support::Ignored),
        (container("resources: {limits: {nvidia.com/gpu: 1}}"), format!("{spec}containers[0].resources.limits[nvidia.com/gpu]"), Support::Refused),
        (container("resources: {limits: {ephemeral-storage: 1Gi}}"), format!("{spec}containers[0].resources.limits.ephemeral-storage"), Support::Ignored),
        (container("lifecycle: {}"), format!("{spec}containers[0].lifecycle"), Support::Honoured),
        (container("tty: true"), format!("{spec}containers[0].tty"), Support::Honoured),
        (container("stdin: true"), format!("{spec}containers[0].stdin"), Support::Refused),
        (container("stdin: true\ntty: true"), format!("{spec}containers[0].stdin"), Support::Honoured),
    ] {
        assert_eq!(support(&text, &path), expected, "{path}\n{text}");
    }
}

#[test]
fn a_pod_network_is_warned_of() {
    let document = only(&with("hostNetwork: true", "hostPID: true"));
    assert!(matches!(document.outcome, Outcome::Set(_)));
    assert!(document.warnings[0].problem.contains("NetworkNotReady"));
}

#[test]
fn what_kubernetes_takes_and_no_host_can_start_is_refused_but_not_invalid() {
    for image in
        ["Busybox", "\"busybox:\"", "https://busybox", "busybox@sha256:12", "\"{{ .Image }}\""]
    {
        let document = only(&with("busybox:1.36", image));
        assert!(document.faults.is_empty(), "{:?}", document.faults);
        assert!(matches!(document.outcome, Outcome::Rejected), "{image}");
    }
    let pipe = only(&pod(r"volumes: [{name: v, hostPath: {path: '\\.\pipe\docker_engine'}}]"));
    assert!(matches!(pipe.outcome, Outcome::Set(_)), "{:?}", pipe.faults);
    assert!(pipe.warnings[0].problem.contains("a path of Windows"));
}

#[test]
fn a_value_of_the_wrong_type_is_no_second_fault_of_what_holds_it() {
    assert_eq!(
        faults(&with("matchLabels: {app: web}", "matchLabels: {app: y}")),
        ["spec.selector.matchLabels.app: is true or false, but must be a string"]
    );
    assert_eq!(
        faults(&with("labels: {app: web}\n    spec", "labels: {app: 1.10}\n    spec")),
        ["spec.template.metadata.labels.app: is a number, but must be a string"]
    );
}

#[test]
fn what_yaml_makes_of_a_scalar_is_told_in_the_authors_letters() {
    for written in ["y", "0644", "1.10", "0x1F", "1_000", "Off"] {
        let fault = &only(&container(&format!("env: [{{name: A, value: {written}}}]"))).faults[0];
        assert_eq!(fault.value, written);
        assert_eq!(fault.remedy, format!("write it in quotes: \"{written}\""));
    }
}
