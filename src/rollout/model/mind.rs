//! What a node of the model decides: its facts are spelled out, the real functions are asked, and their answers are
//! remembered, for the same facts come again and again.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::base::ids::{NodeName, TemplateHash};
use crate::rollout::admit;
use crate::rollout::deal::{Beginning, Deal, Demand, Key, Write, deal};
use crate::rollout::protocol::{Act, Facts, Held, Local, Own, PodFact, Step, next, permitted};
use crate::rollout::turn::{self, TurnKind, Verdict};

use super::scenario::{Scenario, Seeded, name};
use super::world::{AVAILABLE, Gates, Look, Node, Pod, READY, REPAIR, REPLACE, SURGE, Turn};

/// All that a decision depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct View {
    role: u8,
    set: u8,
    gates: Gates,
    pods: [Pod; 2],
    stopping: u8,
    member: u8,
    known: Turn,
    available: u8,
    queued: bool,
    look: Look,
    granted: bool,
    boots: u8,
    overdue: u8,
    unready: u8,
}

/// What a node does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    Rest,
    /// It waits.
    Wait,
    /// It reads where it stands.
    Look,
    /// It counts.
    Count,
    /// It takes the leave to disturb back.
    Revoke,
    /// A transaction.
    Deal(u16),
}

/// What was decided.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decision {
    /// What comes next.
    pub(super) next: Next,
    /// Whether the pod may be disturbed.
    pub(super) permitted: bool,
    /// The template that the node is to have.
    pub(super) to: u8,
    /// Whether it is not tried again.
    pub(super) barred: bool,
    /// Whether the set's strategy is to start the new pod beside the old one.
    pub(super) surges: bool,
}

/// A key of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Name {
    Set,
    Member,
    Available,
    Turn,
    Queue,
    Condemned(u8),
    Baked(u8),
    Baking(u8),
}

/// A demand of a transaction; revisions of the node's own keys are those of the moment when it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum When {
    Absent(Name),
    Present(Name),
    Set(u8),
    Turn,
    Queue,
}

/// A write of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Then {
    Show(u8),
    Enter,
    Turn(Turn),
    Member,
    Condemn(u8),
    Bake(u8),
    Pass { more: u8, set: u8 },
    Delete(Name),
}

/// A transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Spelled {
    /// Its act.
    pub(super) act: String,
    /// Whether it takes a turn.
    pub(super) claims: bool,
    /// The template that its node was to have.
    pub(super) to: u8,
    /// What it demands.
    pub(super) when: Vec<When>,
    /// What it writes.
    pub(super) then: Vec<Then>,
}

/// Decides for every node of a scenario.
pub(super) struct Mind {
    /// The scenario.
    pub(super) scenario: Scenario,
    /// What was decided before.
    decided: HashMap<View, Decision>,
    /// Every transaction that was spelled out; the first stands for none.
    pub(super) deals: Vec<Spelled>,
}

/// The revision of a node's own keys in its facts.
const OWN: i64 = 1;

impl Mind {
    /// A mind that has decided nothing yet.
    pub(super) fn new(scenario: Scenario) -> Self {
        let none = Spelled { act: String::new(), claims: false, to: 0, when: vec![], then: vec![] };
        Self { scenario, decided: HashMap::new(), deals: vec![none] }
    }

    /// What a node does next.
    pub(super) fn decide(&mut self, node: &Node) -> Decision {
        let mut look = node.look;
        let under = u8::from(look.under != 0 && look.under == node.own_queue);
        look.under = if look.read == 0 { 0 } else { 2 - under };
        let view = View {
            role: node.role,
            set: node.seen_set,
            gates: node.seen,
            pods: node.pods,
            stopping: node.stopping,
            member: node.member,
            known: node.known,
            available: node.own_available,
            queued: node.own_queue != 0,
            look,
            granted: node.granted != 0,
            boots: node.boots,
            overdue: node.overdue,
            unready: node.unready,
        };
        if let Some(decision) = self.decided.get(&view) {
            return *decision;
        }
        let decision = self.think(&view);
        self.decided.insert(view, decision);
        decision
    }

    /// Asks the real functions.
    fn think(&mut self, view: &View) -> Decision {
        let facts = self.facts(view);
        let to = number(facts.local.to.as_str());
        let allowed = permitted(&facts.local, facts.own.turn.as_ref().map(|held| &held.turn));
        let barred = facts.local.barred.is_some() && view.known.to == to;
        let mut asked = facts.clone();
        if self.scenario.has(Seeded::NoRevoke) {
            asked.granted = false;
        }
        if self.scenario.has(Seeded::DoneGranted)
            && facts.local.new.as_ref().is_some_and(|pod| pod.available)
        {
            asked.granted = false;
        }
        let next = match next(&asked) {
            Step::Rest => Next::Rest,
            Step::Wait(_) => Next::Wait,
            Step::Look => Next::Look,
            Step::Count => Next::Count,
            Step::Revoke => Next::Revoke,
            Step::Join => Next::Deal(self.spell(&Act::Enter, &facts)),
            Step::Act(act) => Next::Deal(self.spell(&act, &facts)),
        };
        Decision { next, permitted: allowed, to, barred, surges: facts.local.rollout.surges() }
    }

    /// The facts of a node.
    fn facts(&self, view: &View) -> Facts {
        let scenario = &self.scenario;
        let version = &scenario.script[usize::from(view.set)];
        let role = scenario.roles[usize::from(view.role)];
        let (to, own_template) = scenario.target(view.set, view.gates.condemned);
        let long_enough = if scenario.has(Seeded::DoneEarly) { READY } else { AVAILABLE };
        let fact = |pod: &Pod| PodFact {
            hash: TemplateHash::new(name(pod.hash)),
            ready: pod.state >= READY && pod.hash != view.stopping,
            available: pod.state >= long_enough && pod.hash != view.stopping,
        };
        let pods = view.pods.iter().filter(|pod| pod.hash != 0);
        let (new, old): (Vec<&Pod>, Vec<&Pod>) = pods.partition(|pod| pod.hash == to);
        let mut old: Vec<PodFact> = old.into_iter().map(fact).collect();
        old.sort_by_key(|pod| !pod.available);
        let verdict = || Verdict {
            reason: "Failed".into(),
            message: "it failed".into(),
            at: Timestamp::UNIX_EPOCH,
        };
        let mut look = look_of(&view.look, role.domain);
        if let Some(look) = &mut look {
            if scenario.has(Seeded::NoCount) {
                look.available = look.members;
            }
            if scenario.has(Seeded::OldCount) {
                look.under = OWN;
            }
            if scenario.has(Seeded::PassedWhole) && look.passed > 0 {
                look.passed += 1;
            }
        }
        Facts {
            local: Local {
                revision: i64::from(view.set) + 1,
                to: TemplateHash::new(name(to)),
                own_template,
                rollout: version.rollout.clone(),
                new: new.first().map(|pod| fact(pod)),
                leftover: old.len() > 1,
                old: old.into_iter().next(),
                ready: if view.unready == 0 { Ok(()) } else { Err("the port is taken".into()) },
                domain: domain(role.domain),
                canary: role.canary,
                barred: (view.boots >= 2 && view.known.kind != 0).then(verdict),
            },
            own: Own {
                member: view.member != 0,
                available: (view.available != 0).then(|| TemplateHash::new(name(view.available))),
                turn: (view.known.kind != 0)
                    .then(|| Held { turn: turn_of(view.known, role.domain), revision: OWN }),
                queue: view.queued.then_some(OWN),
            },
            gates: admit::Gates {
                condemned: templates(view.gates.condemned),
                baked: templates(view.gates.baked),
                baking: templates(view.gates.baking),
            },
            look,
            in_turn_for: if view.overdue == 0 { Duration::ZERO } else { version.rollout.deadline },
            overdue: verdict(),
            granted: view.granted,
        }
    }

    /// The number of an act's transaction.
    fn spell(&mut self, act: &Act, facts: &Facts) -> u16 {
        let beginning = Beginning { boot_id: "boot", since: Timestamp::UNIX_EPOCH };
        let Deal { mut when, then } = deal(act, facts, beginning);
        let claim = matches!(act, Act::Claim { .. });
        if self.scenario.has(Seeded::NoFence) && claim {
            when.retain(|demand| !matches!(demand, Demand::Changed(Key::Set, _)));
        }
        if self.scenario.has(Seeded::NoCondemned) && claim {
            when.retain(|demand| !matches!(demand, Demand::Absent(Key::Condemned(_))));
        }
        let spelled = Spelled {
            act: format!("{act:?}").split([' ', '{']).next().unwrap_or_default().to_owned(),
            claims: claim || matches!(act, Act::Repair | Act::Retarget),
            to: number(facts.local.to.as_str()),
            when: when.iter().map(demanded).collect(),
            then: then.iter().map(written).collect(),
        };
        let known = self.deals.iter().position(|known| *known == spelled);
        let index = known.unwrap_or_else(|| {
            self.deals.push(spelled);
            self.deals.len() - 1
        });
        u16::try_from(index).unwrap()
    }
}

/// The number of a template.
fn number(name: &str) -> u8 {
    name.strip_prefix('v').and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// The templates of a set of bits.
fn templates(bits: u8) -> Vec<TemplateHash> {
    (1..=3).filter(|bit| bits & (1 << bit) != 0).map(|bit| TemplateHash::new(name(bit))).collect()
}

/// The value of a domain's label.
fn domain(domain: u8) -> String {
    if domain == 0 { String::new() } else { format!("rack{domain}") }
}

/// A turn as it stands in the store.
fn turn_of(turn: Turn, in_domain: u8) -> turn::Turn {
    turn::Turn {
        kind: match turn.kind {
            REPLACE => TurnKind::Replace,
            SURGE => TurnKind::Surge,
            _ => TurnKind::Repair,
        },
        from: name(turn.from),
        to: TemplateHash::new(name(turn.to)),
        since: Timestamp::UNIX_EPOCH,
        boot_id: "boot".into(),
        domain: domain(in_domain),
        failed: (turn.failed != 0).then(|| Verdict {
            reason: "Failed".into(),
            message: "it failed".into(),
            at: Timestamp::UNIX_EPOCH,
        }),
    }
}

/// What was read, as the real functions take it: turns that differ only in what does not count are alike.
fn look_of(look: &Look, own_domain: u8) -> Option<admit::Look> {
    if look.read == 0 {
        return None;
    }
    let other = NodeName::new("other");
    let mut turns = Vec::new();
    let dummy = Turn { kind: REPLACE, ..Turn::default() };
    for _ in 0..look.surging {
        turns.push((other.clone(), turn_of(Turn { kind: SURGE, ..dummy }, own_domain)));
    }
    for (template, count) in (1..=3).zip(look.moving) {
        for _ in 0..count {
            turns.push((other.clone(), turn_of(Turn { to: template, ..dummy }, own_domain)));
        }
    }
    if look.elsewhere != 0 {
        turns.push((other.clone(), turn_of(dummy, 9)));
    }
    let canary = if look.canaries == 0 {
        (TemplateHash::new("none"), false)
    } else {
        (TemplateHash::new(name(look.canaries)), true)
    };
    Some(admit::Look {
        under: i64::from(look.under),
        ahead: (look.ahead != 0).then_some(other),
        passed: usize::from(look.passed),
        counted: look.counted != 0,
        members: usize::from(look.members),
        available: usize::from(look.available),
        absent: usize::from(look.absent),
        turns,
        updated: usize::from(look.updated),
        canaries: vec![canary],
    })
}

/// A key in small numbers.
fn named(key: &Key) -> Name {
    match key {
        Key::Set => Name::Set,
        Key::Member => Name::Member,
        Key::Available => Name::Available,
        Key::Turn => Name::Turn,
        Key::Queue => Name::Queue,
        Key::Condemned(hash) => Name::Condemned(number(hash.as_str())),
        Key::Baked(hash) => Name::Baked(number(hash.as_str())),
        Key::Baking(hash) => Name::Baking(number(hash.as_str())),
    }
}

/// A demand in small numbers.
fn demanded(demand: &Demand) -> When {
    match demand {
        Demand::Absent(key) => When::Absent(named(key)),
        Demand::Present(key) => When::Present(named(key)),
        Demand::Changed(Key::Set, revision) => When::Set(u8::try_from(*revision - 1).unwrap()),
        Demand::Changed(Key::Turn, OWN) => When::Turn,
        Demand::Made(Key::Queue, OWN) => When::Queue,
        other => panic!("a demand that the model does not know: {other:?}"),
    }
}

/// A write in small numbers.
fn written(write: &Write) -> Then {
    match write {
        Write::Show(hash) => Then::Show(number(hash.as_str())),
        Write::Enter => Then::Enter,
        Write::Turn(turn) => Then::Turn(Turn {
            kind: match turn.kind {
                TurnKind::Replace => REPLACE,
                TurnKind::Surge => SURGE,
                TurnKind::Repair => REPAIR,
            },
            from: number(&turn.from),
            to: number(turn.to.as_str()),
            failed: u8::from(turn.failed.is_some()),
        }),
        Write::Member => Then::Member,
        Write::Condemn(hash, _) => Then::Condemn(number(hash.as_str())),
        Write::Bake(hash, _) => Then::Bake(number(hash.as_str())),
        Write::Pass(claimed) => Then::Pass {
            more: u8::try_from(claimed.more).unwrap(),
            set: u8::try_from(claimed.set - 1).unwrap(),
        },
        Write::Delete(key) => Then::Delete(named(key)),
    }
}
