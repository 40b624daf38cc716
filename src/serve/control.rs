//! The control service: each call becomes a command to the agent.

use std::{future::Future, path::PathBuf, time::Duration};

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tonic::{Request, Response, Status, Streaming};

use crate::agent::handle::{Command, Handle, Kind};
use crate::agent::wire::{
    DeletePodRequest, DeletePodResponse, ExecRequest, ExecResponse, ImagesRequest, ImagesResponse,
    ListRequest, ListResponse, LogsRequest, LogsResponse, SyncRequest, SyncResponse,
    VersionRequest, VersionResponse, WhyRequest, WhyResponse, control_server::Control,
};
use crate::base::ids::SetKey;

use super::driven::Driven;
use super::exec;
use super::images;
use super::logs::{self, LogStream};
use super::until_true;

/// How long a watch waits after a change for the rest of the burst.
const BURST: Duration = Duration::from_millis(50);

/// The state that the calls share.
pub struct Service {
    /// The way to the agent.
    pub handle: Handle,
    /// Reads a container's log.
    pub logs: LogStream,
    /// The root of the pods' log directories.
    pub pod_logs: PathBuf,
    /// Raised when open answers are to end.
    pub stopping: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl Control for Service {
    type ListStream = Driven<ListResponse>;
    type LogsStream = Driven<LogsResponse>;
    type ExecStream = Driven<ExecResponse>;
    type ImagesStream = Driven<ImagesResponse>;

    async fn version(
        &self,
        _request: Request<VersionRequest>,
    ) -> Result<Response<VersionResponse>, Status> {
        let report = ask(&self.handle, |reply| Command::Version { reply }).await?;
        Ok(Response::new(VersionResponse {
            version: report.version,
            node: report.node,
            containerd: report.containerd,
        }))
    }

    async fn list(
        &self,
        request: Request<ListRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let request = request.into_inner();
        let Some(kind) = Kind::of(&request.kind) else {
            return Err(Status::invalid_argument(format!(
                "the agent knows no kind {:?}",
                request.kind
            )));
        };
        let wanted = Wanted {
            kind,
            namespace: given(request.namespace),
            name: given(request.name),
            watch: request.watch,
        };
        let (handle, stopping) = (self.handle.clone(), self.stopping.clone());
        let stream = Driven::new(|answers| until(stopping, listing(handle, wanted, answers)));
        Ok(Response::new(stream))
    }

    async fn logs(
        &self,
        request: Request<LogsRequest>,
    ) -> Result<Response<Self::LogsStream>, Status> {
        let request = request.into_inner();
        let handle = self.handle.clone();
        let pod = logs::pod(&handle, &request.namespace, &request.pod).await?;
        let choice = logs::choose(&pod, &request)?;
        let read = logs::request(&self.pod_logs, &pod, &choice, &request)?;
        let ended = logs::ended(handle, pod, choice, self.stopping.clone());
        let reader = self.logs.clone();
        let stream = Driven::new(|answers| logs::forward(reader, read, Box::pin(ended), answers));
        Ok(Response::new(stream))
    }

    async fn exec(
        &self,
        request: Request<Streaming<ExecRequest>>,
    ) -> Result<Response<Self::ExecStream>, Status> {
        let mut requests = request.into_inner();
        let prepared = exec::prepare(&self.handle, &mut requests).await?;
        let handle = self.handle.clone();
        let stream = Driven::new(|answers| exec::converse(handle, prepared, requests, answers));
        Ok(Response::new(stream))
    }

    async fn delete_pod(
        &self,
        request: Request<DeletePodRequest>,
    ) -> Result<Response<DeletePodResponse>, Status> {
        let DeletePodRequest { namespace, name, grace_period_seconds } = request.into_inner();
        let grace = u64::try_from(grace_period_seconds).ok().map(Duration::from_secs);
        ask(&self.handle, |reply| Command::DeletePod { namespace, name, grace, reply })
            .await?
            .map_err(Status::failed_precondition)?;
        Ok(Response::new(DeletePodResponse {}))
    }

    async fn why(&self, request: Request<WhyRequest>) -> Result<Response<WhyResponse>, Status> {
        let WhyRequest { namespace, name } = request.into_inner();
        let set = SetKey::new(namespace, name);
        let why = ask(&self.handle, |reply| Command::Why { set, reply })
            .await?
            .map_err(Status::failed_precondition)?;
        Ok(Response::new(WhyResponse { json: why.to_string() }))
    }

    async fn images(
        &self,
        request: Request<ImagesRequest>,
    ) -> Result<Response<Self::ImagesStream>, Status> {
        let task = images::task(request.into_inner())?;
        let (handle, stopping) = (self.handle.clone(), self.stopping.clone());
        let stream =
            Driven::new(|answers| until(stopping, images::converse(handle, task, answers)));
        Ok(Response::new(stream))
    }

    async fn sync(&self, request: Request<SyncRequest>) -> Result<Response<SyncResponse>, Status> {
        let SyncRequest { dry_run } = request.into_inner();
        let report = ask(&self.handle, |reply| Command::Sync { dry_run, reply }).await?;
        Ok(Response::new(SyncResponse { lines: report.lines, converged: report.converged }))
    }
}

/// Which objects a `List` call is about.
struct Wanted {
    /// The kind.
    kind: Kind,
    /// Only of this namespace.
    namespace: Option<String>,
    /// Only of this name.
    name: Option<String>,
    /// Whether to go on with each change.
    watch: bool,
}

/// Sends the list, and with `watch` sends it again whenever it reads differently.
async fn listing(
    mut handle: Handle,
    wanted: Wanted,
    answers: mpsc::Sender<ListResponse>,
) -> Result<(), Status> {
    let mut sent: Option<Vec<String>> = None;
    loop {
        handle.changes.borrow_and_update();
        let objects =
            list(&handle, wanted.kind, wanted.namespace.clone(), wanted.name.clone()).await?;
        let items: Vec<String> = objects.iter().map(Value::to_string).collect();
        if sent.as_ref() != Some(&items) {
            let answer = ListResponse { items: items.clone() };
            if answers.send(answer).await.is_err() {
                return Ok(());
            }
            sent = Some(items);
        }
        if !wanted.watch || handle.changes.changed().await.is_err() {
            return Ok(());
        }
        tokio::time::sleep(BURST).await;
    }
}

/// Asks the agent for objects.
pub async fn list(
    handle: &Handle,
    kind: Kind,
    namespace: Option<String>,
    name: Option<String>,
) -> Result<Vec<Value>, Status> {
    ask(handle, |reply| Command::List { kind, namespace, name, reply }).await
}

/// Sends one command and waits for its answer.
pub async fn ask<T>(
    handle: &Handle,
    command: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Result<T, Status> {
    let stopping = || Status::unavailable("the agent is stopping");
    let (reply, answer) = oneshot::channel();
    handle.commands.send(command(reply)).await.map_err(|_| stopping())?;
    answer.await.map_err(|_| stopping())
}

/// Ends the work early, and well, when the agent stops.
async fn until(
    stopping: watch::Receiver<bool>,
    work: impl Future<Output = Result<(), Status>>,
) -> Result<(), Status> {
    // cancel-safe: neither arm is polled again after the other has ended.
    tokio::select! {
        outcome = work => outcome,
        () = until_true(stopping) => Ok(()),
    }
}

/// A wire string, where empty means not given.
fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
