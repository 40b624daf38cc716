//! ConfigMaps and Secrets: what pods take from them, whatever file or directory they came from.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// The most bytes that the values of one object may have together: 1 MiB, as in Kubernetes.
pub const MAX_OBJECT: usize = 1 << 20;

/// Which of the two kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ObjectKind {
    /// A v1 ConfigMap.
    ConfigMap,
    /// A v1 Secret.
    Secret,
}

impl fmt::Display for ObjectKind {
    /// The word that the kubelet's messages use.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConfigMap => "configmap",
            Self::Secret => "secret",
        })
    }
}

/// Which object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"{}/{}\"", self.kind, self.namespace, self.name)
    }
}

/// What an object holds. Its `Debug` names keys only: values may be secrets, and secrets reach no log.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// `data`, decoded; a Secret's `stringData` is laid over it.
    pub data: BTreeMap<String, Vec<u8>>,
    /// A ConfigMap's `binaryData`, decoded: files, never environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub binary: BTreeMap<String, Vec<u8>>,
    /// Whether its author promised that it never changes.
    #[serde(default)]
    pub immutable: bool,
}

impl Object {
    /// Its keys.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.data.keys().chain(self.binary.keys())
    }

    /// How many bytes its values have together.
    pub fn size(&self) -> usize {
        self.data.values().chain(self.binary.values()).map(Vec::len).sum()
    }

    /// The value of a key, wherever it stands.
    pub fn value(&self, key: &str) -> Option<&[u8]> {
        self.data.get(key).or_else(|| self.binary.get(key)).map(Vec::as_slice)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = |map: &BTreeMap<String, Vec<u8>>| map.keys().cloned().collect::<Vec<_>>();
        f.debug_struct("Object")
            .field("data", &keys(&self.data))
            .field("binary", &keys(&self.binary))
            .field("immutable", &self.immutable)
            .finish()
    }
}

/// An object and the document that brought it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectDocument {
    /// Which object.
    pub key: ObjectKey,
    /// Where it was read.
    pub origin: String,
    /// The document's number there.
    pub document: usize,
    /// What it holds.
    pub object: Arc<Object>,
}

/// Every object that this node knows.
pub type Objects = BTreeMap<ObjectKey, Arc<Object>>;
