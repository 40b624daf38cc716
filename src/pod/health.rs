//! A running container's hooks and probes: what their answers do to it and to its pod.

use jiff::Timestamp;

use crate::base::time::{Now, elapsed};

use super::{
    action::Outcome,
    containers::State,
    machine::{Effect, Hook, Pod, PodEvent, note, warning},
    probes::{Beginning, ProbeKind, Probes},
    stopping::StopCause,
};

impl Pod {
    /// Whether the container has a postStart hook.
    pub(super) fn has_post_start(&self, name: &str) -> bool {
        self.hook_of(name, Hook::PostStart)
    }

    /// Whether the container has that hook.
    pub(super) fn hook_of(&self, name: &str, hook: Hook) -> bool {
        let lifecycle = self.record.container(name).and_then(|own| own.lifecycle.as_ref());
        lifecycle.is_some_and(|lifecycle| match hook {
            Hook::PostStart => lifecycle.post_start.is_some(),
            Hook::PreStop => lifecycle.pre_stop.is_some(),
        })
    }

    /// A process runs: its hook comes first, then its probes.
    pub(super) fn begin(&mut self, now: Now, name: &str, attempt: u32, out: &mut Vec<Effect>) {
        if self.has_post_start(name) && self.record_of(name).post_start != Some(attempt) {
            self.containers.insert(name.to_owned(), State::Hooking { attempt });
            let hook = Hook::PostStart;
            out.push(Effect::RunHook { container: name.to_owned(), attempt, hook, timeout: None });
        } else {
            self.probe(now, name, None, out);
        }
    }

    /// Sets a running container's probes to work; one without any is started and ready. `since` says that it ran before
    /// this agent did: then it is as ready as it was, and its probes keep out of the way of all the others.
    pub(super) fn probe(
        &mut self,
        now: Now,
        name: &str,
        since: Option<Timestamp>,
        out: &mut Vec<Effect>,
    ) {
        let Some(container) = self.record.container(name).cloned() else { return };
        let spread = since.map(|_| format!("{}/{name}", self.record.uid));
        let record = self.record_of(name);
        let began = record
            .running_since
            .map_or(now.mono, |at| now.mono.checked_sub(elapsed(at, now.wall)).unwrap_or(now.mono));
        let from = Beginning {
            at: began,
            started: record.started,
            ready: record.ready,
            spread: spread.as_deref(),
        };
        let probes = Probes::new(&container, now.mono, from);
        let before = (record.started, record.ready);
        record.started |= !probes.has(ProbeKind::Startup);
        record.ready = record.started && (record.ready || !probes.has(ProbeKind::Readiness));
        if before != (record.started, record.ready) {
            out.push(Effect::Save);
        }
        if !probes.is_empty() {
            self.probes.insert(name.to_owned(), probes);
        }
        self.probes_due(now, out);
    }

    /// Runs the probes whose time has come.
    pub(super) fn probes_due(&mut self, now: Now, out: &mut Vec<Effect>) {
        for (name, probes) in &mut self.probes {
            let Some(attempt) = self.containers.get(name).and_then(State::attempt) else {
                continue;
            };
            for kind in probes.due(now.mono) {
                out.push(Effect::Probe { container: name.clone(), attempt, kind });
            }
        }
    }

    /// A probe has answered.
    pub(super) fn probed(
        &mut self,
        now: Now,
        name: &str,
        attempt: u32,
        kind: ProbeKind,
        outcome: Outcome,
        out: &mut Vec<Effect>,
    ) {
        let state = self.containers.get(name);
        let Some(probes) = self.probes.get_mut(name).filter(|_| {
            // The answer of an attempt that is no more says nothing about the next one.
            state.and_then(State::attempt) == Some(attempt)
        }) else {
            return;
        };
        let meaning = probes.answer(kind, outcome);
        if let Some((reason, message)) = meaning.event {
            out.push(warning(reason, message));
        }
        if meaning.again {
            out.push(Effect::Probe { container: name.to_owned(), attempt, kind });
        }
        if let Some(good) = meaning.settled {
            self.settled(now, name, kind, good, out);
        }
    }

    /// A probe has settled on an answer that is news.
    fn settled(
        &mut self,
        now: Now,
        name: &str,
        kind: ProbeKind,
        good: bool,
        out: &mut Vec<Effect>,
    ) {
        match (kind, good) {
            (ProbeKind::Startup, true) => {
                // From now on the other probes run; without a readiness probe the container is ready.
                self.probe_after_startup(now, name, out);
            }
            (ProbeKind::Readiness, ready) => {
                self.record_of(name).ready = ready;
                out.push(Effect::Save);
            }
            (ProbeKind::Liveness, true) => {}
            (ProbeKind::Startup | ProbeKind::Liveness, false) => {
                let grace = self.probe_grace(name, kind);
                let text =
                    format!("Container {name} failed {} probe, will be restarted", kind.word());
                out.push(note("Killing", text));
                self.begin_stop(now, name, grace, StopCause::Probe, out);
            }
        }
    }

    /// The startup probe has succeeded.
    fn probe_after_startup(&mut self, now: Now, name: &str, out: &mut Vec<Effect>) {
        let gated = self.probes.get(name).is_some_and(|probes| probes.has(ProbeKind::Readiness));
        let record = self.record_of(name);
        record.started = true;
        record.ready = !gated;
        out.push(Effect::Save);
        self.probes_due(now, out);
    }

    /// How long a container gets that a probe has condemned: the probe's own grace period, else its pod's.
    fn probe_grace(&self, name: &str, kind: ProbeKind) -> std::time::Duration {
        let container = self.record.container(name);
        let probe = container.and_then(|container| kind.of(container));
        let own = probe.and_then(|probe| probe.termination_grace_period_seconds);
        own.and_then(|seconds| u64::try_from(seconds).ok())
            .map_or_else(|| self.record.grace(), std::time::Duration::from_secs)
    }

    /// A hook has come to its end.
    pub(super) fn hook_done(
        &mut self,
        now: Now,
        name: &str,
        attempt: u32,
        hook: Hook,
        outcome: Outcome,
        out: &mut Vec<Effect>,
    ) {
        if self.containers.get(name).and_then(State::attempt) != Some(attempt) {
            return;
        }
        let failure = match outcome {
            Outcome::Success | Outcome::Warning(_) => None,
            Outcome::Failure(text) | Outcome::Error(text) => Some(text),
        };
        match hook {
            Hook::PostStart => self.post_start_done(now, name, attempt, failure, out),
            Hook::PreStop => {
                if let Some(text) = failure {
                    out.push(warning("FailedPreStopHook", format!("PreStopHook failed: {text}")));
                }
                self.pre_stop_done(now, name, attempt, out);
            }
        }
    }

    /// The postStart hook is through: the container is up, or it goes.
    fn post_start_done(
        &mut self,
        now: Now,
        name: &str,
        attempt: u32,
        failure: Option<String>,
        out: &mut Vec<Effect>,
    ) {
        if !matches!(self.containers.get(name), Some(State::Hooking { .. })) {
            return;
        }
        self.containers.insert(name.to_owned(), State::Running { attempt });
        match failure {
            None => {
                self.record_of(name).post_start = Some(attempt);
                out.push(Effect::Save);
                self.probe(now, name, None, out);
            }
            // Not kept: an agent that takes over before the container has ended runs the hook again.
            Some(text) => {
                let message = format!("PostStartHook failed: {text}");
                out.push(Effect::Record(PodEvent {
                    warning: true,
                    reason: "FailedPostStartHook",
                    message: message.clone(),
                }));
                let grace = self.record.grace();
                self.begin_stop(now, name, grace, StopCause::PostStart(message), out);
            }
        }
    }
}
