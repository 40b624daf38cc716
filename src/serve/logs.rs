//! The `Logs` call: which container and which of its runs, and when following ends.

use std::{future::Future, io, path::Path, pin::Pin, sync::Arc};

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use tokio::sync::{mpsc, watch};
use tonic::Status;

use crate::agent::handle::{Handle, Kind};
use crate::agent::wire::{LogsRequest, LogsResponse};
pub use crate::host::logs::LogRequest;

use super::{control, until_true};

/// Ends when nothing more will be written to the log that is followed.
pub type Ended = Pin<Box<dyn Future<Output = ()> + Send>>;
/// The reading of one log; it ends with the log, or after [`Ended`].
pub type LogRead = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;
/// Reads a log in pieces; the composition root fills in `host::logs::stream`.
pub type LogStream = Arc<dyn Fn(LogRequest, mpsc::Sender<Vec<u8>>, Ended) -> LogRead + Send + Sync>;

/// The container and its run that a call is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The container's name.
    pub container: String,
    /// The number of its run.
    pub attempt: u32,
}

/// The pod that a call names.
pub async fn pod(handle: &Handle, namespace: &str, name: &str) -> Result<Pod, Status> {
    let found =
        control::list(handle, Kind::Pod, Some(namespace.to_owned()), Some(name.to_owned())).await?;
    // A pod of that name may still be stopping while its successor starts: the later one is meant.
    let found = found.into_iter().next_back();
    let Some(found) = found else {
        return Err(Status::not_found(format!("pods {name:?} not found")));
    };
    serde_json::from_value(found).map_err(|error| {
        Status::internal(format!("the agent's pod {name:?} is malformed: {error}"))
    })
}

/// Chooses the container and its run.
pub fn choose(pod: &Pod, request: &LogsRequest) -> Result<Choice, Status> {
    let container = container(pod, &request.container)?;
    let attempt = attempt(pod, &container, request.previous)?;
    Ok(Choice { container, attempt })
}

/// The container asked for, or the only one, or the one that the pod's annotation prefers.
fn container(pod: &Pod, asked: &str) -> Result<String, Status> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let spec = pod.spec.as_ref();
    let names = |of: &[k8s_openapi::api::core::v1::Container]| -> Vec<String> {
        of.iter().map(|container| container.name.clone()).collect()
    };
    let regular = spec.map(|spec| names(&spec.containers)).unwrap_or_default();
    let first =
        spec.and_then(|spec| spec.init_containers.as_deref()).map(names).unwrap_or_default();
    let known = |name: &str| regular.iter().chain(&first).any(|known| known == name);
    if !asked.is_empty() {
        return if known(asked) {
            Ok(asked.to_owned())
        } else {
            Err(Status::invalid_argument(format!("container {asked} is not valid for pod {name}")))
        };
    }
    let preferred = pod
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get("kubectl.kubernetes.io/default-container"));
    match (preferred, regular.as_slice()) {
        (Some(preferred), _) if known(preferred) => Ok(preferred.clone()),
        (_, [only]) if first.is_empty() => Ok(only.clone()),
        _ => {
            let first = match first.as_slice() {
                [] => String::new(),
                names => format!(" or one of the init containers: [{}]", names.join(" ")),
            };
            let message = format!(
                "a container name must be specified for pod {name}, choose one of: [{}]{first}",
                regular.join(" ")
            );
            Err(Status::invalid_argument(message))
        }
    }
}

/// The run whose log is meant. While a container waits for its restart, its last run is both the
/// current and the previous one, as the kubelet sees it.
fn attempt(pod: &Pod, container: &str, previous: bool) -> Result<u32, Status> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let status = status(pod, container);
    let restarts = status.map_or(0, |status| u32::try_from(status.restart_count).unwrap_or(0));
    let state = status.and_then(|status| status.state.as_ref());
    let ran_before = status
        .and_then(|status| status.last_state.as_ref())
        .is_some_and(|last| last.terminated.is_some());
    let current = state.is_some_and(|state| state.running.is_some() || state.terminated.is_some());
    match (current, previous) {
        (true, false) => Ok(restarts),
        (true, true) if restarts > 0 => Ok(restarts - 1),
        (false, _) if ran_before => Ok(restarts),
        (_, true) => Err(Status::failed_precondition(format!(
            "previous terminated container {container:?} in pod {name:?} not found"
        ))),
        (false, false) => {
            let reason = state
                .and_then(|state| state.waiting.as_ref())
                .and_then(|waiting| waiting.reason.as_deref())
                .unwrap_or("ContainerCreating");
            Err(Status::failed_precondition(format!(
                "container {container:?} in pod {name:?} is waiting to start: {reason}"
            )))
        }
    }
}

/// The status of one container, regular or init.
pub fn status<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let regular = status.container_statuses.iter().flatten();
    let first = status.init_container_statuses.iter().flatten();
    regular.chain(first).find(|status| status.name == container)
}

/// What to read for the chosen run.
pub fn request(
    root: &Path,
    pod: &Pod,
    choice: &Choice,
    request: &LogsRequest,
) -> Result<LogRequest, Status> {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let meta = &pod.metadata;
    let dir = format!("{}_{}_{}", part(&meta.namespace), part(&meta.name), part(&meta.uid));
    let since = match request.since_time.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| {
            Status::invalid_argument(format!("{text:?} is no time such as 2026-01-31T12:00:00Z"))
        })?),
    };
    Ok(LogRequest {
        dir: root.join(dir).join(&choice.container),
        attempt: choice.attempt,
        tail: u64::try_from(request.tail).ok(),
        since,
        timestamps: request.timestamps,
        follow: request.follow,
    })
}

/// Ends when the chosen run no longer runs, its pod is gone, or the agent stops.
pub async fn ended(handle: Handle, pod: Pod, choice: Choice, stopping: watch::Receiver<bool>) {
    // cancel-safe: neither arm is polled again after the other has ended.
    tokio::select! {
        () = run_over(handle, pod, choice) => {}
        () = until_true(stopping) => {}
    }
}

/// Ends when the chosen run is over.
async fn run_over(mut handle: Handle, pod: Pod, choice: Choice) {
    let meta = &pod.metadata;
    loop {
        handle.changes.borrow_and_update();
        let found =
            control::list(&handle, Kind::Pod, meta.namespace.clone(), meta.name.clone()).await;
        let still = found.ok().into_iter().flatten().any(|value| {
            serde_json::from_value::<Pod>(value).is_ok_and(|now| runs(&now, &pod, &choice))
        });
        if !still || handle.changes.changed().await.is_err() {
            return;
        }
    }
}

/// Whether the chosen run is the one that runs now.
fn runs(now: &Pod, pod: &Pod, choice: &Choice) -> bool {
    now.metadata.uid == pod.metadata.uid
        && status(now, &choice.container).is_some_and(|status| {
            u32::try_from(status.restart_count) == Ok(choice.attempt)
                && status.state.as_ref().is_some_and(|state| state.running.is_some())
        })
}

/// Passes a log on, piece by piece.
pub async fn forward(
    reader: LogStream,
    request: LogRequest,
    ended: Ended,
    answers: mpsc::Sender<LogsResponse>,
) -> Result<(), Status> {
    let dir = request.dir.clone();
    let (pieces, mut read) = mpsc::channel(8);
    let passing = async move {
        while let Some(data) = read.recv().await {
            if answers.send(LogsResponse { data }).await.is_err() {
                return;
            }
        }
    };
    let (outcome, ()) = tokio::join!(reader(request, pieces, ended), passing);
    outcome.map_err(|error| Status::internal(format!("read the log in {}: {error}", dir.display())))
}
