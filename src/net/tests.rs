//! Against servers of a few lines on ports of the kernel's choice.

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::base::errors::Chain;

use super::{
    Error,
    health::{self, wire},
    http::{self, Answer, Page},
    tcp,
};

const LIMIT: Option<Duration> = Some(Duration::from_mins(1));

/// A server that gives each connection the next of `answers`; what it was asked comes out of the receiver.
fn server(answers: Vec<String>) -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, questions) = mpsc::channel();
    thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            asked.send(head(&mut stream)).unwrap();
            let _ = stream.write_all(answer.replace("PORT", &port.to_string()).as_bytes());
        }
    });
    (port, questions)
}

/// What a client says, to the end of its headers.
fn head(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let mut byte = [0];
    while !said.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        said.push(byte[0]);
        // The first byte of TLS.
        if said == [22] {
            break;
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

fn page(port: u16) -> Page<'static> {
    Page {
        tls: false,
        host: "127.0.0.1",
        port,
        path: "/up?full=1",
        headers: &[],
        agent: "kube-probe/1.36",
    }
}

async fn got(page: Page<'_>) -> Result<(u16, String), String> {
    match http::get(page, LIMIT).await {
        Ok(Answer { status, body }) => Ok((status, body)),
        Err(error) => Err(Chain(&error).to_string()),
    }
}

fn text(status: u16, body: &str) -> (u16, String) {
    (status, body.to_owned())
}

#[tokio::test]
async fn a_request_is_the_kubelets() {
    let (port, asked) = server(vec![answer("200 OK", "", "fine")]);
    assert_eq!(got(page(port)).await, Ok(text(200, "fine")));
    let expected = format!(
        "GET /up?full=1 HTTP/1.1\r\nUser-Agent: kube-probe/1.36\r\nAccept: */*\r\n\
         Connection: close\r\nHost: 127.0.0.1:{port}\r\n\r\n"
    );
    assert_eq!(asked.recv().unwrap(), expected);
}

#[tokio::test]
async fn given_headers_replace_ours_and_empty_ones_remove_them() {
    let (port, asked) = server(vec![answer("404 Not Found", "", "")]);
    let headers = [
        ("Host", "name"),
        ("User-Agent", "mine"),
        ("Accept", ""),
        ("X-A", "1"),
        ("X-A", "2"),
        ("Content-Length", "7"),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(got(Page { headers: &headers, ..page(port) }).await, Ok(text(404, "")));
    let asked = asked.recv().unwrap();
    assert!(asked.contains("Host: name\r\n") && asked.contains("User-Agent: mine\r\n"), "{asked}");
    assert!(asked.contains("X-A: 1\r\nX-A: 2\r\n"), "{asked}");
    assert!(!asked.contains("Accept") && !asked.contains("Content-Length"), "{asked}");
    let wrong = [("a b".to_owned(), String::new())];
    let refused = got(Page { headers: &wrong, ..page(port) }).await.unwrap_err();
    assert!(refused.ends_with("net/http: invalid header field name for \"a b\""), "{refused}");
}

#[tokio::test]
async fn redirects_are_followed_on_the_same_host_only() {
    let to = |place: &str| answer("302 Found", &format!("Location: {place}\r\n"), "moved");
    let host = [("Host".to_owned(), "name".to_owned())];
    let (port, asked) =
        server(vec![to("/next"), to("http://127.0.0.1:PORT/last"), answer("200 OK", "", "there")]);
    assert_eq!(got(Page { headers: &host, ..page(port) }).await, Ok(text(200, "there")));
    let asked: Vec<String> = asked.iter().collect();
    assert!(asked[1].starts_with("GET /next ") && asked[1].contains("Host: name\r\n"), "{asked:?}");
    // A place that is named in full names its host as well.
    let own = format!("Host: 127.0.0.1:{port}\r\n");
    assert!(asked[2].starts_with("GET /last ") && asked[2].contains(&own), "{asked:?}");

    let (port, _asked) = server(vec![to("http://localhost:PORT/")]);
    assert_eq!(got(page(port)).await, Ok(text(302, "moved")), "another host is not asked");
    let (port, _asked) = server(vec![answer("304 Not Modified", "Location: /x\r\n", "")]);
    assert_eq!(got(page(port)).await, Ok(text(304, "")), "no redirect at all");

    let (port, asked) = server((0..20).map(|n| to(&format!("/{n}"))).collect());
    let error = got(page(port)).await.unwrap_err();
    assert_eq!(error, format!("Get \"http://127.0.0.1:{port}/8\": stopped after 10 redirects"));
    assert_eq!(asked.try_iter().count(), 10);
    let (port, _asked) = server(vec![to("ftp://x")]);
    let error = got(page(port)).await.unwrap_err();
    assert!(error.ends_with("failed to parse Location header \"ftp://x\""), "{error}");
}

#[tokio::test]
async fn of_a_long_body_the_beginning_is_read() {
    // The server would go on for ever.
    let endless =
        format!("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n{}", "x".repeat(1 << 16));
    let (port, _asked) = server(vec![endless]);
    let (status, body) = got(page(port)).await.unwrap();
    assert_eq!((status, body.len()), (200, 10 << 10));
}

#[tokio::test]
async fn who_does_not_answer_is_named_with_the_reason() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let refused = format!("dial tcp 127.0.0.1:{free}: connect: connection refused");
    let error = got(page(free)).await.unwrap_err();
    assert_eq!(error, format!("Get \"http://127.0.0.1:{free}/up?full=1\": {refused}"));
    let error = tcp::connect("127.0.0.1", free, LIMIT).await.unwrap_err();
    assert_eq!(error.to_string(), refused);
    let error = health::check("127.0.0.1", free, "", "test", LIMIT).await.unwrap_err();
    assert!(
        error.starts_with("error: failed to connect service at") && error.contains(&refused),
        "{error}"
    );

    // It listens, and that is all.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let soon = Some(Duration::from_millis(50));
    assert!(tcp::connect("127.0.0.1", port, LIMIT).await.is_ok());
    let error = http::get(page(port), soon).await.unwrap_err();
    assert!(
        Chain(&error).to_string().ends_with(
            "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        )
    );
    let error = health::check("127.0.0.1", port, "", "test", soon).await.unwrap_err();
    assert!(error.starts_with("timeout: "), "{error}");
}

#[tokio::test]
async fn a_server_that_speaks_plainly_is_told_from_one_that_is_away() {
    let (port, _asked) = server(vec![answer("400 Bad Request", "", "")]);
    let error = http::get(Page { tls: true, ..page(port) }, LIMIT).await.unwrap_err();
    assert!(http::speaks_plainly(&error), "{error:?}");
    let shown = Chain(&error).to_string();
    assert!(shown.ends_with("http: server gave HTTP response to HTTPS client"), "{shown}");
    let other = Error::Get { url: String::new(), source: Box::new(Error::Deadline) };
    assert!(!http::speaks_plainly(&other));
}

/// A health service that knows two names.
struct Health;

#[tonic::async_trait]
impl wire::health_server::Health for Health {
    async fn check(
        &self,
        request: tonic::Request<wire::HealthCheckRequest>,
    ) -> Result<tonic::Response<wire::HealthCheckResponse>, tonic::Status> {
        use wire::health_check_response::ServingStatus;
        let agent = request.metadata().get("user-agent").map(|value| value.to_str().unwrap_or(""));
        assert!(agent.is_some_and(|agent| agent.starts_with("kube-probe/1.36")), "{agent:?}");
        let status = match request.get_ref().service.as_str() {
            "" => ServingStatus::Serving,
            "ill" => ServingStatus::NotServing,
            name => return Err(tonic::Status::not_found(format!("no {name}"))),
        };
        Ok(tonic::Response::new(wire::HealthCheckResponse { status: status.into() }))
    }
}

#[tokio::test]
async fn a_health_service_is_asked_by_name() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let server = tonic::transport::Server::builder()
        .add_service(wire::health_server::HealthServer::new(Health))
        .serve_with_incoming(incoming);
    let server = tokio::spawn(server);
    let asked =
        async |service| health::check("127.0.0.1", port, service, "kube-probe/1.36", LIMIT).await;
    assert_eq!(asked("").await, Ok(()));
    let ill = asked("ill").await.unwrap_err();
    assert_eq!(ill, "service unhealthy (responded with \"NOT_SERVING\")");
    let missing = asked("nobody").await.unwrap_err();
    assert_eq!(
        missing,
        "error: health rpc probe failed: rpc error: code = NotFound desc = no nobody"
    );
    server.abort();
}

/// A server of TLS by another implementation, if this machine has one.
fn openssl(dir: &std::path::Path, arguments: &[&str]) -> Option<(std::process::Child, u16)> {
    use std::process::{Command, Stdio};
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "1",
            "-subj",
            "/CN=nobody",
        ])
        .args(["-keyout", "key", "-out", "certificate"])
        .current_dir(dir)
        .stderr(Stdio::null())
        .status();
    made.ok().filter(std::process::ExitStatus::success)?;
    let server = Command::new("openssl")
        .args(["s_server", "-www", "-key", "key", "-cert", "certificate", "-accept"])
        .arg(format!("127.0.0.1:{port}"))
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    for _ in 0..1000 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    Some((server, port))
}

#[tokio::test]
async fn a_certificate_is_believed_whoever_made_it() -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    for version in ["-tls1_2", "-tls1_3"] {
        let Some((mut server, port)) = openssl(dir.path(), &[version]) else { return Ok(()) };
        let answer = got(Page { tls: true, ..page(port) }).await;
        server.kill()?;
        server.wait()?;
        let (status, body) = answer.unwrap();
        assert!(status == 200 && body.contains("TLSv1."), "{version}: {status} {body}");
    }
    Ok(())
}
