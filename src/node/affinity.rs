//! Where a template wants to be: `nodeName`, `nodeSelector` and required node affinity.
//!
//! Every clause is looked at, also after one has failed: an operator mends all of them at once.

use k8s_openapi::api::core::v1::{
    NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec,
};

use crate::node::eligibility::{Reason, id};
use crate::node::facts::Node;
use crate::node::requirement::{expression, field};

/// The path of the required node affinity.
const REQUIRED: &str =
    "spec.template.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution";

/// Whether the node is where the template wants to be.
pub fn placed(node: &Node, spec: &PodSpec, reasons: &mut Vec<Reason>) -> bool {
    let before = reasons.len();
    let named = node_name(node, spec, reasons);
    let selected = node_selector(node, spec, reasons);
    let attracted = match required(spec) {
        None => true,
        Some(selector) => affinity(node, selector, reasons),
    };
    if reasons.len() == before {
        reasons.push(Reason {
            id: id::NO_CONSTRAINT,
            message: "no nodeName, nodeSelector or required node affinity: any node will do".into(),
            clause: "spec.template.spec".into(),
            holds: true,
        });
    }
    named && selected && attracted
}

/// The required node affinity, where there is one.
fn required(spec: &PodSpec) -> Option<&NodeSelector> {
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    affinity.required_during_scheduling_ignored_during_execution.as_ref()
}

/// Holds `nodeName` against the node's name.
fn node_name(node: &Node, spec: &PodSpec, reasons: &mut Vec<Reason>) -> bool {
    let Some(wanted) = spec.node_name.as_deref().filter(|wanted| !wanted.is_empty()) else {
        return true;
    };
    let holds = wanted == node.name.as_str();
    reasons.push(Reason {
        id: id::NODE_NAME,
        message: format!("nodeName wants {wanted:?}; the node is {:?}", node.name.as_str()),
        clause: "spec.template.spec.nodeName".into(),
        holds,
    });
    holds
}

/// Holds each pair of `nodeSelector` against the labels: literally, legal or not.
fn node_selector(node: &Node, spec: &PodSpec, reasons: &mut Vec<Reason>) -> bool {
    let mut all = true;
    for (key, wanted) in spec.node_selector.iter().flatten() {
        let found = node.labels.get(key);
        let holds = found == Some(wanted);
        let message = match found {
            Some(found) => format!("label {key} is {found:?}; nodeSelector wants {wanted:?}"),
            None => format!("label {key} is missing; nodeSelector wants {wanted:?}"),
        };
        let clause = format!("spec.template.spec.nodeSelector[{key}]");
        reasons.push(Reason { id: id::NODE_SELECTOR, message, clause, holds });
        all &= holds;
    }
    all
}

/// Holds the required terms against the node: one that matches is enough.
fn affinity(node: &Node, selector: &NodeSelector, reasons: &mut Vec<Reason>) -> bool {
    let terms = &selector.node_selector_terms;
    // The block's own verdict comes first, its terms below it.
    let place = reasons.len();
    reasons.push(Reason {
        id: id::NODE_AFFINITY,
        message: String::new(),
        clause: REQUIRED.into(),
        holds: false,
    });
    let mut matching = None;
    let mut first_miss = None;
    for (index, one) in terms.iter().enumerate() {
        match term(node, index, one, reasons) {
            None => matching = matching.or(Some(index)),
            Some(miss) => first_miss = first_miss.or(Some(miss)),
        }
    }
    let message = match (matching, first_miss) {
        (Some(index), _) => format!("nodeSelectorTerms[{index}] matches"),
        (None, None) => "required node affinity without terms matches no node".into(),
        (None, Some(miss)) if terms.len() == 1 => format!("required node affinity: {miss}"),
        (None, Some(miss)) => {
            format!(
                "none of {} terms of the required node affinity matches; the first: {miss}",
                terms.len()
            )
        }
    };
    reasons[place].message = message;
    reasons[place].holds = matching.is_some();
    matching.is_some()
}

/// Holds one term against the node; gives why it does not match, `None` when it does.
fn term(
    node: &Node,
    index: usize,
    term: &NodeSelectorTerm,
    reasons: &mut Vec<Reason>,
) -> Option<String> {
    let clause = format!("{REQUIRED}.nodeSelectorTerms[{index}]");
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let findings = numbered(expressions, "matchExpressions", id::EXPRESSION)
        .map(|(list, id, position, wanted)| (list, id, position, expression(wanted, &node.labels)))
        .chain(numbered(fields, "matchFields", id::FIELD).map(|(list, id, position, wanted)| {
            (list, id, position, field(wanted, node.name.as_str()))
        }));
    let place = reasons.len();
    reasons.push(Reason { id: id::TERM, message: String::new(), clause, holds: false });
    let mut miss: Option<(bool, String)> = None;
    for (list, id, position, finding) in findings {
        // One unreadable requirement spoils the term before anything is compared.
        let told = miss.as_ref().is_some_and(|(readable, _)| !readable || finding.readable);
        if !finding.holds && !told {
            miss = Some((finding.readable, finding.message.clone()));
        }
        let clause = format!("{}.{list}[{position}]", reasons[place].clause);
        reasons.push(Reason { id, message: finding.message, clause, holds: finding.holds });
    }
    let miss = match miss {
        _ if expressions.is_empty() && fields.is_empty() => {
            Some("an empty term matches no node".into())
        }
        other => other.map(|(_, message)| message),
    };
    reasons[place].holds = miss.is_none();
    reasons[place].message = match &miss {
        None => "every requirement of the term is met".into(),
        Some(miss) => miss.clone(),
    };
    miss
}

/// The requirements of one list with the list's name, the id of its reasons and their places.
fn numbered<'a>(
    requirements: &'a [NodeSelectorRequirement],
    list: &'static str,
    id: &'static str,
) -> impl Iterator<Item = (&'static str, &'static str, usize, &'a NodeSelectorRequirement)> {
    requirements.iter().enumerate().map(move |(position, wanted)| (list, id, position, wanted))
}
