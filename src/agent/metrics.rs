//! What is counted here for whoever watches many hosts.

use std::collections::BTreeMap;

use crate::base::{keyed::keyed, time};
use crate::pod::machine::Pod;
use crate::source::merge::SourceReading;

use super::{
    feeds::etcd_root,
    handle::{MetricsReport, SourceHealth, StoreState},
    reconciler::Reconciler,
};

/// The phases of Kubernetes that a pod here can have; each is told, also when no pod has it.
const PHASES: [&str; 4] = ["Pending", "Running", "Succeeded", "Failed"];

impl Reconciler {
    /// Everything that is counted, as it is now.
    pub(super) fn metrics(&self) -> MetricsReport {
        let mut pods: BTreeMap<&str, u64> = keyed(PHASES.map(|phase| (phase, 0)));
        for pod in self.pods.values() {
            *pods.entry(pod.phase()).or_default() += 1;
        }
        MetricsReport {
            node: self.node.name.to_string(),
            started: self.started,
            containerd: !self.effects.daemon.away(),
            faults: self.faults.len() as u64,
            pods,
            sets: self.sets_by_state(),
            restarts: self.past_restarts + self.pods.values().map(restarts).sum::<u64>(),
            sources: self.source_health(),
            store: self.feeds.store.clone(),
        }
    }

    /// How many sets there are that do not belong here, that wait for something, and that are content.
    fn sets_by_state(&self) -> BTreeMap<&'static str, u64> {
        let mut sets = keyed([("held", 0), ("not-here", 0), ("wanted", 0)]);
        for key in self.sets.entries().keys() {
            let here = self.standings.get(key).is_some_and(|standing| standing.should_run);
            let state = match (self.holds.contains_key(key), here) {
                (_, false) => "not-here",
                (true, true) => "held",
                (false, true) => "wanted",
            };
            *sets.entry(state).or_default() += 1;
        }
        sets
    }

    /// How each source is: files, which are read whenever they change, and those that are asked from afar.
    fn source_health(&self) -> Vec<SourceHealth> {
        let file = |reading: &SourceReading| SourceHealth {
            name: reading.path.display().to_string(),
            last_good: None,
            fault: reading.fault.as_ref().map(ToString::to_string).unwrap_or_default(),
        };
        let files = self.readings.iter().flatten().map(file);
        let mut sources: Vec<SourceHealth> = files.chain(self.feeds.health()).collect();
        let ready = self.feeds.store.as_ref().is_some_and(|store| store.state == StoreState::Ready);
        let etcd = etcd_root(&self.settings);
        for source in sources.iter_mut().filter(|source| ready && source.name == etcd) {
            // It is watched: as long as it is ready, its last word holds.
            source.last_good = Some(time::now().wall);
        }
        sources
    }
}

/// How often containers of a pod were started again.
pub(super) fn restarts(pod: &Pod) -> u64 {
    pod.record.containers.values().filter_map(|container| container.attempt).map(u64::from).sum()
}
