//! A verdict as `podward why -o json` prints it.

use serde::{Deserialize, Serialize};

use crate::node::eligibility::Verdict;

/// The answer for one set on one node, in the form that goes over the control socket and to scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `namespace/name` of the set.
    pub set: String,
    /// The node's name.
    pub node: String,
    /// Whether a pod may start here.
    pub should_run: bool,
    /// Whether a pod that runs here already may go on.
    pub should_continue: bool,
    /// After how many seconds a `NoExecute` taint evicts a pod; null for never.
    pub evict_after_seconds: Option<u64>,
    /// Every clause looked at.
    pub reasons: Vec<ReportedReason>,
}

/// One clause that was looked at, and which way it fell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedReason {
    /// The kind of clause.
    pub id: String,
    /// What the node has and what the clause wants.
    pub message: String,
    /// The field's path or the taint.
    pub clause: String,
    /// Whether the clause speaks for running here.
    pub holds: bool,
}

impl Report {
    /// The report of a verdict; `set` is `namespace/name`.
    pub fn of(set: &str, node: &str, verdict: &Verdict) -> Self {
        Self {
            set: set.to_owned(),
            node: node.to_owned(),
            should_run: verdict.should_run,
            should_continue: verdict.should_continue,
            evict_after_seconds: verdict.evict_after.map(|after| after.as_secs()),
            reasons: verdict
                .reasons
                .iter()
                .map(|reason| ReportedReason {
                    id: reason.id.to_owned(),
                    message: reason.message.clone(),
                    clause: reason.clause.clone(),
                    holds: reason.holds,
                })
                .collect(),
        }
    }
}

/// The report of a verdict as a JSON object.
pub fn report(set: &str, node: &str, verdict: &Verdict) -> serde_json::Value {
    serde_json::to_value(Report::of(set, node, verdict))
        .expect("texts, numbers and lists are always JSON")
}
