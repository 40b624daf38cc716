//! Where a registry's images are fetched from: its mirrors and itself, as containerd's `hosts.toml` says.

use std::path::PathBuf;

/// One host that serves a registry's images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether by TLS.
    pub tls: bool,
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path before `/<repository>/manifests/…`, usually `/v2`.
    pub path: String,
    /// Whether it may say what a tag means.
    pub resolves: bool,
    /// Whether blobs and manifests by digest may come from it.
    pub pulls: bool,
    /// Whether it is the registry itself and not a mirror of it: mirrors are told the registry by `?ns=`.
    pub own: bool,
    /// Certificates that are believed beside the system's.
    pub ca: Vec<PathBuf>,
    /// Certificates that we show, each with its key; one file may hold both.
    pub client: Vec<(PathBuf, PathBuf)>,
    /// Whether any certificate is believed.
    pub skip_verify: bool,
    /// Headers of every request.
    pub headers: Vec<(String, String)>,
}
