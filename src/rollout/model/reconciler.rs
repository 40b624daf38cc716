//! The part of a host that stops and starts pods, with the leave that it has: the check first, and then the act.

use super::mind::{Decision, Mind};
use super::moves::Ways;
use super::scenario::Seeded;
use super::world::{AVAILABLE, Node, Pod, REPAIR, STARTING};

/// Of two pods the one that is too many, as the plan of a host says it.
fn surplus(node: &Node, decision: Decision) -> Option<u8> {
    let [older, newer] = node.pods;
    let is_new = |pod: Pod| pod.hash == decision.to;
    if !decision.surges || !is_new(older) && !is_new(newer) {
        return Some(newer.hash);
    }
    let (new, old) = if is_new(newer) { (newer, older) } else { (older, newer) };
    (new.state == AVAILABLE || old.state == STARTING).then_some(old.hash)
}

/// What the reconciler does with the leave that it has: the check, and then the act.
pub(super) fn steps(
    mind: &Mind,
    ways: &mut Ways<'_>,
    index: usize,
    node: &Node,
    decision: Decision,
) {
    let to = decision.to;
    let [older, newer] = node.pods;
    if node.stopping != 0 {
        ways.add(index, "stops the old pod and starts the new one", true, |_, node| {
            let gone = node.stopping;
            node.drop_pods(|pod| pod.hash == gone);
            node.stopping = 0;
            if node.pods[0].hash == 0 {
                node.start(to);
            }
            None
        });
        return;
    }
    if node.wants == 1 && older.hash == 0 && node.member != 0 {
        ways.add(index, "starts a pod where there is none", true, |_, node| {
            node.start(to);
            None
        });
        return;
    }
    if newer.hash != 0 {
        if let Some(gone) = surplus(node, decision) {
            ways.add(index, "stops a pod that is too many", true, |_, node| {
                let served = node.serves();
                node.drop_pods(|pod| pod.hash == gone);
                node.disturbed |= u8::from(served && !node.serves());
                None
            });
        }
        return;
    }
    if decision.barred {
        let back = node.known.from;
        if back != 0 && older.hash == node.known.to {
            ways.add(index, "goes back by itself", true, |_, node| {
                node.drop_pods(|_| true);
                node.start(back);
                None
            });
        }
        return;
    }
    let stale = mind.scenario.has(Seeded::StaleLeave) && node.known.kind == 0;
    let leave = node.granted == to && (decision.permitted || stale);
    if older.hash == 0 || older.hash == to || !leave {
        return;
    }
    if decision.surges {
        ways.add(index, "starts the new pod beside the old one", true, |_, node| {
            // Within a turn that an operator has ended already, which this host does not know yet.
            node.excused |= node.released;
            node.start(to);
            None
        });
        return;
    }
    check(ways, index, older);
}

/// The check that comes before the old pod is stopped.
fn check(ways: &mut Ways<'_>, index: usize, older: Pod) {
    ways.add(index, "checks that it may stop the old pod", true, |_, node| {
        node.stopping = older.hash;
        if older.state != AVAILABLE {
            return None;
        }
        node.disturbed = 1;
        if node.known.kind == REPAIR {
            return Some("a repair costs a pod that is available");
        }
        let in_store = node.turn.kind != 0 || node.excused != 0 || node.released != 0;
        (!in_store).then_some("I5: a pod is stopped without a turn")
    });
}
