//! What reading a file yields: its documents, each with its outcome, faults, warnings and fields.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use k8s_openapi::api::{apps::v1::DaemonSet, core::v1::PodTemplateSpec};
use serde::{Deserialize, Serialize};

use crate::base::{
    fault::Fault,
    ids::{SetKey, TemplateHash},
};
use crate::spec::{
    object::{Object, ObjectKey},
    table::Support,
};

/// How unknown fields are taken, as kubectl's `--validate` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum FieldValidation {
    /// They are faults.
    #[default]
    Strict,
    /// They are warnings.
    Warn,
    /// They are dropped without a word.
    Ignore,
}

impl FromStr for FieldValidation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // kubectl takes the words in any case, and true and false for the two ends.
        match text.to_ascii_lowercase().as_str() {
            "strict" | "true" => Ok(Self::Strict),
            "warn" => Ok(Self::Warn),
            "ignore" | "false" => Ok(Self::Ignore),
            _ => Err(format!("{text:?} is none of Strict, Warn, Ignore")),
        }
    }
}

impl fmt::Display for FieldValidation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Strict => "Strict",
            Self::Warn => "Warn",
            Self::Ignore => "Ignore",
        })
    }
}

/// A file that was read.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Faults of the whole file.
    pub faults: Vec<Fault>,
    /// Its documents in their order, without empty ones.
    pub documents: Vec<Document>,
}

/// One object of a file.
#[derive(Debug, Clone)]
pub struct Document {
    /// Its number in the file, from 1; items of a list count one by one.
    pub index: usize,
    /// The line that it begins on, from 1.
    pub line: usize,
    /// Its `apiVersion`, as far as it is readable.
    pub api_version: String,
    /// Its `kind`, as far as it is readable.
    pub kind: String,
    /// The name that it gives itself, for people: with its namespace when it has one.
    pub name: String,
    /// Which set it describes, readable even when it is at fault.
    pub key: Option<SetKey>,
    /// Which ConfigMap or Secret it is, readable even when it is at fault.
    pub object: Option<ObjectKey>,
    /// What became of it.
    pub outcome: Outcome,
    /// The set as far as it can be read, also when it is rejected: enough to say where it would run.
    pub draft: Option<Arc<Set>>,
    /// Why it is rejected.
    pub faults: Vec<Fault>,
    /// What its author should know.
    pub warnings: Vec<Fault>,
    /// Every field used and what podward makes of it.
    pub fields: Vec<FieldUse>,
}

/// What became of a document.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// A set that can run.
    Set(Arc<Set>),
    /// A ConfigMap or Secret that pods may take from.
    Object {
        /// Which one.
        key: ObjectKey,
        /// What it holds.
        value: Arc<Object>,
    },
    /// A document that is none of podward's business.
    Ignored {
        /// Why.
        reason: String,
    },
    /// Faults or refused fields say why.
    Rejected,
}

/// A field that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldUse {
    /// Its path.
    pub path: String,
    /// Its value, shortened.
    pub value: String,
    /// What podward makes of it.
    pub support: Support,
    /// Why, when it is not simply honoured.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A valid set.
#[derive(Debug, Clone)]
pub struct Set {
    /// Its namespace and name.
    pub key: SetKey,
    /// Where it was read.
    pub origin: String,
    /// The document's number there.
    pub document: usize,
    /// The object: apps/v1, every default filled in. Its uid, creation time and generation are the agent's.
    pub object: DaemonSet,
    /// The identity of its pod template.
    pub hash: TemplateHash,
}

impl Set {
    /// The pod template.
    ///
    /// # Panics
    ///
    /// Never for a set that was read: validation demands a template.
    pub fn template(&self) -> &PodTemplateSpec {
        &self.object.spec.as_ref().expect("a valid set has a spec").template
    }

    /// The pod spec.
    ///
    /// # Panics
    ///
    /// Never for a set that was read: validation demands a pod spec.
    #[cfg(test)]
    pub fn pod_spec(&self) -> &k8s_openapi::api::core::v1::PodSpec {
        self.template().spec.as_ref().expect("a valid set has a pod spec")
    }

    /// Whether a new template waits until the old pod is deleted.
    pub fn on_delete(&self) -> bool {
        let strategy = self.object.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
        strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete")
    }

    /// How long a pod must be ready before it counts as available.
    pub fn min_ready(&self) -> Duration {
        let seconds = self.object.spec.as_ref().and_then(|spec| spec.min_ready_seconds);
        Duration::from_secs(seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0))
    }
}
