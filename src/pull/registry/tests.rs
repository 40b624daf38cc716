//! The distribution protocol against servers of a few lines.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::image::hosts;
use crate::net::{
    client::Limits,
    proxy::Proxies,
    test_server::{Certificates, Server, answer, serve, serve_tls},
};

use super::*;

const MANIFEST: &str =
    "Content-Type: application/vnd.oci.image.manifest.v1+json; charset=utf-8\r\n";

fn client() -> Arc<Client> {
    Client::new("podward/test".into(), Proxies::default(), Limits::default())
}

/// A registry `r.test` whose hosts stand in a `hosts.toml`, each with the logins that are given for all.
fn registry(text: &str, logins: &[Login]) -> Registry {
    let reference = Reference::parse("r.test/a/b:1").unwrap();
    let hosts = hosts::endpoints(text, std::path::Path::new("/"), "r.test").unwrap();
    let hosts = hosts.into_iter().map(|host| (host, logins.to_vec())).collect();
    Registry::new(&client(), &reference, hosts)
}

/// The same of one host, which is not the registry's own.
fn only(server: &Server, logins: &[Login]) -> Registry {
    registry(&format!("server = \"http://127.0.0.1:{}\"", server.port), logins)
}

fn password(password: &str) -> Login {
    Login::Password { user: "me".into(), password: password.into() }
}

fn blob(bytes: &str) -> Descriptor {
    Descriptor {
        media_type: String::new(),
        digest: digest_of(bytes.as_bytes()),
        size: i64::try_from(bytes.len()).unwrap(),
        annotations: std::collections::BTreeMap::new(),
        platform: None,
    }
}

async fn document(registry: &Registry, asked: &str) -> Result<String, String> {
    let document = registry.manifest(asked).await;
    let document = document.map_err(|error| Chain(&error).to_string())?;
    assert_eq!(document.digest, digest_of(&document.bytes));
    Ok(String::from_utf8(document.bytes).unwrap())
}

async fn bytes(registry: &Registry, blob: &Descriptor, from: u64) -> Result<String, String> {
    let shown = |error: PullError| Chain(&error).to_string();
    let mut stream = registry.blob(blob, from).await.map_err(shown)?;
    let mut text = format!("{} ", stream.from);
    while let Some(bytes) = stream.next().await.map_err(shown)? {
        text.push_str(std::str::from_utf8(&bytes).unwrap());
    }
    Ok(text)
}

#[tokio::test]
async fn a_manifest_is_asked_for_by_tag_and_by_digest() {
    let server = serve(|_| answer("200 OK", MANIFEST, "{}"));
    let registry = only(&server, &[]);
    let document = registry.manifest("1").await.unwrap();
    assert_eq!(document.media_type, "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(document.bytes, b"{}");
    registry.manifest(&digest_of(b"{}")).await.unwrap();
    let asked = server.asked();
    assert!(asked[0].starts_with("GET /v2/a/b/manifests/1?ns=r.test HTTP/1.1\r\n"), "{asked:?}");
    assert!(asked[0].contains(&format!("Accept: {ACCEPT}\r\n")), "{asked:?}");
    assert!(!asked[0].contains("Authorization"), "{asked:?}");
    let path = format!("GET /v2/a/b/manifests/{}?ns=r.test HTTP/1.1\r\n", digest_of(b"{}"));
    assert!(asked[1].starts_with(&path), "{asked:?}");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_manifest_is_what_its_digest_says() {
    let other = digest_of(b"other");
    let announced = format!("{MANIFEST}Docker-Content-Digest: {other}\r\n");
    let server = serve(move |_| answer("200 OK", &announced, "{}"));
    let port = server.port;
    let registry = only(&server, &[]);
    for asked in ["1", &digest_of(b"other")] {
        assert_eq!(
            document(&registry, asked).await.unwrap_err(),
            format!(
                "127.0.0.1:{port}: manifest {asked} of a/b: its bytes are not what the digest says: {} instead of {}",
                digest_of(b"{}"),
                digest_of(b"other")
            )
        );
    }
}

#[tokio::test]
async fn what_is_no_manifest_is_refused() {
    let long = "x".repeat(usize::try_from(DOCUMENT_LIMIT).unwrap() + 1);
    for (server, problem) in [
        (
            serve(|_| answer("200 OK", "Content-Type: text/html\r\n", "<p>")),
            "it is of the type \"text/html\", which is no image manifest of OCI's or docker's schema 2",
        ),
        (
            serve(move |_| answer("200 OK", MANIFEST, &long)),
            "it is longer than 4194304 bytes, which no manifest is",
        ),
        (
            serve(|_| answer("400 Bad Request", "", "Client sent\n  an HTTP request")),
            "it answers 400 Bad Request (Client sent an HTTP request)",
        ),
    ] {
        let host = format!("127.0.0.1:{}", server.port);
        let error = document(&only(&server, &[]), "1").await.unwrap_err();
        assert_eq!(error, format!("{host}: manifest 1 of a/b: {problem}"));
    }
}

#[tokio::test]
async fn what_is_not_there_is_missing() {
    let body = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
    let server = serve(move |_| answer("404 Not Found", "", body));
    let host = format!("127.0.0.1:{}", server.port);
    let registry = only(&server, &[]);
    let error = registry.manifest("1").await.unwrap_err();
    assert!(matches!(error, PullError::Missing { .. }));
    assert_eq!(error.to_string(), format!("{host}: manifest 1 of a/b: not found"));
    let error = bytes(&registry, &blob("x"), 0).await.unwrap_err();
    assert_eq!(error, format!("{host}: blob {} of a/b: not found", digest_of(b"x")));
}

#[tokio::test]
async fn a_busy_host_is_asked_again_after_a_pause() {
    for status in ["429 Too Many Requests", "500 Internal Server Error", "503 Service Unavailable"]
    {
        let asked = AtomicUsize::new(0);
        let server = serve(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
            0..3 => answer(status, "", "later"),
            _ => answer("200 OK", MANIFEST, "{}"),
        });
        assert_eq!(document(&only(&server, &[]), "1").await.unwrap(), "{}", "{status}");
        assert_eq!((server.asked().len(), server.connections()), (4, 1));
    }
    // Once it hangs up, and once it names the time.
    let asked = AtomicUsize::new(0);
    let server = serve(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => String::new(),
        1 => answer("429 Too Many Requests", "Retry-After: 1\r\n", ""),
        _ => answer("200 OK", MANIFEST, "{}"),
    });
    let before = tokio::time::Instant::now();
    assert_eq!(document(&only(&server, &[]), "1").await.unwrap(), "{}");
    assert!(before.elapsed().as_secs() >= 1);
}

#[tokio::test]
async fn a_host_that_stays_busy_is_given_up() {
    let server = serve(|_| answer("503 Service Unavailable", "", "{\"error\":\"full\"}"));
    let host = format!("127.0.0.1:{}", server.port);
    let error = document(&only(&server, &[]), "1").await.unwrap_err();
    let expected = "manifest 1 of a/b: it answers 503 Service Unavailable (full)";
    assert_eq!(error, format!("{host}: {expected}"));
    assert_eq!(server.asked().len(), 4);
    let server = serve(|_| answer("429 Too Many Requests", "Retry-After: 3600\r\n", ""));
    let host = format!("127.0.0.1:{}", server.port);
    let error = document(&only(&server, &[]), "1").await.unwrap_err();
    let expected = "manifest 1 of a/b: it answers 429 Too Many Requests (retry after \"3600\")";
    assert_eq!(error, format!("{host}: {expected}"));
    assert_eq!(server.asked().len(), 1, "an hour is not waited for");
}

#[tokio::test]
async fn mirrors_are_asked_in_their_order_and_those_that_failed_last() {
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let pulls = serve(|_| answer("200 OK", MANIFEST, "by digest"));
    let lacks = serve(|_| answer("404 Not Found", "", ""));
    let last = serve(|_| answer("200 OK", MANIFEST, "by tag"));
    let text = format!(
        "server = \"http://127.0.0.1:{}\"
         [host.\"http://127.0.0.1:{dead}\"]
         [host.\"http://127.0.0.1:{}/deep\"]
         [host.\"http://127.0.0.1:{}\"]
         capabilities = [\"pull\"]",
        last.port, lacks.port, pulls.port
    );
    let registry = registry(&text, &[]);
    assert_eq!(document(&registry, "1").await.unwrap(), "by tag");
    assert!(lacks.asked()[0].starts_with("GET /deep/v2/a/b/manifests/1?ns=r.test "));
    assert!(pulls.asked().is_empty(), "it may not say what a tag means");
    let order: Vec<u16> = registry.order(false).iter().map(|host| host.endpoint.port).collect();
    assert_eq!(order, [lacks.port, pulls.port, last.port, dead]);
    let found = document(&registry, &digest_of(b"by digest")).await.unwrap();
    assert_eq!(found, "by digest");
}

#[tokio::test]
async fn when_all_fail_each_reason_is_told() {
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let lacks = serve(|_| answer("404 Not Found", "", ""));
    let text =
        format!("server = \"http://127.0.0.1:{}\"\n[host.\"http://127.0.0.1:{dead}\"]", lacks.port);
    assert_eq!(
        document(&registry(&text, &[]), "1").await.unwrap_err(),
        format!(
            "no host of r.test serves it: 127.0.0.1:{dead}: manifest 1 of a/b: \
             dial tcp 127.0.0.1:{dead}: connect: connection refused; \
             127.0.0.1:{}: manifest 1 of a/b: not found",
            lacks.port
        )
    );
    let mute = registry("capabilities = [\"push\"]", &[]);
    assert_eq!(
        document(&mute, "1").await.unwrap_err(),
        "no host of r.test serves it: none may be asked for manifest 1 of a/b; see `capabilities` in its hosts.toml"
    );
}

#[tokio::test]
async fn user_and_password_are_shown_when_they_are_wanted() {
    let right = "Authorization: Basic bWU6cmlnaHQ=\r\n";
    let server = serve(move |asked| {
        if asked.contains(right) {
            answer("200 OK", MANIFEST, "{}")
        } else {
            answer("401 Unauthorized", "WWW-Authenticate: Basic realm=\"r\"\r\n", "who?")
        }
    });
    let host = format!("127.0.0.1:{}: manifest 1 of a/b: 401 Unauthorized (who?)", server.port);
    let remedy = "give credentials by imagePullSecrets or images.authFile";
    for (logins, why) in [
        (vec![], "no credentials are known for it"),
        (vec![password("wrong")], "the credentials that were shown do not open it"),
        (
            vec![password("wrong"), password("other")],
            "none of the credentials that were shown opens it",
        ),
        (
            vec![Login::Identity("i".into())],
            "none of the credentials known for it suits what it asks for",
        ),
    ] {
        let error = document(&only(&server, &logins), "1").await.unwrap_err();
        assert_eq!(error, format!("{host}; {why}; {remedy}"));
    }
    let asked = server.asked().len();
    let registry = only(&server, &[password("wrong"), password("right")]);
    assert_eq!(document(&registry, "1").await.unwrap(), "{}");
    assert_eq!(document(&registry, "1").await.unwrap(), "{}");
    assert_eq!(server.asked().len() - asked, 4, "what opened it is kept");
    assert!(!format!("{registry:?}").contains("right"));
    let shown = &server.asked()[asked];
    assert!(!shown.contains("Authorization"), "nothing is shown that is not asked for: {shown}");
}

/// A registry that wants the token `t`, and the server that gives it by `given`.
fn with_tokens(given: impl Fn(&str) -> String + Send + Sync + 'static) -> (Server, Server) {
    let tokens = serve(given);
    let challenge = format!(
        "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:{}/token?x=1\",service=\"the service\",scope=\"repository:a/b:pull\"\r\n",
        tokens.port
    );
    let registry = serve(move |asked| {
        if asked.contains("Authorization: Bearer t\r\n") {
            answer("200 OK", MANIFEST, "{}")
        } else {
            answer("401 Unauthorized", &challenge, "")
        }
    });
    (registry, tokens)
}

#[tokio::test]
async fn a_token_is_fetched_by_nobody_or_by_a_login() {
    for (logins, shown) in
        [(vec![], ""), (vec![password("right")], "Authorization: Basic bWU6cmlnaHQ=\r\n")]
    {
        let (server, tokens) = with_tokens(|_| answer("200 OK", "", "{\"token\":\"t\"}"));
        let registry = only(&server, &logins);
        for _ in 0..2 {
            assert_eq!(document(&registry, "1").await.unwrap(), "{}");
        }
        let asked = tokens.asked();
        assert_eq!(asked.len(), 1, "one token serves all requests");
        let path =
            "GET /token?x=1&service=the%20service&scope=repository%3Aa%2Fb%3Apull HTTP/1.1\r\n";
        assert!(asked[0].starts_with(path) && asked[0].contains(shown), "{asked:?}");
        assert_eq!(asked[0].contains("Authorization"), !shown.is_empty());
        assert_eq!(server.asked().len(), 3);
    }
}

#[tokio::test]
async fn a_token_that_ran_out_is_replaced() {
    let given = AtomicUsize::new(0);
    let tokens = serve(move |_| {
        let number = given.fetch_add(1, Ordering::Relaxed);
        answer("200 OK", "", &format!("{{\"access_token\":\"t{number}\"}}"))
    });
    let challenge =
        format!("WWW-Authenticate: Bearer realm=\"http://127.0.0.1:{}\"\r\n", tokens.port);
    let asked = AtomicUsize::new(0);
    let server = serve(move |request| {
        let token =
            if asked.fetch_add(1, Ordering::Relaxed) < 3 { "Bearer t0" } else { "Bearer t1" };
        if request.contains(token) {
            answer("200 OK", MANIFEST, "{}")
        } else {
            answer("401 Unauthorized", &challenge, "")
        }
    });
    let registry = only(&server, &[]);
    for _ in 0..3 {
        assert_eq!(document(&registry, "1").await.unwrap(), "{}");
    }
    assert_eq!((tokens.asked().len(), server.asked().len()), (2, 5));
    assert!(tokens.asked()[0].starts_with("GET /?scope=repository%3Aa%2Fb%3Apull "));
}

#[tokio::test]
async fn an_identity_token_is_posted_and_a_registry_token_shown_as_it_is() {
    let (server, tokens) = with_tokens(|_| answer("200 OK", "", "{\"access_token\":\"t\"}"));
    let registry = only(&server, &[Login::Identity("i&d".into())]);
    assert_eq!(document(&registry, "1").await.unwrap(), "{}");
    let asked = tokens.asked().concat();
    assert!(asked.starts_with("POST /token?x=1 "), "{asked}");
    let form = "service=the%20service&scope=repository%3Aa%2Fb%3Apull\
                &grant_type=refresh_token&client_id=podward&refresh_token=i%26d";
    assert!(asked.ends_with(form), "{asked}");
    let registry = only(&server, &[Login::Registry("t".into())]);
    assert_eq!(document(&registry, "1").await.unwrap(), "{}");
    assert_eq!(tokens.asked().len(), 1);
}

#[tokio::test]
async fn a_token_server_that_will_not_is_named() {
    let remedy = "give credentials by imagePullSecrets or images.authFile";
    let unauthorized = |why: &str, shown: &str| format!("{why}; {shown}; {remedy}");
    let one = "the credentials that were shown do not open it";
    for (status, body, login, problem) in [
        (
            "401 Unauthorized",
            "{\"details\":\"incorrect username or password\"}",
            Some(password("secret")),
            unauthorized("its token server SERVER answers 401 Unauthorized", one),
        ),
        (
            "403 Forbidden",
            "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\"}]}",
            Some(password("secret")),
            unauthorized("its token server SERVER answers 403 Forbidden (DENIED: no)", one),
        ),
        (
            "405 Method Not Allowed",
            "",
            Some(Login::Identity("secret".into())),
            unauthorized(
                "its token server SERVER answers 405 Method Not Allowed; it takes no identity tokens",
                one,
            ),
        ),
        (
            "401 Unauthorized",
            "",
            None,
            unauthorized(
                "its token server SERVER answers 401 Unauthorized",
                "no credentials are known for it",
            ),
        ),
        ("200 OK", "secret", None, "its token server SERVER answers without a token".into()),
        (
            "500 Internal Server Error",
            "",
            Some(password("secret")),
            "its token server SERVER answers 500 Internal Server Error".into(),
        ),
    ] {
        let (server, tokens) = with_tokens(move |_| answer(status, "", body));
        let logins: Vec<Login> = login.into_iter().collect();
        let error = document(&only(&server, &logins), "1").await.unwrap_err();
        let problem = problem.replace("SERVER", &format!("http://127.0.0.1:{}", tokens.port));
        assert_eq!(error, format!("127.0.0.1:{}: manifest 1 of a/b: {problem}", server.port));
        assert!(!error.contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_login_that_is_let_in_but_not_to_this_is_told_so() {
    let (server, _tokens) = {
        let tokens = serve(|_| answer("200 OK", "", "{\"token\":\"t\"}"));
        let realm =
            format!("WWW-Authenticate: Bearer realm=\"http://127.0.0.1:{}\"\r\n", tokens.port);
        let denied =
            "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"requested access is denied\"}]}";
        let server = serve(move |asked| {
            if asked.contains("Bearer t") {
                answer("403 Forbidden", "", denied)
            } else {
                answer("401 Unauthorized", &realm, "")
            }
        });
        (server, tokens)
    };
    for (logins, shown) in [
        (vec![], "no credentials are known for it"),
        (vec![password("secret")], "the credentials that were shown do not open it"),
    ] {
        let error = document(&only(&server, &logins), "1").await.unwrap_err();
        assert_eq!(
            error,
            format!(
                "127.0.0.1:{}: manifest 1 of a/b: 403 Forbidden (DENIED: requested access is denied); {shown}; \
                 give credentials by imagePullSecrets or images.authFile",
                server.port
            )
        );
    }
}

#[tokio::test]
async fn credentials_are_not_shown_where_anybody_can_read_them() {
    let made = Certificates::make();
    let tokens = serve(|_| answer("200 OK", "", "{\"token\":\"t\"}"));
    let realm = format!("WWW-Authenticate: Bearer realm=\"http://127.0.0.1:{}\"\r\n", tokens.port);
    let server =
        serve_tls(made.server("server", None), move |_| answer("401 Unauthorized", &realm, ""));
    let text = format!("server = \"https://127.0.0.1:{}\"\nskip_verify = true", server.port);
    let error = document(&registry(&text, &[password("secret")]), "1").await.unwrap_err();
    let problem = format!(
        "its token server http://127.0.0.1:{} does without TLS; no credentials for it",
        tokens.port
    );
    assert_eq!(error, format!("127.0.0.1:{}: manifest 1 of a/b: {problem}", server.port));
    assert!(tokens.asked().is_empty());
}

#[tokio::test]
async fn headers_of_the_hosts_file_go_to_that_host_alone() {
    let storage = serve(|_| answer("200 OK", "", "bytes"));
    let (tokens_server, tokens) = with_tokens(|_| answer("200 OK", "", "{\"token\":\"t\"}"));
    let place = format!("Location: http://127.0.0.1:{}/blob?sig=s\r\n", storage.port);
    let server = serve(move |_| answer("307 Temporary Redirect", &place, ""));
    let at = |port: u16| {
        format!(
            "server = \"http://127.0.0.1:{port}\"\n[header]\nX-Key = \"k\"\nauthorization = \"Basic own\""
        )
    };
    assert_eq!(
        bytes(&registry(&at(server.port), &[]), &blob("bytes"), 0).await.unwrap(),
        "0 bytes"
    );
    let asked = server.asked().concat();
    assert!(asked.contains("X-Key: k\r\nAuthorization: Basic own\r\n"), "{asked}");
    let asked = storage.asked().concat();
    assert!(!asked.contains("X-Key") && !asked.contains("Authorization"), "{asked}");
    assert_eq!(document(&registry(&at(tokens_server.port), &[]), "1").await.unwrap(), "{}");
    let asked = tokens_server.asked();
    assert!(asked[0].contains("Basic own") && !asked[1].contains("Basic own"), "{asked:?}");
    assert!(asked[1].contains("X-Key: k\r\n") && asked[1].contains("Bearer t"), "{asked:?}");
    let asked = tokens.asked().concat();
    assert!(!asked.contains("X-Key") && !asked.contains("Authorization"), "{asked}");
}

#[tokio::test]
async fn a_refusal_by_blob_storage_is_not_taken_for_the_registrys() {
    let storage = serve(|_| {
        answer(
            "403 Forbidden",
            "WWW-Authenticate: Basic\r\n",
            "<Error><Code>AccessDenied</Code></Error>",
        )
    });
    let place = format!("Location: http://127.0.0.1:{}/blob?sig=s\r\n", storage.port);
    let server = serve(move |_| answer("307 Temporary Redirect", &place, ""));
    let error = bytes(&only(&server, &[password("secret")]), &blob("x"), 0).await.unwrap_err();
    assert_eq!(
        error,
        format!(
            "127.0.0.1:{}: blob {} of a/b: http://127.0.0.1:{} answers 403 Forbidden (<Error><Code>AccessDenied</Code></Error>)",
            server.port,
            digest_of(b"x"),
            storage.port
        )
    );
    assert!(!storage.asked().concat().contains("Authorization"));
}

#[tokio::test]
async fn a_blob_goes_on_where_it_broke_off() {
    let server = serve(|asked| {
        if asked.contains("Range: bytes=4-\r\n") {
            answer("206 Partial Content", "Content-Range: bytes 4-8/9\r\n", "whole")
        } else {
            answer("200 OK", "", "the whole")
        }
    });
    let registry = only(&server, &[]);
    let whole = blob("the whole");
    assert_eq!(bytes(&registry, &whole, 0).await.unwrap(), "0 the whole");
    assert_eq!(bytes(&registry, &whole, 4).await.unwrap(), "4 whole");
    assert!(!server.asked()[0].contains("Range"), "{:?}", server.asked());
    // Somebody who serves no parts begins anew.
    assert_eq!(bytes(&registry, &whole, 3).await.unwrap(), "0 the whole");
    let refuses = serve(|asked| {
        if asked.contains("Range") {
            answer("416 Range Not Satisfiable", "Content-Range: bytes */9\r\n", "")
        } else {
            answer("200 OK", "", "the whole")
        }
    });
    assert_eq!(bytes(&only(&refuses, &[]), &whole, 4).await.unwrap(), "0 the whole");
    assert_eq!((server.connections(), refuses.connections()), (1, 1));
}

#[tokio::test]
async fn a_blob_of_another_length_is_refused() {
    let whole = blob("the whole");
    let what = format!("blob {} of a/b", whole.digest);
    for (server, problem) in [
        (
            serve(|_| answer("206 Partial Content", "Content-Range: bytes 0-8/9\r\n", "the whole")),
            "it serves another part than the one from byte 4 on",
        ),
        (serve(|_| answer("200 OK", "", "the")), "it announces 3 bytes where the manifest says 9"),
        (
            serve(|_| {
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nthe".into()
            }),
            "error reading a body from connection: end of file before message length reached",
        ),
        (
            serve(|_| "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nthe".into()),
            "it ends 6 bytes before its end",
        ),
        (
            serve(|_| "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nthe whole of it".into()),
            "it is longer than the manifest says",
        ),
    ] {
        let registry = only(&server, &[]);
        let error = bytes(&registry, &whole, 4).await.unwrap_err();
        let host = format!("127.0.0.1:{}", server.port);
        assert_eq!(error, format!("{host}: {what}: {problem}"));
        assert!(registry.hosts[0].has_failed());
    }
}

#[tokio::test]
async fn after_a_stream_broke_off_another_host_goes_on() {
    let breaks =
        serve(|_| "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nthe".into());
    let other =
        serve(|_| answer("206 Partial Content", "Content-Range: bytes 3-8/9\r\n", " whole"));
    let text = format!(
        "server = \"http://127.0.0.1:{}\"\n[host.\"http://127.0.0.1:{}\"]",
        other.port, breaks.port
    );
    let registry = registry(&text, &[]);
    let whole = blob("the whole");
    bytes(&registry, &whole, 0).await.unwrap_err();
    assert_eq!(bytes(&registry, &whole, 3).await.unwrap(), "3  whole");
    let stream = registry.blob(&whole, 3).await.unwrap();
    stream.distrust();
    assert!(registry.hosts.iter().all(|host| host.has_failed()));
}
