//! What hosts write into the store about their turns.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::base::ids::TemplateHash;

/// In what way a node's pod is disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TurnKind {
    /// The old pod stops before the new one starts: the node is not available meanwhile.
    Replace,
    /// The new pod starts beside the old one.
    Surge,
    /// The old pod was not available when the turn began: nothing is taken from anybody.
    Repair,
}

/// A node's durable permission to disturb its pod of one set: `fleet/sets/<ns>/<name>/turn/<node>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Turn {
    /// In what way.
    pub kind: TurnKind,
    /// The template that the node comes from; empty for none.
    pub from: String,
    /// The template that it goes to.
    pub to: TemplateHash,
    /// When this began, or when it last took another direction, by the node's own clock: for people, and for the node itself.
    pub since: Timestamp,
    /// The boot of the node in which it began.
    pub boot_id: String,
    /// The value of the label that the set's `podward.dev/domain` names.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Why it failed, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Verdict>,
}

/// Why a turn, or a template, counts as failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Verdict {
    /// In a word: `ProgressDeadlineExceeded`, `BootLoop`.
    pub reason: String,
    /// In a sentence.
    pub message: String,
    /// When.
    pub at: Timestamp,
}

/// The last claim of a set: `fleet/queues/<ns>/<name>/claimed`. Whoever stood right behind that node is the head now, and may
/// go by what it counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Claimed {
    /// The revision that made the queue key under which it was.
    pub queue: i64,
    /// How many more may claim on the same count.
    pub more: usize,
    /// The revision of the set that the count was made for.
    pub set: i64,
}

/// That a template failed: `fleet/rollouts/<ns>/<name>/condemned/<hash>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condemned {
    /// The uid of the set: an older one of the same name condemned nothing.
    pub uid: String,
    /// The node that says so.
    pub node: String,
    /// Why.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// A node of the canary: `fleet/sets/<ns>/<name>/canary/<node>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// The template that its pod has; empty without a pod.
    pub hash: String,
}
