//! A pod's life as a story of inputs and effects.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};

use super::{
    action::Outcome,
    adopt::{Observed, ObservedContainer, ObservedTask},
    containers::State,
    fault::StartFault,
    machine::{Effect, Exit, ExitKind, Hook, Input, Pod, Policy, Signal, Stage},
    probes::ProbeKind,
    record::{ContainerRecord, PinnedImage, PodRecord, VERSION},
    restart::names,
    sandbox::SandboxFacts,
};
use crate::base::{
    ids::{PodUid, SetKey, TemplateHash},
    time::{self, Now},
};

mod init;
mod lives;
mod probing;
mod pulling;
mod stops;

/// A second.
pub(super) const SECOND: Duration = Duration::from_secs(1);

/// A container of that name.
pub(super) fn container(name: &str) -> Container {
    Container { name: name.into(), ..Container::default() }
}

fn record(names: &[&str]) -> PodRecord {
    let containers = names.iter().map(|name| container(name)).collect();
    record_of(PodSpec { containers, ..PodSpec::default() })
}

/// The record of a new pod of that spec.
pub(super) fn record_of(spec: PodSpec) -> PodRecord {
    let spec = PodSpec { host_network: Some(true), ..spec };
    // What these stories are about begins when the images are here; `pulling.rs` tells what comes before.
    let pinned =
        ContainerRecord { image: Some(PinnedImage::default()), ..ContainerRecord::default() };
    let containers = names(&spec).into_iter().map(|name| (name, pinned.clone())).collect();
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
        initialized: None,
        readiness: None,
        deletion: None,
        containers,
    }
}

/// A later moment.
pub(super) fn later(now: Now, wait: Duration) -> Now {
    Now { mono: now.mono + wait, wall: now.wall.checked_add(wait).unwrap() }
}

/// The sandbox is there.
pub(super) fn sandbox_ready() -> Input {
    Input::SandboxReady { facts: SandboxFacts::default(), volumes: BTreeMap::new() }
}

fn started(attempt: u32, now: Now) -> Input {
    Input::Started { container: "a".into(), attempt, at: now.wall }
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

/// A pod and what it asked for since somebody last looked.
pub(super) struct Story {
    /// The pod.
    pub pod: Pod,
    /// The present.
    pub now: Now,
    /// What it asked for.
    asked: Vec<Effect>,
}

impl Story {
    /// A new pod of that spec whose sandbox is there.
    fn of(spec: PodSpec) -> Self {
        let (pod, asked) = Pod::new(record_of(spec), Policy::default());
        let mut story = Self { pod, now: time::now(), asked };
        story.tell(sandbox_ready());
        story
    }

    /// Tells the pod something; returns what it asks for.
    fn tell(&mut self, input: Input) -> Vec<Effect> {
        let effects = self.pod.step(self.now, input);
        self.asked.extend(effects.iter().cloned());
        effects
    }

    /// Lets time pass.
    fn pass(&mut self, seconds: u32) {
        self.now = later(self.now, seconds * SECOND);
        self.tell(Input::Deadline);
    }

    /// Takes out what it asked for and `choose` knows, sorted.
    fn take<T: Ord>(&mut self, choose: impl Fn(&Effect) -> Option<T>) -> Vec<T> {
        let mut taken: Vec<T> = self.asked.iter().filter_map(&choose).collect();
        self.asked.retain(|effect| choose(effect).is_none());
        taken.sort();
        taken
    }

    /// The containers that it wants started.
    fn starting(&mut self) -> Vec<String> {
        self.take(|effect| match effect {
            Effect::StartContainer { container, .. } => Some(container.clone()),
            _ => None,
        })
    }

    /// The containers of which it removes ended attempts.
    fn discarded(&mut self) -> Vec<String> {
        self.take(|effect| match effect {
            Effect::RemoveContainer { container, .. } => Some(container.clone()),
            _ => None,
        })
    }

    /// The containers that it wants to end.
    fn signalled(&mut self) -> Vec<String> {
        self.signals(Signal::Stop)
    }

    /// The containers that it kills.
    fn killed(&mut self) -> Vec<String> {
        self.signals(Signal::Kill)
    }

    fn signals(&mut self, wanted: Signal) -> Vec<String> {
        self.take(|effect| match effect {
            Effect::Signal { container, signal, .. } if *signal == wanted => {
                Some(container.clone())
            }
            _ => None,
        })
    }

    /// The containers whose hooks it runs.
    fn hooking(&mut self) -> Vec<String> {
        self.take(|effect| match effect {
            Effect::RunHook { container, .. } => Some(container.clone()),
            _ => None,
        })
    }

    /// The containers of which it runs this hook.
    fn effects_of(&mut self, wanted: Hook) -> Vec<String> {
        self.take(|effect| match effect {
            Effect::RunHook { container, hook, .. } if *hook == wanted => Some(container.clone()),
            _ => None,
        })
    }

    /// The probes that it runs and that are not answered yet.
    fn probing(&self) -> Vec<(String, ProbeKind)> {
        let probing = self.asked.iter().filter_map(|effect| match effect {
            Effect::Probe { container, kind, .. } => Some((container.clone(), *kind)),
            _ => None,
        });
        probing.collect()
    }

    /// What the operator is told.
    fn events(&mut self) -> Vec<String> {
        self.take(|effect| match effect {
            Effect::Record(event) => Some(format!("{}: {}", event.reason, event.message)),
            _ => None,
        })
    }

    /// Whether it is to be removed.
    fn removed(&self) -> bool {
        self.asked.contains(&Effect::RemovePod)
    }

    /// The containers whose process runs.
    fn running(&self) -> Vec<&str> {
        let running = self.pod.containers.iter().filter(|(_, state)| state.attempt().is_some());
        running.map(|(name, _)| name.as_str()).collect()
    }

    /// The attempt at a container that is under way.
    fn attempt(&self, name: &str) -> u32 {
        match &self.pod.containers[name] {
            State::Starting { attempt, .. } => *attempt,
            state => state.attempt().unwrap_or_else(|| panic!("{name}: {state:?}")),
        }
    }

    /// The attempt whose start is answered now.
    fn answered(&mut self, name: &str) -> u32 {
        self.asked.retain(|effect| {
            !matches!(effect, Effect::StartContainer { container, .. } if container == name)
        });
        self.attempt(name)
    }

    /// A start is over.
    fn started(&mut self, name: &str) {
        let attempt = self.answered(name);
        self.tell(Input::Started { container: name.into(), attempt, at: self.now.wall });
    }

    /// A start failed.
    fn start_failed(&mut self, name: &str, reason: &'static str) {
        let attempt = self.answered(name);
        let fault = StartFault { reason, message: String::new() };
        self.tell(Input::StartFailed { container: name.into(), attempt, fault });
    }

    /// A process ended.
    fn exited(&mut self, name: &str, code: u32) {
        let attempt = self.attempt(name);
        let exit = Exit { code, at: self.now.wall, kind: ExitKind::Ended, message: String::new() };
        self.tell(Input::Exited { container: name.into(), attempt, exit });
    }

    /// Answers the one probe of a container that runs; it must have been asked for.
    fn answer(&mut self, name: &str, good: bool) -> Vec<Effect> {
        let input = self.late_answer(name, good);
        self.tell(input)
    }

    /// The answer of the one probe of a container that runs, to be told later.
    fn late_answer(&mut self, name: &str, good: bool) -> Input {
        let asked = self.take(|effect| match effect {
            Effect::Probe { container, attempt, kind } if container == name => {
                Some((*attempt, *kind))
            }
            _ => None,
        });
        let [(attempt, kind)] = asked[..] else { panic!("{name} is not probed once: {asked:?}") };
        let outcome = if good { Outcome::Success } else { Outcome::Failure("no".into()) };
        Input::Probed { container: name.into(), attempt, kind, outcome }
    }

    /// A postStart hook is over.
    fn hook_done(&mut self, name: &str, good: bool) {
        self.end_hook(name, good, Hook::PostStart);
    }

    /// A preStop hook is over.
    fn stop_hook_done(&mut self, name: &str, good: bool) {
        self.end_hook(name, good, Hook::PreStop);
    }

    fn end_hook(&mut self, name: &str, good: bool, hook: Hook) {
        let attempt = self.attempt(name);
        let outcome = if good { Outcome::Success } else { Outcome::Failure("no".into()) };
        self.tell(Input::HookDone { container: name.into(), attempt, hook, outcome });
    }

    /// The pod is to go.
    fn delete(&mut self, grace: u32) {
        self.tell(Input::Delete { grace: grace * SECOND, cause: String::new() });
    }

    /// The agent died, and the next one finds these tasks.
    fn adopted(&mut self, there: &[(&str, u32, ObservedTask)]) {
        let containers = there
            .iter()
            .map(|(name, attempt, task)| {
                ((*name).to_owned(), ObservedContainer { attempt: *attempt, task: task.clone() })
            })
            .collect();
        let observed = Observed { sandbox: true, containers };
        let record = self.pod.record.clone();
        (self.pod, self.asked) = Pod::adopt(self.now, record, &observed, Policy::default());
    }

    /// The host restarted.
    fn lose_sandbox(&mut self) {
        self.tell(Input::SandboxLost);
        self.tell(Input::ResetDone);
        self.tell(sandbox_ready());
    }

    /// The v1 Pod.
    fn object(&self) -> k8s_openapi::api::core::v1::Pod {
        let node = crate::base::ids::NodeName::new("node");
        self.pod.object(super::status::Place {
            node: &node,
            host_ip: None,
            pulls: &BTreeMap::new(),
        })
    }

    /// Status and reason of a condition.
    fn condition(&self, kind: &str) -> (String, String) {
        let conditions = self.object().status.unwrap().conditions.unwrap();
        let found = conditions.into_iter().find(|condition| condition.type_ == kind).unwrap();
        (found.status, found.reason.unwrap_or_default())
    }

    /// Why a container waits.
    fn waits_for(&self, name: &str) -> String {
        let statuses = self.object().status.unwrap().container_statuses.unwrap();
        let state = statuses.into_iter().find(|status| status.name == name).unwrap().state.unwrap();
        state.waiting.unwrap().reason.unwrap()
    }
}
