//! The fleet as a cluster would list it: Kubernetes' objects out of what operators and hosts keep in etcd, once or with
//! each change.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::Value;

use crate::base::{
    ids::{NodeName, SetKey},
    time,
};
use crate::fleet::{
    fold::{Wanted as WantedSet, node_lost, pod_lost, set_status},
    records::Member,
};
use crate::spec::{self, FieldValidation, ObjectKind, Outcome};
use crate::store::{self, Change, Keys, Kv, Range, Store, Watch};

use super::desk::opened;
use super::resource::Kind;
use super::store_client::{Fleet, refusal};

/// How long changes are gathered before they are shown: a rollout has many at once.
const BURST: Duration = Duration::from_millis(50);
/// How long a watch that was lost is tried again.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long to wait in between.
const AGAIN: Duration = Duration::from_millis(500);

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

/// Objects of the fleet, and the watch on what they are made of.
#[derive(Debug)]
pub struct FleetView {
    /// The store.
    fleet: Fleet,
    /// How to reach it again.
    connection: store::Settings,
    /// What is wanted.
    wish: Wish,
    /// What the objects are made of.
    cache: BTreeMap<String, Kv>,
    /// Changes of it; `None` before the first list, and after a lost connection.
    watch: Option<Watch>,
}

impl FleetView {
    /// Nothing is asked yet.
    pub fn new(fleet: &Fleet, connection: &store::Settings, wish: Wish) -> Self {
        let (fleet, connection) = (fleet.clone(), connection.clone());
        Self { fleet, connection, wish, cache: BTreeMap::new(), watch: None }
    }

    /// Lists once.
    pub async fn list(&mut self) -> anyhow::Result<Vec<Value>> {
        self.read().await?;
        Ok(self.objects())
    }

    /// The list, and each time it is called again the list after the next changes.
    pub async fn next(&mut self) -> anyhow::Result<Vec<Value>> {
        let Some(mut watch) = self.watch.take() else {
            self.begin().await?;
            return Ok(self.objects());
        };
        match self.follow(&mut watch).await {
            Ok(()) => self.watch = Some(watch),
            // Whatever ended the watch: the list says what it would have said.
            Err(_) => self.begin_again().await?,
        }
        Ok(self.objects())
    }

    /// Reads everything at one revision, which is returned.
    async fn read(&mut self) -> anyhow::Result<i64> {
        let ranges = ranges(&self.fleet.keys, &self.wish);
        let (header, kvs) = self.fleet.store.list_all(&ranges).await.map_err(refusal)?;
        self.cache = kvs.into_iter().map(|kv| (kv.key.clone(), kv)).collect();
        Ok(header.revision)
    }

    /// Lists and watches from there on.
    async fn begin(&mut self) -> anyhow::Result<()> {
        let revision = self.read().await?;
        let ranges = ranges(&self.fleet.keys, &self.wish);
        let watch = self.fleet.store.watch(&ranges, revision + 1).await.map_err(refusal)?;
        self.watch = Some(watch);
        Ok(())
    }

    /// Does so after a lost connection, for as long as an outage of a member may take.
    async fn begin_again(&mut self) -> anyhow::Result<()> {
        let until = time::now().mono + PATIENCE;
        for member in 0.. {
            match self.begin().await {
                Ok(()) => break,
                Err(error) if time::now().mono > until => return Err(error),
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
            if let Ok(store) = Store::connect(&self.connection, member).await {
                self.fleet.store = store;
            }
        }
        Ok(())
    }

    /// Waits for the next changes and those that come with them.
    async fn follow(&mut self, watch: &mut Watch) -> Result<(), store::Error> {
        let mut changed = false;
        while !changed {
            changed = self.take(watch.next().await?.1);
        }
        let until = tokio::time::Instant::from_std(time::now().mono + BURST);
        while let Ok(more) = tokio::time::timeout_at(until, watch.next()).await {
            self.take(more?.1);
        }
        Ok(())
    }

    /// Takes changes in; false when there were none.
    fn take(&mut self, changes: Vec<Change>) -> bool {
        let any = !changes.is_empty();
        for change in changes {
            match change {
                Change::Put(kv) => {
                    self.cache.insert(kv.key.clone(), kv);
                }
                Change::Delete(key, _) => {
                    self.cache.remove(&key);
                }
            }
        }
        any
    }

    /// The objects.
    fn objects(&self) -> Vec<Value> {
        let keys = &self.fleet.keys;
        let below =
            |prefix: String| self.cache.values().filter(move |kv| kv.key.starts_with(&prefix));
        let alive = alive(keys, &self.cache);
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
        let keys = &self.fleet.keys;
        let written = spec_value(kv)?;
        let (mut object, hash) = shown_set(&written, &kv.key);
        let metadata = &object["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
        let set = SetKey::new(text("namespace"), text("name"));
        let prefix = keys.members(&set);
        let members = self.cache.values().filter(|kv| kv.key.starts_with(&prefix));
        let members: Vec<(NodeName, Member)> = members
            .filter_map(|kv| {
                let (_, node) = keys.parse_member(&kv.key)?;
                Some((node, serde_json::from_slice(&kv.value).ok()?))
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

/// A set as Kubernetes shows it, every default filled in, and the identity of its template; as it is written when this
/// build finds faults in it.
fn shown_set(written: &Value, origin: &str) -> (Value, Option<crate::base::ids::TemplateHash>) {
    let text = written.to_string();
    let reading = spec::read(origin, text.as_bytes(), FieldValidation::Ignore);
    let set = reading.documents.into_iter().find_map(|document| match document.outcome {
        Outcome::Set(set) => Some(set),
        _ => None,
    });
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
    (object, Some(set.hash.clone()))
}
