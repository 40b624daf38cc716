//! Tables for environments.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    ConfigMapEnvSource, ConfigMapKeySelector, ObjectFieldSelector, ResourceFieldSelector,
    SecretEnvSource, SecretKeySelector,
};

use crate::pod::downward::{Downward, tests as downward};
use crate::spec::{Object, ObjectKey, Objects};

use super::*;

/// A container with these variables.
pub fn with_env(env: &[(&str, &str)]) -> Container {
    let env = env.iter().map(|(name, value)| EnvVar {
        name: (*name).into(),
        value: Some((*value).into()),
        value_from: None,
    });
    Container { name: "c".into(), env: Some(env.collect()), ..Container::default() }
}

/// An environment of these variables.
fn pairs(list: &[(&str, &str)]) -> Environment {
    Environment(list.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
}

/// The objects of namespace `prod`: a ConfigMap and a Secret, both `given`.
pub fn objects() -> Objects {
    let map = |list: &[(&str, &[u8])]| {
        list.iter().map(|(key, value)| ((*key).to_owned(), value.to_vec())).collect()
    };
    let key = |kind| ObjectKey { kind, namespace: "prod".into(), name: "given".into() };
    let config = Object {
        data: map(&[("A", b"from $(HOME)"), ("two", b"2"), ("a=b", b"odd"), ("ü", b"odd")]),
        binary: map(&[("blob", b"\x00\xff")]),
        immutable: false,
    };
    let secret = Object {
        data: map(&[("A", b"hush"), ("raw", b"\xff\xfe"), ("nul", b"a\0b")]),
        ..Object::default()
    };
    Objects::from([
        (key(ObjectKind::ConfigMap), Arc::new(config)),
        (key(ObjectKind::Secret), Arc::new(secret)),
    ])
}

/// The container's own environment in a pod of `prod` that has these objects.
fn own_with(container: &Container, objects: &Objects) -> Result<Environment, StartFault> {
    let (record, node) = (downward::record(vec![container.clone()]), downward::node());
    own_environment(
        container,
        &Values { objects, downward: Downward { record: &record, node: &node } },
    )
}

/// The container's own environment where there are no objects.
pub fn own(container: &Container) -> Result<Environment, StartFault> {
    own_with(container, &Objects::new())
}

/// A variable from elsewhere.
fn from(name: &str, source: EnvVarSource) -> EnvVar {
    EnvVar { name: name.into(), value: None, value_from: Some(source) }
}

/// From a ConfigMap.
fn of_map(name: &str, key: &str, optional: bool) -> EnvVarSource {
    EnvVarSource {
        config_map_key_ref: Some(ConfigMapKeySelector {
            name: name.into(),
            key: key.into(),
            optional: Some(optional),
        }),
        ..EnvVarSource::default()
    }
}

/// From a Secret.
fn of_secret(name: &str, key: &str, optional: Option<bool>) -> EnvVarSource {
    EnvVarSource {
        secret_key_ref: Some(SecretKeySelector { name: name.into(), key: key.into(), optional }),
        ..EnvVarSource::default()
    }
}

/// Every key of a ConfigMap.
fn all_of_map(name: &str, prefix: &str, optional: bool) -> EnvFromSource {
    EnvFromSource {
        config_map_ref: Some(ConfigMapEnvSource { name: name.into(), optional: Some(optional) }),
        prefix: Some(prefix.into()),
        secret_ref: None,
    }
}

#[test]
fn references_expand_as_kubernetes_expands_them() {
    let known = pairs(&[("A", "1"), ("B", "$(A)"), ("EMPTY", ""), ("ä", "umlaut")]);
    for (text, expected) in [
        ("", ""),
        ("plain", "plain"),
        ("$(A)", "1"),
        ("x$(A)y$(A)z", "x1y1z"),
        ("$(B)", "$(A)"),
        ("[$(EMPTY)]", "[]"),
        ("$(MISSING)", "$(MISSING)"),
        ("$()", "$()"),
        ("$$", "$"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$$$$(A)", "$$(A)"),
        ("$", "$"),
        ("a$", "a$"),
        ("$A", "$A"),
        ("${A}", "${A}"),
        ("$(A", "$(A"),
        ("$(A$$", "$(A$"),
        ("$(A$(B)", "$(A$(B)"),
        ("$ (A)", "$ (A)"),
        ("$(ä)€$é", "umlaut€$é"),
        ("$(A))", "1)"),
    ] {
        assert_eq!(expand(text, &known), expected, "{text}");
    }
}

#[test]
fn a_variable_sees_those_above_it_only() {
    let container = with_env(&[
        ("LATER", "$(BASE)"),
        ("BASE", "b"),
        ("SELF", "$(SELF)"),
        ("SELF", "$(SELF)+$(BASE)"),
        ("BASE", "$(BASE)2"),
        ("PATH_LIKE", "$(PATH)"),
    ]);
    assert_eq!(
        own(&container),
        Ok(pairs(&[
            ("LATER", "$(BASE)"),
            ("BASE", "b2"),
            ("SELF", "$(SELF)+b"),
            ("PATH_LIKE", "$(PATH)"),
        ]))
    );
}

#[test]
fn the_container_overrides_the_image_and_the_image_the_defaults() {
    let mut container = with_env(&[("MODE", "own"), ("EMPTY", "")]);
    let image = ["MODE=image".into(), "LANG=C".into(), "HOSTNAME=image".into(), "FLAG".into()];
    let all = |container: &Container, image: &[String]| {
        environment(container, &own(container).unwrap(), image, "node-1")
    };
    assert_eq!(
        all(&container, &image),
        pairs(&[
            ("PATH", DEFAULT_PATH),
            ("HOSTNAME", "image"),
            ("MODE", "own"),
            ("LANG", "C"),
            ("FLAG", ""),
            ("EMPTY", ""),
        ])
    );
    container.tty = Some(true);
    assert_eq!(
        all(&container, &["PATH=/bin".into()]),
        pairs(&[
            ("PATH", "/bin"),
            ("TERM", "xterm"),
            ("HOSTNAME", "node-1"),
            ("MODE", "own"),
            ("EMPTY", ""),
        ])
    );
}

#[test]
fn values_come_from_objects_the_pod_and_its_resources() {
    let field = |path: &str| EnvVarSource {
        field_ref: Some(ObjectFieldSelector { api_version: None, field_path: path.into() }),
        ..EnvVarSource::default()
    };
    let cpu = EnvVarSource {
        resource_field_ref: Some(ResourceFieldSelector {
            resource: "limits.cpu".into(),
            ..ResourceFieldSelector::default()
        }),
        ..EnvVarSource::default()
    };
    let mut container = with_env(&[("BOTH", "$(MAP)+$(SECRET)+$(NODE)")]);
    let mut env = vec![
        from("MAP", of_map("given", "A", false)),
        from("SECRET", of_secret("given", "A", None)),
        from("NODE", field("spec.nodeName")),
        from("CPUS", cpu),
        from("NONE", of_map("given", "none", true)),
        from("NOWHERE", of_secret("nowhere", "A", Some(true))),
        EnvVar { value: Some(String::new()), ..from("EMPTY_VALUE", field("metadata.name")) },
    ];
    env.append(container.env.as_mut().unwrap());
    container.env = Some(env);
    assert_eq!(
        own_with(&container, &objects()),
        Ok(pairs(&[
            // A value from elsewhere is not expanded.
            ("MAP", "from $(HOME)"),
            ("SECRET", "hush"),
            ("NODE", "node-1"),
            ("CPUS", "4"),
            ("EMPTY_VALUE", "web-abcde"),
            ("BOTH", "from $(HOME)+hush+node-1"),
        ]))
    );
}

#[test]
fn whole_objects_come_first_and_later_ones_win() {
    let mut container = with_env(&[("two", "$(two)!"), ("P_A", "own, was $(P_A)")]);
    container.env_from = Some(vec![
        all_of_map("given", "", false),
        all_of_map("given", "P_", false),
        all_of_map("nowhere", "", true),
    ]);
    assert_eq!(
        own_with(&container, &objects()),
        Ok(pairs(&[
            // Keys that are no names of variables are left out, and so is binaryData.
            ("A", "from $(HOME)"),
            ("two", "2!"),
            ("P_A", "own, was from $(HOME)"),
            ("P_two", "2"),
        ]))
    );
    let secret = SecretEnvSource { name: "given".into(), optional: None };
    let over = EnvFromSource { secret_ref: Some(secret), ..EnvFromSource::default() };
    let mut objects = objects();
    let plain =
        Object { data: BTreeMap::from([("A".into(), b"hush".to_vec())]), ..Object::default() };
    for (key, object) in &mut objects {
        if key.kind == ObjectKind::Secret {
            *object = Arc::new(plain.clone());
        }
    }
    container.env = None;
    container.env_from.as_mut().unwrap().push(over);
    assert_eq!(own_with(&container, &objects).unwrap()[0], ("A".into(), "hush".into()));
}

#[test]
fn what_is_missing_is_named_with_a_remedy() {
    for (source, message) in [
        (
            of_map("none", "A", false),
            "configmap \"none\" not found: add the ConfigMap prod/none beside the DaemonSet, or put its values into objectsDir/prod/configmaps/none, a file for each key",
        ),
        (
            of_secret("none", "A", None),
            "secret \"none\" not found: add the Secret prod/none beside the DaemonSet, or put its values into objectsDir/prod/secrets/none, a file for each key",
        ),
        (
            of_map("given", "k", false),
            "couldn't find key k in ConfigMap prod/given: add it to the document beside the DaemonSet, or put the value into objectsDir/prod/configmaps/given/k",
        ),
        (
            of_map("given", "blob", false),
            "couldn't find key blob in ConfigMap prod/given: add it to the document beside the DaemonSet, or put the value into objectsDir/prod/configmaps/given/blob",
        ),
        (
            of_secret("given", "k", Some(false)),
            "couldn't find key k in Secret prod/given: add it to the document beside the DaemonSet, or put the value into objectsDir/prod/secrets/given/k",
        ),
        (EnvVarSource::default(), "env: V: this kind of valueFrom is not supported"),
    ] {
        let mut container = with_env(&[]);
        container.env = Some(vec![from("V", source)]);
        let fault = own_with(&container, &objects()).unwrap_err();
        assert_eq!((fault.reason, fault.message.as_str()), ("CreateContainerConfigError", message));
    }
    let mut container = with_env(&[]);
    container.env_from = Some(vec![all_of_map("none", "", false)]);
    let fault = own_with(&container, &objects()).unwrap_err();
    assert!(fault.message.starts_with("configmap \"none\" not found"), "{fault}");
}

#[test]
fn bytes_that_are_no_text_are_refused_without_being_told() {
    for key in ["raw", "nul"] {
        let mut container = with_env(&[]);
        container.env = Some(vec![from("V", of_secret("given", key, Some(true)))]);
        let fault = own_with(&container, &objects()).unwrap_err();
        assert_eq!(
            fault.message,
            format!(
                "secret \"given\": the value of key {key} is no text that a variable can hold; mount it as a file of a volume"
            )
        );
    }
}

#[test]
fn an_environment_tells_no_values() {
    assert_eq!(format!("{:?}", pairs(&[("A", "hush"), ("B", "hush")])), r#"["A", "B"]"#);
}
