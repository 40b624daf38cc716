//! Merging what was read with what ran before: nothing is deleted because of a bad or missing read.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::base::{fault::Fault, ids::SetKey};
use crate::spec::Set;

/// The sets by their keys.
pub type Sets = BTreeMap<SetKey, Arc<Set>>;

/// What one file said the last time it was read.
#[derive(Debug, Default)]
pub struct FileReading {
    /// Its valid sets, in the file's order.
    pub sets: Vec<Arc<Set>>,
    /// Sets that it names in documents which are at fault.
    pub broken: BTreeSet<SetKey>,
    /// Whether it holds something unreadable that may have been any set.
    pub unreadable: bool,
    /// Whether it holds nothing at all, as between the truncation and the writing of a careless change.
    pub empty: bool,
    /// What is wrong with it.
    pub faults: Vec<Fault>,
    /// What its author should know although it is not wrong.
    pub warnings: Vec<Fault>,
}

/// What one source said the last time it was read.
#[derive(Debug, Default)]
pub struct SourceReading {
    /// The path that the operator configured.
    pub path: PathBuf,
    /// Its files by name.
    pub files: BTreeMap<PathBuf, FileReading>,
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
    /// All that is wrong.
    pub faults: Vec<Fault>,
    /// All warnings.
    pub warnings: Vec<Fault>,
}

/// Merges the sources, the first one first, with the sets that were wanted before.
pub fn merge(sources: &[SourceReading], previous: &Sets) -> Merged {
    let mut merged = Merged::default();
    let mut candidates: BTreeMap<SetKey, Vec<Arc<Set>>> = BTreeMap::new();
    for source in sources {
        merged.faults.extend(source.fault.clone());
        for file in source.files.values() {
            merged.faults.extend(file.faults.iter().cloned());
            merged.warnings.extend(file.warnings.iter().cloned());
            for set in &file.sets {
                candidates.entry(set.key.clone()).or_default().push(Arc::clone(set));
            }
        }
    }
    for (key, sets) in candidates {
        let holder = elect(&sets, previous.get(&key));
        merged.faults.extend(
            sets.iter().filter(|set| !Arc::ptr_eq(set, &holder)).map(|set| twice(set, &holder)),
        );
        merged.sets.insert(key, holder);
    }
    for (key, set) in previous {
        if merged.sets.contains_key(key) {
            continue;
        }
        if let Some(reason) = reason_to_keep(sources, key, set) {
            merged.sets.insert(key.clone(), Arc::clone(set));
            merged.kept.insert(key.clone(), reason);
        }
    }
    merged
}

/// Of several documents for one set the one that holds it already goes on; otherwise the first.
fn elect(sets: &[Arc<Set>], previous: Option<&Arc<Set>>) -> Arc<Set> {
    let holder = previous.and_then(|previous| {
        sets.iter()
            .find(|set| set.origin == previous.origin && set.document == previous.document)
            .or_else(|| sets.iter().find(|set| set.origin == previous.origin))
    });
    Arc::clone(holder.unwrap_or(&sets[0]))
}

/// The fault of a second document for the same set.
fn twice(set: &Set, holder: &Set) -> Fault {
    Fault {
        document: Some(set.document),
        path: "metadata.name".into(),
        value: set.key.to_string(),
        ..Fault::of_file(
            &set.origin,
            format!("the DaemonSet stands in {} as well, which keeps it", holder.origin),
            "remove one of the two",
        )
    }
}

/// Why a set that was not read now must not be taken for deleted; `None` when it was deleted.
fn reason_to_keep(sources: &[SourceReading], key: &SetKey, set: &Set) -> Option<String> {
    let origin = Path::new(&set.origin);
    for source in sources {
        if let Some(fault) = &source.fault
            && origin.starts_with(&source.path)
        {
            return Some(fault.to_string());
        }
        for (path, file) in &source.files {
            if path == origin && file.empty {
                return Some(format!("{}: empty; remove the file to delete the set", set.origin));
            }
            let suspect = file.broken.contains(key) || (path == origin && file.unreadable);
            if suspect {
                let why = file.faults.first().map_or_else(String::new, ToString::to_string);
                return Some(why);
            }
        }
    }
    None
}
