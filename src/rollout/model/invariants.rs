//! What must hold in every world, and which worlds are good ends.

use crate::spec::Rollout;

use super::scenario::{Quality, Scenario};
use super::world::{AVAILABLE, Node, Pod, REPAIR, REPLACE, World};

/// What does not hold in a world.
pub(super) fn wrong(scenario: &Scenario, world: &World) -> Option<&'static str> {
    let nodes = world.live();
    let count = |holds: &dyn Fn(&Node) -> bool| nodes.iter().filter(|node| holds(node)).count();
    // A budget that changes holds for the claims made under it.
    let most = |amount: &dyn Fn(&Rollout) -> usize| {
        scenario.script.iter().map(|version| amount(&version.rollout)).max().unwrap_or(0)
    };
    let members = count(&|node| node.member != 0);
    let surge = most(&|rollout| rollout.max_surge.of(members));
    let unavailable =
        most(&|rollout| rollout.max_unavailable.of(members)).max(usize::from(surge == 0));
    if count(&|node| node.disturbed != 0 && node.excused == 0) > unavailable {
        return Some("I1: more nodes are disturbed than may be");
    }
    let surging = |node: &Node| {
        // Beside a new pod that is available, or an old one that is not, the old one only has to go.
        let (to, _) = scenario.target(node.seen_set, node.seen.condemned);
        let old = |pod: &Pod| pod.hash != to && pod.state == AVAILABLE;
        let over = node.pods.iter().any(|pod| pod.hash == to && pod.state == AVAILABLE);
        let both = node.pods[1].hash != 0 && node.pods.iter().any(old) && !over;
        // A repair is no surge: its old pod goes at once, unless it recovers at that very moment.
        both && node.excused == 0 && node.released == 0 && node.turn.kind != REPAIR
    };
    if count(&surging) > surge {
        return Some("I1: more nodes have a pod beside the old one than may");
    }
    for node in nodes {
        if let Some(wrong) = wrong_keys(node) {
            return Some(wrong);
        }
    }
    let available = count(&|node| node.available != 0);
    let taken = count(&|node| matches!(node.turn.kind, REPLACE | REPAIR));
    if taken + available > members {
        return Some("I3: there are more turns than nodes that are not available");
    }
    arranged(scenario, world)
}

/// What does not hold among the keys of one node.
fn wrong_keys(node: &Node) -> Option<&'static str> {
    if node.available != 0 && node.member == 0 {
        return Some("I3: a node that is not a member is available");
    }
    if node.available != 0 && matches!(node.turn.kind, REPLACE | REPAIR) {
        return Some("I3: a node in its turn is available");
    }
    if node.available != 0 && node.disturbed != 0 {
        return Some("I3: a node whose pod was stopped says that it is available");
    }
    let exact = node.session == 1 && node.flight.deal == 0;
    if exact && (node.turn != node.known || node.turn_revision != node.own_turn) {
        return Some("a session does not know its own turn");
    }
    let leased = exact && node.lease == 1;
    let own = node.available * (1 - node.older);
    if leased && (own != node.own_available || node.queue != node.own_queue) {
        return Some("a session does not know its own keys");
    }
    None
}

/// What does not hold of the order in which nodes go: the partition, and the domains.
fn arranged(scenario: &Scenario, world: &World) -> Option<&'static str> {
    let version = &scenario.script[usize::from(world.set)];
    let nodes = world.live();
    let members = nodes.iter().filter(|node| node.member != 0).count();
    let keep = version.rollout.partition.of(members);
    let joining = scenario.roles.iter().any(|role| role.joins);
    let updated = nodes.iter().filter(|node| node.newest() == version.template).count();
    if keep > 0 && !joining && world.set == 1 && updated + keep > members {
        return Some("more nodes are updated than the partition lets");
    }
    if !version.rollout.domain.is_empty() {
        let mut moving = nodes
            .iter()
            .filter(|node| node.turn.kind == REPLACE)
            .map(|node| scenario.roles[usize::from(node.role)].domain);
        if let Some(first) = moving.next()
            && moving.any(|domain| domain != first)
        {
            return Some("nodes of two domains are in their turns");
        }
    }
    None
}

/// Whether every live member is as it should be.
pub(super) fn good(scenario: &Scenario, world: &World) -> bool {
    let (to, _) = scenario.target(world.set, world.gates.condemned);
    world.away == 0
        && world.live().iter().all(|node| {
            if node.wants != 1 || node.up == 0 {
                return true;
            }
            let [older, newer] = node.pods;
            node.session == 1
                && node.flight.deal == 0
                && node.turn.kind == 0
                && node.available == to
                && older.hash == to
                && older.state == AVAILABLE
                && newer.hash == 0
        })
}

/// Whether a world must be able to get good by itself: what is in the way of others by design is not here.
pub(super) fn hopeful(scenario: &Scenario, world: &World) -> bool {
    let version = &scenario.script[usize::from(world.set)];
    let rollout = &version.rollout;
    let (to, _) = scenario.target(world.set, world.gates.condemned);
    let held = rollout.paused
        || rollout.on_delete
        || rollout.partition.of(100) > 0
        || scenario.turns_out(to) != Quality::Good
        || world.gates.condemned & (1 << to) != 0
        || rollout.canary.is_some()
            && rollout.bake.is_zero()
            && rollout.promoted != format!("v{to}");
    if held {
        return false;
    }
    let nodes = world.live();
    let dead_holder = nodes.iter().any(|node| node.up == 0 && node.turn.kind != 0);
    let barred =
        nodes.iter().any(|node| node.known.kind != 0 && node.boots >= 2 || twins(node, to));
    let members = nodes.iter().filter(|node| node.member != 0).count();
    let dead = nodes.iter().filter(|node| node.up == 0 && node.member != 0).count();
    let allowed = crate::rollout::admit::allowed_unavailable(rollout, members);
    let dead_counts = if rollout.ignore_absent { 0 } else { dead };
    !dead_holder && !barred && (dead_counts < allowed || rollout.surges() || dead == 0)
}

/// Whether a released node has a pod of a template that never gets available beside its old one.
fn twins(node: &Node, to: u8) -> bool {
    node.turn.kind == 0 && node.released != 0 && node.pods[1].hash == to
}
