//! `podward delete node`: what a host that will not come back left in the store.

use std::io::Write;

use crate::base::ids::NodeName;
use crate::store::{Compare, Keys, Kv, Op, Range, Txn};

use super::delete::Args;
use super::desk::Desk;
use super::failure::Failure;

/// How many operations etcd takes in one transaction by default.
const OPS: usize = 100;

/// Takes everything that a node wrote out of the store; its labels and taints of operators stay for its return.
pub async fn run(desk: &Desk, args: &Args, name: &str, out: &mut dyn Write) -> anyhow::Result<()> {
    let (keys, node) = (desk.keys(), NodeName::new(name));
    let kvs = desk
        .read(&[
            Range::key(keys.node(&node)),
            Range::key(keys.alive(&node)),
            Range::key(keys.memberships(&node)),
            Range::prefix(keys.pods_of(&node)),
            Range::prefix(keys.events_of(&node)),
            Range::prefix(keys.fleet_sets()),
        ])
        .await?;
    let left: Vec<&Kv> = kvs.iter().filter(|kv| belongs(keys, kv, name)).collect();
    if left.is_empty() {
        if args.ignore_not_found {
            return Ok(());
        }
        anyhow::bail!("nodes {name:?} not found");
    }
    let alive = keys.alive(&node);
    if !args.force && left.iter().any(|kv| kv.key == alive) {
        return Err(alive_still(name));
    }
    let when = if args.force { Vec::new() } else { vec![Compare::Absent(alive)] };
    // The node's record goes last: while something is left of it, it is there to be deleted again.
    let mut gone: Vec<&str> = left.iter().map(|kv| kv.key.as_str()).collect();
    let record = keys.node(&node);
    gone.sort_by_key(|key| *key == record);
    for some in gone.chunks(OPS) {
        let then = some.iter().map(|key| Op::Delete(Range::key(*key))).collect();
        let txn = Txn { when: when.clone(), then, otherwise: Vec::new() };
        if !desk.commit(&txn).await? {
            return Err(alive_still(name));
        }
    }
    writeln!(out, "node {name:?} deleted")?;
    Ok(())
}

/// Whether a node wrote a key.
fn belongs(keys: &Keys, kv: &Kv, node: &str) -> bool {
    // Below the sets, a node's keys end with its name.
    !kv.key.starts_with(&keys.fleet_sets()) || kv.key.rsplit('/').next() == Some(node)
}

/// Why a node that is alive stays.
fn alive_still(name: &str) -> anyhow::Error {
    Failure::hinted(
        format!("node {name:?} is alive, and would write its record again"),
        "stop its agent first and wait for its store lease to end, or use --force",
    )
}
