//! `metrics.listen`: what is counted here, for Prometheus, in the text format of `OpenMetrics`.
//!
//! Each connection brings one request. A few are answered at a time, and one that dawdles is cut off: whoever can reach
//! the port can neither hold memory nor keep others out for long.

use std::{
    convert::Infallible,
    future::{Future, pending, poll_fn},
    io,
    net::{SocketAddr, TcpListener as StdListener},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use crate::agent::handle::{Command, Handle};

use super::{ServeError, control, exposition};

/// How many connections are open at once; others wait in the kernel.
const CONNECTIONS: usize = 16;

/// How long a connection may take from its first byte to its last.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the listener rests when the kernel gives no connection, as when there are no descriptors left.
const REST: Duration = Duration::from_millis(200);

/// The format that the page is in.
const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A connection at work.
type Connection = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Listens at once, so that an address that cannot be had ends the start.
pub fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let listen = || -> io::Result<TcpListener> {
        let listener = StdListener::bind(address)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    listen().map_err(|cause| ServeError::Metrics { address, cause })
}

/// Answers for as long as it is driven; without a listener it only waits.
pub async fn serve(listener: Option<TcpListener>, handle: Handle) -> Infallible {
    match listener {
        Some(listener) => listen(listener, handle, PATIENCE).await,
        None => pending().await,
    }
}

/// Answers, a few at a time, each for so long at most.
async fn listen(listener: TcpListener, handle: Handle, patience: Duration) -> Infallible {
    let mut open: Vec<Connection> = Vec::new();
    loop {
        let room = open.len() < CONNECTIONS;
        // cancel-safe: accepting loses no connection, and the connections stay in their list.
        tokio::select! {
            accepted = listener.accept(), if room => match accepted {
                Ok((stream, _)) => open.push(Box::pin(connection(stream, handle.clone(), patience))),
                // Others than a full table of descriptors concern that one connection only.
                Err(_) => sleep(REST).await,
            },
            () = one_ends(&mut open) => {}
        }
    }
}

/// Drives all connections until one of them ends.
async fn one_ends(open: &mut Vec<Connection>) {
    poll_fn(|context| {
        let before = open.len();
        open.retain_mut(|connection| connection.as_mut().poll(context).is_pending());
        if open.len() < before { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Answers one request.
async fn connection(stream: TcpStream, handle: Handle, patience: Duration) {
    let service = service_fn(move |request: Request<Incoming>| {
        let handle = handle.clone();
        async move { Ok::<_, Infallible>(answer(&request, &handle).await) }
    });
    let mut builder = http1::Builder::new();
    builder.keep_alive(false).max_buf_size(16 << 10);
    // A client that breaks off or dawdles is its own loss.
    let _ = timeout(patience, builder.serve_connection(TokioIo::new(stream), service)).await;
}

/// The page that is asked for.
async fn answer(request: &Request<Incoming>, handle: &Handle) -> Response<String> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        refused.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match request.uri().path() {
        "/metrics" | "/healthz" => {}
        _ => return plain(StatusCode::NOT_FOUND, "there are /metrics and /healthz\n"),
    }
    // Both ask the agent: one that does not answer is not healthy.
    let Ok(report) = control::ask(handle, |reply| Command::Metrics { reply }).await else {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping\n");
    };
    if request.uri().path() == "/healthz" {
        return plain(StatusCode::OK, "ok\n");
    }
    match exposition::text(&report) {
        Ok(text) => {
            let mut page = plain(StatusCode::OK, text);
            let format = header::HeaderValue::from_static(FORMAT);
            page.headers_mut().insert(header::CONTENT_TYPE, format);
            page
        }
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

/// A page of plain text.
fn plain(status: StatusCode, text: impl Into<String>) -> Response<String> {
    let mut page = Response::new(text.into());
    *page.status_mut() = status;
    let format = header::HeaderValue::from_static("text/plain; charset=utf-8");
    page.headers_mut().insert(header::CONTENT_TYPE, format);
    page
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
