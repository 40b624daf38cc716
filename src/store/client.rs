//! The client: a connection to one of the endpoints, and the operations over it.
//!
//! Whoever holds a [`Store`] sees errors as they are; [`Error::is_connection`] says that [`Store::connect`] to the next
//! endpoint may help. Nothing here retries what may have happened already: a token that etcd no longer knows is renewed
//! and the request sent again, for it was refused before anything was done, and reads that do not fit are read in parts.

use std::{sync::Arc, time::Duration};

use etcd_client as etcd;

use super::{
    error::Error,
    kv::{Compare, Header, Kv, Listing, Op, Range, Txn, TxnOutcome},
    refusal::{of, unreachable},
};

/// How large an answer may be. Ranges are read in parts, so only a watch that catches up comes near.
pub(super) const MESSAGE_LIMIT: usize = 64 << 20;

/// How many keys one answer may hold, to begin with.
const PAGE: i64 = 1000;

/// How often a list begins again because etcd forgot the revision that it was read at.
const LISTS: usize = 3;

/// A connection to the store.
#[derive(Clone)]
pub struct Store {
    /// etcd's client over this connection.
    pub(super) client: etcd::Client,
    /// The endpoint.
    pub(super) endpoint: Arc<str>,
    /// How long an answer may take.
    pub(super) timeout: Duration,
    /// Whether etcd knows us by a token, which can expire.
    pub(super) authenticated: bool,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// What a member says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Who answered, and how far it is.
    pub header: Header,
    /// Its version.
    pub version: String,
    /// The size of its files in bytes, with what is free in them.
    pub size: u64,
    /// Whether it leads.
    pub leads: bool,
    /// Whether it knows who leads.
    pub has_leader: bool,
    /// What is wrong with it: alarms.
    pub problems: Vec<String>,
}

impl Store {
    /// Over a connection that exists.
    pub(super) fn new(
        client: etcd::Client,
        endpoint: &str,
        timeout: Duration,
        authenticated: bool,
    ) -> Self {
        Self { client, endpoint: endpoint.into(), timeout, authenticated }
    }

    /// The endpoint that answers.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Asks for nothing, which needs no right: whether etcd answers, has a leader, and knows us.
    pub async fn ping(&self) -> Result<Header, Error> {
        Ok(self.txn(&Txn::default()).await?.header)
    }

    /// A stream is opened with the token that there is and refused only later: it is renewed before that.
    pub(super) async fn renew_token(&self) -> Result<(), Error> {
        if self.authenticated { self.ping().await.map(drop) } else { Ok(()) }
    }

    /// What the member says of itself.
    pub async fn status(&self) -> Result<Status, Error> {
        let mut client = self.client.maintenance_client();
        let answer = self.within(client.status()).await?;
        let member = answer.header().map_or(0, etcd::ResponseHeader::member_id);
        Ok(Status {
            header: header(answer.header()),
            version: answer.version().to_owned(),
            size: u64::try_from(answer.db_size()).unwrap_or(0),
            leads: answer.leader() != 0 && answer.leader() == member,
            has_leader: answer.leader() != 0,
            problems: answer.errors().to_vec(),
        })
    }

    /// Reads a range whole, at one revision.
    #[cfg(feature = "testing")]
    pub async fn list(&self, range: &Range) -> Result<Listing, Error> {
        let (header, kvs) = self.list_all(std::slice::from_ref(range)).await?;
        Ok(Listing { header, count: kvs.len(), kvs })
    }

    /// Reads one key.
    pub async fn get(&self, key: &str) -> Result<(Header, Option<Kv>), Error> {
        let (header, kvs) = self.list_all(&[Range::key(key)]).await?;
        Ok((header, kvs.into_iter().next()))
    }

    /// Reads several ranges at one revision, in as many parts as it takes.
    pub async fn list_all(&self, ranges: &[Range]) -> Result<(Header, Vec<Kv>), Error> {
        let mut page = PAGE;
        let mut begun = 0;
        loop {
            match self.list_by(ranges, page).await {
                Err(Error::Answer(text))
                    if page > 1 && text.contains("message length too large") =>
                {
                    page /= 4;
                }
                Err(Error::Compacted(_)) if begun < LISTS => begun += 1,
                outcome => return outcome,
            }
        }
    }

    /// Reads several ranges: the beginning of each in one transaction, then the rest of each at that revision.
    async fn list_by(&self, ranges: &[Range], page: i64) -> Result<(Header, Vec<Kv>), Error> {
        let page = page.max(1);
        let first =
            |range: &Range| etcd::TxnOp::get(&*range.from, Some(options(range).with_limit(page)));
        let request = etcd::Txn::new().and_then(ranges.iter().map(first).collect::<Vec<_>>());
        let answer = self.transact(request).await?;
        let header = header(answer.header());
        let mut kvs = Vec::new();
        for (range, found) in ranges.iter().zip(answer.op_responses()) {
            let etcd::TxnOpResponse::Get(mut found) = found else { continue };
            loop {
                let more = found.more();
                kvs.extend(found.take_kvs().into_iter().map(known));
                let Some(last) = kvs.last().filter(|_| more) else { break };
                let next = format!("{}\0", last.key);
                let options = options(range).with_limit(page).with_revision(header.revision);
                let mut client = self.client.kv_client().max_decoding_message_size(MESSAGE_LIMIT);
                found = self.within(client.get(next, Some(options))).await?;
            }
        }
        Ok((header, kvs))
    }

    /// Runs a transaction. When no answer comes, it may have been done all the same: whoever goes on reads first.
    pub async fn txn(&self, txn: &Txn) -> Result<TxnOutcome, Error> {
        let compares: Vec<etcd::Compare> = txn.when.iter().map(compare).collect();
        let then: Vec<etcd::TxnOp> = txn.then.iter().map(operation).collect();
        let otherwise: Vec<etcd::TxnOp> = txn.otherwise.iter().map(operation).collect();
        let request = etcd::Txn::new().when(compares).and_then(then).or_else(otherwise);
        let answer = self.transact(request).await?;
        let header = header(answer.header());
        let listings = answer.op_responses().into_iter().filter_map(|answer| match answer {
            etcd::TxnOpResponse::Get(mut found) => {
                let count = usize::try_from(found.count()).unwrap_or(0);
                let kvs = found.take_kvs().into_iter().map(known).collect();
                Some(Listing { header, kvs, count })
            }
            _ => None,
        });
        Ok(TxnOutcome { succeeded: answer.succeeded(), header, listings: listings.collect() })
    }

    /// Sends a transaction.
    async fn transact(&self, request: etcd::Txn) -> Result<etcd::TxnResponse, Error> {
        let mut client = self.client.kv_client().max_decoding_message_size(MESSAGE_LIMIT);
        self.within(client.txn(request)).await
    }

    /// Grants a store lease.
    pub async fn grant(&self, ttl: Duration) -> Result<i64, Error> {
        let ttl = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).max(1);
        let mut lease = self.client.lease_client();
        Ok(self.within(lease.grant(ttl, None)).await?.id())
    }

    /// Revokes a store lease, with the keys under it.
    #[cfg(feature = "testing")]
    pub async fn revoke(&self, lease: i64) -> Result<(), Error> {
        let mut client = self.client.lease_client();
        self.within(client.revoke(lease)).await.map(|_| ())
    }

    /// Waits for an answer, for no longer than the settings allow.
    pub(super) async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, etcd::Error>>,
    ) -> Result<T, Error> {
        let late = |_| unreachable(&self.endpoint, &format!("no answer within {:?}", self.timeout));
        let answer = tokio::time::timeout(self.timeout, answer).await.map_err(late)?;
        answer.map_err(|error| of(error, &self.endpoint))
    }
}

/// A key that is no text is shown as well as it can be; none of ours is.
pub(super) fn text(key: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(key)
}

/// A key as we know it.
pub(super) fn known(kv: etcd::KeyValue) -> Kv {
    let (create_revision, mod_revision, lease) =
        (kv.create_revision(), kv.mod_revision(), kv.lease());
    let (key, value) = kv.into_key_value();
    Kv { key: text(&key).into_owned(), value, create_revision, mod_revision, lease }
}

/// A header as we know it.
pub(super) fn header(header: Option<&etcd::ResponseHeader>) -> Header {
    header.map_or_else(Header::default, |header| Header {
        cluster_id: header.cluster_id(),
        revision: header.revision(),
    })
}

/// A range as etcd knows it, without where it begins.
fn options(range: &Range) -> etcd::GetOptions {
    let options = etcd::GetOptions::new();
    if range.to.is_empty() { options } else { options.with_range(&*range.to) }
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
        Op::Get(range) => etcd::TxnOp::get(&*range.from, Some(options(range))),
        Op::Count(range) => etcd::TxnOp::get(&*range.from, Some(options(range).with_count_only())),
        Op::Names(range) => etcd::TxnOp::get(&*range.from, Some(options(range).with_keys_only())),
        Op::Before(range, revision) => {
            let options = options(range)
                .with_max_create_revision(revision - 1)
                .with_sort(etcd::SortTarget::Create, etcd::SortOrder::Descend)
                .with_limit(1)
                .with_keys_only();
            etcd::TxnOp::get(&*range.from, Some(options))
        }
    }
}
