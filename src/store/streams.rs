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
        let mut client = self.client.watch_client().max_decoding_message_size(MESSAGE_LIMIT);
        let opened = async {
            let mut stream = client.watch(&*first.from, Some(options(first, from))).await?;
            for range in others {
                stream.watch(&*range.from, Some(options(range, from))).await?;
            }
            Ok(stream)
        };
        let stream = self.within(opened).await?;
        let endpoint = Arc::clone(&self.endpoint);
        let mut watch = Watch {
            stream,
            endpoint,
            early: VecDeque::new(),
            beside: Vec::new(),
            left: Vec::new(),
            other: None,
        };
        self.begun(watch.begin(ranges.len())).await?;
        Ok(watch)
    }

    /// Watches these ranges beside those of a watch from now on, in place of those that were watched beside them before: another
    /// stream for thousands of nodes that wait would cost etcd a thousand times as much as another range. They are watched when this
    /// returns.
    pub async fn watch_beside(&self, watch: &mut Watch, ranges: &[Range]) -> Result<(), Error> {
        watch.other = None;
        if self.authenticated && !ranges.is_empty() {
            // etcd asks by what token the stream was opened, and may have forgotten that.
            watch.other = Some(Box::new(self.watch(ranges, 0).await?));
            return Ok(());
        }
        let asked = async {
            for id in watch.beside.drain(..) {
                watch.stream.cancel(id).await?;
                watch.left.push(id);
            }
            for range in ranges {
                watch.stream.watch(&*range.from, Some(options(range, 0))).await?;
            }
            Ok(())
        };
        self.within(asked).await?;
        watch.beside = self.begun(watch.begin(ranges.len())).await?;
        Ok(())
    }

    /// What a watch that begins comes to, within the time of an answer.
    async fn begun<T>(&self, begin: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let late = |_| unreachable(&self.endpoint, "it does not begin to watch");
        tokio::time::timeout(self.timeout, begin).await.map_err(late)?
    }
}

/// How a range is watched from a revision on.
fn options(range: &Range, from: i64) -> etcd::WatchOptions {
    let options = etcd::WatchOptions::new().with_start_revision(from);
    if range.to.is_empty() { options } else { options.with_range(&*range.to) }
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
    /// What is watched beside the rest, by etcd's numbers.
    beside: Vec<i64>,
    /// What was, and of which etcd has not said yet that it no longer is.
    left: Vec<i64>,
    /// What is watched beside the rest, where that takes another stream.
    other: Option<Box<Watch>>,
}

/// What etcd says on a stream.
enum Answer {
    /// A range is watched from now on.
    Begun(i64),
    /// A range no longer is, as it was asked.
    Left,
    /// Changes.
    Changes(Header, Vec<Change>),
}

impl Watch {
    /// The next changes, of one of the ranges, in their order; none when etcd only reports how far it is. A transaction
    /// that changes several ranges arrives as one answer for each of them. May be dropped at any moment without loss.
    pub async fn next(&mut self) -> Result<(Header, Vec<Change>), Error> {
        loop {
            if let Some(early) = self.early.pop_front() {
                return Ok(early);
            }
            let Some(other) = &mut self.other else {
                if let Answer::Changes(header, changes) = self.answer().await? {
                    return Ok((header, changes));
                }
                continue;
            };
            let next = Box::pin(other.next());
            let answer = tokio::select! {
                // cancel-safe: a stream that is asked later loses nothing.
                changes = next => return changes,
                answer = answer(&mut self.stream, &self.endpoint, &mut self.left) => answer?,
            };
            if let Answer::Changes(header, changes) = answer {
                return Ok((header, changes));
            }
        }
    }

    /// Waits until so many ranges more are watched; etcd's numbers of them.
    async fn begin(&mut self, ranges: usize) -> Result<Vec<i64>, Error> {
        let mut begun = Vec::new();
        while begun.len() < ranges {
            match self.answer().await? {
                Answer::Begun(id) => begun.push(id),
                Answer::Left => {}
                Answer::Changes(header, early) => self.early.push_back((header, early)),
            }
        }
        Ok(begun)
    }

    /// The next answer.
    async fn answer(&mut self) -> Result<Answer, Error> {
        answer(&mut self.stream, &self.endpoint, &mut self.left).await
    }
}

/// The next answer on a stream of which some ranges were left.
async fn answer(
    stream: &mut etcd::WatchStream,
    endpoint: &str,
    left: &mut Vec<i64>,
) -> Result<Answer, Error> {
    let answer = stream.message().await.map_err(|error| of(error, endpoint))?;
    let Some(answer) = answer else {
        return Err(unreachable(endpoint, "the watch ended"));
    };
    if answer.canceled()
        && let Some(at) = left.iter().position(|id| *id == answer.watch_id())
    {
        left.swap_remove(at);
        return Ok(Answer::Left);
    }
    if answer.compact_revision() != 0 {
        return Err(Error::Compacted(answer.compact_revision()));
    }
    if answer.canceled() {
        return Err(of_cancel(answer.cancel_reason(), endpoint));
    }
    if answer.created() {
        return Ok(Answer::Begun(answer.watch_id()));
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
    Ok(Answer::Changes(header(answer.header()), changes.collect()))
}
