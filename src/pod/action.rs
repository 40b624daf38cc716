//! What a probe or a hook does, with every choice made: ports by number, hosts by address.

use std::{fmt::Write as _, time::Duration};

use k8s_openapi::{
    api::core::v1::{Container, ExecAction, HTTPGetAction, LifecycleHandler, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::environment::expand;

/// Where a probe or a hook asks when nothing says where and the pod has no address.
const LOOPBACK: &str = "127.0.0.1";

/// One thing to be done to or in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Runs a command in the container.
    Exec {
        /// The argument vector.
        command: Vec<String>,
    },
    /// Asks for a page.
    Http {
        /// Whether by TLS, whose certificate nobody checks.
        tls: bool,
        /// The host to connect to.
        host: String,
        /// The port.
        port: u16,
        /// Path and query.
        path: String,
        /// Headers, in their order; `Host` among them overrides the host's name in the request.
        headers: Vec<(String, String)>,
    },
    /// Opens a connection.
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// Asks gRPC's health service.
    Grpc {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// Which service's health.
        service: String,
    },
    /// Waits.
    Sleep(Duration),
}

/// Who asks, which decides about details such as the user agent and what counts as a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// A probe: an HTTP status from 400 on is a failure, output is kept for the message.
    Probe,
    /// A hook: any HTTP status will do.
    Hook,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it should.
    Success,
    /// It did, with something that the operator should see (`ProbeWarning`).
    Warning(String),
    /// It did not: the text is the kubelet's.
    Failure(String),
    /// It could not be tried at all.
    Error(String),
}

impl Action {
    /// What a probe of a container does. `pod_ip` is where it asks unless it names a host; an empty one is this host.
    pub fn of_probe(probe: &Probe, container: &Container, pod_ip: &str) -> Result<Self, String> {
        let host = |host: &Option<String>| host_or(host.as_deref(), pod_ip);
        if let Some(exec) = &probe.exec {
            let literal = literal_environment(container);
            let words = words(exec).into_iter().map(|word| expand(&word, &literal));
            return Ok(Self::Exec { command: words.collect() });
        }
        if let Some(http) = &probe.http_get {
            return page(http, container, pod_ip);
        }
        if let Some(tcp) = &probe.tcp_socket {
            let port = port(&tcp.port, container)?;
            return Ok(Self::Tcp { host: host(&tcp.host), port });
        }
        if let Some(grpc) = &probe.grpc {
            let port = number(i64::from(grpc.port))?;
            let service = grpc.service.clone().unwrap_or_default();
            return Ok(Self::Grpc { host: host(&None), port, service });
        }
        Err(format!("missing probe handler for container {}", container.name))
    }

    /// What a hook of a container does.
    pub fn of_hook(
        handler: &LifecycleHandler,
        container: &Container,
        pod_ip: &str,
    ) -> Result<Self, String> {
        if let Some(exec) = &handler.exec {
            return Ok(Self::Exec { command: words(exec) });
        }
        if let Some(http) = &handler.http_get {
            return page(http, container, pod_ip);
        }
        if let Some(sleep) = &handler.sleep {
            let seconds = u64::try_from(sleep.seconds).unwrap_or(0);
            return Ok(Self::Sleep(Duration::from_secs(seconds)));
        }
        // The kubelet takes a tcpSocket hook from the API and then knows no way to run it.
        let kind = if handler.tcp_socket.is_some() { "tcpSocket" } else { "none" };
        Err(format!(
            "invalid handler: {kind}; a hook of container {} is exec, httpGet or sleep",
            container.name
        ))
    }
}

/// The words of a command.
fn words(exec: &ExecAction) -> Vec<String> {
    exec.command.clone().unwrap_or_default()
}

/// A container's variables as a probe's command may refer to them: literal values only. A variable whose value comes
/// from somewhere else is empty there, as for the kubelet.
fn literal_environment(container: &Container) -> Vec<(String, String)> {
    let variables = container.env.iter().flatten();
    variables.map(|env| (env.name.clone(), env.value.clone().unwrap_or_default())).collect()
}

/// The host that is named, or the pod's.
fn host_or(named: Option<&str>, pod_ip: &str) -> String {
    let named = named.into_iter().chain([pod_ip]).find(|host| !host.is_empty());
    named.unwrap_or(LOOPBACK).to_owned()
}

/// What an httpGet asks for.
fn page(http: &HTTPGetAction, container: &Container, pod_ip: &str) -> Result<Action, String> {
    let headers = http.http_headers.iter().flatten();
    Ok(Action::Http {
        tls: http.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
        host: host_or(http.host.as_deref(), pod_ip),
        port: port(&http.port, container)?,
        path: request_path(http.path.as_deref().unwrap_or("/")),
        headers: headers.map(|header| (header.name.clone(), header.value.clone())).collect(),
    })
}

/// A port by number: given as one, by the name of a port of the same container, or as a number in a string.
fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let name = match port {
        IntOrString::Int(port) => return number(i64::from(*port)),
        IntOrString::String(name) => name,
    };
    let named = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
    if let Some(named) = named {
        return number(i64::from(named.container_port));
    }
    name.parse().ok().and_then(|port| number(port).ok()).ok_or_else(|| {
        format!(
            "invalid port {name:?}: container {} has no port of that name, and it is no number from 1 to 65535",
            container.name
        )
    })
}

/// A number that can be a port's.
fn number(port: i64) -> Result<u16, String> {
    let valid = u16::try_from(port).ok().filter(|port| *port > 0);
    valid.ok_or_else(|| format!("invalid port number: {port}"))
}

/// Path and query as they go over the wire: from a slash on, without a fragment, and with what no URL may hold escaped.
fn request_path(path: &str) -> String {
    let path = path.split('#').next().unwrap_or_default();
    let mut wire = String::with_capacity(path.len() + 1);
    if !path.starts_with('/') {
        wire.push('/');
    }
    let bytes = path.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let hex = |offset| bytes.get(at + offset).is_some_and(u8::is_ascii_hexdigit);
        let plain = match byte {
            b'%' => hex(1) && hex(2),
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => false,
            byte => byte.is_ascii_graphic(),
        };
        if plain {
            wire.push(char::from(*byte));
        } else {
            let _ = write!(wire, "%{byte:02X}");
        }
    }
    wire
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn container() -> Container {
        serde_json::from_value(json!({
            "name": "main",
            "ports": [{"name": "web", "containerPort": 8080}, {"name": "7", "containerPort": 9000}],
            "env": [
                {"name": "LITERAL", "value": "x"},
                {"name": "TAKEN", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ],
        }))
        .unwrap()
    }

    fn probe(probe: Value) -> Result<Action, String> {
        Action::of_probe(&serde_json::from_value(probe).unwrap(), &container(), "10.0.0.7")
    }

    fn hook(hook: Value) -> Result<Action, String> {
        Action::of_hook(&serde_json::from_value(hook).unwrap(), &container(), "10.0.0.7")
    }

    fn asks(http: &Value) -> String {
        match probe(json!({ "httpGet": http })).unwrap() {
            Action::Http { tls, host, port, path, .. } => format!("{tls} {host} {port} {path}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_port_is_a_number_a_name_of_the_container_or_a_number_in_a_string() {
        for (port, found) in [
            (json!(80), Ok(80)),
            (json!("web"), Ok(8080)),
            // A name comes first, also when it looks like a number.
            (json!("7"), Ok(9000)),
            (json!("81"), Ok(81)),
            (json!(0), Err("invalid port number: 0")),
            (json!(65536), Err("invalid port number: 65536")),
            (
                json!("nope"),
                Err(
                    "invalid port \"nope\": container main has no port of that name, and it is no number from 1 to 65535",
                ),
            ),
        ] {
            let made = probe(json!({ "tcpSocket": { "port": port } }));
            let found = found
                .map(|port| Action::Tcp { host: "10.0.0.7".into(), port })
                .map_err(str::to_owned);
            assert_eq!(made, found);
        }
    }

    #[test]
    fn a_page_is_asked_of_the_pod_unless_a_host_is_named() {
        for (http, expected) in [
            (json!({"port": 80}), "false 10.0.0.7 80 /"),
            (json!({"port": 80, "host": "localhost", "scheme": "HTTPS"}), "true localhost 80 /"),
            (
                json!({"port": 80, "host": "", "path": "up?full=1#part"}),
                "false 10.0.0.7 80 /up?full=1",
            ),
            (
                json!({"port": 80, "path": "/a b%20%zz/ü"}),
                "false 10.0.0.7 80 /a%20b%20%25zz/%C3%BC",
            ),
        ] {
            assert_eq!(asks(&http), expected);
        }
        let tcp = serde_json::from_value(json!({"tcpSocket": {"port": 1}})).unwrap();
        let nowhere = Action::of_probe(&tcp, &container(), "");
        assert_eq!(nowhere, Ok(Action::Tcp { host: "127.0.0.1".into(), port: 1 }));
    }

    #[test]
    fn headers_keep_their_order() {
        let given = json!([{"name": "Host", "value": "x"}, {"name": "A", "value": "1"}]);
        let made = probe(json!({"httpGet": {"port": 80, "httpHeaders": given}})).unwrap();
        let Action::Http { headers, .. } = made else { panic!("{made:?}") };
        assert_eq!(headers, [("Host".into(), "x".into()), ("A".into(), "1".into())]);
    }

    #[test]
    fn only_probes_refer_to_variables_and_only_to_literal_ones() {
        let exec =
            json!({"exec": {"command": ["$(LITERAL)", "$$(LITERAL)", "<$(TAKEN)>", "$(NONE)"]}});
        let run = |words: &[&str]| {
            Ok(Action::Exec { command: words.iter().map(|word| (*word).to_owned()).collect() })
        };
        assert_eq!(probe(exec.clone()), run(&["x", "$(LITERAL)", "<>", "$(NONE)"]));
        assert_eq!(hook(exec), run(&["$(LITERAL)", "$$(LITERAL)", "<$(TAKEN)>", "$(NONE)"]));
    }

    #[test]
    fn grpc_asks_the_pod_by_number() {
        let made = probe(json!({"grpc": {"port": 50051, "service": "s"}})).unwrap();
        let expected = Action::Grpc { host: "10.0.0.7".into(), port: 50051, service: "s".into() };
        assert_eq!(made, expected);
    }

    #[test]
    fn a_hook_sleeps_but_opens_no_socket() {
        let slept = hook(json!({"sleep": {"seconds": 3}}));
        assert_eq!(slept, Ok(Action::Sleep(Duration::from_secs(3))));
        let refused = hook(json!({"tcpSocket": {"port": 80}})).unwrap_err();
        assert_eq!(
            refused,
            "invalid handler: tcpSocket; a hook of container main is exec, httpGet or sleep"
        );
        assert!(hook(json!({})).unwrap_err().starts_with("invalid handler: none"));
        assert!(probe(json!({})).unwrap_err().starts_with("missing probe handler"));
    }
}
