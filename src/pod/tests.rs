//! A pod's life as a story of inputs and effects.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use proptest::prelude::*;

use super::{
    adopt::{Observed, ObservedContainer, ObservedTask},
    containers::State,
    fault::StartFault,
    machine::{Effect, Exit, ExitKind, Input, Pod, Policy, Signal, Stage},
    record::{PinnedImage, PodRecord, VERSION},
    sandbox::SandboxFacts,
};
use crate::base::{
    ids::{PodUid, SetKey, TemplateHash},
    time::{self, Now},
};

const SECOND: Duration = Duration::from_secs(1);

fn record(names: &[&str]) -> PodRecord {
    let containers = names
        .iter()
        .map(|name| Container { name: (*name).into(), ..Container::default() })
        .collect();
    let spec = PodSpec { host_network: Some(true), containers, ..PodSpec::default() };
    PodRecord {
        version: VERSION,
        uid: PodUid::new("uid"),
        name: "web-abcde".into(),
        set: SetKey::new("default", "web"),
        set_uid: "set".into(),
        hash: TemplateHash::new("h"),
        created: Timestamp::UNIX_EPOCH,
        template: PodTemplateSpec { spec: Some(spec), ..PodTemplateSpec::default() },
        sandbox: None,
        volumes: BTreeMap::new(),
        deletion: None,
        containers: BTreeMap::new(),
    }
}

fn later(now: Now, wait: Duration) -> Now {
    Now { mono: now.mono + wait, wall: now.wall.checked_add(wait).unwrap() }
}

fn sandbox_ready() -> Input {
    Input::SandboxReady { facts: SandboxFacts::default(), volumes: BTreeMap::new() }
}

fn started(attempt: u32, now: Now) -> Input {
    Input::Started { container: "a".into(), attempt, at: now.wall, image: PinnedImage::default() }
}

fn exited(attempt: u32, code: u32, now: Now) -> Input {
    let exit = Exit { code, at: now.wall, kind: ExitKind::Ended, message: String::new() };
    Input::Exited { container: "a".into(), attempt, exit }
}

fn starts(effects: &[Effect]) -> Vec<u32> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::StartContainer { attempt, .. } => Some(*attempt),
            _ => None,
        })
        .collect()
}

fn running_pod(now: Now) -> Pod {
    let (mut pod, effects) = Pod::new(record(&["a"]), Policy::default());
    assert_eq!(effects, [Effect::CreateSandbox]);
    assert_eq!(starts(&pod.step(now, sandbox_ready())), [0]);
    let effects = pod.step(now, started(0, now));
    assert!(effects.contains(&Effect::Watch { container: "a".into(), attempt: 0 }));
    assert!(pod.ready());
    pod
}

#[test]
fn the_first_restart_is_immediate_and_the_next_ones_back_off() {
    let mut now = time::now();
    let mut pod = running_pod(now);
    assert_eq!(starts(&pod.step(now, exited(0, 1, now))), [1]);
    let effects = pod.step(now, started(1, now));
    assert!(effects.contains(&Effect::RemoveContainer { container: "a".into(), attempt: 0 }));
    for (attempt, wait) in [(1, 10), (2, 20), (3, 40), (4, 80), (5, 160), (6, 300), (7, 300)] {
        let effects = pod.step(now, exited(attempt, 0, now));
        assert!(effects.contains(&Effect::RemoveContainer { container: "a".into(), attempt }));
        assert_eq!(pod.deadline(), Some(now.mono + wait * SECOND));
        now = later(now, wait * SECOND);
        assert_eq!(starts(&pod.step(now, Input::Deadline)), [attempt + 1]);
        pod.step(now, started(attempt + 1, now));
    }
}

#[test]
fn a_container_that_ran_for_long_restarts_with_a_clean_slate() {
    let now = time::now();
    let mut pod = running_pod(now);
    pod.step(now, exited(0, 1, now));
    pod.step(now, started(1, now));
    let much_later = later(now, 601 * SECOND);
    assert_eq!(starts(&pod.step(much_later, exited(1, 1, much_later))), [2]);
}

#[test]
fn a_process_that_could_not_be_run_counts_as_a_run_that_failed() {
    let now = time::now();
    let (mut pod, _) = Pod::new(record(&["a"]), Policy::default());
    pod.step(now, sandbox_ready());
    let exit = Exit {
        code: 128,
        at: now.wall,
        kind: ExitKind::NeverRan("no such file".into()),
        message: String::new(),
    };
    pod.step(now, Input::Exited { container: "a".into(), attempt: 0, exit });
    let ended = pod.record.containers["a"].terminated.clone().unwrap();
    assert_eq!((ended.exit_code, ended.reason.as_str()), (128, "StartError"));
}

#[test]
fn a_missing_image_waits_and_is_tried_again_when_images_arrive() {
    let now = time::now();
    let (mut pod, _) = Pod::new(record(&["a"]), Policy::default());
    pod.step(now, sandbox_ready());
    let fault = StartFault { reason: "ErrImagePull", message: "gone".into() };
    pod.step(now, Input::StartFailed { container: "a".into(), attempt: 0, fault });
    assert_eq!(pod.deadline(), Some(now.mono + 10 * SECOND));
    assert_eq!(starts(&pod.step(now, Input::ImagesChanged)), [0]);
}

#[test]
fn a_deletion_signals_then_kills_then_cleans() {
    let now = time::now();
    let mut pod = running_pod(now);
    let effects = pod.step(now, Input::Delete { grace: 30 * SECOND, cause: String::new() });
    let signal = |signal| Effect::Signal { container: "a".into(), attempt: 0, signal };
    assert!(effects.contains(&signal(Signal::Stop)));
    assert_eq!(pod.deadline(), Some(now.mono + 30 * SECOND));
    let over = later(now, 30 * SECOND);
    assert_eq!(pod.step(over, Input::Deadline), [signal(Signal::Kill)]);
    assert!(pod.step(over, exited(0, 137, over)).contains(&Effect::RemovePod));
    pod.step(over, Input::PodRemoved);
    assert!(pod.gone());
}

#[test]
fn a_start_under_way_is_stopped_as_soon_as_it_runs() {
    let now = time::now();
    let (mut pod, _) = Pod::new(record(&["a"]), Policy::default());
    pod.step(now, sandbox_ready());
    let effects = pod.step(now, Input::Delete { grace: SECOND, cause: String::new() });
    assert!(!effects.contains(&Effect::RemovePod));
    let effects = pod.step(now, started(0, now));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Signal { .. })));
}

#[test]
fn a_pod_without_host_network_says_why_it_waits() {
    let mut record = record(&["a"]);
    record.template.spec.as_mut().unwrap().host_network = None;
    let (pod, effects) = Pod::new(record, Policy::default());
    assert!(matches!(&pod.stage, Stage::Held(fault) if fault.reason == "NetworkNotReady"));
    assert!(!effects.contains(&Effect::CreateSandbox));
}

fn adopted(record: PodRecord, task: Option<(u32, ObservedTask)>) -> (Pod, Vec<Effect>) {
    let containers = task
        .map(|(attempt, task)| ("a".to_owned(), ObservedContainer { attempt, task }))
        .into_iter()
        .collect();
    let observed = Observed { sandbox: true, containers };
    Pod::adopt(time::now(), record, &observed, Policy::default())
}

#[test]
fn a_running_container_is_adopted_without_being_touched() {
    let record = running_pod(time::now()).record;
    let (pod, effects) = adopted(record, Some((0, ObservedTask::Running)));
    assert_eq!(effects, [Effect::Watch { container: "a".into(), attempt: 0 }]);
    assert!(pod.ready());
}

#[test]
fn a_container_that_ended_while_no_agent_watched_restarts() {
    let now = time::now();
    let record = running_pod(now).record;
    let exit = Exit { code: 3, at: now.wall, kind: ExitKind::Ended, message: String::new() };
    let (pod, effects) = adopted(record, Some((0, ObservedTask::Stopped(exit))));
    assert_eq!(starts(&effects), [1]);
    assert_eq!(pod.record.containers["a"].terminated.as_ref().unwrap().exit_code, 3);
}

#[test]
fn a_half_made_start_is_done_again() {
    let mut fresh = record(&["a"]);
    fresh.sandbox = Some(SandboxFacts::default());
    let (_, effects) = adopted(fresh.clone(), Some((0, ObservedTask::HalfMade)));
    assert_eq!(starts(&effects), [0]);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::RemoveContainer { .. })));
    assert_eq!(starts(&adopted(fresh, None).1), [0]);
}

#[test]
fn a_back_off_survives_the_agent() {
    let now = time::now();
    let mut pod = running_pod(now);
    pod.step(now, exited(0, 1, now));
    pod.step(now, started(1, now));
    pod.step(now, exited(1, 1, now));
    let (pod, effects) = adopted(pod.record, None);
    assert!(starts(&effects).is_empty());
    assert!(matches!(&pod.containers["a"], State::Waiting { reason: "CrashLoopBackOff", .. }));
}

#[test]
fn a_pod_whose_sandbox_is_lost_starts_over_and_counts_it() {
    let record = running_pod(time::now()).record;
    let (mut pod, effects) =
        Pod::adopt(time::now(), record, &Observed::default(), Policy::default());
    assert!(effects.contains(&Effect::ResetPod));
    let now = time::now();
    assert!(pod.step(now, Input::ResetDone).contains(&Effect::CreateSandbox));
    assert_eq!(starts(&pod.step(now, sandbox_ready())), [1]);
    assert_eq!(pod.record.containers["a"].terminated.as_ref().unwrap().reason, "Unknown");
}

#[test]
fn a_deletion_survives_the_agent() {
    let now = time::now();
    let mut pod = running_pod(now);
    pod.step(now, Input::Delete { grace: 30 * SECOND, cause: String::new() });
    let (pod, effects) = adopted(pod.record, Some((0, ObservedTask::Running)));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Signal { .. })));
    assert!(matches!(pod.stage, Stage::Stopping { .. }));
}

/// A host that answers effects late and in any order, and whose agent may die at any step.
#[derive(Default)]
struct Host {
    /// Answers that are still to come.
    pending: Vec<Input>,
    /// Attempts whose process runs.
    running: Vec<u32>,
    /// Attempts that were ever started.
    started: Vec<u32>,
    /// Whether everything was removed.
    removed: bool,
}

impl Host {
    fn carry_out(&mut self, now: Now, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::CreateSandbox => self.pending.push(sandbox_ready()),
                Effect::StartContainer { attempt, .. } => {
                    assert!(!self.started.contains(&attempt), "attempt {attempt} started twice");
                    assert!(!self.removed, "started after the removal");
                    self.started.push(attempt);
                    self.running.push(attempt);
                    self.pending.push(started(attempt, now));
                }
                Effect::RemovePod => {
                    assert!(self.running.is_empty(), "removed while a process runs");
                    self.removed = true;
                    self.pending.push(Input::PodRemoved);
                }
                Effect::ResetPod => {
                    self.running.clear();
                    self.pending.push(Input::ResetDone);
                }
                Effect::Signal { attempt, .. } if self.running.contains(&attempt) => {
                    self.running.retain(|running| *running != attempt);
                    self.pending.push(exited(attempt, 143, now));
                }
                _ => {}
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_no_attempt_starts_twice_and_every_deletion_ends(
        choices in proptest::collection::vec((0usize..6, any::<usize>()), 1..60),
    ) {
        let mut now = time::now();
        let (mut pod, effects) = Pod::new(record(&["a"]), Policy::default());
        let mut host = Host::default();
        host.carry_out(now, effects);
        let mut choices = choices.into_iter();
        let mut steps = 0;
        while !pod.gone() && steps < 400 {
            steps += 1;
            let (choice, index) = choices.next().unwrap_or((if pod.stopping() { 0 } else { 5 }, 0));
            let input = match choice {
                0 | 1 if !host.pending.is_empty() => host.pending.remove(index % host.pending.len()),
                2 if host.pending.is_empty() && !host.running.is_empty() => {
                    exited(host.running.remove(0), 1, now)
                }
                3 => Input::ImagesChanged,
                5 => Input::Delete { grace: SECOND, cause: String::new() },
                _ => {
                    now = later(now, 400 * SECOND);
                    Input::Deadline
                }
            };
            let effects = pod.step(now, input);
            host.carry_out(now, effects);
        }
        prop_assert!(pod.gone(), "{:?}", pod.stage);
    }
}
