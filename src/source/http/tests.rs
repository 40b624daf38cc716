//! Tests of pages by HTTP: what changed, what did not, and what is no page, against a server of a few lines.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use flate2::{Compression, write::GzEncoder};

use crate::net::test_server::{Certificates, answer, serve, serve_tls};

use super::*;

const SET: &str = "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: a}\nspec:\n  selector: {matchLabels: {app: a}}\n  \
                   template:\n    metadata: {labels: {app: a}}\n    spec:\n      hostNetwork: true\n      \
                   containers: [{name: a, image: \"x:1\"}]\n";

fn request(url: impl Into<String>) -> Request {
    Request {
        url: url.into(),
        timeout: Duration::from_secs(20),
        max_size: 1 << 20,
        ca_file: None,
        pair: None,
        token_file: None,
        user: None,
    }
}

fn at(port: u16) -> Request {
    request(format!("http://127.0.0.1:{port}/fleet.yaml"))
}

fn now() -> Timestamp {
    "2026-11-30T12:00:00Z".parse().unwrap()
}

async fn got(request: &Request) -> Result<Fetched, FetchError> {
    request.fetch_by(Proxies::default(), &Validators::default(), now()).await
}

async fn said(request: &Request) -> String {
    let error = got(request).await.unwrap_err();
    format!("{}; {}", error.problem, error.remedy)
}

/// Answers each connection with the same bytes, then hangs up.
fn raw(bytes: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = [0; 4096];
            let _ = stream.read(&mut asked);
            let _ = stream.write_all(&bytes);
        }
    });
    port
}

fn packed(encoding: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

#[tokio::test]
async fn a_page_is_sent_again_only_when_it_changed() {
    let server = serve(|asked| {
        if asked.contains(
            "If-None-Match: \"v1\"\r\nIf-Modified-Since: Mon, 30 Nov 2026 10:00:00 GMT\r\n",
        ) {
            return "HTTP/1.1 304 Not Modified\r\n\r\n".into();
        }
        answer("200 OK", "ETag: \"v1\"\r\nLast-Modified: Mon, 30 Nov 2026 10:00:00 GMT\r\n", "a: 1")
    });
    let request = at(server.port);
    let Fetched::Changed(bytes, validators) = got(&request).await.unwrap() else { panic!() };
    assert_eq!(bytes, b"a: 1");
    assert_eq!(validators.etag.as_deref(), Some("\"v1\""));
    let again = request.fetch_by(Proxies::default(), &validators, now()).await;
    assert_eq!(again, Ok(Fetched::Unchanged));
    assert!(server.asked()[0].contains("Accept-Encoding: gzip, zstd\r\n"), "{:?}", server.asked());
}

#[tokio::test]
async fn what_is_no_page_says_why_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "s3cret\n").unwrap();
    let shown = secret.display();
    for (status, headers, body, expected) in [
        ("503 Service Unavailable", "", "", "503 Service Unavailable; check the server"),
        (
            "404 Not Found",
            "",
            "no",
            "404 Not Found; check the address; remove the source to delete what it brought",
        ),
        (
            "401 Unauthorized",
            "",
            "",
            "401 Unauthorized; name tokenFile, or username and passwordFile",
        ),
        (
            "304 Not Modified",
            "",
            "",
            "304 Not Modified; check the address; where it redirects to is not told",
        ),
        ("206 Partial Content", "", "a", "206 Partial Content; check the server"),
        ("299", "", "", "299; check the server"),
        (
            "200 OK",
            "Content-Type: text/HTML; charset=utf-8\r\n",
            "<html>",
            "a web page (text/html) and no documents; check the address, and whether a login or a proxy stands before it",
        ),
        (
            "200 OK",
            "Content-Encoding: br\r\n",
            "x",
            "an encoding that was not asked for; let the server send it plain, or by gzip or zstd",
        ),
    ] {
        let server = serve(move |_| answer(status, headers, body));
        assert_eq!(said(&at(server.port)).await, expected);
    }
    let closed = serve(|_| answer("403 Forbidden", "", ""));
    let by_token = Request { token_file: Some(secret.clone()), ..at(closed.port) };
    assert_eq!(said(&by_token).await, format!("403 Forbidden; check the token in {shown}"));
    let by_name = Request { user: Some(("me".into(), secret.clone())), ..at(closed.port) };
    assert_eq!(said(&by_name).await, format!("403 Forbidden; check the password of me in {shown}"));
    assert!(closed.asked()[0].contains("Authorization: Bearer s3cret\r\n"));
    assert!(closed.asked()[1].contains("Authorization: Basic bWU6czNjcmV0\r\n"));
    // The file is read again each time.
    fs::write(&secret, "").unwrap();
    let expected = format!("{shown}: empty; write the secret into that file, readable for root");
    assert_eq!(said(&by_token).await, expected);
    fs::write(&secret, "a\nb").unwrap();
    assert!(said(&by_token).await.contains("has more than one line"));
    fs::remove_file(&secret).unwrap();
    assert!(said(&by_token).await.starts_with(&format!("{shown}: cannot be read: No such file")));
    assert_eq!(closed.asked().len(), 2, "nobody is asked without the secret");
}

#[tokio::test]
async fn a_part_of_a_page_is_not_a_page() {
    let head = "HTTP/1.1 200 OK\r\n";
    for (bytes, expected) in [
        (format!("{head}Content-Length: 100\r\n\r\na: 1"), "cut off: "),
        (format!("{head}Transfer-Encoding: chunked\r\n\r\n4\r\na: 1\r\n"), "cut off: "),
        (format!("{head}Transfer-Encoding: chunked\r\n\r\nff\r\na: 1\r\n"), "cut off: "),
        (format!("{head}\r\na: 1"), "an answer without a length, which may have been cut off; "),
        ("garbage".into(), "invalid HTTP version parsed"),
        (String::new(), "connection closed before message completed"),
    ] {
        let said = said(&at(raw(bytes.clone().into_bytes()))).await;
        assert!(said.starts_with(expected), "{bytes:?}: {said}");
    }
    let whole = gzip(SET.as_bytes());
    let said_of = |body: &[u8], encoding: &str| at(raw(packed(encoding, body)));
    let damaged = |encoding| format!("cut off or damaged: its {encoding} cannot be unpacked; ");
    for end in [0, 5, whole.len() / 2, whole.len() - 1] {
        let said = said(&said_of(&whole[..end], "gzip")).await;
        assert!(said.starts_with(&damaged("gzip")), "{end}: {said}");
    }
    let whole = zstd(SET.as_bytes());
    for end in [0, 3, whole.len() / 2, whole.len() - 5] {
        let said = said(&said_of(&whole[..end], "zstd")).await;
        assert!(said.starts_with(&damaged("zstd")), "{end}: {said}");
    }
}

#[tokio::test]
async fn packed_pages_are_unpacked_and_no_more_of_them_than_a_page_may_be_long() {
    for (encoding, body) in [
        ("gzip", gzip(SET.as_bytes())),
        ("x-gzip", [gzip(&SET.as_bytes()[..30]), gzip(&SET.as_bytes()[30..])].concat()),
        ("ZSTD", zstd(SET.as_bytes())),
        ("zstd", [zstd(&SET.as_bytes()[..30]), zstd(&SET.as_bytes()[30..])].concat()),
        ("identity", SET.into()),
    ] {
        let fetched = got(&at(raw(packed(encoding, &body)))).await.unwrap();
        let Fetched::Changed(bytes, _) = fetched else { panic!("{encoding}") };
        assert_eq!(bytes, SET.as_bytes(), "{encoding}");
    }
    let bomb = vec![0; 64 << 20];
    let too_large = "more than 1048576 bytes, unpacked; \
                     split it into several pages, or raise the source's maxSize (4Mi at most)";
    for (encoding, body) in
        [("gzip", gzip(&bomb)), ("zstd", zstd(&bomb)), ("", bomb[..2 << 20].into())]
    {
        assert_eq!(said(&at(raw(packed(encoding, &body)))).await, too_large, "{encoding}");
    }
    // A frame of zstd that wants 1 GiB of memory: its window is refused before anything is unpacked.
    let wide = [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa0][..], &[0; 64]].concat();
    assert!(said(&at(raw(packed("zstd", &wide)))).await.contains("its zstd cannot be unpacked"));
}

#[tokio::test]
async fn a_server_that_dawdles_has_its_time_and_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap().port();
    let dripping = TcpListener::bind("127.0.0.1:0").unwrap();
    let drip = dripping.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut stream, _) = dripping.accept().unwrap();
        // An answer before the question would be another fault.
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        while stream.write_all(b"a").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    for port in [silent, drip] {
        let request = Request { timeout: Duration::from_millis(300), ..at(port) };
        let said = said(&request).await;
        assert!(
            said.starts_with("not answered in full within 300ms; ")
                || said.starts_with("no answer within 300ms; "),
            "{said}"
        );
    }
    drop(listener);
}

#[tokio::test]
async fn secrets_stay_with_the_host_that_the_address_names() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    fs::write(&token, "s3cret").unwrap();
    let elsewhere = serve(|_| answer("200 OK", "", "a: 1"));
    let location = format!("Location: http://127.0.0.1:{}/other\r\n", elsewhere.port);
    let first = serve(move |_| answer("302 Found", &location, ""));
    let request = Request { token_file: Some(token), ..at(first.port) };
    assert!(matches!(got(&request).await, Ok(Fetched::Changed(..))));
    assert!(first.asked()[0].contains("s3cret"));
    assert!(!elsewhere.asked()[0].contains("s3cret"));
}

#[tokio::test]
async fn texts_about_certificates_name_the_keys_of_the_source() {
    let made = Certificates::make();
    let server = serve_tls(made.server("server", None), |_| answer("200 OK", "", "a: 1"));
    let closed = serve_tls(made.server("server", Some("ca")), |_| answer("200 OK", "", "a: 1"));
    let plain = raw(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec());
    let tls = |port: u16| request(format!("https://127.0.0.1:{port}/"));
    assert!(
        said(&tls(server.port)).await.contains("name its CA certificate in caFile of the source")
    );
    let named = Request { ca_file: Some(made.file("ca.crt")), ..tls(server.port) };
    assert!(matches!(got(&named).await, Ok(Fetched::Changed(..))));
    let nameless = Request { url: tls(closed.port).url, ..named.clone() };
    let refused = said(&nameless).await;
    assert!(refused.contains("name it in certFile and keyFile of the source"), "{refused}");
    let pair = Some((made.file("client.crt"), made.file("client.key")));
    assert!(matches!(got(&Request { pair, ..nameless }).await, Ok(Fetched::Changed(..))));
    let spoken = said(&Request { url: tls(plain).url, ..named }).await;
    assert!(spoken.contains("write http:// in the source's url"), "{spoken}");
}

#[tokio::test]
async fn a_proxy_is_asked_instead_of_the_host() {
    let proxy = serve(|_| answer("200 OK", "", "a: 1"));
    let address = format!("http://127.0.0.1:{}", proxy.port);
    let proxies = Proxies::of(|name| (name == "HTTP_PROXY").then(|| address.clone()));
    let request = request("http://specs.example/fleet.yaml");
    let fetched = request.fetch_by(proxies, &Validators::default(), now()).await;
    assert!(matches!(fetched, Ok(Fetched::Changed(..))));
    assert!(
        proxy.asked()[0].starts_with("GET http://specs.example:80/fleet.yaml "),
        "{:?}",
        proxy.asked()
    );
}

#[tokio::test]
async fn a_servers_wish_to_wait_is_known_by_seconds_and_by_date() {
    let wishes = Mutex::new(vec!["7200", "soon", "Mon, 30 Nov 2026 12:02:00 GMT", "90"]);
    let server = serve(move |_| {
        let wish = wishes.lock().unwrap().pop().unwrap();
        answer("429 Too Many Requests", &format!("Retry-After: {wish}\r\n"), "")
    });
    for seconds in [Some(90), Some(120), None, Some(3600)] {
        let error = got(&at(server.port)).await.unwrap_err();
        assert_eq!(error.retry_after, seconds.map(Duration::from_secs));
    }
    assert_eq!(wish_of("Mon, 30 Nov 2026 11:00:00 GMT", now()), Some(Duration::ZERO));
    for no_date in
        ["Mon, 30 Foo 2026 11:00:00 GMT", "Mon, 30 Nov 2026", "Mon, 31 Nov 2026 11:00:00 GMT", "-1"]
    {
        assert_eq!(wish_of(no_date, now()), None, "{no_date}");
    }
}

#[test]
fn the_next_wait_is_never_the_same_for_all_and_grows_with_failures() {
    let wait = |interval: u64, failures, wish: Option<u64>, seed| {
        next_wait(Duration::from_secs(interval), failures, wish.map(Duration::from_secs), seed)
            .as_millis()
    };
    assert_eq!((wait(30, 0, None, 0), wait(30, 0, None, 200)), (27_000, 33_000));
    assert!((27_000..=33_000).contains(&wait(30, 0, None, u64::MAX)));
    assert_eq!(wait(30, 1, None, 100), 30_000);
    assert_eq!(wait(30, 3, None, 100), 120_000);
    for failures in [5, 32, 33, 64, u32::MAX] {
        assert_eq!(wait(30, failures, None, 100), 300_000);
        assert_eq!(wait(1, failures.max(10), None, 100), 300_000);
        assert_eq!(wait(600, failures, None, 100), 6_000_000);
    }
    // A wish counts in full, whatever the seed; a longer wait of ours stays.
    assert_eq!((wait(30, 1, Some(100), 0), wait(30, 1, Some(100), 100)), (100_000, 110_000));
    assert_eq!(wait(30, 5, Some(1), 100), 300_000);
    assert_eq!(wait(30, 1, Some(86_400), 0), 3_600_000);
}

#[test]
fn a_page_without_a_document_deletes_nothing() {
    let read = |text: &str| understand("https://h/x", text.as_bytes(), FieldValidation::Strict);
    for empty in ["", " \n", "# nothing\n", "---\n---\n", "--- # a\n..."] {
        let read = read(empty);
        assert!(read.empty, "{empty:?}");
        assert_eq!(
            read.faults[0].to_string(),
            "https://h/x: SourceEmpty: the page holds no DaemonSet, ConfigMap or Secret; \
             write the documents, or an empty List to delete what it brought"
        );
    }
    let one = read(SET);
    assert_eq!((one.sets.len(), one.empty, one.faults.len()), (1, false, 0));
    assert_eq!(one.sets[0].origin, "https://h/x");
    for garbage in
        ["{}", "[]", "null", "\"text\"", "<html>", "a: [", "\0", "{\"error\": \"try later\"}"]
    {
        let read = read(garbage);
        assert!(read.empty || read.unreadable, "{garbage:?}: {read:?}");
    }
    let failure = read("kind: Status\napiVersion: v1\nstatus: Failure\ncode: 503\n");
    assert!(failure.empty || failure.unreadable, "an API's error: {failure:?}");
    let nothing = read("apiVersion: v1\nkind: List\nitems: []\n");
    assert!(!nothing.empty && !nothing.unreadable, "an empty list was meant: {nothing:?}");
}

#[test]
fn a_signature_lies_beside_its_page() {
    for (url, signature) in [
        ("https://h/a.yaml", "https://h/a.yaml.sig"),
        ("https://h/a.yaml?b=/c#d", "https://h/a.yaml.sig?b=/c"),
    ] {
        assert_eq!(request(url).of_signature().url, signature);
    }
}

#[test]
fn no_text_of_a_failure_holds_a_secret() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    fs::write(&token, "s3cret\u{1}").unwrap();
    let server = serve(|_| {
        ASKED.fetch_add(1, Ordering::Relaxed);
        answer("200 OK", "", "a: 1")
    });
    let request = Request { token_file: Some(token), ..at(server.port) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(got(&request)).unwrap_err();
    assert!(!format!("{error:?} {request:?}").contains("s3cret"), "{error:?}");
    assert_eq!(ASKED.load(Ordering::Relaxed), 0);
}
