//! `get` and `describe` over the fleet.

use std::io::{BufRead as _, BufReader};

use serde_json::{Value, json};

use crate::fleet::{Fleet, set};

/// The words of a line.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn the_fleet_is_shown_as_a_cluster_would_be() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.feed("apply -f -", &set("web", "r.io/a:1", "")).fine();
    for node in ["n1", "n2"] {
        fleet.node(node, &json!({"disk": "ssd"}), "");
        fleet.pod(node, "web", &format!("web-{node}"));
    }
    let shown = fleet.run("get ds -n x").fine();
    let row = shown.lines().nth(1).unwrap();
    assert_eq!(words(row)[..7], ["web", "2", "2", "2", "2", "2", "<none>"], "{shown}");
    fleet.remove("fleet/alive/n2");
    let shown = fleet.run("get ds -A").fine();
    assert_eq!(words(shown.lines().nth(1).unwrap())[..7], ["x", "web", "2", "2", "1", "2", "1"]);
    let shown = fleet.run("get nodes").fine();
    let states: Vec<_> = shown.lines().skip(1).map(|line| words(line)[1].to_owned()).collect();
    assert_eq!(states, ["Ready", "NotReady"], "{shown}");
    let shown = fleet.run("get pods -n x -o wide").fine();
    let rows: Vec<_> = shown.lines().skip(1).map(words).collect();
    assert_eq!((rows[0][1], rows[0][2], rows[0][6]), ("1/1", "Running", "n1"), "{shown}");
    assert_eq!((rows[1][1], rows[1][2], rows[1][6]), ("0/1", "NodeLost", "n2"), "{shown}");
    let one: Value = serde_json::from_str(&fleet.run("get ds web -n x -o json").fine()).unwrap();
    assert_eq!(one["status"]["numberReady"], 1);
    assert_eq!(one["status"]["observedGeneration"], 1);
    assert_eq!(one["spec"]["revisionHistoryLimit"], 10, "defaults are shown");
    assert!(one["metadata"]["resourceVersion"].is_string());
    // A node that should not run it any more, and still does.
    fleet.remove("fleet/sets/x/web/member/n1");
    let one: Value = serde_json::from_str(&fleet.run("get ds web -n x -o json").fine()).unwrap();
    assert_eq!(one["status"]["numberMisscheduled"], 1);
    assert_eq!(one["status"]["desiredNumberScheduled"], 1);
    fleet.pod("n1", "web", "web-n1");
    let names = fleet.run("get ds,pods -n x -o name").fine();
    assert_eq!(names, "daemonset.apps/web\npod/web-n1\npod/web-n2\n");
    let described = fleet.run("describe ds web -n x").fine();
    assert!(described.contains("Desired Number of Nodes Scheduled: 2"), "{described}");
    assert!(described.contains("2 Running / 0 Waiting"), "{described}");
    assert!(fleet.run("describe node n2").fine().contains("NodeStatusUnknown"));
    assert!(fleet.run("describe pod web-n1 -n x").fine().contains("n1/"));
}

#[test]
fn secrets_are_counted_and_shown_only_when_asked_for() {
    let Some(fleet) = Fleet::start() else { return };
    let objects = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: one, b: two}\n---\n\
                   apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: hush}\n";
    fleet.feed("apply -f -", objects).fine();
    let shown = fleet.run("get secrets").fine();
    assert_eq!(words(shown.lines().nth(1).unwrap())[..3], ["s", "Opaque", "1"], "{shown}");
    let shown = fleet.run("get secrets,cm -o wide").fine();
    assert!(!shown.contains("aHVzaA"), "{shown}");
    assert_eq!(words(shown.lines().last().unwrap())[..2], ["configmap/c", "2"], "{shown}");
    assert!(fleet.run("get secret s -o yaml").fine().contains("password: aHVzaA=="));
    assert_eq!(fleet.run("get secret/none").refused(), "error: secrets \"none\" not found\n");
    let said = fleet.run("describe secret s");
    assert_eq!(said.code, 2, "{said:?}");
    let error = fleet.run("get cm --local").refused();
    assert!(error.contains("no agent answers"), "{error}");
}

#[test]
fn a_watch_goes_on_with_each_change() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.node("n1", &json!({}), "");
    fleet.pod("n1", "web", "web-a");
    let mut watching = fleet.command("get pods -n x -w").spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    assert!(next().starts_with("NAME"));
    assert_eq!(words(&next())[..3], ["web-a", "1/1", "Running"]);
    fleet.pod("n1", "web", "web-b");
    assert_eq!(words(&next())[..3], ["web-b", "1/1", "Running"]);
    fleet.remove("fleet/alive/n1");
    assert_eq!(words(&next())[..3], ["web-a", "0/1", "NodeLost"]);
    assert_eq!(words(&next())[..3], ["web-b", "0/1", "NodeLost"]);
    watching.kill().unwrap();
    watching.wait().unwrap();
}

#[test]
fn events_are_shown_by_their_object() {
    let Some(fleet) = Fleet::start() else { return };
    let event = |name: &str, about: &str| {
        json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": "x"},
            "involvedObject": {"kind": "DaemonSet", "name": about, "namespace": "x"}, "reason": "SuccessfulCreate",
            "type": "Normal", "message": "made", "count": 1, "lastTimestamp": "2026-01-01T00:00:00Z"})
    };
    fleet.put("fleet/events/n1/e1", &event("e1", "web"));
    fleet.put("fleet/events/n2/e2", &event("e2", "other"));
    let shown = fleet.run("get events -n x --for ds/web").fine();
    assert_eq!(shown.lines().count(), 2, "{shown}");
    assert!(shown.contains("daemonset/web"), "{shown}");
}
