//! The client: one connection to one of the endpoints at a time, and the operations over it.
//!
//! Whoever holds a [`Store`] sees errors as they are; [`Error::is_connection`] says that [`Store::connect`] to the next
//! endpoint may help. Nothing here retries what may have happened already.

use std::{path::PathBuf, time::Duration};

use etcd_client as etcd;

use super::{
    error::Error,
    kv::{Change, Compare, Header, Kv, Listing, Op, Range, Txn, TxnOutcome},
};

/// How to reach the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The members: `http://host:port` or `https://host:port`.
    pub endpoints: Vec<String>,
    /// The authority of the members' certificates, beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
    /// Who we are, where that is not by certificate.
    pub username: Option<String>,
    /// The file with the password.
    pub password_file: Option<PathBuf>,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// A connection to the store.
#[derive(Clone)]
pub struct Store {
    /// etcd's client over this connection.
    client: etcd::Client,
    /// The endpoint.
    endpoint: String,
    /// How long an answer may take.
    timeout: Duration,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Store {
    /// Connects to the first endpoint that answers, beginning with number `first` (modulo their count).
    pub async fn connect(settings: &Settings, first: usize) -> Result<Self, Error> {
        let count = settings.endpoints.len().max(1);
        let mut last = Error::Settings("etcd.endpoints names no endpoint".into());
        for offset in 0..settings.endpoints.len() {
            let endpoint = &settings.endpoints[(first + offset) % count];
            match Self::connect_to(settings, endpoint).await {
                Ok(store) => return Ok(store),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Connects to one endpoint.
    async fn connect_to(settings: &Settings, endpoint: &str) -> Result<Self, Error> {
        let wrong = |error: &dyn std::fmt::Display| {
            Error::Settings(format!("etcd.endpoints: {endpoint}: {error}"))
        };
        let target = tonic::transport::Endpoint::from_shared(endpoint.to_owned())
            .map_err(|error| wrong(&error))?
            .connect_timeout(settings.timeout);
        let channel = tokio::time::timeout(settings.timeout, target.connect())
            .await
            .map_err(|_| Error::Unreachable(format!("{endpoint}: no answer")))?
            .map_err(|error| Error::Unreachable(format!("{endpoint}: {error}")))?;
        let client = etcd::Client::from_channel(etcd::Channel::Tonic(channel), None).await?;
        Ok(Self { client, endpoint: endpoint.to_owned(), timeout: settings.timeout })
    }

    /// The endpoint that answers.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Reads a range whole, at one revision.
    pub async fn list(&self, range: &Range) -> Result<Listing, Error> {
        let txn = Txn { then: vec![Op::Get(range.clone())], ..Txn::default() };
        let outcome = self.txn(&txn).await?;
        Ok(outcome.listings.into_iter().next().unwrap_or_default())
    }

    /// Reads one key.
    pub async fn get(&self, key: &str) -> Result<(Header, Option<Kv>), Error> {
        let listing = self.list(&Range::key(key)).await?;
        Ok((listing.header, listing.kvs.into_iter().next()))
    }

    /// Reads several ranges at one revision.
    pub async fn list_all(&self, ranges: &[Range]) -> Result<(Header, Vec<Kv>), Error> {
        let then = ranges.iter().cloned().map(Op::Get).collect();
        let outcome = self.txn(&Txn { then, ..Txn::default() }).await?;
        let kvs = outcome.listings.into_iter().flat_map(|listing| listing.kvs).collect();
        Ok((outcome.header, kvs))
    }

    /// Runs a transaction.
    pub async fn txn(&self, txn: &Txn) -> Result<TxnOutcome, Error> {
        let compares: Vec<etcd::Compare> = txn.when.iter().map(compare).collect();
        let then: Vec<etcd::TxnOp> = txn.then.iter().map(operation).collect();
        let otherwise: Vec<etcd::TxnOp> = txn.otherwise.iter().map(operation).collect();
        let request = etcd::Txn::new().when(compares).and_then(then).or_else(otherwise);
        let mut kv = self.client.kv_client();
        let response = self.within(kv.txn(request)).await?;
        let header = header(response.header());
        let listings = response.op_responses().into_iter().filter_map(|answer| match answer {
            etcd::TxnOpResponse::Get(mut found) => {
                let kvs = found.take_kvs().into_iter().map(known).collect();
                Some(Listing { header, kvs })
            }
            _ => None,
        });
        Ok(TxnOutcome { succeeded: response.succeeded(), header, listings: listings.collect() })
    }

    /// Grants a store lease.
    pub async fn grant(&self, ttl: Duration) -> Result<i64, Error> {
        let ttl = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).max(1);
        let mut lease = self.client.lease_client();
        Ok(self.within(lease.grant(ttl, None)).await?.id())
    }

    /// Revokes a store lease, with the keys under it.
    pub async fn revoke(&self, lease: i64) -> Result<(), Error> {
        let mut client = self.client.lease_client();
        self.within(client.revoke(lease)).await.map(|_| ())
    }

    /// Opens the stream by which a store lease is kept.
    pub async fn keep_alive(&self, lease: i64) -> Result<KeepAlive, Error> {
        let mut client = self.client.lease_client();
        let (keeper, answers) = self.within(client.keep_alive(lease)).await?;
        Ok(KeepAlive { keeper, answers, timeout: self.timeout })
    }

    /// Watches ranges on one stream, from a revision on.
    pub async fn watch(&self, ranges: &[Range], from: i64) -> Result<Watch, Error> {
        let mut client = self.client.watch_client();
        let mut ranges = ranges.iter();
        let Some(first) = ranges.next() else {
            return Err(Error::Settings("nothing to watch".into()));
        };
        let options = |range: &Range| {
            let options = etcd::WatchOptions::new().with_start_revision(from);
            Some(if range.to.is_empty() { options } else { options.with_range(&*range.to) })
        };
        let mut stream = self.within(client.watch(&*first.from, options(first))).await?;
        for range in ranges {
            stream.watch(&*range.from, options(range)).await?;
        }
        Ok(Watch { stream })
    }

    /// Waits for an answer, for no longer than the settings allow.
    async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, etcd::Error>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Error::Unreachable(format!("{}: no answer", self.endpoint))),
        }
    }
}

/// Keeps a store lease.
#[derive(Debug)]
pub struct KeepAlive {
    /// Asks.
    keeper: etcd::LeaseKeeper,
    /// Is answered.
    answers: etcd::LeaseKeepAliveStream,
    /// How long an answer may take.
    timeout: Duration,
}

impl KeepAlive {
    /// Renews the lease; says for how long. An answer that does not come is a connection that is dead.
    pub async fn renew(&mut self) -> Result<Duration, Error> {
        let silent = |_| Error::Unreachable("no answer to a keep-alive".into());
        self.keeper.keep_alive().await?;
        let answer = tokio::time::timeout(self.timeout, self.answers.message());
        match answer.await.map_err(silent)?? {
            Some(answer) if answer.ttl() > 0 => {
                Ok(Duration::from_secs(answer.ttl().unsigned_abs()))
            }
            Some(_) => Err(Error::LeaseGone),
            None => Err(Error::Unreachable("the keep-alive stream ended".into())),
        }
    }
}

/// Changes as they happen.
#[derive(Debug)]
pub struct Watch {
    /// The stream.
    stream: etcd::WatchStream,
}

impl Watch {
    /// The next changes, which belong to one revision; none when a watch was set up or reported its progress.
    pub async fn next(&mut self) -> Result<(Header, Vec<Change>), Error> {
        let Some(response) = self.stream.message().await? else {
            return Err(Error::Unreachable("the watch ended".into()));
        };
        if response.canceled() {
            return Err(match response.compact_revision() {
                0 => {
                    Error::Answer(format!("the watch was cancelled: {}", response.cancel_reason()))
                }
                revision => Error::Compacted(revision),
            });
        }
        let changes = response.events().iter().filter_map(|event| {
            let kv = event.kv()?;
            Some(match event.event_type() {
                etcd::EventType::Put => Change::Put(known(kv.clone())),
                etcd::EventType::Delete => {
                    Change::Delete(text(kv.key()).into_owned(), kv.mod_revision())
                }
            })
        });
        Ok((header(response.header()), changes.collect()))
    }
}

/// A key that is no text is shown as well as it can be; none of ours is.
fn text(key: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(key)
}

/// A key as we know it.
fn known(kv: etcd::KeyValue) -> Kv {
    let (create_revision, mod_revision, lease) =
        (kv.create_revision(), kv.mod_revision(), kv.lease());
    let (key, value) = kv.into_key_value();
    Kv { key: text(&key).into_owned(), value, create_revision, mod_revision, lease }
}

/// A header as we know it.
fn header(header: Option<&etcd::ResponseHeader>) -> Header {
    header.map_or_else(Header::default, |header| Header {
        cluster_id: header.cluster_id(),
        revision: header.revision(),
    })
}

/// A demand as etcd knows it.
fn compare(compare: &Compare) -> etcd::Compare {
    use etcd::CompareOp::{Equal, Greater};
    match compare {
        Compare::Absent(key) => etcd::Compare::create_revision(&**key, Equal, 0),
        Compare::Present(key) => etcd::Compare::create_revision(&**key, Greater, 0),
        Compare::ModRevision(key, revision) => {
            etcd::Compare::mod_revision(&**key, Equal, *revision)
        }
        Compare::CreateRevision(key, revision) => {
            etcd::Compare::create_revision(&**key, Equal, *revision)
        }
    }
}

/// An operation as etcd knows it.
fn operation(op: &Op) -> etcd::TxnOp {
    match op {
        Op::Put { key, value, lease } => {
            let options = (*lease != 0).then(|| etcd::PutOptions::new().with_lease(*lease));
            etcd::TxnOp::put(&**key, &**value, options)
        }
        Op::Delete(range) => {
            let options = etcd::DeleteOptions::new();
            let options = (!range.to.is_empty()).then(|| options.with_range(&*range.to));
            etcd::TxnOp::delete(&*range.from, options)
        }
        Op::Get(range) => {
            let options = etcd::GetOptions::new();
            let options = (!range.to.is_empty()).then(|| options.with_range(&*range.to));
            etcd::TxnOp::get(&*range.from, options)
        }
    }
}

impl From<etcd::Error> for Error {
    fn from(error: etcd::Error) -> Self {
        match error {
            etcd::Error::TransportError(error) => Self::Unreachable(error.to_string()),
            etcd::Error::GRpcStatus(status) => match status.code() {
                tonic::Code::Unavailable | tonic::Code::Cancelled | tonic::Code::Unknown => {
                    Self::Unreachable(status.message().to_owned())
                }
                tonic::Code::PermissionDenied | tonic::Code::Unauthenticated => {
                    Self::Denied(status.message().to_owned())
                }
                _ => Self::Answer(status.message().to_owned()),
            },
            error => Self::Answer(error.to_string()),
        }
    }
}
