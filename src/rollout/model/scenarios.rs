//! What is explored.

use crate::spec::{Amount, Rollout};

use super::explore::explore;
use super::scenario::{Quality, Role, Scenario, canary, surge, unavailable};

/// Explores, and finds nothing wrong.
fn holds(scenario: Scenario) {
    if let Some((wrong, trace)) = explore(scenario).wrong {
        panic!("{wrong}\n{trace}");
    }
}

#[test]
fn four_hosts_with_a_crash_a_partition_and_a_lost_lease() {
    for at_once in [1, 2] {
        let scenario =
            Scenario::new("four hosts, one fault each", 4, &unavailable(at_once), &[1, 2]);
        for change in [
            |left: &mut super::world::Left| left.crash = 1,
            |left: &mut super::world::Left| left.restart = 1,
            |left: &mut super::world::Left| left.cut = 1,
            |left: &mut super::world::Left| left.lease = 1,
            |left: &mut super::world::Left| left.lost = 1,
            |left: &mut super::world::Left| left.pod = 1,
            |left: &mut super::world::Left| left.outage = 1,
            |left: &mut super::world::Left| left.slow = 1,
            |left: &mut super::world::Left| left.unready = 1,
            |left: &mut super::world::Left| left.leave = 1,
        ] {
            holds(scenario.clone().with(change));
        }
    }
}

#[test]
fn three_hosts_with_pairs_of_faults() {
    let scenario = Scenario::new("three hosts, two faults", 3, &unavailable(1), &[1, 2]);
    holds(scenario.clone().with(|left| (left.cut, left.crash) = (1, 1)));
    holds(scenario.clone().with(|left| (left.cut, left.lost) = (1, 1)));
    holds(scenario.clone().with(|left| (left.lease, left.lost) = (1, 1)));
    holds(scenario.clone().with(|left| (left.restart, left.lost) = (1, 1)));
    holds(scenario.clone().with(|left| (left.pod, left.lost) = (1, 1)));
    holds(scenario.clone().with(|left| (left.unready, left.lost) = (1, 1)));
    holds(scenario.clone().with(|left| (left.release, left.cut) = (1, 1)));
    holds(scenario.clone().with(|left| (left.release, left.lost) = (1, 1)));
    holds(scenario.clone().with(|left| (left.delete, left.cut) = (1, 1)));
    holds(scenario.clone().with(|left| (left.release, left.crash) = (1, 1)));
}

#[test]
fn versions_that_follow_each_other() {
    let of =
        |title, hosts, templates: &[u8]| Scenario::new(title, hosts, &unavailable(1), templates);
    holds(of("a second change under way", 3, &[1, 2, 3]));
    holds(of("undo under way", 3, &[1, 2, 1]));
    holds(of("there and back again", 2, &[1, 2, 1, 2]).with(|left| left.lost = 1));
    holds(of("a second change, lost", 3, &[1, 2, 3]).with(|left| left.lost = 1));
    let paused = Rollout { paused: true, ..unavailable(1) };
    let scenario = of("pause and resume", 3, &[1, 2]).then(2, paused).then(2, unavailable(1));
    holds(scenario.with(|left| left.lost = 1));
}

#[test]
fn surging() {
    for at_once in [1, 2] {
        let of = |templates: &[u8]| Scenario::new("surge", 3, &surge(at_once), templates);
        holds(of(&[1, 2, 3]));
        holds(of(&[1, 2, 1]));
        holds(of(&[1, 2]).with(|left| (left.lost, left.pod) = (1, 1)));
        holds(of(&[1, 2]).with(|left| left.crash = 1));
        holds(of(&[1, 2]).with(|left| (left.release, left.cut) = (1, 1)));
    }
}

#[test]
fn strategies_that_change() {
    let to_surge = Scenario::new("to surge", 3, &unavailable(1), &[1, 2]).then(2, surge(1));
    holds(to_surge);
    let from_surge = Scenario::new("from surge", 3, &surge(1), &[1, 2]).then(2, unavailable(1));
    holds(from_surge);
}

#[test]
fn templates_that_are_bad() {
    for quality in [Quality::NeverReady, Quality::KillsHost] {
        for rollback in [false, true] {
            let rollout = Rollout { rollback, ..unavailable(1) };
            let of = |hosts, templates: &[u8]| {
                Scenario::new("bad template", hosts, &rollout, templates).quality(2, quality)
            };
            holds(of(3, &[1, 2]).with(|left| left.lost = 1));
            holds(of(3, &[1, 2, 3]));
            holds(of(3, &[1, 2, 1]).with(|left| left.release = 1));
        }
    }
}

#[test]
fn nodes_that_join_and_absent_ones() {
    let joins = Role { joins: true, ..Role::default() };
    let scenario = Scenario::new("a node joins", 4, &unavailable(1), &[1, 2]).role(3, joins);
    holds(scenario.with(|left| left.lost = 1));
    let ignore = Rollout { ignore_absent: true, ..unavailable(1) };
    let scenario = Scenario::new("absent nodes do not count", 3, &ignore, &[1, 2]);
    holds(scenario.with(|left| (left.crash, left.cut) = (1, 1)));
}

#[test]
fn canary_partition_and_domains() {
    let first = Role { canary: true, ..Role::default() };
    let scenario = Scenario::new("canary and bake", 3, &canary(60), &[1, 2]).role(0, first);
    holds(scenario.clone().with(|left| left.pod = 1));
    let promoted = Rollout { promoted: "v2".into(), ..canary(0) };
    let scenario =
        Scenario::new("canary, promoted", 3, &canary(0), &[1, 2]).role(0, first).then(2, promoted);
    holds(scenario.with(|left| left.lost = 1));
    let keep = Rollout { partition: Amount::Count(2), ..unavailable(2) };
    holds(Scenario::new("partition", 4, &keep, &[1, 2]).with(|left| left.lost = 1));
    let racks = Rollout { domain: "rack".into(), ..unavailable(2) };
    let rack = |domain| Role { domain, ..Role::default() };
    let scenario = Scenario::new("domains", 4, &racks, &[1, 2]);
    holds(
        scenario
            .role(0, rack(1))
            .role(1, rack(1))
            .role(2, rack(2))
            .role(3, rack(2))
            .with(|left| left.lost = 1),
    );
}
