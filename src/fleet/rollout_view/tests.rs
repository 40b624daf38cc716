//! Tables of rollouts, and what is told of them.

use std::time::Duration;

use crate::rollout::turn::Verdict;
use crate::spec::{Amount, Selector};

use super::*;

/// A second of the day.
fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A set that says nothing of its updates.
fn plain() -> Rollout {
    let set = serde_json::json!({"spec": {"selector": {}, "template": {}}});
    Rollout::of(&serde_json::from_value(set).unwrap())
}

/// What a node says of its pod.
fn member(hash: &str, wanted: &str, available: bool) -> Member {
    let count = i32::from(available);
    Member {
        uid: "u".into(),
        hash: hash.into(),
        wanted: TemplateHash::new(wanted),
        status: DaemonSetStatus {
            desired_number_scheduled: 1,
            current_number_scheduled: i32::from(!hash.is_empty()),
            number_ready: count,
            number_available: Some(count),
            number_unavailable: Some(1 - count),
            updated_number_scheduled: Some(i32::from(hash == "new")),
            observed_generation: Some(2),
            ..DaemonSetStatus::default()
        },
        reason: String::new(),
        canary: false,
    }
}

/// A turn that began at second 0.
fn turn(kind: TurnKind, failed: Option<&str>) -> Turn {
    let verdict = |message: &str| Verdict {
        reason: "ProgressDeadlineExceeded".into(),
        message: message.into(),
        at: at(0),
    };
    Turn {
        kind,
        from: "old".into(),
        to: TemplateHash::new("new"),
        since: at(0),
        boot_id: "b".into(),
        domain: String::new(),
        failed: failed.map(verdict),
    }
}

/// Nodes n0, n1, … of which each is `o`ld, `n`ew, `u`pdated but not available, or ` ` without a pod; all alive.
fn scene(nodes: &str) -> Scene {
    let names = |n: usize| NodeName::new(format!("n{n}"));
    let members = nodes.chars().enumerate().map(|(n, node)| {
        let member = match node {
            'o' => member("old", "new", true),
            'n' => member("new", "new", true),
            'u' => member("new", "new", false),
            _ => member("", "new", false),
        };
        (names(n), member)
    });
    let available = nodes.chars().enumerate().filter(|(_, node)| matches!(node, 'o' | 'n'));
    Scene {
        name: "web".into(),
        uid: "u".into(),
        generation: 2,
        hash: Some(TemplateHash::new("new")),
        rollout: plain(),
        members: members.collect(),
        available: available.map(|(n, _)| names(n)).collect(),
        turns: BTreeMap::new(),
        queue: Vec::new(),
        canaries: BTreeMap::new(),
        alive: (0..nodes.len()).map(names).collect(),
        condemned: BTreeMap::new(),
        baked: BTreeSet::new(),
        baking: BTreeSet::new(),
        revisions: vec![(1, TemplateHash::new("old")), (2, TemplateHash::new("new"))],
        silent: BTreeMap::new(),
    }
}

/// A change of a scene.
type Change<'a> = &'a dyn Fn(&mut Scene);

/// The node with this number.
fn n(number: usize) -> NodeName {
    NodeName::new(format!("n{number}"))
}

#[test]
fn the_sentence_is_kubectls() {
    let unchanged: Change<'_> = &|_| {};
    let half: Change<'_> = &|scene| scene.rollout.partition = Amount::Percent(50);
    let dead: Change<'_> = &|scene| {
        scene.alive.remove(&n(0));
    };
    let ignored: Change<'_> = &|scene| {
        scene.alive.remove(&n(0));
        scene.rollout.ignore_absent = true;
    };
    let waiting = |text: &str| format!("Waiting for daemon set \"web\" rollout to finish: {text}");
    let over = "daemon set \"web\" successfully rolled out".to_owned();
    for (nodes, change, sentence, done) in [
        ("oon", unchanged, waiting("1 out of 3 new pods have been updated..."), false),
        ("nun", unchanged, waiting("2 of 3 updated pods are available..."), false),
        ("nnn", unchanged, over.clone(), true),
        ("", unchanged, over.clone(), true),
        (
            "nnn",
            &|scene: &mut Scene| scene.generation = 3,
            "Waiting for daemon set spec update to be observed...".to_owned(),
            false,
        ),
        (
            "oonn",
            half,
            "partitioned roll out complete: 2 new pods have been updated...".into(),
            true,
        ),
        ("ooon", half, waiting("1 out of 2 new pods have been updated..."), false),
        ("nnnn", half, over.clone(), true),
        ("onn", dead, waiting("2 out of 3 new pods have been updated..."), false),
        ("nnn", dead, waiting("2 of 3 updated pods are available..."), false),
        ("onn", ignored, over, true),
    ] {
        let mut scene = scene(nodes);
        change(&mut scene);
        let story = scene.story();
        assert_eq!((story.sentence, story.done), (sentence, done), "{nodes:?}");
    }
}

#[test]
fn each_node_that_matters_has_a_line_the_worst_first() {
    let mut scene = scene("ouoonou");
    scene.turns.insert(n(1), turn(TurnKind::Replace, Some("late")));
    scene.turns.insert(n(2), turn(TurnKind::Surge, None));
    scene.turns.insert(n(3), turn(TurnKind::Replace, None));
    scene.alive.remove(&n(3));
    scene.alive.remove(&n(5));
    scene.available.retain(|node| *node != n(3) && *node != n(5));
    scene.silent.insert(n(5), at(90));
    scene.queue = vec![n(0)];
    let story = scene.story();
    let shown: Vec<String> = story.lines.iter().map(|line| line.shown(at(100))).collect();
    for (line, (begin, text)) in shown.iter().zip([
        (
            "n1 failed for 100s: to revision 2: ProgressDeadlineExceeded: late;",
            "rollout undo ds/web",
        ),
        ("n3 lost in its turn for 100s: to revision 2:", "rollout release ds/web n3"),
        ("n2 in its turn for 100s: it starts a pod beside the old one, to revision 2", ""),
        ("n5 absent for 10s: it gives no sign of life", "podward delete node n5"),
        ("n6 not available", ""),
        ("n0 waiting, place 1: ", "nodes are unavailable, and 1 may be"),
    ]) {
        assert!(line.starts_with(begin) && line.contains(text), "{line}");
    }
    assert_eq!(shown.len(), 6, "{shown:?}");
    assert!(!story.notes.iter().any(|note| note.starts_with("stalled")), "one still moves");
    scene.turns.remove(&n(2));
    let notes = scene.story().notes;
    assert_eq!(
        notes.last().unwrap(),
        "stalled: nothing moves, since 4 of 7 nodes are unavailable and 1 may be: n1 failed, n3 lost in its turn, n5 absent, n6 not available"
    );
}

#[test]
fn nothing_is_said_to_stall_while_it_can_move() {
    let lost: Change<'_> = &|scene| {
        scene.turns.insert(n(0), turn(TurnKind::Replace, None));
        scene.available.remove(&n(0));
        scene.alive.remove(&n(0));
    };
    let roomy: Change<'_> = &|scene| {
        lost(scene);
        scene.rollout.max_unavailable = Amount::Count(2);
    };
    let absent: Change<'_> = &|scene| {
        scene.alive.remove(&n(0));
        scene.available.remove(&n(0));
    };
    let ignored: Change<'_> = &|scene| {
        absent(scene);
        scene.rollout.ignore_absent = true;
    };
    for (what, nodes, change, stalls) in [
        ("a dead turn, and no budget", "ooo", lost, true),
        ("a dead turn, and budget left", "ooo", roomy, false),
        ("a dead turn, and nobody else", "onn", lost, true),
        ("an absent node, and no budget", "ooo", absent, true),
        ("an absent node that does not count", "ooo", ignored, false),
        ("an absent node, and nobody waits", "nnn", absent, false),
        ("all is well", "oon", &|_: &mut Scene| {}, false),
    ] {
        let mut scene = scene(nodes);
        change(&mut scene);
        let notes = scene.story().notes;
        let told = notes.iter().any(|note| note.starts_with("stalled"));
        assert_eq!(told, stalls, "{what}: {notes:?}");
    }
}

#[test]
fn what_holds_the_set_is_said() {
    let canary = |scene: &mut Scene, bake: u64| {
        scene.rollout.canary = Some(Selector::parse("ring=0").unwrap());
        scene.rollout.bake = Duration::from_secs(bake);
        scene.canaries = [(n(2), "new".to_owned())].into();
    };
    let baked = |scene: &mut Scene| {
        canary(scene, 60);
        scene.baked.insert(TemplateHash::new("new"));
    };
    let cases: [(&str, Change<'_>, &str); 8] = [
        ("paused", &|scene| scene.rollout.paused = true, "paused: no node begins its turn"),
        ("canary", &|scene| canary(scene, 0), "canary: 1 of 1 canary nodes are available with"),
        (
            "before the bake",
            &|scene| canary(scene, 60),
            "the others wait until all are and bake for 1m0s",
        ),
        (
            "bake",
            &|scene| {
                baked(scene);
                scene.baking.insert(TemplateHash::new("new"));
            },
            "canary: baking for 1m0s",
        ),
        (
            "no canary",
            &|scene| {
                canary(scene, 0);
                scene.canaries.clear();
            },
            "canary: no node matches",
        ),
        (
            "partition",
            &|scene| scene.rollout.partition = Amount::Count(1),
            "partition: 1 nodes keep",
        ),
        ("baked", &|scene| baked(scene), ""),
        (
            "promoted",
            &|scene| {
                canary(scene, 0);
                scene.rollout.promoted = "new".into();
            },
            "",
        ),
    ];
    for (what, change, note) in cases {
        let mut scene = scene("oon");
        change(&mut scene);
        let notes = scene.story().notes;
        assert_eq!(notes.is_empty(), note.is_empty(), "{what}: {notes:?}");
        assert!(notes.iter().all(|told| told.contains(note)), "{what}: {notes:?}");
    }
}

#[test]
fn waiting_nodes_say_what_for() {
    let mut scene = scene("ooon");
    scene.queue = vec![n(2), n(1)];
    let told = |scene: &Scene| -> Vec<String> {
        scene.story().lines.iter().map(|line| format!("{}: {}", line.node, line.text)).collect()
    };
    assert_eq!(
        told(&scene),
        ["n2: it is the next one", "n1: it waits in the queue", "n0: it joins the queue soon"]
    );
    scene.rollout.paused = true;
    assert!(told(&scene).iter().all(|line| line.contains("the rollout is paused")), "{scene:?}");
    scene.members[0].1.reason = "the images of a new pod are not here".into();
    scene.members[1].1.wanted = TemplateHash::new("old");
    let told = told(&scene);
    assert!(told.contains(&"n0: the images of a new pod are not here".to_owned()), "{told:?}");
    assert!(told.contains(&"n1: it has not heard of the new template yet".to_owned()), "{told:?}");
}

#[test]
fn a_condemned_template_names_who_said_so_and_where_nodes_go() {
    let mut scene = scene("nno");
    let verdict = Verdict { reason: "BootLoop".into(), message: "booted twice".into(), at: at(5) };
    let condemned = Condemned { uid: "u".into(), node: "n2".into(), verdict };
    scene.condemned.insert(TemplateHash::new("new"), condemned.clone());
    for (_, member) in &mut scene.members {
        member.wanted = TemplateHash::new("old");
    }
    let story = scene.story();
    assert_eq!(
        story.notes,
        ["condemned: revision 2 by node n2 (BootLoop: booted twice); nodes go back to revision 1"]
    );
    assert_eq!(story.failed, None, "two are not back yet");
    assert_eq!(story.lines.len(), 2);
    for (_, member) in &mut scene.members {
        member.hash = "old".into();
    }
    let failed = scene.story().failed.unwrap();
    assert!(
        failed.contains("was rolled back to revision 1: its template failed on node n2"),
        "{failed}"
    );
    scene.condemned.insert(TemplateHash::new("old"), condemned);
    let story = scene.story();
    assert!(story.notes[0].contains("there is no revision to go back to"), "{story:?}");
    assert_eq!(story.failed, None);
}

#[test]
fn a_summary_has_a_line_for_what_operators_ask_for() {
    let mut scene = scene("ouo");
    scene.turns.insert(n(1), turn(TurnKind::Replace, Some("late")));
    let summary = scene.summary(at(60));
    let line = |label: &str| -> Vec<String> {
        summary.iter().find(|(known, _)| *known == label).unwrap().1.clone()
    };
    assert_eq!(line("Strategy"), ["RollingUpdate (1 max unavailable, 0 max surge)"]);
    assert_eq!(line("Deadline"), ["10m0s, then stall"]);
    assert_eq!(line("Budget"), ["1 of 3 nodes may be unavailable, 1 are"]);
    assert!(line("Failed")[0].starts_with("n1 failed for 60s"), "{summary:?}");
    assert_eq!(line("Waiting"), ["2 nodes"]);
    assert!(line("In Turn").is_empty() && line("Condemned").is_empty());
    assert!(line("Holds")[0].starts_with("stalled"), "{summary:?}");
}
