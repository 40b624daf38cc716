//! `podward delete node`: what a host that will not come back left in the store.

use std::{collections::BTreeMap, io::Write};

use crate::base::ids::{NodeName, SetKey};
use crate::store::{Compare, Keys, Kv, Op, Range, Txn};

use super::delete::Args;
use super::desk::Desk;
use super::failure::Failure;

/// How many operations etcd takes in one transaction by default.
const OPS: usize = 100;

/// What a node wrote, in the parts that go at once.
#[derive(Debug, Default)]
struct Left {
    /// The keys of each set.
    sets: BTreeMap<String, Vec<Kv>>,
    /// Everything else but its record.
    others: Vec<Kv>,
    /// Its record.
    record: Option<Kv>,
    /// Whether it gives a sign of life.
    alive: bool,
}

/// Takes everything that a node wrote out of the store; its labels and taints of operators stay for its return.
pub async fn run(desk: &Desk, args: &Args, name: &str, out: &mut dyn Write) -> anyhow::Result<()> {
    let node = NodeName::new(name);
    let left = left(desk, &node).await?;
    if left.is_empty() {
        if args.ignore_not_found {
            return Ok(());
        }
        anyhow::bail!("nodes {name:?} not found");
    }
    let mut left = left;
    for attempt in 0.. {
        if left.alive && !args.force {
            return Err(alive_still(name));
        }
        // What a node that is alive writes anew afterwards is its own again.
        let done = remove(desk, &node, &left, args.force).await?;
        if done && args.force {
            break;
        }
        left = self::left(desk, &node).await?;
        if left.is_empty() {
            break;
        }
        desk.after_conflict(attempt, &format!("what node {name:?} wrote")).await?;
    }
    writeln!(out, "node {name:?} deleted")?;
    Ok(())
}

impl Left {
    /// Whether nothing is left.
    fn is_empty(&self) -> bool {
        self.sets.is_empty() && self.others.is_empty() && self.record.is_none()
    }
}

/// Reads what is left of a node.
async fn left(desk: &Desk, node: &NodeName) -> anyhow::Result<Left> {
    let keys = desk.keys();
    let (record, alive, sets) = (keys.node(node), keys.alive(node), keys.fleet_sets());
    let kvs = desk
        .read(&[
            Range::key(&record),
            Range::key(&alive),
            Range::key(keys.memberships(node)),
            Range::prefix(keys.pods_of(node)),
            Range::prefix(keys.events_of(node)),
            Range::prefix(&sets),
        ])
        .await?;
    let mut left = Left::default();
    for kv in kvs {
        if let Some(below) = kv.key.strip_prefix(&sets) {
            // Below the sets, a node's keys end with its name.
            if below.rsplit('/').next() == Some(node.as_str()) {
                let set: Vec<&str> = below.splitn(3, '/').take(2).collect();
                left.sets.entry(set.join("/")).or_default().push(kv);
            }
        } else if kv.key == record {
            left.record = Some(kv);
        } else {
            left.alive |= kv.key == alive;
            left.others.push(kv);
        }
    }
    Ok(left)
}

/// Removes it: each set's keys at once and only as they were read, so that no turn and no word of an available pod stays
/// behind without its member; the record last, since while something is left it is there to be deleted again. False when
/// something had changed.
async fn remove(desk: &Desk, node: &NodeName, left: &Left, force: bool) -> anyhow::Result<bool> {
    let keys = desk.keys();
    let mut when: Vec<Compare> =
        if force { Vec::new() } else { vec![Compare::Absent(keys.alive(node))] };
    // The node's session ends with its record: until then it must be the one that wrote what was read.
    let record = keys.node(node);
    let written = left.record.as_ref().map_or(0, |kv| kv.mod_revision);
    when.push(Compare::ModRevision(record.clone(), written));
    let mut parts = Vec::new();
    for set in left.sets.values() {
        parts.push(of_set(keys, node, set));
    }
    let gone = |kv: &Kv| Op::Delete(Range::key(&*kv.key));
    parts.extend(left.others.iter().map(|kv| (Vec::new(), vec![gone(kv)])));
    parts.push((Vec::new(), vec![Op::Delete(Range::key(record))]));
    let mut txn = Txn { when: when.clone(), ..Txn::default() };
    for (demands, ops) in parts {
        if txn.then.len() + ops.len() > OPS {
            let full = std::mem::replace(&mut txn, Txn { when: when.clone(), ..Txn::default() });
            if !desk.commit(&full).await? {
                return Ok(false);
            }
        }
        txn.when.extend(demands);
        txn.then.extend(ops);
    }
    desk.commit(&txn).await
}

/// What must hold for the keys of one set, and their removal. A member's index changes with it, so that it is known whole.
fn of_set(keys: &Keys, node: &NodeName, kvs: &[Kv]) -> (Vec<Compare>, Vec<Op>) {
    let sets = keys.fleet_sets();
    let Some(set) = kvs.first().and_then(|kv| {
        let mut parts = kv.key.strip_prefix(&sets)?.split('/');
        Some(SetKey::new(parts.next()?, parts.next()?))
    }) else {
        return (Vec::new(), Vec::new());
    };
    let member = keys.member(&set, node);
    let revision = kvs.iter().find(|kv| kv.key == member).map_or(0, |kv| kv.mod_revision);
    let mut gone: Vec<String> = kvs.iter().map(|kv| kv.key.clone()).collect();
    gone.extend([keys.available(&set, node), keys.queue(&set, node), keys.turn(&set, node)]);
    gone.sort_unstable();
    gone.dedup();
    let ops = gone.into_iter().map(|key| Op::Delete(Range::key(key))).collect();
    (vec![Compare::ModRevision(member, revision)], ops)
}

/// Why a node that is alive stays.
fn alive_still(name: &str) -> anyhow::Error {
    Failure::hinted(
        format!("node {name:?} is alive, and would write its record again"),
        "stop its agent first and wait for its store lease to end, or use --force",
    )
}
