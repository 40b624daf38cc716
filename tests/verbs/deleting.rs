//! `delete`: tombstones, waiting, and what a host left.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::fleet::{Fleet, said, set};

#[test]
fn a_deleted_set_leaves_a_tombstone_and_the_command_waits_for_its_pods() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.file("web.yaml", &set("web", "r.io/a:1", ""));
    fleet.run("apply -f {web.yaml}").fine();
    for node in ["n1", "n2"] {
        fleet.node(node, &json!({}), "");
        fleet.pod(node, "web", &format!("web-{node}"));
    }
    fleet.remove("fleet/alive/n2");
    for beside in ["fleet/rollouts/x/web/condemned/h", "fleet/queues/x/web/entered"] {
        fleet.put(beside, &json!("n1"));
    }
    let running = fleet.command("delete ds web -n x").spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while fleet.keys("spec/tombstones/").is_empty() {
        assert!(Instant::now() < until, "no tombstone");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(fleet.keys("spec/daemonsets/").is_empty());
    for gone in ["spec/revisions/", "fleet/rollouts/", "fleet/queues/"] {
        assert!(fleet.keys(gone).is_empty(), "{gone}");
    }
    let tombstone = fleet.value("spec/tombstones/daemonsets/x/web");
    assert_eq!(tombstone["name"], "daemonsets/x/web");
    assert_eq!(tombstone["generation"], 2, "above every generation of the set");
    std::thread::sleep(Duration::from_millis(300));
    fleet.remove("fleet/pods/n1/x/web-n1");
    std::thread::sleep(Duration::from_millis(300));
    fleet.remove("fleet/pods/n2/x/web-n2");
    let said = said(running);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(said.out, "daemonset.apps \"web\" deleted from x namespace\n");
    assert!(said.err.contains("waiting for 2 pods on n1; n2: no sign of life"), "{}", said.err);
    assert!(said.err.contains("waiting for 1 pod; n2: no sign of life"), "{}", said.err);

    // Applied again it is another set, with a generation that no node takes for an old one.
    assert_eq!(fleet.run("apply -f {web.yaml}").fine(), "daemonset.apps/web created\n");
    assert!(fleet.keys("spec/tombstones/").is_empty());
    assert_eq!(fleet.value("spec/daemonsets/x/web")["metadata"]["generation"], 3);
    assert_eq!(
        fleet.run("delete -f {web.yaml} --wait=false").fine(),
        "daemonset.apps \"web\" deleted from x namespace\n"
    );
}

#[test]
fn waiting_ends_with_the_timeout_and_says_what_is_left() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.feed("apply -f -", &set("web", "r.io/a:1", "")).fine();
    fleet.node("n1", &json!({}), "");
    fleet.pod("n1", "web", "web-n1");
    let error = fleet.run("delete ds web -n x --timeout=500ms").refused();
    assert!(
        error.contains("timed out waiting for daemonset.apps/web: waiting for 1 pod on n1"),
        "{error}"
    );
    // The tombstone stands: the command may be run again, to wait.
    let error = fleet.run("delete ds web -n x --timeout=300ms").refused();
    assert!(error.contains("timed out"), "{error}");
    fleet.remove("fleet/pods/n1/x/web-n1");
    let error = fleet.run("delete ds web -n x").refused();
    assert_eq!(error, "error: daemonsets.apps \"web\" not found in namespace \"x\"\n");
    assert_eq!(fleet.run("delete ds web -n x --ignore-not-found").fine(), "");
}

#[test]
fn a_set_whose_key_is_lost_but_that_nodes_run_can_be_deleted() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.node("n1", &json!({}), "");
    fleet.pod("n1", "lost", "lost-n1");
    let out = fleet.run("delete ds lost -n x --wait=false").fine();
    assert_eq!(out, "daemonset.apps \"lost\" deleted from x namespace\n");
    let tombstone = fleet.value("spec/tombstones/daemonsets/x/lost");
    assert_eq!(tombstone["generation"], 2, "above what the node has seen");
    assert_eq!(tombstone["uid"], "u");
}

#[test]
fn objects_and_several_at_once_are_deleted() {
    let Some(fleet) = Fleet::start() else { return };
    let objects = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: x}\n---\n\
                   apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: x}\n";
    fleet.feed("apply -f -", objects).fine();
    let said = fleet.run("delete cm/c cm/none secret/s -n x");
    assert_eq!(
        said.out,
        "configmap \"c\" deleted from x namespace\nsecret \"s\" deleted from x namespace\n"
    );
    assert_eq!(said.refused(), "error: configmaps \"none\" not found in namespace \"x\"\n");
    assert_eq!(
        fleet.keys("spec/"),
        ["spec/tombstones/configmaps/x/c", "spec/tombstones/secrets/x/s"]
    );
    for (line, problem) in [
        ("delete", "name what to delete"),
        ("delete ds", "name the daemonset.apps to delete"),
        ("delete events x", "events and revisions go by themselves"),
        ("delete ds x -f -", "names and -f do not go together"),
    ] {
        let said = fleet.run(line);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains(problem), "{said:?}");
    }
}

#[test]
fn a_pod_is_stopped_by_a_tombstone_that_ends_by_itself() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.node("n1", &json!({}), "");
    fleet.pod("n1", "web", "web-abc");
    let out = fleet.run("delete pod web-abc -n x --wait=false --grace-period=5").fine();
    assert_eq!(out, "pod \"web-abc\" deleted from x namespace\n");
    let key = "spec/tombstones/pods/n1/uid-of-web-abc";
    let tombstone = fleet.value(key);
    assert_eq!(tombstone["name"], "pods/n1/uid-of-web-abc");
    assert_eq!(tombstone["gracePeriodSeconds"], 5);
    let shown = fleet.etcd.ctl(&["get", "-w", "json", &format!("{}/{key}", crate::fleet::ROOT)]);
    let shown: serde_json::Value = serde_json::from_str(&shown.unwrap()).unwrap();
    assert!(shown["kvs"][0]["lease"].as_i64().unwrap_or(0) != 0, "{shown}");
    let error = fleet.run("delete pod none -n x").refused();
    assert_eq!(error, "error: pods \"none\" not found in namespace \"x\"\n");
    let error = fleet.run("logs web-abc -n x").refused();
    assert!(error.contains("pod \"web-abc\" runs on node n1"), "{error}");
}

#[test]
fn a_node_that_is_gone_leaves_nothing() {
    let Some(fleet) = Fleet::start() else { return };
    for node in ["n1", "n2"] {
        fleet.node(node, &json!({}), "");
        fleet.pod(node, "web", &format!("web-{node}"));
        fleet.put(&format!("fleet/events/{node}/e"), &json!({}));
        fleet.put(&format!("fleet/memberships/{node}"), &json!(["x/web"]));
    }
    let error = fleet.run("delete node n1").refused();
    assert!(error.contains("node \"n1\" is alive"), "{error}");
    fleet.remove("fleet/alive/n1");
    assert_eq!(fleet.run("delete node n1").fine(), "node \"n1\" deleted\n");
    assert_eq!(
        fleet.keys("fleet/"),
        [
            "fleet/alive/n2",
            "fleet/events/n2/e",
            "fleet/memberships/n2",
            "fleet/nodes/n2",
            "fleet/pods/n2/x/web-n2",
            "fleet/sets/x/web/member/n2"
        ]
    );
    assert_eq!(fleet.run("delete node n1").refused(), "error: nodes \"n1\" not found\n");
    assert_eq!(fleet.run("delete node n2 --force").fine(), "node \"n2\" deleted\n");
    assert!(fleet.keys("fleet/").is_empty());
}
