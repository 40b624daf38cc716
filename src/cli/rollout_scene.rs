//! One set's rollout out of the keys of the store, once or with each change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde_json::Value;

use crate::base::{
    ids::{NodeName, SetKey, TemplateHash},
    time,
};
use crate::fleet::{records, rollout_view::Scene};
use crate::rollout::turn::{Canary, Condemned};
use crate::spec::{Objects, Rollout, Set};
use crate::store::{self, Keys, Kv, Range};

use super::desk::{Desk, opened};
use super::effective::{self, Identity};
use super::followed::Followed;
use super::store_client::Fleet;

/// A set's rollout.
#[derive(Debug)]
pub struct RolloutScene {
    /// The keys.
    followed: Followed,
    /// The set.
    key: SetKey,
    /// Nodes that gave a sign of life while they were watched.
    seen: BTreeSet<NodeName>,
    /// Since when they give none.
    silent: BTreeMap<NodeName, Timestamp>,
}

/// What was read of a set.
#[derive(Debug)]
pub struct Written {
    /// The set.
    pub set: Arc<Set>,
    /// The identity of its template.
    pub identity: Identity,
    /// What stands in the store that it refers to.
    pub objects: Objects,
}

impl RolloutScene {
    /// Nothing is asked yet.
    pub fn new(desk: &Desk, key: &SetKey) -> anyhow::Result<Self> {
        Ok(Self::over(&desk.fleet, &desk.connection()?, key))
    }

    /// The same over any connection.
    pub fn over(fleet: &Fleet, connection: &store::Settings, key: &SetKey) -> Self {
        let followed = Followed::new(fleet, connection, ranges(&fleet.keys, key));
        Self { followed, key: key.clone(), seen: BTreeSet::new(), silent: BTreeMap::new() }
    }

    /// Reads everything once.
    pub async fn read(&mut self) -> anyhow::Result<()> {
        self.followed.read().await?;
        if self.follow_objects() {
            self.followed.read().await?;
        }
        Ok(())
    }

    /// Reads everything, and each time it is called again waits for the next changes.
    pub async fn next(&mut self) -> anyhow::Result<()> {
        self.followed.next().await?;
        if self.follow_objects() {
            self.followed.next().await?;
        }
        self.note_silence(time::now().wall);
        Ok(())
    }

    /// Follows what the set refers to as well; true when that is something new.
    fn follow_objects(&mut self) -> bool {
        let mut all = ranges(&self.followed.fleet.keys, &self.key);
        if let Some(set) = self.set() {
            all.extend(effective::ranges(&self.followed.fleet.keys, &set));
        }
        self.followed.follow(all)
    }

    /// Notes who fell silent while it was watched: the store does not say since when.
    fn note_silence(&mut self, now: Timestamp) {
        let alive = self.alive();
        self.silent.retain(|node, _| !alive.contains(node));
        for node in self.seen.difference(&alive) {
            self.silent.entry(node.clone()).or_insert(now);
        }
        self.seen.extend(alive);
    }

    /// The set as operators wrote it.
    pub fn value(&self) -> Option<Value> {
        opened(&self.followed.cache.get(&self.followed.fleet.keys.set(&self.key))?.value)
    }

    /// The set as this build reads it.
    fn set(&self) -> Option<Arc<Set>> {
        effective::read_set(&self.value()?)
    }

    /// The set with its identity; `None` where it is not in the store, or no set that can run.
    pub fn written(&self) -> Option<Written> {
        let set = self.set()?;
        let keys = &self.followed.fleet.keys;
        let kvs = effective::ranges(keys, &set);
        let objects =
            effective::objects(kvs.iter().filter_map(|range| self.followed.cache.get(&range.from)));
        let identity = effective::identity(&set, &objects);
        Some(Written { set, identity, objects })
    }

    /// Who gives a sign of life.
    fn alive(&self) -> BTreeSet<NodeName> {
        names(&self.followed, &self.followed.fleet.keys.alive_all()).collect()
    }

    /// The rollout; `None` where the set is not in the store, or no set that can run.
    pub fn scene(&self) -> Option<Scene> {
        let (followed, keys, key) = (&self.followed, &self.followed.fleet.keys, &self.key);
        let value = self.value()?;
        let metadata = &value["metadata"];
        let uid = metadata["uid"].as_str().unwrap_or_default().to_owned();
        let written = self.written()?;
        let mut scene = Scene {
            name: key.name.clone(),
            generation: metadata["generation"].as_i64().unwrap_or(0),
            hash: Some(written.identity.hash.clone()).filter(|_| written.identity.sure),
            rollout: Rollout::of(&written.set.object),
            members: records(followed, &keys.members(key)).collect(),
            available: names(followed, &keys.availables(key)).collect(),
            turns: records(followed, &keys.turns(key)).collect(),
            queue: queue(followed, &keys.queues(key)),
            canaries: records(followed, &keys.canaries(key))
                .map(|(node, canary): (_, Canary)| (node, canary.hash))
                .collect(),
            alive: self.alive(),
            condemned: BTreeMap::new(),
            baked: BTreeSet::new(),
            baking: BTreeSet::new(),
            revisions: self.revisions(&written),
            silent: self.silent.clone(),
            uid,
        };
        self.add_gates(&mut scene);
        Some(scene)
    }

    /// What holds templates back.
    fn add_gates(&self, scene: &mut Scene) {
        let keys = &self.followed.fleet.keys;
        for kv in self.followed.below(&keys.gates(&self.key)) {
            let Some((_, gate, hash)) = keys.parse_gate(&kv.key) else { continue };
            match gate.as_str() {
                "condemned" => {
                    let verdict = records::read::<Condemned>(&kv.value);
                    // An older set of this name condemned nothing.
                    if let Some(verdict) = verdict.filter(|verdict| verdict.uid == scene.uid) {
                        scene.condemned.insert(hash, verdict);
                    }
                }
                "baked" => {
                    scene.baked.insert(hash);
                }
                _ => {
                    scene.baking.insert(hash);
                }
            }
        }
    }

    /// The history, oldest first.
    fn revisions(&self, written: &Written) -> Vec<(i64, TemplateHash)> {
        let prefix = self.followed.fleet.keys.revisions(&self.key);
        let identified = self.followed.below(&prefix).filter_map(|kv| {
            let revision = opened(&kv.value)?;
            let identity = effective::of_revision(&written.set, &revision, &written.objects)?;
            Some((revision["revision"].as_i64().unwrap_or(0), identity.hash))
        });
        identified.collect()
    }
}

/// The keys that say how a set's rollout is.
fn ranges(keys: &Keys, set: &SetKey) -> Vec<Range> {
    let mut ranges = vec![Range::key(keys.set(set))];
    let prefixes = [
        keys.revisions(set),
        keys.members(set),
        keys.availables(set),
        keys.turns(set),
        keys.queues(set),
        keys.canaries(set),
        keys.gates(set),
        keys.alive_all(),
    ];
    ranges.extend(prefixes.map(Range::prefix));
    ranges
}

/// The nodes that have a key below a prefix.
fn names(followed: &Followed, prefix: &str) -> impl Iterator<Item = NodeName> {
    followed.below(prefix).filter_map(node)
}

/// The node that a key ends with.
fn node(kv: &Kv) -> Option<NodeName> {
    Some(NodeName::new(kv.key.rsplit('/').next()?))
}

/// The records of nodes below a prefix; what cannot be read is left out.
fn records<T: serde::de::DeserializeOwned>(
    followed: &Followed,
    prefix: &str,
) -> impl Iterator<Item = (NodeName, T)> {
    followed.below(prefix).filter_map(|kv| Some((node(kv)?, records::read(&kv.value)?)))
}

/// The nodes that wait, first come first.
fn queue(followed: &Followed, prefix: &str) -> Vec<NodeName> {
    let mut waiting: Vec<&Kv> = followed.below(prefix).collect();
    waiting.sort_unstable_by_key(|kv| kv.create_revision);
    waiting.into_iter().filter_map(node).collect()
}
