//! Floor 7: what probes and hooks speak with containers, and pulls with registries: TCP, HTTP with or without TLS, and
//! gRPC's health service.
//!
//! Texts of probes' failures are the kubelet's, which are Go's: they end up in events that people and tools know.

pub mod client;
#[cfg(test)]
mod client_tests;
mod connection;
pub mod dial;
pub mod health;
pub mod http;
pub mod proxy;
pub mod redirect;
pub mod tcp;
#[cfg(test)]
pub mod test_server;
#[cfg(test)]
mod tests;
mod tls;
pub mod trust;

use std::{future::Future, io, path::PathBuf, time::Duration};

/// Why somebody could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A page could not be had.
    #[error("Get {url:?}")]
    Get {
        /// Its address.
        url: String,
        /// Why not.
        #[source]
        source: Box<Error>,
    },
    /// No connection came about.
    #[error("dial tcp {address}: {reason}")]
    Dial {
        /// Host and port.
        address: String,
        /// In Go's words.
        reason: String,
    },
    /// The time was up.
    #[error("context deadline exceeded (Client.Timeout exceeded while awaiting headers)")]
    Deadline,
    /// The server does not speak TLS.
    #[error("http: server gave HTTP response to HTTPS client")]
    NotTls,
    /// The server speaks TLS, but not with us.
    #[error("tls: handshake failure")]
    Handshake(#[source] io::Error),
    /// The server speaks TLS, but its settings or ours do not let us.
    #[error("tls: {0}")]
    Tls(String),
    /// The server is not who it should be.
    #[error("tls: the certificate of {host} {problem}")]
    Certificate {
        /// The host.
        host: String,
        /// What is wrong with its certificate, and the remedy.
        problem: String,
    },
    /// A registry that is to be asked by TLS speaks without.
    #[error(
        "it speaks plain HTTP and not TLS; where that is meant, write \"http://{place}\" in its hosts.toml"
    )]
    PlainHttp {
        /// The host, with its port.
        place: String,
    },
    /// A file of the operator's that cannot be used.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The proxy does not let us through.
    #[error("proxy: {0}")]
    Proxy(String),
    /// Nothing was answered.
    #[error("no answer within {limit:?}")]
    Silent {
        /// How long was waited.
        limit: Duration,
    },
    /// A body does not go on.
    #[error("no byte came for {limit:?}")]
    Stalled {
        /// How long was waited.
        limit: Duration,
    },
    /// A redirect from TLS to none.
    #[error("it redirects from {from} to {to}, which would do without TLS; refused")]
    Downgrade {
        /// From where.
        from: String,
        /// To where.
        to: String,
    },
    /// The host's name cannot be one, so TLS has nobody to ask for.
    #[error("tls: {host:?} is neither an address nor a host's name")]
    Name {
        /// The name.
        host: String,
    },
    /// What is to be sent is no HTTP.
    #[error("net/http: {0}")]
    Request(String),
    /// The exchange broke off.
    #[error(transparent)]
    Exchange(#[from] hyper::Error),
    /// A redirect leads nowhere.
    #[error("failed to parse Location header {location:?}")]
    Location {
        /// Where it would lead.
        location: String,
    },
    /// Redirects lead in a circle.
    #[error("stopped after 10 redirects")]
    Redirects,
}

/// Where pulls name an authority, in remedies.
const CA_OF_PULLS: &str = "`ca` of the host's hosts.toml";
/// Where pulls name a client's certificate, in remedies.
const CLIENT_OF_PULLS: &str = "`client` of the host's hosts.toml";

impl Error {
    /// The same in the words of a source, whose settings stand in our own configuration and not in a hosts.toml.
    #[must_use]
    pub fn of_source(self) -> Self {
        match self.naming("caFile of the source", "certFile and keyFile of the source") {
            Self::PlainHttp { place } => Self::Tls(format!(
                "{place} speaks plain HTTP; where that is meant, write http:// in the source's url"
            )),
            other => other,
        }
    }

    /// The same error for somebody whose settings have other names for the authority and for our own certificate.
    #[must_use]
    pub fn naming(self, ca: &str, client: &str) -> Self {
        let named = |text: String| text.replace(CA_OF_PULLS, ca).replace(CLIENT_OF_PULLS, client);
        match self {
            Self::Tls(text) => Self::Tls(named(text)),
            Self::Certificate { host, problem } => {
                Self::Certificate { host, problem: named(problem) }
            }
            other => other,
        }
    }
}

/// Waits for `work`, for no longer than `limit` if there is one.
async fn limited<T>(limit: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, work).await.ok(),
        None => Some(work.await),
    }
}

/// Host and port in one, as in a URL.
fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
