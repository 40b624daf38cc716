//! The client of pulls against servers of a few lines.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::Arc,
    thread,
    time::Duration,
};

use crate::base::errors::Chain;

use super::{
    client::{Ask, Client, Limits, Reply},
    proxy::Proxies,
    redirect::Place,
    test_server::{Certificates, answer, serve, serve_tls, tunnel},
    trust::Trust,
};

fn client() -> Arc<Client> {
    Client::new("podward/test".into(), Proxies::default(), Limits::default())
}

fn place(url: &str) -> Place {
    Place::parse(url).unwrap()
}

fn ask<'a>(place: &'a Place, trust: &'a Trust) -> Ask<'a> {
    let dial = Duration::from_secs(30);
    Ask { place, trust, dial, headers: &[], secrets: &[], form: None }
}

fn headers(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

async fn text(reply: Reply) -> Result<String, String> {
    let status = reply.status;
    match reply.body.all(1 << 20).await {
        Ok((body, _)) => Ok(format!("{status} {}", String::from_utf8(body).unwrap())),
        Err(error) => Err(Chain(&error).to_string()),
    }
}

async fn got(client: &Arc<Client>, url: &str, trust: &Trust) -> Result<String, String> {
    match client.send(ask(&place(url), trust)).await {
        Ok(reply) => text(reply).await,
        Err(error) => Err(Chain(&error).to_string()),
    }
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let server = serve(|_| answer("200 OK", "", "fine"));
    let url = format!("http://127.0.0.1:{}/v2/a?b", server.port);
    let client = client();
    for _ in 0..3 {
        assert_eq!(got(&client, &url, &Trust::default()).await.unwrap(), "200 fine");
    }
    assert_eq!(server.connections(), 1);
    let expected = format!(
        "GET /v2/a?b HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nUser-Agent: podward/test\r\n\r\n",
        server.port
    );
    assert_eq!(server.asked(), [&expected[..]; 3]);
    // Others are not asked over a connection that was made for somebody whom they need not trust.
    let trust = Trust { skip_verify: true, ..Trust::default() };
    got(&client, &url, &trust).await.unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_was_hung_up_is_replaced() {
    // It says nothing of its leaving.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut some = [0; 4096];
            assert!(stream.read(&mut some).unwrap() > 0);
            stream.write_all(answer("200 OK", "", "once").as_bytes()).unwrap();
        }
    });
    let client = client();
    for _ in 0..3 {
        let url = format!("http://127.0.0.1:{port}/");
        assert_eq!(got(&client, &url, &Trust::default()).await.unwrap(), "200 once");
    }
}

#[tokio::test]
async fn secrets_stay_with_the_host_that_they_are_for() {
    let storage = serve(|_| answer("200 OK", "", "bytes"));
    let elsewhere = format!("Location: http://127.0.0.1:{}/blob?sig=s\r\n", storage.port);
    let registry = serve(move |asked| match asked.split(' ').nth(1) {
        Some("/first") => answer("307 Temporary Redirect", "Location: /second\r\n", "moved"),
        _ => answer("302 Found", &elsewhere, "moved"),
    });
    let at = place(&format!("http://127.0.0.1:{}/first", registry.port));
    let trust = Trust::default();
    let known = headers(&[("range", "bytes=1-")]);
    let secrets = headers(&[("authorization", "Basic secret"), ("host", "odd")]);
    let client = client();
    let reply = client.send(Ask { headers: &known, secrets: &secrets, ..ask(&at, &trust) });
    let reply = reply.await.unwrap();
    assert_eq!(reply.place.origin(), format!("http://127.0.0.1:{}", storage.port));
    assert_eq!(text(reply).await.unwrap(), "200 bytes");
    let asked = registry.asked();
    assert_eq!(asked.len(), 2);
    assert!(asked.iter().all(|asked| asked.contains("Authorization: Basic secret\r\n")));
    assert!(asked.iter().all(|asked| asked.contains("Range: bytes=1-") && !asked.contains("odd")));
    let asked = storage.asked().concat();
    assert!(asked.starts_with("GET /blob?sig=s ") && asked.contains("Range: bytes=1-"), "{asked}");
    assert!(!asked.contains("secret"), "{asked}");
    assert_eq!((registry.connections(), storage.connections()), (1, 1));
}

#[tokio::test]
async fn redirects_that_lead_nowhere_are_refused() {
    let made = Certificates::make();
    let lost = serve(|_| answer("302 Found", "Location: ftp://x/?secret\r\n", ""));
    let circle = serve(|_| answer("302 Found", "Location: /again\r\n", ""));
    let down = serve_tls(made.server("server", None), |_| {
        answer("302 Found", "Location: http://127.0.0.1:PORT/x?secret\r\n", "")
    });
    let trust = Trust { skip_verify: true, ..Trust::default() };
    let client = client();
    let error = got(&client, &format!("http://127.0.0.1:{}/", lost.port), &trust).await;
    assert_eq!(error.unwrap_err(), "failed to parse Location header \"ftp://x/\"");
    let error = got(&client, &format!("http://127.0.0.1:{}/", circle.port), &trust).await;
    assert_eq!(error.unwrap_err(), "stopped after 10 redirects");
    assert_eq!(circle.asked().len(), 11);
    let port = down.port;
    let error = got(&client, &format!("https://127.0.0.1:{port}/"), &trust).await;
    assert_eq!(
        error.unwrap_err(),
        format!(
            "it redirects from https://127.0.0.1:{port} to http://127.0.0.1:{port}, which would do without TLS; refused"
        )
    );
}

#[tokio::test]
async fn whom_nobody_named_is_not_believed() {
    let made = Certificates::make();
    let fine = |_: &str| answer("200 OK", "", "fine");
    let server = serve_tls(made.server("server", None), fine);
    let other = serve_tls(made.server("other", None), fine);
    let alone = serve_tls(made.server("alone", None), fine);
    let at = |server: &super::test_server::Server| format!("https://127.0.0.1:{}/", server.port);
    let named = |file: &str| Trust { ca: vec![made.file(file)], ..Trust::default() };
    let client = client();
    let unknown = "tls: the certificate of 127.0.0.1 is signed by an unknown authority; \
                   name its CA certificate in `ca` of the host's hosts.toml";
    let error = got(&client, &at(&server), &Trust::default()).await.unwrap_err();
    assert_eq!(error, unknown);
    let itself = "tls: the certificate of 127.0.0.1 is an unknown authority's own; \
                  name it in `ca` of the host's hosts.toml";
    assert_eq!(got(&client, &at(&server), &named("ca.crt")).await.unwrap(), "200 fine");
    let by_name = format!("https://localhost:{}/", server.port);
    assert_eq!(got(&client, &by_name, &named("ca.crt")).await.unwrap(), "200 fine");
    // What is named is believed as it is, an authority's own certificate and a signed one alike.
    assert_eq!(got(&client, &at(&alone), &named("alone.crt")).await.unwrap(), "200 fine");
    assert_eq!(got(&client, &at(&server), &named("server.crt")).await.unwrap(), "200 fine");
    // But the other's is not.
    for trust in [Trust::default(), named("ca.crt")] {
        let error = got(&client, &at(&alone), &trust).await.unwrap_err();
        assert_eq!(error, itself);
    }
    for trust in [named("ca.crt"), named("other.crt")] {
        let error = got(&client, &at(&other), &trust).await.unwrap_err();
        assert_eq!(
            error,
            "tls: the certificate of 127.0.0.1 is not for that name: it is for other.test; \
             ask by a name that it has, or renew it"
        );
    }
    let anybody = Trust { skip_verify: true, ..Trust::default() };
    for server in [&server, &other, &alone] {
        assert_eq!(got(&client, &at(server), &anybody).await.unwrap(), "200 fine");
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let made = Certificates::make();
    std::fs::write(made.file("empty"), "nothing").unwrap();
    let server = serve_tls(made.server("server", None), |_| answer("200 OK", "", ""));
    let url = format!("https://127.0.0.1:{}/", server.port);
    let pair = |certificate: &str, key: &str| Trust {
        client: vec![(made.file(certificate), made.file(key))],
        ..Trust::default()
    };
    let named = |file: &str| Trust { ca: vec![made.file(file)], ..Trust::default() };
    let dir = made.path().display();
    for (trust, problem) in [
        (named("none"), format!("{dir}/none: No such file or directory (os error 2)")),
        (named("empty"), format!("{dir}/empty: holds no certificate in PEM")),
        (
            pair("client.crt", "empty"),
            format!("{dir}/empty: holds no private key in PEM without a password"),
        ),
        (pair("client.crt", "ca.key"), format!("{dir}/ca.key: is not the key of {dir}/client.crt")),
    ] {
        assert_eq!(got(&client(), &url, &trust).await.unwrap_err(), problem);
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_one_is_wanted() {
    let made = Certificates::make();
    let server = serve_tls(made.server("server", Some("ca")), |_| answer("200 OK", "", "known"));
    let url = format!("https://127.0.0.1:{}/", server.port);
    let trust = |pairs: &[(&str, &str)]| Trust {
        ca: vec![made.file("ca.crt")],
        client: pairs.iter().map(|(c, k)| (made.file(c), made.file(k))).collect(),
        skip_verify: false,
    };
    for pairs in [
        &[("client.crt", "client.key")][..],
        &[("client1.crt", "client1.key")],
        &[("both.pem", "both.pem")],
        // Of several, the one by an authority that the server names.
        &[("alone.crt", "alone.key"), ("client.crt", "client2.key")],
    ] {
        assert_eq!(got(&client(), &url, &trust(pairs)).await.unwrap(), "200 known", "{pairs:?}");
    }
    let error = got(&client(), &url, &trust(&[])).await.unwrap_err();
    assert_eq!(
        error,
        "tls: 127.0.0.1 refuses us with the alert CertificateRequired: it wants a client certificate, \
         or another one; name it in `client` of the host's hosts.toml"
    );
    let error = got(&client(), &url, &trust(&[("alone.crt", "alone.key")])).await.unwrap_err();
    assert!(error.starts_with("tls: 127.0.0.1 refuses us with the alert "), "{error}");
}

#[tokio::test]
async fn who_speaks_without_tls_is_named_with_the_remedy() {
    let server = serve(|_| answer("400 Bad Request", "Connection: close\r\n", ""));
    // What is said to it is no request, so it is answered at once.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = plain.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut stream, _) = plain.accept().unwrap();
        let mut some = [0; 4096];
        assert!(stream.read(&mut some).unwrap() > 0);
        stream.write_all(answer("400 Bad Request", "", "").as_bytes()).unwrap();
    });
    let error = got(&client(), &format!("https://127.0.0.1:{port}/"), &Trust::default()).await;
    assert_eq!(
        error.unwrap_err(),
        format!(
            "it speaks plain HTTP and not TLS; where that is meant, write \"http://127.0.0.1:{port}\" in its hosts.toml"
        )
    );
    drop(server);
}

#[tokio::test]
async fn a_proxy_is_asked_to_connect_and_for_plain_pages_to_get_them() {
    let made = Certificates::make();
    let server = serve_tls(made.server("other", None), |_| answer("200 OK", "", "far"));
    let (port, asked) = tunnel(server.port);
    let proxy = serve(|_| answer("200 OK", "", "got for you"));
    let plain = format!("http://me:secret@127.0.0.1:{}", proxy.port);
    let through = format!("http://me:secret@127.0.0.1:{port}");
    let proxies = Proxies::of(|name| match name {
        "https_proxy" => Some(through.clone()),
        "http_proxy" => Some(plain.clone()),
        _ => None,
    });
    let client = Client::new("podward/test".into(), proxies, Limits::default());
    let trust = Trust { ca: vec![made.file("ca.crt")], ..Trust::default() };
    assert_eq!(got(&client, "https://other.test/x", &trust).await.unwrap(), "200 far");
    let expected = "CONNECT other.test:443 HTTP/1.1\r\nHost: other.test:443\r\n\
                    Proxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n";
    assert_eq!(asked.lock().unwrap().concat(), expected);
    let asked = server.asked().concat();
    assert!(asked.contains("Host: other.test\r\n") && !asked.contains("Proxy"), "{asked}");
    assert_eq!(got(&client, "http://other.test:81/x?y", &trust).await.unwrap(), "200 got for you");
    let asked = proxy.asked().concat();
    assert!(asked.starts_with("GET http://other.test:81/x?y HTTP/1.1\r\nHost: other.test:81\r\n"));
    assert!(asked.contains("Proxy-Authorization: Basic bWU6c2VjcmV0\r\n"), "{asked}");
}

#[tokio::test]
async fn a_proxy_that_will_not_is_named() {
    for (status, problem) in [
        (
            "407 Proxy Authentication Required",
            "it wants a user and a password; write them into the variable before an @",
        ),
        ("503 Busy", "it answers \"HTTP/1.1 503 Busy\""),
    ] {
        let proxy = serve(move |_| answer(status, "", ""));
        let named = format!("127.0.0.1:{}", proxy.port);
        let proxies = Proxies::of(|name| (name == "HTTPS_PROXY").then(|| named.clone()));
        let client = Client::new(String::new(), proxies, Limits::default());
        let error = got(&client, "https://other.test/x", &Trust::default()).await.unwrap_err();
        assert_eq!(error, format!("proxy: http://{named} to other.test:443: {problem}"));
    }
}

#[tokio::test]
async fn nobody_is_waited_for_without_end() {
    let soon = Duration::from_millis(50);
    let limits = Limits { handshake: soon, answer: soon, stall: soon };
    let client = Client::new(String::new(), Proxies::default(), limits);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    for url in [format!("http://127.0.0.1:{port}/"), format!("https://127.0.0.1:{port}/")] {
        let error = got(&client, &url, &Trust::default()).await.unwrap_err();
        assert_eq!(error, "no answer within 50ms");
    }
    let stalls = serve(|_| "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun".into());
    let url = format!("http://127.0.0.1:{}/", stalls.port);
    let error = got(&client, &url, &Trust::default()).await.unwrap_err();
    assert_eq!(error, "no byte came for 50ms");
    let short =
        serve(|_| "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nbegun".into());
    let url = format!("http://127.0.0.1:{}/", short.port);
    let error = got(&client, &url, &Trust::default()).await.unwrap_err();
    assert_eq!(
        error,
        "error reading a body from connection: end of file before message length reached"
    );
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = got(&client, &format!("http://127.0.0.1:{free}/"), &Trust::default()).await;
    assert_eq!(
        error.unwrap_err(),
        format!("dial tcp 127.0.0.1:{free}: connect: connection refused")
    );
}

#[tokio::test]
async fn a_form_is_posted() {
    let server = serve(|_| answer("200 OK", "", ""));
    let at = place(&format!("http://127.0.0.1:{}/token", server.port));
    let trust = Trust::default();
    client().send(Ask { form: Some("a=b&c=d"), ..ask(&at, &trust) }).await.unwrap();
    let asked = server.asked().concat();
    assert!(asked.starts_with("POST /token HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("Content-Type: application/x-www-form-urlencoded\r\n"), "{asked}");
    assert!(asked.ends_with("\r\n\r\na=b&c=d"), "{asked}");
}
