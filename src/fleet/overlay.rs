//! What operators lay over a node's own labels and taints, and what a node does not let them change.

use k8s_openapi::api::core::v1::Taint;

use crate::node::{
    Node,
    syntax::{key_problem, value_problem},
};

use super::records::NodeOverlay;

/// The annotation of a node's record that names, between commas, what the overlay may not change there.
pub const PROTECTED: &str = "podward.dev/protected";
/// The taint of a cordoned node.
pub const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// What a taint may do.
pub const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
/// What a node knows better than any operator.
const OWN: [&str; 3] = ["kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch"];

/// Whether a label or taint is the node's own affair.
pub fn is_protected(key: &str, protected: &[String]) -> bool {
    let own = key.strip_prefix("beta.").unwrap_or(key);
    OWN.contains(&own) || protected.iter().any(|known| known == key)
}

/// Whether taints say that the node is cordoned.
pub fn is_cordoned(taints: &[Taint]) -> bool {
    taints.iter().any(|taint| taint.key == UNSCHEDULABLE && taint.effect == "NoSchedule")
}

/// The key and the effect of an overlay's taint, which is written `key:Effect`.
pub fn key_and_effect(taint: &str) -> Option<(&str, &str)> {
    let (key, effect) = taint.rsplit_once(':')?;
    EFFECTS.contains(&effect).then_some((key, effect))
}

/// The node under its overlay, and the keys of what is refused there: what is protected, and what no label or taint
/// can be. A refused key changes nothing; the others do.
pub fn lay_over(node: &Node, overlay: &NodeOverlay, protected: &[String]) -> (Node, Vec<String>) {
    let (mut node, mut refused) = (node.clone(), Vec::new());
    for (key, value) in &overlay.labels {
        let legal = key_problem(key).is_none()
            && value.as_deref().and_then(value_problem).is_none()
            && !is_protected(key, protected);
        match value {
            _ if !legal => refused.push(key.clone()),
            Some(value) => {
                node.labels.insert(key.clone(), value.clone());
            }
            None => {
                node.labels.remove(key);
            }
        }
    }
    for (name, value) in &overlay.taints {
        let legal = key_and_effect(name).filter(|(key, _)| {
            key_problem(key).is_none()
                && value.as_deref().and_then(value_problem).is_none()
                && !is_protected(key, protected)
        });
        match legal {
            Some((key, effect)) => lay_taint(&mut node.taints, key, effect, value.as_deref()),
            None => refused.push(name.clone()),
        }
    }
    if overlay.unschedulable {
        if is_protected(UNSCHEDULABLE, protected) {
            refused.push(UNSCHEDULABLE.to_owned());
        } else {
            lay_taint(&mut node.taints, UNSCHEDULABLE, "NoSchedule", Some(""));
        }
    }
    refused.dedup();
    (node, refused)
}

/// Puts one taint in its place, or takes it away.
fn lay_taint(taints: &mut Vec<Taint>, key: &str, effect: &str, value: Option<&str>) {
    let place = taints.iter().position(|taint| taint.key == key && taint.effect == effect);
    let taint = value.map(|value| Taint {
        key: key.to_owned(),
        effect: effect.to_owned(),
        value: Some(value.to_owned()).filter(|value| !value.is_empty()),
        time_added: None,
    });
    match (place, taint) {
        (Some(place), Some(taint)) => taints[place] = taint,
        (Some(place), None) => {
            taints.remove(place);
        }
        (None, Some(taint)) => taints.push(taint),
        (None, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use crate::base::ids::NodeName;

    use super::*;

    /// A node with the label disk=hdd, its hostname, and the taint dedicated=db:NoSchedule.
    fn node() -> Node {
        let labels = [("disk", "hdd"), ("kubernetes.io/hostname", "n1")];
        Node {
            name: NodeName::new("n1"),
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            taints: vec![Taint {
                key: "dedicated".into(),
                value: Some("db".into()),
                effect: "NoSchedule".into(),
                time_added: None,
            }],
        }
    }

    /// Labels as pairs and taints as kubectl writes them, under an overlay; then what is refused.
    fn laid(overlay: Value, protected: &[&str]) -> (Vec<String>, Vec<String>, Vec<String>) {
        let overlay: NodeOverlay = serde_json::from_value(overlay).unwrap();
        let protected: Vec<String> = protected.iter().map(ToString::to_string).collect();
        let (node, refused) = lay_over(&node(), &overlay, &protected);
        let labels = node.labels.iter().map(|(key, value)| format!("{key}={value}"));
        let taints = node.taints.iter().map(|taint| {
            let value = taint.value.as_deref().map(|value| format!("={value}"));
            format!("{}{}:{}", taint.key, value.unwrap_or_default(), taint.effect)
        });
        (labels.collect(), taints.collect(), refused)
    }

    const HOST: &str = "kubernetes.io/hostname=n1";
    const TAINT: &str = "dedicated=db:NoSchedule";

    #[test]
    fn an_overlay_adds_changes_and_takes_away() {
        for (overlay, labels, taints) in [
            (json!({}), vec!["disk=hdd", HOST], vec![TAINT]),
            (
                json!({"labels": {"disk": "ssd", "zone": ""}}),
                vec!["disk=ssd", HOST, "zone="],
                vec![TAINT],
            ),
            (json!({"labels": {"disk": null, "none": null}}), vec![HOST], vec![TAINT]),
            (json!({"taints": {"dedicated:NoSchedule": null}}), vec!["disk=hdd", HOST], vec![]),
            (
                json!({"taints": {"dedicated:NoSchedule": "", "a/b:NoExecute": "x"}}),
                vec!["disk=hdd", HOST],
                vec!["dedicated:NoSchedule", "a/b=x:NoExecute"],
            ),
            (
                json!({"taints": {"dedicated:NoExecute": "db"}}),
                vec!["disk=hdd", HOST],
                vec!["dedicated=db:NoExecute", TAINT],
            ),
        ] {
            let (found, mut tainted, refused) = laid(overlay.clone(), &[]);
            tainted.sort_unstable();
            let mut taints: Vec<String> = taints.into_iter().map(str::to_owned).collect();
            taints.sort_unstable();
            assert_eq!((found, tainted), (labels.into_iter().map(str::to_owned).collect(), taints));
            assert!(refused.is_empty(), "{overlay}");
        }
    }

    #[test]
    fn what_is_protected_or_no_key_is_refused_and_the_rest_is_laid() {
        let overlay = json!({
            "labels": {"kubernetes.io/hostname": "n2", "beta.kubernetes.io/os": null, "-x": "y", "disk": "ssd",
                "rack": "1", "bad": "a/b"},
            "taints": {"dedicated:NoSchedule": null, "nonsense": "", "x:Never": "", "y:NoExecute": ""},
        });
        let (labels, taints, refused) = laid(overlay, &["disk", "dedicated"]);
        assert_eq!(labels, ["disk=hdd", HOST, "rack=1"]);
        assert_eq!(taints, [TAINT, "y:NoExecute"]);
        assert_eq!(
            refused,
            [
                "-x",
                "bad",
                "beta.kubernetes.io/os",
                "disk",
                "kubernetes.io/hostname",
                "dedicated:NoSchedule",
                "nonsense",
                "x:Never"
            ]
        );
    }

    #[test]
    fn a_cordon_is_a_taint() {
        let (_, taints, refused) = laid(json!({"unschedulable": true}), &[]);
        assert_eq!(taints, [TAINT, "node.kubernetes.io/unschedulable:NoSchedule"]);
        assert!(refused.is_empty());
        let overlay = NodeOverlay { unschedulable: true, ..NodeOverlay::default() };
        assert!(is_cordoned(&lay_over(&node(), &overlay, &[]).0.taints));
        assert!(!is_cordoned(&node().taints));
        let (_, taints, refused) = laid(json!({"unschedulable": true}), &[UNSCHEDULABLE]);
        assert_eq!((taints, refused), (vec![TAINT.to_owned()], vec![UNSCHEDULABLE.to_owned()]));
    }

    #[test]
    fn the_same_overlay_twice_is_the_same_node() {
        let overlay = NodeOverlay {
            labels: BTreeMap::from([("a".into(), Some("b".into()))]),
            taints: BTreeMap::from([("c:NoExecute".into(), Some("d".into()))]),
            unschedulable: true,
            ..NodeOverlay::default()
        };
        let once = lay_over(&node(), &overlay, &[]).0;
        assert_eq!(lay_over(&once, &overlay, &[]).0, once);
    }
}
