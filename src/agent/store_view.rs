//! What the store's keys mean to this node. Nothing here waits or asks: keys go in, a reading comes out.
//!
//! A key that is gone is not a deletion; its tombstone is. So the view knows which keys there were, from the last good
//! snapshot on, and what it misses without a tombstone it calls lost: that goes on as it is.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use crate::base::{fault::Fault, ids::NodeName, keyed::keyed};
use crate::fleet::records::{Accept, NodeOverlay, Tombstone};
use crate::source::{
    file::understand,
    merge::{FileReading, SourceReading},
};
use crate::spec::{FieldValidation, Set};
use crate::store::{Change, Keys, Kv, keys::SpecKey};

/// Opens a value that may be sealed: its key and its bytes in, the plain value out.
pub(super) type Open = Arc<dyn Fn(&str, &[u8]) -> Result<Vec<u8>, Fault> + Send + Sync>;

/// What the node last believed of a set or an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Its uid.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// When it was made.
    pub created: Option<Timestamp>,
}

/// The view.
pub(super) struct View {
    /// The keys' names.
    keys: Keys,
    /// This node.
    node: NodeName,
    /// What happens to unknown fields.
    validation: FieldValidation,
    /// Opens values.
    open: Open,
    /// What was there once and was not deleted explicitly.
    known: BTreeMap<String, Known>,
    /// Sets and objects that are there.
    files: BTreeMap<String, FileReading>,
    /// Explicit deletions, by the key that they delete.
    tombstones: BTreeMap<String, Tombstone>,
    /// What is laid over this node. No verb deletes its key, so one that is gone is lost like any other: it goes on.
    pub overlay: Option<NodeOverlay>,
    /// Pods that are to go, by uid, with their grace periods.
    pub pods: BTreeMap<String, Option<u64>>,
    /// An operator's word.
    pub accept: Option<Accept>,
    /// What is wrong with keys that are no files.
    faults: BTreeMap<String, Fault>,
}

/// How a key is called where a file would have its path.
pub(super) fn origin(key: &str) -> String {
    format!("etcd:{key}")
}

impl View {
    /// A view that has seen nothing; `known` is what the last good snapshot had from this store, by origin.
    pub(super) fn new(
        keys: Keys,
        node: NodeName,
        validation: FieldValidation,
        open: Open,
        known: BTreeMap<String, Known>,
        overlay: Option<NodeOverlay>,
    ) -> Self {
        let known = known.into_iter().filter_map(|(origin, known)| {
            let key = origin.strip_prefix("etcd:")?;
            key.starts_with(keys.root()).then(|| (key.to_owned(), known))
        });
        Self {
            known: keyed(known),
            keys,
            node,
            validation,
            open,
            files: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            overlay,
            pods: BTreeMap::new(),
            accept: None,
            faults: BTreeMap::new(),
        }
    }

    /// What everything that comes from here is called by.
    pub(super) fn root(&self) -> PathBuf {
        PathBuf::from(origin(&self.keys.spec()))
    }

    /// Takes everything that is there now in place of what was.
    pub(super) fn list(&mut self, kvs: &[Kv]) {
        self.files.clear();
        self.tombstones.clear();
        self.faults.clear();
        self.pods.clear();
        self.accept = None;
        for kv in kvs {
            self.put(kv);
        }
        self.settle();
    }

    /// The operator's word among keys that are not believed yet.
    pub(super) fn peek_accept(&self, kvs: &[Kv]) -> Option<Accept> {
        let kv = kvs.iter().find(|kv| kv.key == self.keys.accept())?;
        let value = (self.open)(&kv.key, &kv.value).ok()?;
        serde_json::from_slice(&value).ok()
    }

    /// Takes changes.
    pub(super) fn change(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Put(kv) => self.put(kv),
                Change::Delete(key, _) => self.delete(key),
            }
        }
        self.settle();
    }

    /// Whether something is gone that no tombstone explains.
    pub(super) fn has_lost(&self) -> bool {
        self.lost().next().is_some()
    }

    /// Whether nothing is left of what there was.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.has_lost()
    }

    /// Believes the next list as it is, with whatever it lacks and however old it is: an operator said so.
    pub(super) fn accept(&mut self) {
        self.known.clear();
        self.overlay = None;
    }

    /// What the store says.
    pub(super) fn reading(&self) -> SourceReading {
        let mut files: BTreeMap<PathBuf, FileReading> =
            keyed(self.files.iter().map(|(key, file)| (origin(key).into(), file.clone())));
        // One fault for all of them is enough when nothing is left.
        let mut of_all = self.empty_fault();
        let empty = of_all.is_some();
        for key in self.lost() {
            let name = origin(key);
            let of_one = || {
                Fault::of_file(
                    name.as_str(),
                    "the key is gone without a tombstone; what it brought goes on",
                    "apply it again, or `podward delete` it",
                )
            };
            let fault = if empty { of_all.take() } else { Some(of_one()) };
            let faults = fault.into_iter().collect();
            files.insert(
                name.into(),
                FileReading { unreadable: true, faults, ..FileReading::default() },
            );
        }
        SourceReading { path: self.root(), files, ..SourceReading::default() }
    }

    /// What is wrong when nothing is left of what there was.
    pub(super) fn empty_fault(&self) -> Option<Fault> {
        let count = self.lost().count();
        self.is_empty().then(|| {
            Fault::of_file(
                origin(&self.keys.spec()),
                format!("SourceEmpty: nothing is there, and no tombstone says so; {count} sets and objects go on"),
                "restore etcd from a backup or apply them again; if it is meant, `podward store accept --empty`",
            )
        })
    }

    /// Faults of keys that bring neither sets nor objects.
    pub(super) fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.faults.values()
    }

    /// Keys of sets and objects that are gone without a tombstone.
    fn lost(&self) -> impl Iterator<Item = &String> {
        self.known.keys().filter(|key| !self.files.contains_key(*key))
    }

    /// A key was put.
    fn put(&mut self, kv: &Kv) {
        let Some(meant) = self.keys.parse_spec(&kv.key) else { return };
        self.faults.remove(&kv.key);
        let opened = (self.open)(&kv.key, &kv.value);
        match meant {
            SpecKey::Set(_) | SpecKey::Object(_) => {
                let file = match opened {
                    Ok(value) => self.file(&kv.key, &value, kv.mod_revision),
                    Err(fault) => refused(fault),
                };
                self.files.insert(kv.key.clone(), file);
            }
            SpecKey::SetTombstone(_) | SpecKey::ObjectTombstone(_) => {
                let target = self.target(&kv.key);
                if let Some(tombstone) = self.understood::<Tombstone>(&kv.key, opened)
                    && self.names(&kv.key, &tombstone)
                {
                    self.tombstones.insert(target, tombstone);
                }
            }
            SpecKey::PodTombstone(node, uid) if node == self.node => {
                if let Some(tombstone) = self.understood::<Tombstone>(&kv.key, opened)
                    && self.names(&kv.key, &tombstone)
                {
                    self.pods.insert(uid, tombstone.grace_period_seconds);
                }
            }
            SpecKey::Node(node) if node == self.node => {
                // One that cannot be read changes nothing.
                if let Some(overlay) = self.understood::<NodeOverlay>(&kv.key, opened) {
                    self.lay_over(&kv.key, overlay);
                }
            }
            SpecKey::Accept => self.accept = self.understood(&kv.key, opened),
            SpecKey::PodTombstone(..) | SpecKey::Node(_) => {}
        }
    }

    /// Takes an overlay, unless it is for another node or older than the one that is known.
    fn lay_over(&mut self, key: &str, overlay: NodeOverlay) {
        let known = self.overlay.as_ref().map_or(0, |known| known.generation);
        let problem = if overlay.node != self.node.as_str() {
            format!("is meant for node {:?}; it changes nothing", overlay.node)
        } else if overlay.generation < known {
            let new = overlay.generation;
            format!(
                "StoreRegressed: generation {new} is older than {known}, which was seen already; it changes nothing"
            )
        } else {
            self.overlay = Some(overlay);
            return;
        };
        let remedy = "write it by podward's own verbs, or `podward store accept` what is there";
        self.faults.insert(key.to_owned(), Fault::of_file(origin(key), problem, remedy));
    }

    /// A key was deleted.
    fn delete(&mut self, key: &str) {
        self.files.remove(key);
        self.faults.remove(key);
        match self.keys.parse_spec(key) {
            Some(SpecKey::SetTombstone(_) | SpecKey::ObjectTombstone(_)) => {
                self.tombstones.remove(&self.target(key));
            }
            Some(SpecKey::PodTombstone(_, uid)) => {
                self.pods.remove(&uid);
            }
            _ => {}
        }
    }

    /// Forgets what is deleted explicitly, and learns what is new.
    fn settle(&mut self) {
        let (files, tombstones) = (&self.files, &self.tombstones);
        self.known.retain(|key, known| {
            let deleted = tombstones
                .get(key)
                .is_some_and(|tombstone| tombstone.generation >= known.generation);
            files.contains_key(key) || !deleted
        });
    }

    /// Reads a set or an object.
    fn file(&mut self, key: &str, value: &[u8], revision: i64) -> FileReading {
        let name = origin(key);
        let new = identity(value);
        if let Some(known) = self.known.get(key)
            && known.uid == new.uid
            && new.generation < known.generation
        {
            let problem = format!(
                "StoreRegressed: generation {} is older than {}, which was seen already; what runs goes on",
                new.generation, known.generation
            );
            return refused(Fault::of_file(
                name,
                problem,
                "apply it again, or `podward store accept`",
            ));
        }
        let mut file = understand(&name, value, self.validation);
        for set in &mut file.sets {
            // A set of the whole fleet is the same set on every host, as old and as often changed.
            let metadata = &mut Arc::make_mut(set).object.metadata;
            metadata.uid = Some(new.uid.clone()).filter(|uid| !uid.is_empty());
            metadata.generation = Some(new.generation).filter(|generation| *generation > 0);
            metadata.creation_timestamp = new.created.map(Time);
            metadata.resource_version = Some(revision.to_string());
        }
        if let Some(fault) = self.misplaced(key, &file) {
            return refused(fault);
        }
        if !file.unreadable {
            self.known.insert(key.to_owned(), new);
        }
        file
    }

    /// A value must bring what its key names and nothing else.
    fn misplaced(&self, key: &str, file: &FileReading) -> Option<Fault> {
        let right = match self.keys.parse_spec(key)? {
            SpecKey::Set(set) => {
                file.objects.is_empty() && file.sets.iter().all(|one| one.key == set)
            }
            SpecKey::Object(object) => {
                file.sets.is_empty() && file.objects.iter().all(|one| one.key == object)
            }
            _ => true,
        };
        let fault = || {
            let problem = "its value is another object than its key names; what it brought goes on";
            Fault::of_file(origin(key), problem, "write it by `podward apply`")
        };
        (!right).then(fault)
    }

    /// A set with the templates of its history, the newest first; an entry that cannot be read is left out.
    pub(super) fn history(&self, key: &str, set: &Kv, mut revisions: Vec<Kv>) -> Vec<Arc<Set>> {
        let opened = |kv: &Kv| -> Option<Value> {
            serde_json::from_slice(&(self.open)(&kv.key, &kv.value).ok()?).ok()
        };
        let Some(mut object) = opened(set) else { return Vec::new() };
        revisions.sort_unstable_by(|a, b| b.key.cmp(&a.key));
        let mut history = Vec::new();
        for revision in &revisions {
            let Some(entry) = opened(revision) else { continue };
            object["spec"]["template"] = entry["data"]["spec"]["template"].clone();
            let text = object.to_string();
            let mut file = understand(&origin(key), text.as_bytes(), self.validation);
            history.append(&mut file.sets);
        }
        history
    }

    /// The key that a tombstone deletes.
    fn target(&self, key: &str) -> String {
        let rest = key.strip_prefix(&self.keys.tombstones()).unwrap_or(key);
        format!("{}{rest}", self.keys.spec())
    }

    /// Whether a tombstone says what its key says: else somebody moved it.
    fn names(&mut self, key: &str, tombstone: &Tombstone) -> bool {
        let right = key.strip_prefix(&self.keys.tombstones()) == Some(&tombstone.name);
        if !right {
            let problem =
                format!("the tombstone is that of {:?}; it deletes nothing", tombstone.name);
            let fault = Fault::of_file(origin(key), problem, "delete by `podward delete`");
            self.faults.insert(key.to_owned(), fault);
        }
        right
    }

    /// Reads a record of ours.
    fn understood<T: serde::de::DeserializeOwned>(
        &mut self,
        key: &str,
        opened: Result<Vec<u8>, Fault>,
    ) -> Option<T> {
        let read = opened.and_then(|value| {
            let value: Result<Value, _> = serde_json::from_slice(&value);
            value.and_then(serde_json::from_value).map_err(|error| {
                let problem = format!("is not what its key names: {error}");
                Fault::of_file(origin(key), problem, "write it by podward's own verbs")
            })
        });
        match read {
            Ok(record) => Some(record),
            Err(fault) => {
                self.faults.insert(key.to_owned(), fault);
                None
            }
        }
    }
}

/// The reading of a value that is refused: what it brought goes on.
fn refused(fault: Fault) -> FileReading {
    FileReading { unreadable: true, faults: vec![fault], ..FileReading::default() }
}

/// The uid and generation that operators' verbs wrote.
fn identity(value: &[u8]) -> Known {
    let value: Value = serde_json::from_slice(value).unwrap_or_default();
    let metadata = &value["metadata"];
    Known {
        uid: metadata["uid"].as_str().unwrap_or_default().to_owned(),
        generation: metadata["generation"].as_i64().unwrap_or_default(),
        created: metadata["creationTimestamp"].as_str().and_then(|time| time.parse().ok()),
    }
}
