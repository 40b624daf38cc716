//! The distribution protocol against a registry that others wrote, where one is installed.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use crate::net::{client::Limits, proxy::Proxies, test_server::Certificates};

use super::*;

/// A running registry; it ends with the value.
struct Running {
    process: Child,
    port: u16,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Starts a registry on `dir`; `None` where none is installed.
fn start(dir: &Path, http: &str, more: &str) -> Option<Running> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: \"{}\"}}}}\n\
         http:\n  addr: \"127.0.0.1:{port}\"\n{http}\n{more}\n",
        dir.join("store").display()
    );
    let file = dir.join(format!("{port}.yml"));
    fs::write(&file, config).unwrap();
    let process = Command::new("docker-registry")
        .arg("serve")
        .arg(&file)
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
    Some(Running { process, port })
}

/// One request without our client; gives the answer.
fn say(port: u16, method: &str, path: &str, kind: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nContent-Type: {kind}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Puts a blob and a manifest that names it into a registry; gives both.
fn push(port: u16) -> (Descriptor, String) {
    let bytes = "a layer of a hundred thousand letters ".repeat(2700);
    let digest = digest_of(bytes.as_bytes());
    let begun = say(port, "POST", "/v2/a/b/blobs/uploads/", "text/plain", "");
    let place = begun.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap();
    let place = place.split_once(&format!(":{port}")).unwrap().1;
    let joint = if place.contains('?') { '&' } else { '?' };
    let put = say(
        port,
        "PUT",
        &format!("{place}{joint}digest={digest}"),
        "application/octet-stream",
        &bytes,
    );
    assert!(put.starts_with("HTTP/1.1 201"), "{put}");
    let manifest = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\
         \"config\":{{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"{digest}\",\"size\":{}}},\
         \"layers\":[]}}",
        bytes.len()
    );
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let put = say(port, "PUT", "/v2/a/b/manifests/1", kind, &manifest);
    assert!(put.starts_with("HTTP/1.1 201"), "{put}");
    let blob = serde_json::json!({"digest": digest, "size": bytes.len()});
    (serde_json::from_value(blob).unwrap(), manifest)
}

/// Our registry, by what a `hosts.toml` says of it.
fn registry(text: &str, directory: &Path, logins: &[Login]) -> Registry {
    let reference = Reference::parse("r.test/a/b:1").unwrap();
    let hosts = crate::image::hosts::endpoints(text, directory, "r.test").unwrap();
    let hosts = hosts.into_iter().map(|host| (host, logins.to_vec())).collect();
    let client = Client::new("podward/test".into(), Proxies::default(), Limits::default());
    Registry::new(&client, &reference, hosts)
}

async fn length(registry: &Registry, blob: &Descriptor, from: u64) -> (u64, usize) {
    let mut stream = registry.blob(blob, from).await.unwrap();
    let mut length = 0;
    while let Some(bytes) = stream.next().await.unwrap() {
        length += bytes.len();
    }
    (stream.from, length)
}

#[tokio::test]
async fn a_real_registry_is_understood() {
    let made = Certificates::make();
    let Some(plain) = start(made.path(), "", "") else { return };
    let (blob, manifest) = push(plain.port);
    let size = usize::try_from(blob.size).unwrap();
    let open = registry(&format!("server = \"http://127.0.0.1:{}\"", plain.port), made.path(), &[]);
    let found = open.manifest("1").await.unwrap();
    assert_eq!(found.bytes, manifest.as_bytes());
    assert_eq!(open.manifest(&found.digest).await.unwrap(), found);
    assert_eq!(length(&open, &blob, 0).await, (0, size));
    assert_eq!(length(&open, &blob, 100_000).await, (100_000, size - 100_000));
    let error = open.manifest("2").await.unwrap_err();
    assert!(matches!(error, PullError::Missing { .. }), "{error}");

    let users = Command::new("htpasswd").args(["-Bbn", "me", "secret"]).output();
    let Some(users) = users.ok() else { return };
    fs::write(made.file("users"), users.stdout).unwrap();
    let tls = format!(
        "  tls: {{certificate: \"{}\", key: \"{}\"}}",
        made.file("server.crt").display(),
        made.file("server.key").display()
    );
    let users =
        format!("auth: {{htpasswd: {{realm: \"r\", path: \"{}\"}}}}", made.file("users").display());
    let guarded = start(made.path(), &tls, &users).unwrap();
    let text = format!("server = \"https://127.0.0.1:{}\"", guarded.port);
    let trusting = format!("{text}\nca = \"ca.crt\"");
    let login =
        |password: &str| vec![Login::Password { user: "me".into(), password: password.into() }];
    let known = registry(&trusting, made.path(), &login("secret"));
    assert_eq!(known.manifest("1").await.unwrap(), found);
    assert_eq!(length(&known, &blob, 7).await, (7, size - 7));
    for (text, logins, problem) in [
        (
            &trusting,
            login("wrong"),
            "manifest 1 of a/b: 401 Unauthorized (UNAUTHORIZED: authentication required); \
             the credentials that were shown do not open it; \
             give credentials by imagePullSecrets or images.authFile",
        ),
        (
            &trusting,
            vec![],
            "manifest 1 of a/b: 401 Unauthorized (UNAUTHORIZED: authentication required); \
             no credentials are known for it; \
             give credentials by imagePullSecrets or images.authFile",
        ),
        (
            &text,
            login("secret"),
            "manifest 1 of a/b: tls: the certificate of 127.0.0.1 is signed by an unknown authority; \
             name its CA certificate in `ca` of the host's hosts.toml",
        ),
    ] {
        let error = registry(text, made.path(), &logins).manifest("1").await.unwrap_err();
        let error = Chain(&error).to_string();
        assert_eq!(error, format!("127.0.0.1:{}: {problem}", guarded.port));
    }
    tls_is_told_from_plain(made.path(), plain.port, guarded.port).await;
}

/// TLS to who has none, and none to who has it.
async fn tls_is_told_from_plain(made: &Path, plain: u16, guarded: u16) {
    let text = format!("server = \"https://127.0.0.1:{plain}\"\nca = \"ca.crt\"");
    let error = registry(&text, made, &[]).manifest("1").await.unwrap_err();
    let place = format!("127.0.0.1:{plain}");
    assert_eq!(
        Chain(&error).to_string(),
        format!(
            "{place}: manifest 1 of a/b: it speaks plain HTTP and not TLS; where that is meant, \
             write \"http://{place}\" in its hosts.toml"
        )
    );
    let text = format!("server = \"http://127.0.0.1:{guarded}\"");
    let error = registry(&text, made, &[]).manifest("1").await.unwrap_err();
    let problem = "it answers 400 Bad Request (Client sent an HTTP request to an HTTPS server.)";
    assert_eq!(error.to_string(), format!("127.0.0.1:{guarded}: manifest 1 of a/b: {problem}"));
}
