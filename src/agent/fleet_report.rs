//! What the rest of the fleet is told of this node.
//!
//! Nothing in it changes by itself: no heartbeats, no times of day, so that an idle fleet writes nothing.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::base::{
    ids::{SetKey, TemplateHash},
    keyed::keyed,
    time,
};
use crate::fleet::overlay::PROTECTED;
use crate::fleet::records::{INSTALL_ID, Member, OVERLAY};
use crate::plan::steps::Hold;
use crate::pod::status::Place;
use crate::spec::Rollout;

use super::{
    commands::value,
    handle::{FleetReport, Kind},
    reconciler::Reconciler,
    sets::Entry,
};

impl Reconciler {
    /// The whole report.
    pub(super) fn fleet_report(&self) -> FleetReport {
        FleetReport {
            node: self.node_record(),
            members: self.member_records(),
            pods: self.pod_records(),
            events: self.list(Kind::Event),
        }
    }

    /// The node's record of itself.
    fn node_record(&self) -> Value {
        let mut node = value(&self.node_object(self.started));
        node["kind"] = json!("Node");
        node["apiVersion"] = json!("v1");
        let mut annotations = json!({
            INSTALL_ID: self.install_id,
            PROTECTED: self.settings.node.protected.join(","),
        });
        if let Some(overlay) = &self.feeds.overlay {
            annotations[OVERLAY] = value(overlay).to_string().into();
        }
        node["metadata"]["annotations"] = annotations;
        if let Some(conditions) =
            node.pointer_mut("/status/conditions").and_then(Value::as_array_mut)
        {
            // How the store is goes without saying for whoever reads this there.
            conditions.retain(|condition| condition["type"] != super::objects::STORE_READY);
            for condition in conditions {
                if let Some(condition) = condition.as_object_mut() {
                    condition.remove("lastHeartbeatTime");
                }
            }
        }
        node
    }

    /// What it says of the sets that it should run.
    fn member_records(&self) -> BTreeMap<SetKey, Value> {
        let now = time::now();
        let record = |(key, entry): (&SetKey, &Entry)| {
            let standing = self.standings.get(key).filter(|standing| standing.should_run)?;
            let newest = self.pods.values().filter(|pod| pod.record.set == *key);
            let newest = newest.max_by_key(|pod| pod.record.created);
            let hash = newest.map(|pod| pod.record.hash.clone());
            let member = Member {
                uid: entry.uid.clone(),
                hash: hash.as_ref().map_or_else(String::new, TemplateHash::to_string),
                wanted: standing.hash.clone(),
                status: self.set_object(now, entry).status.unwrap_or_default(),
                reason: self.holds.get(key).and_then(told).unwrap_or_default(),
                canary: Rollout::of(&entry.set.object)
                    .canary
                    .is_some_and(|canary| canary.selects(&self.node.labels)),
            };
            Some((key.clone(), value(&member)))
        };
        keyed(self.sets.entries().iter().filter_map(record))
    }

    /// Its pods as others need them: whose they are, what they run and how they are.
    fn pod_records(&self) -> Vec<Value> {
        let host_ip = self.effects.facts.addresses.first().map(ToString::to_string);
        let pulls = BTreeMap::new();
        let place = Place { node: &self.node.name, host_ip: host_ip.as_deref(), pulls: &pulls };
        self.pods.values().map(|pod| trimmed(value(&pod.object(place)))).collect()
    }
}

/// What the fleet is told of a hold. What ends by itself is not worth a write: turns and the queue have keys of their own.
fn told(hold: &Hold) -> Option<String> {
    match hold {
        Hold::Stopping | Hold::NotAvailable => None,
        Hold::NoTurn(id, _) if *id != "turn-failed" => None,
        Hold::ImagesPending(why) if why.starts_with("they are ") => None,
        hold => Some(hold.to_string()),
    }
}

/// A pod without its volumes, environment and the like.
fn trimmed(mut pod: Value) -> Value {
    let containers = |kind: &str| -> Value {
        let listed = pod.pointer(kind).and_then(Value::as_array);
        let short =
            |container: &Value| json!({ "name": container["name"], "image": container["image"] });
        listed.map(|listed| listed.iter().map(short).collect()).unwrap_or_default()
    };
    let mut spec = Map::new();
    spec.insert("containers".into(), containers("/spec/containers"));
    let init = containers("/spec/initContainers");
    if init != Value::Null {
        spec.insert("initContainers".into(), init);
    }
    spec.insert("nodeName".into(), pod["spec"]["nodeName"].take());
    pod["spec"] = Value::Object(spec);
    pod["kind"] = json!("Pod");
    pod["apiVersion"] = json!("v1");
    pod
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_told_without_its_environment_and_volumes() {
        let pod = json!({
            "metadata": {"name": "web-1"},
            "spec": {"nodeName": "n1", "volumes": [{"name": "x"}], "initContainers": [{"name": "i", "image": "b"}],
                     "containers": [{"name": "c", "image": "a", "env": [{"name": "PASSWORD", "value": "x"}]}]},
            "status": {"phase": "Running"}
        });
        let expected = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-1"},
            "spec": {"nodeName": "n1", "initContainers": [{"name": "i", "image": "b"}],
                     "containers": [{"name": "c", "image": "a"}]},
            "status": {"phase": "Running"}
        });
        assert_eq!(trimmed(pod), expected);
    }
}
