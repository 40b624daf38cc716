//! The fleet as a cluster would list it: Kubernetes' objects out of what operators and hosts keep in etcd, once or with
//! each change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use crate::base::ids::{NodeName, SetKey};
use crate::fleet::{
    fold::{Wanted as WantedSet, node_lost, pod_lost, set_status},
    records::{self, Member},
};
use crate::spec::{ObjectKind, Set};
use crate::store::{self, Keys, Kv, Range};

use super::followed::Followed;
use super::resource::Kind;
use super::store_client::Fleet;
use super::{desk::opened, effective};

/// Which objects of the fleet are wanted.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The kind.
    pub kind: Kind,
    /// Only of this namespace.
    pub namespace: Option<String>,
    /// Only of this name.
    pub name: Option<String>,
}

/// Objects of the fleet, and what they are made of.
#[derive(Debug)]
pub struct FleetView {
    /// What they are made of.
    followed: Followed,
    /// What is wanted.
    wish: Wish,
}

impl FleetView {
    /// Nothing is asked yet.
    pub fn new(fleet: &Fleet, connection: &store::Settings, wish: Wish) -> Self {
        let ranges = ranges(&fleet.keys, &wish);
        Self { followed: Followed::new(fleet, connection, ranges), wish }
    }

    /// Lists once.
    pub async fn list(&mut self) -> anyhow::Result<Vec<Value>> {
        self.followed.read().await?;
        Ok(self.objects())
    }

    /// The list, and each time it is called again the list after the next changes.
    pub async fn next(&mut self) -> anyhow::Result<Vec<Value>> {
        self.followed.next().await?;
        Ok(self.objects())
    }

    /// The objects.
    fn objects(&self) -> Vec<Value> {
        let keys = &self.followed.fleet.keys;
        let below = |prefix: String| self.followed.below(&prefix);
        let alive = alive(keys, &self.followed.cache);
        let runners = match self.wish.kind {
            Kind::DaemonSet => runners(keys, below(keys.pods())),
            _ => BTreeMap::new(),
        };
        let objects: Vec<Value> = match self.wish.kind {
            Kind::DaemonSet => {
                below(keys.sets()).filter_map(|kv| self.set(kv, &alive, &runners)).collect()
            }
            Kind::Pod => below(keys.pods()).filter_map(|kv| pod(keys, kv, &alive)).collect(),
            Kind::Node => below(keys.nodes()).filter_map(|kv| node(keys, kv, &alive)).collect(),
            Kind::Event => below(keys.events()).filter_map(record).collect(),
            Kind::Revision => below(keys.all_revisions()).filter_map(spec_value).collect(),
            Kind::ConfigMap => {
                below(keys.objects(ObjectKind::ConfigMap)).filter_map(spec_value).collect()
            }
            Kind::Secret => {
                below(keys.objects(ObjectKind::Secret)).filter_map(spec_value).collect()
            }
        };
        objects.into_iter().filter(|object| self.wish.means(object)).collect()
    }

    /// A set with every default and its status over the fleet.
    fn set(&self, kv: &Kv, alive: &BTreeSet<NodeName>, runners: &Runners) -> Option<Value> {
        let keys = &self.followed.fleet.keys;
        let written = spec_value(kv)?;
        let (mut object, set) = shown_set(&written);
        let hash = set.and_then(|set| effective::plain(&set));
        let metadata = &object["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
        let set = SetKey::new(text("namespace"), text("name"));
        let members: Vec<(NodeName, Member)> = self
            .followed
            .below(&keys.members(&set))
            .filter_map(|kv| {
                let (_, node) = keys.parse_member(&kv.key)?;
                Some((node, records::read(&kv.value)?))
            })
            .collect();
        let runs = runners.get(&set).into_iter().flatten();
        let strays = runs.filter(|node| !members.iter().any(|(member, _)| member == *node)).count();
        let uid = text("uid");
        let wanted = WantedSet {
            uid: &uid,
            generation: metadata["generation"].as_i64().unwrap_or(0),
            hash: hash.as_ref(),
        };
        object["status"] =
            serde_json::to_value(set_status(wanted, &members, alive, strays)).ok()?;
        Some(object)
    }
}

impl Wish {
    /// Whether an object is meant.
    fn means(&self, object: &Value) -> bool {
        let is = |field: &str, wanted: &Option<String>| {
            wanted.as_deref().is_none_or(|wanted| object["metadata"][field] == wanted)
        };
        is("name", &self.name) && (self.kind == Kind::Node || is("namespace", &self.namespace))
    }
}

/// The keys that objects are made of.
fn ranges(keys: &Keys, wish: &Wish) -> Vec<Range> {
    let set = match (&wish.namespace, &wish.name) {
        (Some(namespace), Some(name)) => Some(SetKey::new(namespace, name)),
        _ => None,
    };
    let alive = Range::prefix(keys.alive_all());
    match (wish.kind, set) {
        (Kind::DaemonSet, Some(set)) => {
            let pods = Range::prefix(keys.pods());
            vec![Range::key(keys.set(&set)), Range::prefix(keys.members(&set)), pods, alive]
        }
        (Kind::DaemonSet, None) => {
            let pods = Range::prefix(keys.pods());
            vec![Range::prefix(keys.sets()), Range::prefix(keys.fleet_sets()), pods, alive]
        }
        (Kind::Pod, _) => vec![Range::prefix(keys.pods()), alive],
        (Kind::Node, _) => vec![Range::prefix(keys.nodes()), alive],
        (Kind::Event, _) => vec![Range::prefix(keys.events())],
        (Kind::Revision, _) => vec![Range::prefix(keys.all_revisions())],
        (Kind::ConfigMap, _) => vec![Range::prefix(keys.objects(ObjectKind::ConfigMap))],
        (Kind::Secret, _) => vec![Range::prefix(keys.objects(ObjectKind::Secret))],
    }
}

/// The nodes that give a sign of life.
fn alive(keys: &Keys, cache: &BTreeMap<String, Kv>) -> BTreeSet<NodeName> {
    let prefix = keys.alive_all();
    cache.keys().filter_map(|key| key.strip_prefix(&prefix)).map(NodeName::new).collect()
}

/// Which nodes have a pod of each set.
type Runners = BTreeMap<SetKey, BTreeSet<NodeName>>;

/// Which nodes have a pod of each set that has not ended.
fn runners<'k>(keys: &Keys, pods: impl Iterator<Item = &'k Kv>) -> Runners {
    let mut runners = Runners::new();
    for kv in pods {
        let (Some(pod), Some(rest)) = (record(kv), kv.key.strip_prefix(&keys.pods())) else {
            continue;
        };
        let owner = pod["metadata"]["ownerReferences"][0]["name"].as_str();
        let namespace = pod["metadata"]["namespace"].as_str();
        let over = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        if let (Some(namespace), Some(owner), Some(node), false) =
            (namespace, owner, rest.split('/').next(), over)
        {
            let nodes = runners.entry(SetKey::new(namespace, owner)).or_default();
            nodes.insert(NodeName::new(node));
        }
    }
    runners
}

/// An object that a host wrote; what is none is left out.
fn record(kv: &Kv) -> Option<Value> {
    serde_json::from_slice(&kv.value).ok().filter(Value::is_object)
}

/// An object that an operator wrote, with the revision that says how new it is.
fn spec_value(kv: &Kv) -> Option<Value> {
    let mut object = opened(&kv.value)?;
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".into(), kv.mod_revision.to_string().into());
    }
    Some(object)
}

/// A pod as its node wrote it, or what is left of that when the node is lost.
fn pod(keys: &Keys, kv: &Kv, alive: &BTreeSet<NodeName>) -> Option<Value> {
    let mut pod = record(kv)?;
    let node = NodeName::new(kv.key.strip_prefix(&keys.pods())?.split('/').next()?);
    if !alive.contains(&node) {
        pod_lost(&mut pod, &node);
    }
    Some(pod)
}

/// A node as it wrote itself, or what is left of that when it is lost.
fn node(keys: &Keys, kv: &Kv, alive: &BTreeSet<NodeName>) -> Option<Value> {
    let mut node = record(kv)?;
    if !alive.contains(&NodeName::new(kv.key.strip_prefix(&keys.nodes())?)) {
        node_lost(&mut node);
    }
    Some(node)
}

/// A set as Kubernetes shows it, every default filled in, and as this build reads it; as it is written when this build
/// finds faults in it.
pub fn shown_set(written: &Value) -> (Value, Option<Arc<Set>>) {
    let set = effective::read_set(written);
    let Some(set) = set else {
        return (written.clone(), None);
    };
    let mut object = serde_json::to_value(&set.object).unwrap_or_default();
    let metadata = &written["metadata"];
    for field in ["uid", "creationTimestamp", "generation", "resourceVersion"] {
        if !metadata[field].is_null() {
            object["metadata"][field] = metadata[field].clone();
        }
    }
    (object, Some(set))
}
