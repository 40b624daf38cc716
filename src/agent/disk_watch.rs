//! Pods that take more of the disk than their emptyDir volumes may: looked at now and then while there are any with
//! such a limit, and evicted.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::base::{errors::Chain, ids::PodUid, time};
use crate::fleet::events::EventType;
use crate::host::disk_usage;
use crate::pod::{
    disk_limits::{self, DiskLimit},
    machine::{Effect, Input, Pod, PodEvent},
};

use super::{
    effects::blocking,
    reconciler::{Done, Reconciler},
};

/// The pause between two looks.
const PAUSE: Duration = Duration::from_secs(10);

/// How much longer than the look itself the pause is at least, so that looking takes a twentieth of a core at most.
const PAUSE_FACTOR: u32 = 20;

/// When the next look is due.
#[derive(Debug, Default)]
pub(super) struct DiskWatch {
    /// When; `None` while nobody has a limit, or while a look is under way.
    due: Option<Instant>,
    /// Whether a look is under way.
    looking: bool,
}

impl DiskWatch {
    /// When to wake for it.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }
}

/// What a look came to.
#[derive(Debug)]
pub(super) struct Look {
    /// Pods over a limit, with the reason to evict them.
    over: Vec<(PodUid, String)>,
    /// How long it took.
    took: Duration,
}

impl Reconciler {
    /// Begins to watch when the first pod with a limit is there, and ends with the last.
    pub(super) fn plan_disk_look(&mut self) {
        if !self.pods.values().any(limited) {
            self.disk.due = None;
        } else if self.disk.due.is_none() && !self.disk.looking {
            self.disk.due = Some(time::now().mono + PAUSE);
        }
    }

    /// Looks when it is time.
    pub(super) fn look_at_disk(&mut self) {
        if self.disk.due.is_none_or(|due| due > time::now().mono) {
            return;
        }
        let pods = self.pods.iter().filter(|(_, pod)| limited(pod));
        let limits = pods.map(|(uid, pod)| (uid.clone(), disk_limits::limits(&pod.record)));
        let limits: Vec<(PodUid, Vec<DiskLimit>)> = limits.collect();
        self.disk = DiskWatch { due: None, looking: true };
        // Beside the effects: nobody waits for it.
        self.watches.spawn(async move { Done::Looked(blocking(move || look(&limits)).await) });
    }

    /// Evicts the pods that a look found over a limit.
    pub(super) fn disk_looked(&mut self, look: Look) {
        let pause = PAUSE.max(look.took * PAUSE_FACTOR);
        self.disk = DiskWatch { due: Some(time::now().mono + pause), looking: false };
        for (uid, message) in look.over {
            self.evict_for_disk(&uid, message);
        }
    }

    /// Evicts a pod; its set brings another one.
    fn evict_for_disk(&mut self, uid: &PodUid, message: String) {
        let Some(pod) = self.pods.get(uid).filter(|pod| limited(pod)) else { return };
        let (name, set, grace) =
            (pod.record.name.clone(), pod.record.set.clone(), pod.record.grace());
        info!(set = %set, pod = %name, reason = %message, "evicting a pod");
        self.report(&format!("deleted pod {}/{name}: {message}", set.namespace));
        let event = PodEvent { warning: true, reason: "Evicted", message: message.clone() };
        self.dispatch(time::now(), uid, vec![Effect::Record(event)]);
        let deleted = format!("Deleted pod: {name} ({message})");
        self.note_set(&set, EventType::Normal, "SuccessfulDelete", deleted);
        self.tell(uid, Input::Delete { grace, cause: message });
    }
}

/// Whether a pod has a limit and is not on its way out.
fn limited(pod: &Pod) -> bool {
    !pod.stopping() && disk_limits::any(pod.record.spec())
}

/// Looks at the volumes of these pods.
fn look(pods: &[(PodUid, Vec<DiskLimit>)]) -> Look {
    let start = time::now().mono;
    let over = |limit: &&DiskLimit| match disk_usage::usage(&limit.path, limit.bytes) {
        Ok(bytes) => bytes > limit.bytes,
        Err(error) => {
            warn!(error = %Chain(&error), "failed to look at the use of {}", limit.path.display());
            false
        }
    };
    let over = pods.iter().filter_map(|(uid, limits)| {
        limits.iter().find(over).map(|limit| (uid.clone(), limit.message()))
    });
    let over = over.collect();
    Look { over, took: time::now().mono.saturating_duration_since(start) }
}
