//! Whether a pod can take a new template as it runs: only amounts of CPU and memory changed.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec, ResourceRequirements};

use super::containers::State;
use super::machine::Pod;
use super::qos::qos_class;
use super::resources::{Resources, Side, all_containers, declared};

/// The resources that can change while a process runs.
const CHANGEABLE: [&str; 2] = ["cpu", "memory"];

/// Whether a pod of the one template becomes one of the other by new limits alone, as Kubernetes allows it: the
/// service class stays, no limit goes away, and no container wants to be started anew for it.
pub fn resizable(old: &PodTemplateSpec, new: &PodTemplateSpec) -> bool {
    let (Some(was), Some(is)) = (&old.spec, &new.spec) else { return false };
    old != new
        && bare(old) == bare(new)
        && qos_class(was) == qos_class(is)
        && all_containers(was).zip(all_containers(is)).all(|(was, is)| stays_up(was, is))
}

/// A template without what can change.
fn bare(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    if let Some(spec) = &mut template.spec {
        for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
            strip(&mut container.resources);
        }
    }
    template
}

/// Takes the amounts of CPU and memory away.
fn strip(resources: &mut Option<ResourceRequirements>) {
    let Some(own) = resources else { return };
    for list in [&mut own.limits, &mut own.requests] {
        if let Some(amounts) = list {
            amounts.retain(|name, _| !CHANGEABLE.contains(&name.as_str()));
        }
        if list.as_ref().is_some_and(BTreeMap::is_empty) {
            *list = None;
        }
    }
    if *own == ResourceRequirements::default() {
        *resources = None;
    }
}

/// Whether a container keeps running under its new amounts.
fn stays_up(was: &Container, is: &Container) -> bool {
    CHANGEABLE.iter().all(|name| {
        let amount = |container, side| declared(container, side, name);
        let changed =
            [Side::Limits, Side::Requests].iter().any(|s| amount(was, *s) != amount(is, *s));
        let loses_limit = amount(was, Side::Limits).is_some() && amount(is, Side::Limits).is_none();
        let restarts = is.resize_policy.iter().flatten().any(|policy| {
            policy.resource_name == *name && policy.restart_policy == "RestartContainer"
        });
        !(loses_limit || changed && restarts)
    })
}

/// Limits that are as wide as either: under them, containers can change in any order.
pub fn widest(a: &Resources, b: &Resources) -> Resources {
    let wider = |a: Option<i64>, b: Option<i64>| Some(a?.max(b?));
    Resources {
        cpu_shares: a.cpu_shares.max(b.cpu_shares),
        cpu_quota: wider(a.cpu_quota, b.cpu_quota),
        cpu_period: b.cpu_period,
        memory_limit: wider(a.memory_limit, b.memory_limit),
    }
}

/// The pairs of a running container in its old form and its new one.
pub fn changes<'a>(was: &'a PodSpec, is: &'a PodSpec) -> Vec<(&'a Container, &'a Container)> {
    all_containers(was).zip(all_containers(is)).filter(|(was, is)| was != is).collect()
}

impl Pod {
    /// The attempts that run, by container; `None` while one is just being started, or the pod is on its way up or down.
    pub fn running_attempts(&self) -> Option<BTreeMap<String, u32>> {
        if self.stopping() || self.record.sandbox.is_none() || self.lost {
            return None;
        }
        let mut running = BTreeMap::new();
        for (name, state) in &self.containers {
            match state {
                State::Starting { .. } => return None,
                State::Hooking { attempt }
                | State::Running { attempt }
                | State::Stopping { attempt, .. } => {
                    running.insert(name.clone(), *attempt);
                }
                State::Waiting { .. } | State::Pulling { .. } | State::Ended => {}
            }
        }
        Some(running)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ContainerResizePolicy;

    use crate::pod::resources::tests::container;

    use super::*;

    /// A template of one container with these amounts: name, request, limit.
    fn template(amounts: &[(&str, &str, &str)]) -> PodTemplateSpec {
        let containers = vec![container("main", amounts)];
        let spec = PodSpec { containers, ..PodSpec::default() };
        PodTemplateSpec { spec: Some(spec), ..PodTemplateSpec::default() }
    }

    #[test]
    fn only_new_amounts_of_one_service_class_can_be_taken_while_running() {
        let old = template(&[("memory", "16Mi", "64Mi")]);
        for (new, fits) in [
            (template(&[("memory", "16Mi", "128Mi")]), true),
            (template(&[("memory", "32Mi", "64Mi")]), true),
            (template(&[("memory", "16Mi", "64Mi"), ("cpu", "100m", "200m")]), true),
            (old.clone(), false),
            (template(&[("memory", "16Mi", "")]), false),
            (template(&[]), false),
        ] {
            assert_eq!(resizable(&old, &new), fits, "{new:?}");
        }
        let full = [("cpu", "1", "1"), ("memory", "64Mi", "64Mi")];
        assert!(!resizable(&old, &template(&full)), "Guaranteed is another class");
    }

    #[test]
    fn anything_else_that_changed_or_a_wish_to_be_restarted_replaces_the_pod() {
        let old = template(&[("memory", "16Mi", "64Mi")]);
        let mut new = template(&[("memory", "16Mi", "128Mi")]);
        new.spec.as_mut().unwrap().containers[0].image = Some("other".into());
        assert!(!resizable(&old, &new));

        let wish = |template: &PodTemplateSpec, resource: &str| {
            let mut template = template.clone();
            template.spec.as_mut().unwrap().containers[0].resize_policy =
                Some(vec![ContainerResizePolicy {
                    resource_name: resource.into(),
                    restart_policy: "RestartContainer".into(),
                }]);
            template
        };
        let new = template(&[("memory", "16Mi", "128Mi")]);
        assert!(!resizable(&wish(&old, "memory"), &wish(&new, "memory")));
        assert!(resizable(&wish(&old, "cpu"), &wish(&new, "cpu")));
    }

    #[test]
    fn on_the_way_a_pods_limits_are_as_wide_as_either() {
        let limits = |memory_limit, cpu_quota| Resources {
            cpu_shares: 2,
            cpu_quota,
            cpu_period: 100_000,
            memory_limit,
        };
        let between = widest(&limits(Some(1), None), &limits(Some(2), Some(5)));
        assert_eq!(between, limits(Some(2), None));
    }
}
