//! What a fleet's records add up to, as a cluster would show it: the status of a set over its nodes, and what is left of
//! nodes that give no sign of life.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::DaemonSetStatus;
use serde_json::{Value, json};

use crate::base::ids::{NodeName, TemplateHash};

use super::records::Member;

/// A set as its operators wrote it.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its uid: what nodes say of an older set of this name is not about it.
    pub uid: &'a str,
    /// Its generation.
    pub generation: i64,
    /// The identity of its template and of what a process keeps of its ConfigMaps and Secrets, where it can be told.
    pub hash: Option<&'a TemplateHash>,
}

/// A set's status over all nodes that should run it; `strays` counts those that run it though they should not. A node without a sign of life has no ready pod, as in a cluster;
/// `observedGeneration` is what every living node has seen.
pub fn set_status(
    set: Wanted<'_>,
    members: &[(NodeName, Member)],
    alive: &BTreeSet<NodeName>,
    strays: usize,
) -> DaemonSetStatus {
    let mut sum = DaemonSetStatus {
        number_misscheduled: i32::try_from(strays).unwrap_or(i32::MAX),
        ..DaemonSetStatus::default()
    };
    let (mut ready, mut available, mut unavailable, mut updated) = (0, 0, 0, 0);
    let mut observed = None;
    for (node, member) in members {
        let status = &member.status;
        let lives = alive.contains(node);
        let ours = member.uid.is_empty() || member.uid == set.uid;
        let seen = if ours { status.observed_generation.unwrap_or(0) } else { 0 };
        if lives {
            observed = Some(observed.map_or(seen, |least: i64| least.min(seen)));
        }
        sum.desired_number_scheduled += status.desired_number_scheduled;
        sum.current_number_scheduled += status.current_number_scheduled;
        sum.number_misscheduled += status.number_misscheduled;
        updated += updated_pods(set, member, seen);
        if lives {
            ready += status.number_ready;
            available += status.number_available.unwrap_or(0);
            unavailable += status.number_unavailable.unwrap_or(0);
        } else {
            unavailable += status.desired_number_scheduled;
        }
    }
    DaemonSetStatus {
        number_ready: ready,
        number_available: Some(available),
        number_unavailable: Some(unavailable),
        updated_number_scheduled: Some(updated),
        // Where no node should run it, there is nobody to see it.
        observed_generation: Some(observed.unwrap_or(set.generation).min(set.generation)),
        ..sum
    }
}

/// How many of a node's pods have the set's present template. A node that wants that template says so itself, by the oldest
/// of its pods; of one that wants another, because it has not seen the change or goes back from it, the identity of its
/// pod's template says it.
fn updated_pods(set: Wanted<'_>, member: &Member, seen: i64) -> i32 {
    let told = member.status.updated_number_scheduled.unwrap_or(0);
    match set.hash {
        Some(hash) if member.wanted != *hash => {
            i32::from(member.hash == hash.as_str() && member.status.current_number_scheduled > 0)
        }
        None if seen < set.generation => 0,
        _ => told,
    }
}

/// Marks the record of a node that gives no sign of life: nobody knows how it is.
pub fn node_lost(node: &mut Value) {
    let unknown = |kind: &str| {
        json!({"type": kind, "status": "Unknown", "reason": "NodeStatusUnknown",
            "message": "podward stopped posting node status."})
    };
    let status = section(node, "status");
    let ready = status["conditions"].as_array().is_some_and(|all| {
        all.iter().all(Value::is_object) && all.iter().any(|one| one["type"] == "Ready")
    });
    if !ready {
        status["conditions"] = json!([unknown("Ready")]);
    }
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        let kind = condition["type"].as_str().unwrap_or_default().to_owned();
        let mut lost = unknown(&kind);
        lost["lastHeartbeatTime"] = condition["lastHeartbeatTime"].take();
        if condition["status"] == "Unknown" {
            lost["lastTransitionTime"] = condition["lastTransitionTime"].take();
        }
        *condition = lost;
    }
}

/// A part of an object, made when it is none.
fn section<'v>(object: &'v mut Value, name: &str) -> &'v mut Value {
    if !object.is_object() {
        *object = json!({});
    }
    let section = &mut object[name];
    if !section.is_object() {
        *section = json!({});
    }
    section
}

/// Marks the record of a pod whose node gives no sign of life: it may run, but nobody can say so.
pub fn pod_lost(pod: &mut Value, node: &NodeName) {
    let status = section(pod, "status");
    if matches!(status["phase"].as_str(), Some("Succeeded" | "Failed")) {
        return;
    }
    let mut each = |list: &str, change: &dyn Fn(&mut Value)| {
        let items = status[list].as_array_mut().into_iter().flatten();
        items.filter(|item| item.is_object()).for_each(change);
    };
    each("conditions", &|condition| {
        if matches!(condition["type"].as_str(), Some("Ready" | "ContainersReady")) {
            condition["status"] = "False".into();
            condition["reason"] = "NodeStatusUnknown".into();
        }
    });
    each("containerStatuses", &|container| container["ready"] = false.into());
    status["reason"] = "NodeLost".into();
    status["message"] = format!("node {node} gives no sign of life").into();
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [i32; 6] = [1, 1, 1, 1, 0, 1];

    /// desired, current, ready, available, unavailable, updated
    fn member(uid: &str, hash: &str, seen: i64, counts: [i32; 6]) -> Member {
        Member {
            uid: uid.into(),
            hash: hash.into(),
            canary: false,
            wanted: TemplateHash::new(hash),
            status: DaemonSetStatus {
                desired_number_scheduled: counts[0],
                current_number_scheduled: counts[1],
                number_ready: counts[2],
                number_available: Some(counts[3]),
                number_unavailable: Some(counts[4]),
                updated_number_scheduled: Some(counts[5]),
                number_misscheduled: 0,
                observed_generation: Some(seen),
                collision_count: None,
                conditions: None,
            },
            reason: String::new(),
        }
    }

    /// The same six and observedGeneration, for members on nodes n0, n1, … of which some are alive.
    fn folded(members: Vec<Member>, alive: &[&str]) -> ([i32; 6], i64) {
        let members = members.into_iter().enumerate();
        let members: Vec<_> =
            members.map(|(n, member)| (NodeName::new(format!("n{n}")), member)).collect();
        let alive = alive.iter().map(|name| NodeName::new(*name)).collect();
        let hash = TemplateHash::new("new");
        let status =
            set_status(Wanted { uid: "u", generation: 3, hash: Some(&hash) }, &members, &alive, 2);
        assert_eq!(status.number_misscheduled, 2);
        let counts = [
            status.desired_number_scheduled,
            status.current_number_scheduled,
            status.number_ready,
            status.number_available.unwrap(),
            status.number_unavailable.unwrap(),
            status.updated_number_scheduled.unwrap(),
        ];
        (counts, status.observed_generation.unwrap())
    }

    #[test]
    fn a_sets_status_is_the_sum_of_its_nodes() {
        let good = || member("u", "new", 3, GOOD);
        for (what, members, alive, sum) in [
            ("nobody runs it", vec![], vec!["n0"], ([0; 6], 3)),
            ("two good nodes", vec![good(), good()], vec!["n0", "n1"], ([2, 2, 2, 2, 0, 2], 3)),
            ("one of them is dead", vec![good(), good()], vec!["n0"], ([2, 2, 1, 1, 1, 2], 3)),
            ("both are", vec![good(), good()], vec![], ([2, 2, 0, 0, 2, 2], 3)),
            (
                "one has not seen the change",
                vec![good(), member("u", "old", 2, GOOD)],
                vec!["n0", "n1"],
                ([2, 2, 2, 2, 0, 1], 2),
            ),
            (
                "it has not, and is dead",
                vec![good(), member("u", "old", 2, GOOD)],
                vec!["n0"],
                ([2, 2, 1, 1, 1, 1], 3),
            ),
            (
                "the change was none of the template",
                vec![member("u", "new", 2, GOOD)],
                vec!["n0"],
                ([1, 1, 1, 1, 0, 1], 2),
            ),
            (
                "it goes back to another template",
                vec![
                    Member { wanted: TemplateHash::new("old"), ..good() },
                    member("u", "old", 3, GOOD),
                ],
                vec!["n0", "n1"],
                ([2, 2, 2, 2, 0, 1], 3),
            ),
            (
                "it still runs a set that was deleted",
                vec![member("before", "old", 9, GOOD)],
                vec!["n0"],
                ([1, 1, 1, 1, 0, 0], 0),
            ),
            (
                "its pod is not there yet",
                vec![member("u", "", 3, [1, 0, 0, 0, 1, 0])],
                vec!["n0"],
                ([1, 0, 0, 0, 1, 0], 3),
            ),
        ] {
            assert_eq!(folded(members, &alive), sum, "{what}");
        }
    }

    #[test]
    fn of_a_lost_node_nothing_is_known() {
        let mut node = json!({"status": {"conditions": [
            {"type": "DiskPressure", "status": "False", "lastHeartbeatTime": "2026-01-01T00:00:00Z"},
            {"type": "Ready", "status": "True"}]}});
        node_lost(&mut node);
        let conditions = node["status"]["conditions"].as_array().unwrap();
        for condition in conditions {
            assert_eq!(condition["status"], "Unknown");
            assert_eq!(condition["reason"], "NodeStatusUnknown");
        }
        assert_eq!(conditions[0]["lastHeartbeatTime"], "2026-01-01T00:00:00Z");
        let mut bare = json!({"metadata": {"name": "n"}});
        node_lost(&mut bare);
        assert_eq!(bare["status"]["conditions"][0]["type"], "Ready");
    }

    #[test]
    fn a_pod_of_a_lost_node_is_not_ready() {
        let mut pod = json!({"status": {"phase": "Running",
            "conditions": [{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "a", "ready": true}]}});
        pod_lost(&mut pod, &NodeName::new("n1"));
        let status = &pod["status"];
        assert_eq!(status["conditions"][0]["status"], "True");
        assert_eq!(status["conditions"][1]["status"], "False");
        assert_eq!(status["containerStatuses"][0]["ready"], false);
        assert_eq!(status["reason"], "NodeLost");
        let mut over = json!({"status": {"phase": "Succeeded"}});
        pod_lost(&mut over, &NodeName::new("n1"));
        assert_eq!(over, json!({"status": {"phase": "Succeeded"}}));
    }
}
