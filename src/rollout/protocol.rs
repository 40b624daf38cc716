//! What a node does next for one set: a function of what it knows of its own keys, its own pods, and what it read.
//!
//! A node's own keys are exact within one session with the store, for each of its transactions demands that the node's
//! record is as this session wrote it, and whoever else touches them (an operator's release) touches that record too.

use std::time::Duration;

use crate::base::ids::TemplateHash;
use crate::spec::Rollout;

use super::admit::{Gates, Look, Mover, Wait, admit, canary_is_well, gate};
use super::turn::{Turn, TurnKind, Verdict};

/// A node's own keys of one set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own {
    /// Whether it is a member.
    pub member: bool,
    /// The template that it says is available here.
    pub available: Option<TemplateHash>,
    /// Its turn.
    pub turn: Option<Held>,
    /// The revision that made its queue key.
    pub queue: Option<i64>,
}

/// A turn that a node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The turn.
    pub turn: Turn,
    /// The revision that changed it last.
    pub revision: i64,
}

/// A pod of the set on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodFact {
    /// Its template.
    pub hash: TemplateHash,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it has been that for long enough.
    pub available: bool,
}

/// What a node knows of itself and one set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// The revision of the set's key.
    pub revision: i64,
    /// The template that the node is to have.
    pub to: TemplateHash,
    /// Whether that is the set's own template, and not one that the fleet went back to.
    pub own_template: bool,
    /// How updates go.
    pub rollout: Rollout,
    /// The pod of that template.
    pub new: Option<PodFact>,
    /// The pod of another template; of several one that is available.
    pub old: Option<PodFact>,
    /// Whether there is a pod beside these two, of a template between theirs, which is not gone yet.
    pub leftover: bool,
    /// Why a new pod could not start here.
    pub ready: Result<(), String>,
    /// Its value of the domain label.
    pub domain: String,
    /// Whether it is of the canary.
    pub canary: bool,
    /// Why the template is not tried again on this host within this turn.
    pub barred: Option<Verdict>,
}

/// All that the next step depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Of itself.
    pub local: Local,
    /// Its own keys.
    pub own: Own,
    /// The set's gates.
    pub gates: Gates,
    /// What was read last while waiting.
    pub look: Option<Look>,
    /// How long the turn has taken, by this host's own clock.
    pub in_turn_for: Duration,
    /// The verdict that a turn which takes too long gets.
    pub overdue: Verdict,
    /// Whether this host may be disturbing its pod at this moment, because it was told that it may.
    pub granted: bool,
}

/// What a node does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing: it is as it should be.
    Rest,
    /// Nothing until something changes.
    Wait(Wait),
    /// Read where this node stands in the queue, and what was passed on to it.
    Look,
    /// Count: read all that [`Look`] holds.
    Count,
    /// Join the queue, when its turn to do so has come and there is room.
    Join,
    /// Take back from this host's own hands the leave to disturb its pod, and look again at what it has done by then.
    Revoke,
    /// One transaction.
    Act(Act),
}

/// One transaction, which [`super::deal`] spells out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Say that a pod of this template is available.
    Show(TemplateHash),
    /// Say that none is.
    Hide,
    /// Join the queue.
    Enter,
    /// Leave it.
    Leave,
    /// Take the turn, and let so many more do so on the same count.
    Claim {
        /// How many.
        more: usize,
    },
    /// Take a turn with a pod that is not available.
    Repair,
    /// Go somewhere else in the same turn.
    Retarget,
    /// Give the turn back: nothing was disturbed.
    Withdraw(TemplateHash),
    /// End the turn.
    Done,
    /// Say that the turn failed, and whether its template is condemned.
    Fail {
        /// Why.
        verdict: Verdict,
        /// Whether every node is to go back.
        condemn: bool,
    },
    /// Say that the canary nodes are well.
    StartBake,
    /// Say that they no longer are.
    ResetBake,
}

impl Local {
    /// In what way its pod would be disturbed. One that is ready, but not for long enough, serves: it is not ill.
    pub fn kind(&self) -> TurnKind {
        match &self.old {
            Some(old) if !old.ready => TurnKind::Repair,
            _ if self.rollout.surges() => TurnKind::Surge,
            _ => TurnKind::Replace,
        }
    }

    /// The node as one that would take its turn.
    pub fn mover(&self) -> Mover {
        Mover {
            to: self.to.clone(),
            kind: self.kind(),
            domain: self.domain.clone(),
            canary: self.canary,
        }
    }

    /// The template of which a pod is available here.
    pub fn serving(&self) -> Option<&TemplateHash> {
        let available = |pod: &'_ &PodFact| pod.available;
        let pod = self.new.as_ref().filter(available).or(self.old.as_ref().filter(available));
        pod.map(|pod| &pod.hash)
    }

    /// Whether there is a pod, and it is of another template.
    pub fn outdated(&self) -> bool {
        self.old.is_some() && self.new.is_none()
    }
}

/// Whether the node may disturb its pod now: it holds a turn for this very template, and is not about to give it back. A pod
/// that is available is disturbed only in the way for which the turn was taken.
/// Whoever carries that out asks this again right before, of the pod as it is then.
pub fn permitted(local: &Local, held: Option<&Turn>) -> bool {
    let fits =
        |turn: &Turn| turn.kind == local.kind() || local.old.as_ref().is_none_or(|old| !old.ready);
    held.is_some_and(|turn| {
        turn.to == local.to
            && local.barred.is_none()
            && fits(turn)
            && undisturbed(local, turn).is_none()
    })
}

/// What a node does next.
pub fn next(facts: &Facts) -> Step {
    if !facts.own.member {
        return Step::Rest;
    }
    match &facts.own.turn {
        Some(held) => in_turn(facts, held),
        None => out_of_turn(facts),
    }
}

/// What a node does next in its turn.
fn in_turn(facts: &Facts, held: &Held) -> Step {
    let (local, turn) = (&facts.local, &held.turn);
    // Whatever ends a turn comes after the leave that it gave: else a set that changes back and forth while the transaction
    // is under way would let the pod be stopped outside of any turn.
    let ending = |act| if facts.granted { Step::Revoke } else { Step::Act(act) };
    if local.new.as_ref().is_some_and(|pod| pod.available) {
        // The old pod goes first: a set that changes back would find it there, outside of any turn.
        let gone = local.old.is_none();
        return if gone { ending(Act::Done) } else { Step::Wait(Wait::InTurn) };
    }
    if let (Some(verdict), true) = (&local.barred, turn.to == local.to) {
        return match &turn.failed {
            None => fail(facts, verdict.clone()),
            Some(failed) => Step::Wait(Wait::Failed(failed.message.clone())),
        };
    }
    if let Some(back) = undisturbed(local, turn) {
        return ending(Act::Withdraw(back));
    }
    if turn.to != local.to {
        return Step::Act(Act::Retarget);
    }
    // Beside the new pod the old one goes on, or does not.
    if turn.kind == TurnKind::Surge
        && let Some(act) = truth(facts)
    {
        return Step::Act(act);
    }
    match &turn.failed {
        Some(failed) => Step::Wait(Wait::Failed(failed.message.clone())),
        None if facts.in_turn_for >= local.rollout.deadline => fail(facts, facts.overdue.clone()),
        None => Step::Wait(Wait::InTurn),
    }
}

/// The template that still serves when a turn is to be given back: nothing was disturbed yet, and what the turn was for no
/// longer holds.
fn undisturbed(local: &Local, turn: &Turn) -> Option<TemplateHash> {
    let alone = local.new.is_none() && !local.leftover;
    let serving = local.old.as_ref().filter(|pod| pod.available && alone)?;
    let void = turn.to != local.to
        || local.rollout.paused
        || local.rollout.on_delete
        || turn.kind != local.kind()
        || local.ready.is_err();
    void.then(|| serving.hash.clone())
}

/// A turn that failed. What was gone back to is not gone back from.
fn fail(facts: &Facts, verdict: Verdict) -> Step {
    let rollout = &facts.local.rollout;
    let condemn = rollout.rollback && !rollout.rolled_back && facts.local.own_template;
    Step::Act(Act::Fail { verdict, condemn })
}

/// What makes the node's word on its pod true, if it is not.
fn truth(facts: &Facts) -> Option<Act> {
    match (facts.local.serving(), &facts.own.available) {
        (Some(serving), said) if said.as_ref() != Some(serving) => Some(Act::Show(serving.clone())),
        (None, Some(_)) => Some(Act::Hide),
        _ => None,
    }
}

/// What a node does next that holds no turn.
fn out_of_turn(facts: &Facts) -> Step {
    let local = &facts.local;
    if let Some(act) = truth(facts) {
        return Step::Act(act);
    }
    if let Some(step) = bake(facts) {
        return step;
    }
    if !local.outdated() {
        return leave(facts).unwrap_or(Step::Rest);
    }
    let mover = local.mover();
    match candidate(facts, &mover) {
        // Nobody claims now, and then everybody goes on where it stands.
        Err(Wait::Paused) => return Step::Wait(Wait::Paused),
        Err(wait) => return leave(facts).unwrap_or(Step::Wait(wait)),
        Ok(()) => {}
    }
    if mover.kind == TurnKind::Repair {
        return Step::Act(Act::Repair);
    }
    if facts.own.available.is_none() {
        return leave(facts).unwrap_or(Step::Wait(Wait::NotAvailable));
    }
    let Some(queue) = facts.own.queue else { return Step::Join };
    match facts.look.as_ref().filter(|look| look.under == queue) {
        None => Step::Look,
        Some(Look { ahead: Some(_), .. }) => Step::Wait(Wait::Queue),
        Some(look) if look.passed == 0 && !look.counted => Step::Count,
        Some(look) => match admit(&local.rollout, &mover, look) {
            Ok(more) => Step::Act(Act::Claim { more }),
            Err(wait) => Step::Wait(wait),
        },
    }
}

/// Whether the node would take its turn at all.
fn candidate(facts: &Facts, mover: &Mover) -> Result<(), Wait> {
    let local = &facts.local;
    if local.rollout.on_delete {
        return Err(Wait::OnDelete);
    }
    gate(&local.rollout, &facts.gates, mover)?;
    local.ready.clone().map_err(Wait::NotReady)?;
    // Which nodes keep the old template is counted at the head of the queue, where a pod that is not available never stands.
    let keep = local.rollout.partition.of(100);
    if mover.kind == TurnKind::Repair && keep > 0 {
        return Err(Wait::Partition { keep });
    }
    Ok(())
}

/// The step out of the queue of a node that has nothing to wait for there.
fn leave(facts: &Facts) -> Option<Step> {
    facts.own.queue.map(|_| Step::Act(Act::Leave))
}

/// What a canary node does about the time that its kind must be well.
fn bake(facts: &Facts) -> Option<Step> {
    let (local, gates) = (&facts.local, &facts.gates);
    let ours = local.canary && !local.rollout.bake.is_zero() && local.own_template;
    if !ours || local.rollout.promoted == local.to.as_str() {
        return None;
    }
    let well = local.new.as_ref().is_some_and(|pod| pod.available);
    match (well, gates.baked.contains(&local.to)) {
        (false, true) => Some(Step::Act(Act::ResetBake)),
        (true, false) => match facts.look.as_ref().filter(|look| look.counted) {
            None => Some(Step::Count),
            Some(look) if canary_is_well(&local.to, look) => Some(Step::Act(Act::StartBake)),
            Some(_) => None,
        },
        _ => None,
    }
}
