//! The model's store: it carries transactions out, and answers reads at one revision.

use crate::spec::Amount;

use super::mind::{Mind, Name, Spelled, Then, When};
use super::scenario::Seeded;
use super::world::{Flight, Look, Marks, Node, SURGE, Turn, World};

/// Whether a key of a node, or of the set, is there.
fn present(world: &World, node: &Node, name: Name) -> bool {
    let bit = |bits: u8, template: u8| bits & (1 << template) != 0;
    match name {
        Name::Set => true,
        Name::Member => node.member != 0,
        Name::Available => node.available != 0,
        Name::Turn => node.turn.kind != 0,
        Name::Queue => node.queue != 0,
        Name::Condemned(template) => bit(world.gates.condemned, template),
        Name::Baked(template) => bit(world.gates.baked, template),
        Name::Baking(template) => bit(world.gates.baking, template),
    }
}

/// Whether a demand of a node's transaction holds.
fn holds(world: &World, node: &Node, flight: Flight, when: When) -> bool {
    match when {
        When::Absent(name) => !present(world, node, name),
        When::Present(name) => present(world, node, name),
        When::Set(version) => world.set == version,
        When::Turn => node.turn_revision != 0 && node.turn_revision == flight.turn,
        When::Queue => node.queue != 0 && node.queue == flight.queue,
    }
}

/// Carries a transaction of a node out, if its demands hold.
pub(super) fn commit(world: &mut World, index: usize, flight: Flight, deal: &Spelled) -> bool {
    let node = &world.nodes[index];
    let leased = deal.then.iter().any(|then| matches!(then, Then::Show(_) | Then::Enter));
    // A key cannot be put under a store lease that ended.
    if leased && node.lease == 0 {
        return false;
    }
    if !deal.when.iter().all(|when| holds(world, node, flight, *when)) {
        return false;
    }
    for then in &deal.then {
        write(world, index, flight.queue, *then);
    }
    true
}

/// Carries one write out, of a transaction under a queue key.
fn write(world: &mut World, index: usize, under: u8, then: Then) {
    let queue = world.next_queue();
    let node = &mut world.nodes[index];
    match then {
        Then::Show(template) => (node.available, node.older) = (template, 0),
        Then::Enter => {
            node.queue = queue;
            (node.behind, world.marks.entered) = (world.marks.entered, queue);
        }
        Then::Pass { more, set } => {
            world.marks = Marks { claimed: under, more, set, ..world.marks };
        }
        Then::Turn(turn) => {
            node.turn = turn;
            let all = [node.turn_revision, node.own_turn, node.flight.turn, node.late.turn];
            node.turn_revision = all.into_iter().max().unwrap_or(0) + 1;
        }
        Then::Member => node.at = node.newest(),
        Then::Condemn(template) => world.gates.condemned |= 1 << template,
        Then::Bake(template) => {
            world.gates.baked |= 1 << template;
            world.gates.baking |= 1 << template;
        }
        Then::Delete(Name::Available) => (node.available, node.older) = (0, 0),
        Then::Delete(Name::Queue) => node.queue = 0,
        Then::Delete(Name::Turn) => (node.turn, node.turn_revision) = (Turn::default(), 0),
        Then::Delete(Name::Baked(template)) => world.gates.baked &= !(1 << template),
        Then::Delete(Name::Baking(template)) => world.gates.baking &= !(1 << template),
        Then::Delete(name) => panic!("nobody deletes {name:?}"),
    }
}

/// What the node learns from the answer: its own keys are what its transaction made them.
pub(super) fn answer(node: &mut Node, deal: &Spelled, keep_look: bool) {
    for then in &deal.then {
        match then {
            Then::Show(template) => node.own_available = *template,
            Then::Enter => node.own_queue = node.queue,
            Then::Turn(turn) => {
                if turn.to != node.known.to || node.known.kind == 0 {
                    node.forget_turn();
                }
                (node.known, node.own_turn) = (*turn, node.turn_revision);
            }
            Then::Delete(Name::Available) => node.own_available = 0,
            Then::Delete(Name::Queue) => node.own_queue = 0,
            Then::Delete(Name::Turn) => {
                node.forget_turn();
                node.own_turn = 0;
            }
            Then::Member
            | Then::Condemn(_)
            | Then::Bake(_)
            | Then::Pass { .. }
            | Then::Delete(_) => {}
        }
    }
    node.flight = Flight::default();
    if node.look.under != node.own_queue && !keep_look {
        node.look = Look::default();
    }
}

/// Where a node stands in the queue, and what was passed on to it.
pub(super) fn stand(mind: &Mind, world: &World, index: usize) -> Look {
    let (own, marks) = (&world.nodes[index], world.marks);
    let look = Look { read: 1, under: own.own_queue, ..Look::default() };
    let there = |revision: u8| world.live().iter().any(|node| node.queue == revision);
    if own.behind != 0 && there(own.behind) {
        return Look { ahead: 1, ..look };
    }
    let anybody = mind.scenario.has(Seeded::PassedToAnybody) && marks.claimed != 0;
    if own.behind != 0 && own.behind == marks.claimed || anybody {
        let passed = if marks.set == own.seen_set { marks.more } else { 0 };
        return Look { passed, ..look };
    }
    if mind.scenario.has(Seeded::HeadByGap) {
        return look;
    }
    let ahead = |node: &Node| node.queue != 0 && node.queue < own.own_queue;
    Look { ahead: u8::from(world.live().iter().any(ahead)), ..look }
}

/// What the head of the queue, or a canary node, counts at one revision.
pub(super) fn count(mind: &Mind, world: &World, index: usize) -> Look {
    let scenario = &mind.scenario;
    let own = &world.nodes[index];
    let version = &scenario.script[usize::from(own.seen_set)];
    let (to, _) = scenario.target(own.seen_set, own.seen.condemned);
    let role = |node: &Node| scenario.roles[usize::from(node.role)];
    let count = |holds: &dyn Fn(&Node) -> bool| {
        u8::try_from(world.live().iter().filter(|node| holds(node)).count()).unwrap()
    };
    let in_turn = |node: &Node| node.turn.kind != 0;
    let twice = scenario.has(Seeded::AbsentTwice);
    let absent = |node: &Node| {
        let silent = node.lease == 0 && !in_turn(node) && (twice || node.available == 0);
        node.member != 0 && silent
    };
    let partition = version.rollout.partition != Amount::Count(0);
    let mut moving = [0; 3];
    if partition {
        for (template, moving) in (1..=3).zip(&mut moving) {
            *moving = count(&|node| in_turn(node) && node.turn.to == template);
        }
    }
    let mut canaries = 0;
    if version.rollout.canary.is_some() {
        let mut hashes = world.live().iter().filter(|node| node.member != 0 && role(node).canary);
        if hashes.all(|node| node.at == to && node.available != 0) {
            canaries = to;
        }
    }
    let elsewhere = |node: &Node| in_turn(node) && role(node).domain != role(own).domain;
    let members = count(&|node| node.member != 0);
    let mut available = count(&|node| node.available != 0);
    if scenario.has(Seeded::LeasedTurn) {
        available = members - count(&in_turn);
    }
    Look {
        read: 1,
        under: own.own_queue,
        ahead: 0,
        passed: 0,
        counted: 1,
        members,
        available,
        absent: if version.rollout.ignore_absent { count(&absent) } else { 0 },
        surging: count(&|node| node.turn.kind == SURGE),
        updated: if partition { count(&|node| node.at == to) } else { 0 },
        moving,
        elsewhere: u8::from(!version.rollout.domain.is_empty()) * count(&elsewhere).min(1),
        canaries,
    }
}
