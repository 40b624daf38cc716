//! NoExecute eviction: when a pod whose toleration is limited in time has to go.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::base::ids::PodUid;

/// The running countdowns. A countdown begins when the taints are first seen, keeps its end when they change,
/// and is cancelled when they no longer ask for an eviction.
#[derive(Debug, Default)]
pub struct Timers {
    /// When each pod has to go.
    due: BTreeMap<PodUid, Instant>,
}

impl Timers {
    /// Takes the newest verdict on one pod: after how long its node's taints evict it, if ever.
    pub fn observe(&mut self, now: Instant, pod: &PodUid, evict_after: Option<Duration>) {
        match evict_after {
            None => {
                self.due.remove(pod);
            }
            Some(after) => {
                self.due.entry(pod.clone()).or_insert(now + after);
            }
        }
    }

    /// Whether the pod's time is over.
    pub fn over(&self, now: Instant, pod: &PodUid) -> bool {
        self.due.get(pod).is_some_and(|due| *due <= now)
    }

    /// Whether anybody's time is over.
    pub fn due(&self, now: Instant) -> bool {
        self.due.values().any(|due| *due <= now)
    }

    /// Forgets pods that are gone.
    pub fn retain(&mut self, exists: impl Fn(&PodUid) -> bool) {
        self.due.retain(|pod, _| exists(pod));
    }

    /// The next time that somebody's time is over, after `now`.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        self.due.values().filter(|due| **due > now).min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time;

    #[test]
    fn a_countdown_keeps_its_end_when_taints_change_and_dies_with_them() {
        let (start, pod) = (time::now().mono, PodUid::new("a"));
        let second = Duration::from_secs(1);
        let mut timers = Timers::default();
        timers.observe(start, &pod, Some(10 * second));
        timers.observe(start + 5 * second, &pod, Some(60 * second));
        assert!(!timers.over(start + 9 * second, &pod));
        assert!(timers.over(start + 10 * second, &pod));
        assert_eq!(timers.next(start), Some(start + 10 * second));
        timers.observe(start + 5 * second, &pod, None);
        assert!(!timers.over(start + 99 * second, &pod));
    }
}
