//! Merging what was read with what ran before: nothing is deleted because of a bad or missing read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::base::{fault::Fault, ids::SetKey};
use crate::spec::{ObjectDocument, ObjectKey, Set};

/// The sets by their keys.
pub type Sets = BTreeMap<SetKey, Arc<Set>>;

/// The ConfigMaps and Secrets by their keys.
pub type Documents = BTreeMap<ObjectKey, Arc<ObjectDocument>>;

/// What one file, page or key said the last time it was read.
#[derive(Debug, Clone, Default)]
pub struct FileReading {
    /// Its valid sets, in the file's order.
    pub sets: Vec<Arc<Set>>,
    /// Its valid ConfigMaps and Secrets, likewise.
    pub objects: Vec<Arc<ObjectDocument>>,
    /// Sets that it names in documents which are at fault.
    pub broken: BTreeSet<SetKey>,
    /// ConfigMaps and Secrets, likewise.
    pub broken_objects: BTreeSet<ObjectKey>,
    /// Whether it holds something unreadable that may have been any set or object.
    pub unreadable: bool,
    /// Whether it holds nothing at all, as between the truncation and the writing of a careless change.
    pub empty: bool,
    /// What is wrong with it.
    pub faults: Vec<Fault>,
    /// What its author should know although it is not wrong.
    pub warnings: Vec<Fault>,
}

/// What one source said the last time it was read.
#[derive(Debug, Clone, Default)]
pub struct SourceReading {
    /// The path or address that the operator configured; what comes from there has an origin below it.
    pub path: PathBuf,
    /// Its files, pages or keys by name.
    pub files: BTreeMap<PathBuf, FileReading>,
    /// Whether it has not answered since this agent started: what it brought before goes on.
    pub awaited: bool,
    /// Why it could not be read as a whole.
    pub fault: Option<Fault>,
}

/// What the sources say together.
#[derive(Debug, Default)]
pub struct Merged {
    /// The sets that are wanted: newly read, or kept from before.
    pub sets: Sets,
    /// Which of them are kept although they could not be read now, and why.
    pub kept: BTreeMap<SetKey, String>,
    /// The ConfigMaps and Secrets, likewise.
    pub objects: Documents,
    /// Which of them are kept although they could not be read now, and why.
    pub kept_objects: BTreeMap<ObjectKey, String>,
    /// All that is wrong.
    pub faults: Vec<Fault>,
    /// All warnings.
    pub warnings: Vec<Fault>,
}

/// Something that a document of a source brings.
trait Brought: Sized {
    /// What tells it from others of its kind.
    type Key: Ord + Clone + Display;

    /// Its key.
    fn key(&self) -> &Self::Key;
    /// The file that brought it and the document's number there.
    fn place(&self) -> (&str, usize);
    /// Those of a file.
    fn of(file: &FileReading) -> &[Arc<Self>];
    /// Those that a file names in documents which are at fault.
    fn broken(file: &FileReading) -> &BTreeSet<Self::Key>;
    /// What messages call it.
    fn noun() -> &'static str;
}

impl Brought for Set {
    type Key = SetKey;

    fn key(&self) -> &SetKey {
        &self.key
    }

    fn place(&self) -> (&str, usize) {
        (&self.origin, self.document)
    }

    fn of(file: &FileReading) -> &[Arc<Self>] {
        &file.sets
    }

    fn broken(file: &FileReading) -> &BTreeSet<SetKey> {
        &file.broken
    }

    fn noun() -> &'static str {
        "the DaemonSet"
    }
}

impl Brought for ObjectDocument {
    type Key = ObjectKey;

    fn key(&self) -> &ObjectKey {
        &self.key
    }

    fn place(&self) -> (&str, usize) {
        (&self.origin, self.document)
    }

    fn of(file: &FileReading) -> &[Arc<Self>] {
        &file.objects
    }

    fn broken(file: &FileReading) -> &BTreeSet<ObjectKey> {
        &file.broken_objects
    }

    fn noun() -> &'static str {
        "the object"
    }
}

/// Merges the sources, the first one first, with what was wanted before.
pub fn merge(sources: &[&SourceReading], sets: &Sets, objects: &Documents) -> Merged {
    let mut merged = Merged::default();
    for source in sources {
        merged.faults.extend(source.fault.clone());
        for file in source.files.values() {
            merged.faults.extend(file.faults.iter().cloned());
            merged.warnings.extend(file.warnings.iter().cloned());
        }
    }
    (merged.sets, merged.kept) = merge_kind(sources, sets, &mut merged.faults);
    (merged.objects, merged.kept_objects) = merge_kind(sources, objects, &mut merged.faults);
    for (key, object) in &mut merged.objects {
        let Some(previous) = objects.get(key).filter(|previous| changed(previous, object)) else {
            continue;
        };
        merged.faults.push(immutable(object));
        *object = Arc::clone(previous);
    }
    merged
}

/// Whether a document changes an object of which its author said that it never changes.
fn changed(previous: &ObjectDocument, object: &ObjectDocument) -> bool {
    previous.object.immutable && previous.object != object.object
}

/// The fault of such a document.
fn immutable(object: &ObjectDocument) -> Fault {
    Fault {
        document: Some(object.document),
        path: "data".into(),
        value: object.key.to_string(),
        ..Fault::of_file(
            &object.origin,
            "field is immutable when `immutable` is set; the old contents stay",
            "give it another name, or remove the document, run `podward sync` and add it again",
        )
    }
}

/// What is wanted of one kind, and what of it is kept although it could not be read now, with the reason.
type Wanted<T> = (BTreeMap<<T as Brought>::Key, Arc<T>>, BTreeMap<<T as Brought>::Key, String>);

/// Merges what the sources say of one kind.
fn merge_kind<T: Brought>(
    sources: &[&SourceReading],
    previous: &BTreeMap<T::Key, Arc<T>>,
    faults: &mut Vec<Fault>,
) -> Wanted<T> {
    let (mut wanted, mut kept) = (BTreeMap::new(), BTreeMap::new());
    let mut candidates: BTreeMap<T::Key, Vec<Arc<T>>> = BTreeMap::new();
    for file in sources.iter().flat_map(|source| source.files.values()) {
        for one in T::of(file) {
            candidates.entry(one.key().clone()).or_default().push(Arc::clone(one));
        }
    }
    for (key, all) in candidates {
        let holder = elect(&all, previous.get(&key));
        let others = all.iter().filter(|one| !Arc::ptr_eq(one, &holder));
        faults.extend(others.map(|one| twice(&**one, &holder)));
        wanted.insert(key, holder);
    }
    for (key, one) in previous {
        if wanted.contains_key(key) {
            continue;
        }
        if let Some(reason) = reason_to_keep(sources, &**one) {
            wanted.insert(key.clone(), Arc::clone(one));
            kept.insert(key.clone(), reason);
        }
    }
    (wanted, kept)
}

/// Of several documents for one thing the one that holds it already goes on; otherwise the first.
fn elect<T: Brought>(all: &[Arc<T>], previous: Option<&Arc<T>>) -> Arc<T> {
    let holder = previous.map(|previous| previous.place()).and_then(|place| {
        all.iter()
            .find(|one| one.place() == place)
            .or_else(|| all.iter().find(|one| one.place().0 == place.0))
    });
    Arc::clone(holder.unwrap_or(&all[0]))
}

/// The fault of a second document for the same thing.
fn twice<T: Brought>(one: &T, holder: &T) -> Fault {
    let (origin, document) = one.place();
    Fault {
        document: Some(document),
        path: "metadata.name".into(),
        value: one.key().to_string(),
        ..Fault::of_file(
            origin,
            format!("{} stands in {} as well, which keeps it", T::noun(), holder.place().0),
            "remove one of the two",
        )
    }
}

/// Why what was not read now must not be taken for deleted; `None` when it was deleted. Nothing to tell, only to wait for,
/// is an empty reason.
fn reason_to_keep<T: Brought>(sources: &[&SourceReading], one: &T) -> Option<String> {
    let name = one.place().0;
    let origin = Path::new(name);
    for source in sources {
        if source.awaited && origin.starts_with(&source.path) {
            return Some(String::new());
        }
        if let Some(fault) = &source.fault
            && origin.starts_with(&source.path)
        {
            return Some(fault.to_string());
        }
        for (path, file) in &source.files {
            if path == origin && file.empty {
                return Some(format!("{name}: empty; remove the file to delete what it brought"));
            }
            let suspect =
                T::broken(file).contains(one.key()) || (path == origin && file.unreadable);
            if suspect {
                let why = file.faults.first().map_or_else(String::new, ToString::to_string);
                return Some(why);
            }
        }
    }
    None
}
