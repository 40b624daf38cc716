//! Streams: leases that are kept, and changes as they happen.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use etcd_client as etcd;

use super::{
    client::{MESSAGE_LIMIT, Store, header, known, text},
    error::Error,
    kv::{Change, Header, Range},
    refusal::{FORGOTTEN, of, of_cancel, unreachable},
};

impl Store {
    /// Opens the stream by which a store lease is kept.
    pub async fn keep_alive(&self, lease: i64) -> Result<KeepAlive, Error> {
        self.renew_token().await?;
        let mut client = self.client.lease_client();
        let (keeper, answers) = self.within(client.keep_alive(lease)).await?;
        Ok(KeepAlive { keeper, answers, store: self.clone(), lease })
    }

    /// Watches ranges on one stream, from a revision on (0: from now on). It is there when this returns: what happens
    /// afterwards is seen.
    pub async fn watch(&self, ranges: &[Range], from: i64) -> Result<Watch, Error> {
        self.renew_token().await?;
        let Some((first, others)) = ranges.split_first() else {
            return Err(Error::Settings("nothing to watch".into()));
        };
        let options = |range: &Range| {
            let options = etcd::WatchOptions::new().with_start_revision(from);
            Some(if range.to.is_empty() { options } else { options.with_range(&*range.to) })
        };
        let mut client = self.client.watch_client().max_decoding_message_size(MESSAGE_LIMIT);
        let opened = async {
            let mut stream = client.watch(&*first.from, options(first)).await?;
            for range in others {
                stream.watch(&*range.from, options(range)).await?;
            }
            Ok(stream)
        };
        let stream = self.within(opened).await?;
        let endpoint = Arc::clone(&self.endpoint);
        let mut watch = Watch { stream, endpoint, early: VecDeque::new() };
        let late = |_| unreachable(&self.endpoint, "it does not begin to watch");
        let begun = tokio::time::timeout(self.timeout, watch.begin(ranges.len()));
        begun.await.map_err(late)??;
        Ok(watch)
    }
}

/// Keeps a store lease.
#[derive(Debug)]
pub struct KeepAlive {
    /// Asks.
    keeper: etcd::LeaseKeeper,
    /// Is answered.
    answers: etcd::LeaseKeepAliveStream,
    /// By whom.
    store: Store,
    /// The lease.
    lease: i64,
}

impl KeepAlive {
    /// Renews the lease; says for how long. An answer that does not come is a connection that is dead: this is how
    /// whoever keeps a lease notices, without questions of HTTP/2's own.
    pub async fn renew(&mut self) -> Result<Duration, Error> {
        match self.ask().await {
            // The stream was opened with a token that etcd has forgotten since; later versions of 3.5 look at it each time.
            Err(Error::Unreachable(why)) if why.contains(FORGOTTEN) => {
                *self = self.store.keep_alive(self.lease).await?;
                self.ask().await
            }
            outcome => outcome,
        }
    }

    /// Asks once.
    async fn ask(&mut self) -> Result<Duration, Error> {
        let asked = async {
            self.keeper.keep_alive().await?;
            self.answers.message().await
        };
        let endpoint = &self.store.endpoint;
        let silent = |_| unreachable(endpoint, "no answer to a keep-alive");
        let answer = tokio::time::timeout(self.store.timeout, asked).await.map_err(silent)?;
        match answer.map_err(|error| of(error, endpoint))? {
            Some(answer) if answer.ttl() > 0 => {
                Ok(Duration::from_secs(answer.ttl().unsigned_abs()))
            }
            Some(_) => Err(Error::LeaseGone),
            None => Err(unreachable(endpoint, "the keep-alive stream ended")),
        }
    }
}

/// Changes as they happen.
#[derive(Debug)]
pub struct Watch {
    /// The stream.
    stream: etcd::WatchStream,
    /// From whom.
    endpoint: Arc<str>,
    /// What came while other ranges were still being set up.
    early: VecDeque<(Header, Vec<Change>)>,
}

impl Watch {
    /// The next changes, of one of the ranges, in their order; none when etcd only reports how far it is. A transaction
    /// that changes several ranges arrives as one answer for each of them. May be dropped at any moment without loss.
    pub async fn next(&mut self) -> Result<(Header, Vec<Change>), Error> {
        loop {
            if let Some(early) = self.early.pop_front() {
                return Ok(early);
            }
            if let Some(changes) = self.answer().await? {
                return Ok(changes);
            }
        }
    }

    /// Waits until every range is watched.
    async fn begin(&mut self, ranges: usize) -> Result<(), Error> {
        let mut begun = 0;
        while begun < ranges {
            match self.answer().await? {
                None => begun += 1,
                Some(early) => self.early.push_back(early),
            }
        }
        Ok(())
    }

    /// The next answer; `None` for one that says that a range is watched.
    async fn answer(&mut self) -> Result<Option<(Header, Vec<Change>)>, Error> {
        let answer = self.stream.message().await.map_err(|error| of(error, &self.endpoint))?;
        let Some(answer) = answer else {
            return Err(unreachable(&self.endpoint, "the watch ended"));
        };
        if answer.compact_revision() != 0 {
            return Err(Error::Compacted(answer.compact_revision()));
        }
        if answer.canceled() {
            return Err(of_cancel(answer.cancel_reason(), &self.endpoint));
        }
        if answer.created() {
            return Ok(None);
        }
        let changes = answer.events().iter().filter_map(|event| {
            let kv = event.kv()?;
            Some(match event.event_type() {
                etcd::EventType::Put => Change::Put(known(kv.clone())),
                etcd::EventType::Delete => {
                    Change::Delete(text(kv.key()).into_owned(), kv.mod_revision())
                }
            })
        });
        Ok(Some((header(answer.header()), changes.collect())))
    }
}
