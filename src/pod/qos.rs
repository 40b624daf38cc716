//! A pod's quality of service class, and how soon the kernel kills its containers when memory runs out.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec};

use crate::base::quantity::Amount;

use super::resources::{Side, all_containers, declared};

/// The two resources that the class looks at.
const COUNTED: [&str; 2] = ["cpu", "memory"];

/// The score of pods that the kernel shall spare.
const SPARED: i32 = -997;

/// The score of pods that promised nothing.
const FIRST_TO_GO: i32 = 1000;

/// The class that decides who gives way under pressure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    /// Every container has limits, and requests equal to them.
    Guaranteed,
    /// Something is requested or limited.
    Burstable,
    /// Nothing is.
    BestEffort,
}

impl Qos {
    /// The word in the pod's status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// The class of a pod.
pub fn qos_class(spec: &PodSpec) -> Qos {
    let (mut requests, mut limits) = (BTreeMap::new(), BTreeMap::new());
    let mut limited_throughout = true;
    for container in all_containers(spec) {
        for name in COUNTED {
            add(&mut requests, name, declared(container, Side::Requests, name));
            limited_throughout &= add(&mut limits, name, declared(container, Side::Limits, name));
        }
    }
    if requests.is_empty() && limits.is_empty() {
        Qos::BestEffort
    } else if limited_throughout && requests == limits {
        Qos::Guaranteed
    } else {
        Qos::Burstable
    }
}

/// Adds a positive amount to a sum, in thousandths; says whether there was one.
fn add(
    sums: &mut BTreeMap<&'static str, i128>,
    name: &'static str,
    amount: Option<Amount>,
) -> bool {
    let milli = amount.map_or(0, Amount::milli);
    if milli > 0 {
        *sums.entry(name).or_default() += i128::from(milli);
    }
    milli > 0
}

/// The `oom_score_adj` of a container's processes. It is never left out: a process that inherits the
/// shim's score would be spared by the kernel while the host's own daemons are killed.
pub fn oom_score_adj(spec: &PodSpec, container: &Container, memory_capacity: u64) -> i32 {
    if node_critical(spec) {
        return SPARED;
    }
    match qos_class(spec) {
        Qos::Guaranteed => SPARED,
        Qos::BestEffort => FIRST_TO_GO,
        Qos::Burstable => {
            let request = declared(container, Side::Requests, "memory").map_or(0, Amount::value);
            let share = 1000 * i128::from(request.max(0)) / i128::from(memory_capacity.max(1));
            // Above every guaranteed pod, below every best-effort one.
            let score =
                (1000 - share).clamp(i128::from(1000 + SPARED), i128::from(FIRST_TO_GO - 1));
            i32::try_from(score).unwrap_or(FIRST_TO_GO - 1)
        }
    }
}

/// Whether the pod names the class of the node's own daemons.
fn node_critical(spec: &PodSpec) -> bool {
    /// Priorities from here on belong to the system's classes.
    const SYSTEM: i32 = 2_000_000_000;
    spec.priority_class_name.as_deref() == Some("system-node-critical")
        && spec.priority.is_none_or(|priority| priority >= SYSTEM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::resources::tests::container;

    fn pod(containers: Vec<Container>) -> PodSpec {
        PodSpec { containers, ..PodSpec::default() }
    }

    #[test]
    fn the_class_follows_requests_and_limits() {
        let full = || container("a", &[("cpu", "1", "1"), ("memory", "1Gi", "1Gi")]);
        for (class, containers) in [
            (Qos::BestEffort, vec![container("a", &[])]),
            (Qos::BestEffort, vec![container("a", &[("cpu", "0", "0")])]),
            (Qos::BestEffort, vec![container("a", &[("ephemeral-storage", "1Gi", "1Gi")])]),
            (Qos::Guaranteed, vec![full()]),
            (Qos::Guaranteed, vec![container("a", &[("cpu", "", "1"), ("memory", "", "1Gi")])]),
            (
                Qos::Guaranteed,
                vec![container("a", &[("cpu", "1000m", "1"), ("memory", "", "1Gi")])],
            ),
            (Qos::Burstable, vec![full(), container("b", &[])]),
            (Qos::Burstable, vec![container("a", &[("cpu", "1", "1")])]),
            (Qos::Burstable, vec![container("a", &[("memory", "1Mi", "")])]),
            (Qos::Burstable, vec![container("a", &[("cpu", "1", "2"), ("memory", "1Gi", "1Gi")])]),
        ] {
            assert_eq!(qos_class(&pod(containers.clone())), class, "{containers:?}");
        }
    }

    #[test]
    fn init_containers_count_for_the_class() {
        let mut spec = pod(vec![container("a", &[("cpu", "1", "1"), ("memory", "1Gi", "1Gi")])]);
        spec.init_containers = Some(vec![container("init", &[])]);
        assert_eq!(qos_class(&spec), Qos::Burstable);
    }

    #[test]
    fn the_score_falls_with_the_memory_that_was_promised() {
        const CAPACITY: u64 = 4 << 30;
        for (score, amounts) in [
            (1000, vec![]),
            (-997, vec![("cpu", "1", "1"), ("memory", "1Gi", "1Gi")]),
            (750, vec![("memory", "1Gi", "2Gi")]),
            (999, vec![("cpu", "1", "")]),
            (999, vec![("memory", "1", "")]),
            (3, vec![("memory", "4Gi", "")]),
            (3, vec![("memory", "16Gi", "")]),
        ] {
            let spec = pod(vec![container("a", &amounts)]);
            assert_eq!(oom_score_adj(&spec, &spec.containers[0], CAPACITY), score, "{amounts:?}");
        }
    }

    #[test]
    fn the_nodes_own_daemons_are_spared() {
        let mut spec = pod(vec![container("a", &[])]);
        spec.priority_class_name = Some("system-node-critical".into());
        assert_eq!(oom_score_adj(&spec, &spec.containers[0], 1 << 30), -997);
        spec.priority_class_name = Some("system-cluster-critical".into());
        assert_eq!(oom_score_adj(&spec, &spec.containers[0], 1 << 30), 1000);
    }
}
