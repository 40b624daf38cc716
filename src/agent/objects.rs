//! Kubernetes' objects of what is here: the node, and each set with its status.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::DaemonSet,
        core::v1::{
            Node as NodeObject, NodeAddress, NodeCondition, NodeSpec, NodeStatus, NodeSystemInfo,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{ObjectMeta, Time},
    },
};

use crate::base::{
    ids::NodeName,
    time::{Now, elapsed},
};
use crate::config::Settings;
use crate::fleet::status::{PodReport, daemon_set_status};
use crate::host::facts::NodeFacts;
use crate::node::{HostIdentity, Node};

use super::{desire::Standing, handle::StoreState, reconciler::Reconciler, sets::Entry};

/// The node's condition that tells how the store is.
pub(super) const STORE_READY: &str = "StoreReady";

/// This node by its configuration and its host.
pub(super) fn node_of(settings: &Settings, facts: &NodeFacts) -> Node {
    let name = settings.node.name.clone().unwrap_or_else(|| facts.hostname.clone());
    // As with kubelet's --hostname-override, a configured name is the hostname label as well.
    let host = HostIdentity { hostname: &name, os: &facts.os, arch: &facts.arch };
    let labels = host.labels(&settings.node.labels);
    Node { name: NodeName::new(name), labels, taints: settings.node.taints.clone() }
}

impl Reconciler {
    /// The v1 Node.
    pub(super) fn node_object(&self, started: Timestamp) -> NodeObject {
        let facts = &self.effects.facts;
        let ready = self.recovered && !self.effects.daemon.away();
        let message = if ready {
            "podward is ready"
        } else {
            "containerd is away or its containers are not taken stock of yet"
        };
        let addresses = facts
            .addresses
            .iter()
            .map(|address| ("InternalIP", address.to_string()))
            .chain([("Hostname", facts.hostname.clone())])
            .map(|(kind, address)| NodeAddress { type_: kind.into(), address })
            .collect();
        let capacity: BTreeMap<String, Quantity> = [
            ("cpu".to_owned(), Quantity(facts.cpus.to_string())),
            ("memory".to_owned(), Quantity(format!("{}Ki", facts.memory / 1024))),
        ]
        .into();
        NodeObject {
            metadata: ObjectMeta {
                name: Some(self.node.name.to_string()),
                labels: Some(self.node.labels.clone()),
                uid: Some(facts.machine_id.clone()),
                creation_timestamp: Some(Time(started)),
                ..ObjectMeta::default()
            },
            spec: Some(NodeSpec {
                taints: Some(self.node.taints.clone()).filter(|taints| !taints.is_empty()),
                unschedulable: self
                    .feeds
                    .overlay
                    .as_ref()
                    .map(|overlay| overlay.unschedulable)
                    .filter(|on| *on),
                ..NodeSpec::default()
            }),
            status: Some(NodeStatus {
                addresses: Some(addresses),
                allocatable: Some(capacity.clone()),
                capacity: Some(capacity),
                conditions: Some(
                    [
                        self.store_condition(),
                        Some(self.disk_pressure()),
                        Some(NodeCondition {
                            type_: "Ready".into(),
                            status: if ready { "True" } else { "False" }.into(),
                            reason: Some(
                                if ready { "PodwardReady" } else { "ContainerdNotReady" }.into(),
                            ),
                            message: Some(message.into()),
                            ..NodeCondition::default()
                        }),
                    ]
                    .into_iter()
                    .flatten()
                    .collect(),
                ),
                node_info: Some(self.system_info()),
                ..NodeStatus::default()
            }),
        }
    }

    /// How the store is; nothing where there is none.
    fn store_condition(&self) -> Option<NodeCondition> {
        let store = self.feeds.store.as_ref()?;
        let status = match store.state {
            StoreState::Ready => "True",
            StoreState::Connecting => "Unknown",
            _ => "False",
        };
        Some(NodeCondition {
            type_: STORE_READY.into(),
            status: status.into(),
            reason: Some(store.state.reason().into()),
            message: Some(store.message.clone()),
            last_transition_time: Some(Time(store.since)),
            ..NodeCondition::default()
        })
    }

    /// What runs this node.
    fn system_info(&self) -> NodeSystemInfo {
        let facts = &self.effects.facts;
        NodeSystemInfo {
            architecture: facts.arch.clone(),
            boot_id: facts.boot_id.clone(),
            container_runtime_version: format!("containerd://{}", self.containerd_version),
            kernel_version: facts.kernel.clone(),
            kubelet_version: concat!("podward-v", env!("CARGO_PKG_VERSION")).into(),
            machine_id: facts.machine_id.clone(),
            operating_system: facts.os.clone(),
            os_image: facts.os_image.clone(),
            ..NodeSystemInfo::default()
        }
    }

    /// The apps/v1 DaemonSet with its status on this node.
    pub(super) fn set_object(&self, now: Now, entry: &Entry) -> DaemonSet {
        let set = &entry.set;
        let standing = self.standings.get(&set.key);
        let hash = standing.map_or(&set.hash, |standing| &standing.own);
        let reports: Vec<PodReport> = self
            .pods
            .values()
            .filter(|pod| pod.record.set == set.key)
            .map(|pod| {
                let ready = pod.ready();
                let for_long = pod
                    .ready_since()
                    .is_some_and(|since| elapsed(since, now.wall) >= set.min_ready());
                PodReport {
                    created: pod.record.created,
                    ready,
                    available: ready && for_long,
                    updated: pod.record.hash == *hash,
                    terminating: pod.stopping(),
                    terminal: pod.over().is_some(),
                }
            })
            .collect();
        let wanted = standing.is_some_and(|standing: &Standing| standing.should_run);
        let mut object = set.object.clone();
        object.metadata.uid = Some(entry.uid.clone());
        object.metadata.creation_timestamp = Some(Time(entry.created));
        object.metadata.generation = Some(entry.generation);
        object.status = Some(daemon_set_status(wanted, &reports, entry.generation));
        object
    }
}
