//! The order of a pod's containers: init containers one after the other, then the regular ones; and when a pod is over.

use crate::base::{backoff::Backoff, time::Now};

use super::{
    containers::State,
    machine::{Effect, Pod, Stage},
    record::ContainerRecord,
    restart::{Role, names, succeeded},
    stopping::StopCause,
};

/// How a pod ended whose containers are not started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Every regular container did what it should.
    Succeeded,
    /// An init container or a regular one did not.
    Failed,
}

/// How far an init container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// The next one may start.
    Done,
    /// It is to be started.
    Idle,
    /// It is under way, waits to be tried again, or failed for good.
    UnderWay,
}

impl Pod {
    /// What a container is to this pod.
    pub(super) fn role(&self, name: &str) -> Role {
        Role::of(self.record.spec(), name)
    }

    /// Starts what may start now. Called after every input while the pod is up; it finds its place by the facts alone.
    pub(super) fn advance(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.over().is_some() {
            return self.wind_up(now, out);
        }
        if self.record.initialized.is_none() {
            if !self.initialize(out) {
                return;
            }
            self.record.initialized = Some(now.wall);
            self.containers_may_start();
            out.push(Effect::Save);
        }
        self.start_regular(out);
    }

    /// Goes through the init containers up to the first that is not done, and starts it; `true` when there is none.
    fn initialize(&mut self, out: &mut Vec<Effect>) -> bool {
        let inits = self.record.spec().init_containers.iter().flatten();
        let inits: Vec<String> = inits.map(|container| container.name.clone()).collect();
        for name in inits {
            match self.progress(&name) {
                Progress::Done => {}
                Progress::Idle => {
                    self.start(&name, Backoff::default(), None, out);
                    return false;
                }
                Progress::UnderWay => return false,
            }
        }
        true
    }

    /// How far an init container is.
    fn progress(&self, name: &str) -> Progress {
        let record = self.record.containers.get(name);
        let state = self.containers.get(name);
        let done = match self.role(name) {
            Role::Sidecar => {
                matches!(state, Some(State::Running { .. }))
                    && record.is_some_and(|record| record.started)
            }
            Role::Init | Role::Regular => record.is_some_and(did_well),
        };
        if done {
            Progress::Done
        } else if state.is_some_and(State::idle) {
            Progress::Idle
        } else {
            Progress::UnderWay
        }
    }

    /// From here on the regular containers wait for their own start, no longer for the init containers.
    fn containers_may_start(&mut self) {
        let fresh = self.creating();
        for state in self.containers.values_mut().filter(|state| state.idle()) {
            *state = fresh.clone();
        }
    }

    /// Starts the regular containers that were never started, in their order. A postStart hook holds up those after it,
    /// for a start is over only when its hook is; a start that failed holds up nobody.
    fn start_regular(&mut self, out: &mut Vec<Effect>) {
        for name in names(self.record.spec()) {
            if self.containers.get(&name).is_some_and(State::idle) {
                self.start(&name, Backoff::default(), None, out);
            }
            let starts = matches!(
                self.containers.get(&name),
                Some(State::Pulling { .. } | State::Starting { .. } | State::Hooking { .. })
            );
            if starts && self.role(&name) == Role::Regular && self.has_post_start(&name) {
                return;
            }
        }
    }

    /// Whether and how the pod is over: no container of it will do any more work.
    pub fn over(&self) -> Option<Over> {
        let spec = self.record.spec();
        let record = |name: &str| self.record.containers.get(name);
        let failed = |name: &str| record(name).is_some_and(|r| r.finished && !did_well(r));
        let inits = spec.init_containers.iter().flatten();
        let mut plain = inits.filter(|init| self.role(&init.name) == Role::Init);
        if plain.any(|init| failed(&init.name)) {
            return Some(Over::Failed);
        }
        let mut regular = spec.containers.iter();
        if !regular.all(|own| record(&own.name).is_some_and(|record| record.finished)) {
            return None;
        }
        let all_well = spec.containers.iter().all(|own| !failed(&own.name));
        Some(if all_well { Over::Succeeded } else { Over::Failed })
    }

    /// The pod is over: its sidecars have nobody left to serve.
    fn wind_up(&mut self, now: Now, out: &mut Vec<Effect>) {
        let grace = self.record.grace();
        for name in names(self.record.spec()) {
            match self.containers.get(&name) {
                Some(State::Running { .. } | State::Hooking { .. }) => {
                    self.begin_stop(now, &name, grace, StopCause::Over, out);
                }
                Some(State::Waiting { .. } | State::Pulling { .. }) => {
                    self.containers.insert(name, State::Ended);
                }
                Some(State::Starting { .. } | State::Stopping { .. } | State::Ended) | None => {}
            }
        }
    }

    /// Whether any of its containers ever had a process.
    pub fn has_run(&self) -> bool {
        self.record.containers.values().any(|record| record.attempt.is_some())
    }

    /// Whether all its containers are up and ready.
    pub fn ready(&self) -> bool {
        self.stage == Stage::Up && self.unready().is_empty() && self.over().is_none()
    }

    /// The containers and sidecars that are not ready, in their order.
    pub(super) fn unready(&self) -> Vec<String> {
        let unready = |name: &String| self.role(name) != Role::Init && !self.container_ready(name);
        names(self.record.spec()).into_iter().filter(unready).collect()
    }

    /// Whether a container runs and is ready.
    pub(super) fn container_ready(&self, name: &str) -> bool {
        self.containers.get(name).is_some_and(|state| state.attempt().is_some())
            && self.record.containers.get(name).is_some_and(|record| record.ready)
    }

    /// The init containers that have not done their work, in their order.
    pub(super) fn incomplete(&self) -> Vec<String> {
        if self.record.initialized.is_some() {
            return Vec::new();
        }
        let inits = self.record.spec().init_containers.iter().flatten();
        let inits = inits.map(|container| container.name.clone());
        inits.filter(|name| self.progress(name) != Progress::Done).collect()
    }
}

/// Whether a container ended for good, and well.
fn did_well(record: &ContainerRecord) -> bool {
    record.finished && record.terminated.as_ref().is_some_and(succeeded)
}
