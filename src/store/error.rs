//! Why the store could not be asked, or said no.

/// Why.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers at any endpoint.
    #[error("etcd cannot be reached: {0}")]
    Unreachable(String),
    /// The settings cannot be used: a file, a password, an endpoint.
    #[error("{0}")]
    Settings(String),
    /// etcd does not let us.
    #[error("etcd refuses: {0}")]
    Denied(String),
    /// The revision that a watch should begin at is compacted: list again.
    #[error("revision {0} is compacted")]
    Compacted(i64),
    /// The store lease is gone.
    #[error("the store lease is gone")]
    LeaseGone,
    /// etcd answers, but with an error: no space, too large, no leader.
    #[error("etcd: {0}")]
    Answer(String),
}

impl Error {
    /// Whether another connection may help.
    pub fn is_connection(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }
}
