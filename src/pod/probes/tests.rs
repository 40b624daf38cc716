//! Probes as kubelet counts them.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Container, Probe};

use super::{Beginning, Meaning, ProbeKind, Probes};
use crate::base::time;
use crate::pod::action::Outcome;

const SECOND: Duration = Duration::from_secs(1);

fn probe(delay: i32, period: i32, successes: i32, failures: i32) -> Probe {
    Probe {
        initial_delay_seconds: Some(delay),
        period_seconds: Some(period),
        success_threshold: Some(successes),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn fresh(container: &Container) -> (Probes, Instant) {
    let now = time::now().mono;
    let from = Beginning { at: now, started: false, ready: false, spread: None };
    (Probes::new(container, now, from), now)
}

fn bad() -> Outcome {
    Outcome::Failure("no".into())
}

#[test]
fn a_probe_runs_after_its_delay_and_then_each_period_without_making_up_for_lost_turns() {
    let container = Container { liveness_probe: Some(probe(5, 10, 1, 3)), ..Container::default() };
    let (mut probes, start) = fresh(&container);
    assert_eq!(probes.deadline(), Some(start + 5 * SECOND));
    assert!(probes.due(start + 4 * SECOND).is_empty());
    assert_eq!(probes.due(start + 5 * SECOND), [ProbeKind::Liveness]);
    assert_eq!(probes.deadline(), None, "one run at a time");
    probes.answer(ProbeKind::Liveness, Outcome::Success);
    assert_eq!(probes.deadline(), Some(start + 15 * SECOND));
    assert_eq!(probes.due(start + 37 * SECOND), [ProbeKind::Liveness]);
    probes.answer(ProbeKind::Liveness, Outcome::Success);
    assert_eq!(probes.deadline(), Some(start + 45 * SECOND));
}

#[test]
fn numbers_that_are_zero_or_missing_mean_the_defaults() {
    let probe = Probe { period_seconds: Some(0), ..Probe::default() };
    assert_eq!(super::timeout(&probe), SECOND);
    let container = Container { readiness_probe: Some(probe), ..Container::default() };
    let (mut probes, start) = fresh(&container);
    assert_eq!(probes.due(start), [ProbeKind::Readiness]);
    probes.answer(ProbeKind::Readiness, Outcome::Success);
    assert_eq!(probes.deadline(), Some(start + 10 * SECOND));
}

#[test]
fn only_as_many_equal_answers_in_a_row_as_the_threshold_settle_a_probe() {
    let container = Container { readiness_probe: Some(probe(0, 1, 2, 3)), ..Container::default() };
    let (mut probes, _) = fresh(&container);
    let mut settled = |outcome| probes.answer(ProbeKind::Readiness, outcome).settled;
    assert_eq!(settled(Outcome::Success), None);
    assert_eq!(settled(bad()), None);
    assert_eq!(settled(Outcome::Success), None);
    assert_eq!(settled(Outcome::Success), Some(true));
    assert_eq!(settled(Outcome::Success), None, "no news");
    assert_eq!([settled(bad()), settled(bad()), settled(bad())], [None, None, Some(false)]);
}

#[test]
fn the_other_probes_wait_until_the_startup_probe_has_succeeded() {
    let container = Container {
        startup_probe: Some(probe(0, 1, 1, 30)),
        liveness_probe: Some(probe(0, 1, 1, 3)),
        readiness_probe: Some(probe(0, 1, 1, 3)),
        ..Container::default()
    };
    let (mut probes, start) = fresh(&container);
    assert_eq!(probes.due(start), [ProbeKind::Startup]);
    assert_eq!(probes.answer(ProbeKind::Startup, bad()).settled, None);
    assert_eq!(probes.due(start + SECOND), [ProbeKind::Startup]);
    assert_eq!(probes.answer(ProbeKind::Startup, Outcome::Success).settled, Some(true));
    assert_eq!(probes.due(start + SECOND), [ProbeKind::Liveness, ProbeKind::Readiness]);
}

#[test]
fn a_probe_that_could_not_be_tried_is_tried_twice_more_and_then_counts_for_nothing() {
    let container = Container { liveness_probe: Some(probe(0, 1, 1, 1)), ..Container::default() };
    let (mut probes, start) = fresh(&container);
    probes.due(start);
    let mut answer = || probes.answer(ProbeKind::Liveness, Outcome::Error("no runc".into()));
    assert!(answer().again && answer().again);
    let Meaning { event, settled, again } = answer();
    assert_eq!((settled, again), (None, false));
    let (reason, text) = event.unwrap();
    assert_eq!(reason, "Unhealthy");
    assert_eq!(text, "Liveness probe errored and resulted in unknown state: no runc");
}

#[test]
fn a_failure_tells_the_operator_each_time_and_a_warning_counts_as_success() {
    let container = Container { readiness_probe: Some(probe(0, 1, 1, 3)), ..Container::default() };
    let (mut probes, _) = fresh(&container);
    let failed = probes.answer(ProbeKind::Readiness, bad());
    assert_eq!(failed.event, Some(("Unhealthy", "Readiness probe failed: no".into())));
    assert_eq!(probes.complaints().collect::<Vec<_>>(), ["Readiness probe failed: no"]);
    let warned = probes.answer(ProbeKind::Readiness, Outcome::Warning("elsewhere".into()));
    assert_eq!(warned.settled, Some(true));
    assert_eq!(warned.event.unwrap().0, "ProbeWarning");
    assert_eq!(probes.complaints().count(), 0);
}

#[test]
fn containers_that_a_new_agent_takes_over_are_probed_spread_over_the_period() {
    let container = Container { readiness_probe: Some(probe(0, 10, 1, 1)), ..Container::default() };
    let now = time::now().mono;
    let first = |name: &str| {
        let from = Beginning { at: now, started: true, ready: true, spread: Some(name) };
        Probes::new(&container, now, from).deadline().unwrap().duration_since(now)
    };
    let mut waits: Vec<Duration> = (0..100).map(|pod| first(&format!("pod-{pod}/main"))).collect();
    assert_eq!(first("pod-7/main"), waits[7], "the same for the same container");
    waits.sort();
    assert!(waits[99] < 10 * SECOND);
    let widest = waits.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap();
    assert!(widest < 2 * SECOND, "{widest:?}");
    let from = Beginning { at: now, started: true, ready: true, spread: Some("x") };
    let mut probes = Probes::new(&container, now, from);
    assert_eq!(probes.answer(ProbeKind::Readiness, Outcome::Success).settled, None, "it was ready");
    assert_eq!(probes.answer(ProbeKind::Readiness, bad()).settled, Some(false));
}
