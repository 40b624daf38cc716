//! Tables for values that come from elsewhere: variables and files of volumes.

use super::rules::{each_has, each_passes};
use super::{container, pod};

/// A container with one variable from elsewhere.
fn variable(source: &str) -> String {
    container(&format!("env: [{{name: A, valueFrom: {{{source}}}}}]"))
}

/// A pod with one volume.
fn volume(source: &str) -> String {
    pod(&format!("volumes: [{{name: v, {source}}}]"))
}

#[test]
fn sources_of_variables_are_checked() {
    let field = |path: &str| variable(&format!("fieldRef: {{fieldPath: {path}}}"));
    let resource = |text: &str| variable(&format!("resourceFieldRef: {{{text}}}"));
    each_has(&[
        (field("spec.x"), "env[0].valueFrom.fieldRef.fieldPath: is not well-formed"),
        (
            field("metadata.labels"),
            "env[0].valueFrom.fieldRef.fieldPath: is a whole map, which fits no variable",
        ),
        (field("\"metadata.name['a']\""), "env[0].valueFrom.fieldRef.fieldPath: has no entries"),
        (
            field("\"metadata.labels['a b']\""),
            "env[0].valueFrom.fieldRef.fieldPath: the key is not well-formed",
        ),
        (
            variable("fieldRef: {apiVersion: v2, fieldPath: metadata.name}"),
            "env[0].valueFrom.fieldRef.apiVersion: is none of the known values",
        ),
        (
            resource("resource: cpu"),
            "env[0].valueFrom.resourceFieldRef.resource: is not well-formed",
        ),
        (
            resource("resource: limits.cpu, divisor: 2m"),
            "env[0].valueFrom.resourceFieldRef.divisor: is no unit of this resource",
        ),
        (
            resource("resource: limits.memory, divisor: 1m"),
            "env[0].valueFrom.resourceFieldRef.divisor: is no unit of this resource",
        ),
        (
            resource("resource: limits.memory, divisor: much"),
            "env[0].valueFrom.resourceFieldRef.divisor: is not a quantity",
        ),
        (
            variable("configMapKeyRef: {name: \"\", key: k}"),
            "env[0].valueFrom.configMapKeyRef.name: is empty",
        ),
        (
            variable("secretKeyRef: {name: s, key: \"\"}"),
            "env[0].valueFrom.secretKeyRef.key: is empty",
        ),
        (container("envFrom: [{secretRef: {name: \"\"}}]"), "envFrom[0].secretRef.name: is empty"),
        (container("envFrom: [{prefix: A}]"), "envFrom[0]: has none of its choices"),
    ]);
    each_passes(&[
        field("status.podIPs"),
        field("\"metadata.annotations['Example.com/A']\""),
        field("\"metadata.labels['example.com/a']\""),
        resource("resource: requests.hugepages-2Mi, divisor: 1Mi, containerName: other"),
        resource("resource: limits.cpu, divisor: 1000m"),
        resource("resource: limits.cpu, divisor: 0"),
        resource("resource: limits.ephemeral-storage, divisor: 1Ei"),
        variable("configMapKeyRef: {name: c, key: k, optional: true}"),
        container("envFrom: [{configMapRef: {name: c}, prefix: P_}, {secretRef: {name: s}}]"),
    ]);
}

#[test]
fn files_of_volumes_are_checked() {
    let downward = |text: &str| volume(&format!("downwardAPI: {{items: [{{path: p, {text}}}]}}"));
    let projected = |text: &str| volume(&format!("projected: {{sources: [{text}]}}"));
    each_has(&[
        (
            downward("fieldRef: {fieldPath: status.podIP}"),
            "volumes[0].downwardAPI.items[0].fieldRef.fieldPath: is no field for a file",
        ),
        (
            downward("fieldRef: {fieldPath: x}"),
            "volumes[0].downwardAPI.items[0].fieldRef.fieldPath: is not well-formed",
        ),
        (
            downward("resourceFieldRef: {resource: limits.cpu}"),
            "volumes[0].downwardAPI.items[0].resourceFieldRef.containerName: required field is missing",
        ),
        (volume("secret: {}"), "volumes[0].secret.secretName: required field is missing"),
        (volume("configMap: {name: \"\"}"), "volumes[0].configMap.name: is empty"),
        (
            projected(
                "{configMap: {name: c, items: [{key: k, path: p}]}}, {secret: {name: s, items: [{key: k, path: p}]}}",
            ),
            "volumes[0].projected.sources[1].secret.items[0].path: spec.template.spec.volumes[0].projected.sources[0].configMap.items[0] is written there too",
        ),
        (projected("{}"), "volumes[0].projected.sources[0]: has no source"),
        (
            projected("{secret: {name: \"\"}}"),
            "volumes[0].projected.sources[0].secret.name: is empty",
        ),
    ]);
    each_passes(&[
        downward("fieldRef: {fieldPath: metadata.labels}"),
        downward("fieldRef: {fieldPath: \"metadata.annotations['a']\"}, mode: 0400"),
        downward("resourceFieldRef: {resource: limits.cpu, containerName: main, divisor: 1m}"),
        volume("secret: {secretName: s, defaultMode: 0400, optional: true}"),
        projected(
            "{configMap: {name: c}}, {secret: {name: s}}, {downwardAPI: {items: [{path: l, fieldRef: {fieldPath: metadata.labels}}]}}",
        ),
    ]);
}
