//! The rules for a container and for what it mounts: what is refused, where, and what passes.

use super::rules::{each_has, each_passes, with};
use super::{GOOD, container, only, pod};

#[test]
fn containers_are_checked() {
    let second = |text: &str| {
        GOOD.replace("#CONTAINER", "").trim_end().to_owned() + "\n      - " + text + "\n"
    };
    let image = |text: &str| with("busybox:1.36", text);
    each_has(&[
        (
            second("{name: main, image: b}"),
            "containers[1].name: spec.template.spec.containers[0] has the same name",
        ),
        (second("{name: other}"), "containers[1].image: required field is missing"),
        (second("{image: b}"), "containers[1].name: required field is missing"),
        (with("name: main", "name: Main"), "name: is not well-formed"),
        (image("\"\""), "image: is empty"),
        (image("\" busybox\""), "image: has blanks around it"),
        (container("imagePullPolicy: Sometimes"), "imagePullPolicy: is none of the known values"),
        (container("env: [{name: \"\"}]"), "env[0].name: is empty"),
        (container("env: [{name: A=B, value: x}]"), "env[0].name: is not well-formed"),
        (container("env: [{value: x}]"), "env[0].name: required field is missing"),
        (
            container(
                "env: [{name: A, value: x, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]",
            ),
            "env[0].valueFrom: stands beside a value",
        ),
        (
            container("env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.x}}}]"),
            "env[0].valueFrom.fieldRef.fieldPath: is not well-formed",
        ),
        (container("env: [{name: A, valueFrom: {}}]"), "env[0].valueFrom: has no source"),
    ]);
    each_passes(&[
        image("localhost:5000/a/b_c.d:V1.2-x"),
        image("ghcr.io/Org/x").replace("Org", "org"),
        image(&format!("busybox:1@sha256:{}", "0".repeat(64))),
        image("'[fd00::1]:5000/busybox'"),
        image("a--b/c__d"),
        container("env: [{name: my.var-1, value: \"\"}, {name: A}]"),
    ]);
}

#[test]
fn ports_are_checked() {
    let ports = |text: &str| container(&format!("ports: [{text}]"));
    each_has(&[
        (ports("{containerPort: 0}"), "ports[0].containerPort: is out of bounds"),
        (ports("{containerPort: 65536}"), "ports[0].containerPort: is out of bounds"),
        (
            ports("{containerPort: http}"),
            "ports[0].containerPort: is a string, but must be a whole number of 32 bits",
        ),
        (ports("{name: a}"), "ports[0].containerPort: required field is missing"),
        (
            ports("{containerPort: 1, protocol: tcp}"),
            "ports[0].protocol: is none of the known values",
        ),
        (
            ports("{containerPort: 1, name: averyveryverylongname}"),
            "ports[0].name: is not well-formed",
        ),
        (ports("{containerPort: 1, name: \"8080\"}"), "ports[0].name: is not well-formed"),
        (ports("{containerPort: 1, name: a--b}"), "ports[0].name: is not well-formed"),
        (
            ports("{containerPort: 1, name: a}, {containerPort: 2, name: a}"),
            "ports[1].name: spec.template.spec.containers[0].ports[0] has the same name",
        ),
        (
            ports("{containerPort: 1, hostPort: 2}"),
            "ports[0].hostPort: must equal containerPort with hostNetwork",
        ),
        (
            ports("{containerPort: 1, hostPort: 1}, {containerPort: 1, hostPort: 1}"),
            "ports[1].hostPort: spec.template.spec.containers[0].ports[0].hostPort takes the same port",
        ),
    ]);
    each_passes(&[
        ports("{containerPort: 1, hostPort: 1}, {containerPort: 1, hostPort: 1, protocol: UDP}"),
        ports("{containerPort: 80, hostPort: 0}, {containerPort: 80, name: a-1}"),
    ]);
}

#[test]
fn resources_are_checked() {
    let resources = |text: &str| container(&format!("resources: {{{text}}}"));
    each_has(&[
        (resources("limits: {cpu: much}"), "resources.limits.cpu: is not a quantity"),
        (resources("limits: {cpu: -1}"), "resources.limits.cpu: is negative"),
        (resources("limits: {memory: 64MB}"), "resources.limits.memory: is not a quantity"),
        (
            resources("requests: {cpu: 2}, limits: {cpu: 1}"),
            "resources.requests.cpu: is more than the limit",
        ),
        (resources("limits: {disk: 1}"), "resources.limits.disk: is no resource of a container"),
        (
            resources("limits: {example.com/x: 0.5}"),
            "resources.limits[example.com/x]: is no whole number",
        ),
        (
            resources("limits: {cpu: [1]}"),
            "resources.limits.cpu: is a list, but must be a quantity",
        ),
    ]);
    each_passes(&[resources(
        "requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 1000m, memory: 1024Mi}",
    )]);
}

#[test]
fn probes_and_hooks_are_checked_although_they_are_not_run() {
    let probe = |kind: &str, text: &str| container(&format!("{kind}Probe: {{{text}}}"));
    each_has(&[
        (
            probe("liveness", "exec: {command: [a]}, successThreshold: 2"),
            "livenessProbe.successThreshold: must be 1 for this kind of probe",
        ),
        (probe("liveness", "periodSeconds: 5"), "livenessProbe: has none of its choices"),
        (
            probe("liveness", "exec: {command: [a]}, tcpSocket: {port: 1}"),
            "livenessProbe: has more than one of its choices",
        ),
        (probe("startup", "exec: {}"), "startupProbe.exec.command: is empty"),
        (probe("readiness", "httpGet: {port: 0}"), "readinessProbe.httpGet.port: is out of bounds"),
        (
            probe("readiness", "httpGet: {path: /}"),
            "readinessProbe.httpGet.port: required field is missing",
        ),
        (
            probe("readiness", "httpGet: {port: 1, scheme: http}"),
            "readinessProbe.httpGet.scheme: is none of the known values",
        ),
        (
            probe("readiness", "exec: {command: [a]}, timeoutSeconds: -1"),
            "readinessProbe.timeoutSeconds: is out of bounds",
        ),
        (
            probe("readiness", "exec: {command: [a]}, terminationGracePeriodSeconds: 3"),
            "readinessProbe.terminationGracePeriodSeconds: a readiness probe stops nothing",
        ),
        (
            probe("liveness", "exec: {command: [a]}, terminationGracePeriodSeconds: 0"),
            "livenessProbe.terminationGracePeriodSeconds: is out of bounds",
        ),
        (container("lifecycle: {preStop: {}}"), "lifecycle.preStop: has none of its choices"),
        (
            container("lifecycle: {preStop: {sleep: {seconds: 31}}}"),
            "lifecycle.preStop.sleep.seconds: is out of bounds",
        ),
        (
            pod("initContainers: [{name: i, image: b, livenessProbe: {exec: {command: [a]}}}]"),
            "initContainers[0].livenessProbe: may not stand on an init container",
        ),
    ]);
    each_passes(&[
        probe("readiness", "exec: {command: [a]}, successThreshold: 3, timeoutSeconds: 0"),
        probe("liveness", "grpc: {port: 5}"),
    ]);
    let named = only(&probe("liveness", "tcpSocket: {port: http}"));
    assert_eq!(named.warnings[0].problem, "no port of this container has that name");
}

#[test]
fn volumes_and_mounts_are_checked() {
    let volumes = |text: &str| pod(&format!("volumes: [{text}]"));
    let mounts = |text: &str| {
        container(&format!("volumeMounts: [{text}]")).replace("#POD", "volumes: [{name: v}]")
    };
    each_has(&[
        (volumes("{name: a}, {name: a}"), "volumes[1].name: another volume has the same name"),
        (volumes("{name: A}"), "volumes[0].name: is not well-formed"),
        (volumes("{emptyDir: {}}"), "volumes[0].name: required field is missing"),
        (
            volumes("{name: a, emptyDir: {}, hostPath: {path: /a}}"),
            "volumes[0]: has more than one source: emptyDir, hostPath",
        ),
        (volumes("{name: a, hostPath: {path: /a/../b}}"), "volumes[0].hostPath.path: contains .."),
        (volumes("{name: a, hostPath: {path: \"\"}}"), "volumes[0].hostPath.path: is empty"),
        (volumes("{name: a, hostPath: {}}"), "volumes[0].hostPath.path: required field is missing"),
        (
            volumes("{name: a, hostPath: {path: /a, type: Dir}}"),
            "volumes[0].hostPath.type: is none of the known values",
        ),
        (
            volumes("{name: a, emptyDir: {sizeLimit: big}}"),
            "volumes[0].emptyDir.sizeLimit: is not a quantity",
        ),
        (
            volumes("{name: a, configMap: {name: c, defaultMode: 01000}}"),
            "volumes[0].configMap.defaultMode: is no file mode",
        ),
        (
            volumes("{name: a, configMap: {name: c, items: [{key: k, path: ../x}]}}"),
            "volumes[0].configMap.items[0].path: starts with ..",
        ),
        (volumes("{name: a, nfs: {path: /}}"), "volumes[0].nfs.server: required field is missing"),
        (mounts("{name: x, mountPath: /a}"), "volumeMounts[0].name: no such volume"),
        (mounts("{name: v}"), "volumeMounts[0].mountPath: required field is missing"),
        (
            mounts("{name: v, mountPath: /a}, {name: v, mountPath: /a}"),
            "volumeMounts[1].mountPath: spec.template.spec.containers[0].volumeMounts[0] is mounted there too",
        ),
        (
            mounts("{name: v, mountPath: /a, subPath: /b}"),
            "volumeMounts[0].subPath: is not well-formed",
        ),
        (
            mounts("{name: v, mountPath: /a, mountPropagation: Bidirectional}"),
            "volumeMounts[0].mountPropagation: needs a privileged container",
        ),
        (
            mounts("{name: v, mountPath: /a, mountPropagation: Shared}"),
            "volumeMounts[0].mountPropagation: is none of the known values",
        ),
        (
            mounts("{name: v, mountPath: /a, recursiveReadOnly: Enabled}"),
            "volumeMounts[0].recursiveReadOnly: needs a mount that is read-only",
        ),
    ]);
    each_passes(&[
        volumes("{name: a, hostPath: {path: /a..b/c, type: Socket}}"),
        mounts("{name: v, mountPath: 'a:b'}"),
    ]);
}

#[test]
fn security_contexts_are_checked() {
    let context = |text: &str| container(&format!("securityContext: {{{text}}}"));
    each_has(&[
        (
            context("allowPrivilegeEscalation: false, privileged: true"),
            "securityContext.allowPrivilegeEscalation: cannot be false for a privileged container",
        ),
        (
            context("allowPrivilegeEscalation: false, capabilities: {add: [CAP_SYS_ADMIN]}"),
            "securityContext.allowPrivilegeEscalation: cannot be false beside CAP_SYS_ADMIN",
        ),
        (context("runAsUser: -1"), "securityContext.runAsUser: is out of bounds"),
        (
            context("runAsUser: root"),
            "securityContext.runAsUser: is a string, but must be a whole number of 64 bits",
        ),
        (context("procMount: Masked"), "securityContext.procMount: is none of the known values"),
        (
            context("seccompProfile: {type: Localhost}"),
            "securityContext.seccompProfile.localhostProfile: is missing, though the type is Localhost",
        ),
        (
            context("seccompProfile: {}"),
            "securityContext.seccompProfile.type: required field is missing",
        ),
        (
            pod("hostPID: true\nshareProcessNamespace: true"),
            "shareProcessNamespace: excludes hostPID",
        ),
        (
            pod("securityContext: {supplementalGroups: [-1]}"),
            "securityContext.supplementalGroups[0]: is out of bounds",
        ),
        (
            pod("securityContext: {sysctls: [{name: net.ipv4.x, value: \"1\"}]}"),
            "securityContext.sysctls[0].name: would change the host's network",
        ),
    ]);
    let odd = only(&context("capabilities: {add: [NET_ADMINS]}"));
    assert_eq!(odd.warnings[0].remedy, "did you mean NET_ADMIN?");
}
