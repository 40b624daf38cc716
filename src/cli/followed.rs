//! Keys of the store as they are, once or with each change.

use std::{collections::BTreeMap, time::Duration};

use crate::base::time;
use crate::store::{self, Change, Kv, Range, Store, Watch};

use super::store_client::{Fleet, refusal};

/// How long changes are gathered before they are shown: a rollout has many at once.
const BURST: Duration = Duration::from_millis(50);
/// How long a watch that was lost is tried again.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long to wait in between.
const AGAIN: Duration = Duration::from_millis(500);

/// Ranges of keys, and the watch on them.
#[derive(Debug)]
pub struct Followed {
    /// The store.
    pub fleet: Fleet,
    /// How to reach it again.
    connection: store::Settings,
    /// The ranges.
    ranges: Vec<Range>,
    /// What was in them.
    pub cache: BTreeMap<String, Kv>,
    /// Changes of them; `None` before the first list, and after a lost connection.
    watch: Option<Watch>,
}

impl Followed {
    /// Nothing is asked yet.
    pub fn new(fleet: &Fleet, connection: &store::Settings, ranges: Vec<Range>) -> Self {
        let (fleet, connection) = (fleet.clone(), connection.clone());
        Self { fleet, connection, ranges, cache: BTreeMap::new(), watch: None }
    }

    /// The keys that begin so.
    pub fn below<'s>(&'s self, prefix: &str) -> impl Iterator<Item = &'s Kv> + use<'s> {
        let range = Range::prefix(prefix);
        self.cache.range(range.from..range.to).map(|(_, kv)| kv)
    }

    /// Reads everything at one revision, which is returned.
    pub async fn read(&mut self) -> anyhow::Result<i64> {
        let (header, kvs) = self.fleet.store.list_all(&self.ranges).await.map_err(refusal)?;
        self.cache = kvs.into_iter().map(|kv| (kv.key.clone(), kv)).collect();
        Ok(header.revision)
    }

    /// Follows these ranges from the next time on, which reads them anew when they are others than before.
    pub fn follow(&mut self, ranges: Vec<Range>) -> bool {
        let others = ranges != self.ranges;
        if others {
            self.ranges = ranges;
            self.watch = None;
        }
        others
    }

    /// Reads everything, and each time it is called again waits for the next changes.
    pub async fn next(&mut self) -> anyhow::Result<()> {
        let Some(mut watch) = self.watch.take() else {
            return self.begin().await;
        };
        match self.changes(&mut watch).await {
            Ok(()) => self.watch = Some(watch),
            // Whatever ended the watch: the list says what it would have said.
            Err(_) => self.begin_again().await?,
        }
        Ok(())
    }

    /// Lists and watches from there on.
    async fn begin(&mut self) -> anyhow::Result<()> {
        let revision = self.read().await?;
        let watch = self.fleet.store.watch(&self.ranges, revision + 1).await.map_err(refusal)?;
        self.watch = Some(watch);
        Ok(())
    }

    /// Does so after a lost connection, for as long as an outage of a member may take.
    async fn begin_again(&mut self) -> anyhow::Result<()> {
        let until = time::now().mono + PATIENCE;
        for member in 0.. {
            match self.begin().await {
                Ok(()) => break,
                Err(error) if time::now().mono > until => return Err(error),
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
            if let Ok(store) = Store::connect(&self.connection, member).await {
                self.fleet.store = store;
            }
        }
        Ok(())
    }

    /// Waits for the next changes and those that come with them.
    async fn changes(&mut self, watch: &mut Watch) -> Result<(), store::Error> {
        let mut changed = false;
        while !changed {
            changed = self.take(watch.next().await?.1);
        }
        let until = tokio::time::Instant::from_std(time::now().mono + BURST);
        while let Ok(more) = tokio::time::timeout_at(until, watch.next()).await {
            self.take(more?.1);
        }
        Ok(())
    }

    /// Takes changes in; false when there were none.
    fn take(&mut self, changes: Vec<Change>) -> bool {
        let any = !changes.is_empty();
        for change in changes {
            match change {
                Change::Put(kv) => {
                    self.cache.insert(kv.key.clone(), kv);
                }
                Change::Delete(key, _) => {
                    self.cache.remove(&key);
                }
            }
        }
        any
    }
}
