//! The identity of a set's template together with what a process keeps of its ConfigMaps and Secrets, as hosts that follow
//! the store work it out.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;

use crate::base::ids::TemplateHash;
use crate::pod::references::{Reference, Way, effective_hash, missing, references};
use crate::spec::{self, FieldValidation, Objects, Outcome, Set};
use crate::store::{Keys, Kv, Range};

use super::desk::opened;

/// A template's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The identity.
    pub hash: TemplateHash,
    /// Whether all that it depends on is in the store: otherwise hosts may have it from elsewhere.
    pub sure: bool,
}

/// What a set's template refers to.
fn referred(set: &Set) -> BTreeSet<Reference> {
    let spec = set.template().spec.as_ref();
    spec.map(|spec| references(&set.key.namespace, spec)).unwrap_or_default()
}

/// The identity of a template of which processes keep no object.
pub fn plain(set: &Set) -> Option<TemplateHash> {
    let kept = referred(set).iter().any(|reference| reference.way != Way::Volume);
    (!kept).then(|| set.hash.clone())
}

/// The keys of what a set's template refers to.
pub fn ranges(keys: &Keys, set: &Set) -> Vec<Range> {
    let objects: BTreeSet<String> =
        referred(set).iter().map(|reference| keys.object(&reference.object)).collect();
    objects.into_iter().map(Range::key).collect()
}

/// The identity of a set's template, with these objects.
pub fn identity(set: &Set, objects: &Objects) -> Identity {
    let referred = referred(set);
    Identity {
        hash: effective_hash(&set.hash, &referred, objects),
        sure: missing(&referred, objects).is_empty(),
    }
}

/// The same for one entry of the set's history.
pub fn of_revision(set: &Set, revision: &Value, objects: &Objects) -> Option<Identity> {
    let mut object = serde_json::to_value(&set.object).ok()?;
    object["spec"]["template"] = revision["data"]["spec"]["template"].clone();
    let set = read_set(&object)?;
    Some(identity(&set, objects))
}

/// A set as this build reads it.
pub fn read_set(object: &Value) -> Option<Arc<Set>> {
    let text = object.to_string();
    let reading = spec::read("set", text.as_bytes(), FieldValidation::Ignore);
    reading.documents.into_iter().find_map(|document| match document.outcome {
        Outcome::Set(set) => Some(set),
        _ => None,
    })
}

/// The objects among keys of the store.
pub fn objects<'k>(kvs: impl IntoIterator<Item = &'k Kv>) -> Objects {
    let read = kvs.into_iter().filter_map(|kv| {
        let text = opened(&kv.value)?.to_string();
        let reading = spec::read(&kv.key, text.as_bytes(), FieldValidation::Ignore);
        reading.documents.into_iter().find_map(|document| match document.outcome {
            Outcome::Object { key, value } => Some((key, value)),
            _ => None,
        })
    });
    read.collect()
}
