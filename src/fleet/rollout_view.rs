//! Where a rollout stands, for people: kubectl's sentence, what holds it, and a line for each node that matters.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSetStatus;

use crate::base::{
    ids::{NodeName, TemplateHash},
    time,
};
use crate::rollout::{
    admit::allowed_unavailable,
    turn::{Condemned, Turn, TurnKind},
};
use crate::spec::Rollout;

use super::fold::{Wanted, set_status};
use super::records::Member;

/// What is known of a set and of its nodes, at one revision of the store.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The set's name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// The identity of its template, where it can be told.
    pub hash: Option<TemplateHash>,
    /// How its updates go.
    pub rollout: Rollout,
    /// Who should run it.
    pub members: Vec<(NodeName, Member)>,
    /// Who says that its pod is available.
    pub available: BTreeSet<NodeName>,
    /// Who is in its turn.
    pub turns: BTreeMap<NodeName, Turn>,
    /// Who waits for one, first come first.
    pub queue: Vec<NodeName>,
    /// The template of each canary node.
    pub canaries: BTreeMap<NodeName, String>,
    /// Who gives a sign of life.
    pub alive: BTreeSet<NodeName>,
    /// The templates that failed.
    pub condemned: BTreeMap<TemplateHash, Condemned>,
    /// The templates whose canary nodes were well once.
    pub baked: BTreeSet<TemplateHash>,
    /// And not yet for long enough.
    pub baking: BTreeSet<TemplateHash>,
    /// The history, oldest first: number and identity.
    pub revisions: Vec<(i64, TemplateHash)>,
    /// Since when those without a sign of life have been seen without it.
    pub silent: BTreeMap<NodeName, Timestamp>,
}

/// How a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Its turn failed.
    Failed,
    /// It died in its turn.
    Lost,
    /// It is in its turn.
    InTurn,
    /// It gives no sign of life.
    Absent,
    /// It has the template, but its pod is not available.
    Unavailable,
    /// It waits.
    Waiting,
}

impl State {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Lost => "lost in its turn",
            Self::InTurn => "in its turn",
            Self::Absent => "absent",
            Self::Unavailable => "not available",
            Self::Waiting => "waiting",
        }
    }
}

/// A node that matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The node.
    pub node: NodeName,
    /// How it stands.
    pub state: State,
    /// Since when, where that is known.
    pub since: Option<Timestamp>,
    /// Its place in the queue, from 1.
    pub place: Option<usize>,
    /// Why, and the way out.
    pub text: String,
}

impl Line {
    /// The line with its age.
    pub fn shown(&self, now: Timestamp) -> String {
        let age = self.since.map_or_else(String::new, |since| {
            format!(" for {}", time::age(time::elapsed(since, now)))
        });
        let place = self.place.map_or_else(String::new, |place| format!(", place {place}"));
        let colon = if self.text.is_empty() { "" } else { ": " };
        format!("{} {}{age}{place}{colon}{}", self.node, self.state.as_str(), self.text)
    }
}

/// Where a rollout stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Story {
    /// kubectl's sentence.
    pub sentence: String,
    /// Whether it is over and well.
    pub done: bool,
    /// Why it is over and not well.
    pub failed: Option<String>,
    /// How many nodes have the template, and how many should.
    pub share: (i32, i32),
    /// What holds the whole set.
    pub notes: Vec<String>,
    /// The nodes that matter, the worst first.
    pub lines: Vec<Line>,
}

/// What nodes add up to, with those left out that do not count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count {
    /// How many nodes count.
    pub nodes: usize,
    /// How many of them are not available.
    pub unavailable: usize,
    /// How many may be.
    pub allowed: usize,
}

impl Scene {
    /// Where the rollout stands.
    pub fn story(&self) -> Story {
        let counted: Vec<(NodeName, Member)> =
            self.members.iter().filter(|(node, _)| !self.ignored(node)).cloned().collect();
        let set = Wanted { uid: &self.uid, generation: self.generation, hash: self.hash.as_ref() };
        let status = set_status(set, &counted, &self.alive, 0);
        let lines = self.lines();
        let (sentence, done) = sentence(&self.name, self.generation, &self.rollout, &status);
        Story {
            sentence,
            done,
            failed: self.rolled_back(),
            share: (status.updated_number_scheduled.unwrap_or(0), status.desired_number_scheduled),
            notes: self.notes(&lines),
            lines,
        }
    }

    /// Whether a node is without a sign of life and without a turn, and does not count for that.
    pub(super) fn ignored(&self, node: &NodeName) -> bool {
        self.rollout.ignore_absent && self.absent(node)
    }

    /// Whether a node is without a sign of life and without a turn.
    fn absent(&self, node: &NodeName) -> bool {
        !self.alive.contains(node) && !self.turns.contains_key(node)
    }

    /// How many nodes count, and how many are not available.
    pub(super) fn count(&self) -> Count {
        let nodes = self.members.iter().filter(|(node, _)| !self.ignored(node));
        let (mut all, mut available) = (0, 0);
        for (node, _) in nodes {
            all += 1;
            available += usize::from(self.available.contains(node));
        }
        let allowed = allowed_unavailable(&self.rollout, all);
        Count { nodes: all, unavailable: all - available, allowed }
    }

    /// How many nodes count, how many are not available, and how many may be.
    pub fn budget(&self) -> (usize, usize, usize) {
        let Count { nodes, unavailable, allowed } = self.count();
        (nodes, unavailable, allowed)
    }

    /// The number of the revision with this identity, as messages write it.
    pub fn revision(&self, hash: &str) -> String {
        let found = self.revisions.iter().rev().find(|(_, known)| known.as_str() == hash);
        found.map_or_else(
            || format!("the template {hash}"),
            |(number, _)| format!("revision {number}"),
        )
    }

    /// Why the set's own template is not to be had, when it was condemned.
    pub(super) fn own_condemned(&self) -> Option<&Condemned> {
        self.condemned.get(self.hash.as_ref()?)
    }

    /// The newest revision that did not fail: where nodes go when the set's own template did.
    pub(super) fn back(&self) -> Option<&(i64, TemplateHash)> {
        self.revisions.iter().rev().find(|(_, hash)| !self.condemned.contains_key(hash))
    }

    /// Why the rollout is over without having succeeded: its template failed, and every living node is back.
    fn rolled_back(&self) -> Option<String> {
        let verdict = self.own_condemned()?;
        let (number, back) = self.back()?;
        let is_back = |(node, member): &(NodeName, Member)| {
            !self.alive.contains(node)
                || (member.hash == back.as_str() && self.available.contains(node))
        };
        if !self.turns.is_empty() || !self.members.iter().all(is_back) {
            return None;
        }
        let reason = &verdict.verdict.reason;
        Some(format!(
            "daemon set {:?} was rolled back to revision {number}: its template failed on node {} ({reason})",
            self.name, verdict.node
        ))
    }

    /// The nodes that matter, the worst first.
    fn lines(&self) -> Vec<Line> {
        let mut lines: Vec<Line> =
            self.members.iter().filter_map(|(node, member)| self.line(node, member)).collect();
        lines.sort_by_cached_key(|line| {
            (line.state, line.place.unwrap_or(usize::MAX), line.node.clone())
        });
        lines
    }

    /// The line of a node; `None` where all is as it should be.
    fn line(&self, node: &NodeName, member: &Member) -> Option<Line> {
        let alive = self.alive.contains(node);
        let line =
            |state, since, text| Some(Line { node: node.clone(), state, since, place: None, text });
        if let Some(turn) = self.turns.get(node) {
            let (state, text) = self.turn(node, turn, member, alive);
            let since = turn.failed.as_ref().map_or(turn.since, |verdict| verdict.at);
            return line(state, Some(since), text);
        }
        if !alive {
            let counts = if self.rollout.ignore_absent {
                "and does not count (podward.dev/absent-nodes: ignore)".to_owned()
            } else {
                format!(
                    "and counts as unavailable; `podward delete node {node}` if it will not come back"
                )
            };
            let since = self.silent.get(node).copied();
            return line(State::Absent, since, format!("it gives no sign of life, {counts}"));
        }
        let wanted = self.wanted(member);
        if member.hash != wanted {
            let place = self.queue.iter().position(|waits| waits == node).map(|place| place + 1);
            let text = self.waiting(node, place, member);
            return Some(Line { place, ..line(State::Waiting, None, text)? });
        }
        if !self.available.contains(node) && member.status.number_available.unwrap_or(0) == 0 {
            return line(State::Unavailable, None, member.reason.clone());
        }
        None
    }

    /// The template that a node is to have: what it says itself, unless it has not heard of the set's own.
    fn wanted<'m>(&'m self, member: &'m Member) -> &'m str {
        match &self.hash {
            Some(hash) if self.own_condemned().is_none() => hash.as_str(),
            _ => member.wanted.as_str(),
        }
    }

    /// How a turn goes, and the way out of one that does not.
    fn turn(&self, node: &NodeName, turn: &Turn, member: &Member, alive: bool) -> (State, String) {
        let name = &self.name;
        let to = self.revision(turn.to.as_str());
        let release = format!("`podward rollout release ds/{name} {node}`");
        let gone = format!(
            "it gives no sign of life; it goes on when it comes back, {release} lets the others go on without it, \
             `podward delete node {node}` if it will not come back"
        );
        match (&turn.failed, alive) {
            (Some(verdict), true) => {
                let why = format!("{}: {}", verdict.reason, verdict.message);
                let out = format!(
                    "`podward rollout undo ds/{name}`, `podward apply` of another template, or {release} to try again"
                );
                (State::Failed, format!("to {to}: {why}; the way out is {out}"))
            }
            (Some(verdict), false) => {
                (State::Failed, format!("to {to}: {}: {}; {gone}", verdict.reason, verdict.message))
            }
            (None, false) => (State::Lost, format!("to {to}: {gone}")),
            (None, true) => {
                let how = match turn.kind {
                    TurnKind::Replace => "replaces its pod",
                    TurnKind::Surge => "starts a pod beside the old one",
                    TurnKind::Repair => "replaces a pod that was not available",
                };
                let why = if member.reason.is_empty() {
                    String::new()
                } else {
                    format!(": {}", member.reason)
                };
                (State::InTurn, format!("it {how}, to {to}{why}"))
            }
        }
    }
}

/// kubectl's sentence, and whether it says that the rollout is over.
pub fn sentence(
    name: &str,
    generation: i64,
    rollout: &Rollout,
    status: &DaemonSetStatus,
) -> (String, bool) {
    let desired = status.desired_number_scheduled;
    let updated = status.updated_number_scheduled.unwrap_or(0);
    let available = status.number_available.unwrap_or(0);
    let keep = rollout.partition.of(usize::try_from(desired).unwrap_or(0));
    let target = desired - i32::try_from(keep).unwrap_or(i32::MAX).min(desired);
    let begin = format!("Waiting for daemon set {name:?} rollout to finish:");
    let text = if status.observed_generation.unwrap_or(0) < generation {
        "Waiting for daemon set spec update to be observed...".to_owned()
    } else if updated < target {
        format!("{begin} {updated} out of {target} new pods have been updated...")
    } else if available < desired {
        format!("{begin} {available} of {desired} updated pods are available...")
    } else if updated < desired {
        let text =
            format!("partitioned roll out complete: {updated} new pods have been updated...");
        return (text, true);
    } else {
        return (format!("daemon set {name:?} successfully rolled out"), true);
    };
    (text, false)
}

/// Up to five names, and how many more there are.
pub fn few(names: &[&str]) -> String {
    let more = names.len().saturating_sub(5);
    let first = names[..names.len() - more].join(", ");
    if more > 0 { format!("{first} and {more} more") } else { first }
}

#[cfg(test)]
mod tests;
