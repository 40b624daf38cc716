//! What one exploration is about: which versions of a set come one after the other, which hosts there are, what may go
//! wrong and how often, and which fault was put into the protocol on purpose.

use std::time::Duration;

use crate::spec::{Amount, Rollout, Selector};

use super::world::{AVAILABLE, Left, NODES, Node, Pod, World};

/// How a template turns out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quality {
    /// Its pods become available.
    Good,
    /// They never do.
    NeverReady,
    /// They take their host down.
    KillsHost,
}

/// One version of the set.
#[derive(Debug, Clone)]
pub(super) struct Version {
    /// Its template, from 1 to 3.
    pub(super) template: u8,
    /// How it is updated.
    pub(super) rollout: Rollout,
}

/// What is special about a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Role {
    /// It is of the canary.
    pub(super) canary: bool,
    /// Its domain; 0: none.
    pub(super) domain: u8,
    /// It is there from some moment on only.
    pub(super) joins: bool,
}

/// A fault that the checker must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seeded {
    /// A claim that skips the count.
    NoCount,
    /// A count that was read under an older queue key.
    OldCount,
    /// `available` is put back while a turn is open.
    ShownInTurn,
    /// A turn ends before the pod was ready for long enough.
    DoneEarly,
    /// A claim forgets the revision of the set.
    NoFence,
    /// A claim forgets what was condemned.
    NoCondemned,
    /// A node is deleted, and its `available` is left behind.
    AvailableLeft,
    /// The turn itself is under a store lease, and is what is counted.
    LeasedTurn,
    /// Transactions do not demand that the node's record is as the session wrote it.
    NoEpoch,
    /// A turn is given back before the leave to disturb is taken back.
    NoRevoke,
    /// A turn is ended as done while the leave to disturb is given.
    DoneGranted,
    /// Leave is given while a transaction is under way.
    GrantInFlight,
    /// An agent that begins anew no longer knows that the leave was taken back.
    RevokeForgotten,
    /// A node that is absent is taken from the count although it says that its pod is available.
    AbsentTwice,
    /// A session that finds its turn gone acts before its reconciler is told.
    StaleLeave,
    /// Whoever goes by another's count passes it on as it was.
    PassedWhole,
    /// Whoever before whom somebody left goes by the last claim, whosever that was.
    PassedToAnybody,
    /// Who stands before a node is forgotten when it leaves: the next one takes itself for the head.
    HeadByGap,
}

/// One exploration.
#[derive(Debug, Clone)]
pub(super) struct Scenario {
    /// Its name.
    pub(super) name: &'static str,
    /// How many hosts there are.
    pub(super) hosts: u8,
    /// The versions of the set; every pod has the template of the first.
    pub(super) script: Vec<Version>,
    /// How templates 1 to 3 turn out.
    pub(super) quality: [Quality; 3],
    /// What may go wrong.
    pub(super) left: Left,
    /// The hosts' roles.
    pub(super) roles: [Role; NODES],
    /// Whether a pod is ready for a while before it is available.
    pub(super) ready_first: bool,
    /// Whether it is checked that every node can still be updated.
    pub(super) liveness: bool,
    /// The fault that was put in.
    pub(super) seeded: Option<Seeded>,
    /// How many worlds it may have.
    pub(super) most: usize,
}

/// What most versions say: one node at a time.
pub(in crate::rollout) fn rollout() -> Rollout {
    Rollout {
        on_delete: false,
        max_unavailable: Amount::Count(1),
        max_surge: Amount::Count(0),
        min_ready: Duration::ZERO,
        paused: false,
        deadline: Duration::from_mins(10),
        rollback: false,
        rolled_back: false,
        ignore_absent: false,
        canary: None,
        promoted: String::new(),
        bake: Duration::ZERO,
        partition: Amount::Count(0),
        domain: String::new(),
        splay: None,
    }
}

/// So many nodes may be unavailable.
pub(in crate::rollout) fn unavailable(nodes: usize) -> Rollout {
    Rollout { max_unavailable: Amount::Count(nodes), ..rollout() }
}

/// So many nodes may have a pod beside the old one, and none may be unavailable.
pub(in crate::rollout) fn surge(nodes: usize) -> Rollout {
    Rollout { max_unavailable: Amount::Count(0), max_surge: Amount::Count(nodes), ..rollout() }
}

/// Canary nodes go first.
pub(in crate::rollout) fn canary(bake: u64) -> Rollout {
    let selector = Selector::parse("canary=true").unwrap();
    Rollout { canary: Some(selector), bake: Duration::from_secs(bake), ..rollout() }
}

/// The name of a template.
pub(super) fn name(template: u8) -> String {
    if template == 0 { String::new() } else { format!("v{template}") }
}

impl Scenario {
    /// Templates one after the other under one strategy, on so many hosts, without anything that goes wrong.
    pub(super) fn new(title: &'static str, hosts: u8, rollout: &Rollout, templates: &[u8]) -> Self {
        let version = |template: &u8| Version { template: *template, rollout: rollout.clone() };
        Self {
            name: title,
            hosts,
            script: templates.iter().map(version).collect(),
            quality: [Quality::Good; 3],
            left: Left::default(),
            roles: [Role::default(); NODES],
            ready_first: false,
            liveness: true,
            seeded: None,
            most: 3_000_000,
        }
    }

    /// The same with what may go wrong.
    pub(super) fn with(mut self, change: impl FnOnce(&mut Left)) -> Self {
        change(&mut self.left);
        self
    }

    /// The same with a template that turns out so.
    pub(super) fn quality(mut self, template: usize, quality: Quality) -> Self {
        self.quality[template - 1] = quality;
        self
    }

    /// The same with one version more.
    pub(super) fn then(mut self, template: u8, rollout: Rollout) -> Self {
        self.script.push(Version { template, rollout });
        self
    }

    /// The same with another role for a host.
    pub(super) fn role(mut self, host: usize, role: Role) -> Self {
        self.roles[host] = role;
        self
    }

    /// The same with a fault in the protocol.
    pub(super) fn seeded(mut self, seeded: Seeded) -> Self {
        self.seeded = Some(seeded);
        self.liveness = seeded == Seeded::NoEpoch;
        self
    }

    /// Whether this fault was put in.
    pub(super) fn has(&self, seeded: Seeded) -> bool {
        self.seeded == Some(seeded)
    }

    /// Whether all hosts are alike.
    pub(super) fn alike(&self) -> bool {
        let roles = &self.roles[..usize::from(self.hosts)];
        roles.iter().all(|role| *role == roles[0])
    }

    /// Where it begins: every pod is available, and the second version was just written.
    pub(super) fn start(&self) -> World {
        let mut nodes = [Node::default(); NODES];
        for (index, node) in nodes.iter_mut().enumerate().take(usize::from(self.hosts)) {
            node.role = if self.alike() { 0 } else { u8::try_from(index).unwrap() };
            (node.up, node.seen_set) = (1, 0);
            if self.roles[index].joins {
                continue;
            }
            (node.wants, node.member, node.lease, node.session) = (1, 1, 1, 1);
            let first = self.script[0].template;
            (node.at, node.available, node.own_available) = (first, first, first);
            node.pods[0] = Pod { hash: first, state: AVAILABLE };
        }
        let set = u8::from(self.script.len() > 1);
        World { set, left: self.left, count: self.hosts, nodes, ..World::default() }
    }

    /// The template that a node is to have by a version of the set and what was condemned, and whether it is the set's own.
    pub(super) fn target(&self, set: u8, condemned: u8) -> (u8, bool) {
        let fine = |template: u8| condemned & (1 << template) == 0;
        let own = self.script[usize::from(set)].template;
        if fine(own) {
            return (own, true);
        }
        let history = self.script[..usize::from(set)].iter().rev().map(|version| version.template);
        history.into_iter().find(|template| fine(*template)).map_or((own, true), |old| (old, false))
    }

    /// How a template turns out.
    pub(super) fn turns_out(&self, template: u8) -> Quality {
        self.quality[usize::from(template) - 1]
    }
}
