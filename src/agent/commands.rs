//! Answers to the control socket.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::base::{
    ids::{PodUid, SetKey},
    time,
};
use crate::fleet::events::EventType;
use crate::node::{eligibility, report};
use crate::plan::steps::{Hold, Step, plan};
use crate::pod::{
    adopt::Observed,
    machine::{Input, Pod},
    status::Place,
};
use crate::source::merge::merge;

use super::{
    handle::{Command, Kind, SyncReport, VersionReport},
    reconciler::{Reconciler, WaitingSync},
    records::RecordError,
};

/// An object as JSON with its kind, which Kubernetes' types carry beside their fields.
pub(super) fn value<T: Serialize>(object: &T) -> Value {
    serde_json::to_value(object).unwrap_or(Value::Null)
}

impl Reconciler {
    /// Answers one command. An answer that nobody waits for any more is dropped.
    pub(super) fn answer(&mut self, command: Command) {
        match command {
            Command::List { kind, namespace, name, reply } => {
                let mut objects = self.list(kind);
                objects.retain(|object| {
                    let metadata = &object["metadata"];
                    let is = |key: &str, wanted: &Option<String>| {
                        wanted.as_deref().is_none_or(|wanted| metadata[key] == wanted)
                    };
                    is("name", &name) && (kind == Kind::Node || is("namespace", &namespace))
                });
                let _ = reply.send(objects);
            }
            Command::DeletePod { namespace, name, grace, reply } => {
                let _ = reply.send(self.delete_pod(&namespace, &name, grace));
            }
            Command::Why { set, reply } => {
                let _ = reply.send(self.why(&set));
            }
            Command::Sync { dry_run: true, reply } => {
                let _ = reply.send(self.dry_run());
            }
            Command::Sync { dry_run: false, reply } => {
                self.syncs.push(WaitingSync { lines: Vec::new(), reply });
                self.read_own_objects();
                self.read_sources();
                self.import_images();
            }
            Command::Images(order) => self.order_images(order),
            Command::Report { reply } => {
                let _ = reply.send(self.fleet_report());
            }
            Command::Turns { told, reply } => self.exchange_turns(told, reply),
            Command::Metrics { reply } => {
                let _ = reply.send(self.metrics());
            }
            Command::Version { reply } => {
                let _ = reply.send(VersionReport {
                    version: env!("CARGO_PKG_VERSION").into(),
                    node: self.node.name.to_string(),
                    containerd: if self.effects.daemon.away() {
                        String::new()
                    } else {
                        self.containerd_version.clone()
                    },
                });
            }
        }
    }

    /// Every object of a kind.
    pub(super) fn list(&self, kind: Kind) -> Vec<Value> {
        let now = time::now();
        match kind {
            Kind::DaemonSet => {
                let entries = self.sets.entries().values();
                entries.map(|entry| value(&self.set_object(now, entry))).collect()
            }
            Kind::Pod => {
                let host_ip = self.effects.facts.addresses.first().map(ToString::to_string);
                let pulls = self.pulls_shown();
                let place =
                    Place { node: &self.node.name, host_ip: host_ip.as_deref(), pulls: &pulls };
                self.pods.values().map(|pod| value(&pod.object(place))).collect()
            }
            Kind::Node => vec![value(&self.node_object(self.started))],
            Kind::Event => self.events.list(now).iter().map(value).collect(),
        }
    }

    /// Stops one pod at an operator's wish.
    fn delete_pod(
        &mut self,
        namespace: &str,
        name: &str,
        grace: Option<Duration>,
    ) -> Result<(), String> {
        let found = self
            .pods
            .iter()
            .find(|(_, pod)| pod.record.name == name && pod.record.set.namespace == namespace);
        let Some((uid, pod)) = found else {
            return Err(format!("pods {name:?} not found in namespace {namespace:?}"));
        };
        let (uid, grace): (PodUid, Duration) =
            (uid.clone(), grace.unwrap_or_else(|| pod.record.grace()));
        let set = pod.record.set.clone();
        let message = format!("Deleted pod: {name} (by an operator)");
        self.note_set(&set, EventType::Normal, "SuccessfulDelete", message);
        self.tell(&uid, Input::Delete { grace, cause: "deleted by an operator".into() });
        Ok(())
    }

    /// Explains a set: the verdict clause by clause, then what its pods do and what holds them.
    fn why(&self, key: &SetKey) -> Result<Value, String> {
        let entry = self.sets.entries().get(key).ok_or_else(|| {
            let (name, namespace) = (&key.name, &key.namespace);
            format!("daemonsets.apps {name:?} not found in namespace {namespace:?}")
        })?;
        let verdict = eligibility(&self.node, entry.run().template());
        let mut why = report(&key.to_string(), self.node.name.as_str(), &verdict);
        let hold = self.holds.get(key);
        why["hold"] = hold
            .map_or(Value::Null, |hold| json!({ "id": hold.id(), "message": hold.to_string() }));
        why["pods"] = self
            .pods
            .values()
            .filter(|pod| pod.record.set == *key)
            .map(|pod| json!({ "name": pod.record.name, "notes": pod.notes() }))
            .collect();
        Ok(why)
    }

    /// Says what a pass would do.
    fn dry_run(&self) -> SyncReport {
        let plan = plan(&self.desired(), &self.observed());
        let say = |step: &Step| match step {
            Step::Create(set) => format!("would create a pod of {set}"),
            Step::Delete { pod, cause } => {
                let name = self.pods.get(pod).map_or("", |pod| pod.record.name.as_str());
                format!("would delete pod {name}: {cause}")
            }
            Step::Pull(set) => format!("would pull the images of {set}"),
            Step::Resize(pod) => {
                let name = self.pods.get(pod).map_or("", |pod| pod.record.name.as_str());
                format!("would resize pod {name}")
            }
        };
        let mut lines: Vec<String> = plan.steps.iter().map(say).collect();
        lines.extend(self.faults.iter().map(|fault| format!("fault: {fault}")));
        lines.extend(plan.holds.iter().map(|(set, hold)| format!("{set}: {hold}")));
        SyncReport { lines, converged: plan.steps.is_empty() && self.faults.is_empty() }
    }

    /// Says what a pass would do where no agent runs: from records and sources, touching nothing.
    pub(super) fn dry_run_alone(&mut self) -> Result<SyncReport, RecordError> {
        let now = time::now();
        for record in self.effects.records.load()?.0 {
            let uid = record.uid.clone();
            let here = Observed { sandbox: true, ..Observed::default() };
            let (pod, _) = Pod::adopt(now, record, &here, self.policy());
            self.pods.insert(uid, pod);
        }
        let files = self.read_now();
        let all = self.feeds.beside(&self.settings, &files);
        let merged = merge(&all, &self.sets.wanted(), self.sets.documents());
        self.source_faults = merged.faults;
        self.sets.update(now.wall, merged.sets);
        self.sets.update_documents(merged.objects);
        self.own_objects.read_now();
        self.merge_objects();
        Ok(self.dry_run())
    }

    /// What keeps the node from being as the sources want it, line by line, and whether nothing does.
    pub(super) fn state_lines(&self) -> (Vec<String>, bool) {
        let holds = self.holds.iter().map(|(set, hold)| format!("{set}: {hold}"));
        let mut lines: Vec<String> =
            self.faults.iter().map(|fault| format!("fault: {fault}")).chain(holds).collect();
        let waiting = self.pods.values().filter(|pod| !pod.ready());
        let pending = |hold: &Hold| matches!(hold, Hold::ImagesPending(_));
        let mut converged = self.faults.is_empty() && !self.holds.values().any(pending);
        for pod in waiting {
            converged = false;
            let (set, name) = (&pod.record.set, &pod.record.name);
            for note in pod.notes() {
                lines.push(format!("{set}: pod {name}: {note}"));
            }
        }
        (lines, converged)
    }
}
