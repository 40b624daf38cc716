//! The sets of this node with what a cluster's API server would keep of them: uid, age, generation; the ConfigMaps and
//! Secrets beside them; and the last good copy of each on disk, which a host that boots offline starts from.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::DaemonSet, core::v1::PodTemplateSpec};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::base::{
    ids::{SetKey, TemplateHash},
    keyed::keyed,
};
use crate::source::merge;
use crate::spec::{Object, ObjectDocument, ObjectKey, Objects, Set};

use super::checked;

/// The version of the snapshot's shape that this build writes.
const VERSION: u32 = 1;

/// One set as this node knows it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What the operator wrote.
    pub set: Arc<Set>,
    /// Its identity for as long as it exists.
    pub uid: String,
    /// When it was first seen.
    pub created: Timestamp,
    /// How often its spec changed, from 1.
    pub generation: i64,
    /// Whether a limited NoExecute toleration ran out and the taint is still there.
    pub evicted: bool,
    /// The set with another template, which this node runs instead: its own template failed.
    pub instead: Option<Arc<Set>>,
}

impl Entry {
    /// The set with the template that this node is to run.
    pub fn run(&self) -> &Arc<Set> {
        self.instead.as_ref().unwrap_or(&self.set)
    }

    /// Whether the fleet takes turns for its updates: it comes from the shared store.
    pub fn shared(&self) -> bool {
        self.set.origin.starts_with("etcd:")
    }
}

/// The set with another template.
pub fn with_template(set: &Set, hash: TemplateHash, template: PodTemplateSpec) -> Arc<Set> {
    let mut other = set.clone();
    other.hash = hash;
    if let Some(spec) = &mut other.object.spec {
        spec.template = template;
    }
    Arc::new(other)
}

/// All sets, durable.
#[derive(Debug)]
pub struct Sets {
    /// The snapshot's file.
    path: PathBuf,
    /// The sets by key.
    entries: BTreeMap<SetKey, Entry>,
    /// The ConfigMaps and Secrets that documents bring, by key.
    documents: merge::Documents,
}

/// The snapshot on disk. Secrets are in it, so it derives no `Debug`.
#[derive(Serialize, Deserialize)]
struct Snapshot {
    /// The shape's version.
    version: u32,
    /// The sets.
    sets: Vec<Kept>,
    /// The ConfigMaps and Secrets; earlier builds wrote none.
    #[serde(default)]
    objects: Vec<KeptObject>,
}

/// One ConfigMap or Secret in the snapshot.
#[derive(Serialize, Deserialize)]
struct KeptObject {
    /// Its key.
    key: ObjectKey,
    /// The file that it came from.
    origin: String,
    /// The document's number in it.
    document: usize,
    /// Whether it never changes.
    immutable: bool,
    /// `data` in base64.
    data: BTreeMap<String, String>,
    /// `binaryData` in base64.
    binary: BTreeMap<String, String>,
}

/// One set in the snapshot.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Its key.
    key: SetKey,
    /// Its identity.
    uid: String,
    /// When it was first seen.
    created: Timestamp,
    /// How often its spec changed.
    generation: i64,
    /// Whether an eviction holds it.
    #[serde(default)]
    evicted: bool,
    /// The file that it came from.
    origin: String,
    /// The document's number in it.
    document: usize,
    /// Its template's hash, so that a later build's other defaults restart nothing.
    hash: TemplateHash,
    /// The defaulted object.
    object: DaemonSet,
    /// The template that the node runs instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instead: Option<KeptTemplate>,
}

/// One template in the snapshot.
#[derive(Serialize, Deserialize)]
struct KeptTemplate {
    /// Its hash.
    hash: TemplateHash,
    /// The template.
    template: PodTemplateSpec,
}

/// What a new read changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// The set is new.
    Added(SetKey),
    /// Its spec changed.
    Changed(SetKey),
    /// It is gone.
    Removed(SetKey),
}

impl Sets {
    /// Loads the last good copy. A torn or foreign file is set aside and named; what runs is not touched by it.
    pub fn load(path: PathBuf) -> (Self, Option<String>) {
        let ((entries, documents), trouble) = match read(&path) {
            Ok(read) => (read, None),
            Err(error) => {
                let aside = path.with_extension("json.bad");
                let _ = fs::rename(&path, &aside);
                let text = format!(
                    "the last good snapshot {} cannot be used ({error}); it was set aside as {}",
                    path.display(),
                    aside.display()
                );
                (Read::default(), Some(text))
            }
        };
        (Self { path, entries, documents }, trouble)
    }

    /// The sets by key.
    pub fn entries(&self) -> &BTreeMap<SetKey, Entry> {
        &self.entries
    }

    /// What was wanted last, for the next merge.
    pub fn wanted(&self) -> merge::Sets {
        keyed(self.entries.iter().map(|(key, entry)| (key.clone(), Arc::clone(&entry.set))))
    }

    /// The ConfigMaps and Secrets that documents bring.
    pub fn documents(&self) -> &merge::Documents {
        &self.documents
    }

    /// What they hold.
    pub fn objects(&self) -> Objects {
        let held = |(key, document): (&ObjectKey, &Arc<ObjectDocument>)| {
            (key.clone(), Arc::clone(&document.object))
        };
        self.documents.iter().map(held).collect()
    }

    /// Takes the ConfigMaps and Secrets that the sources bring now; `true` when that is news.
    pub fn update_documents(&mut self, documents: merge::Documents) -> bool {
        let news = self.documents != documents;
        self.documents = documents;
        news
    }

    /// Takes what the sources say now.
    pub fn update(&mut self, now: Timestamp, wanted: merge::Sets) -> Vec<Change> {
        let mut changes = Vec::new();
        self.entries.retain(|key, _| {
            let stays = wanted.contains_key(key);
            if !stays {
                changes.push(Change::Removed(key.clone()));
            }
            stays
        });
        for (key, set) in wanted {
            let shared = set.origin.starts_with("etcd:").then(|| set.object.metadata.clone());
            if let Some(entry) = self.entries.get_mut(&key) {
                if entry.set.object.spec != set.object.spec {
                    entry.instead = None;
                    entry.generation += 1;
                    changes.push(Change::Changed(key.clone()));
                }
                entry.set = set;
            } else {
                changes.push(Change::Added(key.clone()));
                let uid = Uuid::new_v4().to_string();
                let entry =
                    Entry { set, uid, created: now, generation: 1, evicted: false, instead: None };
                self.entries.insert(key.clone(), entry);
            }
            // A set of the whole fleet is the same set on every host.
            if let (Some(shared), Some(entry)) = (shared, self.entries.get_mut(&key)) {
                entry.uid = shared.uid.unwrap_or_else(|| entry.uid.clone());
                entry.created = shared.creation_timestamp.map_or(entry.created, |time| time.0);
                entry.generation = shared.generation.unwrap_or(entry.generation);
            }
        }
        changes
    }

    /// Notes whether an eviction holds the set; `true` when that is news.
    pub fn set_evicted(&mut self, key: &SetKey, evicted: bool) -> bool {
        self.entries
            .get_mut(key)
            .is_some_and(|entry| std::mem::replace(&mut entry.evicted, evicted) != evicted)
    }

    /// Says which template this node runs instead of the set's own; `true` when that is news.
    pub fn set_instead(&mut self, key: &SetKey, instead: Option<Arc<Set>>) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return false };
        let hash = |set: &Option<Arc<Set>>| set.as_ref().map(|set| set.hash.clone());
        let news = hash(&entry.instead) != hash(&instead);
        entry.instead = instead;
        news
    }

    /// The snapshot as it is to be written: see [`write()`].
    pub fn snapshot(&self) -> serde_json::Result<(PathBuf, Vec<u8>)> {
        let sets = self
            .entries
            .iter()
            .map(|(key, entry)| Kept {
                key: key.clone(),
                uid: entry.uid.clone(),
                created: entry.created,
                generation: entry.generation,
                evicted: entry.evicted,
                origin: entry.set.origin.clone(),
                document: entry.set.document,
                hash: entry.set.hash.clone(),
                object: entry.set.object.clone(),
                instead: entry.instead.as_ref().map(|set| KeptTemplate {
                    hash: set.hash.clone(),
                    template: set.template().clone(),
                }),
            })
            .collect();
        let objects = self.documents.values().map(|document| kept_object(document)).collect();
        // Through a value, as records are: see there.
        let value = serde_json::to_value(Snapshot { version: VERSION, sets, objects })?;
        Ok((self.path.clone(), checked::text(value)?))
    }
}

/// An object as it is kept.
fn kept_object(document: &ObjectDocument) -> KeptObject {
    let encode = |values: &BTreeMap<String, Vec<u8>>| {
        values.iter().map(|(key, value)| (key.clone(), STANDARD.encode(value))).collect()
    };
    KeptObject {
        key: document.key.clone(),
        origin: document.origin.clone(),
        document: document.document,
        immutable: document.object.immutable,
        data: encode(&document.object.data),
        binary: encode(&document.object.binary),
    }
}

/// An object as it was kept.
fn known_object(kept: KeptObject) -> io::Result<(ObjectKey, Arc<ObjectDocument>)> {
    let decode = |values: BTreeMap<String, String>| {
        let value = |(key, text)| STANDARD.decode(text).ok().map(|value| (key, value));
        let values: Option<BTreeMap<_, _>> = values.into_iter().map(value).collect();
        values.ok_or_else(|| io::Error::other("an object in it is torn"))
    };
    let KeptObject { key, origin, document, immutable, data, binary } = kept;
    let object = Arc::new(Object { data: decode(data)?, binary: decode(binary)?, immutable });
    Ok((key.clone(), Arc::new(ObjectDocument { key, origin, document, object })))
}

/// Writes a snapshot: whole and on the disk, or not at all. Secrets are in it: it is root's alone.
pub fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("json.new");
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
    // One that an earlier build left half written has an earlier build's mode.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// What a snapshot brings.
type Read = (BTreeMap<SetKey, Entry>, merge::Documents);

/// Reads the snapshot; none is an empty one.
fn read(path: &Path) -> io::Result<Read> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Read::default()),
        Err(error) => return Err(error),
    };
    // The reader's own words may repeat a value.
    let strange = |_| io::Error::other("it is JSON, but no snapshot");
    let snapshot: Snapshot = serde_json::from_value(checked::object(&text)?).map_err(strange)?;
    if snapshot.version != VERSION {
        return Err(io::Error::other(format!("version {}", snapshot.version)));
    }
    let entry = |kept: Kept| {
        let set = Set {
            key: kept.key.clone(),
            origin: kept.origin,
            document: kept.document,
            object: kept.object,
            hash: kept.hash,
        };
        let instead = kept.instead.map(|other| with_template(&set, other.hash, other.template));
        let entry = Entry {
            set: Arc::new(set),
            instead,
            uid: kept.uid,
            created: kept.created,
            generation: kept.generation,
            evicted: kept.evicted,
        };
        (kept.key, entry)
    };
    let documents = snapshot.objects.into_iter().map(known_object).collect::<io::Result<_>>()?;
    Ok((keyed(snapshot.sets.into_iter().map(entry)), documents))
}
