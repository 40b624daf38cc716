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
    turn::{Canary, Claimed, Turn, TurnKind},
};
use crate::spec::Amount;
use crate::store::{Error, Keys, Kv, Listing, Op, Range, Store, Txn};

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

/// Who stood before this node in the queue when that was learned last, and the revision that made that one's queue key.
pub(super) type Place = (NodeName, i64);

/// Who entered the queue last, by the answer to a transaction that entered it.
pub(super) fn last(listings: &[Listing]) -> Option<Place> {
    let entered = listings.first()?.kvs.first()?;
    Some((NodeName::new(String::from_utf8_lossy(&entered.value)), entered.mod_revision))
}

/// Reads whether that one still stands there, and what it passed on when it claimed; `None`: it left without a claim.
pub(super) async fn stand(
    store: &Store,
    keys: &Keys,
    set: &SetKey,
    facts: &Facts,
    (ahead, made): &Place,
) -> Result<Option<Look>, Error> {
    let reads = [keys.queue(set, ahead), keys.claimed(set)];
    let then = reads.map(|key| Op::Get(Range::key(key))).to_vec();
    let outcome = store.txn(&Txn { then, ..Txn::default() }).await?;
    let [queue, claimed] = [0, 1].map(|at| outcome.listings.get(at)?.kvs.first());
    let look = Look { under: facts.own.queue.unwrap_or(0), ..Look::default() };
    let claimed: Option<Claimed> = claimed.and_then(|kv| records::read(&kv.value));
    Ok(match claimed.filter(|claimed| claimed.queue == *made) {
        _ if queue.is_some_and(|kv| kv.create_revision == *made) => {
            Some(Look { ahead: Some(ahead.clone()), ..look })
        }
        // It was the head, so this node is now.
        Some(claimed) if claimed.set == facts.local.revision => {
            Some(Look { passed: claimed.more, ..look })
        }
        Some(_) => Some(look),
        None => None,
    })
}

/// Finds who stands before this node: costs the store a look at the whole queue.
pub(super) async fn find(
    store: &Store,
    keys: &Keys,
    set: &SetKey,
    facts: &Facts,
) -> Result<Option<Place>, Error> {
    let under = facts.own.queue.unwrap_or(0);
    let then = vec![Op::Before(Range::prefix(keys.queues(set)), under)];
    let outcome = store.txn(&Txn { then, ..Txn::default() }).await?;
    let ahead = outcome.listings.first().and_then(|listing| listing.kvs.first());
    Ok(ahead.map(|kv| (node(kv), kv.create_revision)))
}

/// Counts, as the head of the queue or as a canary node.
pub(super) async fn count(
    store: &Store,
    keys: &Keys,
    set: &SetKey,
    facts: &Facts,
) -> Result<Look, Error> {
    let mut canaries = Vec::new();
    loop {
        let (look, found) = count_once(store, keys, set, facts, &canaries).await?;
        // Which nodes are of the canary is learned with the same count; whether these are available wants another one.
        if found == canaries {
            return Ok(look);
        }
        canaries = found;
    }
}

/// One count, with the canary nodes that are known so far: of the turns, and of the template, only what is asked for.
async fn count_once(
    store: &Store,
    keys: &Keys,
    set: &SetKey,
    facts: &Facts,
    known: &[NodeName],
) -> Result<(Look, Vec<NodeName>), Error> {
    let (local, rollout) = (&facts.local, &facts.local.rollout);
    let under = facts.own.queue.unwrap_or(0);
    let keeps = rollout.partition != Amount::Count(0);
    let by_turn = keeps || rollout.surges() || rollout.ignore_absent || !rollout.domain.is_empty();
    let mut then = vec![
        Op::Count(Range::prefix(keys.members(set))),
        Op::Count(Range::prefix(keys.availables(set))),
        Op::Get(Range::prefix(keys.canaries(set))),
    ];
    if by_turn {
        then.push(Op::Get(Range::prefix(keys.turns(set))));
    }
    if keeps {
        then.push(Op::Count(Range::prefix(keys.at_all(set, local.to.as_str()))));
    }
    if rollout.ignore_absent {
        then.push(Op::Names(Range::prefix(keys.members(set))));
        then.push(Op::Names(Range::prefix(keys.alive_all())));
        then.push(Op::Names(Range::prefix(keys.availables(set))));
    }
    then.extend(known.iter().map(|canary| Op::Get(Range::key(keys.available(set, canary)))));
    let outcome = store.txn(&Txn { then, ..Txn::default() }).await?;
    let mut listings = outcome.listings.into_iter();
    let mut one = || listings.next().unwrap_or_default();
    let (members, available) = (one().count, one().count);
    let canaries: Vec<(NodeName, String)> = one()
        .kvs
        .iter()
        .map(|kv| {
            (node(kv), records::read::<Canary>(&kv.value).map(|it| it.hash).unwrap_or_default())
        })
        .collect();
    let turns = if by_turn { one().kvs } else { Vec::new() };
    let turns = turns.iter().map(|kv| (node(kv), turn(&kv.value))).collect::<Vec<_>>();
    let updated = if keeps { one().count } else { 0 };
    let absent = if rollout.ignore_absent { absent(&one(), &[one(), one()], &turns) } else { 0 };
    let up: BTreeSet<NodeName> =
        distinct(listings.flat_map(|listing| listing.kvs).map(|kv| node(&kv)));
    let found = canaries.iter().map(|(node, _)| node.clone()).collect();
    let canaries = canaries
        .into_iter()
        .map(|(node, hash)| (TemplateHash::new(hash), up.contains(&node)))
        .collect();
    let look = Look {
        under,
        ahead: None,
        passed: 0,
        counted: true,
        members,
        available,
        absent,
        turns,
        updated,
        canaries,
    };
    Ok((look, found))
}

/// How many members give no sign of life and have no turn. One whose pod is available is alive, though its sign of life may
/// have ended first.
fn absent(members: &Listing, signs: &[Listing; 2], turns: &[(NodeName, Turn)]) -> usize {
    let alive = signs.iter().flat_map(|signs| signs.kvs.iter().map(node));
    let here: BTreeSet<NodeName> =
        distinct(alive.chain(turns.iter().map(|(node, _)| node.clone())));
    members.kvs.iter().filter(|kv| !here.contains(&node(kv))).count()
}
