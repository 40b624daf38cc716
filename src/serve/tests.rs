//! The server and a client over a real socket, with a few lines in the agent's place.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

use crate::agent::handle::{
    Command, ImageOrder, ImageSaid, ImageTask, Kind, SyncReport, VersionReport,
};
use crate::agent::wire::control_client::ControlClient;
use crate::agent::wire::{
    DeletePodRequest, ImagesRequest, ImportImages, ListImages, ListRequest, LogsRequest,
    PruneImages, PullImage, SyncRequest, VersionRequest, WhyRequest, images_request::Task,
    images_response::Part,
};

use super::logs::LogRequest;
use super::socket::bind;
use super::*;

/// An agent's place: a served socket, the objects that it knows, and how to stop it.
struct Agent {
    dir: tempfile::TempDir,
    objects: Arc<Mutex<Vec<(Kind, Value)>>>,
    notify: watch::Sender<u64>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), ServeError>>,
}

impl Agent {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let objects: Arc<Mutex<Vec<(Kind, Value)>>> = Arc::default();
        let (commands, inbox) = mpsc::channel(4);
        let (notify, changes) = watch::channel(0);
        tokio::spawn(answer(inbox, Arc::clone(&objects)));
        let (stop, stopped) = oneshot::channel::<()>();
        let settings = ServeSettings {
            socket: socket(dir.path()),
            pod_logs: dir.path().into(),
            metrics: None,
        };
        let handle = Handle { commands, changes, execs: mpsc::channel(1).0 };
        let serving = serve(settings, handle, log_stand_in(), async {
            let _ = stopped.await;
        });
        let served = tokio::spawn(serving.unwrap());
        Self { dir, objects, notify, stop, served }
    }

    fn put(&self, objects: &[(Kind, Value)]) {
        *self.objects.lock().unwrap() = objects.to_vec();
        self.notify.send_modify(|count| *count += 1);
    }

    async fn client(&self) -> ControlClient<Channel> {
        let path = socket(self.dir.path());
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        // The socket appears as soon as the server's task has run.
        while UnixStream::connect(socket(self.dir.path())).await.is_err() {
            tokio::task::yield_now().await;
        }
        let endpoint = Endpoint::from_static("http://podward");
        ControlClient::new(endpoint.connect_with_connector(connector).await.unwrap())
    }
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("run/podward.sock")
}

async fn answer(mut inbox: mpsc::Receiver<Command>, objects: Arc<Mutex<Vec<(Kind, Value)>>>) {
    while let Some(command) = inbox.recv().await {
        match command {
            Command::List { kind, namespace, name, reply } => {
                let is = |object: &Value, field: &str, wanted: &Option<String>| {
                    wanted.as_deref().is_none_or(|w| object["metadata"][field] == w)
                };
                let found = objects.lock().unwrap().clone();
                let found = found.into_iter().filter(|(of, object)| {
                    *of == kind && is(object, "namespace", &namespace) && is(object, "name", &name)
                });
                let _ = reply.send(found.map(|(_, object)| object).collect());
            }
            Command::DeletePod { name, grace, reply, .. } => {
                let answer = format!("{name} {:?}", grace.map(|grace| grace.as_secs()));
                let _ = reply.send(if name == "a" { Ok(()) } else { Err(answer) });
            }
            Command::Report { .. } | Command::Turns { .. } => {
                unreachable!("only the store's link asks")
            }
            Command::Why { set, reply } => {
                let _ = reply.send(Ok(json!({"set": set.to_string()})));
            }
            Command::Sync { dry_run, reply } => {
                let lines = vec![format!("dry run {dry_run}")];
                let _ = reply.send(SyncReport { lines, converged: true });
            }
            Command::Images(ImageOrder { task, output }) => {
                let _ = output.send(ImageSaid::Item(json!(format!("{task:?}")))).await;
                let failed = matches!(task, ImageTask::Pull(_));
                let end = if failed { ImageSaid::Failed("gone".into()) } else { ImageSaid::Over };
                let _ = output.send(end).await;
            }
            Command::Metrics { .. } => {}
            Command::Version { reply } => {
                let _ = reply.send(VersionReport { node: "n1".into(), ..VersionReport::default() });
            }
        }
    }
}

/// Says what it was asked to read, then, when following, that the end was told.
fn log_stand_in() -> LogStream {
    Arc::new(|request: LogRequest, out, ended| {
        Box::pin(async move {
            let dir = request.dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let line = format!("{dir}/{}.log tail {:?}\n", request.attempt, request.tail);
            let _ = out.send(line.into_bytes()).await;
            if request.follow {
                ended.await;
                let _ = out.send(b"ended\n".to_vec()).await;
            }
            Ok(())
        })
    })
}

fn pod(name: &str, containers: &[&str], restarts: i32, state: &Value) -> (Kind, Value) {
    let specs: Vec<Value> = containers.iter().map(|name| json!({"name": name})).collect();
    let status = |name: &&str| {
        json!({"name": name, "restartCount": restarts, "state": state, "image": "", "imageID": "", "ready": true,
               "lastState": if restarts > 0 { json!({"terminated": {"exitCode": 1}}) } else { json!({}) }})
    };
    let statuses: Vec<Value> = containers.iter().map(status).collect();
    (
        Kind::Pod,
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "x", "name": name, "uid": "u"},
               "spec": {"containers": specs}, "status": {"containerStatuses": statuses}}),
    )
}

fn running() -> Value {
    json!({"running": {}})
}

fn logs_of(pod: &str) -> LogsRequest {
    LogsRequest { namespace: "x".into(), pod: pod.into(), tail: -1, ..LogsRequest::default() }
}

async fn read(client: &mut ControlClient<Channel>, request: LogsRequest) -> Result<String, String> {
    let mut pieces = match client.logs(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return Err(status.message().to_owned()),
    };
    let mut text = Vec::new();
    while let Some(piece) = pieces.message().await.unwrap() {
        text.extend(piece.data);
    }
    Ok(String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn a_list_answers_with_the_objects_of_one_kind() {
    let agent = Agent::start();
    agent.put(&[pod("a", &["m"], 0, &running()), (Kind::Node, json!({"metadata": {"name": "n"}}))]);
    let mut client = agent.client().await;
    let request = |kind: &str| ListRequest { kind: kind.into(), ..ListRequest::default() };
    let mut list = client.list(request("Node")).await.unwrap().into_inner();
    let items = list.message().await.unwrap().unwrap().items;
    assert_eq!(items, [r#"{"metadata":{"name":"n"}}"#]);
    assert!(list.message().await.unwrap().is_none());
    let refused = client.list(request("Secret")).await.unwrap_err();
    assert_eq!(refused.message(), "the agent knows no kind \"Secret\"");
}

#[tokio::test]
async fn a_watch_sends_the_list_again_only_when_it_reads_differently() {
    let agent = Agent::start();
    let mut client = agent.client().await;
    let request = ListRequest { kind: "Pod".into(), watch: true, ..ListRequest::default() };
    let mut list = client.list(request).await.unwrap().into_inner();
    assert_eq!(list.message().await.unwrap().unwrap().items.len(), 0);
    // A change of something else, then a burst: one answer.
    agent.put(&[(Kind::Node, json!({}))]);
    agent.put(&[pod("a", &["m"], 0, &running())]);
    agent.put(&[pod("a", &["m"], 0, &running()), pod("b", &["m"], 0, &running())]);
    assert_eq!(list.message().await.unwrap().unwrap().items.len(), 2);
    agent.stop.send(()).unwrap();
    assert!(list.message().await.unwrap().is_none(), "a stopping agent ends the watch well");
    agent.served.await.unwrap().unwrap();
}

#[tokio::test]
async fn orders_and_questions_reach_the_agent() {
    let agent = Agent::start();
    let mut client = agent.client().await;
    let version = client.version(VersionRequest {}).await.unwrap().into_inner();
    assert_eq!(version.node, "n1");
    let sync = client.sync(SyncRequest { dry_run: true }).await.unwrap().into_inner();
    assert_eq!((sync.lines, sync.converged), (vec!["dry run true".to_owned()], true));
    let why = WhyRequest { namespace: "x".into(), name: "web".into() };
    assert_eq!(client.why(why).await.unwrap().into_inner().json, r#"{"set":"x/web"}"#);
    let delete = |name: &str, grace| DeletePodRequest {
        namespace: "x".into(),
        name: name.into(),
        grace_period_seconds: grace,
    };
    assert!(client.delete_pod(delete("a", -1)).await.is_ok());
    for (grace, seen) in [(-1, "b None"), (0, "b Some(0)"), (5, "b Some(5)")] {
        assert_eq!(client.delete_pod(delete("b", grace)).await.unwrap_err().message(), seen);
    }
}

#[tokio::test]
async fn logs_choose_the_container_and_its_run() {
    let agent = Agent::start();
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    agent.put(&[
        pod("one", &["m"], 3, &running()),
        pod("two", &["m", "s"], 0, &running()),
        pod("crashing", &["m"], 2, &waiting),
        pod("starting", &["m"], 0, &json!({"waiting": {"reason": "ContainerCreating"}})),
    ]);
    let mut client = agent.client().await;
    let previous = |request: LogsRequest| LogsRequest { previous: true, ..request };
    let of =
        |name: &str, container: &str| LogsRequest { container: container.into(), ..logs_of(name) };
    for (request, answer) in [
        (LogsRequest { tail: 5, ..logs_of("one") }, Ok("m/3.log tail Some(5)\n")),
        (previous(logs_of("one")), Ok("m/2.log tail None\n")),
        (of("two", "s"), Ok("s/0.log tail None\n")),
        (logs_of("crashing"), Ok("m/2.log tail None\n")),
        (previous(logs_of("crashing")), Ok("m/2.log tail None\n")),
        (
            logs_of("two"),
            Err("a container name must be specified for pod two, choose one of: [m s]"),
        ),
        (of("two", "x"), Err("container x is not valid for pod two")),
        (
            previous(of("two", "m")),
            Err("previous terminated container \"m\" in pod \"two\" not found"),
        ),
        (
            logs_of("starting"),
            Err("container \"m\" in pod \"starting\" is waiting to start: ContainerCreating"),
        ),
        (logs_of("none"), Err("pods \"none\" not found")),
        (
            LogsRequest { since_time: "noon".into(), ..logs_of("one") },
            Err("\"noon\" is no time such as 2026-01-31T12:00:00Z"),
        ),
    ] {
        let answer = answer.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(read(&mut client, request).await, answer);
    }
}

#[tokio::test]
async fn following_ends_when_the_container_restarts_or_its_pod_goes() {
    let agent = Agent::start();
    let mut client = agent.client().await;
    for after in [vec![], vec![pod("a", &["m"], 1, &running())]] {
        agent.put(&[pod("a", &["m"], 0, &running())]);
        let request = LogsRequest { follow: true, ..logs_of("a") };
        let mut pieces = client.logs(request).await.unwrap().into_inner();
        let first = pieces.message().await.unwrap().unwrap();
        assert_eq!(first.data, b"m/0.log tail None\n");
        agent.put(&after);
        assert_eq!(pieces.message().await.unwrap().unwrap().data, b"ended\n");
        assert!(pieces.message().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn the_socket_is_for_its_group_and_goes_with_the_agent() {
    let agent = Agent::start();
    agent.client().await;
    let path = socket(agent.dir.path());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o660);
    assert_eq!(mode(path.parent().unwrap()) & !0o755, 0);
    let error = bind(&path).unwrap_err();
    assert!(error.to_string().contains("is in use: another agent answers there"), "{error}");
    agent.stop.send(()).unwrap();
    agent.served.await.unwrap().unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn a_dead_agents_socket_is_replaced_and_other_files_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let (_listener, file) = bind(&path).unwrap();
    file.remove();
    assert!(!path.exists());
    fs::write(&path, "mine").unwrap();
    assert!(matches!(bind(&path), Err(ServeError::NotASocket { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    file.remove();
    assert!(path.exists(), "a file that is not ours stays");
}

#[tokio::test]
async fn what_is_asked_of_images_reaches_the_agent_and_its_failure_comes_back() {
    let agent = Agent::start();
    let mut client = agent.client().await;
    let import = |archive: &str| Task::Import(ImportImages { archive: archive.into() });
    for (task, answer) in [
        (Some(Task::List(ListImages {})), Ok("\"List\"")),
        (Some(import("/a.tar")), Ok("\"Import(\\\"/a.tar\\\")\"")),
        (Some(import("a.tar")), Err("image archive \"a.tar\": not an absolute path")),
        (Some(Task::Prune(PruneImages { dry_run: true })), Ok("\"Prune { dry_run: true }\"")),
        (Some(Task::Pull(PullImage { reference: "r.io/a".into() })), Err("gone")),
        (None, Err("nothing is asked of images")),
    ] {
        let mut said = Vec::new();
        let outcome = async {
            let mut answers = client.images(ImagesRequest { task }).await?.into_inner();
            while let Some(answer) = answers.message().await? {
                said.push(answer.part);
            }
            Ok::<_, tonic::Status>(())
        };
        let outcome = outcome.await.map_err(|status| status.message().to_owned());
        match answer {
            Ok(item) => {
                assert_eq!(outcome, Ok(()));
                assert_eq!(said, [Some(Part::Item(item.to_owned()))]);
            }
            Err(why) => assert_eq!(outcome, Err(why.to_owned())),
        }
    }
}
