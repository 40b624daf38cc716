//! What a probe or a hook does, with every choice made: ports by number, hosts by address.

use std::time::Duration;

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
