//! What is explored by `make model` only: it takes minutes.

use crate::spec::{Amount, Rollout};

use super::scenario::{Quality, Role, Scenario, canary, surge, unavailable};
use super::scenarios::{FAULTS, Fault, domains, holds, one_fault};

/// So many hosts, and two things go wrong, of which one may be an operator.
fn two_faults(hosts: u8, at_once: usize) {
    let operators: [(&str, Fault); 2] =
        [("a release", |left| left.release = 1), ("a deletion", |left| left.delete = 1)];
    let all: Vec<(&str, Fault)> = FAULTS.into_iter().chain(operators).collect();
    for (index, (first, one)) in all.iter().enumerate() {
        for (second, other) in &all[index + 1..] {
            println!("{first}, {second}:");
            let scenario = Scenario::new("two faults", hosts, &unavailable(at_once), &[1, 2]);
            holds(scenario.with(|left| {
                one(left);
                other(left);
            }));
        }
    }
}

#[test]
fn core_one_fault() {
    one_fault(4, 1);
    one_fault(4, 2);
    one_fault(5, 1);
}

#[test]
fn core_two_faults() {
    two_faults(3, 1);
    two_faults(3, 2);
}

#[test]
fn four_hosts_with_a_crash_a_partition_and_a_lost_answer() {
    let scenario = Scenario::new("four hosts, four faults", 4, &unavailable(1), &[1, 2]);
    holds(scenario.clone().with(|left| (left.cut, left.lost) = (1, 1)));
    holds(scenario.clone().with(|left| (left.crash, left.cut) = (1, 1)));
    holds(scenario.with(|left| (left.lease, left.restart) = (1, 1)));
}

#[test]
fn changes() {
    let of =
        |title, hosts, templates: &[u8]| Scenario::new(title, hosts, &unavailable(1), templates);
    holds(of("a second change, four hosts", 4, &[1, 2, 3]));
    holds(of("a second change, lost", 3, &[1, 2, 3]).with(|left| left.lost = 1));
    holds(of("a second change, cut off", 3, &[1, 2, 3]).with(|left| left.cut = 1));
    holds(of("undo, killed", 3, &[1, 2, 1]).with(|left| left.restart = 1));
    holds(of("there and back again", 3, &[1, 2, 1, 2]).with(|left| left.lost = 1));
    let paused = Rollout { paused: true, ..unavailable(1) };
    let scenario = of("pause and resume, lost", 3, &[1, 2]).then(2, paused).then(2, unavailable(1));
    holds(scenario.with(|left| left.lost = 1));
}

#[test]
fn more_of_surge() {
    for at_once in [1, 2] {
        let of = |title, templates: &[u8]| Scenario::new(title, 3, &surge(at_once), templates);
        for (title, fault) in FAULTS {
            holds(of(title, &[1, 2]).with(fault));
        }
        holds(
            of("surge, release, cut off", &[1, 2]).with(|left| (left.release, left.cut) = (1, 1)),
        );
        holds(of("surge, a second change, lost", &[1, 2, 3]).with(|left| left.lost = 1));
        holds(of("surge, undo, redo", &[1, 2, 1, 2]));
    }
    let from = Scenario::new("from surge, pod crash", 3, &surge(1), &[1, 2]);
    holds(from.then(2, unavailable(1)).with(|left| left.pod = 1));
    let both = Rollout { max_surge: Amount::Count(1), ..unavailable(1) };
    holds(
        Scenario::new("surge beside maxUnavailable", 3, &both, &[1, 2]).with(|left| left.pod = 1),
    );
}

#[test]
fn bad_templates() {
    for quality in [Quality::NeverReady, Quality::KillsHost] {
        for rollback in [false, true] {
            let rollout = Rollout { rollback, ..unavailable(1) };
            let of = |title, hosts, templates: &[u8]| {
                Scenario::new(title, hosts, &rollout, templates).quality(2, quality)
            };
            println!("{quality:?}, rollback {rollback}:");
            holds(of("bad template, lost", 3, &[1, 2]).with(|left| left.lost = 1));
            holds(of("bad template, then a good one", 3, &[1, 2, 3]));
            holds(of("bad template, undo", 2, &[1, 2, 1]).with(|left| left.release = 1));
            holds(of("bad template, rolled back, lost", 2, &[1, 2, 3]).with(|left| left.lost = 1));
        }
    }
}

#[test]
fn joining_leaving_and_absent() {
    let joins = Role { joins: true, ..Role::default() };
    let scenario = Scenario::new("a node joins, lost", 4, &unavailable(1), &[1, 2]).role(3, joins);
    holds(scenario.with(|left| left.lost = 1));
    let ignore = Rollout { ignore_absent: true, ..unavailable(1) };
    let scenario = Scenario::new("absent nodes do not count", 3, &ignore, &[1, 2]);
    holds(scenario.clone().with(|left| (left.crash, left.cut) = (1, 1)));
    holds(scenario.with(|left| (left.lease, left.restart) = (1, 1)));
}

#[test]
fn canary_partition_and_domains() {
    let first = Role { canary: true, ..Role::default() };
    let scenario = Scenario::new("canary and bake", 3, &canary(60), &[1, 2]).role(0, first);
    holds(scenario.clone().with(|left| left.pod = 1));
    holds(scenario.with(|left| left.lost = 1));
    let keep = Rollout { partition: Amount::Count(2), ..unavailable(2) };
    holds(Scenario::new("partition", 4, &keep, &[1, 2]).with(|left| left.lost = 1));
    holds(domains(4).with(|left| left.lost = 1));
}
