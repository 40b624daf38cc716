//! When a container's probes run, and what their answers add up to.
//!
//! A probe runs each period; equal answers in a row that reach the threshold settle it, and only then does anything follow.
//! Nothing here runs a probe: [`Probes::due`] says which are to be run now, [`Probes::answer`] takes what came of one.

use std::{
    fmt,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::{Container, Probe};
use sha2::{Digest, Sha256};

use super::action::Outcome;

/// How often a probe that could not be tried is tried again before its turn counts for nothing.
const TRIES: u32 = 3;

/// What a probe is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    /// Whether the container has started; until then the other two do not run.
    Startup,
    /// Whether it is to be restarted.
    Liveness,
    /// Whether it is ready.
    Readiness,
}

impl ProbeKind {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Startup, Self::Liveness, Self::Readiness];

    /// The container's probe of this kind.
    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }

    /// The word in running text.
    pub fn word(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
        }
    }
}

impl fmt::Display for ProbeKind {
    /// The word at the beginning of a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        })
    }
}

/// How long one run of a probe may take.
pub fn timeout(probe: &Probe) -> Duration {
    seconds(probe.timeout_seconds, 1)
}

/// A number of seconds; zero and nothing mean the default.
fn seconds(given: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(count(given, default))
}

/// A number; zero and nothing mean the default.
fn count(given: Option<i32>, default: u64) -> u64 {
    given.and_then(|given| u64::try_from(given).ok()).filter(|given| *given > 0).unwrap_or(default)
}

/// Where a container stands when its probes begin.
#[derive(Debug, Clone, Copy)]
pub struct Beginning<'a> {
    /// When its process began.
    pub at: Instant,
    /// Whether it counts as started already.
    pub started: bool,
    /// Whether it counts as ready already: so it was when this agent took it over.
    pub ready: bool,
    /// For a container that ran before this agent did: what tells it from others, so that not all are probed at once.
    pub spread: Option<&'a str>,
}

/// The probes of one running container.
#[derive(Debug, Clone, PartialEq)]
pub struct Probes {
    /// One for each kind that the container has and that still matters.
    workers: Vec<Worker>,
}

/// One probe at work.
#[derive(Debug, Clone, PartialEq)]
struct Worker {
    /// What it is for.
    kind: ProbeKind,
    /// Its period.
    period: Duration,
    /// How many good answers in a row settle it.
    successes: u64,
    /// How many bad ones do.
    failures: u64,
    /// When it runs next.
    next_at: Instant,
    /// Whether it runs now.
    in_flight: bool,
    /// The last answer, and how many equal ones there were in a row.
    streak: (bool, u64),
    /// What it settled on.
    settled: Option<bool>,
    /// How often in a row it could not be tried.
    errors: u32,
    /// What its last bad answer said.
    complaint: Option<String>,
}

/// What an answer means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meaning {
    /// What the operator should see: reason and text.
    pub event: Option<(&'static str, String)>,
    /// What the probe settled on, when that is news.
    pub settled: Option<bool>,
    /// Whether it is to be run again at once.
    pub again: bool,
}

impl Probes {
    /// The probes of a container whose process runs.
    pub fn new(container: &Container, now: Instant, from: Beginning<'_>) -> Self {
        let worker = |kind: ProbeKind| {
            let probe = kind.of(container)?;
            if kind == ProbeKind::Startup && from.started {
                return None;
            }
            let period = seconds(probe.period_seconds, 10);
            let delay = Duration::from_secs(count(probe.initial_delay_seconds, 0));
            let mut next_at = from.at + delay;
            if let Some(name) = from.spread {
                next_at = next_at.max(now + part(period, name, kind));
            }
            let ready = kind == ProbeKind::Readiness && from.ready;
            Some(Worker {
                kind,
                period,
                successes: count(probe.success_threshold, 1),
                failures: count(probe.failure_threshold, 3),
                next_at,
                in_flight: false,
                streak: (false, 0),
                settled: ready.then_some(true),
                errors: 0,
                complaint: None,
            })
        };
        Self { workers: ProbeKind::ALL.into_iter().filter_map(worker).collect() }
    }

    /// Whether the container has no probe that still matters.
    pub fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// Whether there is a probe of this kind.
    pub fn has(&self, kind: ProbeKind) -> bool {
        self.workers.iter().any(|worker| worker.kind == kind)
    }

    /// When the next probe is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.awake().filter(|worker| !worker.in_flight).map(|worker| worker.next_at).min()
    }

    /// The probes that are to be run now; each is under way from here on.
    pub fn due(&mut self, now: Instant) -> Vec<ProbeKind> {
        let starting = self.has(ProbeKind::Startup);
        let awake = self.workers.iter_mut().filter(|worker| worker.awake(starting));
        let mut due = Vec::new();
        for worker in awake.filter(|worker| !worker.in_flight && worker.next_at <= now) {
            worker.in_flight = true;
            // What was missed is not made up for: the next turn is the next whole period from now on.
            while worker.next_at <= now {
                worker.next_at += worker.period;
            }
            due.push(worker.kind);
        }
        due
    }

    /// Takes the answer of a probe.
    pub fn answer(&mut self, kind: ProbeKind, outcome: Outcome) -> Meaning {
        let Some(worker) = self.workers.iter_mut().find(|worker| worker.kind == kind) else {
            return Meaning::default();
        };
        let meaning = worker.answer(outcome);
        if kind == ProbeKind::Startup && meaning.settled == Some(true) {
            self.workers.retain(|worker| worker.kind != ProbeKind::Startup);
        }
        meaning
    }

    /// Lets readiness alone go on: a container that is being stopped is not restarted by a probe.
    pub fn keep_readiness(&mut self) {
        self.workers.retain(|worker| worker.kind == ProbeKind::Readiness);
    }

    /// What is wrong according to the last answers, one line for each probe.
    pub fn complaints(&self) -> impl Iterator<Item = String> + '_ {
        self.awake().filter_map(|worker| {
            let complaint = worker.complaint.as_deref()?;
            Some(format!("{} probe failed: {complaint}", worker.kind))
        })
    }

    /// Whether some probe has not settled yet and has not failed either: the container may still come up.
    pub fn undecided(&self) -> bool {
        let waits = |worker: &Worker| worker.settled.is_none() && worker.complaint.is_none();
        self.workers.iter().any(|worker| worker.kind != ProbeKind::Liveness && waits(worker))
    }

    /// The probes that run at present.
    fn awake(&self) -> impl Iterator<Item = &Worker> {
        let starting = self.has(ProbeKind::Startup);
        self.workers.iter().filter(move |worker| worker.awake(starting))
    }
}

impl Worker {
    /// Whether it runs at present: the startup probe until it has succeeded, the others from then on.
    fn awake(&self, starting: bool) -> bool {
        (self.kind == ProbeKind::Startup) == starting
    }

    /// Takes an answer.
    fn answer(&mut self, outcome: Outcome) -> Meaning {
        self.in_flight = false;
        let kind = self.kind;
        let (good, event) = match outcome {
            Outcome::Success => (true, None),
            Outcome::Warning(text) => {
                (true, Some(("ProbeWarning", format!("{kind} probe warning: {text}"))))
            }
            Outcome::Failure(text) => {
                let event = ("Unhealthy", format!("{kind} probe failed: {text}"));
                self.complaint = Some(text);
                (false, Some(event))
            }
            Outcome::Error(text) => return self.untried(&text),
        };
        self.errors = 0;
        if good {
            self.complaint = None;
        }
        self.streak = if self.streak.0 == good { (good, self.streak.1 + 1) } else { (good, 1) };
        let threshold = if good { self.successes } else { self.failures };
        let reached = self.streak.1 >= threshold && self.settled != Some(good);
        if reached {
            self.settled = Some(good);
        }
        Meaning { event, settled: reached.then_some(good), again: false }
    }

    /// It could not be tried: twice more at once, then this turn counts for nothing.
    fn untried(&mut self, text: &str) -> Meaning {
        self.errors += 1;
        if self.errors < TRIES {
            self.in_flight = true;
            return Meaning { again: true, ..Meaning::default() };
        }
        self.errors = 0;
        let text = format!("{} probe errored and resulted in unknown state: {text}", self.kind);
        self.complaint = Some(text.clone());
        Meaning { event: Some(("Unhealthy", text)), ..Meaning::default() }
    }
}

/// A part of a period that is a container's own: the same each time, and evenly spread over many containers.
fn part(period: Duration, name: &str, kind: ProbeKind) -> Duration {
    let digest = Sha256::digest(format!("{name}/{kind}"));
    let number = u32::from(digest[0]) << 8 | u32::from(digest[1]);
    period * number / (1 << 16)
}

#[cfg(test)]
mod tests;
