//! What the command line prints, to the letter, against a control socket with a fixed answer.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, Streaming};

use crate::agent::wire::control_server::{Control, ControlServer};
use crate::agent::wire::{
    DeletePodRequest, DeletePodResponse, ExecRequest, ExecResponse, ImagesRequest, ImagesResponse,
    ListRequest, ListResponse, LogsRequest, LogsResponse, SyncRequest, SyncResponse,
    VersionRequest, VersionResponse, WhyRequest, WhyResponse,
};

use super::*;

mod descriptions;
mod tables;

/// Objects of every kind; a watch sees the last of them change and the second list be the last.
struct Fixed(Vec<Value>);

type Answer<T> = Result<Response<T>, Status>;

fn stream<T>(items: Vec<T>) -> Response<ReceiverStream<Result<T, Status>>> {
    let (sender, receiver) = tokio::sync::mpsc::channel(items.len().max(1));
    for item in items {
        sender.try_send(Ok(item)).unwrap();
    }
    Response::new(ReceiverStream::new(receiver))
}

#[tonic::async_trait]
impl Control for Fixed {
    type ListStream = ReceiverStream<Result<ListResponse, Status>>;
    type LogsStream = ReceiverStream<Result<LogsResponse, Status>>;
    type ExecStream = ReceiverStream<Result<ExecResponse, Status>>;
    type ImagesStream = ReceiverStream<Result<ImagesResponse, Status>>;

    async fn version(&self, _: Request<VersionRequest>) -> Answer<VersionResponse> {
        let (version, node) = ("0.1.0".to_owned(), "n1".to_owned());
        Ok(Response::new(VersionResponse { version, node, containerd: "1.6.20".into() }))
    }

    async fn list(&self, request: Request<ListRequest>) -> Answer<Self::ListStream> {
        let request = request.into_inner();
        let is = |object: &&Value, field: &str, wanted: &str| {
            wanted.is_empty() || object["metadata"][field] == wanted
        };
        let found = self.0.iter().filter(|object| object["kind"] == request.kind.as_str());
        let found = found
            .filter(|o| is(o, "namespace", &request.namespace) && is(o, "name", &request.name));
        let mut found: Vec<Value> = found.cloned().collect();
        let answer =
            |found: &[Value]| ListResponse { items: found.iter().map(Value::to_string).collect() };
        let mut answers = vec![answer(&found)];
        if request.watch {
            if let Some(last) = found.last_mut() {
                last["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }
            answers.push(answer(&found));
        }
        Ok(stream(answers))
    }

    async fn logs(&self, request: Request<LogsRequest>) -> Answer<Self::LogsStream> {
        Ok(stream(vec![LogsResponse { data: format!("{:?}\n", request.into_inner().pod).into() }]))
    }

    async fn exec(&self, _: Request<Streaming<ExecRequest>>) -> Answer<Self::ExecStream> {
        Err(Status::failed_precondition("container \"main\" of pod \"web\" does not run"))
    }

    async fn images(&self, request: Request<ImagesRequest>) -> Answer<Self::ImagesStream> {
        use crate::agent::wire::{images_request::Task, images_response::Part};
        let item = |value: &Value| ImagesResponse { part: Some(Part::Item(value.to_string())) };
        Ok(stream(match request.into_inner().task {
            Some(Task::List(_)) => self.0.iter().map(item).collect(),
            Some(Task::Import(import)) => vec![item(&json!({"names": [import.archive]}))],
            Some(Task::Prune(_)) => {
                let freed = |image: &Value| with(image.clone(), "/freed", json!(2048));
                self.0.iter().map(|image| item(&freed(image))).collect()
            }
            _ => return Err(Status::failed_precondition("no host of r.io serves it")),
        }))
    }

    async fn delete_pod(&self, _: Request<DeletePodRequest>) -> Answer<DeletePodResponse> {
        Ok(Response::new(DeletePodResponse {}))
    }

    async fn why(&self, _: Request<WhyRequest>) -> Answer<WhyResponse> {
        Err(Status::failed_precondition("daemonsets.apps \"web\" not found"))
    }

    async fn sync(&self, _: Request<SyncRequest>) -> Answer<SyncResponse> {
        Ok(Response::new(SyncResponse {
            lines: vec!["hold web: no image".into()],
            converged: false,
        }))
    }
}

/// Runs a command line against objects: standard output, standard error, exit code.
fn podward(objects: &[Value], line: &str) -> (String, String, ExitCode) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let (bound, ready) = std::sync::mpsc::channel();
    let (path, objects) = (socket.clone(), objects.to_vec());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = UnixListener::bind(path).unwrap();
            bound.send(()).unwrap();
            let control = ControlServer::new(Fixed(objects));
            let server = tonic::transport::Server::builder().add_service(control);
            server.serve_with_incoming(UnixListenerStream::new(listener)).await.unwrap();
        });
    });
    ready.recv().unwrap();
    run_line(&socket, line)
}

fn run_line(socket: &Path, line: &str) -> (String, String, ExitCode) {
    let words = ["podward", "--socket", socket.to_str().unwrap()].into_iter();
    let cli = Cli::try_parse_from(words.chain(line.split_whitespace())).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(&cli, no_agent, &mut out, &mut err)
        .unwrap_or_else(|error| failure::report(&error, &mut err));
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), code)
}

/// What a successful command prints.
fn prints(objects: &[Value], line: &str) -> String {
    let (out, err, code) = podward(objects, line);
    assert_eq!((err.as_str(), code), ("", ExitCode::SUCCESS));
    out
}

/// A time that stays nine days and some hours in the past.
fn days_ago(days: i64) -> String {
    let hours = jiff::Span::new().hours(24 * days + 2);
    (crate::base::time::now().wall - hours).to_string()
}

fn status(name: &str, ready: bool, restarts: i32, state: &Value) -> Value {
    let last = if restarts > 0 {
        json!({"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": days_ago(8)}})
    } else {
        json!({})
    };
    json!({"name": name, "ready": ready, "restartCount": restarts, "state": state, "lastState": last,
           "image": "busybox", "imageID": "sha256:1", "containerID": "containerd://c1"})
}

fn pod(name: &str, statuses: &[Value]) -> Value {
    let containers: Vec<Value> =
        statuses.iter().map(|status| json!({"name": status["name"], "image": "busybox"})).collect();
    let ready = statuses.iter().all(|status| status["ready"] == true);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "default", "name": name, "uid": name, "creationTimestamp": days_ago(9),
                     "labels": {"app": "web", "example.com/tier": "front"},
                     "ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "web", "uid": "w", "controller": true}]},
        "spec": {"nodeName": "n1", "containers": containers},
        "status": {"phase": "Running", "podIP": "10.0.0.7", "hostIP": "10.0.0.7", "containerStatuses": statuses,
                   "qosClass": "BestEffort",
                   "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
    })
}

fn running() -> Value {
    json!({"running": {"startedAt": "2026-01-02T03:04:05Z"}})
}

fn waiting(reason: &str) -> Value {
    json!({"waiting": {"reason": reason}})
}

fn ended(exit_code: i32, reason: &str) -> Value {
    json!({"terminated": {"exitCode": exit_code, "reason": reason}})
}

fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[field] = value;
    object
}

fn web() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"namespace": "default", "name": "web", "uid": "w", "creationTimestamp": days_ago(9)},
        "spec": {"selector": {"matchLabels": {"app": "web"}},
                 "template": {"metadata": {"labels": {"app": "web"}},
                              "spec": {"containers": [{"name": "m", "image": "busybox:1"}, {"name": "s", "image": "sidecar:2"}],
                                       "nodeSelector": {"disktype": "ssd"}}}},
        "status": {"desiredNumberScheduled": 1, "currentNumberScheduled": 1, "numberReady": 1, "numberMisscheduled": 0,
                   "updatedNumberScheduled": 1, "numberAvailable": 1},
    })
}

fn event(reason: &str, count: i32, last_days_ago: i64) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"namespace": "default", "name": format!("a.{reason}")},
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "a"},
        "type": "Warning", "reason": reason, "message": "it broke", "count": count,
        "firstTimestamp": days_ago(20), "lastTimestamp": days_ago(last_days_ago),
        "source": {"component": "podward", "host": "n1"},
    })
}

/// The control socket of an agent that these tests never start.
fn no_agent(
    _: &Settings,
    _: crate::agent::handle::Handle,
    _: tokio::sync::watch::Receiver<bool>,
) -> Result<crate::agent::app::Serving, String> {
    Err("not here".into())
}
