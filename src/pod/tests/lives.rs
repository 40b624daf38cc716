//! Whole lives at random: effects are answered late and in any order, processes end, the agent dies, and still no attempt
//! starts twice, no container before its turn, and every deletion ends.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, Probe};
use proptest::prelude::*;

use super::init::{hooked, sidecar, spec};
use super::{SECOND, container, later, record_of, sandbox_ready};
use crate::base::time::{self, Now};
use crate::pod::{
    action::Outcome,
    adopt::{Observed, ObservedContainer, ObservedTask},
    machine::{Effect, Exit, ExitKind, Input, Pod, Policy},
    record::PinnedImage,
};

/// A host that answers when it is asked to.
#[derive(Default)]
struct Host {
    /// Answers that are still to come.
    pending: Vec<Input>,
    /// Processes that run, by container.
    running: BTreeMap<String, u32>,
    /// Ends that nobody was told of, as an agent finds them that comes later.
    ended: BTreeMap<String, (u32, Exit)>,
    /// Attempts that were ever started.
    started: Vec<(String, u32)>,
    /// How often each init container did its work in the present sandbox.
    done: BTreeMap<String, u32>,
    /// Whether the sandbox is there.
    sandbox: bool,
    /// Whether everything was removed.
    removed: bool,
}

fn exit(now: Now, code: u32) -> Exit {
    Exit { code, at: now.wall, kind: ExitKind::Ended, message: String::new() }
}

impl Host {
    fn carry_out(&mut self, now: Now, pod: &PodSpec, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::CreateSandbox => {
                    self.sandbox = true;
                    self.pending.push(sandbox_ready());
                }
                Effect::PullImage { container } => {
                    let (image, message) = (PinnedImage::default(), String::new());
                    self.pending.push(Input::ImageReady { container, image, message });
                }
                Effect::StartContainer { container, attempt, .. } => {
                    self.start(now, pod, container, attempt);
                }
                Effect::Probe { container, attempt, kind } => {
                    let outcome = Outcome::Success;
                    self.pending.push(Input::Probed { container, attempt, kind, outcome });
                }
                Effect::RunHook { container, attempt, hook, .. } => {
                    let outcome = Outcome::Success;
                    self.pending.push(Input::HookDone { container, attempt, hook, outcome });
                }
                Effect::RemovePod => {
                    assert!(self.running.is_empty(), "removed while {:?} run", self.running);
                    self.removed = true;
                    self.pending.push(Input::PodRemoved);
                }
                Effect::ResetPod => {
                    self.running.clear();
                    self.ended.clear();
                    self.done.clear();
                    self.sandbox = false;
                    self.pending.push(Input::ResetDone);
                }
                Effect::Signal { container, attempt, .. } => {
                    if self.running.get(&container) == Some(&attempt) {
                        self.end(now, &container, 143);
                    }
                }
                Effect::RemoveContainer { container, attempt } => {
                    if self.ended.get(&container).is_some_and(|(ended, _)| *ended == attempt) {
                        self.ended.remove(&container);
                    }
                }
                Effect::Save | Effect::Record(_) | Effect::Watch { .. } | Effect::KillPod => {}
            }
        }
    }

    fn start(&mut self, now: Now, pod: &PodSpec, container: String, attempt: u32) {
        let this = (container.clone(), attempt);
        assert!(!self.started.contains(&this), "{this:?} started twice");
        assert!(!self.removed, "{this:?} started after the removal");
        let inits = pod.init_containers.as_deref().unwrap_or_default();
        let before = inits.iter().take_while(|init| init.name != container);
        for init in before.filter(|init| init.restart_policy.is_none()) {
            let done = self.done.get(&init.name).copied().unwrap_or_default();
            assert_eq!(done, 1, "{container} started, and {} did its work {done} times", init.name);
        }
        self.started.push(this);
        self.running.insert(container.clone(), attempt);
        self.pending.push(Input::Started { container, attempt, at: now.wall });
    }

    fn end(&mut self, now: Now, container: &str, code: u32) {
        let Some(attempt) = self.running.remove(container) else { return };
        if code == 0 {
            *self.done.entry(container.to_owned()).or_default() += 1;
        }
        let exit = exit(now, code);
        self.ended.insert(container.to_owned(), (attempt, exit.clone()));
        self.pending.push(Input::Exited { container: container.to_owned(), attempt, exit });
    }

    /// What an agent finds that comes now: answers to the last one are lost.
    fn observed(&mut self) -> Observed {
        let removing = self.pending.contains(&Input::PodRemoved);
        self.pending.clear();
        if removing {
            self.removed = false;
        }
        let running = self.running.iter().map(|(name, attempt)| {
            (name.clone(), ObservedContainer { attempt: *attempt, task: ObservedTask::Running })
        });
        let ended = self.ended.iter().map(|(name, (attempt, exit))| {
            let task = ObservedTask::Stopped(exit.clone());
            (name.clone(), ObservedContainer { attempt: *attempt, task })
        });
        Observed { sandbox: self.sandbox, containers: ended.chain(running).collect() }
    }
}

/// A pod with everything.
fn rich() -> PodSpec {
    let probe = || Some(Probe { period_seconds: Some(1), ..Probe::default() });
    let mut proxy = hooked("proxy", true, true);
    proxy.restart_policy = Some("Always".into());
    proxy.startup_probe = probe();
    let main = Container {
        liveness_probe: probe(),
        readiness_probe: probe(),
        startup_probe: probe(),
        ..hooked("main", true, true)
    };
    spec(
        vec![container("one"), proxy, container("two"), sidecar("last")],
        vec![main, container("other")],
    )
}

/// One thing that happens.
fn happen(
    pod: &mut Pod,
    host: &mut Host,
    now: &mut Now,
    (choice, index): (usize, usize),
) -> Vec<Effect> {
    match choice {
        0..=3 if !host.pending.is_empty() => {
            let input = host.pending.remove(index % host.pending.len());
            pod.step(*now, input)
        }
        4 | 5 if !host.running.is_empty() => {
            // Nobody ends before its start was told, in the order of one shim's answers.
            let names: Vec<String> = host.running.keys().cloned().collect();
            let name = &names[index % names.len()];
            let init = matches!(name.as_str(), "one" | "two");
            host.end(*now, name, u32::from(!(init && index % 3 > 0)));
            Vec::new()
        }
        6 => {
            let observed = host.observed();
            let (next, effects) =
                Pod::adopt(*now, pod.record.clone(), &observed, Policy::default());
            *pod = next;
            effects
        }
        7 => pod.step(*now, Input::ImagesChanged),
        8 if index % 4 == 0 => pod.step(*now, Input::SandboxLost),
        9 if index % 3 == 0 => {
            pod.step(*now, Input::Delete { grace: 3 * SECOND, cause: String::new() })
        }
        _ => {
            *now = later(*now, SECOND * if index % 9 == 0 { 400 } else { 1 });
            pod.step(*now, Input::Deadline)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_happens_no_attempt_starts_twice_none_before_its_turn_and_every_deletion_ends(
        choices in proptest::collection::vec((0usize..12, any::<usize>()), 1..200),
    ) {
        let mut now = time::now();
        let pod_spec = rich();
        let mut record = record_of(pod_spec.clone());
        record.containers.clear();
        let (mut pod, effects) = Pod::new(record, Policy::default());
        let mut host = Host::default();
        host.carry_out(now, &pod_spec, effects);
        for choice in choices {
            if pod.gone() {
                break;
            }
            let effects = happen(&mut pod, &mut host, &mut now, choice);
            host.carry_out(now, &pod_spec, effects);
        }
        if !pod.gone() {
            let delete = Input::Delete { grace: SECOND, cause: String::new() };
            let effects = pod.step(now, delete);
            host.carry_out(now, &pod_spec, effects);
        }
        let mut steps = 0;
        while !pod.gone() && steps < 400 {
            steps += 1;
            let effects = if host.pending.is_empty() {
                now = later(now, SECOND);
                pod.step(now, Input::Deadline)
            } else {
                let input = host.pending.remove(0);
                pod.step(now, input)
            };
            host.carry_out(now, &pod_spec, effects);
        }
        prop_assert!(pod.gone(), "{:?} {:?}", pod.stage, pod.containers);
    }
}
