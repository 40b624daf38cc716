//! A set's status as the DaemonSet controller would write it for a cluster of this one node.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSetStatus;

/// What the status needs to know of one pod of the set.
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodReport {
    /// When the pod was made.
    pub created: Timestamp,
    /// Whether its condition Ready is true.
    pub ready: bool,
    /// Whether it has been ready for the set's minReadySeconds.
    pub available: bool,
    /// Whether it runs the set's present template.
    pub updated: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Whether its phase is Succeeded or Failed.
    pub terminal: bool,
}

/// Counts one node. Only the oldest pod speaks for it, so a node whose pod is being replaced counts
/// as not updated until the old pod is gone.
pub fn daemon_set_status(
    desired: bool,
    pods: &[PodReport],
    observed_generation: i64,
) -> DaemonSetStatus {
    let oldest =
        pods.iter().filter(|pod| !(pod.terminating && pod.terminal)).min_by_key(|pod| pod.created);
    let counted = oldest.filter(|_| desired);
    let available = counted.is_some_and(|pod| pod.ready && pod.available);
    DaemonSetStatus {
        desired_number_scheduled: i32::from(desired),
        current_number_scheduled: i32::from(counted.is_some()),
        number_misscheduled: i32::from(oldest.is_some() && !desired),
        number_ready: i32::from(counted.is_some_and(|pod| pod.ready)),
        number_available: Some(i32::from(available)),
        number_unavailable: Some(i32::from(desired && !available)),
        updated_number_scheduled: Some(i32::from(counted.is_some_and(|pod| pod.updated))),
        observed_generation: Some(observed_generation),
        collision_count: None,
        conditions: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: PodReport = PodReport {
        created: Timestamp::UNIX_EPOCH,
        ready: true,
        available: true,
        updated: true,
        terminating: false,
        terminal: false,
    };

    /// desired, current, misscheduled, ready, available, unavailable, updated
    fn counts(desired: bool, pods: &[PodReport]) -> [i32; 7] {
        let status = daemon_set_status(desired, pods, 3);
        assert_eq!(status.observed_generation, Some(3));
        [
            status.desired_number_scheduled,
            status.current_number_scheduled,
            status.number_misscheduled,
            status.number_ready,
            status.number_available.unwrap(),
            status.number_unavailable.unwrap(),
            status.updated_number_scheduled.unwrap(),
        ]
    }

    #[test]
    fn a_node_with_a_good_pod_counts_everywhere() {
        assert_eq!(counts(true, &[POD]), [1, 1, 0, 1, 1, 0, 1]);
    }

    #[test]
    fn a_wanted_node_without_a_pod_is_unavailable() {
        assert_eq!(counts(true, &[]), [1, 0, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn a_pod_on_a_node_that_is_not_wanted_is_only_misscheduled() {
        assert_eq!(counts(false, &[POD]), [0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(counts(false, &[]), [0; 7]);
    }

    #[test]
    fn a_ready_pod_may_not_be_available_yet() {
        assert_eq!(counts(true, &[PodReport { available: false, ..POD }]), [1, 1, 0, 1, 0, 1, 1]);
    }

    #[test]
    fn the_oldest_pod_speaks_for_the_node() {
        let second = Timestamp::from_second(1).unwrap();
        let old = PodReport { updated: false, terminating: true, ready: false, ..POD };
        let new = PodReport { created: second, ..POD };
        assert_eq!(counts(true, &[new, old]), [1, 1, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn a_deleted_pod_that_has_ended_no_longer_counts() {
        let ended = PodReport { terminating: true, terminal: true, ..POD };
        assert_eq!(counts(true, &[ended]), [1, 0, 0, 0, 0, 1, 0]);
        let failed = PodReport { terminal: true, ready: false, ..POD };
        assert_eq!(counts(true, &[failed]), [1, 1, 0, 0, 0, 1, 1]);
    }
}
