//! A pull that containerd's Transfer service does: which login it shows to whom, and what its refusals mean.

use std::path::Path;

use tokio::sync::watch;

use crate::image::{credentials::Login, progress::Progress, reference::Reference};
use crate::runtime::containerd::{self, Containerd, Transfer};

use super::{PullError, Pulled};

/// What the daemon is to pull.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// The image.
    pub reference: &'a Reference,
    /// The directory of `hosts.toml` files.
    pub hosts_dir: &'a Path,
    /// The logins, the best first.
    pub logins: Vec<Login>,
}

/// Has containerd pull an image, with each login until one is accepted, as the kubelet does.
pub(super) async fn transfer(
    containerd: &Containerd,
    wanted: Wanted<'_>,
    progress: &watch::Sender<Progress>,
) -> Result<Pulled, PullError> {
    let Wanted { reference, hosts_dir, logins } = wanted;
    let mut logins = logins.into_iter();
    let mut shown = logins.next();
    loop {
        let login = |host: &str| shown.clone().filter(|_| is_registry(reference, host));
        let transfer = Transfer { reference, hosts_dir, login: &login };
        match containerd.transfer(transfer, progress).await {
            Ok(done) => return Ok(Pulled { image: done.image, size: done.size }),
            Err(error) => {
                let error = cause(reference, shown.is_some(), error);
                shown = match (error, logins.next()) {
                    (PullError::Unauthorized { .. }, Some(next)) => Some(next),
                    (error, _) => return Err(error),
                };
            }
        }
    }
}

/// Whether a host is the registry itself and not one of its mirrors: only there its logins are known.
fn is_registry(reference: &Reference, host: &str) -> bool {
    match reference.registry() {
        "docker.io" => host == "registry-1.docker.io",
        registry => host == registry,
    }
}

/// What a refusal means. containerd has texts for these, and no codes.
fn cause(reference: &Reference, shown: bool, error: containerd::Error) -> PullError {
    let Some(text) = error.answer() else {
        return PullError::Containerd(error);
    };
    let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    let host = || reference.registry().to_owned();
    let what = || {
        let name = reference.names().into_iter().next().unwrap_or_default();
        name.split_once('/').map_or_else(String::new, |(_, rest)| format!("image {rest}"))
    };
    if text.contains("image verifier") && says(&["blocked pull", "blocking pull"]) {
        let image = reference.names().into_iter().next().unwrap_or_default();
        return PullError::Refused { image, why: text.to_owned() };
    }
    if says(&UNAUTHORIZED) {
        let credentials = if shown { "with credentials" } else { "without credentials" };
        let status = format!("{text} ({credentials})");
        return PullError::Unauthorized { host: host(), what: what(), status };
    }
    if text.contains("no match for platform") {
        let image = reference.names().into_iter().next().unwrap_or_default();
        let problem = format!("has none for this host: {text}; give one that runs here");
        return PullError::Broken { image, problem };
    }
    if text.starts_with("failed to resolve") && text.ends_with("not found") {
        return PullError::Missing { host: host(), what: what() };
    }
    if text.contains("unexpected commit digest") {
        return PullError::Digest { host: host(), what: what(), problem: text.to_owned() };
    }
    if says(&HOSTS) {
        return PullError::Hosts { registry: host(), errors: text.to_owned() };
    }
    PullError::Containerd(error)
}

/// What containerd says when a registry wants credentials, or other ones.
const UNAUTHORIZED: [&str; 5] = [
    "401 Unauthorized",
    "403 Forbidden",
    "pull access denied",
    "authorization failed",
    "failed to authorize",
];

/// What it says, in Go's words, when a registry could not be asked or did not answer as it should.
const HOSTS: [&str; 9] = [
    "dial tcp",
    "failed to do request",
    "unexpected status",
    "connection re",
    "no such host",
    "timeout",
    "EOF",
    "tls: ",
    "x509: ",
];
