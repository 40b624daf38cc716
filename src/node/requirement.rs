//! One requirement of a node selector term: read as Kubernetes reads it, then held against the node.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::api::core::v1::NodeSelectorRequirement;

use crate::node::syntax::{key_problem, value_problem};

/// The only field of a node that `matchFields` can see.
const NAME_FIELD: &str = "metadata.name";
/// How many values of a long list a message shows.
const SHOWN_VALUES: usize = 8;

/// What one requirement says of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether the node meets it; never when it cannot be read.
    pub holds: bool,
    /// Whether it can be read; if not, its whole term matches nothing.
    pub readable: bool,
    /// What the node has and what is wanted.
    pub message: String,
}

impl Finding {
    /// A requirement that cannot be read.
    fn unreadable(problem: &str) -> Self {
        let message = format!("{problem}: a term with such a requirement matches no node");
        Self { holds: false, readable: false, message }
    }
}

/// Holds one of `matchExpressions` against the node's labels.
pub fn expression(wanted: &NodeSelectorRequirement, labels: &BTreeMap<String, String>) -> Finding {
    if let Some(problem) = expression_problem(wanted) {
        return Finding::unreadable(&problem);
    }
    let found = labels.get(&wanted.key).map(String::as_str);
    let values = values(wanted);
    let holds = match wanted.operator.as_str() {
        "In" => found.is_some_and(|label| values.iter().any(|value| value == label)),
        "NotIn" => found.is_none_or(|label| values.iter().all(|value| value != label)),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => beyond(found, &values[0]).is_some_and(|(label, bound)| label > bound),
        "Lt" => beyond(found, &values[0]).is_some_and(|(label, bound)| label < bound),
        other => unreachable!("`{other}` was refused as unreadable above"),
    };
    let has = match found {
        Some(label) => format!("label {} is {label:?}", wanted.key),
        None => format!("label {} is missing", wanted.key),
    };
    let hint = match (wanted.operator.as_str(), found) {
        ("Gt" | "Lt", Some(label)) if integer(label).is_none() => ", which is no integer",
        _ => "",
    };
    let message =
        format!("{has}{hint}; {} {}", if holds { "meets" } else { "misses" }, phrase(wanted));
    Finding { holds, readable: true, message }
}

/// Holds one of `matchFields` against the node's name.
pub fn field(wanted: &NodeSelectorRequirement, node_name: &str) -> Finding {
    let ([value], "In" | "NotIn") = (values(wanted), wanted.operator.as_str()) else {
        let problem =
            format!("matchFields takes In or NotIn with one value, not {}", phrase(wanted));
        return Finding::unreadable(&problem);
    };
    // A field that nobody knows reads as empty text.
    let found = if wanted.key == NAME_FIELD { node_name } else { "" };
    let holds = (found == value) == (wanted.operator == "In");
    let message = format!(
        "field {} is {found:?}; {} {}",
        wanted.key,
        if holds { "meets" } else { "misses" },
        phrase(wanted)
    );
    Finding { holds, readable: true, message }
}

/// Why an expression cannot be read; `None` when it can.
fn expression_problem(wanted: &NodeSelectorRequirement) -> Option<String> {
    let values = values(wanted);
    let operator = wanted.operator.as_str();
    match operator {
        "In" | "NotIn" if values.is_empty() => return Some(format!("{operator} needs values")),
        "In" | "NotIn" => {}
        "Exists" | "DoesNotExist" if values.is_empty() => {}
        "Exists" | "DoesNotExist" => return Some(format!("{operator} takes no values")),
        "Gt" | "Lt" => match values {
            [value] if integer(value).is_some() => {}
            _ => {
                return Some(format!("{operator} takes one integer, not {}", list(values)));
            }
        },
        other => {
            return Some(format!(
                "operator {other:?} is none of In, NotIn, Exists, DoesNotExist, Gt, Lt"
            ));
        }
    }
    if let Some(problem) = key_problem(&wanted.key) {
        return Some(format!("key {:?} is no label key ({problem})", wanted.key));
    }
    values.iter().find_map(|value| {
        value_problem(value).map(|problem| format!("{value:?} is no label value ({problem})"))
    })
}

/// The label and the bound as integers, when both are.
fn beyond(label: Option<&str>, bound: &str) -> Option<(i64, i64)> {
    Some((integer(label?)?, integer(bound)?))
}

/// A decimal 64-bit integer: a sign and leading zeros are fine, blanks and `_` are not. Rust's rules
/// are those of Go's `strconv.ParseInt(text, 10, 64)`.
fn integer(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// The values; an absent list is an empty one.
fn values(wanted: &NodeSelectorRequirement) -> &[String] {
    wanted.values.as_deref().unwrap_or_default()
}

/// Operator and values as an operator reads them.
fn phrase(wanted: &NodeSelectorRequirement) -> String {
    match values(wanted) {
        [] => wanted.operator.clone(),
        [value] if matches!(wanted.operator.as_str(), "Gt" | "Lt") => {
            format!("{} {value:?}", wanted.operator)
        }
        values => format!("{} {}", wanted.operator, list(values)),
    }
}

/// A list of values, the end of a long one left out.
fn list(values: &[String]) -> String {
    let shown = &values[..values.len().min(SHOWN_VALUES)];
    let mut text = format!("{shown:?}");
    if values.len() > SHOWN_VALUES {
        text.truncate(text.len() - 1);
        let _ = write!(text, ", and {} more]", values.len() - SHOWN_VALUES);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A requirement from its three parts.
    fn wants(key: &str, operator: &str, values: &[&str]) -> NodeSelectorRequirement {
        let values = values.iter().map(|&value| value.to_owned()).collect();
        NodeSelectorRequirement { key: key.into(), operator: operator.into(), values: Some(values) }
    }

    #[test]
    fn a_message_holds_what_the_node_has_and_what_is_wanted() {
        let labels = BTreeMap::from([
            ("disk".to_owned(), "hdd".to_owned()),
            ("cpus".to_owned(), "many".to_owned()),
        ]);
        let message = |wanted| expression(&wanted, &labels).message;
        assert_eq!(
            message(wants("disk", "In", &["ssd", "nvme"])),
            r#"label disk is "hdd"; misses In ["ssd", "nvme"]"#
        );
        assert_eq!(
            message(wants("gpu", "DoesNotExist", &[])),
            "label gpu is missing; meets DoesNotExist"
        );
        assert_eq!(
            message(wants("cpus", "Gt", &["4"])),
            r#"label cpus is "many", which is no integer; misses Gt "4""#
        );
        assert_eq!(
            field(&wants("metadata.name", "In", &["n2"]), "n1").message,
            r#"field metadata.name is "n1"; misses In ["n2"]"#
        );
    }

    #[test]
    fn a_requirement_that_cannot_be_read_says_why() {
        let labels = BTreeMap::new();
        for (wanted, why) in [
            (wants("a", "in", &["b"]), "operator \"in\" is none of"),
            (wants("a", "In", &[]), "In needs values"),
            (wants("a", "Exists", &["b"]), "Exists takes no values"),
            (wants("a", "Gt", &["1", "2"]), "Gt takes one integer, not [\"1\", \"2\"]"),
            (wants("a", "Lt", &["-1"]), "\"-1\" is no label value"),
            (wants("a b", "Exists", &[]), "key \"a b\" is no label key"),
        ] {
            let finding = expression(&wanted, &labels);
            assert!(!finding.readable && !finding.holds);
            assert!(finding.message.starts_with(why), "{}", finding.message);
        }
    }

    #[test]
    fn a_long_list_is_shortened() {
        let many: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        assert!(list(&many).ends_with(r#""7", and 12 more]"#));
    }
}
