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

#[test]
fn sets_have_kubectls_columns() {
    assert_eq!(
        prints(&[web()], "get ds"),
        "NAME   DESIRED   CURRENT   READY   UP-TO-DATE   AVAILABLE   NODE SELECTOR   AGE\n\
         web    1         1         1       1            1           disktype=ssd    9d\n"
    );
    assert_eq!(
        prints(&[web()], "get ds -A -o wide --no-headers"),
        "default   web   1     1     1     1     1     disktype=ssd   9d    m,s   busybox:1,sidecar:2   app=web\n"
    );
}

#[test]
fn a_pods_status_names_the_trouble_to_see_first() {
    let sidecar = json!([{"name": "i", "image": "x"}, {"name": "side", "image": "x", "restartPolicy": "Always"}]);
    let init = |state: &Value| {
        let base = with(
            pod("a", &[status("m", false, 0, &waiting("PodInitializing"))]),
            "/spec/initContainers",
            sidecar.clone(),
        );
        let base = with(base, "/status/phase", json!("Pending"));
        with(
            base,
            "/status/initContainerStatuses",
            json!([
                status("i", false, 0, state),
                status("side", false, 0, &waiting("PodInitializing"))
            ]),
        )
    };
    let good = || pod("a", &[status("m", true, 0, &running())]);
    for (object, cells) in [
        (good(), "1/1     Running   0          9d"),
        (pod("a", &[status("m", true, 3, &running())]), "1/1     Running   3 (8d ago)   9d"),
        (
            pod("a", &[status("m", false, 3, &waiting("CrashLoopBackOff"))]),
            "0/1     CrashLoopBackOff   3 (8d ago)   9d",
        ),
        (
            pod(
                "a",
                &[
                    status("m", false, 0, &ended(137, "OOMKilled")),
                    status("s", true, 0, &running()),
                ],
            ),
            "1/2     OOMKilled   0          9d",
        ),
        (pod("a", &[status("m", false, 0, &ended(3, ""))]), "0/1     ExitCode:3   0          9d"),
        (
            pod(
                "a",
                &[status("m", false, 0, &ended(0, "Completed")), status("s", true, 0, &running())],
            ),
            "1/2     NotReady   0          9d",
        ),
        (
            pod(
                "a",
                &[
                    status("m", false, 0, &ended(0, "Completed")),
                    status("s", false, 0, &waiting("ErrImagePull")),
                ],
            ),
            "0/2     ErrImagePull   0          9d",
        ),
        (
            with(good(), "/metadata/deletionTimestamp", json!(days_ago(0))),
            "1/1     Terminating   0          9d",
        ),
        (with(good(), "/status/reason", json!("Evicted")), "1/1     Evicted   0          9d"),
        (
            with(
                with(good(), "/status/phase", json!("Pending")),
                "/status/containerStatuses",
                json!([]),
            ),
            "0/1     Pending   0          9d",
        ),
        (init(&running()), "0/2     Init:0/2   0          9d"),
        (init(&ended(0, "Completed")), "0/2     Init:1/2   0          9d"),
        (init(&ended(2, "Error")), "0/2     Init:Error   0          9d"),
        (init(&ended(2, "")), "0/2     Init:ExitCode:2   0          9d"),
        (init(&waiting("CrashLoopBackOff")), "0/2     Init:CrashLoopBackOff   0          9d"),
    ] {
        let out = prints(&[object], "get pods");
        let row = out.lines().nth(1).unwrap().strip_prefix("a      ").unwrap();
        assert_eq!(row, cells);
    }
}

#[test]
fn pods_can_show_labels_and_the_wide_columns() {
    let objects = [pod("a", &[status("m", true, 0, &running())])];
    assert_eq!(
        prints(&objects, "get po -o wide"),
        "NAME   READY   STATUS    RESTARTS   AGE   IP         NODE   NOMINATED NODE   READINESS GATES\n\
         a      1/1     Running   0          9d    10.0.0.7   n1     <none>           <none>\n"
    );
    assert_eq!(
        prints(&objects, "get pod a -L example.com/tier,none --show-labels"),
        "NAME   READY   STATUS    RESTARTS   AGE   TIER    NONE     LABELS\n\
         a      1/1     Running   0          9d    front   <none>   app=web,example.com/tier=front\n"
    );
}

#[test]
fn nodes_and_events_have_kubectls_columns() {
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "n1", "creationTimestamp": days_ago(9), "labels": {"node-role.kubernetes.io/edge": ""}},
        "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": "10.0.0.7"}],
                   "nodeInfo": {"kubeletVersion": "podward/0.1.0", "kernelVersion": "6.1", "architecture": "amd64", "osImage": "Debian",
                                "containerRuntimeVersion": "containerd://1.6.20", "machineID": "", "systemUUID": "", "bootID": "",
                                "kubeProxyVersion": "", "operatingSystem": "linux"}},
    });
    assert_eq!(
        prints(&[node], "get nodes -o wide"),
        "NAME   STATUS                     ROLES   AGE   VERSION         INTERNAL-IP   EXTERNAL-IP   OS-IMAGE   KERNEL-VERSION   CONTAINER-RUNTIME\n\
         n1     Ready,SchedulingDisabled   edge    9d    podward/0.1.0   10.0.0.7      <none>        Debian     6.1 (amd64)      containerd://1.6.20\n"
    );
    let events = [event("Later", 1, 8), event("Earlier", 4, 9)];
    assert_eq!(
        prints(&events, "get ev --for pod/a"),
        "LAST SEEN   TYPE      REASON    OBJECT   MESSAGE\n\
         9d          Warning   Earlier   pod/a    it broke\n\
         8d          Warning   Later     pod/a    it broke\n"
    );
    let (out, err, _) = podward(&events, "get events --for pod/b");
    assert_eq!((out.as_str(), err.as_str()), ("", "No resources found in default namespace.\n"));
}

#[test]
fn documents_are_a_list_or_the_object_asked_for() {
    let objects = [pod("a", &[]), web()];
    let one: Value = serde_json::from_str(&prints(&objects, "get ds web -o json")).unwrap();
    assert_eq!(one, objects[1]);
    let list: Value = serde_json::from_str(&prints(&objects, "get ds -o json")).unwrap();
    assert_eq!((&list["kind"], &list["items"][0]), (&json!("List"), &objects[1]));
    assert!(
        prints(&objects, "get ds/web -o yaml")
            .starts_with("apiVersion: apps/v1\nkind: DaemonSet\n")
    );
    assert_eq!(prints(&objects, "get ds/web pod/a -o name"), "daemonset.apps/web\npod/a\n");
    assert!(prints(&[], "get pods -o json").contains("\"items\": []"));
}

#[test]
fn several_types_and_selectors_narrow_the_tables() {
    let objects = [pod("a", &[status("m", true, 0, &running())]), web()];
    let out = prints(&objects, "get ds,pods --no-headers");
    assert!(
        out.starts_with("daemonset.apps/web   1  ") && out.contains("\n\npod/a   1/1  "),
        "{out}"
    );
    assert!(prints(&objects, "get pods -l app=web,tier!=x --no-headers").starts_with("a  "));
    let (_, err, code) = podward(&objects, "get pods -l app=db -A");
    assert_eq!((err.as_str(), code), ("No resources found\n", ExitCode::SUCCESS));
    let (out, err, code) = podward(&objects, "get pods a x y --no-headers");
    assert!(out.starts_with("a  "));
    assert_eq!(
        (err.as_str(), code),
        ("error: pods \"x\" not found\nerror: pods \"y\" not found\n", ExitCode::from(1))
    );
}

#[test]
fn a_watch_prints_each_row_that_changes() {
    let objects = ["a", "b"].map(|name| pod(name, &[status("m", true, 0, &running())]));
    let (out, err, _) = podward(&objects, "get pods -w");
    assert_eq!(
        out,
        "NAME   READY   STATUS    RESTARTS   AGE\n\
         a      1/1     Running   0          9d\n\
         b      1/1     Running   0          9d\n\
         b      1/1     Terminating   0          9d\n"
    );
    assert!(err.starts_with("error: the agent ended the watch\nhint: "), "{err}");
}

#[test]
fn the_other_verbs_tell_what_the_agent_answers() {
    assert_eq!(
        prints(&[], "version"),
        format!(
            "Client Version: v{}\nAgent Version: v0.1.0\nNode: n1\ncontainerd: 1.6.20\n",
            env!("CARGO_PKG_VERSION")
        )
    );
    assert_eq!(prints(&[], "logs pod/a --tail -1 --since 1h30m"), "\"a\"\n");
    assert_eq!(
        prints(&[pod("a", &[])], "delete pod a --now --wait=false"),
        "pod \"a\" deleted from default namespace\n"
    );
    let (out, _, code) = podward(&[], "sync --dry-run");
    assert_eq!((out.as_str(), code), ("hold web: no image\n", ExitCode::from(1)));
    let (_, err, code) = podward(&[], "why ds/web");
    assert_eq!(
        (err.as_str(), code),
        ("error: daemonsets.apps \"web\" not found\n", ExitCode::from(1))
    );
    let (_, err, code) = podward(&[], "get deploy");
    assert!(err.starts_with("error: there is no resource type \"deploy\"\nhint: "));
    assert_eq!(code, ExitCode::from(2));
}

#[test]
fn without_an_agent_the_hint_says_where_to_look() {
    let (out, err, code) = run_line(&PathBuf::from("/nonexistent/s"), "get pods");
    assert_eq!((out.as_str(), code), ("", ExitCode::from(1)));
    assert_eq!(
        err,
        "error: no agent answers at /nonexistent/s\n\
         hint: see `systemctl status podward`; an agent elsewhere is named by --socket or PODWARD_SOCKET\n"
    );
    let (out, err, code) = run_line(&PathBuf::from("/nonexistent/s"), "version");
    assert!(out.starts_with("Client Version: v") && err.starts_with("note: no agent answers"));
    assert_eq!(code, ExitCode::SUCCESS);
}

#[test]
fn every_flag_of_the_settings_table_is_a_flag_of_the_command() {
    let command = Cli::command();
    command.clone().debug_assert();
    for flag in config::keys().filter_map(|key| key.flag) {
        let found = command.get_arguments().any(|argument| {
            argument.get_long().map(|long| format!("--{long}")) == Some(flag.into())
        });
        assert!(found, "{flag}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(prints(&[], &format!("completion {shell}")).contains("podward"), "{shell}");
    }
}

#[test]
fn a_pods_description_reads_as_kubectls() {
    let mut object = pod("a", &[status("m", true, 1, &running())]);
    object["spec"]["containers"][0] = json!({
        "name": "m", "image": "busybox", "args": ["-c", "sleep 1\nsleep 2"],
        "ports": [{"containerPort": 80, "name": "http"}],
        "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}},
        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 5},
        "env": [{"name": "A", "value": "1"}, {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "s", "readOnly": true}],
    });
    object["spec"]["volumes"] = json!([{"name": "v", "hostPath": {"path": "/var/v"}}]);
    object["spec"]["tolerations"] = json!([
        {"key": "z", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}, {"operator": "Exists"}, {"key": "k", "value": "v"}
    ]);
    object["status"]["startTime"] = json!("2026-01-02T03:04:05Z");
    object["status"]["containerStatuses"][0]["lastState"]["terminated"]["finishedAt"] =
        json!("2026-01-02T03:04:00Z");
    assert_eq!(
        prints(&[object, event("BackOff", 3, 9)], "describe pod a"),
        "Name:             a
Namespace:        default
Priority:         0
Service Account:  default
Node:             n1/10.0.0.7
Start Time:       Fri, 02 Jan 2026 03:04:05 +0000
Labels:           app=web
                  example.com/tier=front
Annotations:      <none>
Status:           Running
IP:               10.0.0.7
IPs:              <none>
Controlled By:    DaemonSet/web
Containers:
  m:
    Container ID:  containerd://c1
    Image:         busybox
    Image ID:      sha256:1
    Port:          80/TCP (http)
    Host Port:     0/TCP
    Args:
      -c
      sleep 1
      sleep 2
    State:          Running
      Started:      Fri, 02 Jan 2026 03:04:05 +0000
    Last State:     Terminated
      Reason:       Error
      Exit Code:    1
      Started:      
      Finished:     Fri, 02 Jan 2026 03:04:00 +0000
    Ready:          True
    Restart Count:  1
    Limits:
      memory:  64Mi
    Requests:
      cpu:     100m
      memory:  64Mi
    Liveness:  http-get http://:8080/health delay=0s timeout=1s period=5s #success=1 #failure=3
    Environment:
      A:     1
      NODE:   (v1:spec.nodeName)
    Mounts:
      /v from v (ro,path=\"s\")
Conditions:
  Type    Status
  Ready   True 
Volumes:
  v:
    Type:          HostPath (bare host directory volume)
    Path:          /var/v
    HostPathType:  
QoS Class:         BestEffort
Node-Selectors:    <none>
Tolerations:       op=Exists
                   k=v
                   z:NoExecute op=Exists for 5m
Events:
  Type     Reason   Age               From     Message
  ----     ------   ----              ----     -------
  Warning  BackOff  9d (x3 over 20d)  podward  it broke
"
    );
}

#[test]
fn a_sets_description_counts_its_pods() {
    let out = prints(&[web(), pod("a", &[status("m", true, 0, &running())])], "describe ds/web");
    assert_eq!(
        out,
        "Name:           web
Namespace:      default
Selector:       app=web
Node-Selector:  disktype=ssd
Labels:         <none>
Annotations:    <none>
Desired Number of Nodes Scheduled: 1
Current Number of Nodes Scheduled: 1
Number of Nodes Scheduled with Up-to-date Pods: 1
Number of Nodes Scheduled with Available Pods: 1
Number of Nodes Misscheduled: 0
Pods Status:  1 Running / 0 Waiting / 0 Succeeded / 0 Failed
Rollout:
  Strategy:   RollingUpdate (1 max unavailable, 0 max surge)
  Min Ready:  0s
  Deadline:   10m0s, then stall
Pod Template:
  Labels:  app=web
  Containers:
   m:
    Image:        busybox:1
    Port:         <none>
    Host Port:    <none>
    Environment:  <none>
    Mounts:       <none>
   s:
    Image:         sidecar:2
    Port:          <none>
    Host Port:     <none>
    Environment:   <none>
    Mounts:        <none>
  Volumes:         <none>
  Node-Selectors:  disktype=ssd
  Tolerations:     <none>
Events:            <none>
"
    );
}

fn image(name: &str) -> Value {
    let digest = format!("sha256:{}", "ab".repeat(32));
    json!({"apiVersion": "podward.dev/v1", "kind": "Image",
           "metadata": {"name": digest, "creationTimestamp": days_ago(9)},
           "names": [name], "digest": digest, "size": 5 << 20, "usedBy": ["pod/default/web-x"]})
}

#[test]
fn images_are_listed_with_their_users() {
    let images = [image("r.io/b:2"), image("docker.io/library/busybox:1.36")];
    assert_eq!(
        prints(&images, "image list"),
        "IMAGE                       TAG    DIGEST         SIZE     AGE   IN USE BY       KEPT\n\
         docker.io/library/busybox   1.36   abababababab   5.0MiB   9d    default/web-x   <none>\n\
         r.io/b                      2      abababababab   5.0MiB   9d    default/web-x   <none>\n"
    );
    let names = "image/docker.io/library/busybox:1.36\nimage/r.io/b:2\n";
    assert_eq!(prints(&images, "images ls -o name"), names);
    assert_eq!(podward(&[], "image ls").1, "No images found\n");
}

#[test]
fn what_became_of_images_is_said_in_lines() {
    let images = [image("r.io/b:2")];
    assert_eq!(
        prints(&images, "image prune"),
        "removed r.io/b:2 (5.0MiB)\n1 image, 2.0KiB freed\n"
    );
    assert_eq!(
        prints(&images, "image prune --dry-run"),
        "would remove r.io/b:2 (5.0MiB)\n1 image, 5.0MiB as they travel\n"
    );
    assert_eq!(prints(&[], "image prune"), "nothing to remove: every image is needed\n");
    assert_eq!(prints(&[], "image import /a/b.tar"), "imported /a/b.tar\n");
    let (out, err, code) = podward(&[], "image pull r.io/b:2");
    assert_eq!((out.as_str(), code), ("", ExitCode::FAILURE));
    assert_eq!(err, "error: no host of r.io serves it\n");
}

#[test]
fn a_container_that_waits_tells_why() {
    let message = "pulling r.io/b:2: 3/8 layers, 45.2MiB of 200.0MiB, 35.1MiB/s";
    let state = json!({"waiting": {"reason": "ContainerCreating", "message": message}});
    let page = prints(&[pod("a", &[status("m", false, 0, &state)])], "describe pod a");
    let lines = ["    State:          Waiting", "      Reason:       ContainerCreating"];
    let wanted = format!("{}\n{}\n      Message:      {message}\n", lines[0], lines[1]);
    assert!(page.contains(&wanted), "{page}");
}

#[test]
fn without_etcd_the_local_view_comes_with_a_warning() {
    let node = json!({"kind": "Node", "metadata": {"name": "n1"}, "status": {"conditions": [
        {"type": "StoreReady", "status": "False", "lastTransitionTime": days_ago(2)}]}});
    let objects = [node, pod("a", &[status("m", true, 0, &running())])];
    let (out, err, code) = podward(&objects, "get pods --etcd http://127.0.0.1:1");
    assert_eq!(code, ExitCode::SUCCESS, "{err}");
    assert!(out.contains("Running"), "{out}");
    assert!(err.starts_with("warning: etcd cannot be reached ("), "{err}");
    assert!(err.contains("); this is what node n1 knows; its specs are from "), "{err}");
    assert!(err.contains(" (2d") && err.ends_with("ago)\n"), "{err}");
    let (_, err, _) = podward(&objects, "get pods --etcd http://127.0.0.1:1 --local");
    assert_eq!(err, "");
    let (_, err, code) = podward(&objects, "get cm --local");
    assert!(err.contains("configmaps are shown from the shared store"), "{err}");
    assert_eq!(code, ExitCode::from(1));
}
