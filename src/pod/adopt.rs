//! Taking up a pod that was there before the agent: from its record and from what containerd shows.

use std::{collections::BTreeMap, time::Duration};

use crate::base::{
    backoff::Backoff,
    time::{Now, elapsed},
};

use super::{
    containers::State,
    machine::{Effect, Exit, ExitKind, Pod, Policy, Stage},
    record::{ContainerRecord, PodRecord, Readiness},
    restart::names,
};

/// What is there of a pod.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// Whether its sandbox is whole.
    pub sandbox: bool,
    /// Its containers, by name; of several attempts the newest.
    pub containers: BTreeMap<String, ObservedContainer>,
}

/// What is there of a container.
#[derive(Debug, Clone, PartialEq)]
pub struct ObservedContainer {
    /// The attempt.
    pub attempt: u32,
    /// Its task.
    pub task: ObservedTask,
}

/// What is there of a task.
#[derive(Debug, Clone, PartialEq)]
pub enum ObservedTask {
    /// A start that never came to its end.
    HalfMade,
    /// A process.
    Running,
    /// The end of one.
    Stopped(Exit),
}

/// What became of a container while no agent watched.
#[derive(Debug, Clone, PartialEq)]
enum Found {
    /// The attempt runs.
    Runs(u32),
    /// The attempt ended, and the record does not know it yet.
    Ended(u32, Exit),
    /// The record knows the newest end; an attempt that is of no more use may be left of it.
    Known(Option<u32>),
}

/// Compares a container's record with what is there.
fn find(now: Now, record: &ContainerRecord, there: Option<&ObservedContainer>) -> Found {
    let lost = |attempt| {
        Found::Ended(
            attempt,
            Exit { code: 255, at: now.wall, kind: ExitKind::Lost, message: String::new() },
        )
    };
    let believed_running = record.attempt.filter(|_| record.running_since.is_some());
    match there.map(|there| (there.attempt, &there.task)) {
        Some((attempt, ObservedTask::Running)) => Found::Runs(attempt),
        Some((attempt, ObservedTask::Stopped(exit)))
            if record.attempt < Some(attempt) || believed_running == Some(attempt) =>
        {
            Found::Ended(attempt, exit.clone())
        }
        Some((attempt, ObservedTask::Stopped(_) | ObservedTask::HalfMade)) => {
            // What is half made of the next attempt is taken over by its start.
            let stale = Some(attempt).filter(|_| record.attempt >= Some(attempt));
            believed_running.map_or(Found::Known(stale), lost)
        }
        None => believed_running.map_or(Found::Known(None), lost),
    }
}

/// Ends that the record does not know yet, by container.
type Ends = Vec<(String, u32, Exit)>;

impl Pod {
    /// Goes on where the last agent left off: what runs runs on, what was half done is done again.
    pub fn adopt(
        now: Now,
        record: PodRecord,
        observed: &Observed,
        policy: Policy,
    ) -> (Self, Vec<Effect>) {
        let mut pod = Self::of(record, policy);
        let mut out = Vec::new();
        let mut ends = Ends::new();
        for name in names(pod.record.spec()) {
            pod.take_up(now, name, observed, &mut ends, &mut out);
        }
        if let Some(deletion) = pod.record.deletion.clone() {
            let rest = deletion.grace.saturating_sub(elapsed(deletion.requested, now.wall));
            pod.stage = pod.stop_adopted(now, rest, ends, &mut out);
        } else if observed.sandbox && pod.record.sandbox.is_some() {
            pod.stage = Stage::Up;
            pod.go_on(now, ends, &mut out);
        } else {
            pod.stage = pod.start_over_adopted(ends, &mut out);
        }
        pod.date_readiness();
        pod.note_readiness(now, &mut out);
        pod.discard(&mut out);
        (pod, out)
    }

    /// A record from a build that kept no readiness: it began with the last change of a container.
    fn date_readiness(&mut self) {
        if self.record.readiness.is_none() && self.ready() {
            let since = self.last_change();
            self.record.readiness = Some(Readiness { ready: true, since });
        }
    }

    /// Takes up one container.
    fn take_up(
        &mut self,
        now: Now,
        name: String,
        observed: &Observed,
        ends: &mut Ends,
        out: &mut Vec<Effect>,
    ) {
        let record = self.record_of(&name);
        match find(now, record, observed.containers.get(&name)) {
            Found::Runs(attempt) => {
                if record.attempt != Some(attempt) || record.running_since.is_none() {
                    // The agent died between the start and its record.
                    self.note_start(&name, attempt, now.wall);
                    out.push(Effect::Save);
                }
                self.containers.insert(name.clone(), State::Running { attempt });
                out.push(Effect::Watch { container: name, attempt });
            }
            Found::Ended(attempt, exit) => {
                self.containers.insert(name.clone(), State::Running { attempt });
                ends.push((name, attempt, exit));
            }
            Found::Known(left) => {
                if record.finished {
                    self.containers.insert(name.clone(), State::Ended);
                }
                if let Some(attempt) = left {
                    self.leftovers.push((name, attempt));
                }
            }
        }
    }

    /// A pod that is wanted and whose sandbox is whole: what runs goes on being probed, ended containers restart by
    /// their back-off, and the rest starts in its order.
    fn go_on(&mut self, now: Now, ends: Ends, out: &mut Vec<Effect>) {
        let ended: Vec<String> = ends.iter().map(|(name, ..)| name.clone()).collect();
        for name in names(self.record.spec()) {
            let running = self.containers.get(&name).and_then(State::attempt);
            if let Some(attempt) = running.filter(|_| !ended.contains(&name)) {
                self.begin_adopted(now, &name, attempt, out);
            }
        }
        for (name, attempt, exit) in ends {
            self.exited(now, &name, attempt, &exit, out);
        }
        for name in self.begun() {
            let ran = self.record.containers.get(&name).is_some_and(|own| own.terminated.is_some());
            if ran && self.containers.get(&name).is_some_and(State::idle) {
                self.resume(now, &name, out);
            }
        }
        self.advance(now, out);
    }

    /// The containers whose turn came in the present sandbox. A container that ran in an earlier one only does not count.
    fn begun(&self) -> Vec<String> {
        let all = names(self.record.spec());
        if self.record.initialized.is_some() {
            return all;
        }
        let incomplete = self.incomplete();
        let next = all.iter().position(|name| incomplete.first() == Some(name));
        all.into_iter().take(next.map_or(0, |next| next + 1)).collect()
    }

    /// Goes on with a container that runs. A hook that was cut off is run again: better twice than never.
    fn begin_adopted(&mut self, now: Now, name: &str, attempt: u32, out: &mut Vec<Effect>) {
        let record = self.record_of(name);
        let (started, since) = (record.started, record.running_since);
        if !started && self.has_post_start(name) {
            return self.begin(now, name, attempt, out);
        }
        self.probe(now, name, since, out);
    }

    /// Starts a container that was waiting when the last agent ended; what is left of its back-off still holds.
    fn resume(&mut self, now: Now, name: &str, out: &mut Vec<Effect>) {
        let record = self.record_of(name);
        let Some(ended) = record.terminated.as_ref().map(|terminated| terminated.finished) else {
            return self.start(name, Backoff::default(), None, out);
        };
        if record.backoff_grew.is_some_and(|grew| grew > ended) {
            // The restart was counted; only its start was cut short.
            return self.start(name, Backoff::default(), None, out);
        }
        let rest = record.backoff.delay().saturating_sub(elapsed(ended, now.wall));
        if rest.is_zero() {
            self.restart(now, name, None, out);
        } else {
            self.wait_out(now, name, rest);
        }
    }

    /// A pod that is wanted but whose sandbox is lost, as after a restart of the host.
    fn start_over_adopted(&mut self, ends: Ends, out: &mut Vec<Effect>) -> Stage {
        for (name, attempt, exit) in ends {
            self.note_exit(&name, attempt, &exit, out);
        }
        out.retain(|effect| !matches!(effect, Effect::Watch { .. }));
        self.start_over(out)
    }

    /// A pod whose deletion was under way: what is left of its grace still holds.
    fn stop_adopted(
        &mut self,
        now: Now,
        rest: Duration,
        ends: Ends,
        out: &mut Vec<Effect>,
    ) -> Stage {
        for (name, attempt, exit) in ends {
            self.note_exit(&name, attempt, &exit, out);
            self.containers.insert(name, State::Ended);
        }
        out.push(Effect::Save);
        self.stop_processes(now, rest, false, out)
    }
}
