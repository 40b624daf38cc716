//! Whether a container that ended is started again: its rules, its own policy, its pod's, in this order.

use k8s_openapi::api::core::v1::{Container, ContainerRestartRule, PodSpec};

use super::{input::ExitKind, record::Terminated, resources::all_containers};

/// What a container is to its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It runs to its end before the next one starts.
    Init,
    /// An init container that stays.
    Sidecar,
    /// What the pod is there for.
    Regular,
}

impl Role {
    /// The role of a container of that name.
    pub fn of(spec: &PodSpec, name: &str) -> Self {
        match spec.init_containers.iter().flatten().find(|container| container.name == name) {
            Some(container) if is_sidecar(container) => Self::Sidecar,
            Some(_) => Self::Init,
            None => Self::Regular,
        }
    }
}

/// Whether an init container stays beside the regular ones.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// The names of all containers, in the order in which they start.
pub fn names(spec: &PodSpec) -> Vec<String> {
    all_containers(spec).map(|container| container.name.clone()).collect()
}

/// How a run of a container ended, as far as the decision goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// The exit code.
    pub code: u32,
    /// Whether it did what it should: an out-of-memory mark makes it a failure whatever the code.
    pub well: bool,
    /// Whether it ended because a probe had it ended: then its rules do not count.
    pub probed: bool,
}

impl Ending {
    /// From an exit.
    pub fn of(code: u32, kind: &ExitKind, probed: bool) -> Self {
        Self { code, well: code == 0 && *kind == ExitKind::Ended, probed }
    }
}

/// Whether a run that is on record ended well.
pub fn succeeded(ended: &Terminated) -> bool {
    ended.exit_code == 0 && ended.reason == "Completed"
}

/// Whether the container is started again.
pub fn restarts(container: &Container, role: Role, end: Ending) -> bool {
    if role == Role::Sidecar {
        return true;
    }
    let mut rules = container.restart_policy_rules.iter().flatten();
    if !end.probed && rules.any(|rule| matches(rule, end.code)) {
        return true;
    }
    match container.restart_policy.as_deref() {
        Some("Never") => false,
        Some("OnFailure") => !end.well,
        // The pod's own policy, which for a DaemonSet is Always. An init container that did its work is done.
        _ => role == Role::Regular || !end.well,
    }
}

/// Whether a rule speaks for this exit code; the only action there is without restarting the whole pod is `Restart`.
fn matches(rule: &ContainerRestartRule, code: u32) -> bool {
    let Some(codes) = rule.exit_codes.as_ref().filter(|_| rule.action == "Restart") else {
        return false;
    };
    let listed =
        codes.values.iter().flatten().any(|value| u32::try_from(*value).ok() == Some(code));
    match codes.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ContainerRestartRuleOnExitCodes;

    use super::*;

    fn rule(operator: &str, values: &[i32]) -> ContainerRestartRule {
        ContainerRestartRule {
            action: "Restart".into(),
            exit_codes: Some(ContainerRestartRuleOnExitCodes {
                operator: operator.into(),
                values: Some(values.to_vec()),
            }),
        }
    }

    #[test]
    fn a_container_is_started_again_by_its_rules_then_its_policy_then_the_pods() {
        let (init, sidecar, regular) = (Role::Init, Role::Sidecar, Role::Regular);
        for (policy, rules, role, code, expected) in [
            (None, vec![], regular, 0, true),
            (None, vec![], regular, 1, true),
            (None, vec![], init, 0, false),
            (None, vec![], init, 1, true),
            (Some("Always"), vec![], sidecar, 0, true),
            (Some("OnFailure"), vec![], regular, 0, false),
            (Some("OnFailure"), vec![], regular, 1, true),
            (Some("Never"), vec![], regular, 1, false),
            (Some("Never"), vec![], init, 1, false),
            (Some("Never"), vec![rule("In", &[42])], regular, 42, true),
            (Some("Never"), vec![rule("In", &[42])], regular, 41, false),
            (Some("Never"), vec![rule("NotIn", &[42])], regular, 41, true),
            (Some("Never"), vec![rule("In", &[1]), rule("In", &[42])], init, 42, true),
        ] {
            let container = Container {
                restart_policy: policy.map(Into::into),
                restart_policy_rules: Some(rules),
                ..Container::default()
            };
            let end = Ending::of(code, &ExitKind::Ended, false);
            assert_eq!(restarts(&container, role, end), expected, "{container:?} {role:?} {code}");
        }
    }

    #[test]
    fn rules_do_not_count_when_a_probe_ended_the_container() {
        let container = Container {
            restart_policy: Some("Never".into()),
            restart_policy_rules: Some(vec![rule("In", &[137])]),
            ..Container::default()
        };
        let end = Ending::of(137, &ExitKind::Ended, true);
        assert!(!restarts(&container, Role::Regular, end));
    }

    #[test]
    fn out_of_memory_is_a_failure_whatever_the_exit_code() {
        let end = Ending::of(0, &ExitKind::OutOfMemory, false);
        assert!(restarts(&Container::default(), Role::Init, end));
    }
}
