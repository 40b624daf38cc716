//! The `Exec` call: which container, and the two directions of the conversation with its command.

use std::future::pending;

use k8s_openapi::api::core::v1::{Container, Pod};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use crate::agent::handle::{ExecInput, ExecOrder, ExecOutput, Handle, Terminal};
use crate::agent::wire::{
    ExecEnd, ExecRequest, ExecResponse, ExecStart, TerminalSize, exec_request, exec_response,
};
use crate::base::ids::PodUid;

use super::logs;

/// The annotation by which a pod says which container is meant when none is named.
const PREFERRED: &str = "kubectl.kubernetes.io/default-container";

/// How many pieces may wait in each direction.
const PIECES: usize = 8;

/// A command that can be run.
#[derive(Debug)]
pub struct Prepared {
    /// What was asked.
    start: ExecStart,
    /// The pod.
    pod: PodUid,
    /// The container.
    container: String,
    /// Which run of it.
    attempt: u32,
    /// What to tell the person of the choice.
    notice: Option<String>,
}

/// Reads the first request and finds what it names.
pub async fn prepare(
    handle: &Handle,
    requests: &mut Streaming<ExecRequest>,
) -> Result<Prepared, Status> {
    let first = requests.message().await?.and_then(|request| request.part);
    let Some(exec_request::Part::Start(start)) = first else {
        return Err(Status::invalid_argument("the first request of an exec names the command"));
    };
    if start.command.is_empty() {
        return Err(Status::invalid_argument(
            "you must specify at least one command for the container",
        ));
    }
    let pod = logs::pod(handle, &start.namespace, &start.pod).await?;
    let (container, notice) = choose(&pod, &start.container)?;
    let attempt = attempt(&pod, &container)?;
    let uid = PodUid::new(pod.metadata.uid.unwrap_or_default());
    Ok(Prepared { start, pod: uid, container, attempt, notice })
}

/// The container asked for, or the one that the pod prefers, or its first one with a word about the others.
fn choose(pod: &Pod, asked: &str) -> Result<(String, Option<String>), Status> {
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let first = pod.spec.as_ref().and_then(|spec| spec.init_containers.as_deref());
    let first = first.unwrap_or_default();
    let all = || containers.iter().map(|it| it.name.clone());
    let all = all().chain(first.iter().map(|it| format!("{} (init)", it.name)));
    let all = all.collect::<Vec<_>>().join(", ");
    let known = |name: &str| containers.iter().chain(first).any(|it: &Container| it.name == name);
    let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
    if !asked.is_empty() {
        return if known(asked) {
            Ok((asked.to_owned(), None))
        } else {
            Err(Status::invalid_argument(format!(
                "container {asked} is not valid for pod {pod_name}; it has: {all}"
            )))
        };
    }
    let annotations = pod.metadata.annotations.as_ref();
    let preferred = annotations.and_then(|annotations| annotations.get(PREFERRED));
    if let Some(preferred) = preferred.filter(|name| known(name)) {
        return Ok((preferred.clone(), None));
    }
    let Some(default) = containers.first() else {
        return Err(Status::internal(format!("pod {pod_name} has no containers")));
    };
    let several = containers.len() + first.len() > 1;
    let notice = format!("Defaulted container {:?} out of: {all}", default.name);
    Ok((default.name.clone(), several.then_some(notice)))
}

/// Which run of a container runs now.
fn attempt(pod: &Pod, container: &str) -> Result<u32, Status> {
    let status = logs::status(pod, container);
    let state = status.and_then(|status| status.state.as_ref());
    if let Some(status) = status.filter(|_| state.is_some_and(|state| state.running.is_some())) {
        return Ok(u32::try_from(status.restart_count).unwrap_or(0));
    }
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let terminated = state.and_then(|state| state.terminated.as_ref());
    let reason = waiting
        .and_then(|waiting| waiting.reason.clone())
        .or_else(|| terminated.and_then(|terminated| terminated.reason.clone()))
        .unwrap_or_else(|| "not started yet".to_owned());
    let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
    Err(Status::failed_precondition(format!(
        "container {container:?} in pod {pod_name:?} is not running: {reason}"
    )))
}

/// Has the agent run the command, and carries what both sides say. Ends with the command; dropped with its caller, which
/// the agent notices.
pub async fn converse(
    handle: Handle,
    prepared: Prepared,
    requests: Streaming<ExecRequest>,
    answers: mpsc::Sender<ExecResponse>,
) -> Result<(), Status> {
    let Prepared { start, pod, container, attempt, notice } = prepared;
    let (said, input) = mpsc::channel(PIECES);
    let (output, mut heard) = mpsc::channel(PIECES);
    let (width, height) = size(start.size.unwrap_or_default());
    let terminal = start.terminal.then_some(Terminal { term: start.term, width, height });
    let (command, stdin) = (start.command, start.stdin);
    let order = ExecOrder { pod, container, attempt, command, stdin, terminal, input, output };
    let stopping = |_| Status::unavailable("the agent is stopping");
    handle.execs.send(order).await.map_err(stopping)?;
    if let Some(notice) = notice {
        let _ = answers.send(response(exec_response::Part::Notice(notice))).await;
    }
    let telling = async {
        while let Some(output) = heard.recv().await {
            if answers.send(response(part(output))).await.is_err() {
                return;
            }
        }
    };
    // cancel-safe: whichever ends first ends the conversation.
    tokio::select! {
        () = telling => Ok(()),
        failed = listen(requests, said) => Err(failed),
    }
}

/// Passes on what the caller says. Returns only when the caller is lost.
async fn listen(mut requests: Streaming<ExecRequest>, said: mpsc::Sender<ExecInput>) -> Status {
    loop {
        let input = match requests.message().await {
            Err(lost) => return lost,
            Ok(None) => break,
            Ok(Some(request)) => match request.part {
                Some(exec_request::Part::Stdin(data)) => ExecInput::Data(data),
                Some(exec_request::Part::Size(wanted)) => {
                    let (width, height) = size(wanted);
                    ExecInput::Resize(width, height)
                }
                Some(exec_request::Part::Start(_)) | None => continue,
            },
        };
        if said.send(input).await.is_err() {
            break;
        }
    }
    // The caller has said all.
    drop(said);
    pending().await
}

/// A size in the kernel's numbers.
fn size(size: TerminalSize) -> (u16, u16) {
    let fit = |number| u16::try_from(number).unwrap_or(u16::MAX);
    (fit(size.width), fit(size.height))
}

/// What the agent says as the wire has it.
fn part(output: ExecOutput) -> exec_response::Part {
    match output {
        ExecOutput::Stdout(data) => exec_response::Part::Stdout(data),
        ExecOutput::Stderr(data) => exec_response::Part::Stderr(data),
        ExecOutput::Ended(exit_code, message) => {
            exec_response::Part::End(ExecEnd { exit_code, message })
        }
    }
}

/// A message of one part.
fn response(part: exec_response::Part) -> ExecResponse {
    ExecResponse { part: Some(part) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(annotations: &Value, containers: &[&str], first: &[&str], state: &Value) -> Pod {
        let specs = |names: &[&str]| -> Vec<Value> {
            names.iter().map(|name| json!({ "name": name })).collect()
        };
        serde_json::from_value(json!({
            "metadata": {"name": "p", "annotations": annotations},
            "spec": {"containers": specs(containers), "initContainers": specs(first)},
            "status": {"containerStatuses": [
                {"name": "a", "restartCount": 3, "state": state, "image": "", "imageID": "", "ready": true},
            ]},
        }))
        .unwrap()
    }

    #[test]
    fn the_first_container_is_meant_unless_another_is_named_or_preferred() {
        let chosen = |annotation: &Value, containers: &[&str], first: &[&str], asked: &str| {
            let pod = pod(annotation, containers, first, &json!({}));
            choose(&pod, asked).map_err(|status| status.message().to_owned())
        };
        let some = |name: &str, notice: Option<&str>| Ok((name.into(), notice.map(Into::into)));
        let none = json!({});
        assert_eq!(chosen(&none, &["a"], &[], ""), some("a", None));
        assert_eq!(chosen(&none, &["a", "b"], &["i"], "b"), some("b", None));
        assert_eq!(chosen(&none, &["a", "b"], &["i"], "i"), some("i", None));
        let notice = "Defaulted container \"a\" out of: a, b, i (init)";
        assert_eq!(chosen(&none, &["a", "b"], &["i"], ""), some("a", Some(notice)));
        let preferred = json!({ PREFERRED: "b" });
        assert_eq!(chosen(&preferred, &["a", "b"], &[], ""), some("b", None));
        let wrong = json!({ PREFERRED: "z" });
        assert_eq!(chosen(&wrong, &["a"], &[], ""), some("a", None));
        let refused = "container z is not valid for pod p; it has: a, b".to_owned();
        assert_eq!(chosen(&none, &["a", "b"], &[], "z"), Err(refused));
    }

    #[test]
    fn only_a_run_that_runs_can_be_entered() {
        let attempt_of = |state: Value| {
            let pod = pod(&json!({}), &["a"], &[], &state);
            attempt(&pod, "a").map_err(|status| status.message().to_owned())
        };
        assert_eq!(attempt_of(json!({"running": {}})), Ok(3));
        let waits = attempt_of(json!({"waiting": {"reason": "CrashLoopBackOff"}}));
        let refused = "container \"a\" in pod \"p\" is not running: CrashLoopBackOff";
        assert_eq!(waits, Err(refused.to_owned()));
        let nothing = attempt_of(json!({}));
        assert_eq!(nothing, Err(refused.replace("CrashLoopBackOff", "not started yet")));
    }
}
