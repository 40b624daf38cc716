//! `hosts.toml` files as people write them, and as they get them wrong.

use super::*;

fn read(text: &str, registry: &str) -> Result<Vec<Endpoint>, String> {
    endpoints(text, Path::new("/certs"), registry)
}

fn plain(host: &str, own: bool) -> Endpoint {
    Endpoint { own, ..Endpoint::at(host, "none", false).unwrap() }
}

#[test]
fn hosts_are_asked_in_the_order_of_the_file_and_the_server_last() {
    let text = r#"
server = "https://docker.io"

[host."https://z.example"]
  capabilities = ["pull"]
[host."http://a.example:5000/deep"]
  capabilities = ["Pull", "resolve", "push"]
[host."m.example/v2/"]
"#;
    let expected = [
        Endpoint { resolves: false, ..plain("https://z.example", false) },
        Endpoint { tls: false, port: 5000, path: "/deep/v2".into(), ..plain("a.example", false) },
        plain("m.example", false),
        plain("registry-1.docker.io", true),
    ];
    assert_eq!(read(text, "docker.io").unwrap(), expected);
}

#[test]
fn everything_that_can_be_said_of_a_host_is_read() {
    let text = r#"
ca = "own.crt"
dial_timeout = "1m0.5s"
unknown = 1

[host."https://mirror.example/prefix"]
  override_path = true
  skip_verify = true
  ca = ["/etc/a.pem", "b.pem"]
  client = [["c.cert", "c.key"], ["both.pem", ""], "alone.pem"]
  dial_timeout = "250ms"
  [host."https://mirror.example/prefix".header]
    X-One = "1"
    x-two = ["2", "zwei"]
[host."other.example"]
  client = "both.pem"
"#;
    let file = |name: &str| Path::new("/certs").join(name);
    let expected = [
        Endpoint {
            path: "/prefix".into(),
            skip_verify: true,
            ca: vec!["/etc/a.pem".into(), file("b.pem")],
            client: vec![
                (file("c.cert"), file("c.key")),
                (file("both.pem"), file("both.pem")),
                (file("alone.pem"), file("alone.pem")),
            ],
            dial: Duration::from_millis(250),
            headers: [("x-one", "1"), ("x-two", "2"), ("x-two", "zwei")]
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
            ..plain("mirror.example", false)
        },
        Endpoint {
            client: vec![(file("both.pem"), file("both.pem"))],
            ..plain("other.example", false)
        },
        Endpoint {
            ca: vec![file("own.crt")],
            dial: Duration::from_millis(60_500),
            port: 5000,
            ..plain("r.example", true)
        },
    ];
    assert_eq!(read(text, "r.example:5000").unwrap(), expected);
}

#[test]
fn a_registry_without_a_file_is_asked_itself_by_tls() {
    for (registry, host, port, name) in [
        ("docker.io", "registry-1.docker.io", 443, "registry-1.docker.io"),
        ("localhost:5000", "localhost", 5000, "localhost:5000"),
        ("[::1]:5000", "::1", 5000, "[::1]:5000"),
        ("quay.io", "quay.io", 443, "quay.io"),
    ] {
        let endpoint = Endpoint::of(registry).unwrap();
        assert!(endpoint.tls && endpoint.own && endpoint.path == "/v2", "{endpoint:?}");
        assert_eq!((endpoint.host.as_str(), endpoint.port), (host, port));
        assert_eq!(endpoint.name(), name);
    }
    assert!(Endpoint::of("a b").is_err());
}

#[test]
fn a_server_of_another_name_is_a_mirror() {
    for (server, registry, own) in [
        ("http://r.io", "r.io", true),
        ("https://r.io:443", "r.io", true),
        ("http://r.io:5000", "r.io:5000", true),
        ("http://r.io:5000", "r.io", false),
        ("https://elsewhere", "r.io", false),
        ("https://registry-1.docker.io", "docker.io", true),
    ] {
        let hosts = read(&format!("server = {server:?}"), registry).unwrap();
        assert_eq!(hosts.iter().map(|host| host.own).collect::<Vec<_>>(), [own], "{server}");
    }
}

#[test]
fn directories_are_looked_for_as_containerd_does() {
    assert_eq!(directories("r.io:5000"), ["r.io_5000_", "r.io:5000", "_default"]);
    assert_eq!(directories("docker.io"), ["docker.io", "_default"]);
}

#[test]
fn a_wrong_file_is_refused_with_place_value_and_remedy() {
    for (text, problem) in [
        (
            "server = ",
            "line 1: string values must be quoted, expected literal string; write it as TOML",
        ),
        ("\n\nserver", "line 3: key with no value, expected `=`; write it as TOML"),
        ("server = 1", "server: of the type integer; write one address in quotes"),
        ("server = \"ftp://x\"", "server: \"ftp://x\" is neither http:// nor https://"),
        (
            "server = \"https://\"",
            "server: \"https://\" is no host; write one such as \"https://mirror.example:5000\"",
        ),
        (
            "[host.\"https://a:many\"]",
            "host.\"https://a:many\": \"https://a:many\" is no host; write one such as \"https://mirror.example:5000\"",
        ),
        (
            "server = \"https://a/b?c\"",
            "server: \"https://a/b?c\" has more than a path behind the host; write one such as \"https://mirror.example:5000\"",
        ),
        (
            "host = 1",
            "host: of the type integer; write sections such as [host.\"https://mirror.example\"]",
        ),
        ("[host]\n\"https://a\" = 1", "host.\"https://a\": of the type integer; write a section"),
        (
            "skip_verify = \"true\"",
            "skip_verify: of the type string; write true or false, without quotes",
        ),
        (
            "[host.\"https://a\"]\ncapabilities = \"pull\"",
            "host.\"https://a\".capabilities: of the type string; write a list such as [\"pull\", \"resolve\"]",
        ),
        (
            "capabilities = [\"fetch\"]",
            "capabilities: \"fetch\" is no capability; write a list such as [\"pull\", \"resolve\"]",
        ),
        ("ca = 1", "ca: of the type integer; write a path or a list of paths"),
        ("ca = \"\"", "ca: empty; write a path or a list of paths"),
        ("ca = [[\"a\", \"b\"]]", "ca: of the type array; write a path or a list of paths"),
        (
            "client = [[\"a\"]]",
            "client: a pair of other than two paths; write a path, or a list of paths or of pairs such as [[\"client.cert\", \"client.key\"]]",
        ),
        ("header = 1", "header: of the type integer; write a section of headers"),
        ("[header]\nx = 1", "header.x: of the type integer; write a text or a list of texts"),
        ("[header]\n\"a b\" = \"\"", "header.a b: no name of a header; write one such as x-token"),
        ("[header]\nx = \"a\\nb\"", "header.x: holds control characters; write it in one line"),
        (
            "dial_timeout = 5",
            "dial_timeout: of the type integer; write a duration such as \"5s\" or \"500ms\"",
        ),
        (
            "dial_timeout = \"5\"",
            "dial_timeout: \"5\" is none; write a duration such as \"5s\" or \"500ms\"",
        ),
    ] {
        assert_eq!(read(text, "r.io").unwrap_err(), problem, "{text}");
    }
}
