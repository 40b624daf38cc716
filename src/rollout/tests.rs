//! Tests of the decisions one by one. What they come to together the model explores.

use std::time::Duration;

use jiff::Timestamp;

use crate::base::ids::{NodeName, TemplateHash};
use crate::spec::{Amount, Rollout};

use super::admit::{Gates, Look, Mover, Wait, admit, allowed_unavailable, gate};
use super::deal::{Beginning, Deal, Demand, Key, Write, deal};
use super::model::scenario::{canary, rollout, surge, unavailable};
use super::protocol::{Act, Facts, Held, Local, Own, PodFact, Step, next, permitted};
use super::turn::{Claimed, Turn, TurnKind, Verdict};

fn hash(name: &str) -> TemplateHash {
    TemplateHash::new(name)
}

fn verdict() -> Verdict {
    Verdict { reason: "Late".into(), message: "it took too long".into(), at: Timestamp::UNIX_EPOCH }
}

#[expect(clippy::unnecessary_wraps, reason = "pods are optional wherever they stand")]
fn pod(name: &str, available: bool) -> Option<PodFact> {
    Some(PodFact { hash: hash(name), ready: available, available })
}

fn turn(kind: TurnKind, to: &str) -> Turn {
    Turn {
        kind,
        from: "old".into(),
        to: hash(to),
        since: Timestamp::UNIX_EPOCH,
        boot_id: "boot".into(),
        domain: String::new(),
        failed: None,
    }
}

/// A member whose old pod is available, and that is to have a new one.
fn outdated() -> Facts {
    Facts {
        local: Local {
            revision: 7,
            to: hash("new"),
            own_template: true,
            rollout: rollout(),
            new: None,
            old: pod("old", true),
            leftover: false,
            ready: Ok(()),
            domain: String::new(),
            canary: false,
            barred: None,
        },
        own: Own { member: true, available: Some(hash("old")), turn: None, queue: None },
        gates: Gates::default(),
        look: None,
        in_turn_for: Duration::ZERO,
        overdue: verdict(),
        granted: false,
    }
}

/// The same within a turn.
fn within(kind: TurnKind, to: &str) -> Facts {
    let mut facts = outdated();
    facts.own.available = (kind == TurnKind::Surge).then(|| hash("old"));
    facts.own.turn = Some(Held { turn: turn(kind, to), revision: 11 });
    facts
}

/// The head of the queue in a set of three that are all available.
fn head() -> Facts {
    let mut facts = outdated();
    facts.own.queue = Some(9);
    facts.look =
        Some(Look { under: 9, counted: true, members: 3, available: 3, ..Look::default() });
    facts
}

/// What comes next after a change of the facts.
fn after(mut facts: Facts, change: impl FnOnce(&mut Facts)) -> Step {
    change(&mut facts);
    next(&facts)
}

fn spelled(act: &Act, facts: &Facts) -> Deal {
    deal(act, facts, Beginning { boot_id: "boot", since: Timestamp::UNIX_EPOCH })
}

#[test]
fn a_node_that_is_no_member_does_nothing() {
    assert_eq!(after(head(), |facts| facts.own.member = false), Step::Rest);
}

#[test]
fn a_node_says_what_is_available_before_anything_else() {
    let shows = |name| Step::Act(Act::Show(hash(name)));
    assert_eq!(after(head(), |facts| facts.own.available = None), shows("old"));
    let updated = |facts: &mut Facts| {
        (facts.local.new, facts.local.old) = (pod("new", true), None);
    };
    assert_eq!(after(outdated(), updated), shows("new"));
    assert_eq!(
        after(head(), |facts| facts.local.old = pod("old", false)),
        Step::Act(Act::Hide),
        "a pod that is not available is not said to be"
    );
}

#[test]
fn an_outdated_node_joins_looks_waits_and_claims() {
    assert_eq!(next(&outdated()), Step::Join);
    assert_eq!(after(head(), |facts| facts.look = None), Step::Look);
    let others = |facts: &mut Facts| {
        facts.look.as_mut().unwrap().ahead = Some(NodeName::new("n2"));
    };
    assert_eq!(after(head(), others), Step::Wait(Wait::Queue));
    assert_eq!(next(&head()), Step::Act(Act::Claim { more: 0 }));
    assert_eq!(
        after(head(), |facts| facts.look.as_mut().unwrap().available = 2),
        Step::Wait(Wait::Budget { unavailable: 1, allowed: 1 })
    );
    assert_eq!(
        after(head(), |facts| facts.own.queue = Some(10)),
        Step::Look,
        "what was read under another queue key says nothing"
    );
}

#[test]
fn the_head_goes_by_the_count_of_the_one_before_it_or_counts_itself() {
    let uncounted = |facts: &mut Facts| facts.look.as_mut().unwrap().counted = false;
    assert_eq!(after(head(), uncounted), Step::Count);
    let passed = |facts: &mut Facts| {
        facts.look = Some(Look { under: 9, passed: 3, ..Look::default() });
    };
    assert_eq!(after(head(), passed), Step::Act(Act::Claim { more: 2 }));
}

#[test]
fn a_node_that_may_not_update_leaves_the_queue_and_says_why() {
    type Change = fn(&mut Facts);
    let reasons: [(&str, Change); 5] = [
        ("on-delete", |facts| facts.local.rollout.on_delete = true),
        ("condemned", |facts| facts.gates.condemned.push(hash("new"))),
        ("preflight-failed", |facts| facts.local.ready = Err("the port is taken".into())),
        ("canary-first", |facts| facts.local.rollout = canary(60)),
        ("canary-baking", |facts| {
            facts.local.rollout = canary(60);
            facts.gates.baked.push(hash("new"));
            facts.gates.baking.push(hash("new"));
        }),
    ];
    for (reason, change) in reasons {
        assert_eq!(after(head(), change), Step::Act(Act::Leave), "{reason}");
        let mut facts = outdated();
        change(&mut facts);
        match next(&facts) {
            Step::Wait(wait) => assert_eq!(wait.id(), reason),
            other => panic!("{reason}: {other:?}"),
        }
    }
    let updated = |facts: &mut Facts| {
        (facts.local.new, facts.local.old) = (pod("old", true), None);
    };
    assert_eq!(after(head(), updated), Step::Act(Act::Leave), "it has what it is to have");
    let paused = |facts: &mut Facts| facts.local.rollout.paused = true;
    let waits = Step::Wait(Wait::Paused);
    assert_eq!(after(head(), paused), waits, "nobody claims, and each keeps its place");
    assert_eq!(after(outdated(), paused), waits, "and nobody joins");
}

#[test]
fn a_pod_that_is_not_available_is_repaired_at_once_and_stands_in_no_queue() {
    let ill = |facts: &mut Facts| {
        (facts.local.old, facts.own.available) = (pod("old", false), None);
    };
    assert_eq!(after(outdated(), ill), Step::Act(Act::Repair));
    let kept = |facts: &mut Facts| {
        ill(facts);
        facts.local.rollout.partition = Amount::Count(1);
    };
    assert_eq!(after(outdated(), kept), Step::Wait(Wait::Partition { keep: 1 }));
}

#[test]
fn a_turn_ends_when_the_new_pod_is_available_and_the_leave_was_taken_back() {
    let mut facts = within(TurnKind::Replace, "new");
    (facts.local.new, facts.local.old, facts.granted) = (pod("new", true), None, true);
    assert_eq!(next(&facts), Step::Revoke);
    facts.granted = false;
    assert_eq!(next(&facts), Step::Act(Act::Done));
    facts.local.new = pod("new", false);
    assert_eq!(next(&facts), Step::Wait(Wait::InTurn));
}

#[test]
fn a_turn_in_which_nothing_was_disturbed_is_given_back_when_it_is_void() {
    type Change = fn(&mut Facts);
    let void: [(&str, Change); 5] = [
        ("paused", |facts| facts.local.rollout.paused = true),
        ("on delete", |facts| facts.local.rollout.on_delete = true),
        ("another template", |facts| facts.local.to = hash("newer")),
        ("cannot start", |facts| facts.local.ready = Err("the port is taken".into())),
        ("another strategy", |facts| facts.local.rollout = surge(1)),
    ];
    for (why, change) in void {
        let mut facts = within(TurnKind::Replace, "new");
        assert_eq!(next(&facts), Step::Wait(Wait::InTurn), "{why}");
        change(&mut facts);
        let held = facts.own.turn.as_ref().map(|held| &held.turn);
        assert!(!permitted(&facts.local, held), "{why}");
        facts.granted = true;
        assert_eq!(next(&facts), Step::Revoke, "{why}");
        facts.granted = false;
        assert_eq!(next(&facts), Step::Act(Act::Withdraw(hash("old"))), "{why}");
        facts.local.old = None;
        let step = next(&facts);
        assert!(!matches!(step, Step::Act(Act::Withdraw(_))), "{why}: the pod is gone: {step:?}");
    }
}

#[test]
fn a_repair_gives_its_turn_back_when_the_old_pod_recovers() {
    let facts = within(TurnKind::Repair, "new");
    assert_eq!(next(&facts), Step::Act(Act::Withdraw(hash("old"))));
    let ill = |facts: &mut Facts| facts.local.old = pod("old", false);
    assert_eq!(after(facts, ill), Step::Wait(Wait::InTurn));
}

#[test]
fn a_disturbed_node_goes_to_another_template_in_the_same_turn() {
    let gone = |facts: &mut Facts| (facts.local.old, facts.local.to) = (None, hash("newer"));
    assert_eq!(after(within(TurnKind::Replace, "new"), gone), Step::Act(Act::Retarget));
    let failed = |facts: &mut Facts| {
        gone(facts);
        facts.own.turn.as_mut().unwrap().turn.failed = Some(verdict());
    };
    assert_eq!(after(within(TurnKind::Replace, "new"), failed), Step::Act(Act::Retarget));
    let leftover = |facts: &mut Facts| {
        (facts.local.leftover, facts.local.to) = (true, hash("newer"));
        facts.local.rollout = surge(1);
    };
    assert_eq!(after(within(TurnKind::Surge, "new"), leftover), Step::Act(Act::Retarget));
}

#[test]
fn a_surging_node_says_when_its_old_pod_no_longer_serves() {
    let ill = |facts: &mut Facts| {
        facts.local.rollout = surge(1);
        (facts.local.old, facts.local.new) = (pod("old", false), pod("new", false));
    };
    assert_eq!(after(within(TurnKind::Surge, "new"), ill), Step::Act(Act::Hide));
}

#[test]
fn a_turn_that_takes_too_long_fails_and_condemns_only_what_may_be_gone_back_from() {
    for (rollback, rolled_back, own_template, condemns) in [
        (false, false, true, false),
        (true, false, true, true),
        (true, true, true, false),
        (true, false, false, false),
    ] {
        let mut facts = within(TurnKind::Replace, "new");
        (facts.local.old, facts.local.new) = (None, pod("new", false));
        facts.in_turn_for = facts.local.rollout.deadline;
        let rollout = &mut facts.local.rollout;
        (rollout.rollback, rollout.rolled_back) = (rollback, rolled_back);
        facts.local.own_template = own_template;
        let fail = Act::Fail { verdict: verdict(), condemn: condemns };
        assert_eq!(next(&facts), Step::Act(fail.clone()));
        let deal = spelled(&fail, &facts);
        assert_eq!(deal.when, [Demand::Changed(Key::Turn, 11)]);
        let condemned = Write::Condemn(hash("new"), verdict());
        assert_eq!(deal.then.contains(&condemned), condemns);
        facts.own.turn.as_mut().unwrap().turn.failed = Some(verdict());
        assert_eq!(next(&facts), Step::Wait(Wait::Failed("it took too long".into())));
    }
}

#[test]
fn a_barred_template_fails_its_turn_at_once_and_is_not_tried_again() {
    let mut facts = within(TurnKind::Replace, "new");
    facts.local.barred = Some(verdict());
    assert_eq!(next(&facts), Step::Act(Act::Fail { verdict: verdict(), condemn: false }));
    assert!(!permitted(&facts.local, facts.own.turn.as_ref().map(|held| &held.turn)));
}

#[test]
fn leave_is_for_the_template_and_the_way_of_the_turn_only() {
    for (kind, to, rollout, old, allowed) in [
        (TurnKind::Replace, "new", unavailable(1), pod("old", true), true),
        (TurnKind::Replace, "other", unavailable(1), pod("old", true), false),
        (TurnKind::Surge, "new", surge(1), pod("old", true), true),
        (TurnKind::Surge, "new", unavailable(1), pod("old", true), false),
        (TurnKind::Repair, "new", unavailable(1), pod("old", false), true),
        (TurnKind::Repair, "new", unavailable(1), pod("old", true), false),
        (TurnKind::Replace, "new", surge(1), pod("old", false), true),
        (TurnKind::Replace, "new", Rollout { paused: true, ..rollout() }, pod("old", true), false),
        (TurnKind::Replace, "new", Rollout { paused: true, ..rollout() }, pod("old", false), true),
    ] {
        let mut facts = within(kind, to);
        (facts.local.rollout, facts.local.old) = (rollout, old);
        let held = facts.own.turn.as_ref().map(|held| &held.turn);
        assert_eq!(permitted(&facts.local, held), allowed, "{kind:?} to {to}: {:?}", facts.local);
        assert!(!permitted(&facts.local, None));
    }
}

#[test]
fn a_claim_demands_all_that_it_was_decided_on() {
    let facts = head();
    let deal = spelled(&Act::Claim { more: 2 }, &facts);
    let demands = [
        Demand::Changed(Key::Set, 7),
        Demand::Absent(Key::Condemned(hash("new"))),
        Demand::Present(Key::Member),
        Demand::Present(Key::Available),
        Demand::Absent(Key::Turn),
        Demand::Made(Key::Queue, 9),
    ];
    assert_eq!(deal.when, demands);
    let turn = Write::Turn(turn(TurnKind::Replace, "new"));
    let passed = Write::Pass(Claimed { queue: 9, more: 2, set: 7 });
    let available = Write::Delete(Key::Available);
    assert_eq!(deal.then, [Write::Delete(Key::Queue), available, turn, passed]);
    let mut facts = facts;
    facts.local.rollout = surge(1);
    let deal = spelled(&Act::Claim { more: 2 }, &facts);
    assert!(!deal.then.contains(&Write::Delete(Key::Available)), "beside the old pod");
    facts.local.rollout = canary(60);
    let deal = spelled(&Act::Claim { more: 2 }, &facts);
    let demands =
        [Demand::Present(Key::Baked(hash("new"))), Demand::Absent(Key::Baking(hash("new")))];
    assert!(deal.when.ends_with(&demands), "{deal:?}");
}

#[test]
fn available_is_put_only_where_no_other_turn_is() {
    let shows = |facts: &Facts| spelled(&Act::Show(hash("old")), facts).when;
    assert_eq!(shows(&outdated()), [Demand::Present(Key::Member), Demand::Absent(Key::Turn)]);
    let turn = Demand::Changed(Key::Turn, 11);
    assert_eq!(
        shows(&within(TurnKind::Surge, "new")),
        [Demand::Present(Key::Member), turn.clone()]
    );
    for act in [Act::Withdraw(hash("old")), Act::Done] {
        let deal = spelled(&act, &within(TurnKind::Replace, "new"));
        assert_eq!(deal.when, [Demand::Present(Key::Member), turn.clone()], "{act:?}");
        assert!(deal.then.starts_with(&[Write::Delete(Key::Turn)]), "{act:?}");
    }
}

#[test]
fn gates_hold_back_in_their_order() {
    let mover =
        |canary| Mover { to: hash("new"), kind: TurnKind::Replace, domain: String::new(), canary };
    let new = || vec![hash("new")];
    let none = Gates::default();
    let gates = |condemned, baked, baking| Gates { condemned, baked, baking };
    let promoted = Rollout { promoted: "new".into(), ..canary(0) };
    let paused = Rollout { paused: true, ..rollout() };
    for (rollout, gates, of_canary, outcome) in [
        (rollout(), none.clone(), false, Ok(())),
        (paused.clone(), none.clone(), false, Err(Wait::Paused)),
        (paused, gates(new(), vec![], vec![]), false, Err(Wait::Condemned)),
        (canary(60), none.clone(), true, Ok(())),
        (canary(60), none.clone(), false, Err(Wait::Canary)),
        (canary(60), gates(vec![], new(), new()), false, Err(Wait::Baking)),
        (canary(60), gates(vec![], new(), vec![]), false, Ok(())),
        (canary(0), gates(vec![], new(), vec![]), false, Err(Wait::Canary)),
        (promoted, none, false, Ok(())),
    ] {
        assert_eq!(gate(&rollout, &gates, &mover(of_canary)), outcome, "{rollout:?} {gates:?}");
    }
}

#[test]
fn the_head_of_the_queue_is_admitted_by_what_it_read() {
    let turn_of = |node: &str, kind, to: &str| (NodeName::new(node), turn(kind, to));
    let look = |members, available, turns| Look { members, available, turns, ..Look::default() };
    let kept = Rollout { partition: Amount::Count(2), ..unavailable(4) };
    let absent = Look { absent: 1, ..look(4, 3, vec![]) };
    let surging = vec![turn_of("n1", TurnKind::Surge, "new")];
    let moving = vec![turn_of("n1", TurnKind::Replace, "new")];
    for (rollout, look, outcome) in [
        (unavailable(1), look(3, 3, vec![]), Ok(0)),
        (unavailable(1), look(3, 2, vec![]), Err(Wait::Budget { unavailable: 1, allowed: 1 })),
        (unavailable(2), look(3, 2, vec![]), Ok(0)),
        (unavailable(3), look(5, 5, vec![]), Ok(2)),
        (unavailable(100), look(200, 200, vec![]), Ok(64)),
        (surge(3), look(5, 5, surging.clone()), Ok(1)),
        (unavailable(3), Look { passed: 2, ..look(0, 0, vec![]) }, Ok(1)),
        (unavailable(1), absent, Ok(0)),
        (surge(1), look(3, 1, vec![]), Ok(0)),
        (surge(1), look(3, 3, surging.clone()), Err(Wait::Surge { surging: 1, allowed: 1 })),
        (surge(2), look(3, 3, surging), Ok(0)),
        (kept.clone(), look(4, 4, vec![]), Ok(0)),
        (
            kept.clone(),
            Look { updated: 1, ..look(4, 3, moving.clone()) },
            Err(Wait::Partition { keep: 2 }),
        ),
        (kept, Look { updated: 2, ..look(4, 4, vec![]) }, Err(Wait::Partition { keep: 2 })),
    ] {
        let kind = if rollout.surges() { TurnKind::Surge } else { TurnKind::Replace };
        let mover = Mover { to: hash("new"), kind, domain: String::new(), canary: false };
        assert_eq!(admit(&rollout, &mover, &look), outcome, "{look:?}");
    }
}

#[test]
fn one_domain_at_a_time_and_only_after_canary_nodes_that_are_well() {
    let racks = Rollout { domain: "rack".into(), ..unavailable(2) };
    let mut other = turn(TurnKind::Replace, "new");
    other.domain = "a".into();
    let look = Look {
        members: 4,
        available: 3,
        turns: vec![(NodeName::new("n1"), other)],
        ..Look::default()
    };
    let mover = |domain: &str| Mover {
        to: hash("new"),
        kind: TurnKind::Replace,
        domain: domain.into(),
        canary: false,
    };
    assert_eq!(admit(&racks, &mover("a"), &look), Ok(0));
    let waits = Wait::Domain { value: "a".into(), node: NodeName::new("n1") };
    assert_eq!(admit(&racks, &mover("b"), &look), Err(waits));
    let free = Look { members: 4, available: 4, ..Look::default() };
    assert_eq!(admit(&racks, &mover("a"), &free), Ok(0), "the next one may be of another domain");
    for (canaries, outcome) in [
        (vec![], Err(Wait::CanaryIll)),
        (vec![(hash("new"), true)], Ok(0)),
        (vec![(hash("new"), true), (hash("new"), false)], Err(Wait::CanaryIll)),
        (vec![(hash("new"), true), (hash("old"), true)], Err(Wait::CanaryIll)),
    ] {
        let look = Look { members: 4, available: 4, canaries, ..Look::default() };
        assert_eq!(admit(&canary(60), &mover(""), &look), outcome, "{look:?}");
    }
}

#[test]
fn without_any_budget_one_node_may_be_unavailable() {
    for (rollout, nodes, allowed) in [
        (unavailable(0), 5, 1),
        (unavailable(0), 0, 0),
        (unavailable(3), 5, 3),
        (surge(1), 5, 0),
        (Rollout { max_unavailable: Amount::Percent(10), ..rollout() }, 11, 2),
    ] {
        assert_eq!(allowed_unavailable(&rollout, nodes), allowed);
    }
}

#[test]
fn canary_nodes_begin_the_bake_together_and_end_it_when_one_is_ill() {
    let mut facts = outdated();
    (facts.local.new, facts.local.old) = (pod("new", true), None);
    (facts.local.canary, facts.local.rollout) = (true, canary(60));
    facts.own.available = Some(hash("new"));
    assert_eq!(next(&facts), Step::Count);
    let canaries = vec![(hash("new"), true), (hash("old"), true)];
    facts.look = Some(Look { canaries, counted: true, ..Look::default() });
    assert_eq!(next(&facts), Step::Rest, "the other is not there yet");
    facts.look =
        Some(Look { canaries: vec![(hash("new"), true)], counted: true, ..Look::default() });
    assert_eq!(next(&facts), Step::Act(Act::StartBake));
    facts.gates.baked.push(hash("new"));
    assert_eq!(next(&facts), Step::Rest);
    (facts.local.new, facts.own.available) = (pod("new", false), None);
    assert_eq!(next(&facts), Step::Act(Act::ResetBake));
}
