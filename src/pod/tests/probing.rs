//! What probes and hooks do to a container and to its pod.

use k8s_openapi::api::core::v1::{Container, Probe};

use super::init::{hooked, spec};
use super::{SECOND, Story, container};
use crate::pod::{adopt::ObservedTask, machine::Effect, probes::ProbeKind};

fn probe(failures: i32) -> Probe {
    Probe { failure_threshold: Some(failures), period_seconds: Some(5), ..Probe::default() }
}

#[test]
fn a_container_is_ready_when_its_probe_says_so_and_no_longer_when_it_does_not() {
    let own = Container { readiness_probe: Some(probe(1)), ..container("a") };
    let mut story = Story::of(spec(vec![], vec![own]));
    story.started("a");
    assert!(!story.pod.ready());
    assert_eq!(story.condition("Ready"), ("False".into(), "ContainersNotReady".into()));
    story.answer("a", true);
    let since = story.pod.ready_since().unwrap();
    story.pass(5);
    story.answer("a", true);
    assert_eq!(story.pod.ready_since(), Some(since), "nothing changed");
    story.pass(5);
    story.answer("a", false);
    assert_eq!(story.pod.ready_since(), None);
    assert!(story.events().iter().any(|event| event == "Unhealthy: Readiness probe failed: no"));
    assert_eq!(story.running(), ["a"], "readiness restarts nothing");
}

#[test]
fn a_container_whose_liveness_fails_is_stopped_by_the_probes_grace_and_started_again() {
    let mut liveness = probe(2);
    liveness.termination_grace_period_seconds = Some(7);
    let own = Container { liveness_probe: Some(liveness), ..container("a") };
    let mut story = Story::of(spec(vec![], vec![own]));
    story.started("a");
    story.answer("a", false);
    assert!(story.signalled().is_empty());
    story.pass(5);
    story.answer("a", false);
    assert_eq!(story.signalled(), ["a"]);
    assert!(
        story
            .events()
            .contains(&"Killing: Container a failed liveness probe, will be restarted".into())
    );
    assert_eq!(story.pod.deadline(), Some(story.now.mono + 7 * SECOND));
    story.pass(7);
    assert_eq!(story.killed(), ["a"]);
    story.exited("a", 137);
    assert_eq!(story.starting(), ["a"]);
    story.started("a");
    assert_eq!(story.probing(), [("a".into(), ProbeKind::Liveness)], "its count begins anew");
    story.answer("a", false);
    assert!(story.signalled().is_empty());
}

#[test]
fn a_container_that_does_not_start_in_time_is_started_again() {
    let own = Container {
        startup_probe: Some(probe(1)),
        liveness_probe: Some(probe(1)),
        ..container("a")
    };
    let mut story = Story::of(spec(vec![], vec![own]));
    story.started("a");
    assert!(!story.pod.ready(), "not started");
    story.answer("a", false);
    assert_eq!(story.signalled(), ["a"]);
    story.exited("a", 143);
    story.started("a");
    story.answer("a", true);
    assert!(story.pod.ready());
    assert_eq!(story.probing(), [("a".into(), ProbeKind::Liveness)]);
}

#[test]
fn the_answer_of_an_attempt_that_is_gone_says_nothing_about_the_next() {
    let own = Container { readiness_probe: Some(probe(1)), ..container("a") };
    let mut story = Story::of(spec(vec![], vec![own]));
    story.started("a");
    let late = story.late_answer("a", true);
    story.exited("a", 1);
    story.started("a");
    story.tell(late);
    assert!(!story.pod.ready());
}

#[test]
fn a_failed_post_start_hook_ends_its_container() {
    let mut story = Story::of(spec(vec![], vec![hooked("a", true, false)]));
    story.started("a");
    story.hook_done("a", false);
    assert!(story.events().contains(&"FailedPostStartHook: PostStartHook failed: no".into()));
    assert_eq!(story.signalled(), ["a"]);
    assert_eq!(story.waits_for("a"), "PostStartHookError");
    story.exited("a", 143);
    assert_eq!(story.starting(), ["a"]);
}

#[test]
fn a_new_agent_runs_a_hook_again_that_was_cut_off_and_none_that_was_through() {
    let mut story = Story::of(spec(vec![], vec![hooked("a", true, false)]));
    story.started("a");
    story.adopted(&[("a", 0, ObservedTask::Running)]);
    assert_eq!(story.hooking(), ["a"]);
    story.hook_done("a", true);
    story.adopted(&[("a", 0, ObservedTask::Running)]);
    assert!(story.hooking().is_empty() && story.pod.ready());
}

#[test]
fn a_new_agent_keeps_a_container_as_ready_as_it_was() {
    let own = Container {
        startup_probe: Some(probe(1)),
        readiness_probe: Some(probe(1)),
        ..container("a")
    };
    let mut story = Story::of(spec(vec![], vec![own]));
    story.started("a");
    story.answer("a", true);
    story.answer("a", true);
    let since = story.pod.ready_since();
    assert!(since.is_some());
    story.adopted(&[("a", 0, ObservedTask::Running)]);
    assert_eq!(story.pod.ready_since(), since);
    story.pass(5);
    assert_eq!(story.probing(), [("a".into(), ProbeKind::Readiness)], "it has started long ago");
    story.answer("a", false);
    assert!(!story.pod.ready());
}

#[test]
fn a_probe_that_says_the_same_again_asks_for_nothing() {
    let own = Container { liveness_probe: Some(probe(3)), ..container("a") };
    let mut story = Story::of(spec(vec![], vec![own]));
    story.started("a");
    story.answer("a", true);
    story.pass(5);
    assert_eq!(story.answer("a", true), Vec::<Effect>::new());
}
