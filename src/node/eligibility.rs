//! Whether a set belongs on this node: may it start, may it go on, when is it evicted, and why.
//!
//! The reasons hold every clause that was looked at. The verdict is their conjunction: a pod may
//! start when every *deciding* reason holds, and may go on when only `NoSchedule` taints do not.

use std::fmt::Write as _;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};

use crate::node::affinity;
use crate::node::facts::Node;
use crate::node::taints;
use crate::node::tolerations::Tolerations;

/// The kinds of clauses; each reason carries one.
pub mod id {
    /// `nodeName` of the template against the node's name. Deciding.
    pub const NODE_NAME: &str = "node-name";
    /// One pair of `nodeSelector` against the labels. Deciding.
    pub const NODE_SELECTOR: &str = "node-selector";
    /// The required node affinity as a whole. Deciding.
    pub const NODE_AFFINITY: &str = "node-affinity";
    /// One term of it; another may match.
    pub const TERM: &str = "node-affinity-term";
    /// One of a term's `matchExpressions`.
    pub const EXPRESSION: &str = "match-expression";
    /// One of a term's `matchFields`.
    pub const FIELD: &str = "match-field";
    /// Nothing in the template asks for a particular node.
    pub const NO_CONSTRAINT: &str = "no-constraint";
    /// A `NoSchedule` or `NoExecute` taint against the tolerations. Deciding.
    pub const TAINT: &str = "taint";
    /// A `NoExecute` taint that is tolerated for a time only; the pod is evicted after it.
    pub const TAINT_FOR_A_TIME: &str = "taint-for-a-time";
    /// A taint with another effect, which never keeps a DaemonSet away.
    pub const IGNORED_TAINT: &str = "ignored-taint";
    /// The node has no taints.
    pub const NO_TAINTS: &str = "no-taints";
    /// The tolerations that every DaemonSet gets by itself.
    pub const AUTOMATIC_TOLERATIONS: &str = "automatic-tolerations";
}

/// How many reasons a refusal tells in its one line.
const TOLD: usize = 3;

/// One clause that was looked at, and which way it fell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The kind of clause, one of [`id`].
    pub id: &'static str,
    /// What the node has and what the clause wants.
    pub message: String,
    /// The field's path or the taint.
    pub clause: String,
    /// Whether the clause speaks for running here.
    pub holds: bool,
}

impl Reason {
    /// Whether the verdict hangs on this reason by itself; one term of several decides nothing.
    pub fn decides(&self) -> bool {
        [id::NODE_NAME, id::NODE_SELECTOR, id::NODE_AFFINITY, id::TAINT].contains(&self.id)
    }
}

/// The answer for one set on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether a pod may start here.
    pub should_run: bool,
    /// Whether a pod that runs here already may go on.
    pub should_continue: bool,
    /// After which time a `NoExecute` taint evicts a pod, counted from when the taints were seen;
    /// independent of the two answers above. `None`: never.
    pub evict_after: Option<Duration>,
    /// Every clause looked at, in the order of the template's fields, then of the taints.
    pub reasons: Vec<Reason>,
}

impl Verdict {
    /// Why no pod may start here, in one line; `None` when one may.
    pub fn refusal(&self) -> Option<String> {
        if self.should_run {
            return None;
        }
        let against: Vec<&str> = self
            .reasons
            .iter()
            .filter(|reason| reason.decides() && !reason.holds)
            .map(|reason| reason.message.as_str())
            .collect();
        let mut line = against[..against.len().min(TOLD)].join("; ");
        if against.len() > TOLD {
            let _ = write!(line, "; and {} more", against.len() - TOLD);
        }
        Some(line)
    }
}

/// Decides whether a template's pod belongs on the node, as the DaemonSet controller and the taint
/// manager of Kubernetes do. Resources, ports, conditions, preferences and pod affinity play no part.
pub fn eligibility(node: &Node, template: &PodTemplateSpec) -> Verdict {
    let nothing = PodSpec::default();
    let spec = template.spec.as_ref().unwrap_or(&nothing);
    let mut reasons = Vec::with_capacity(4);
    let placed = affinity::placed(node, spec, &mut reasons);
    let tolerated = taints::weigh(&node.taints, &Tolerations::of(spec), &mut reasons);
    Verdict {
        should_run: placed && tolerated.may_start,
        should_continue: placed && tolerated.may_continue,
        evict_after: tolerated.evict_after,
        reasons,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::node::properties::verdict;

    /// A node with taints and one label.
    fn node(taints: &Value) -> Value {
        json!({"metadata": {"name": "n1", "labels": {"disk": "hdd"}}, "spec": {"taints": taints}})
    }

    #[test]
    fn a_refusal_tells_the_deciding_reasons_in_one_line() {
        let term = |value: &str| json!({"matchExpressions": [{"key": "disk", "operator": "In", "values": [value]}]});
        let spec = json!({
            "nodeName": "n2", "nodeSelector": {"zone": "a"},
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                {"nodeSelectorTerms": [term("ssd"), term("nvme")]}}},
        });
        let verdict = verdict(&spec, &node(&json!([{"key": "t", "effect": "NoExecute"}])));
        assert_eq!(
            verdict.refusal().unwrap(),
            "nodeName wants \"n2\"; the node is \"n1\"; label zone is missing; nodeSelector wants \
             \"a\"; none of 2 terms of the required node affinity matches; the first: label disk is \
             \"hdd\"; misses In [\"ssd\"]; and 1 more"
        );
    }

    #[test]
    fn one_matching_term_leaves_the_misses_of_the_others_undecided() {
        let spec = json!({"affinity": {"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "gpu", "operator": "Exists"}]},
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]},
        ]}}}});
        let verdict = verdict(&spec, &node(&json!([])));
        assert_eq!(verdict.refusal(), None);
        let missed: Vec<_> = verdict.reasons.iter().filter(|r| !r.holds).map(|r| r.id).collect();
        assert_eq!(missed, [id::TERM, id::EXPRESSION]);
    }

    #[test]
    fn a_taint_says_which_toleration_met_or_nearly_met_it() {
        let message = |tolerations: Value, key: &str, effect: &str| {
            let taints = json!([{"key": key, "value": "x", "effect": effect}]);
            verdict(&json!({ "tolerations": tolerations }), &node(&taints)).reasons[1]
                .message
                .clone()
        };
        let not_ready = "node.kubernetes.io/not-ready";
        assert_eq!(
            message(json!([{"key": "a", "value": "y"}]), "a", "NoSchedule"),
            "taint a=x:NoSchedule is not tolerated: tolerations[0] is for value \"y\""
        );
        assert_eq!(
            message(json!([]), not_ready, "NoSchedule"),
            "taint node.kubernetes.io/not-ready=x:NoSchedule is not tolerated: the automatic \
             toleration of node.kubernetes.io/not-ready:NoExecute is for effect NoExecute only"
        );
        let own = json!([{"key": not_ready, "operator": "Exists", "effect": "NoExecute",
            "tolerationSeconds": 30}]);
        assert_eq!(
            message(own, not_ready, "NoExecute"),
            "taint node.kubernetes.io/not-ready=x:NoExecute is tolerated by the automatic toleration \
             in place of tolerations[0], whose tolerationSeconds 30 do not count"
        );
        assert_eq!(
            message(json!([{"operator": "Exists", "tolerationSeconds": 5}]), "a", "NoExecute"),
            "taint a=x:NoExecute is tolerated by tolerations[0] for 5 s, then a pod is evicted"
        );
    }
}
