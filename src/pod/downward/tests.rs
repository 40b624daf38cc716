//! Tables for the downward API.

use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::base::ids::{PodUid, SetKey, TemplateHash};
use crate::pod::record::VERSION;
use crate::pod::resources::tests::container;

use super::*;

/// A record of the pod `web-abcde` on the host's network, with labels and annotations.
pub fn record(containers: Vec<Container>) -> PodRecord {
    let map = |list: &[(&str, &str)]| {
        Some(list.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect())
    };
    PodRecord {
        version: VERSION,
        uid: PodUid::new("11-22"),
        name: "web-abcde".into(),
        set: SetKey { namespace: "prod".into(), name: "web".into() },
        set_uid: "33".into(),
        hash: TemplateHash::new("5d8f"),
        created: jiff::Timestamp::UNIX_EPOCH,
        template: PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: map(&[("app", "web"), ("example.com/tier", "front")]),
                annotations: map(&[("note", "say \"hi\"\n\tto \\ é\u{200b}\u{1f}"), ("a", "1")]),
                ..ObjectMeta::default()
            }),
            spec: Some(PodSpec { host_network: Some(true), containers, ..PodSpec::default() }),
        },
        sandbox: None,
        volumes: BTreeMap::new(),
        initialized: None,
        readiness: None,
        deletion: None,
        containers: BTreeMap::new(),
    }
}

/// A node with two addresses.
pub fn node() -> NodeView {
    NodeView {
        name: NodeName::new("node-1"),
        addresses: vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()],
        cpus: 4,
        memory: 8 << 30,
        storage: 100_000_000_000,
    }
}

#[test]
fn fields_are_those_that_the_pod_object_shows() {
    let (record, node) = (record(vec![]), node());
    let downward = Downward { record: &record, node: &node };
    for (path, expected) in [
        ("metadata.name", "web-abcde"),
        ("metadata.namespace", "prod"),
        ("metadata.uid", "11-22"),
        ("metadata.labels['app']", "web"),
        ("metadata.labels['example.com/tier']", "front"),
        ("metadata.labels['controller-revision-hash']", "5d8f"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['a']", "1"),
        ("metadata.annotations['none']", ""),
        ("spec.nodeName", "node-1"),
        ("spec.serviceAccountName", "default"),
        ("status.hostIP", "192.0.2.7"),
        ("status.hostIPs", "192.0.2.7,2001:db8::7"),
        ("status.podIP", "192.0.2.7"),
        ("status.podIPs", "192.0.2.7,2001:db8::7"),
    ] {
        assert_eq!(downward.field(path).as_deref(), Ok(expected), "{path}");
    }
    for path in ["metadata.labels", "metadata.annotations", "spec.x", "spec['x']", "['x']", ""] {
        assert!(downward.field(path).unwrap_err().starts_with(path), "{path}");
    }
}

#[test]
fn a_host_without_an_address_is_an_error_and_not_an_empty_variable() {
    let (record, node) = (record(vec![]), NodeView { addresses: vec![], ..node() });
    let downward = Downward { record: &record, node: &node };
    for path in ["status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"] {
        assert!(downward.field(path).unwrap_err().contains("host IP unknown"), "{path}");
    }
    assert_eq!(downward.field("metadata.name").as_deref(), Ok("web-abcde"));
}

#[test]
fn a_pod_on_a_network_of_its_own_does_not_pass_the_hosts_address_as_its_own() {
    let (mut record, node) = (record(vec![]), node());
    record.template.spec.as_mut().unwrap().host_network = None;
    record.template.spec.as_mut().unwrap().service_account_name = Some("reader".into());
    let downward = Downward { record: &record, node: &node };
    assert_eq!(downward.field("status.podIP").as_deref(), Ok(""));
    assert_eq!(downward.field("status.hostIP").as_deref(), Ok("192.0.2.7"));
    assert_eq!(downward.field("spec.serviceAccountName").as_deref(), Ok("reader"));
}

#[test]
fn files_hold_whole_maps_as_sorted_quoted_lines() {
    let (record, node) = (record(vec![]), node());
    let downward = Downward { record: &record, node: &node };
    for (path, expected) in [
        (
            "metadata.labels",
            "app=\"web\"\ncontroller-revision-hash=\"5d8f\"\nexample.com/tier=\"front\"",
        ),
        ("metadata.annotations", "a=\"1\"\nnote=\"say \\\"hi\\\"\\n\\tto \\\\ é\\u200b\\x1f\""),
        ("metadata.labels['app']", "web"),
        ("metadata.name", "web-abcde"),
    ] {
        assert_eq!(downward.file_field(path).as_deref(), Ok(expected), "{path}");
    }
    for path in ["spec.nodeName", "status.hostIP", "metadata.name['x']"] {
        assert!(downward.file_field(path).is_err(), "{path}");
    }
}

#[test]
fn texts_are_quoted_as_go_quotes_them() {
    for (text, quoted) in [
        ("", r#""""#),
        ("it's", r#""it's""#),
        ("a\u{7}\u{8}\u{c}\r\u{b}\0\u{7f}", r#""a\a\b\f\r\v\x00\x7f""#),
        ("ä€😀e\u{301}", "\"ä€😀e\u{301}\""),
        ("\u{a0}\u{feff}\u{e0001}", r#""\u00a0\ufeff\U000e0001""#),
    ] {
        assert_eq!(quote(text), quoted, "{text:?}");
    }
}

#[test]
fn amounts_are_counted_in_their_divisor_and_rounded_up() {
    let main = container("main", &[("cpu", "", "250m"), ("memory", "1Mi", "64Mi")]);
    let bare = container("bare", &[("cpu", "100m", ""), ("memory", "1500", "")]);
    let record = record(vec![main.clone(), bare]);
    let node = node();
    let downward = Downward { record: &record, node: &node };
    for (of, resource, divisor, expected) in [
        ("", "limits.cpu", "", "1"),
        ("", "limits.cpu", "1", "1"),
        ("", "limits.cpu", "1m", "250"),
        ("", "limits.cpu", "0", "1"),
        // A request that is not set is the limit.
        ("", "requests.cpu", "1m", "250"),
        ("", "limits.memory", "", "67108864"),
        ("", "limits.memory", "1Mi", "64"),
        ("", "limits.memory", "1M", "68"),
        ("", "requests.memory", "1Mi", "1"),
        ("", "limits.ephemeral-storage", "1G", "100"),
        ("", "requests.ephemeral-storage", "", "0"),
        ("", "limits.hugepages-2Mi", "", "0"),
        ("main", "limits.cpu", "1m", "250"),
        // A limit that is not set is what the node has.
        ("bare", "limits.cpu", "", "4"),
        ("bare", "limits.cpu", "1m", "4000"),
        ("bare", "limits.memory", "1Gi", "8"),
        ("bare", "requests.cpu", "1m", "100"),
        ("bare", "requests.memory", "1k", "2"),
    ] {
        let selector = ResourceFieldSelector {
            container_name: (!of.is_empty()).then(|| of.into()),
            divisor: (!divisor.is_empty()).then(|| Quantity(divisor.into())),
            resource: resource.into(),
        };
        let found = downward.resource(&selector, Some(&main));
        assert_eq!(found.as_deref(), Ok(expected), "{of} {resource} {divisor}");
    }
    let of_none = ResourceFieldSelector {
        container_name: Some("none".into()),
        resource: "limits.cpu".into(),
        divisor: None,
    };
    assert_eq!(
        downward.resource(&of_none, Some(&main)).unwrap_err(),
        "resourceFieldRef: container none not found"
    );
    let unnamed = ResourceFieldSelector { container_name: None, ..of_none };
    assert!(downward.resource(&unnamed, None).unwrap_err().contains("containerName"));
}
