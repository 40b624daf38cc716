//! Floor 10: the control socket, which answers the command line on this host, and the port with metrics.

mod control;
mod driven;
mod exec;
mod exposition;
mod images;
mod logs;
mod metrics;
mod socket;
#[cfg(test)]
mod tests;

use std::{future::Future, io, net::SocketAddr, path::PathBuf, time::Duration};

use tokio::sync::watch;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

use crate::agent::handle::Handle;
use crate::agent::wire::MESSAGE_LIMIT;
use crate::agent::wire::control_server::ControlServer;

pub use logs::LogStream;

/// How long open answers may take to end once the agent stops.
const DRAIN: Duration = Duration::from_secs(1);

/// Where the socket and the logs are.
#[derive(Debug, Clone)]
pub struct ServeSettings {
    /// The control socket.
    pub socket: PathBuf,
    /// The root of the pods' log directories.
    pub pod_logs: PathBuf,
    /// Where metrics are served; `None` for nowhere.
    pub metrics: Option<SocketAddr>,
}

/// Why the control socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another agent answers there.
    #[error("{} is in use: another agent answers there; stop it, or give this one its own --socket", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something that no agent made stands in the way.
    #[error("{} exists and is no socket; move it away, or give another --socket", path.display())]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// A step of setting the socket up failed.
    #[error("{step} {}", path.display())]
    Prepare {
        /// The step.
        step: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// The address for metrics cannot be had.
    #[error(
        "metrics.listen: cannot listen on {address}: {cause}; give another address, or take the key away"
    )]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// What the kernel says.
        cause: io::Error,
    },
    /// The server broke.
    #[error("serve the control socket")]
    Transport(#[from] tonic::transport::Error),
}

/// Binds the socket at once, so that a client that comes from now on is heard; what is returned answers the command
/// line until `shutdown`, then ends open answers and removes the socket.
pub fn serve(
    settings: ServeSettings,
    handle: Handle,
    logs: LogStream,
    shutdown: impl Future<Output = ()>,
) -> Result<impl Future<Output = Result<(), ServeError>>, ServeError> {
    let port = settings.metrics.map(metrics::bind).transpose()?;
    let (listener, socket) = socket::bind(&settings.socket)?;
    let (stopping, stopped) = watch::channel(false);
    let counting = metrics::serve(port, handle.clone());
    let control =
        control::Service { handle, logs, pod_logs: settings.pod_logs, stopping: stopped.clone() };
    let control = ControlServer::new(control).max_decoding_message_size(MESSAGE_LIMIT);
    let server = Server::builder()
        .add_service(control)
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), until_true(stopped));
    let drained = async move {
        shutdown.await;
        stopping.send_replace(true);
        tokio::time::sleep(DRAIN).await;
    };
    Ok(async move {
        let outcome = tokio::select! {
            outcome = server => outcome.map_err(ServeError::from),
            never = counting => match never {},
            () = drained => Ok(()),
        };
        socket.remove();
        outcome
    })
}

/// Waits until the flag is raised, or nobody is left to raise it.
async fn until_true(mut flag: watch::Receiver<bool>) {
    let _ = flag.wait_for(|raised| *raised).await;
}
