//! `rollout release` and `delete node`: turns that end without their holders.

use serde_json::json;

use crate::fleet::{Fleet, set};

/// A fleet of two nodes whose first is in its turn.
fn in_turn() -> Option<Fleet> {
    let fleet = Fleet::start()?;
    fleet.feed("apply -f -", &set("web", "r.io/a:1", "")).fine();
    fleet.feed("apply -f -", &set("web", "r.io/a:2", "")).fine();
    let (old, new) = (fleet.hash("web", 1), fleet.hash("web", 2));
    for node in ["n1", "n2"] {
        fleet.node(node, &json!({}), "");
        fleet.pod(node, "web", &format!("web-{node}"));
        fleet.put(&format!("fleet/sets/x/web/at/{old}/{node}"), &json!(""));
        fleet.put(&format!("fleet/sets/x/web/canary/{node}"), &json!({"hash": old}));
        fleet.put(&format!("fleet/sets/x/web/available/{node}"), &json!(old));
    }
    fleet.remove("fleet/sets/x/web/available/n1");
    let turn = json!({"kind": "replace", "from": old, "to": new, "since": "2026-01-01T00:00:00Z", "bootId": "b",
        "failed": {"reason": "ProgressDeadlineExceeded", "message": "late", "at": "2026-01-01T00:10:00Z"}});
    fleet.put("fleet/sets/x/web/turn/n1", &turn);
    Some(fleet)
}

/// The keys of a node below the sets.
fn keys_of(fleet: &Fleet, node: &str) -> Vec<String> {
    let keys = fleet.keys("fleet/sets/x/web/").into_iter();
    let mine = keys.filter(|key| key.ends_with(&format!("/{node}")));
    mine.map(|key| key.trim_start_matches("fleet/sets/x/web/").to_owned()).collect()
}

/// The revision that changed a key last.
fn changed(fleet: &Fleet, key: &str) -> i64 {
    let shown = fleet.etcd.ctl(&["get", "-w", "json", &format!("{}/{key}", crate::fleet::ROOT)]);
    let shown: serde_json::Value = serde_json::from_str(&shown.unwrap()).unwrap();
    shown["kvs"][0]["mod_revision"].as_i64().unwrap_or(0)
}

#[test]
fn a_living_node_loses_its_turn_only_and_its_session() {
    let Some(fleet) = in_turn() else { return };
    let (record, value) = (changed(&fleet, "fleet/nodes/n1"), fleet.value("fleet/nodes/n1"));
    let before = keys_of(&fleet, "n1").len();
    let out = fleet.run("rollout release ds/web n1 -n x").fine();
    assert!(out.starts_with("daemonset.apps/web released node n1\n"), "{out}");
    assert!(out.contains("its turn had failed (ProgressDeadlineExceeded)"), "{out}");
    assert!(out.contains("it is alive: it counts as unavailable"), "{out}");
    assert_eq!(keys_of(&fleet, "n1").len(), before - 1);
    assert!(fleet.keys("fleet/sets/x/web/turn/").is_empty());
    let now = changed(&fleet, "fleet/nodes/n1");
    assert!(now > record, "its record is written anew");
    assert_eq!(now, fleet.etcd.revision().unwrap(), "in the same transaction");
    assert_eq!(fleet.value("fleet/nodes/n1"), value);
    let error = fleet.run("rollout release ds/web n1 -n x").refused();
    assert!(error.contains("node n1 is not in its turn for daemonsets.apps \"web\""), "{error}");
    assert!(error.contains("hint: "), "{error}");
}

#[test]
fn a_node_without_a_sign_of_life_no_longer_counts() {
    let Some(fleet) = in_turn() else { return };
    fleet.remove("fleet/alive/n1");
    let out = fleet.run("rollout release ds/web node/n1 -n x").fine();
    assert!(out.contains("it no longer counts, and the others go on"), "{out}");
    assert_eq!(keys_of(&fleet, "n1"), Vec::<String>::new());
    assert_eq!(keys_of(&fleet, "n2").len(), 4, "the other's stay");
    assert_eq!(changed(&fleet, "fleet/nodes/n1"), fleet.etcd.revision().unwrap());
    let error = fleet.run("rollout release ds/web n1 -n x").refused();
    assert!(error.contains("the node does not run this set"), "{error}");
}

#[test]
fn what_cannot_be_released_is_refused() {
    let Some(fleet) = in_turn() else { return };
    let before = fleet.etcd.revision().unwrap();
    for line in ["rollout release ds/web n2 -n x", "rollout release ds/web n9 -n x"] {
        assert!(fleet.run(line).refused().contains("is not in its turn"), "{line}");
    }
    for line in
        ["rollout release ds/web", "rollout release pod/web n1", "rollout release ds/web pod/n1"]
    {
        assert_eq!(fleet.run(line).code, 2, "{line}");
    }
    assert_eq!(fleet.etcd.revision().unwrap(), before);
}

#[test]
fn a_deleted_node_leaves_no_turn_in_any_of_its_sets() {
    let Some(fleet) = in_turn() else { return };
    fleet.remove("fleet/alive/n1");
    // More sets than one transaction holds.
    for n in 0..60 {
        for part in ["member", "available", "turn"] {
            fleet.put(&format!("fleet/sets/x/s{n}/{part}/n1"), &json!({}));
        }
    }
    assert_eq!(fleet.run("delete node n1").fine(), "node \"n1\" deleted\n");
    let left = fleet.keys("fleet/");
    assert!(left.iter().all(|key| !key.ends_with("/n1")), "{left:?}");
    assert_eq!(keys_of(&fleet, "n2").len(), 4);
}

#[test]
fn a_deleted_set_takes_its_verdicts_along() {
    let Some(fleet) = in_turn() else { return };
    for gate in ["condemned", "baked", "baking"] {
        fleet.put(&format!("fleet/rollouts/x/web/{gate}/h"), &json!({}));
    }
    fleet.put("fleet/rollouts/x/web2/baked/h", &json!({}));
    fleet.run("delete ds web -n x --wait=false").fine();
    assert_eq!(fleet.keys("fleet/rollouts/"), ["fleet/rollouts/x/web2/baked/h"]);
}
