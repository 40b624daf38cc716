//! What hosts and operators write for each other, beside Kubernetes' own objects. Unknown fields are let through, so
//! that hosts of different builds understand each other.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSetStatus;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::base::ids::TemplateHash;

/// Reads a record. By way of a value: each type read straight from text would be a parser of its own.
pub fn read<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    serde_json::from_value(serde_json::from_slice(text).ok()?).ok()
}

/// The annotation of a node's record that names its installation: one state directory, one id.
pub const INSTALL_ID: &str = "podward.dev/install-id";

/// The annotation of a node's record that holds the overlay that the node follows: when the overlay's key is lost, the next
/// change goes on from there instead of taking everything else away.
pub const OVERLAY: &str = "podward.dev/overlay";

/// What operators lay over a node's own labels and taints: `spec/nodes/<node>`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeOverlay {
    /// The node that is meant: what is signed for one node is not for another.
    pub node: String,
    /// How often it was changed: with trusted keys a lower one than the last is refused.
    pub generation: i64,
    /// Labels; `null` takes one away.
    pub labels: BTreeMap<String, Option<String>>,
    /// Taints as `key:Effect` with their values; `null` takes one away.
    pub taints: BTreeMap<String, Option<String>>,
    /// Whether the node is cordoned.
    pub unschedulable: bool,
}

/// An explicit deletion: `spec/tombstones/…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tombstone {
    /// What is deleted, as the key names it: `daemonsets/<ns>/<name>`, `pods/<node>/<uid>`; signed with the rest.
    pub name: String,
    /// The uid of what was deleted; empty when nobody knew it.
    #[serde(default)]
    pub uid: String,
    /// Above every generation of what was deleted.
    #[serde(default)]
    pub generation: i64,
    /// When.
    pub deleted: Timestamp,
    /// For a pod: seconds between SIGTERM and SIGKILL, instead of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_period_seconds: Option<u64>,
}

/// An operator's word that this store is the right one: `spec/accept`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accept {
    /// Never the same twice: an old one that comes back with an old store does not count again.
    pub id: String,
    /// The cluster that is meant, in hexadecimal digits as etcdctl shows it.
    pub cluster_id: String,
    /// When.
    pub at: Timestamp,
}

/// That a node should run a set, and how that goes: `fleet/sets/<ns>/<name>/member/<node>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The set's uid.
    pub uid: String,
    /// The template that the node's newest pod has; empty without a pod.
    #[serde(default)]
    pub hash: String,
    /// The template that the node wants.
    pub wanted: TemplateHash,
    /// The set's status as if this node were alone.
    pub status: DaemonSetStatus,
    /// Why something wanted is not done.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Whether the node is one of those that the set's canary selector names.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub canary: bool,
}
