//! What the keeper of turns reads: how others stand in a set, at one revision.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::base::{
    ids::{NodeName, SetKey, TemplateHash},
    keyed::distinct,
};
use crate::fleet::records;
use crate::rollout::{
    admit::Look,
    protocol::Facts,
    turn::{Canary, Turn, TurnKind},
};
use crate::store::{Change, Error, Keys, Kv, Listing, Op, Range, Store, Txn, Watch};

/// The node that a key below a set ends with.
fn node(kv: &Kv) -> NodeName {
    NodeName::new(kv.key.rsplit('/').next().unwrap_or_default())
}

/// A record as JSON.
pub(super) fn json<T: Serialize>(record: &T) -> String {
    serde_json::to_value(record).unwrap_or_default().to_string()
}

/// A turn. One that cannot be read is a turn all the same: it goes nowhere, so the node that holds it takes another direction.
pub(super) fn turn(value: &[u8]) -> Turn {
    records::read(value).unwrap_or_else(|| Turn {
        kind: TurnKind::Replace,
        from: String::new(),
        to: TemplateHash::new(""),
        since: jiff::Timestamp::UNIX_EPOCH,
        boot_id: String::new(),
        domain: String::new(),
        failed: None,
    })
}

/// How many stand in the queue, and the turns that are open.
pub(super) async fn room(
    store: &Store,
    keys: &Keys,
    set: &SetKey,
) -> Result<(usize, Vec<Turn>), Error> {
    let then =
        vec![Op::Count(Range::prefix(keys.queues(set))), Op::Get(Range::prefix(keys.turns(set)))];
    let outcome = store.txn(&Txn { then, ..Txn::default() }).await?;
    let mut listings = outcome.listings.into_iter();
    let queued = listings.next().unwrap_or_default().count;
    let turns = listings.next().unwrap_or_default().kvs;
    Ok((queued, turns.iter().map(|kv| turn(&kv.value)).collect()))
}

/// Reads what a node that waits has to know, and the revision at which that was.
pub(super) async fn look(
    store: &Store,
    keys: &Keys,
    set: &SetKey,
    facts: &Facts,
) -> Result<(Look, i64), Error> {
    let mut canaries = Vec::new();
    loop {
        let (look, revision, found) = look_once(store, keys, set, facts, &canaries).await?;
        // Which nodes are of the canary is learned with the same look; whether these are available wants another one.
        if found == canaries {
            return Ok((look, revision));
        }
        canaries = found;
    }
}

/// One look, with the canary nodes that are known so far.
async fn look_once(
    store: &Store,
    keys: &Keys,
    set: &SetKey,
    facts: &Facts,
    known: &[NodeName],
) -> Result<(Look, i64, Vec<NodeName>), Error> {
    let local = &facts.local;
    let under = facts.own.queue.unwrap_or(0);
    let queue = Range::prefix(keys.queues(set));
    let mut then = vec![
        Op::Count(queue.clone()),
        Op::Count(Range::prefix(keys.members(set))),
        Op::Count(Range::prefix(keys.availables(set))),
        Op::Get(Range::prefix(keys.turns(set))),
        Op::Count(Range::prefix(keys.at_all(set, local.to.as_str()))),
        Op::Get(Range::prefix(keys.canaries(set))),
    ];
    if under != 0 {
        then.push(Op::Before(queue, under));
    }
    if local.rollout.ignore_absent {
        then.push(Op::Names(Range::prefix(keys.members(set))));
        then.push(Op::Names(Range::prefix(keys.alive_all())));
        then.push(Op::Names(Range::prefix(keys.availables(set))));
    }
    then.extend(known.iter().map(|canary| Op::Get(Range::key(keys.available(set, canary)))));
    let outcome = store.txn(&Txn { then, ..Txn::default() }).await?;
    let mut listings = outcome.listings.into_iter();
    let mut one = || listings.next().unwrap_or_default();
    let (queued, members, available) = (one().count, one().count, one().count);
    let turns = one().kvs.iter().map(|kv| (node(kv), turn(&kv.value))).collect::<Vec<_>>();
    let updated = one().count;
    let canaries: Vec<(NodeName, String)> = one()
        .kvs
        .iter()
        .map(|kv| {
            (node(kv), records::read::<Canary>(&kv.value).map(|it| it.hash).unwrap_or_default())
        })
        .collect();
    let ahead = if under == 0 { None } else { one().kvs.first().map(node) };
    let absent =
        if local.rollout.ignore_absent { absent(&one(), &[one(), one()], &turns) } else { 0 };
    let up: BTreeSet<NodeName> =
        distinct(listings.flat_map(|listing| listing.kvs).map(|kv| node(&kv)));
    let found = canaries.iter().map(|(node, _)| node.clone()).collect();
    let canaries = canaries
        .into_iter()
        .map(|(node, hash)| (TemplateHash::new(hash), up.contains(&node)))
        .collect();
    let look = Look { under, ahead, queued, members, available, absent, turns, updated, canaries };
    Ok((look, outcome.header.revision, found))
}

/// How many members give no sign of life and have no turn. One whose pod is available is alive, though its sign of life may
/// have ended first.
fn absent(members: &Listing, signs: &[Listing; 2], turns: &[(NodeName, Turn)]) -> usize {
    let alive = signs.iter().flat_map(|signs| signs.kvs.iter().map(node));
    let here: BTreeSet<NodeName> =
        distinct(alive.chain(turns.iter().map(|(node, _)| node.clone())));
    members.kvs.iter().filter(|kv| !here.contains(&node(kv))).count()
}

/// What others do that those wait for who cannot go on.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// What is listened to.
    ranges: Vec<Range>,
    /// How.
    watch: Option<Watch>,
}

impl Waiting {
    /// Listens to these from a revision on; what is listened to already goes on.
    pub(super) async fn listen(
        &mut self,
        store: &Store,
        ranges: Vec<Range>,
        from: i64,
    ) -> Result<(), Error> {
        if self.ranges == ranges {
            return Ok(());
        }
        self.watch = None;
        if !ranges.is_empty() {
            self.watch = Some(store.watch(&ranges, from).await?);
        }
        self.ranges = ranges;
        Ok(())
    }

    /// What is heard next; may be dropped at any moment without loss.
    pub(super) async fn next(&mut self) -> Result<Vec<Change>, Error> {
        match &mut self.watch {
            Some(watch) => Ok(watch.next().await?.1),
            None => std::future::pending().await,
        }
    }
}
