//! How containers are stopped: hooks, turns, signals, kills.

use super::init::{hooked, sidecar, spec};
use super::{SECOND, Story, container};
use crate::pod::{adopt::ObservedTask, machine::Hook};

#[test]
fn a_pre_stop_hook_comes_before_the_signal_and_takes_from_the_grace() {
    let mut story = Story::of(spec(vec![], vec![hooked("a", false, true)]));
    story.started("a");
    story.delete(30);
    assert!(story.signalled().is_empty());
    assert_eq!(story.hooking(), ["a"]);
    story.pass(10);
    story.stop_hook_done("a", true);
    assert_eq!(story.signalled(), ["a"]);
    assert_eq!(story.pod.deadline(), Some(story.now.mono + 20 * SECOND));
}

#[test]
fn a_hook_that_outlasts_the_grace_is_left_alone_and_the_process_gets_a_moment() {
    let mut story = Story::of(spec(vec![], vec![hooked("a", false, true)]));
    story.started("a");
    story.delete(5);
    story.pass(5);
    assert_eq!(story.signalled(), ["a"]);
    assert_eq!(story.pod.deadline(), Some(story.now.mono + 2 * SECOND));
    story.pass(2);
    assert_eq!(story.killed(), ["a"]);
}

#[test]
fn a_failed_pre_stop_hook_is_told_and_stops_nothing_else() {
    let mut story = Story::of(spec(vec![], vec![hooked("a", false, true)]));
    story.started("a");
    story.delete(30);
    story.stop_hook_done("a", false);
    assert!(story.events().contains(&"FailedPreStopHook: PreStopHook failed: no".into()));
    assert_eq!(story.signalled(), ["a"]);
}

#[test]
fn without_grace_there_is_no_hook_and_no_signal_but_the_kill() {
    let mut story = Story::of(spec(vec![], vec![hooked("a", false, true)]));
    story.started("a");
    story.delete(0);
    assert!(story.hooking().is_empty() && story.signalled().is_empty());
    assert_eq!(story.killed(), ["a"]);
}

#[test]
fn a_container_that_ends_by_itself_has_no_pre_stop_hook() {
    let mut story = Story::of(spec(vec![], vec![hooked("a", false, true)]));
    story.started("a");
    story.exited("a", 1);
    assert!(story.hooking().is_empty());
}

#[test]
fn sidecars_outlive_those_that_they_serve_and_go_in_reverse_order() {
    let mut story = Story::of(spec(
        vec![sidecar("first"), sidecar("second")],
        vec![container("a"), container("b")],
    ));
    for name in ["first", "second", "a", "b"] {
        story.started(name);
    }
    story.delete(30);
    assert_eq!(story.signalled(), ["a", "b"]);
    story.exited("a", 0);
    assert!(story.signalled().is_empty());
    story.exited("b", 0);
    assert_eq!(story.signalled(), ["second"]);
    story.exited("second", 0);
    assert_eq!(story.signalled(), ["first"]);
    story.exited("first", 0);
    assert!(story.removed());
}

#[test]
fn a_sidecars_own_hook_does_not_wait_for_its_turn() {
    let mut proxy = hooked("proxy", false, true);
    proxy.restart_policy = Some("Always".into());
    let mut story = Story::of(spec(vec![proxy], vec![container("a")]));
    story.started("proxy");
    story.started("a");
    story.delete(30);
    assert_eq!(story.hooking(), ["proxy"]);
    story.stop_hook_done("proxy", true);
    assert_eq!(story.signalled(), ["a"], "its signal does");
    story.exited("a", 0);
    assert_eq!(story.signalled(), ["proxy"]);
}

#[test]
fn when_the_grace_is_over_sidecars_are_signalled_too_and_get_a_moment() {
    let mut story = Story::of(spec(vec![sidecar("proxy")], vec![container("a")]));
    story.started("proxy");
    story.started("a");
    story.delete(5);
    story.pass(5);
    assert_eq!(story.killed(), ["a"]);
    assert_eq!(story.signalled(), ["a", "proxy"]);
    story.pass(2);
    assert!(story.killed().contains(&"proxy".to_owned()));
}

#[test]
fn a_second_deletion_can_only_shorten_the_grace() {
    let mut story = Story::of(spec(vec![], vec![container("a")]));
    story.started("a");
    story.delete(30);
    story.delete(3);
    assert_eq!(story.pod.deadline(), Some(story.now.mono + 3 * SECOND));
    story.delete(60);
    assert_eq!(story.pod.deadline(), Some(story.now.mono + 3 * SECOND));
    story.delete(0);
    assert_eq!(story.killed(), ["a"]);
}

#[test]
fn a_new_agent_goes_on_with_a_stop_where_the_last_one_died() {
    let mut story = Story::of(spec(vec![], vec![hooked("a", false, true)]));
    story.started("a");
    story.delete(30);
    story.adopted(&[("a", 0, ObservedTask::Running)]);
    assert_eq!(story.hooking(), ["a"], "better twice than never");
    story.stop_hook_done("a", true);
    story.adopted(&[("a", 0, ObservedTask::Running)]);
    assert!(story.hooking().is_empty());
    assert_eq!(story.signalled(), ["a"]);
    assert!(story.effects_of(Hook::PostStart).is_empty());
}
