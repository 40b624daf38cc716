//! Where a pod's values come from, and what is said of those that are missing.

use std::fmt;

use crate::spec::{Object, ObjectKey, ObjectKind, Objects};

use super::downward::Downward;

/// All that environment variables and files of volumes are filled from.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// The ConfigMaps and Secrets of this node.
    pub objects: &'a Objects,
    /// The pod itself and its node.
    pub downward: Downward<'a>,
}

impl<'a> Values<'a> {
    /// The ConfigMap or Secret of that name in the pod's namespace.
    pub fn object(&self, kind: ObjectKind, name: &str) -> Result<&'a Object, Missing> {
        let key = self.key(kind, name);
        self.objects.get(&key).map(AsRef::as_ref).ok_or(Missing { object: key, key: None })
    }

    /// Says that an object has no such key.
    pub fn without(&self, kind: ObjectKind, name: &str, key: &str) -> Missing {
        Missing { object: self.key(kind, name), key: Some(key.to_owned()) }
    }

    /// The full name of an object that the pod names.
    fn key(&self, kind: ObjectKind, name: &str) -> ObjectKey {
        let namespace = self.downward.record.set.namespace.clone();
        ObjectKey { kind, namespace, name: name.to_owned() }
    }
}

/// A reference that leads nowhere. Its text is the kubelet's, and where the value can be put.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Missing {
    /// The object that is missing, or that misses the key.
    pub object: ObjectKey,
    /// The key that the object has not; `None` when there is no such object.
    pub key: Option<String>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ObjectKey { kind, namespace, name }, api) = (&self.object, self.api_kind());
        let directory = match kind {
            ObjectKind::ConfigMap => "configmaps",
            ObjectKind::Secret => "secrets",
        };
        match &self.key {
            None => write!(
                f,
                "{kind} \"{name}\" not found: add the {api} {namespace}/{name} beside the DaemonSet, \
                 or put its values into objectsDir/{namespace}/{directory}/{name}, a file for each key"
            ),
            Some(key) => write!(
                f,
                "couldn't find key {key} in {api} {namespace}/{name}: add it to the document beside \
                 the DaemonSet, or put the value into \
                 objectsDir/{namespace}/{directory}/{name}/{key}"
            ),
        }
    }
}

impl Missing {
    /// The same as a volume's error: the kubelet has other words for keys there.
    pub fn in_volume(&self) -> String {
        let ObjectKey { kind, namespace, name } = &self.object;
        let (noun, directory) = match kind {
            ObjectKind::ConfigMap => ("config", "configmaps"),
            ObjectKind::Secret => ("secret", "secrets"),
        };
        match &self.key {
            None => self.to_string(),
            Some(key) => format!(
                "{kind} references non-existent {noun} key: {key}: add it to the {} {namespace}/{name} \
                 beside the DaemonSet, or put the value into \
                 objectsDir/{namespace}/{directory}/{name}/{key}",
                self.api_kind()
            ),
        }
    }

    /// The kind as documents write it.
    pub fn api_kind(&self) -> &'static str {
        match self.object.kind {
            ObjectKind::ConfigMap => "ConfigMap",
            ObjectKind::Secret => "Secret",
        }
    }
}
