//! What goes wrong in a world, what operators do, and what heals by itself.

use super::mind::Mind;
use super::moves::{Ways, down};
use super::scenario::Seeded;
use super::store;
use super::world::{AVAILABLE, Node, STARTING, SURGE, Turn, World};

/// Everything that comes from outside.
pub(super) fn faults(mind: &Mind, ways: &mut Ways<'_>) {
    let last = u8::try_from(mind.scenario.script.len()).unwrap() - 1;
    if ways.from.set < last {
        ways.add(
            0,
            "(nobody) sees how the next version of the set is written",
            false,
            |world, _| {
                world.set += 1;
                None
            },
        );
    }
    let baking = ways.from.gates.baking;
    if baking != 0 {
        ways.add(0, "(nobody) sees how the bake ends", true, |world, _| {
            world.gates.baking = 0;
            None
        });
    }
    if ways.from.away != 0 {
        ways.add(0, "(nobody) sees how the store comes back", true, |world, _| {
            world.away = 0;
            None
        });
    } else if ways.from.left.outage > 0 {
        ways.add(0, "(nobody) sees how the store goes away", false, |world, _| {
            (world.away, world.left.outage) = (1, world.left.outage - 1);
            None
        });
        let way = ways.ways.last_mut().unwrap();
        for node in &mut way.world.nodes {
            if node.session != 0 {
                node.part(false);
            }
        }
    }
    for index in 0..usize::from(ways.from.count) {
        let node = ways.from.nodes[index];
        host(mind, ways, index, &node);
        if ways.from.away == 0 {
            link(mind, ways, index, &node);
            operator(mind, ways, index, &node);
            membership(ways, index, &node);
        }
    }
}

/// What happens to a host.
fn host(mind: &Mind, ways: &mut Ways<'_>, index: usize, node: &Node) {
    if node.up == 0 {
        ways.add(index, "is booted", false, |_, node| {
            node.up = 1;
            node.lease = if node.lease == 0 { 0 } else { 2 };
            if node.known.kind != 0 {
                node.boots = (node.boots + 1).min(2);
            }
            None
        });
        return;
    }
    let left = ways.from.left;
    if left.crash > 0 {
        ways.add(index, "crashes", false, |world, node| {
            world.left.crash -= 1;
            down(node);
            None
        });
    }
    if left.restart > 0 {
        let forgets = mind.scenario.has(Seeded::RevokeForgotten);
        let killed = move |world: &mut World, node: &mut Node| {
            world.left.restart -= 1;
            if forgets {
                node.granted = node.known.to;
            }
            node.part(false);
            node.stopping = 0;
            node.lease = if node.lease == 0 { 0 } else { 2 };
            None
        };
        ways.add(index, "its agent is killed and begins anew", false, |world, node| {
            if node.stopping != 0 {
                // It had checked, and not acted.
                node.disturbed = 0;
            }
            killed(world, node)
        });
        if node.stopping != 0 {
            ways.add(index, "its agent is killed as it stops the old pod", false, |world, node| {
                let gone = node.stopping;
                node.drop_pods(|pod| pod.hash == gone);
                killed(world, node)
            });
        }
    }
    on_host(ways, index, node);
}

/// What happens to the pods of a host, and to what they need.
fn on_host(ways: &mut Ways<'_>, index: usize, node: &Node) {
    let left = ways.from.left;
    if left.pod > 0 {
        for slot in 0..2 {
            if node.pods[slot].hash != 0 && node.pods[slot].state == AVAILABLE {
                ways.add(index, "its pod crashes", false, |world, node| {
                    world.left.pod -= 1;
                    node.pods[slot].state = STARTING;
                    None
                });
            }
        }
    }
    if node.unready != 0 {
        ways.add(index, "has what a new pod needs", true, |_, node| {
            node.unready = 0;
            None
        });
    } else if left.unready > 0 {
        ways.add(index, "lacks what a new pod needs", false, |world, node| {
            world.left.unready -= 1;
            node.unready = 1;
            None
        });
    }
}

/// What happens between a host and the store.
fn link(mind: &Mind, ways: &mut Ways<'_>, index: usize, node: &Node) {
    let left = ways.from.left;
    if node.cut != 0 {
        ways.add(index, "is no longer cut off", true, |_, node| {
            node.cut = 0;
            None
        });
    } else if left.cut > 0 && node.up != 0 {
        ways.add(index, "is cut off", false, |world, node| {
            world.left.cut -= 1;
            node.part(false);
            node.cut = 1;
            None
        });
    }
    if node.older != 0 {
        ways.add(index, "the store lease of its earlier agent ends", true, |_, node| {
            (node.available, node.older) = (0, 0);
            None
        });
    }
    if node.lease != 0 && (node.session == 0 || left.lease > 0) {
        let sure = node.session == 0;
        ways.add(index, "its store lease ends", sure, |world, node| {
            if node.session != 0 {
                world.left.lease -= 1;
            }
            expire(mind, node);
            None
        });
    }
    if node.flight.deal != 0 && node.session != 0 && left.lost > 0 {
        lose(mind, ways, index, node);
    }
}

/// Ends a store lease, with what is under it.
fn expire(mind: &Mind, node: &mut Node) {
    (node.lease, node.queue) = (0, 0);
    if node.older == 0 {
        node.available = 0;
    }
    if mind.scenario.has(Seeded::LeasedTurn) {
        (node.turn, node.turn_revision) = (Turn::default(), 0);
    }
}

/// A session ends with a transaction under way: it was carried out, or not, or is not yet.
fn lose(mind: &Mind, ways: &mut Ways<'_>, index: usize, node: &Node) {
    let deal = &mind.deals[usize::from(node.flight.deal)];
    let mut world: World = *ways.from;
    if node.session == 1 && store::commit(&mut world, index, node.flight, deal) {
        let way = ways.add(index, "loses its connection after", false, |_, _| None);
        way.world = world;
        way.world.left.lost -= 1;
        way.world.nodes[index].part(false);
        way.made.deal = node.flight.deal;
    }
    let way = ways.add(index, "loses its connection before", false, |world, node| {
        world.left.lost -= 1;
        node.part(false);
        None
    });
    way.made.deal = node.flight.deal;
    if mind.scenario.has(Seeded::NoEpoch) {
        let way = ways.add(index, "loses its connection during", false, |world, node| {
            world.left.lost -= 1;
            let flight = std::mem::take(&mut node.flight);
            node.part(false);
            node.late = flight;
            None
        });
        way.made.deal = node.flight.deal;
    }
}

/// What operators do to a node.
fn operator(mind: &Mind, ways: &mut Ways<'_>, index: usize, node: &Node) {
    let left = ways.from.left;
    if left.release > 0 && node.turn.kind != 0 {
        ways.add(index, "is released by an operator", false, |world, node| {
            world.left.release -= 1;
            node.session = 2 * node.session.min(1);
            if node.lease == 0 {
                node.strike();
                node.excused = 1;
            } else {
                // Two pods that were there within the turn stay; the operator wanted it so.
                node.excused |= u8::from(node.turn.kind == SURGE && node.pods[1].hash != 0);
                (node.turn, node.turn_revision, node.released) = (Turn::default(), 0, 1);
            }
            None
        });
    }
    let careless = mind.scenario.has(Seeded::AvailableLeft);
    if left.delete > 0 && node.member != 0 && (node.lease == 0 || careless) {
        ways.add(index, "is deleted by an operator", false, |world, node| {
            world.left.delete -= 1;
            node.session = 2 * node.session.min(1);
            let available = node.available;
            node.strike();
            if careless {
                node.available = available;
            }
            node.excused = 1;
            None
        });
    }
}

/// Nodes join and leave.
fn membership(ways: &mut Ways<'_>, index: usize, node: &Node) {
    if node.wants == 0 && node.up != 0 {
        let set = ways.from.set;
        ways.add(index, "joins", false, |_, node| {
            (node.wants, node.seen_set) = (1, set);
            None
        });
    }
    if ways.from.left.leave > 0 && node.session == 1 && node.flight.deal == 0 && node.wants == 1 {
        ways.add(index, "leaves", false, |world, node| {
            world.left.leave -= 1;
            node.strike();
            node.forget_turn();
            node.part(false);
            node.drop_pods(|_| true);
            (node.wants, node.stopping, node.disturbed) = (2, 0, 0);
            node.lease = 0;
            None
        });
    }
}
