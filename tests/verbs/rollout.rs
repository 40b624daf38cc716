//! `rollout history|undo|restart|pause|resume|promote`: what operators change.

use serde_json::{Value, json};

use crate::fleet::{Fleet, said, set};

/// A fleet with a set of two revisions.
fn two_revisions() -> Option<Fleet> {
    let fleet = Fleet::start()?;
    let why = "  annotations: {kubernetes.io/change-cause: first}\n";
    fleet.feed("apply -f -", &set("web", "r.io/a:1", why)).fine();
    let why = "  annotations: {kubernetes.io/change-cause: second}\n";
    fleet.feed("apply -f -", &set("web", "r.io/a:2", why)).fine();
    Some(fleet)
}

/// The set as it is stored.
fn web(fleet: &Fleet) -> Value {
    fleet.value("spec/daemonsets/x/web")
}

/// The image of the set's container.
fn image(fleet: &Fleet) -> String {
    let set = web(fleet);
    set["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
}

#[test]
fn a_history_lists_and_shows_what_a_set_had() {
    let Some(fleet) = two_revisions() else { return };
    assert_eq!(
        fleet.run("rollout history ds/web -n x").fine(),
        "daemonset.apps/web \nREVISION  CHANGE-CAUSE\n1         first\n2         second\n\n"
    );
    let shown = fleet.run("rollout history daemonset web -n x --revision=1").fine();
    assert!(shown.starts_with("daemonset.apps/web with revision #1\nPod Template:\n"), "{shown}");
    assert!(shown.contains("r.io/a:1") && !shown.contains("r.io/a:2"), "{shown}");
    let error = fleet.run("rollout history ds/web -n x --revision=9").refused();
    assert_eq!(error, "error: unable to find the specified revision\n");
    let error = fleet.run("rollout history ds/none -n x").refused();
    assert_eq!(error, "error: daemonsets.apps \"none\" not found in namespace \"x\"\n");
    for (line, problem) in [
        ("rollout history pod/web", "rollouts are those of a set"),
        ("rollout history ds", "rollouts are those of a set"),
        ("rollout history", "required"),
        ("rollout", "status"),
    ] {
        let said = fleet.run(line);
        assert_eq!(said.code, 2, "{line}: {said:?}");
        assert!(said.err.contains(problem), "{line}: {said:?}");
    }
}

#[test]
fn undo_restores_the_template_and_nothing_else() {
    let Some(fleet) = two_revisions() else { return };
    fleet.feed("apply -f -", &set("web", "r.io/a:2", "  labels: {tier: front}\n")).fine();
    assert_eq!(fleet.run("rollout undo ds/web -n x").fine(), "daemonset.apps/web rolled back\n");
    assert_eq!(image(&fleet), "r.io/a:1");
    let after = web(&fleet);
    assert_eq!(after["metadata"]["annotations"]["podward.dev/rolled-back-from"], "2");
    assert_eq!(after["metadata"]["labels"]["tier"], "front");
    assert_eq!(after["metadata"]["generation"], 3);
    assert_eq!(
        fleet.keys("spec/revisions/x/web/"),
        ["spec/revisions/x/web/0000000002", "spec/revisions/x/web/0000000003"]
    );
    // Any other change of the template takes the note away.
    fleet.run("set image ds/web main=r.io/a:4 -n x").fine();
    assert_eq!(web(&fleet)["metadata"]["annotations"]["podward.dev/rolled-back-from"], Value::Null);
    assert_eq!(
        fleet.run("rollout undo ds/web -n x --to-revision=2").fine(),
        "daemonset.apps/web rolled back\n"
    );
    assert_eq!(image(&fleet), "r.io/a:2");
    let before = fleet.etcd.revision().unwrap();
    assert_eq!(
        fleet.run("rollout undo ds/web -n x --to-revision=5").fine(),
        "daemonset.apps/web skipped rollback (current template already matches revision 5)\n"
    );
    assert_eq!(
        fleet.run("rollout undo ds/web -n x --to-revision=77").refused(),
        "error: unable to find specified revision 77 in history\n"
    );
    assert_eq!(fleet.etcd.revision().unwrap(), before, "nothing was written");
    fleet.feed("apply -f -", &set("other", "r.io/a:1", "")).fine();
    assert_eq!(
        fleet.run("rollout undo ds/other -n x").refused(),
        "error: no last revision to roll back to\n"
    );
}

#[test]
fn what_was_condemned_is_not_gone_back_to() {
    let Some(fleet) = two_revisions() else { return };
    let hash = fleet.hash("web", 1);
    let uid = web(&fleet)["metadata"]["uid"].clone();
    let gate = format!("fleet/rollouts/x/web/condemned/{hash}");
    let verdict = |uid: &Value| {
        json!({"uid": uid, "node": "n3", "reason": "ProgressDeadlineExceeded", "message": "not available after 10m0s",
            "at": "2026-01-01T00:00:00Z"})
    };
    fleet.put(&gate, &verdict(&uid));
    let before = fleet.etcd.revision().unwrap();
    let error = fleet.run("rollout undo ds/web -n x").refused();
    assert!(error.contains("revision 1 failed on node n3 and was condemned"), "{error}");
    assert!(error.contains("hint: ") && error.contains("--to-revision"), "{error}");
    assert_eq!(fleet.etcd.revision().unwrap(), before);
    // An older set of the same name says nothing of this one.
    fleet.put(&gate, &verdict(&json!("another")));
    fleet.run("rollout undo ds/web -n x").fine();
}

#[test]
fn restart_changes_the_template_and_pause_only_the_set() {
    let Some(fleet) = two_revisions() else { return };
    let first = fleet.run("rollout restart ds/web -n x").fine();
    assert_eq!(first, "daemonset.apps/web restarted\n");
    let annotations = web(&fleet)["spec"]["template"]["metadata"]["annotations"].clone();
    let at = annotations["kubectl.kubernetes.io/restartedAt"].as_str().unwrap().to_owned();
    assert!(at.len() == 20 || at.len() == 25, "{at}");
    assert_eq!(fleet.keys("spec/revisions/x/web/").len(), 3);
    let generation = web(&fleet)["metadata"]["generation"].clone();
    let hash = fleet.hash("web", 3);
    for (line, out) in [
        ("rollout pause ds/web -n x", "daemonset.apps/web paused\n"),
        ("rollout resume ds web -n x", "daemonset.apps/web resumed\n"),
        ("rollout pause ds/web -n x", "daemonset.apps/web paused\n"),
    ] {
        assert_eq!(fleet.run(line).fine(), out, "{line}");
    }
    assert_eq!(web(&fleet)["metadata"]["annotations"]["podward.dev/paused"], "true");
    assert_eq!(web(&fleet)["metadata"]["generation"], generation, "the wish is the same");
    assert_eq!(fleet.hash("web", 3), hash);
    assert_eq!(
        fleet.run("rollout pause ds/web -n x").refused(),
        "error: daemonsets.apps \"web\" is already paused\n"
    );
    fleet.run("rollout resume ds/web -n x").fine();
    assert_eq!(
        fleet.run("rollout resume ds/web -n x").refused(),
        "error: daemonsets.apps \"web\" is not paused\n"
    );
    let said = fleet.run("rollout pause ds/none ds/web -n x");
    assert_eq!(said.out, "daemonset.apps/web paused\n", "one that fails keeps no other");
    assert_eq!(said.refused(), "error: daemonsets.apps \"none\" not found in namespace \"x\"\n");
}

#[test]
fn two_restarts_within_a_second_are_one_too_many() {
    let Some(fleet) = two_revisions() else { return };
    let children: Vec<_> =
        (0..4).map(|_| fleet.command("rollout restart ds/web -n x").spawn().unwrap()).collect();
    let told: Vec<_> = children.into_iter().map(said).collect();
    let restarted = told.iter().filter(|one| one.code == 0).count();
    assert!(restarted >= 1, "{told:?}");
    for one in told.iter().filter(|one| one.code != 0) {
        assert_eq!(
            one.err,
            "error: failed to create patch for web: if restart has already been triggered within the past second, \
             please wait before attempting to trigger another\n"
        );
    }
    assert_eq!(fleet.keys("spec/revisions/x/web/").len(), 2 + restarted);
}

#[test]
fn writers_beside_each_other_lose_nothing() {
    let Some(fleet) = two_revisions() else { return };
    let lines = [
        "rollout pause ds/web -n x",
        "rollout undo ds/web -n x",
        "set image ds/web main=r.io/a:9 -n x",
        "rollout restart ds/web -n x",
    ];
    let children: Vec<_> = lines.iter().map(|line| fleet.command(line).spawn().unwrap()).collect();
    let told: Vec<_> = children.into_iter().map(said).collect();
    assert!(told.iter().all(|one| one.code == 0), "{told:?}");
    let set = web(&fleet);
    assert_eq!(set["metadata"]["annotations"]["podward.dev/paused"], "true", "{set}");
    // Whatever came last, the newest entry of the history is the set's template.
    let newest = fleet.keys("spec/revisions/x/web/").pop().unwrap();
    assert_eq!(fleet.value(&newest)["data"]["spec"]["template"], set["spec"]["template"]);
}

#[test]
fn a_canary_is_promoted_when_all_of_it_is_well() {
    let Some(fleet) = two_revisions() else { return };
    let error = fleet.run("rollout promote ds/web -n x").refused();
    assert!(error.contains("daemonsets.apps \"web\" has no canary"), "{error}");
    let canary = "  annotations: {podward.dev/canary: ring=0}\n";
    fleet.feed("apply -f -", &set("web", "r.io/a:2", canary)).fine();
    let error = fleet.run("rollout promote ds/web -n x").refused();
    assert!(error.contains("no node that runs daemonsets.apps \"web\" matches"), "{error}");
    let (old, new) = (fleet.hash("web", 1), fleet.hash("web", 2));
    for node in ["n1", "n2", "n3", "n4"] {
        fleet.node(node, &json!({}), "");
        fleet.pod(node, "web", &format!("web-{node}"));
        fleet.put(&format!("fleet/sets/x/web/available/{node}"), &json!(old));
    }
    let canary = |node: &str, hash: &str| {
        fleet.put(&format!("fleet/sets/x/web/canary/{node}"), &json!({"hash": hash}));
    };
    canary("n1", &new);
    canary("n2", &old);
    let error = fleet.run("rollout promote ds/web -n x").refused();
    assert!(error.contains("have not the new template yet: n2"), "{error}");
    canary("n2", &new);
    fleet.remove("fleet/sets/x/web/available/n2");
    let error = fleet.run("rollout promote ds/web -n x").refused();
    assert!(error.contains("but are not available: n2"), "{error}");
    fleet.etcd.ctl(&["put", "/podward/test/fleet/sets/x/web/available/n2", &new]).unwrap();
    assert_eq!(
        fleet.run("rollout promote ds/web -n x").fine(),
        "daemonset.apps/web promoted\n  2 nodes follow\n"
    );
    assert_eq!(web(&fleet)["metadata"]["annotations"]["podward.dev/promoted"], json!(new));
    let error = fleet.run("rollout promote ds/web -n x").refused();
    assert_eq!(error, "error: daemonsets.apps \"web\" is already promoted\n");
    // Another template has to be promoted anew.
    fleet.run("set image ds/web main=r.io/a:3 -n x").fine();
    assert_eq!(web(&fleet)["metadata"]["annotations"]["podward.dev/promoted"], Value::Null);
    fleet.run("rollout promote ds/web -n x").refused();
    fleet.run("rollout promote ds/web -n x --force").fine();
    assert_eq!(
        web(&fleet)["metadata"]["annotations"]["podward.dev/promoted"],
        fleet.hash("web", 3)
    );
}

#[test]
fn a_mistyped_annotation_is_refused_with_the_nearest_name() {
    let Some(fleet) = Fleet::start() else { return };
    let wrong = set("web", "r.io/a:1", "  annotations: {podward.dev/on-failur: rollback}\n");
    let error = fleet.feed("apply -f -", &wrong).refused();
    assert!(error.contains("did you mean podward.dev/on-failure?"), "{error}");
    fleet.file("web.yaml", &wrong);
    let said = fleet.run("validate -f {web.yaml}");
    assert_eq!(said.code, 1, "{said:?}");
    assert!(format!("{}{}", said.out, said.err).contains("podward.dev/on-failure?"), "{said:?}");
    assert!(fleet.keys("spec/").is_empty());
}
