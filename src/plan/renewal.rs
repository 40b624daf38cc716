//! The pace at which pods that ended are followed by others.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::base::{
    backoff::{Backoff, Bounds},
    ids::{PodUid, SetKey},
};

/// The DaemonSet controller's own bounds.
const BOUNDS: Bounds = Bounds { initial: Duration::from_secs(1), cap: Duration::from_mins(15) };

/// A set none of whose pods ended for this long starts with a clean slate.
const FORGIVEN_AFTER: Duration = Duration::from_mins(30);

/// The back-off of each set whose pods ended.
#[derive(Debug, Default)]
pub struct Renewals {
    /// By set.
    sets: BTreeMap<SetKey, Renewal>,
}

/// One set's back-off.
#[derive(Debug)]
struct Renewal {
    /// The pod that ended last.
    pod: PodUid,
    /// When that was seen.
    at: Instant,
    /// When its successor may come.
    until: Instant,
    /// The back-off earned so far.
    backoff: Backoff,
}

impl Renewals {
    /// Takes notice of a pod that ended: its successor comes at once the first time, and ever more seldom later.
    pub fn observe(&mut self, now: Instant, set: &SetKey, pod: &PodUid) {
        let renewal = self.sets.entry(set.clone()).or_insert_with(|| Renewal {
            pod: pod.clone(),
            at: now,
            until: now,
            backoff: Backoff::default(),
        });
        if renewal.pod != *pod {
            if now.duration_since(renewal.at) > FORGIVEN_AFTER {
                renewal.backoff.reset();
            }
            renewal.pod = pod.clone();
            renewal.at = now;
            renewal.until = now + renewal.backoff.next(BOUNDS);
        }
    }

    /// How long the successor of the set's pod that ended still has to wait.
    pub fn wait(&self, now: Instant, set: &SetKey) -> Duration {
        let until = self.sets.get(set).map_or(now, |renewal| renewal.until);
        until.saturating_duration_since(now)
    }

    /// Forgets sets that are gone.
    pub fn retain(&mut self, exists: impl Fn(&SetKey) -> bool) {
        self.sets.retain(|set, _| exists(set));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time;

    #[test]
    fn the_first_successor_comes_at_once_and_later_ones_ever_more_seldom() {
        let (start, set) = (time::now().mono, SetKey::new("default", "web"));
        let second = Duration::from_secs(1);
        let mut renewals = Renewals::default();
        let mut wait = |at, pod: &str| {
            renewals.observe(at, &set, &PodUid::new(pod));
            renewals.wait(at, &set)
        };
        assert_eq!(wait(start, "1"), Duration::ZERO);
        assert_eq!(wait(start, "2"), second);
        assert_eq!(wait(start + second / 2, "2"), second / 2);
        assert_eq!(wait(start + second, "3"), 2 * second);
        assert_eq!(wait(start + Duration::from_hours(1), "4"), second, "a clean slate");
    }
}
