//! Faults that were put into the protocol on purpose: the checker finds each, and shows how it comes about.

use crate::spec::Rollout;

use super::explore::explore;
use super::scenario::{Quality, Scenario, Seeded, unavailable};

/// Explores, and finds this.
fn finds(scenario: Scenario, seeded: Seeded, wrong: &str) {
    let mut sound = scenario.clone();
    sound.liveness = false;
    assert_eq!(explore(sound).wrong, None, "without the fault");
    let (found, trace) = explore(scenario.seeded(seeded)).wrong.expect("the fault is found");
    println!("{seeded:?}: {found}\n{trace}");
    assert!(found.contains(wrong), "{found}\n{trace}");
}

/// Three hosts, one at a time.
fn three(templates: &[u8]) -> Scenario {
    Scenario::new("three hosts", 3, &unavailable(1), templates)
}

#[test]
fn a_claim_that_skips_the_count() {
    finds(three(&[1, 2]), Seeded::NoCount, "I1");
}

#[test]
fn a_count_that_was_read_under_an_older_queue_key() {
    finds(three(&[1, 2]).with(|left| left.lease = 1), Seeded::OldCount, "I1");
}

#[test]
fn available_put_back_while_a_turn_is_open() {
    finds(three(&[1, 2]).with(|left| left.lost = 1), Seeded::ShownInTurn, "I3");
}

#[test]
fn done_before_the_pod_was_ready_for_long_enough() {
    let mut scenario = three(&[1, 2]);
    scenario.ready_first = true;
    finds(scenario, Seeded::DoneEarly, "available");
}

#[test]
fn a_claim_that_forgets_the_revision_of_the_set() {
    let paused = Rollout { paused: true, ..unavailable(1) };
    finds(three(&[1, 2]).then(2, paused), Seeded::NoFence, "I2: a claim after a pause");
    finds(three(&[1, 2, 3]), Seeded::NoFence, "I2");
}

#[test]
fn a_claim_that_forgets_what_was_condemned() {
    let rollout = Rollout { rollback: true, ..unavailable(2) };
    let scenario = Scenario::new("three hosts, rollback", 3, &rollout, &[1, 2]);
    finds(scenario.quality(2, Quality::NeverReady), Seeded::NoCondemned, "I2");
}

#[test]
fn a_node_that_is_deleted_with_its_available_left_behind() {
    finds(three(&[1, 2]).with(|left| left.delete = 1), Seeded::AvailableLeft, "I3");
}

#[test]
fn the_permission_itself_under_a_lease() {
    let scenario = three(&[1, 2]).quality(2, Quality::KillsHost);
    finds(scenario, Seeded::LeasedTurn, "I1");
}

#[test]
fn transactions_without_an_epoch() {
    finds(three(&[1, 2]).with(|left| left.lost = 1), Seeded::NoEpoch, "does not know its own");
}

#[test]
fn a_turn_given_back_before_the_leave_is() {
    let paused = Rollout { paused: true, ..unavailable(1) };
    finds(
        three(&[1, 2]).then(2, paused).then(2, unavailable(1)),
        Seeded::NoRevoke,
        "says that it is available",
    );
}

#[test]
fn a_turn_done_before_the_leave_is_taken_back() {
    let scenario = Scenario::new("two hosts", 2, &unavailable(1), &[1, 2, 1, 2]);
    finds(scenario, Seeded::DoneGranted, "says that it is available");
}

#[test]
fn leave_given_while_a_transaction_is_under_way() {
    let paused = Rollout { paused: true, ..unavailable(1) };
    finds(
        three(&[1, 2]).then(2, paused).then(2, unavailable(1)),
        Seeded::GrantInFlight,
        "says that it is available",
    );
}

#[test]
fn an_agent_that_forgets_that_it_took_the_leave_back() {
    let scenario = Scenario::new("two hosts", 2, &unavailable(1), &[1, 2])
        .with(|left| (left.unready, left.lost, left.restart) = (1, 1, 1));
    finds(scenario, Seeded::RevokeForgotten, "I");
}

#[test]
fn a_session_that_acts_before_its_reconciler_knows_that_the_turn_is_gone() {
    finds(three(&[1, 2]).with(|left| left.release = 1), Seeded::StaleLeave, "I");
}

/// Four hosts, two at a time, whose places in the queue get lost.
fn four() -> Scenario {
    Scenario::new("four hosts", 4, &unavailable(2), &[1, 2]).with(|left| left.lease = 1)
}

#[test]
fn a_count_passed_on_as_it_was() {
    let scenario = Scenario::new("three hosts, two at a time", 3, &unavailable(2), &[1, 2]);
    finds(scenario, Seeded::PassedWhole, "I1");
}

#[test]
fn a_count_taken_over_from_somebody_else_than_the_one_before() {
    finds(four(), Seeded::PassedToAnybody, "I1");
}

#[test]
fn a_node_that_takes_itself_for_the_head_because_the_one_before_it_is_gone() {
    finds(four(), Seeded::HeadByGap, "I1");
}

#[test]
fn an_absent_node_that_is_counted_as_available_and_not_as_a_member() {
    let ignore = Rollout { ignore_absent: true, ..unavailable(1) };
    let scenario = Scenario::new("absent nodes do not count", 3, &ignore, &[1, 2]);
    let scenario = scenario.with(|left| (left.restart, left.lease) = (1, 1));
    finds(scenario, Seeded::AbsentTwice, "I1");
}
