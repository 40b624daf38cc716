//! Which ConfigMaps and Secrets a pod refers to, what of them a running process keeps, and what of them is missing.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    Container, EnvFromSource, EnvVarSource, KeyToPath, PodSpec, Volume, VolumeMount,
};
use sha2::{Digest as _, Sha256};

use crate::base::ids::TemplateHash;
use crate::spec::{Object, ObjectKey, ObjectKind, Objects, hash_of};

use super::resources::all_containers;

/// How an object reaches a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// As environment variables: the process keeps what it was started with.
    Environment,
    /// As a file of a volume mounted by its subPath: the process keeps the file that was there.
    SubPath,
    /// As files of a volume, which are replaced in place.
    Volume,
}

/// Which keys of an object are wanted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keys {
    /// Whatever there is.
    All,
    /// These.
    Only(BTreeSet<String>),
}

/// One reference of a pod to an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// The object.
    pub object: ObjectKey,
    /// How it reaches the process.
    pub way: Way,
    /// What is wanted of it.
    pub keys: Keys,
    /// Whether the pod starts without it as well.
    pub optional: bool,
}

/// Everything that a pod refers to.
pub fn references(namespace: &str, spec: &PodSpec) -> BTreeSet<Reference> {
    let mut found = Finder { namespace, references: BTreeSet::new() };
    for volume in spec.volumes.iter().flatten() {
        for (object, optional, items) in found.sources(volume) {
            found.add(object, Way::Volume, keys_of(items), optional);
        }
    }
    for container in all_containers(spec) {
        found.environment(container);
        for mount in container.volume_mounts.iter().flatten() {
            let volume = spec.volumes.iter().flatten().find(|volume| volume.name == mount.name);
            if let Some(volume) = volume {
                found.mount(mount, volume);
            }
        }
    }
    found.references
}

/// The objects that a pod refers to.
pub fn referred(namespace: &str, spec: &PodSpec) -> BTreeSet<ObjectKey> {
    references(namespace, spec).into_iter().map(|reference| reference.object).collect()
}

/// What a pod with these references cannot start without and what is not there, each with object and key.
pub fn missing(references: &BTreeSet<Reference>, objects: &Objects) -> Vec<String> {
    let mut missing = BTreeSet::new();
    // A subPath is a part of a volume, whose own reference says what must be there.
    for reference in references.iter().filter(|one| !one.optional && one.way != Way::SubPath) {
        let key = &reference.object;
        let Some(object) = objects.get(key) else {
            missing.insert(format!("{key} not found"));
            continue;
        };
        if let Keys::Only(names) = &reference.keys {
            let there = |name: &&String| value(object, reference.way, name).is_some();
            let absent = names.iter().filter(|name| !there(name));
            missing.extend(absent.map(|name| format!("{key} has no key {name:?}")));
        }
    }
    missing.into_iter().collect()
}

/// The identity of a template together with what a process keeps of the objects that it refers to; the template's own
/// hash when that is nothing.
pub fn effective_hash(
    template: &TemplateHash,
    references: &BTreeSet<Reference>,
    objects: &Objects,
) -> TemplateHash {
    let mut kept: BTreeMap<(&ObjectKey, &str), Option<&[u8]>> = BTreeMap::new();
    for reference in references.iter().filter(|reference| reference.way != Way::Volume) {
        let key = &reference.object;
        let object = objects.get(key);
        match &reference.keys {
            Keys::Only(names) => kept.extend(names.iter().map(|name| {
                let value = object.and_then(|object| value(object, reference.way, name));
                ((key, name.as_str()), value)
            })),
            Keys::All => {
                // No key is empty: this entry stands for the object itself.
                kept.insert((key, ""), object.map(|_| &[][..]));
                let names = object.into_iter().flat_map(|object| object.keys());
                kept.extend(names.filter_map(|name| {
                    Some(((key, name.as_str()), Some(value(object?, reference.way, name)?)))
                }));
            }
        }
    }
    if kept.is_empty() {
        return template.clone();
    }
    let mut digest = Sha256::new();
    let mut feed = |bytes: &[u8]| {
        digest.update((bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    };
    feed(template.as_str().as_bytes());
    for ((object, key), value) in kept {
        feed(object.to_string().as_bytes());
        feed(key.as_bytes());
        feed(&[u8::from(value.is_some())]);
        feed(value.unwrap_or_default());
    }
    hash_of(&digest.finalize())
}

/// The value of a key as it reaches a process: `binaryData` never becomes a variable.
fn value<'a>(object: &'a Object, way: Way, key: &str) -> Option<&'a [u8]> {
    match way {
        Way::Environment => object.data.get(key).map(Vec::as_slice),
        Way::SubPath | Way::Volume => object.value(key),
    }
}

/// The keys that a volume's items name.
fn keys_of(items: Option<&[KeyToPath]>) -> Keys {
    match items {
        None | Some([]) => Keys::All,
        Some(items) => Keys::Only(items.iter().map(|item| item.key.clone()).collect()),
    }
}

/// The keys of which files lie at a path of a volume, or below it.
fn keys_at(items: Option<&[KeyToPath]>, path: &str) -> Keys {
    let parts = |path: &str| -> Vec<String> {
        let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
        parts.map(str::to_owned).collect()
    };
    let wanted = parts(path);
    match items {
        _ if wanted.is_empty() => keys_of(items),
        None | Some([]) => Keys::Only(wanted.into_iter().take(1).collect()),
        Some(items) => {
            let within = |item: &&KeyToPath| parts(&item.path).starts_with(&wanted);
            Keys::Only(items.iter().filter(within).map(|item| item.key.clone()).collect())
        }
    }
}

/// An object of a volume, whether it is optional, and the items taken of it.
type VolumeObject<'a> = (ObjectKey, bool, Option<&'a [KeyToPath]>);

/// The references found so far.
struct Finder<'a> {
    /// The pod's namespace, which is its objects' as well.
    namespace: &'a str,
    /// What was found.
    references: BTreeSet<Reference>,
}

impl Finder<'_> {
    /// An object of the pod's namespace.
    fn key(&self, kind: ObjectKind, name: &str) -> ObjectKey {
        ObjectKey { kind, namespace: self.namespace.to_owned(), name: name.to_owned() }
    }

    /// Notes a reference.
    fn add(&mut self, object: ObjectKey, way: Way, keys: Keys, optional: bool) {
        self.references.insert(Reference { object, way, keys, optional });
    }

    /// The objects of a volume.
    fn sources<'v>(&self, volume: &'v Volume) -> Vec<VolumeObject<'v>> {
        let config = |name: &str, optional: Option<bool>, items: &'v Option<Vec<KeyToPath>>| {
            (self.key(ObjectKind::ConfigMap, name), optional == Some(true), items.as_deref())
        };
        let secret = |name: &str, optional: Option<bool>, items: &'v Option<Vec<KeyToPath>>| {
            (self.key(ObjectKind::Secret, name), optional == Some(true), items.as_deref())
        };
        let mut found = Vec::new();
        if let Some(from) = &volume.config_map {
            found.push(config(&from.name, from.optional, &from.items));
        }
        if let Some(from) = &volume.secret {
            let name = from.secret_name.as_deref().unwrap_or_default();
            found.push(secret(name, from.optional, &from.items));
        }
        let projected = volume.projected.iter().flat_map(|from| from.sources.iter().flatten());
        for source in projected {
            if let Some(from) = &source.config_map {
                found.push(config(&from.name, from.optional, &from.items));
            }
            if let Some(from) = &source.secret {
                found.push(secret(&from.name, from.optional, &from.items));
            }
        }
        found
    }

    /// Notes what a container's environment takes.
    fn environment(&mut self, container: &Container) {
        for from in container.env_from.iter().flatten() {
            self.env_from(from);
        }
        let variables = container.env.iter().flatten();
        for from in variables.filter_map(|variable| variable.value_from.as_ref()) {
            self.value_from(from);
        }
    }

    /// Notes an object that becomes variables as a whole.
    fn env_from(&mut self, from: &EnvFromSource) {
        if let Some(from) = &from.config_map_ref {
            let key = self.key(ObjectKind::ConfigMap, &from.name);
            self.add(key, Way::Environment, Keys::All, from.optional == Some(true));
        }
        if let Some(from) = &from.secret_ref {
            let key = self.key(ObjectKind::Secret, &from.name);
            self.add(key, Way::Environment, Keys::All, from.optional == Some(true));
        }
    }

    /// Notes a key that becomes one variable.
    fn value_from(&mut self, from: &EnvVarSource) {
        let only = |key: &str| Keys::Only(BTreeSet::from([key.to_owned()]));
        if let Some(from) = &from.config_map_key_ref {
            let key = self.key(ObjectKind::ConfigMap, &from.name);
            self.add(key, Way::Environment, only(&from.key), from.optional == Some(true));
        }
        if let Some(from) = &from.secret_key_ref {
            let key = self.key(ObjectKind::Secret, &from.name);
            self.add(key, Way::Environment, only(&from.key), from.optional == Some(true));
        }
    }

    /// Notes what a mount takes of its volume by a path within it.
    fn mount(&mut self, mount: &VolumeMount, volume: &Volume) {
        let fixed = mount.sub_path.as_deref().filter(|path| !path.is_empty());
        let varies = mount.sub_path_expr.as_deref().is_some_and(|path| !path.is_empty());
        for (object, optional, items) in self.sources(volume) {
            let keys = match fixed {
                Some(path) => keys_at(items, path),
                // Where it leads is known only once the pod is made.
                None if varies => keys_of(items),
                None => continue,
            };
            self.add(object, Way::SubPath, keys, optional);
        }
    }
}

#[cfg(test)]
mod tests;
