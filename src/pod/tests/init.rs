//! The order of init containers, sidecars and regular containers, and the end of pods that do not go on for ever.

use k8s_openapi::api::core::v1::{
    Container, ExecAction, Lifecycle, LifecycleHandler, PodSpec, Probe,
};

use super::{Story, container};
use crate::pod::{adopt::ObservedTask, init::Over};

/// An init container that stays.
pub(super) fn sidecar(name: &str) -> Container {
    Container { restart_policy: Some("Always".into()), ..container(name) }
}

/// A handler that runs a command.
pub(super) fn handler() -> LifecycleHandler {
    let exec = ExecAction { command: Some(vec!["true".into()]) };
    LifecycleHandler { exec: Some(exec), ..LifecycleHandler::default() }
}

/// A container with these hooks.
pub(super) fn hooked(name: &str, post_start: bool, pre_stop: bool) -> Container {
    let lifecycle = Lifecycle {
        post_start: post_start.then(handler),
        pre_stop: pre_stop.then(handler),
        ..Lifecycle::default()
    };
    Container { lifecycle: Some(lifecycle), ..container(name) }
}

/// A pod of these init containers and containers.
pub(super) fn spec(inits: Vec<Container>, containers: Vec<Container>) -> PodSpec {
    PodSpec { init_containers: Some(inits), containers, ..PodSpec::default() }
}

fn phase(story: &Story) -> String {
    story.object().status.unwrap().phase.unwrap()
}

#[test]
fn init_containers_run_one_after_the_other_and_then_all_regular_ones() {
    let mut story = Story::of(spec(
        vec![container("one"), container("two")],
        vec![container("a"), container("b")],
    ));
    assert_eq!(story.starting(), ["one"]);
    story.started("one");
    assert_eq!(phase(&story), "Pending");
    assert_eq!(story.condition("Initialized"), ("False".into(), "ContainersNotInitialized".into()));
    story.exited("one", 0);
    assert_eq!(story.starting(), ["two"]);
    story.started("two");
    story.exited("two", 0);
    assert_eq!(story.starting(), ["a", "b"]);
    assert_eq!(story.condition("Initialized").0, "True");
    story.started("a");
    assert_eq!(phase(&story), "Pending");
    story.started("b");
    assert_eq!(phase(&story), "Running");
    assert!(story.pod.ready());
}

#[test]
fn what_an_init_container_left_goes_when_the_next_one_runs_and_can_keep_the_shim() {
    let mut story = Story::of(spec(vec![container("one")], vec![container("a")]));
    story.started("one");
    story.exited("one", 0);
    assert_eq!(story.starting(), ["a"]);
    assert!(story.discarded().is_empty(), "the start of the next one needs the shim");
    story.started("a");
    assert_eq!(story.discarded(), ["one"]);
}

#[test]
fn an_init_container_that_fails_is_tried_again_with_back_off() {
    let mut story = Story::of(spec(vec![container("one")], vec![container("a")]));
    story.started("one");
    story.exited("one", 1);
    assert_eq!(story.starting(), ["one"], "the first time at once");
    story.started("one");
    story.exited("one", 1);
    assert!(story.starting().is_empty());
    let wait = story.pod.deadline().unwrap() - story.now.mono;
    assert_eq!(wait.as_secs(), 10);
    story.pass(10);
    assert_eq!(story.starting(), ["one"]);
    story.started("one");
    story.exited("one", 0);
    assert_eq!(story.starting(), ["a"]);
}

#[test]
fn a_sidecar_lets_the_next_one_start_once_it_has_started_whether_it_is_ready_or_not() {
    let mut proxy = sidecar("proxy");
    proxy.readiness_probe = Some(Probe::default());
    let mut story = Story::of(spec(vec![proxy, container("init")], vec![container("a")]));
    story.started("proxy");
    assert_eq!(story.starting(), ["init"]);
    story.started("init");
    story.exited("init", 0);
    story.started("a");
    assert!(!story.pod.ready(), "the sidecar's readiness counts");
    story.answer("proxy", true);
    assert!(story.pod.ready());
}

#[test]
fn a_sidecar_with_a_startup_probe_or_a_hook_holds_up_what_follows_until_these_are_through() {
    let mut proxy = hooked("proxy", true, false);
    proxy.restart_policy = Some("Always".into());
    proxy.startup_probe = Some(Probe::default());
    let mut story = Story::of(spec(vec![proxy], vec![container("a")]));
    story.started("proxy");
    assert!(story.starting().is_empty());
    story.hook_done("proxy", true);
    assert!(story.starting().is_empty());
    story.answer("proxy", true);
    assert_eq!(story.starting(), ["a"]);
}

#[test]
fn a_sidecar_that_ends_is_started_again_and_undoes_no_initialisation() {
    let mut story =
        Story::of(spec(vec![sidecar("proxy"), container("init")], vec![container("a")]));
    story.started("proxy");
    story.started("init");
    story.exited("proxy", 0);
    assert_eq!(story.starting(), ["proxy"], "also while a later one runs");
    story.exited("init", 0);
    assert!(!story.starting().contains(&"a".to_owned()), "the sidecar must be up first");
    story.started("proxy");
    assert_eq!(story.starting(), ["a"]);
    story.started("a");
    story.exited("proxy", 1);
    story.pass(10);
    assert_eq!(story.starting(), ["proxy"]);
    story.started("proxy");
    assert_eq!(story.running(), ["a", "proxy"]);
}

#[test]
fn a_post_start_hook_holds_up_the_containers_after_it() {
    let mut story =
        Story::of(spec(vec![], vec![hooked("a", true, false), container("b"), container("c")]));
    assert_eq!(story.starting(), ["a"]);
    story.started("a");
    assert!(story.starting().is_empty());
    assert_eq!(phase(&story), "Pending", "its start is not over");
    story.hook_done("a", true);
    assert_eq!(story.starting(), ["b", "c"]);
}

#[test]
fn a_start_that_fails_holds_up_nobody() {
    let mut story = Story::of(spec(vec![], vec![hooked("a", true, false), container("b")]));
    story.start_failed("a", "CreateContainerConfigError");
    assert_eq!(story.starting(), ["b"]);
}

#[test]
fn a_pod_whose_containers_all_ended_for_good_is_over_and_so_are_its_sidecars() {
    let never = |name| Container { restart_policy: Some("Never".into()), ..container(name) };
    for (code, over, shown) in [(0, Over::Succeeded, "Succeeded"), (3, Over::Failed, "Failed")] {
        let mut story = Story::of(spec(vec![sidecar("proxy")], vec![never("a"), never("b")]));
        story.started("proxy");
        story.started("a");
        story.started("b");
        story.exited("a", 0);
        assert_eq!(story.pod.over(), None);
        story.exited("b", code);
        assert_eq!(story.pod.over(), Some(over));
        assert_eq!(phase(&story), shown);
        assert_eq!(story.signalled(), ["proxy"]);
        story.exited("proxy", 143);
        assert!(story.starting().is_empty());
    }
}

#[test]
fn an_init_container_that_fails_for_good_fails_its_pod() {
    let init = Container { restart_policy: Some("Never".into()), ..container("init") };
    let mut story = Story::of(spec(vec![init], vec![container("a")]));
    story.started("init");
    story.exited("init", 1);
    assert_eq!(story.pod.over(), Some(Over::Failed));
    assert!(story.starting().is_empty());
    assert_eq!(story.condition("Ready"), ("False".into(), "PodFailed".into()));
}

#[test]
fn a_new_agent_runs_no_init_container_again_that_did_its_work() {
    let pod = || spec(vec![container("one"), container("two")], vec![container("a")]);
    let mut story = Story::of(pod());
    story.started("one");
    story.exited("one", 0);
    story.adopted(&[]);
    assert_eq!(story.starting(), ["two"]);
    story.started("two");
    story.adopted(&[("two", 0, ObservedTask::Running)]);
    assert!(story.starting().is_empty());
    story.exited("two", 0);
    story.started("a");
    // Their containers are gone, and so are their records in containerd.
    story.adopted(&[("a", 0, ObservedTask::Running)]);
    assert!(story.starting().is_empty() && story.pod.ready());
}

#[test]
fn after_a_lost_sandbox_the_init_containers_run_again() {
    let mut story = Story::of(spec(vec![container("one")], vec![container("a")]));
    story.started("one");
    story.exited("one", 0);
    story.started("a");
    story.lose_sandbox();
    assert_eq!(story.starting(), ["one"]);
    assert_eq!(phase(&story), "Running", "it was so before");
    story.started("one");
    story.exited("one", 0);
    assert_eq!(story.starting(), ["a"]);
}
