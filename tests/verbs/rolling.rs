//! `rollout status` and what `get` and `describe` show of a rollout.

use std::io::{BufRead as _, BufReader, Read as _};

use serde_json::json;

use crate::fleet::{Fleet, set};

/// What a node says of the set web: its template, the one it wants, whether it is available, and what holds it.
fn stands(fleet: &Fleet, node: &str, (hash, wanted): (&str, &str), available: bool, reason: &str) {
    let set = fleet.value("spec/daemonsets/x/web");
    let count = i32::from(available);
    let member = json!({"uid": set["metadata"]["uid"], "hash": hash, "wanted": wanted, "reason": reason, "status": {
        "desiredNumberScheduled": 1, "currentNumberScheduled": 1, "numberReady": count, "numberAvailable": count,
        "numberUnavailable": 1 - count, "updatedNumberScheduled": i32::from(hash == wanted), "numberMisscheduled": 0,
        "observedGeneration": set["metadata"]["generation"]}});
    fleet.put(&format!("fleet/sets/x/web/member/{node}"), &member);
    if available {
        fleet.put(&format!("fleet/sets/x/web/available/{node}"), &json!(hash));
    } else {
        fleet.remove(&format!("fleet/sets/x/web/available/{node}"));
    }
}

/// A node takes its turn.
fn takes_turn(fleet: &Fleet, node: &str, (from, to): (&str, &str), failed: Option<&str>) {
    let mut turn = json!({"kind": "replace", "from": from, "to": to, "since": "2026-01-01T00:00:00Z", "bootId": "b"});
    if let Some(message) = failed {
        turn["failed"] = json!({"reason": "ProgressDeadlineExceeded", "message": message, "at": "2026-01-01T00:10:00Z"});
    }
    fleet.put(&format!("fleet/sets/x/web/turn/{node}"), &turn);
}

/// A fleet of three nodes at revision 1, of a set that is at revision 2.
fn begun(more: &str) -> Option<(Fleet, String, String)> {
    let fleet = Fleet::start()?;
    fleet.feed("apply -f -", &set("web", "r.io/a:1", more)).fine();
    fleet.feed("apply -f -", &set("web", "r.io/a:2", more)).fine();
    let (old, new) = (fleet.hash("web", 1), fleet.hash("web", 2));
    for node in ["n1", "n2", "n3"] {
        fleet.node(node, &json!({}), "");
        stands(&fleet, node, (&old, &new), true, "");
    }
    Some((fleet, old, new))
}

/// `rollout status` at this moment.
fn now(fleet: &Fleet) -> String {
    fleet.run("rollout status ds/web -n x --watch=false").fine()
}

#[test]
fn a_rollout_is_told_in_kubectls_sentences_until_it_is_over() {
    let Some((fleet, old, new)) = begun("") else { return };
    assert!(now(&fleet).starts_with(
        "Waiting for daemon set \"web\" rollout to finish: 0 out of 3 new pods have been updated...\n"
    ));
    let mut watching = fleet.command("rollout status ds/web -n x").spawn().unwrap();
    let mut out = BufReader::new(watching.stdout.take().unwrap());
    let mut told = String::new();
    let mut until = |text: &str| {
        while !told.lines().any(|line| line.contains(text)) {
            assert_ne!(out.read_line(&mut told).unwrap(), 0, "{told}");
        }
    };
    until("0 out of 3 new pods");
    takes_turn(&fleet, "n2", (&old, &new), None);
    stands(&fleet, "n2", (&old, &new), false, "");
    until("n2 in its turn for");
    stands(&fleet, "n2", (&new, &new), true, "");
    fleet.remove("fleet/sets/x/web/turn/n2");
    until("1 out of 3 new pods have been updated");
    for node in ["n1", "n3"] {
        stands(&fleet, node, (&new, &new), node == "n1", "");
    }
    until("2 of 3 updated pods are available...");
    stands(&fleet, "n3", (&new, &new), true, "");
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("daemon set \"web\" successfully rolled out\n"), "{told}{rest}");
    assert!(watching.wait().unwrap().success());
    assert_eq!(now(&fleet), "daemon set \"web\" successfully rolled out\n");
}

#[test]
fn a_change_that_nobody_has_seen_is_waited_for_and_other_sets_are_refused() {
    let Some((fleet, ..)) = begun("") else { return };
    fleet.run("set image ds/web main=r.io/a:3 -n x").fine();
    assert!(now(&fleet).starts_with("Waiting for daemon set spec update to be observed...\n"));
    let more = set("del", "r.io/a:1", "")
        .replace("spec:\n  selector", "spec:\n  updateStrategy: {type: OnDelete}\n  selector");
    fleet.feed("apply -f -", &more).fine();
    assert_eq!(
        fleet.run("rollout status ds/del -n x").refused(),
        "error: rollout status is only available for RollingUpdate strategy type\n"
    );
    assert_eq!(
        fleet.run("rollout status ds/none -n x").refused(),
        "error: daemonsets.apps \"none\" not found in namespace \"x\"\n"
    );
    let mut watching = fleet.command("rollout status ds/web -n x").spawn().unwrap();
    let mut out = BufReader::new(watching.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    fleet.run("delete ds web -n x --wait=false").fine();
    drop(out);
    let done = watching.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(done.stderr).unwrap(), "error: object has been deleted\n");
}

#[test]
fn a_dead_turn_is_named_with_its_age_and_the_way_out() {
    let Some((fleet, old, new)) = begun("") else { return };
    takes_turn(&fleet, "n1", (&old, &new), None);
    stands(&fleet, "n1", (&old, &new), false, "");
    fleet.remove("fleet/alive/n1");
    let told = now(&fleet);
    assert!(told.contains("n1 lost in its turn for "), "{told}");
    for text in [
        "to revision 2",
        "`podward rollout release ds/web n1`",
        "`podward delete node n1`",
        "stalled: nothing moves, since 1 of 3 nodes are unavailable and 1 may be: n1 lost in its turn",
    ] {
        assert!(told.contains(text), "{text}: {told}");
    }
    let said = fleet.run("rollout status ds/web -n x --timeout=300ms");
    assert!(said.out.contains("stalled"), "{said:?}");
    let error = said.refused();
    assert!(
        error.starts_with("error: timed out waiting for the condition\nhint: stalled"),
        "{error}"
    );
    let shown = fleet.run("describe node n1").fine();
    assert!(shown.contains("Turns:"), "{shown}");
    assert!(shown.contains("x/web"), "{shown}");
}

#[test]
fn a_failed_turn_stalls_the_rollout_and_says_why() {
    let Some((fleet, old, new)) = begun("") else { return };
    takes_turn(
        &fleet,
        "n3",
        (&old, &new),
        Some("the pod is not available after 10m0s: ImagePullBackOff"),
    );
    stands(&fleet, "n3", (&new, &new), false, "");
    let told = now(&fleet);
    for text in [
        "n3 failed for ",
        "ProgressDeadlineExceeded: the pod is not available after 10m0s: ImagePullBackOff",
        "`podward rollout undo ds/web`",
        "`podward rollout release ds/web n3` to try again",
        "stalled: nothing moves",
        "n1 waiting",
    ] {
        assert!(told.contains(text), "{text}: {told}");
    }
    let shown = fleet.run("describe ds web -n x").fine();
    for text in ["Rollout:", "RollingUpdate", "Failed:", "n3", "stalled"] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    let row = fleet.run("get ds web -n x").fine();
    let words: Vec<&str> = row.lines().nth(1).unwrap().split_whitespace().collect();
    // DESIRED CURRENT READY UP-TO-DATE AVAILABLE
    assert_eq!(words[1..6], ["3", "3", "2", "1", "2"], "{row}");
}

#[test]
fn what_holds_a_rollout_is_said() {
    let Some((fleet, _, new)) =
        begun("  annotations: {podward.dev/canary: ring=0, podward.dev/partition: \"1\"}\n")
    else {
        return;
    };
    fleet.put("fleet/sets/x/web/canary/n1", &json!({"hash": new}));
    fleet.put("fleet/sets/x/web/queue/n2", &json!(""));
    fleet.run("rollout pause ds/web -n x").fine();
    let told = now(&fleet);
    for text in [
        "0 out of 2 new pods have been updated",
        "paused: no node begins its turn; go on by `podward rollout resume ds/web`",
        "canary: 1 of 1 canary nodes are available with the new template; the others wait for `podward rollout promote ds/web`",
        "partition: 1 nodes keep",
        "n2 waiting, place 1: the rollout is paused",
    ] {
        assert!(told.contains(text), "{text}: {told}");
    }
    for node in ["n1", "n2"] {
        stands(&fleet, node, (&new, &new), true, "");
    }
    assert!(
        now(&fleet).starts_with("partitioned roll out complete: 2 new pods have been updated...\n")
    );
}

#[test]
fn a_condemned_template_is_told_with_where_nodes_go_back_to() {
    let Some((fleet, old, new)) = begun("  annotations: {podward.dev/on-failure: rollback}\n")
    else {
        return;
    };
    let uid = fleet.value("spec/daemonsets/x/web")["metadata"]["uid"].clone();
    let verdict = json!({"uid": uid, "node": "n2", "reason": "BootLoop", "message": "booted twice", "at": "2026-01-01T00:00:00Z"});
    fleet.put(&format!("fleet/rollouts/x/web/condemned/{new}"), &verdict);
    stands(&fleet, "n1", (&new, &old), true, "");
    let told = now(&fleet);
    assert!(
        told.contains(
            "condemned: revision 2 by node n2 (BootLoop: booted twice); nodes go back to revision 1"
        ),
        "{told}"
    );
    for node in ["n1", "n2", "n3"] {
        stands(&fleet, node, (&old, &old), true, "");
    }
    let error = fleet.run("rollout status ds/web -n x").refused();
    assert!(
        error.contains("was rolled back to revision 1: its template failed on node n2 (BootLoop)"),
        "{error}"
    );
}

#[test]
fn without_a_store_status_asks_the_agent_and_the_other_verbs_name_the_remedy() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.file("config.yaml", "cluster: test\n");
    let error = fleet.run("rollout status ds/web").refused();
    assert!(error.contains("no agent answers at"), "{error}");
    for verb in ["history", "undo", "restart", "pause", "resume", "promote"] {
        let said = fleet.run(&format!("rollout {verb} ds/web"));
        assert_eq!(said.code, 2, "{verb}: {said:?}");
        assert!(said.err.contains("no shared store is configured"), "{verb}: {said:?}");
    }
    let said = fleet.run("rollout release ds/web n1");
    assert!(said.err.contains("no shared store is configured"), "{said:?}");
}
