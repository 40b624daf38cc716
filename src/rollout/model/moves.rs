//! What may happen next in a world, beside what goes wrong: each step of an agent, of its reconciler, and of a pod.

use super::mind::{Decision, Mind, Next};
use super::scenario::{Quality, Seeded};
use super::world::{AVAILABLE, Flight, Look, Node, READY, STARTING, World};
use super::{reconciler, store};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Move {
    /// The host.
    pub(super) node: u8,
    /// What, in words.
    pub(super) what: &'static str,
    /// The transaction, if it is about one.
    pub(super) deal: u16,
    /// Whether it happens sooner or later by itself.
    pub(super) fair: bool,
}

/// One way on from a world.
#[derive(Debug)]
pub(super) struct Way {
    /// What happened.
    pub(super) made: Move,
    /// The world then.
    pub(super) world: World,
    /// What must never happen.
    pub(super) wrong: Option<&'static str>,
}

/// Collects the ways on from one world.
pub(super) struct Ways<'a> {
    /// The world.
    pub(super) from: &'a World,
    /// The ways.
    pub(super) ways: Vec<Way>,
}

impl Ways<'_> {
    /// One way more.
    pub(super) fn add(
        &mut self,
        node: usize,
        what: &'static str,
        fair: bool,
        change: impl FnOnce(&mut World, &mut Node) -> Option<&'static str>,
    ) -> &mut Way {
        let mut world = *self.from;
        let mut changed = world.nodes[node];
        let wrong = change(&mut world, &mut changed);
        world.nodes[node] = changed;
        let made = Move { node: u8::try_from(node).unwrap(), what, deal: 0, fair };
        self.ways.push(Way { made, world, wrong });
        self.ways.last_mut().unwrap()
    }
}

/// Every step of every host.
pub(super) fn steps(mind: &mut Mind, ways: &mut Ways<'_>) {
    for index in 0..usize::from(ways.from.count) {
        let node = ways.from.nodes[index];
        if node.up == 0 {
            continue;
        }
        let decision = mind.decide(&node);
        pods(mind, ways, index, &node, decision);
        reconciler::steps(mind, ways, index, &node, decision);
        if node.session == 0 {
            begin(mind, ways, index, &node);
        } else if ways.from.away == 0 {
            session(mind, ways, index, &node, decision);
        }
    }
}

/// A session begins: the node's record is written, and its own keys are read.
fn begin(mind: &Mind, ways: &mut Ways<'_>, index: usize, node: &Node) {
    if node.cut != 0 || ways.from.away != 0 || node.wants != 1 {
        return;
    }
    let stale = mind.scenario.has(Seeded::StaleLeave);
    let shows = mind.scenario.has(Seeded::ShownInTurn);
    ways.add(index, "begins a session and reads its own keys", true, |_, node| {
        if node.lease == 2 {
            // What is under the lease of an earlier agent is not ours: the place in the queue goes, and what it said of the
            // pod is said again.
            (node.queue, node.older) = (0, u8::from(node.available != 0));
        }
        (node.lease, node.session, node.released) = (1, 1, 0);
        (node.member, node.at) = (1, node.newest());
        if shows && node.serves() {
            node.available = node.newest();
        }
        (node.own_available, node.own_queue, node.own_turn) =
            (node.available * (1 - node.older), node.queue, node.turn_revision);
        if node.turn.kind == 0 || node.turn.to != node.known.to {
            let granted = node.granted;
            node.forget_turn();
            node.granted = if stale { granted } else { 0 };
        }
        node.known = node.turn;
        if node.disturbed == 0 && node.stopping == 0 && node.pods[1].hash == 0 {
            node.excused = 0;
        }
        None
    });
}

/// The steps of a session.
fn session(mind: &Mind, ways: &mut Ways<'_>, index: usize, node: &Node, decision: Decision) {
    if node.session == 2 || node.lease == 0 {
        let keep = mind.scenario.has(Seeded::OldCount);
        ways.add(index, "learns that its session is over", true, |_, node| {
            node.part(keep);
            None
        });
    }
    sight(mind, ways, index, node);
    if node.known.kind == 0 && node.granted != 0 {
        ways.add(index, "tells its reconciler that the turn is gone", true, |_, node| {
            node.granted = 0;
            None
        });
    }
    if node.late.deal != 0 {
        let deal = &mind.deals[usize::from(node.late.deal)];
        let way = ways.add(index, "a transaction of an earlier session lands:", true, |_, node| {
            node.late = Flight::default();
            None
        });
        store::commit(&mut way.world, index, node.late, deal);
        way.made.deal = node.late.deal;
    }
    if node.flight.deal != 0 {
        land(mind, ways, index, node);
    }
    let settled = node.flight.deal == 0;
    let grants = settled || mind.scenario.has(Seeded::GrantInFlight);
    let resting = matches!(decision.next, Next::Wait) || !settled;
    if grants && resting && decision.permitted && node.granted != decision.to {
        let to = decision.to;
        ways.add(index, "gives its reconciler leave", true, |_, node| {
            node.granted = to;
            None
        });
    }
    if !settled {
        return;
    }
    match decision.next {
        Next::Deal(deal) => {
            let way = ways.add(index, "sends", true, |_, node| {
                node.flight = Flight { deal, queue: node.own_queue, turn: node.own_turn };
                None
            });
            way.made.deal = deal;
        }
        Next::Revoke => {
            ways.add(index, "takes the leave back", true, |_, node| {
                node.granted = 0;
                None
            });
        }
        Next::Look => read(ways, index, node, store::stand(mind, ways.from, index)),
        Next::Count => read(ways, index, node, store::count(mind, ways.from, index)),
        Next::Wait if node.own_queue != 0 => {
            let counts = node.look.read != 0 && node.look.ahead == 0;
            let look = if counts { store::count } else { store::stand };
            read(ways, index, node, look(mind, ways.from, index));
        }
        Next::Wait | Next::Rest => {}
    }
}

/// The node reads what others do.
fn read(ways: &mut Ways<'_>, index: usize, node: &Node, look: Look) {
    if look != node.look {
        ways.add(index, if look.counted == 0 { "looks" } else { "counts" }, true, |_, node| {
            node.look = look;
            None
        });
    }
}

/// The node sees what it follows: the set, the gates, late or never.
fn sight(mind: &Mind, ways: &mut Ways<'_>, index: usize, node: &Node) {
    let (set, gates) = (ways.from.set, ways.from.gates);
    if node.seen_set != set {
        ways.add(index, "sees the set", true, |_, node| {
            node.seen_set = set;
            // What was read for another template says nothing of this one.
            node.look = Look::default();
            None
        });
    }
    if node.seen != gates {
        ways.add(index, "sees the gates", true, |_, node| {
            node.seen = gates;
            node.look = Look::default();
            None
        });
    }
    let newest = node.newest();
    let partition = mind.scenario.script.iter().any(|version| {
        version.rollout.partition != crate::spec::Amount::Count(0)
            || version.rollout.canary.is_some()
    });
    if partition && node.session == 1 && node.at != newest {
        ways.add(index, "reports its pod", true, |_, node| {
            node.at = newest;
            None
        });
    }
}

/// A transaction is carried out, and answered.
fn land(mind: &Mind, ways: &mut Ways<'_>, index: usize, node: &Node) {
    let deal = &mind.deals[usize::from(node.flight.deal)];
    let keep = mind.scenario.has(Seeded::OldCount);
    let void = node.session == 2 && !mind.scenario.has(Seeded::NoEpoch);
    let mut world = *ways.from;
    let done = !void && store::commit(&mut world, index, node.flight, deal);
    let wrong = if done { fenced(mind, ways.from, index) } else { None };
    let what = if done { "has carried out" } else { "is refused" };
    let way = ways.add(index, what, true, |_, _| None);
    way.world = world;
    way.wrong = wrong;
    way.made.deal = node.flight.deal;
    let node = &mut way.world.nodes[index];
    if void {
        node.part(false);
    } else if done {
        store::answer(node, deal, keep);
    } else {
        (node.flight, node.look) = (Flight::default(), Look::default());
    }
}

/// Whether a claim that is carried out now was prepared before something that forbids it.
fn fenced(mind: &Mind, world: &World, index: usize) -> Option<&'static str> {
    let node = &world.nodes[index];
    let deal = &mind.deals[usize::from(node.flight.deal)];
    if !deal.claims {
        return None;
    }
    let version = &mind.scenario.script[usize::from(world.set)];
    if version.rollout.paused && deal.act != "Retarget" {
        return Some("I2: a claim after a pause");
    }
    if world.gates.condemned & (1 << deal.to) != 0 {
        return Some("I2: a claim for a condemned template");
    }
    if deal.to != version.template && world.gates.condemned & (1 << version.template) == 0 {
        return Some("I2: a claim for a template that the set no longer has");
    }
    let role = mind.scenario.roles[usize::from(node.role)];
    let rollout = &version.rollout;
    let held =
        rollout.canary.is_some() && !role.canary && rollout.promoted != format!("v{}", deal.to);
    let baked = world.gates.baked & !world.gates.baking & (1 << deal.to) != 0;
    if held && !baked && deal.act != "Retarget" {
        return Some("a claim before the canary nodes were well");
    }
    None
}

/// What becomes of the pods.
fn pods(mind: &Mind, ways: &mut Ways<'_>, index: usize, node: &Node, decision: Decision) {
    for slot in 0..2 {
        let pod = node.pods[slot];
        if pod.hash == 0 || pod.state == AVAILABLE || pod.hash == node.stopping {
            continue;
        }
        match mind.scenario.turns_out(pod.hash) {
            Quality::NeverReady => {}
            Quality::KillsHost => {
                ways.add(index, "is taken down by its pod", true, |_, node| {
                    down(node);
                    None
                });
            }
            Quality::Good => {
                let first = mind.scenario.ready_first && pod.state == STARTING;
                ways.add(index, "its pod gets on", true, |_, node| {
                    node.pods[slot].state = if first { READY } else { AVAILABLE };
                    if pod.hash == decision.to && !first && node.stopping == 0 {
                        // The old pod, which is now too many, begins to stop.
                        node.drop_pods(|other| other.hash != pod.hash);
                    }
                    if node.serves() && node.stopping == 0 {
                        let still = node.session == 0 || node.pods[1].hash != 0;
                        (node.disturbed, node.excused) = (0, node.excused & u8::from(still));
                    }
                    None
                });
            }
        }
    }
    let overdue = node.known.kind != 0
        && node.known.to == decision.to
        && node.overdue == 0
        && node.pods.iter().any(|pod| pod.hash == decision.to && pod.state != AVAILABLE);
    let slow = mind.scenario.turns_out(decision.to) != Quality::Good;
    if overdue && (slow || ways.from.left.slow > 0) {
        ways.add(index, "takes too long", slow, |world, node| {
            node.overdue = 1;
            if !slow {
                world.left.slow -= 1;
            }
            None
        });
    }
}

/// A host goes down.
pub(super) fn down(node: &mut Node) {
    node.part(false);
    (node.up, node.stopping) = (0, 0);
    for pod in &mut node.pods {
        pod.state = STARTING;
    }
}
