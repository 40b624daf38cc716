//! The pod as Kubernetes shows it: a v1 Pod made from the machine's facts, on demand.

use std::collections::BTreeMap;

use jiff::{Span, Timestamp};
use k8s_openapi::{
    api::core::v1::{
        Container, ContainerState, ContainerStateRunning, ContainerStateTerminated,
        ContainerStateWaiting, ContainerStatus, HostIP, Pod as PodObject, PodCondition, PodIP,
        PodStatus,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time},
};

use crate::base::ids::{ContainerId, NodeName};

use super::{
    containers::{State, wants_image},
    machine::{Pod, Stage},
    qos::qos_class,
    record::{ContainerRecord, Terminated},
};

/// The label that carries the template hash, by Kubernetes' name.
pub const HASH_LABEL: &str = "controller-revision-hash";

/// What the host adds to a pod's status.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The node's name.
    pub node: &'a NodeName,
    /// The host's first address.
    pub host_ip: Option<&'a str>,
}

impl Pod {
    /// The v1 Pod.
    pub fn object(&self, place: Place<'_>) -> PodObject {
        let mut spec = self.record.spec().clone();
        spec.node_name = Some(place.node.to_string());
        PodObject { metadata: self.metadata(), spec: Some(spec), status: Some(self.status(place)) }
    }

    /// The labels: the template's, and the hash.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let metadata = self.record.template.metadata.as_ref();
        let mut labels = metadata.and_then(|metadata| metadata.labels.clone()).unwrap_or_default();
        labels.insert(HASH_LABEL.to_owned(), self.record.hash.to_string());
        labels
    }

    /// Name, owner, labels, times.
    fn metadata(&self) -> ObjectMeta {
        let record = &self.record;
        let annotations =
            record.template.metadata.as_ref().and_then(|metadata| metadata.annotations.clone());
        let deletion = record.deletion.as_ref();
        ObjectMeta {
            name: Some(record.name.clone()),
            namespace: Some(record.set.namespace.clone()),
            uid: Some(record.uid.to_string()),
            labels: Some(self.labels()),
            annotations,
            creation_timestamp: Some(Time(record.created)),
            deletion_timestamp: deletion.map(|deletion| {
                let grace = Span::try_from(deletion.grace).unwrap_or_default();
                Time(deletion.requested.checked_add(grace).unwrap_or(deletion.requested))
            }),
            deletion_grace_period_seconds: deletion
                .map(|deletion| i64::try_from(deletion.grace.as_secs()).unwrap_or(i64::MAX)),
            owner_references: Some(vec![OwnerReference {
                api_version: "apps/v1".into(),
                kind: "DaemonSet".into(),
                name: record.set.name.clone(),
                uid: record.set_uid.clone(),
                controller: Some(true),
                block_owner_deletion: Some(true),
            }]),
            ..ObjectMeta::default()
        }
    }

    /// Phase, conditions and each container's state.
    fn status(&self, place: Place<'_>) -> PodStatus {
        let record = &self.record;
        let statuses: Vec<ContainerStatus> =
            record.spec().containers.iter().map(|container| self.container(container)).collect();
        let host_ip = place.host_ip.map(str::to_owned);
        let pod_ip = host_ip
            .clone()
            .filter(|_| record.sandbox.is_some() && record.spec().host_network == Some(true));
        let fault = match &self.stage {
            Stage::Held(fault) | Stage::Preparing { fault: Some(fault), .. } => Some(fault),
            _ => None,
        };
        PodStatus {
            phase: Some(self.phase().into()),
            message: fault.map(|fault| fault.message.clone()),
            conditions: Some(self.conditions(&statuses)),
            container_statuses: Some(statuses),
            host_ip: host_ip.clone(),
            host_ips: host_ip.map(|ip| vec![HostIP { ip }]),
            pod_ip: pod_ip.clone(),
            pod_ips: pod_ip.map(|ip| vec![PodIP { ip }]),
            qos_class: Some(qos_class(record.spec()).as_str().into()),
            start_time: Some(Time(record.created)),
            ..PodStatus::default()
        }
    }

    /// `Pending` until every container ran once, then `Running`: with restartPolicy Always there is no other.
    fn phase(&self) -> &'static str {
        let ran = |container: &Container| {
            self.record
                .containers
                .get(&container.name)
                .is_some_and(|record| record.attempt.is_some())
        };
        if self.record.spec().containers.iter().all(ran) { "Running" } else { "Pending" }
    }

    /// The five conditions of a pod, in kubelet's order.
    fn conditions(&self, statuses: &[ContainerStatus]) -> Vec<PodCondition> {
        let unready: Vec<&str> = statuses
            .iter()
            .filter(|status| !status.ready)
            .map(|status| status.name.as_str())
            .collect();
        let ready = (unready.is_empty(), "ContainersNotReady");
        let message = format!("containers with unready status: [{}]", unready.join(" "));
        let sandbox = (self.record.sandbox.is_some(), "");
        [
            ("PodReadyToStartContainers", sandbox),
            ("Initialized", (true, "")),
            ("Ready", ready),
            ("ContainersReady", ready),
            ("PodScheduled", (true, "")),
        ]
        .into_iter()
        .map(|(kind, (holds, reason))| PodCondition {
            type_: kind.into(),
            status: if holds { "True" } else { "False" }.into(),
            reason: (!holds && !reason.is_empty()).then(|| reason.to_owned()),
            message: (!holds && !reason.is_empty()).then(|| message.clone()),
            last_transition_time: self.last_change().map(Time),
            ..PodCondition::default()
        })
        .collect()
    }

    /// When a container last started or ended; before that, when the pod was made.
    pub fn last_change(&self) -> Option<Timestamp> {
        let records = self.record.containers.values();
        records
            .flat_map(|record| {
                [record.running_since, record.terminated.as_ref().map(|ended| ended.finished)]
            })
            .flatten()
            .max()
            .or(Some(self.record.created))
    }

    /// One container's status.
    fn container(&self, container: &Container) -> ContainerStatus {
        let empty = ContainerRecord::default();
        let record = self.record.containers.get(&container.name).unwrap_or(&empty);
        let state = self.containers.get(&container.name);
        let running = state.is_some_and(State::running);
        let id = |attempt| {
            format!("containerd://{}", ContainerId::of(&self.record.uid, &container.name, attempt))
        };
        let ended = matches!(state, Some(State::Ended));
        let last = record.terminated.as_ref().filter(|_| !ended);
        ContainerStatus {
            name: container.name.clone(),
            image: record.image.as_ref().map_or_else(
                || container.image.clone().unwrap_or_default(),
                |image| image.reference.clone(),
            ),
            image_id: record.image.as_ref().map(|image| image.digest.clone()).unwrap_or_default(),
            container_id: record.attempt.map(id),
            ready: running,
            started: Some(running),
            restart_count: record
                .attempt
                .map_or(0, |attempt| i32::try_from(attempt).unwrap_or(i32::MAX)),
            state: Some(self.state(record, state)),
            last_state: last.map(|terminated| ContainerState {
                terminated: Some(terminated_object(terminated, id(terminated.attempt))),
                ..ContainerState::default()
            }),
            ..ContainerStatus::default()
        }
    }

    /// Exactly one of waiting, running and terminated.
    fn state(&self, record: &ContainerRecord, state: Option<&State>) -> ContainerState {
        match state {
            Some(State::Running { .. }) => ContainerState {
                running: Some(ContainerStateRunning { started_at: record.running_since.map(Time) }),
                ..ContainerState::default()
            },
            Some(State::Ended) if record.terminated.is_some() => ContainerState {
                terminated: record
                    .terminated
                    .as_ref()
                    .map(|ended| terminated_object(ended, String::new())),
                ..ContainerState::default()
            },
            Some(State::Waiting { reason, message, .. }) => self.waiting(reason, message),
            Some(State::Starting { .. } | State::Ended) | None => {
                self.waiting("ContainerCreating", "")
            }
        }
    }

    /// A waiting state; while the pod itself is held its reason is the container's too.
    fn waiting(&self, reason: &str, message: &str) -> ContainerState {
        let (reason, message) = match &self.stage {
            Stage::Held(fault) => (fault.reason, fault.message.as_str()),
            // A volume that is made from an image waits for it as a container would.
            Stage::Preparing { fault: Some(fault), .. } if wants_image(fault.reason) => {
                (fault.reason, fault.message.as_str())
            }
            _ => (reason, message),
        };
        ContainerState {
            waiting: Some(ContainerStateWaiting {
                reason: Some(reason.to_owned()),
                message: (!message.is_empty()).then(|| message.to_owned()),
            }),
            ..ContainerState::default()
        }
    }
}

/// A terminated state in Kubernetes' shape.
fn terminated_object(ended: &Terminated, container_id: String) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: i32::try_from(ended.exit_code).unwrap_or(i32::MAX),
        reason: Some(ended.reason.clone()),
        message: (!ended.message.is_empty()).then(|| ended.message.clone()),
        started_at: ended.started.map(Time),
        finished_at: Some(Time(ended.finished)),
        container_id: (!container_id.is_empty()).then_some(container_id),
        ..ContainerStateTerminated::default()
    }
}

impl Pod {
    /// What keeps the pod from being ready, one line each; nothing when it is.
    pub fn notes(&self) -> Vec<String> {
        if let Some(deletion) = &self.record.deletion {
            return vec![format!("stopping: {}", deletion.cause)];
        }
        match &self.stage {
            Stage::Held(fault) | Stage::Preparing { fault: Some(fault), .. } => {
                return vec![format!("{}: {}", fault.reason, fault.message)];
            }
            _ => {}
        }
        self.containers
            .iter()
            .filter_map(|(name, state)| match state {
                State::Waiting { reason, message, .. } if message.is_empty() => {
                    Some(format!("container {name}: {reason}"))
                }
                State::Waiting { reason, message, .. } => {
                    Some(format!("container {name}: {reason}: {message}"))
                }
                State::Starting { .. } => Some(format!("container {name} is starting")),
                State::Running { .. } | State::Ended => None,
            })
            .collect()
    }
}
