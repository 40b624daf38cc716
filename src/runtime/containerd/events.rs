//! The event stream: hints that something happened. The truth about an exit is `wait_task`.

use containerd_client::{
    events::{TaskExit, TaskOom},
    services::v1::SubscribeRequest,
    types::Envelope,
};
use prost::Message as _;
use tokio::sync::mpsc;

use super::{
    Containerd,
    client::{long_call, refused},
    error::{Error, Refusal},
    tasks::{Exit, timestamp},
};
use crate::base::ids::ContainerId;

/// What containerd tells about a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEvent {
    /// The kernel killed a process of the container for want of memory; the container may live on.
    Oom {
        /// The container.
        id: ContainerId,
    },
    /// The container's first process ended.
    Exit {
        /// The container.
        id: ContainerId,
        /// How.
        exit: Exit,
    },
}

impl Containerd {
    /// Passes on events of our namespace until the stream breaks, and says why it did. Nothing tells
    /// when listening has begun: containerd answers with the first event, so never wait for that.
    pub async fn events(&self, sender: mpsc::Sender<TaskEvent>) -> Error {
        match self.pass_events(sender).await {
            Ok(ended) => ended,
            Err(error) => error,
        }
    }

    /// The stream's life; either way it ends with a reason.
    async fn pass_events(&self, sender: mpsc::Sender<TaskEvent>) -> Result<Error, Error> {
        const SUBJECT: (&str, &str) = ("listen to", "events");
        let namespace = &self.settings().namespace;
        let filters = ["exit", "oom"]
            .map(|topic| format!("namespace=={namespace},topic==\"/tasks/{topic}\""))
            .into();
        let mut service = self.client().events();
        let request = self.client().request(SubscribeRequest { filters });
        let mut stream = tokio::select! {
            // cancel-safe: dropping the call ends the subscription.
            stream = long_call(SUBJECT.0, SUBJECT.1, service.subscribe(request)) => stream?,
            () = sender.closed() => return Ok(nobody_listens()),
        };
        loop {
            let envelope = tokio::select! {
                // cancel-safe: the stream is dropped with it.
                envelope = stream.message() => envelope,
                () = sender.closed() => return Ok(nobody_listens()),
            };
            let envelope = envelope.map_err(|status| refused(SUBJECT.0, SUBJECT.1, &status))?;
            let Some(envelope) = envelope else {
                let end = tonic::Status::unavailable("containerd ended the stream");
                return Ok(refused(SUBJECT.0, SUBJECT.1, &end));
            };
            if let Some(event) = TaskEvent::of(&envelope)
                && sender.send(event).await.is_err()
            {
                return Ok(nobody_listens());
            }
        }
    }
}

/// The end of a stream whose reader left.
fn nobody_listens() -> Error {
    let status = tonic::Status::cancelled("the reader left");
    Error::Call {
        operation: "listen to",
        subject: "events".to_owned(),
        source: Refusal::of(&status),
    }
}

impl TaskEvent {
    /// Reads an envelope; `None` for what concerns no container's first process.
    fn of(envelope: &Envelope) -> Option<Self> {
        let event = envelope.event.as_ref()?;
        match envelope.topic.as_str() {
            "/tasks/oom" => {
                let oom = TaskOom::decode(event.value.as_slice()).ok()?;
                Some(Self::Oom { id: ContainerId::new(oom.container_id) })
            }
            "/tasks/exit" => {
                let exit = TaskExit::decode(event.value.as_slice()).ok()?;
                (exit.id == exit.container_id).then(|| Self::Exit {
                    id: ContainerId::new(exit.container_id),
                    exit: Exit { code: exit.exit_status, at: timestamp(exit.exited_at) },
                })
            }
            _ => None,
        }
    }
}
