//! What is explored in each test run: what takes seconds.

use crate::spec::{Amount, Rollout};

use super::explore::explore;
use super::scenario::{Quality, Role, Scenario, canary, surge, unavailable};
use super::world::Left;

/// Explores, and finds nothing wrong.
pub(super) fn holds(scenario: Scenario) {
    if let Some((wrong, trace)) = explore(scenario).wrong {
        panic!("{wrong}\n{trace}");
    }
}

/// A way to let something go wrong.
pub(super) type Fault = fn(&mut Left);

/// Each thing that goes wrong once.
pub(super) const FAULTS: [(&str, Fault); 10] = [
    ("a host crashes", |left| left.crash = 1),
    ("an agent is killed", |left| left.restart = 1),
    ("a host is cut off", |left| left.cut = 1),
    ("a store lease ends early", |left| left.lease = 1),
    ("an answer is lost", |left| left.lost = 1),
    ("a pod crashes", |left| left.pod = 1),
    ("the store is away", |left| left.outage = 1),
    ("a good pod takes too long", |left| left.slow = 1),
    ("a host lacks what a new pod needs", |left| left.unready = 1),
    ("a node leaves", |left| left.leave = 1),
];

/// So many hosts, so many at once, and one thing goes wrong.
pub(super) fn one_fault(hosts: u8, at_once: usize) {
    for (title, fault) in FAULTS {
        holds(Scenario::new(title, hosts, &unavailable(at_once), &[1, 2]).with(fault));
    }
}

#[test]
fn three_hosts_hold_with_one_fault_of_each_kind() {
    one_fault(3, 1);
    holds(Scenario::new("four hosts, two at a time", 4, &unavailable(2), &[1, 2]));
    holds(Scenario::new("five hosts, one at a time", 5, &unavailable(1), &[1, 2]));
}

#[test]
fn an_operator_may_release_or_delete_a_node_at_any_time() {
    let of = |title| Scenario::new(title, 3, &unavailable(1), &[1, 2]);
    holds(of("release, cut off").with(|left| (left.release, left.cut) = (1, 1)));
    holds(of("release, lost").with(|left| (left.release, left.lost) = (1, 1)));
    holds(of("delete, cut off").with(|left| (left.delete, left.cut) = (1, 1)));
}

#[test]
fn a_set_may_change_while_a_change_is_under_way() {
    let of =
        |title, hosts, templates: &[u8]| Scenario::new(title, hosts, &unavailable(1), templates);
    holds(of("a second change under way", 3, &[1, 2, 3]));
    holds(of("undo under way", 3, &[1, 2, 1]));
    holds(of("there and back again, lost", 2, &[1, 2, 1, 2]).with(|left| left.lost = 1));
    let paused = Rollout { paused: true, ..unavailable(1) };
    holds(of("pause and resume", 3, &[1, 2]).then(2, paused).then(2, unavailable(1)));
}

#[test]
fn no_more_nodes_have_two_pods_than_may() {
    let of = |title, at_once, templates: &[u8]| Scenario::new(title, 3, &surge(at_once), templates);
    holds(of("surge, a second change", 1, &[1, 2, 3]));
    holds(of("surge by two, undo", 2, &[1, 2, 1]));
    holds(of("surge, crash", 1, &[1, 2]).with(|left| left.crash = 1));
    holds(of("surge, pod crash", 1, &[1, 2]).with(|left| left.pod = 1));
    holds(of("to replace, with another template", 1, &[1, 2]).then(3, unavailable(1)));
    holds(Scenario::new("to surge", 3, &unavailable(1), &[1, 2]).then(2, surge(1)));
    holds(of("from surge", 1, &[1, 2]).then(2, unavailable(1)));
}

#[test]
fn a_bad_template_stops_at_the_budget_or_is_gone_back_from() {
    for quality in [Quality::NeverReady, Quality::KillsHost] {
        for rollback in [false, true] {
            let rollout = Rollout { rollback, ..unavailable(1) };
            let of = |title, hosts, templates: &[u8]| {
                Scenario::new(title, hosts, &rollout, templates).quality(2, quality)
            };
            println!("{quality:?}, rollback {rollback}:");
            holds(of("bad template", 3, &[1, 2]));
            holds(of("bad template, then a good one", 2, &[1, 2, 3]));
        }
    }
}

#[test]
fn nodes_join_and_absent_ones_may_be_left_out() {
    let joins = Role { joins: true, ..Role::default() };
    holds(Scenario::new("a node joins", 3, &unavailable(1), &[1, 2]).role(2, joins));
    let ignore = Rollout { ignore_absent: true, ..unavailable(1) };
    let scenario = Scenario::new("absent nodes do not count", 3, &ignore, &[1, 2]);
    holds(scenario.with(|left| left.crash = 1));
}

#[test]
fn canary_nodes_go_first_and_partition_and_domains_hold() {
    let first = Role { canary: true, ..Role::default() };
    holds(Scenario::new("canary and bake", 2, &canary(60), &[1, 2]).role(0, first));
    let promoted = Rollout { promoted: "v2".into(), ..canary(0) };
    let scenario = Scenario::new("canary, promoted", 3, &canary(0), &[1, 2]).role(0, first);
    holds(scenario.then(2, promoted));
    let keep = Rollout { partition: Amount::Count(1), ..unavailable(2) };
    holds(Scenario::new("partition", 3, &keep, &[1, 2]));
    holds(domains(3));
}

/// Hosts in two domains, two at a time.
pub(super) fn domains(hosts: u8) -> Scenario {
    let racks = Rollout { domain: "rack".into(), ..unavailable(2) };
    let rack = |domain| Role { domain, ..Role::default() };
    let scenario = Scenario::new("domains", hosts, &racks, &[1, 2]);
    scenario.role(0, rack(1)).role(1, rack(1)).role(2, rack(2)).role(3, rack(2))
}
