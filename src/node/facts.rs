//! The node: its name, labels and taints, and the labels that every host has by itself.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1;

use crate::base::fault::Fault;
use crate::base::ids::NodeName;
use crate::node::faults;

/// A host, as far as a set's place on it depends on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The name, which `nodeName` and `matchFields` look at.
    pub name: NodeName,
    /// All labels: the host's own and the configured ones.
    pub labels: BTreeMap<String, String>,
    /// The taints in their order.
    pub taints: Vec<v1::Taint>,
}

impl Node {
    /// Takes what counts from a `v1` Node document; `origin` names the file in the faults.
    ///
    /// Only a node without a name is refused: illegal labels and taints have a meaning to the
    /// matching rules all the same, and [`Node::faults`] tells of them. `spec.unschedulable` is not
    /// looked at, as Kubernetes does not for DaemonSets: only the taint that goes with it counts.
    pub fn from_object(origin: &str, node: &v1::Node) -> Result<Self, Vec<Fault>> {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        if name.is_empty() {
            return Err(vec![faults::missing_name(origin)]);
        }
        Ok(Self {
            name: NodeName::new(name),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            taints: node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default(),
        })
    }

    /// What Kubernetes would refuse in the name, the labels and the taints.
    pub fn faults(&self, origin: &str) -> Vec<Fault> {
        let mut all = faults::faults_of_name(origin, "metadata.name", self.name.as_str());
        all.extend(faults::faults_of_labels(origin, "metadata.labels", &self.labels));
        all.extend(faults::faults_of_taints(origin, "spec.taints", &self.taints));
        all
    }
}

/// What the host says of itself, in the words of the Rust standard library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostIdentity<'a> {
    /// The host name.
    pub hostname: &'a str,
    /// The operating system, as `std::env::consts::OS` names it.
    pub os: &'a str,
    /// The processor architecture, as `std::env::consts::ARCH` names it.
    pub arch: &'a str,
}

impl HostIdentity<'_> {
    /// The labels that a kubelet gives its node, with the configured ones laid over them.
    pub fn labels(&self, configured: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut labels = well_known(self);
        labels.extend(configured.iter().map(|(key, value)| (key.clone(), value.clone())));
        labels
    }
}

/// The labels that every node has by itself.
pub fn well_known(host: &HostIdentity<'_>) -> BTreeMap<String, String> {
    let (os, arch) = (go_os(host.os), go_arch(host.arch));
    // A kubelet lowers the host name too: `Web-1` and `web-1` are one host.
    let hostname = host.hostname.trim().to_lowercase();
    [
        ("kubernetes.io/hostname", hostname.as_str()),
        ("kubernetes.io/os", os),
        ("kubernetes.io/arch", arch),
        ("beta.kubernetes.io/os", os),
        ("beta.kubernetes.io/arch", arch),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}

/// Go's name of an operating system.
fn go_os(name: &str) -> &str {
    match name {
        "macos" => "darwin",
        other => other,
    }
}

/// Go's name of a processor architecture: published manifests select by it.
fn go_arch(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "loongarch64" => "loong64",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_the_labels_of_a_kubelet_under_its_configured_ones() {
        let host = HostIdentity { hostname: "Web-1\n", os: "linux", arch: "x86_64" };
        let configured = BTreeMap::from([
            ("disktype".to_owned(), "ssd".to_owned()),
            ("kubernetes.io/hostname".to_owned(), "web".to_owned()),
        ]);
        let labels = host.labels(&configured);
        let expected = [
            ("beta.kubernetes.io/arch", "amd64"),
            ("beta.kubernetes.io/os", "linux"),
            ("disktype", "ssd"),
            ("kubernetes.io/arch", "amd64"),
            ("kubernetes.io/hostname", "web"),
            ("kubernetes.io/os", "linux"),
        ];
        assert!(labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).eq(expected));
        assert_eq!(well_known(&host)["kubernetes.io/hostname"], "web-1");
        assert_eq!(go_arch("aarch64"), "arm64");
    }

    #[test]
    fn a_node_without_a_name_is_refused_and_says_so() {
        let faults = Node::from_object("n.yaml", &v1::Node::default()).unwrap_err();
        assert_eq!(faults.len(), 1);
        assert!(faults[0].to_string().starts_with("n.yaml: metadata.name: "), "{}", faults[0]);
    }

    #[test]
    fn a_cordoned_node_without_the_taint_is_like_any_other() {
        let mut node = v1::Node::default();
        node.metadata.name = Some("n1".into());
        let plain = Node::from_object("n.yaml", &node).unwrap();
        node.spec = Some(v1::NodeSpec { unschedulable: Some(true), ..Default::default() });
        assert_eq!(Node::from_object("n.yaml", &node).unwrap(), plain);
    }
}
