//! `podward rollout release`: takes its turn from a node that does not end it.

use std::{io::Write, process::ExitCode};

use clap::Args as ClapArgs;

use crate::base::ids::{NodeName, SetKey};
use crate::fleet::records;
use crate::rollout::turn::Turn;
use crate::store::{Compare, Kv, Op, Range, Txn};

use super::{
    Globals, client,
    desk::{Desk, Place},
    failure::{Failure, Outcome},
    namespace::OneNamespace,
    resource::{self, Kind},
};

/// What `rollout release` is asked for.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The set
    #[arg(value_name = "ds/NAME")]
    pub set: String,
    /// The node
    #[arg(value_name = "NODE")]
    pub node: String,
    #[command(flatten)]
    pub namespace: OneNamespace,
}

/// Releases one node.
pub fn run(args: &Args, globals: &Globals, out: &mut dyn Write) -> Outcome {
    let (Kind::DaemonSet, name) = resource::named(&args.set)? else {
        return Err(Failure::usage("turns are those of a set", Some("write ds/NAME NODE".into())));
    };
    let set = SetKey::new(&args.namespace.namespace, &name);
    let node = if args.node.contains('/') {
        let (Kind::Node, node) = resource::named(&args.node)? else {
            let hint = Some("write ds/NAME NODE".to_owned());
            return Err(Failure::usage(format!("{:?} is no node", args.node), hint));
        };
        node
    } else {
        args.node.clone()
    };
    client::converse(async {
        let desk = Desk::open(globals).await?;
        let told = release(&desk, &set, &NodeName::new(&node)).await?;
        writeln!(out, "daemonset.apps/{name} released node {node}\n  {told}")?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Takes the node's turn; says what follows.
async fn release(desk: &Desk, set: &SetKey, node: &NodeName) -> anyhow::Result<String> {
    let place = Place::Set(set.clone());
    for attempt in 0.. {
        let keys = desk.keys();
        let (turn, alive, record) = (keys.turn(set, node), keys.alive(node), keys.node(node));
        let own = own_keys(desk, set, node).await?;
        let find = |key: &str| own.iter().find(|kv| kv.key == key);
        let Some(held) = find(&turn) else {
            return Err(no_turn(set, node, find(&keys.member(set, node)).is_some()));
        };
        let revision = |key: &str| find(key).map_or(0, |kv| kv.mod_revision);
        let mut when = vec![
            Compare::ModRevision(turn.clone(), held.mod_revision),
            Compare::ModRevision(record.clone(), revision(&record)),
        ];
        let lives = find(&alive).is_some();
        let gone: Vec<String> = if lives {
            vec![turn]
        } else {
            let member = keys.member(set, node);
            when.push(Compare::Absent(alive.clone()));
            when.push(Compare::ModRevision(member.clone(), revision(&member)));
            let known = [keys.available(set, node), keys.queue(set, node)];
            let found = own.iter().map(|kv| kv.key.clone());
            let mut gone: Vec<String> =
                found.filter(|key| *key != record && *key != alive).chain(known).collect();
            gone.sort_unstable();
            gone.dedup();
            gone
        };
        let mut then: Vec<Op> = gone.into_iter().map(|key| Op::Delete(Range::key(key))).collect();
        // Written anew, it ends the node's session: the node reads its own keys again.
        then.extend(find(&record).map(|kv| Op::put(&record, kv.value.clone())));
        if desk.commit(&Txn { when, then, otherwise: Vec::new() }).await? {
            return Ok(follows(held, lives));
        }
        desk.after_conflict(attempt, &format!("the turn of node {node} for {}", place.shown()))
            .await?;
    }
    unreachable!("the last conflict is an error")
}

/// What a node wrote of one set, with its record and its sign of life.
async fn own_keys(desk: &Desk, set: &SetKey, node: &NodeName) -> anyhow::Result<Vec<Kv>> {
    let keys = desk.keys();
    let all = keys.of_set(set);
    let ranges = [Range::key(keys.node(node)), Range::key(keys.alive(node)), Range::prefix(all)];
    let mut kvs = desk.read(&ranges).await?;
    kvs.retain(|kv| kv.key.rsplit('/').next() == Some(node.as_str()));
    Ok(kvs)
}

/// Why there is nothing to release.
fn no_turn(set: &SetKey, node: &NodeName, member: bool) -> anyhow::Error {
    let hint = if member {
        "`podward rollout status` names the nodes that have one; a node that will not come back goes by \
         `podward delete node`"
    } else {
        "the node does not run this set; `podward rollout status` names the nodes that have a turn"
    };
    Failure::hinted(
        format!("node {node} is not in its turn for daemonsets.apps {:?}", set.name),
        hint,
    )
}

/// What was done, and what follows.
fn follows(held: &Kv, lives: bool) -> String {
    let turn = records::read::<Turn>(&held.value);
    let was = match turn.and_then(|turn| turn.failed) {
        Some(verdict) => format!("its turn had failed ({})", verdict.reason),
        None => "its turn was open".to_owned(),
    };
    if lives {
        format!(
            "{was}; it is alive: it counts as unavailable until its pod is available, and takes another turn to get there"
        )
    } else {
        format!(
            "{was}; it gives no sign of life: it no longer counts, and the others go on; when it comes back, it counts again"
        )
    }
}
