//! The row of a Pod; its STATUS names the trouble that an operator should see first.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::rows::Column;
use super::table::{age, or_none};

/// The columns.
pub const COLUMNS: [Column; 9] = [
    ("NAME", false),
    ("READY", false),
    ("STATUS", false),
    ("RESTARTS", false),
    ("AGE", false),
    ("IP", true),
    ("NODE", true),
    ("NOMINATED NODE", true),
    ("READINESS GATES", true),
];

/// The cells.
pub fn cells(pod: &Pod, now: Timestamp) -> Vec<String> {
    let summary = Summary::of(pod);
    let (spec, status) = (pod.spec.as_ref(), pod.status.as_ref());
    let first_ip = status
        .and_then(|status| status.pod_ips.as_ref()?.first().map(|ip| ip.ip.as_str()))
        .or_else(|| status?.pod_ip.as_deref());
    vec![
        pod.metadata.name.clone().unwrap_or_default(),
        format!("{}/{}", summary.ready, summary.total),
        summary.status(pod),
        summary.restarts(now),
        age(pod.metadata.creation_timestamp.as_ref(), now),
        or_none(first_ip),
        or_none(spec.and_then(|spec| spec.node_name.as_deref())),
        or_none(status.and_then(|status| status.nominated_node_name.as_deref())),
        gates(pod),
    ]
}

/// Whether a condition of the pod is true.
fn condition(pod: &Pod, name: &str) -> bool {
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == name && condition.status == "True")
}

/// How many of the readiness gates are open.
fn gates(pod: &Pod) -> String {
    let gates = pod.spec.as_ref().and_then(|spec| spec.readiness_gates.as_deref());
    match gates {
        None | Some([]) => "<none>".to_owned(),
        Some(gates) => {
            let open = gates.iter().filter(|gate| condition(pod, &gate.condition_type)).count();
            format!("{open}/{}", gates.len())
        }
    }
}

/// What the containers' statuses add up to.
#[derive(Debug, Default)]
struct Summary {
    /// Ready containers and sidecars.
    ready: usize,
    /// Containers and sidecars.
    total: usize,
    /// The status so far.
    reason: String,
    /// How often containers were restarted.
    restarts: i32,
    /// When the last restarted one had ended.
    last_restart: Option<Timestamp>,
}

impl Summary {
    /// Adds up a pod.
    fn of(pod: &Pod) -> Self {
        let Some(status) = pod.status.as_ref() else {
            return Self::default();
        };
        let spec = pod.spec.as_ref();
        let reason = [status.reason.as_deref(), status.phase.as_deref()];
        let reason = reason.into_iter().flatten().find(|reason| !reason.is_empty());
        let sidecars: Vec<&str> = spec
            .into_iter()
            .flat_map(|spec| spec.init_containers.iter().flatten())
            .filter(|container| container.restart_policy.as_deref() == Some("Always"))
            .map(|container| container.name.as_str())
            .collect();
        let mut summary = Self {
            total: spec.map_or(0, |spec| spec.containers.len()) + sidecars.len(),
            reason: reason.unwrap_or("Unknown").to_owned(),
            ..Self::default()
        };
        let first: Vec<&ContainerStatus> =
            status.init_container_statuses.iter().flatten().collect();
        let initializing = summary.walk_init(pod, &first, &sidecars);
        if !initializing || condition(pod, "Initialized") {
            // From here on only what keeps running counts.
            (summary.restarts, summary.last_restart) = (0, None);
            for sidecar in first.iter().filter(|status| sidecars.contains(&status.name.as_str())) {
                summary.count_restarts(sidecar);
            }
            summary.walk_regular(pod, status.container_statuses.as_deref().unwrap_or_default());
        }
        summary
    }

    /// Walks the init containers up to the first that holds the pod up. True when there is one.
    fn walk_init(&mut self, pod: &Pod, first: &[&ContainerStatus], sidecars: &[&str]) -> bool {
        let count = pod.spec.as_ref().and_then(|spec| spec.init_containers.as_ref());
        let count = count.map_or(0, Vec::len);
        for (index, status) in first.iter().enumerate() {
            self.count_restarts(status);
            let state = status.state.clone().unwrap_or_default();
            let sidecar = sidecars.contains(&status.name.as_str());
            if sidecar && status.started == Some(true) {
                self.ready += usize::from(status.ready);
                continue;
            }
            self.reason = match (state.terminated, state.waiting.and_then(|waiting| waiting.reason))
            {
                (Some(ended), _) if ended.exit_code == 0 => continue,
                (Some(ended), _) => format!("Init:{}", ending(&ended)),
                (None, Some(reason)) if !reason.is_empty() && reason != "PodInitializing" => {
                    format!("Init:{reason}")
                }
                (None, _) => format!("Init:{index}/{count}"),
            };
            return true;
        }
        false
    }

    /// Walks the regular containers from last to first, so that the first one's trouble stays.
    fn walk_regular(&mut self, pod: &Pod, statuses: &[ContainerStatus]) {
        let mut running = false;
        let mut trouble = None;
        for status in statuses.iter().rev() {
            self.count_restarts(status);
            let state = status.state.clone().unwrap_or_default();
            let waiting = state.waiting.and_then(|waiting| waiting.reason);
            let waiting = waiting.filter(|reason| !reason.is_empty());
            if let Some(reason) = waiting.or_else(|| state.terminated.as_ref().map(ending)) {
                if reason != "Completed" {
                    trouble = Some(reason.clone());
                }
                self.reason = reason;
            } else if status.ready && state.running.is_some() {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" {
            if running && condition(pod, "Ready") {
                "Running".clone_into(&mut self.reason);
            } else if let Some(trouble) = trouble {
                self.reason = trouble;
            } else if running {
                "NotReady".clone_into(&mut self.reason);
            }
        }
    }

    /// Adds one container's restarts.
    fn count_restarts(&mut self, status: &ContainerStatus) {
        self.restarts += status.restart_count;
        let last = status.last_state.as_ref().and_then(|last| last.terminated.as_ref());
        let ended = last.and_then(|last| last.finished_at.as_ref()).map(|Time(at)| *at);
        self.last_restart = self.last_restart.max(ended);
    }

    /// STATUS.
    fn status(&self, pod: &Pod) -> String {
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref());
        if pod.metadata.deletion_timestamp.is_none() {
            self.reason.clone()
        } else if status.and_then(|status| status.reason.as_deref()) == Some("NodeLost") {
            "Unknown".to_owned()
        } else if matches!(phase, Some("Succeeded" | "Failed")) {
            self.reason.clone()
        } else {
            "Terminating".to_owned()
        }
    }

    /// RESTARTS.
    fn restarts(&self, now: Timestamp) -> String {
        match (self.restarts, self.last_restart) {
            (0, _) | (_, None) => self.restarts.to_string(),
            (restarts, Some(last)) => format!("{restarts} ({} ago)", age(Some(&Time(last)), now)),
        }
    }
}

/// How a container ended, in one word.
fn ending(ended: &ContainerStateTerminated) -> String {
    match (ended.reason.as_deref(), ended.signal) {
        (Some(reason), _) if !reason.is_empty() => reason.to_owned(),
        (_, Some(signal)) if signal != 0 => format!("Signal:{signal}"),
        _ => format!("ExitCode:{}", ended.exit_code),
    }
}
