//! The transactions of the protocol as values: what each demands, and what it writes. The agent sends exactly these to
//! etcd, and the model in the tests runs exactly these.

use std::time::Duration;

use crate::base::ids::TemplateHash;

use super::protocol::{Act, Facts, Local};
use super::turn::{Claimed, Turn, TurnKind, Verdict};

/// A key of one set, seen from one node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// The set itself.
    Set,
    /// The node's: it should run the set.
    Member,
    /// The node's: its pod is available.
    Available,
    /// The node's: it is being disturbed.
    Turn,
    /// The node's: it waits.
    Queue,
    /// A template failed.
    Condemned(TemplateHash),
    /// A template's canary nodes were well once.
    Baked(TemplateHash),
    /// And not yet for long enough.
    Baking(TemplateHash),
}

/// What a transaction demands. Beside these each demands that the node's record is as this session wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Demand {
    /// The key is not there.
    Absent(Key),
    /// The key is there.
    Present(Key),
    /// The key was last changed by this revision.
    Changed(Key, i64),
    /// The key was made by this revision.
    Made(Key, i64),
}

/// What a transaction writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// `available`, under the node's store lease.
    Show(TemplateHash),
    /// `queue`, under the node's store lease, and `entered`.
    Enter,
    /// `turn`.
    Turn(Turn),
    /// `member` as it is now, with what is kept beside it.
    Member,
    /// `condemned`.
    Condemn(TemplateHash, Verdict),
    /// `baked`, and `baking` under a store lease of so long that nobody renews.
    Bake(TemplateHash, Duration),
    /// `claimed`: what the next head may go by.
    Pass(Claimed),
    /// Deletes a key.
    Delete(Key),
}

/// A transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deal {
    /// What it demands.
    pub when: Vec<Demand>,
    /// What it writes.
    pub then: Vec<Write>,
}

/// What a new turn says of where and when it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beginning<'a> {
    /// The boot of the host.
    pub boot_id: &'a str,
    /// Its clock.
    pub since: jiff::Timestamp,
}

/// The transaction of an act.
pub fn deal(act: &Act, facts: &Facts, beginning: Beginning<'_>) -> Deal {
    use Demand::{Absent, Changed, Present};
    let (local, own) = (&facts.local, &facts.own);
    let held = own.turn.as_ref();
    let in_turn = || Changed(Key::Turn, held.map_or(0, |held| held.revision));
    let fence = fence(local);
    let (when, then) = match act {
        Act::Show(hash) => {
            let turn = if held.is_some() { in_turn() } else { Absent(Key::Turn) };
            (vec![Present(Key::Member), turn], vec![Write::Show(hash.clone())])
        }
        Act::Hide => (Vec::new(), vec![Write::Delete(Key::Available)]),
        Act::Enter => {
            let own = [Present(Key::Available), Absent(Key::Turn), Absent(Key::Queue)];
            (fence.into_iter().chain(own).collect(), vec![Write::Enter, Write::Member])
        }
        Act::Leave => (Vec::new(), vec![Write::Delete(Key::Queue)]),
        Act::Claim { more } => claim(facts, beginning, *more),
        Act::Repair => {
            let own = [Present(Key::Member), Absent(Key::Available), Absent(Key::Turn)];
            let when = fence.into_iter().chain(own).chain(past_canary(facts)).collect();
            (when, vec![Write::Delete(Key::Queue), Write::Turn(begun(facts, beginning))])
        }
        Act::Retarget => {
            let kind = held.map_or(TurnKind::Replace, |held| held.turn.kind);
            // Where the host came from stays what it was: what lies between may never have run.
            let from = held.map(|held| held.turn.from.clone()).unwrap_or_default();
            let when = fence.into_iter().chain([in_turn()]).collect();
            (when, vec![Write::Turn(Turn { kind, from, ..begun(facts, beginning) })])
        }
        Act::Withdraw(hash) => (
            vec![Present(Key::Member), in_turn()],
            vec![Write::Delete(Key::Turn), Write::Show(hash.clone())],
        ),
        Act::Done => (
            vec![Present(Key::Member), in_turn()],
            vec![Write::Delete(Key::Turn), Write::Show(local.to.clone()), Write::Member],
        ),
        Act::Fail { verdict, condemn } => {
            let failed = |turn: &Turn| Turn { failed: Some(verdict.clone()), ..turn.clone() };
            let mut then: Vec<Write> =
                held.map(|held| Write::Turn(failed(&held.turn))).into_iter().collect();
            if *condemn {
                then.push(Write::Condemn(local.to.clone(), verdict.clone()));
            }
            (vec![in_turn()], then)
        }
        Act::StartBake => (
            vec![Changed(Key::Set, local.revision), Absent(Key::Baked(local.to.clone()))],
            vec![Write::Bake(local.to.clone(), local.rollout.bake)],
        ),
        Act::ResetBake => (
            Vec::new(),
            vec![
                Write::Delete(Key::Baked(local.to.clone())),
                Write::Delete(Key::Baking(local.to.clone())),
            ],
        ),
    };
    Deal { when, then }
}

/// The set as it was read, and no word against its template.
fn fence(local: &Local) -> [Demand; 2] {
    [Demand::Changed(Key::Set, local.revision), Demand::Absent(Key::Condemned(local.to.clone()))]
}

/// Takes the turn, as the head of the queue.
fn claim(facts: &Facts, beginning: Beginning<'_>, more: usize) -> (Vec<Demand>, Vec<Write>) {
    let queue = facts.own.queue.unwrap_or(0);
    let own = [
        Demand::Present(Key::Member),
        Demand::Present(Key::Available),
        Demand::Absent(Key::Turn),
        Demand::Made(Key::Queue, queue),
    ];
    let when = fence(&facts.local).into_iter().chain(own).chain(past_canary(facts)).collect();
    let turn = begun(facts, beginning);
    let mut then = vec![Write::Delete(Key::Queue)];
    if turn.kind != TurnKind::Surge {
        then.push(Write::Delete(Key::Available));
    }
    then.push(Write::Turn(turn));
    then.push(Write::Pass(Claimed { queue, more, set: facts.local.revision }));
    (when, then)
}

/// The turn that begins.
fn begun(facts: &Facts, beginning: Beginning<'_>) -> Turn {
    let local = &facts.local;
    Turn {
        kind: local.kind(),
        from: local.old.as_ref().map(|pod| pod.hash.to_string()).unwrap_or_default(),
        to: local.to.clone(),
        since: beginning.since,
        boot_id: beginning.boot_id.to_owned(),
        domain: local.domain.clone(),
        failed: None,
    }
}

/// What a node that comes after the canary nodes demands of them.
fn past_canary(facts: &Facts) -> Vec<Demand> {
    let local = &facts.local;
    if !super::admit::waits_for_canary(&local.rollout, &local.mover()) {
        return Vec::new();
    }
    let to = || local.to.clone();
    vec![Demand::Present(Key::Baked(to())), Demand::Absent(Key::Baking(to()))]
}
