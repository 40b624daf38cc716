//! The connection to the agent on this host.

use std::{future::Future, io, path::Path, sync::Mutex};

use anyhow::Context as _;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

use crate::agent::wire::control_client::ControlClient;
use crate::agent::wire::{ListRequest, ListResponse, MESSAGE_LIMIT};

use super::{failure::Failure, resource::Kind};

/// A connection to the agent.
pub type Control = ControlClient<Channel>;

/// Runs one command's conversation with the agent to its end.
pub fn converse<T>(conversation: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .context("start the runtime")?
        .block_on(conversation)
}

/// Connects to the agent.
pub async fn connect(socket: &Path) -> anyhow::Result<Control> {
    let stream = UnixStream::connect(socket).await.map_err(|error| refused(socket, &error))?;
    // The stream is there already; a second connection is never wanted, since the command ends
    // with its first.
    let stream = Mutex::new(Some(stream));
    let connector = tower::service_fn(move |_| {
        let stream = stream.lock().ok().and_then(|mut stream| stream.take());
        async move {
            let gone = || io::Error::other("the agent closed the connection");
            stream.map(TokioIo::new).ok_or_else(gone)
        }
    });
    let channel = Endpoint::from_static("http://podward")
        .connect_with_connector(connector)
        .await
        .with_context(|| format!("talk to the agent at {}", socket.display()))?;
    Ok(ControlClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT))
}

/// Why there is no connection, and what to do.
fn refused(socket: &Path, error: &io::Error) -> anyhow::Error {
    let path = socket.display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Failure::hinted(
            format!("no agent answers at {path}"),
            "see `systemctl status podward`; an agent elsewhere is named by --socket or PODWARD_SOCKET",
        ),
        io::ErrorKind::PermissionDenied => Failure::hinted(
            format!("no permission to talk to the agent at {path}"),
            "run as root, or as a member of the group podward",
        ),
        _ => Failure::hinted(
            format!("cannot connect to the agent at {path}: {error}"),
            "see `systemctl status podward`",
        ),
    }
}

/// What the agent said no with, without the transport's words.
pub fn refusal(status: &Status) -> anyhow::Error {
    let hint = "see `systemctl status podward` and `journalctl -u podward`";
    match status.message() {
        "" => Failure::hinted(format!("the agent broke off: {}", status.code()), hint),
        message if status.code() == tonic::Code::Unavailable => Failure::hinted(message, hint),
        message => anyhow::Error::msg(message.to_owned()),
    }
}

/// Which objects to list.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The kind.
    pub kind: Kind,
    /// Only of this namespace.
    pub namespace: Option<&'a str>,
    /// Only of this name.
    pub name: Option<&'a str>,
}

/// Begins a list; with `watch` it goes on with each change.
pub async fn lists(
    control: &mut Control,
    wanted: &Wanted<'_>,
    watch: bool,
) -> anyhow::Result<Streaming<ListResponse>> {
    let request = ListRequest {
        kind: wanted.kind.as_str().to_owned(),
        namespace: wanted.namespace.unwrap_or_default().to_owned(),
        name: wanted.name.unwrap_or_default().to_owned(),
        watch,
    };
    Ok(control.list(request).await.map_err(|status| refusal(&status))?.into_inner())
}

/// The next list of a stream; `None` when the agent has ended it.
pub async fn next(lists: &mut Streaming<ListResponse>) -> anyhow::Result<Option<Vec<Value>>> {
    let Some(list) = lists.message().await.map_err(|status| refusal(&status))? else {
        return Ok(None);
    };
    let objects = list.items.iter().map(|item| serde_json::from_str(item));
    objects.collect::<Result<_, _>>().map(Some).context("read the agent's answer")
}

/// Lists objects once.
pub async fn list(control: &mut Control, wanted: &Wanted<'_>) -> anyhow::Result<Vec<Value>> {
    let mut answer = lists(control, wanted, false).await?;
    Ok(next(&mut answer).await?.unwrap_or_default())
}
