//! What the store's keys mean: tables of keys in, readings out.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use crate::base::ids::{NodeName, SetKey};
use crate::source::merge::merge;
use crate::spec::FieldValidation;
use crate::store::{Change, Keys, Kv};

use super::store_view::{Known, View};

/// A set as an operator's verb writes it.
fn set(name: &str, generation: i64, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": "default", "uid": name, "generation": generation},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"hostNetwork": true, "containers": [{"name": "c", "image": image}]}}}
    })
}

fn keys() -> Keys {
    Keys::new("/podward", "default")
}

fn key(name: &str) -> SetKey {
    SetKey::new("default", name)
}

fn kv(key: String, value: &Value) -> Kv {
    Kv { key, value: value.to_string().into_bytes(), create_revision: 1, mod_revision: 1, lease: 0 }
}

fn set_kv(name: &str, generation: i64) -> Kv {
    kv(keys().set(&key(name)), &set(name, generation, "busybox:1"))
}

fn tombstone_kv(name: &str, generation: i64) -> Kv {
    let value = json!({"name": format!("daemonsets/default/{name}"), "generation": generation, "deleted": "2026-01-01T00:00:00Z"});
    kv(keys().set_tombstone(&key(name)), &value)
}

fn view(known: &[(&str, i64)]) -> View {
    let known = known.iter().map(|(name, generation)| {
        let known = Known { uid: (*name).to_owned(), generation: *generation, created: None };
        (format!("etcd:{}", keys().set(&key(name))), known)
    });
    View::new(
        keys(),
        NodeName::new("n1"),
        FieldValidation::Strict,
        Arc::new(|_, value| Ok(value.to_vec())),
        known.collect(),
        None,
    )
}

/// What a node that runs `before` wants after it saw the view, and how many faults it is told.
fn wanted(view: &View, before: &[(&str, i64)]) -> (Vec<String>, usize) {
    let mut old = self::view(&[]);
    old.list(
        &before.iter().map(|(name, generation)| set_kv(name, *generation)).collect::<Vec<_>>(),
    );
    let none = BTreeMap::new();
    let before = merge(&[&old.reading()], &BTreeMap::new(), &none).sets;
    let merged = merge(&[&view.reading()], &before, &none);
    (merged.sets.keys().map(|key| key.name.clone()).collect(), merged.faults.len())
}

#[test]
fn a_key_that_is_gone_goes_on_until_a_tombstone_says_that_it_is_deleted() {
    let mut view = view(&[]);
    view.list(&[set_kv("a", 1), set_kv("b", 1)]);
    let both = [("a", 1), ("b", 1)];
    assert_eq!(wanted(&view, &both), (vec!["a".into(), "b".into()], 0));
    view.change(&[Change::Delete(keys().set(&key("a")), 9)]);
    assert!(view.has_lost());
    assert_eq!(wanted(&view, &both), (vec!["a".into(), "b".into()], 1));
    view.change(&[Change::Put(tombstone_kv("a", 1))]);
    assert!(!view.has_lost());
    assert_eq!(wanted(&view, &both), (vec!["b".into()], 0));
}

#[test]
fn a_set_of_the_snapshot_that_the_store_has_no_more_goes_on() {
    let mut view = view(&[("a", 3), ("b", 1)]);
    view.list(&[set_kv("b", 1)]);
    assert_eq!(wanted(&view, &[("a", 3), ("b", 1)]), (vec!["a".into(), "b".into()], 1));
}

#[test]
fn a_store_with_nothing_left_is_named_once_and_deletes_nothing() {
    let mut view = view(&[("a", 3), ("b", 1)]);
    view.list(&[]);
    assert!(view.is_empty());
    assert_eq!(wanted(&view, &[("a", 3), ("b", 1)]), (vec!["a".into(), "b".into()], 1));
    assert!(view.empty_fault().unwrap().to_string().contains("SourceEmpty"));
    view.change(&[Change::Put(tombstone_kv("a", 3))]);
    assert_eq!(
        wanted(&view, &[("a", 3), ("b", 1)]),
        (vec!["b".into()], 1),
        "one is deleted all the same"
    );
}

#[test]
fn a_store_that_never_had_anything_is_no_fault() {
    let mut view = view(&[]);
    view.list(&[]);
    assert!(!view.is_empty());
    assert_eq!(wanted(&view, &[]), (vec![], 0));
}

#[test]
fn an_older_generation_is_refused_and_a_new_uid_is_a_new_set() {
    let mut view = view(&[("a", 3)]);
    view.list(&[set_kv("a", 2)]);
    let (sets, faults) = wanted(&view, &[("a", 3)]);
    assert_eq!((sets, faults), (vec!["a".into()], 1));
    assert!(
        view.reading().files.values().next().unwrap().faults[0]
            .problem
            .starts_with("StoreRegressed")
    );
    let mut other = set("a", 1, "busybox:2");
    other["metadata"]["uid"] = json!("another");
    view.change(&[Change::Put(kv(keys().set(&key("a")), &other))]);
    assert_eq!(wanted(&view, &[("a", 3)]), (vec!["a".into()], 0));
}

#[test]
fn an_old_tombstone_does_not_delete_what_was_applied_after_it() {
    let mut view = view(&[("a", 5)]);
    view.list(&[tombstone_kv("a", 4)]);
    assert_eq!(wanted(&view, &[("a", 5)]), (vec!["a".into()], 1));
}

#[test]
fn after_an_operators_word_the_store_is_believed_as_it_is() {
    let mut view = view(&[("a", 5), ("b", 1)]);
    view.accept();
    view.list(&[set_kv("a", 2)]);
    assert_eq!(wanted(&view, &[("a", 5), ("b", 1)]), (vec!["a".into()], 0));
    view.change(&[Change::Delete(keys().set(&key("a")), 9)]);
    assert!(view.is_empty(), "from then on a loss is a loss again");
}

#[test]
fn a_value_under_another_name_than_its_own_is_refused() {
    let mut view = view(&[]);
    view.list(&[kv(keys().set(&key("a")), &set("b", 1, "busybox:1"))]);
    assert_eq!(wanted(&view, &[]), (vec![], 1));
    let mut moved = tombstone_kv("b", 1);
    moved.key = keys().set_tombstone(&key("a"));
    view.list(&[set_kv("a", 1)]);
    view.change(&[Change::Put(moved), Change::Delete(keys().set(&key("a")), 3)]);
    assert!(view.has_lost(), "a tombstone of something else deletes nothing");
    assert_eq!(view.faults().count(), 1);
}

#[test]
fn a_value_that_is_no_object_keeps_what_it_brought() {
    let mut view = view(&[("a", 1)]);
    let mut torn = set_kv("a", 1);
    torn.value.truncate(40);
    view.list(&[torn]);
    let (sets, faults) = wanted(&view, &[("a", 1)]);
    assert_eq!(sets, ["a"]);
    assert!(faults > 0);
}

#[test]
fn only_this_nodes_overlay_and_pods_are_taken() {
    let mut view = view(&[]);
    let overlay = json!({"node": "n1", "generation": 1, "labels": {"disk": "ssd", "old": null}});
    let (own, other) = (NodeName::new("n1"), NodeName::new("n2"));
    let stone = |node: &NodeName, uid: &str| {
        let value =
            json!({"name": format!("pods/{node}/{uid}"), "deleted": "2026-01-01T00:00:00Z"});
        kv(keys().pod_tombstone(node, uid), &value)
    };
    view.list(&[kv(keys().node_overlay(&own), &overlay), stone(&own, "u1"), stone(&other, "u2")]);
    assert_eq!(view.overlay.as_ref().unwrap().labels["disk"].as_deref(), Some("ssd"));
    assert_eq!(view.pods.keys().collect::<Vec<_>>(), ["u1"]);
    let stray = json!({"node": "n2", "generation": 2, "labels": {"disk": "hdd"}});
    view.change(&[Change::Put(kv(keys().node_overlay(&own), &stray))]);
    assert_eq!(view.overlay.as_ref().unwrap().labels["disk"].as_deref(), Some("ssd"));
    assert_eq!(view.faults().count(), 1, "what is meant for another node is refused");
}

#[test]
fn an_overlay_that_is_gone_or_older_changes_nothing_until_an_operator_says_so() {
    let node = NodeName::new("n1");
    let overlay = |generation: i64| {
        let value = json!({"node": "n1", "generation": generation, "labels": {"disk": "ssd"}});
        kv(keys().node_overlay(&node), &value)
    };
    let mut view = view(&[]);
    view.list(&[overlay(3)]);
    let laid = view.overlay.clone();
    assert!(laid.is_some());
    view.change(&[Change::Delete(keys().node_overlay(&node), 9)]);
    assert_eq!(view.overlay, laid);
    view.list(&[]);
    assert_eq!(view.overlay, laid, "a store with nothing left takes no label away");
    view.list(&[overlay(2)]);
    assert_eq!(view.overlay, laid);
    assert!(view.faults().next().unwrap().to_string().contains("StoreRegressed"));
    view.accept();
    view.list(&[overlay(2)]);
    assert_eq!(view.overlay.as_ref().unwrap().generation, 2);
    view.accept();
    view.list(&[]);
    assert_eq!(view.overlay, None);
}
