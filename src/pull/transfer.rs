//! A pull that containerd's Transfer service does: which login it shows to whom, and what its refusals mean.

use std::path::Path;

use tokio::sync::watch;

use crate::image::{credentials::Login, hosts::Endpoint, progress::Progress, reference::Reference};
use crate::runtime::containerd::{self, Containerd, Transfer};

use super::{PullError, Pulled};

/// What the daemon is to pull.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The image.
    pub reference: &'a Reference,
    /// The digest that the reference was found to stand for, where somebody has looked: what was verified is what is pulled.
    pub digest: Option<&'a str>,
    /// The directory of `hosts.toml` files, which the daemon reads for itself.
    pub hosts_dir: &'a Path,
    /// The hosts that these files name.
    pub endpoints: &'a [Endpoint],
    /// Each endpoint's logins, in their order.
    pub logins: &'a [Vec<Login>],
}

/// Has containerd pull an image. A host that has several logins is shown the next one when the pull was refused, as the
/// kubelet does.
pub async fn transfer(
    containerd: &Containerd,
    wanted: Wanted<'_>,
    progress: &watch::Sender<Progress>,
) -> Result<Pulled, PullError> {
    let Wanted { reference, digest, hosts_dir, endpoints, logins } = wanted;
    let rounds = logins.iter().map(Vec::len).max().unwrap_or(0);
    let mut round = 0;
    loop {
        let login = |host: &str| {
            let place = endpoints.iter().position(|endpoint| is_host(endpoint, host))?;
            let known = logins.get(place)?;
            known.get(round).or(known.last()).cloned()
        };
        let transfer = Transfer { reference, digest, hosts_dir, login: &login };
        let outcome = containerd.transfer(transfer, progress).await;
        round += 1;
        match outcome {
            Ok(done) => return Ok(Pulled { image: done.image, size: done.size }),
            Err(error) => match cause(reference, rounds > 0, error) {
                PullError::Unauthorized { .. } if round < rounds => {}
                error => return Err(error),
            },
        }
    }
}

/// Whether the daemon's word for a host, such as `registry.example:5000`, means an endpoint.
fn is_host(endpoint: &Endpoint, host: &str) -> bool {
    let usual = if endpoint.tls { ":443" } else { ":80" };
    host.strip_suffix(usual).unwrap_or(host).eq_ignore_ascii_case(&endpoint.name())
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
        return PullError::Signature { image, why: text.to_owned() };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_known_by_name_and_port() {
        for (tls, registry, asked, is) in [
            (true, "registry.example", "registry.example", true),
            (true, "registry.example", "Registry.example:443", true),
            (true, "registry.example", "registry.example:5000", false),
            (false, "registry.example:80", "registry.example", true),
            (false, "registry.example:443", "registry.example", false),
            (true, "registry.example:5000", "registry.example:5000", true),
            (true, "registry.example:5000", "mirror.example:5000", false),
            (true, "[::1]:5000", "[::1]:5000", true),
            (true, "docker.io", "registry-1.docker.io", true),
        ] {
            let endpoint = Endpoint { tls, ..Endpoint::of(registry).unwrap() };
            assert_eq!(is_host(&endpoint, asked), is, "{registry} {asked}");
        }
    }
}
