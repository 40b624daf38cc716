//! What is planned for a node, case by case, and what holds for every plan.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use proptest::prelude::*;

use super::steps::{Cause, DesiredSet, Ended, Hold, Images, Leave, ObservedPod, Plan, Step, plan};
use crate::base::ids::{PodUid, SetKey, TemplateHash};

fn key() -> SetKey {
    SetKey::new("default", "web")
}

fn wanted(hash: &str) -> DesiredSet {
    DesiredSet {
        hash: TemplateHash::new(hash),
        on_delete: false,
        surge: false,
        min_ready: Duration::ZERO,
        should_run: true,
        should_continue: true,
        refusal: String::new(),
        evicted: false,
        missing: String::new(),
        unread: false,
        images: Images::Ready,
        leave: Leave::Given,
    }
}

fn pod(uid: &str, hash: &str, age: i64) -> ObservedPod {
    ObservedPod {
        uid: PodUid::new(uid),
        set: key(),
        hash: TemplateHash::new(hash),
        created: Timestamp::from_second(1_000_000 - age).unwrap(),
        stopping: false,
        ready_for: Some(Duration::from_mins(1)),
        resizable: false,
        idle: false,
        time_over: false,
        ended: None,
    }
}

fn planned(set: Option<DesiredSet>, pods: &[ObservedPod]) -> Plan {
    let desired = set.map(|set| (key(), set)).into_iter().collect();
    plan(&desired, pods)
}

fn deletion(uid: &str, cause: Cause) -> Step {
    Step::Delete { pod: PodUid::new(uid), cause }
}

#[test]
fn a_settled_node_has_an_empty_plan() {
    assert_eq!(planned(Some(wanted("a")), &[pod("1", "a", 9)]), Plan::default());
    assert_eq!(planned(None, &[]), Plan::default());
}

#[test]
fn a_pod_that_runs_is_stopped_only_when_its_successors_images_are_here() {
    let outdated = [pod("1", "a", 9)];
    let with = |images| planned(Some(DesiredSet { images, ..wanted("b") }), &outdated);
    let unknown = with(Images::Unknown);
    assert_eq!(unknown.steps, [Step::Pull(key())]);
    assert_eq!(unknown.holds[&key()].id(), "images-pending");
    let pending = with(Images::Pending("no route".into()));
    assert_eq!(pending.steps, []);
    assert!(pending.holds[&key()].to_string().contains("no route"));
    assert_eq!(with(Images::Ready).steps, [deletion("1", Cause::Outdated)]);
}

#[test]
fn a_pod_that_never_ran_makes_way_at_once() {
    let set = DesiredSet { images: Images::Unknown, ..wanted("b") };
    let pods = [ObservedPod { idle: true, ..pod("1", "a", 9) }];
    assert_eq!(planned(Some(set), &pods).steps, [deletion("1", Cause::Outdated)]);
}

#[test]
fn with_on_delete_the_images_are_brought_before_anybody_deletes() {
    let set = DesiredSet { images: Images::Unknown, on_delete: true, ..wanted("b") };
    let plan = planned(Some(set), &[pod("1", "a", 9)]);
    assert_eq!(plan.steps, [Step::Pull(key())]);
    assert_eq!(plan.holds[&key()], Hold::OnDelete);
}

#[test]
fn a_node_without_a_pod_does_not_wait_for_images_to_get_one() {
    let set = DesiredSet { images: Images::Unknown, ..wanted("a") };
    assert_eq!(planned(Some(set), &[]).steps, [Step::Create(key())]);
}

#[test]
fn an_eligible_set_without_a_pod_gets_one() {
    assert_eq!(planned(Some(wanted("a")), &[]).steps, [Step::Create(key())]);
}

#[test]
fn a_refused_set_is_held_with_its_reason() {
    let set = DesiredSet { should_run: false, refusal: "no ssd".into(), ..wanted("a") };
    let plan = planned(Some(set), &[]);
    assert!(plan.steps.is_empty());
    assert_eq!(plan.holds[&key()], Hold::NotEligible("no ssd".into()));
}

#[test]
fn a_no_schedule_taint_keeps_a_pod_that_runs_even_an_outdated_one() {
    let set = DesiredSet { should_run: false, refusal: "taint".into(), ..wanted("b") };
    assert!(planned(Some(set), &[pod("1", "a", 9)]).steps.is_empty());
}

#[test]
fn a_pod_that_ended_is_followed_by_another_when_its_back_off_is_over() {
    let over = |failed, wait| ObservedPod {
        ended: Some(Ended { failed, wait: Duration::from_secs(wait) }),
        ready_for: None,
        ..pod("1", "a", 9)
    };
    let plan = planned(Some(wanted("a")), &[over(true, 0)]);
    assert_eq!(plan.steps, [deletion("1", Cause::Failed)]);
    let plan = planned(Some(wanted("a")), &[over(false, 0)]);
    assert_eq!(plan.steps, [deletion("1", Cause::Completed)]);
    let plan = planned(Some(wanted("a")), &[over(true, 4)]);
    assert!(plan.steps.is_empty());
    assert_eq!(plan.holds[&key()], Hold::Ended { failed: true });
    assert_eq!(plan.wake, Some(Duration::from_secs(4)));
    let plan = planned(Some(wanted("b")), &[over(true, 4)]);
    assert_eq!(plan.steps, [deletion("1", Cause::Failed)], "a new template waits for nothing");
}

#[test]
fn a_pod_that_may_not_stay_is_stopped() {
    let set = DesiredSet {
        should_run: false,
        should_continue: false,
        refusal: "no ssd".into(),
        ..wanted("a")
    };
    let plan = planned(Some(set), &[pod("1", "a", 9)]);
    assert_eq!(plan.steps, [deletion("1", Cause::NotEligible("no ssd".into()))]);
}

#[test]
fn pods_of_a_removed_set_are_stopped() {
    assert_eq!(planned(None, &[pod("1", "a", 9)]).steps, [deletion("1", Cause::SetRemoved)]);
}

#[test]
fn of_two_pods_the_oldest_stays() {
    let plan = planned(Some(wanted("a")), &[pod("young", "a", 1), pod("old", "a", 9)]);
    assert_eq!(plan.steps, [deletion("young", Cause::Surplus)]);
}

#[test]
fn a_new_template_stops_the_old_pod_and_waits_for_its_end() {
    let mut old = pod("1", "a", 9);
    assert_eq!(
        planned(Some(wanted("b")), std::slice::from_ref(&old)).steps,
        [deletion("1", Cause::Outdated)]
    );
    old.stopping = true;
    let plan = planned(Some(wanted("b")), &[old]);
    assert!(plan.steps.is_empty());
    assert_eq!(plan.holds[&key()], Hold::Stopping);
}

#[test]
fn a_pod_that_can_take_the_new_template_as_it_runs_is_not_replaced() {
    let pod = ObservedPod { resizable: true, ..pod("1", "a", 9) };
    let resize = [Step::Resize(PodUid::new("1"))];
    let one = std::slice::from_ref(&pod);
    assert_eq!(planned(Some(wanted("b")), one).steps, resize);
    assert_eq!(planned(Some(DesiredSet { surge: true, ..wanted("b") }), one).steps, resize);
    let held = planned(Some(DesiredSet { on_delete: true, ..wanted("b") }), one);
    assert_eq!((held.steps, &held.holds[&key()]), (Vec::new(), &Hold::OnDelete));
}

#[test]
fn on_delete_keeps_the_old_pod_until_it_is_deleted() {
    let set = DesiredSet { on_delete: true, ..wanted("b") };
    let plan = planned(Some(set.clone()), &[pod("1", "a", 9)]);
    assert!(plan.steps.is_empty());
    assert_eq!(plan.holds[&key()], Hold::OnDelete);
    assert_eq!(planned(Some(set), &[]).steps, [Step::Create(key())]);
}

#[test]
fn an_eviction_holds_until_its_taint_is_gone() {
    let evicted = ObservedPod { time_over: true, ..pod("1", "a", 9) };
    assert_eq!(planned(Some(wanted("a")), &[evicted]).steps, [deletion("1", Cause::Evicted)]);
    let set = DesiredSet { evicted: true, ..wanted("a") };
    assert_eq!(planned(Some(set), &[]).holds[&key()], Hold::Evicted);
}

#[test]
fn a_surge_starts_beside_the_old_pod_and_retires_it_when_available() {
    let set = DesiredSet { surge: true, min_ready: Duration::from_secs(90), ..wanted("b") };
    let (old, new) = (pod("1", "a", 9), pod("2", "b", 1));
    assert_eq!(planned(Some(set.clone()), std::slice::from_ref(&old)).steps, [Step::Create(key())]);
    let waiting = planned(Some(set.clone()), &[old.clone(), new.clone()]);
    assert_eq!(waiting.wake, Some(Duration::from_secs(30)));
    assert!(waiting.steps.is_empty());
    let ready = ObservedPod { ready_for: Some(Duration::from_secs(90)), ..new };
    assert_eq!(planned(Some(set), &[old, ready]).steps, [deletion("1", Cause::Outdated)]);
}

#[test]
fn a_pod_is_not_stopped_for_one_that_could_not_start() {
    let lacking = DesiredSet { missing: "configmap \"a/b\" not found".into(), ..wanted("b") };
    let held = Hold::ObjectsMissing(lacking.missing.clone());
    for surge in [false, true] {
        let set = DesiredSet { surge, ..lacking.clone() };
        let plan = planned(Some(set), &[pod("1", "a", 9)]);
        assert!(plan.steps.is_empty());
        assert_eq!(plan.holds[&key()], held);
    }
    let text = held.to_string();
    assert!(text.contains("configmap \"a/b\" not found"), "{text}");
    let back = DesiredSet { missing: String::new(), ..lacking };
    assert_eq!(planned(Some(back), &[pod("1", "a", 9)]).steps, [deletion("1", Cause::Outdated)]);
}

#[test]
fn a_set_without_a_pod_gets_one_although_objects_are_missing_once_all_is_read() {
    let lacking = DesiredSet { missing: "x".into(), ..wanted("b") };
    assert_eq!(planned(Some(lacking.clone()), &[]).steps, [Step::Create(key())]);
    let plan = planned(Some(DesiredSet { unread: true, ..lacking }), &[]);
    assert!(plan.steps.is_empty() && plan.holds.contains_key(&key()));
    let whole = DesiredSet { unread: true, ..wanted("b") };
    assert_eq!(planned(Some(whole), &[]).steps, [Step::Create(key())]);
}

/// Applies a plan to the model of a node, as a perfect agent would.
fn apply(plan: &Plan, desired: &BTreeMap<SetKey, DesiredSet>, pods: &mut Vec<ObservedPod>) {
    for step in &plan.steps {
        match step {
            // Images arrive beside the plan.
            Step::Pull(_) => {}
            Step::Delete { pod, .. } => pods.retain(|there| there.uid != *pod),
            Step::Resize(pod) => {
                for there in pods.iter_mut().filter(|there| there.uid == *pod) {
                    there.hash = desired[&there.set].hash.clone();
                }
            }
            Step::Create(set) => pods.push(ObservedPod {
                uid: PodUid::new(format!("new-{}", pods.len())),
                set: set.clone(),
                ready_for: Some(Duration::from_hours(1)),
                ..pod("x", desired[set].hash.as_str(), 0)
            }),
        }
    }
}

proptest! {
    #[test]
    fn plans_applied_in_turn_settle_with_at_most_one_pod(
        wanted_hash in "[ab]", on_delete: bool, surge: bool, run: bool, stay: bool, evicted: bool,
        exists: bool, lacks: bool, unread: bool,
        hashes in proptest::collection::vec(("[ab]", any::<bool>(), 0i64..99), 0..4),
        resizable: bool,
    ) {
        let set = DesiredSet {
            on_delete, surge, evicted, unread,
            missing: if lacks { "x".into() } else { String::new() },
            should_run: run && stay, should_continue: stay,
            ..wanted(&wanted_hash)
        };
        let desired: BTreeMap<_, _> = exists.then(|| (key(), set)).into_iter().collect();
        let mut pods: Vec<ObservedPod> = hashes
            .iter()
            .enumerate()
            .map(|(at, (hash, over, age))| ObservedPod {
                time_over: *over && evicted,
                resizable,
                ..pod(&format!("p{at}"), hash, *age)
            })
            .collect();
        for _ in 0..6 {
            let next = plan(&desired, &pods);
            prop_assert_eq!(&next, &plan(&desired, &pods));
            apply(&next, &desired, &mut pods);
        }
        prop_assert!(plan(&desired, &pods).steps.is_empty());
        prop_assert!(pods.len() <= 1 || (surge && pods.len() <= 2));
    }
}
