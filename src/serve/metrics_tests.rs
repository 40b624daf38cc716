//! The port with metrics over real sockets, with a stand-in for the agent.

use jiff::Timestamp;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::{mpsc, watch},
};

use super::*;
use crate::agent::handle::MetricsReport;

/// A served port; what serves it ends with the test's runtime.
fn port() -> SocketAddr {
    let (commands, mut inbox) = mpsc::channel(4);
    tokio::spawn(async move {
        while let Some(Command::Metrics { reply }) = inbox.recv().await {
            let _ = reply.send(MetricsReport {
                node: "n1".into(),
                started: Timestamp::UNIX_EPOCH,
                containerd: true,
                faults: 0,
                pods: [("Running", 3)].into(),
                sets: [].into(),
                restarts: 7,
                sources: Vec::new(),
                store: None,
            });
        }
    });
    let handle = Handle { commands, changes: watch::channel(0).1, execs: mpsc::channel(1).0 };
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(listen(listener, handle, Duration::from_millis(300)));
    address
}

/// What the port answers to these bytes, until it hangs up.
async fn asked(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A long request is refused before it was read: the rest of it may not be taken any more.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    // A refusal in the middle of a long request may end in a reset behind the answer.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

/// A request for a path.
fn request(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: n1\r\n\r\n")
}

#[tokio::test]
async fn metrics_and_health_are_there_and_nothing_else_is() {
    let port = port();
    let page = asked(port, &request("GET", "/metrics")).await;
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    assert!(page.contains("content-type: application/openmetrics-text; version=1.0.0"), "{page}");
    assert!(page.contains("\npodward_container_restarts_total 7.0\n"), "{page}");
    assert!(page.ends_with("# EOF\n"), "{page}");
    let healthy = asked(port, &request("GET", "/healthz")).await;
    assert!(healthy.starts_with("HTTP/1.1 200") && healthy.ends_with("\r\n\r\nok\n"), "{healthy}");
    let head = asked(port, &request("HEAD", "/metrics")).await;
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    for (method, path, status) in [
        ("GET", "/", "404"),
        ("GET", "/metrics/", "404"),
        ("GET", "/../etc/passwd", "404"),
        ("POST", "/metrics", "405"),
    ] {
        let refused = asked(port, &request(method, path)).await;
        assert!(refused.starts_with(&format!("HTTP/1.1 {status}")), "{method} {path}: {refused}");
    }
    let noise = asked(port, "\0\0\0\0 no request at all\r\n\r\n").await;
    assert!(noise.is_empty() || noise.starts_with("HTTP/1.1 400"), "{noise}");
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let long = asked(port, &long).await;
    assert!(long.is_empty() || long.starts_with("HTTP/1.1 431"), "{long}");
}

#[tokio::test]
async fn clients_that_dawdle_are_cut_off_and_hold_nobody_up_for_long() {
    let port = port();
    let mut dawdlers = Vec::new();
    for _ in 0..CONNECTIONS + 4 {
        let mut stream = TcpStream::connect(port).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\n").await.unwrap();
        dawdlers.push(stream);
    }
    // Behind them in the kernel's queue.
    let page = asked(port, &request("GET", "/metrics")).await;
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    for stream in &mut dawdlers {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "an answer to half a request");
    }
}

#[test]
fn an_address_that_is_taken_is_named_with_its_key() {
    let taken = StdListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(async { bind(address).unwrap_err().to_string() });
    assert!(error.starts_with(&format!("metrics.listen: cannot listen on {address}: ")), "{error}");
}
