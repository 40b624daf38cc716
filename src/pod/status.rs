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
    containers::State,
    init::Over,
    machine::{Pod, Stage},
    probes::Probes,
    pulling::wants_image,
    qos::qos_class,
    record::{ContainerRecord, Terminated},
    restart::{Role, names},
    stopping::{Stop, StopCause},
};

/// What the host adds to a pod's status.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The node's name.
    pub node: &'a NodeName,
    /// The host's first address.
    pub host_ip: Option<&'a str>,
    /// How far pulls are, by the image as containers name it.
    pub pulls: &'a BTreeMap<String, String>,
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
        self.record.labels()
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
        let statuses = |containers: &[Container]| -> Vec<ContainerStatus> {
            containers.iter().map(|container| self.container(container, place.pulls)).collect()
        };
        let spec = record.spec();
        let inits = spec.init_containers.as_deref().map(statuses);
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
            conditions: Some(self.conditions()),
            init_container_statuses: inits.filter(|inits| !inits.is_empty()),
            container_statuses: Some(statuses(&spec.containers)),
            host_ip: host_ip.clone(),
            host_ips: host_ip.map(|ip| vec![HostIP { ip }]),
            pod_ip: pod_ip.clone(),
            pod_ips: pod_ip.map(|ip| vec![PodIP { ip }]),
            qos_class: Some(qos_class(record.spec()).as_str().into()),
            start_time: Some(Time(record.created)),
            ..PodStatus::default()
        }
    }

    /// `Pending` until the init containers have done their work and every container ran once; then `Running`, unless
    /// all of them ended for good.
    pub fn phase(&self) -> &'static str {
        match self.over() {
            Some(Over::Succeeded) => return "Succeeded",
            Some(Over::Failed) => return "Failed",
            None => {}
        }
        let ran = |container: &Container| {
            let record = self.record.containers.get(&container.name);
            record.is_some_and(|record| record.attempt.is_some())
        };
        let containers = &self.record.spec().containers;
        let starting = |container: &Container| {
            // Its first start is over only when its hook is.
            let record = self.record.containers.get(&container.name);
            let first = record.is_none_or(|record| record.terminated.is_none());
            let state = self.containers.get(&container.name);
            first && matches!(state, Some(State::Hooking { .. }))
        };
        let up = containers.iter().all(|own| ran(own) && !starting(own));
        if up { "Running" } else { "Pending" }
    }

    /// The five conditions of a pod, in kubelet's order.
    fn conditions(&self) -> Vec<PodCondition> {
        let (incomplete, unready) = (self.incomplete(), self.unready());
        let list = |what: &str, names: &[String]| {
            format!("containers with {what} status: [{}]", names.join(" "))
        };
        let over = self.over().map(|over| match over {
            Over::Succeeded => "PodCompleted",
            Over::Failed => "PodFailed",
        });
        let initialized = Condition {
            kind: "Initialized",
            holds: self.record.initialized.is_some(),
            reason: over.unwrap_or("ContainersNotInitialized"),
            message: list("incomplete", &incomplete),
            since: self.record.initialized,
        };
        let ready = |kind| Condition {
            kind,
            holds: self.ready(),
            reason: over.unwrap_or("ContainersNotReady"),
            message: if over.is_some() { String::new() } else { list("unready", &unready) },
            since: self.record.readiness.map(|readiness| readiness.since),
        };
        let plain = |kind, holds| Condition {
            kind,
            holds,
            reason: "",
            message: String::new(),
            since: Some(self.record.created),
        };
        let conditions = [
            plain("PodReadyToStartContainers", self.record.sandbox.is_some()),
            initialized,
            ready("Ready"),
            ready("ContainersReady"),
            plain("PodScheduled", true),
        ];
        conditions.into_iter().map(|own| own.object(self.record.created)).collect()
    }

    /// When a container last started or ended; before that, when the pod was made.
    pub(super) fn last_change(&self) -> Timestamp {
        let records = self.record.containers.values();
        records
            .flat_map(|record| {
                [record.running_since, record.terminated.as_ref().map(|ended| ended.finished)]
            })
            .flatten()
            .max()
            .unwrap_or(self.record.created)
    }

    /// One container's status.
    fn container(
        &self,
        container: &Container,
        pulls: &BTreeMap<String, String>,
    ) -> ContainerStatus {
        let empty = ContainerRecord::default();
        let record = self.record.containers.get(&container.name).unwrap_or(&empty);
        let state = self.containers.get(&container.name);
        let running = matches!(state, Some(State::Running { .. } | State::Stopping { .. }));
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
            ready: match Role::of(self.record.spec(), &container.name) {
                // As kubelet has it: an init container is ready when it has done its work.
                Role::Init => ended && record.finished,
                Role::Sidecar | Role::Regular => self.container_ready(&container.name),
            },
            started: Some(running && record.started),
            restart_count: record
                .attempt
                .map_or(0, |attempt| i32::try_from(attempt).unwrap_or(i32::MAX)),
            state: Some(match (state, container.image.as_ref()) {
                (Some(State::Pulling { .. }), Some(image)) => {
                    let progress = pulls.get(image).map(String::as_str).unwrap_or_default();
                    self.creating_with(record, progress)
                }
                _ => self.state(record, state),
            }),
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
            Some(State::Stopping {
                stop: Stop { cause: StopCause::PostStart(text), .. }, ..
            }) => self.waiting("PostStartHookError", text),
            Some(State::Running { .. } | State::Stopping { .. }) => ContainerState {
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
            Some(
                State::Pulling { .. }
                | State::Starting { .. }
                | State::Hooking { .. }
                | State::Ended,
            )
            | None => self.creating_with(record, ""),
        }
    }

    /// The state of a container on its way up.
    fn creating_with(&self, record: &ContainerRecord, message: &str) -> ContainerState {
        let fresh = record.terminated.is_none() && self.record.initialized.is_none();
        let inits = self.record.spec().init_containers.as_ref();
        let initializing = fresh && inits.is_some_and(|inits| !inits.is_empty());
        self.waiting(if initializing { "PodInitializing" } else { "ContainerCreating" }, message)
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

/// One of a pod's conditions.
struct Condition {
    /// Its type.
    kind: &'static str,
    /// Whether it is true.
    holds: bool,
    /// Why not.
    reason: &'static str,
    /// More of it.
    message: String,
    /// Since when it is as it is; `None` since the pod was made.
    since: Option<Timestamp>,
}

impl Condition {
    /// In Kubernetes' shape.
    fn object(self, created: Timestamp) -> PodCondition {
        let why = |text: &str| (!self.holds && !text.is_empty()).then(|| text.to_owned());
        PodCondition {
            type_: self.kind.into(),
            status: if self.holds { "True" } else { "False" }.into(),
            reason: why(self.reason),
            message: why(&self.message).filter(|_| !self.reason.is_empty()),
            last_transition_time: Some(Time(self.since.unwrap_or(created))),
            ..PodCondition::default()
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
        if let Some(over) = self.over() {
            let how = if over == Over::Succeeded { "completed" } else { "failed" };
            return vec![format!("{how}: no container of it is started again")];
        }
        names(self.record.spec()).iter().flat_map(|name| self.container_notes(name)).collect()
    }

    /// What keeps one container from being ready or done.
    fn container_notes(&self, name: &str) -> Vec<String> {
        let what = match self.role(name) {
            Role::Init => "init container",
            Role::Sidecar => "sidecar",
            Role::Regular => "container",
        };
        match self.containers.get(name) {
            Some(State::Waiting { reason, message, .. }) if message.is_empty() => {
                vec![format!("{what} {name}: {reason}")]
            }
            Some(State::Waiting { reason, message, .. }) => {
                vec![format!("{what} {name}: {reason}: {message}")]
            }
            Some(State::Pulling { .. }) => {
                vec![format!("{what} {name}: pulling image {:?}", self.image_name(name))]
            }
            Some(State::Starting { .. }) => vec![format!("{what} {name} is starting")],
            Some(State::Hooking { .. }) => vec![format!("{what} {name}: postStart hook runs")],
            Some(State::Stopping { .. }) => vec![format!("{what} {name} is being stopped")],
            Some(State::Running { .. }) if self.role(name) == Role::Init => {
                vec![format!("{what} {name} runs")]
            }
            Some(State::Running { .. }) if !self.container_ready(name) => {
                let complaints = self.probes.get(name).map(|probes| probes.complaints().collect());
                let complaints: Vec<String> = complaints.unwrap_or_default();
                if complaints.is_empty() {
                    return vec![format!("{what} {name} is not ready yet")];
                }
                complaints.into_iter().map(|text| format!("{what} {name}: {text}")).collect()
            }
            Some(State::Running { .. } | State::Ended) | None => Vec::new(),
        }
    }

    /// Whether the pod is still on its way up and nothing has gone wrong yet: worth waiting for.
    pub fn coming_up(&self) -> bool {
        if self.stopping() || self.over().is_some() || self.ready() {
            return false;
        }
        let fine = |(name, state): (&String, &State)| match state {
            State::Waiting { reason, .. } => {
                matches!(*reason, "ContainerCreating" | "PodInitializing")
            }
            State::Pulling { .. }
            | State::Starting { .. }
            | State::Hooking { .. }
            | State::Ended => true,
            State::Running { .. } => {
                self.container_ready(name)
                    || self.role(name) == Role::Init
                    || self.probes.get(name).is_some_and(Probes::undecided)
            }
            State::Stopping { .. } => false,
        };
        let ran_before = |record: &ContainerRecord| record.terminated.is_some() && !record.finished;
        matches!(self.stage, Stage::Up | Stage::Preparing { fault: None, .. })
            && self.containers.iter().all(fine)
            && !self.record.containers.values().any(ran_before)
    }
}
