//! How a set's updates go from host to host: the update strategy, and the annotations that say what Kubernetes has no
//! fields for.

use std::time::Duration;

use k8s_openapi::{
    api::apps::v1::DaemonSet, apimachinery::pkg::util::intstr::IntOrString as Share,
};

use crate::base::nearest::nearest;
use crate::spec::{
    names,
    report::Report,
    selector::{SELECTOR_SYNTAX, Selector},
    spot::Spot,
};

/// What the annotations' names begin with.
const PREFIX: &str = "podward.dev/";

/// `"true"`: no node begins to update.
pub const PAUSED: &str = "podward.dev/paused";
/// The template that may go beyond the canary nodes: written by `rollout promote`.
pub const PROMOTED: &str = "podward.dev/promoted";
/// The revision that `rollout undo` left: a template that was gone back to is not gone back from.
pub const ROLLED_BACK: &str = "podward.dev/rolled-back-from";
/// How long a node in its turn may take to become available.
const DEADLINE: &str = "podward.dev/progress-deadline-seconds";
/// What a failed turn does: `stall` or `rollback`.
const ON_FAILURE: &str = "podward.dev/on-failure";
/// Whether nodes without a sign of life count: `count` or `ignore`.
const ABSENT: &str = "podward.dev/absent-nodes";
/// Which nodes go first: a label selector.
const CANARY: &str = "podward.dev/canary";
/// How long the canary nodes must be well before the others follow.
const BAKE: &str = "podward.dev/bake-seconds";
/// How many nodes keep the old template.
const PARTITION: &str = "podward.dev/partition";
/// The label of which two values are never disturbed at once.
const DOMAIN: &str = "podward.dev/domain";
/// Where no store coordinates hosts: within how long all of them update.
const SPLAY: &str = "podward.dev/splay-seconds";

/// Every annotation.
const ALL: [&str; 11] = [
    PAUSED,
    PROMOTED,
    ROLLED_BACK,
    DEADLINE,
    ON_FAILURE,
    ABSENT,
    CANARY,
    BAKE,
    PARTITION,
    DOMAIN,
    SPLAY,
];

/// How long a node in its turn may take unless the set says otherwise: as long as a Deployment's.
const DEFAULT_DEADLINE: Duration = Duration::from_mins(10);

/// A number of nodes: so many, or so many of a hundred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many.
    Count(usize),
    /// So many of a hundred, rounded up.
    Percent(usize),
}

impl Amount {
    /// How many nodes of `all` that are.
    pub fn of(self, all: usize) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => (percent * all).div_ceil(100),
        }
    }

    /// Reads `3` or `10%`.
    fn parse(text: &str) -> Option<Self> {
        let (digits, percent) = match text.strip_suffix('%') {
            Some(digits) => (digits, true),
            None => (text, false),
        };
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number: usize = digits.parse().ok().filter(|_| plain)?;
        if percent {
            return (number <= 100).then_some(Self::Percent(number));
        }
        (number <= i32::MAX.unsigned_abs() as usize).then_some(Self::Count(number))
    }
}

/// How a set's updates go from host to host.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is the answer to a question of its own")]
pub struct Rollout {
    /// Whether only `podward delete pod` brings a new template.
    pub on_delete: bool,
    /// How many nodes may be without an available pod.
    pub max_unavailable: Amount,
    /// How many nodes may have a new pod beside the old one.
    pub max_surge: Amount,
    /// How long a pod must be ready to count as available.
    pub min_ready: Duration,
    /// Whether no node begins to update.
    pub paused: bool,
    /// How long a node in its turn may take to become available.
    pub deadline: Duration,
    /// Whether a template that failed is condemned, and every node goes back from it.
    pub rollback: bool,
    /// Whether the set is the result of a rollback: it is not gone back from.
    pub rolled_back: bool,
    /// Whether nodes without a sign of life and without a turn do not count.
    pub ignore_absent: bool,
    /// Which nodes go first.
    pub canary: Option<Selector>,
    /// The template that may go beyond the canary nodes.
    pub promoted: String,
    /// How long the canary nodes must be well before the others follow; zero: until somebody promotes.
    pub bake: Duration,
    /// How many nodes keep the old template.
    pub partition: Amount,
    /// The label of which two values are never disturbed at once; empty for none.
    pub domain: String,
    /// Within how long all hosts update where no store coordinates them.
    pub splay: Option<Duration>,
}

impl Rollout {
    /// What a valid set says. What an earlier build let through unread counts as not written.
    pub fn of(set: &DaemonSet) -> Self {
        let annotations = set.metadata.annotations.as_ref();
        let word = |key: &str| {
            annotations.and_then(|all| all.get(key)).map(String::as_str).unwrap_or_default()
        };
        let seconds = |key: &str| word(key).parse().ok().map(Duration::from_secs);
        let spec = set.spec.as_ref();
        let strategy = spec.and_then(|spec| spec.update_strategy.as_ref());
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let share = |share: Option<&Share>| match share {
            Some(Share::Int(count)) => usize::try_from(*count).ok().map(Amount::Count),
            Some(Share::String(text)) => Amount::parse(text),
            None => None,
        };
        let surge = share(rolling.and_then(|rolling| rolling.max_surge.as_ref()));
        let unavailable = share(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()));
        let min_ready = spec.and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        Self {
            on_delete: strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete"),
            max_unavailable: unavailable.unwrap_or(Amount::Count(1)),
            max_surge: surge.unwrap_or(Amount::Count(0)),
            min_ready: Duration::from_secs(u64::try_from(min_ready).unwrap_or(0)),
            paused: word(PAUSED) == "true",
            deadline: seconds(DEADLINE).unwrap_or(DEFAULT_DEADLINE),
            rollback: word(ON_FAILURE) == "rollback",
            rolled_back: !word(ROLLED_BACK).is_empty(),
            ignore_absent: word(ABSENT) == "ignore",
            canary: Some(word(CANARY))
                .filter(|text| !text.is_empty())
                .and_then(|text| Selector::parse(text).ok()),
            promoted: word(PROMOTED).to_owned(),
            bake: seconds(BAKE).unwrap_or_default(),
            partition: Amount::parse(word(PARTITION)).unwrap_or(Amount::Count(0)),
            domain: word(DOMAIN).to_owned(),
            splay: seconds(SPLAY),
        }
    }

    /// Whether the new pod starts beside the old one.
    pub fn surges(&self) -> bool {
        !matches!(self.max_surge, Amount::Count(0) | Amount::Percent(0))
    }
}

/// Checks the annotations that are ours.
pub fn check(annotations: &Spot, report: &mut Report) {
    for (key, value) in annotations.entries() {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        let Some(text) = value.text() else { continue };
        let outcome = match key {
            PAUSED => one_of(text, &["true", "false"], "write \"true\" or \"false\""),
            ON_FAILURE => one_of(text, &["stall", "rollback"], "write stall or rollback"),
            ABSENT => one_of(text, &["count", "ignore"], "write count or ignore"),
            DEADLINE => seconds(text, 1),
            BAKE | SPLAY => seconds(text, 0),
            PARTITION => Amount::parse(text)
                .map(drop)
                .ok_or("write a number of nodes such as 3, or a percentage such as 90%".to_owned()),
            DOMAIN => names::label_key(text).map_err(str::to_owned),
            CANARY => match Selector::parse(text) {
                Ok(_) if !text.trim().is_empty() => Ok(()),
                Ok(_) => Err("select nodes by a label such as canary=true".to_owned()),
                Err(fault) => Err(format!("{fault}; {SELECTOR_SYNTAX}")),
            },
            PROMOTED | ROLLED_BACK => Ok(()),
            _ => {
                let known = ALL.iter().map(|known| &known[PREFIX.len()..]);
                let remedy = match nearest(name, known) {
                    Some(known) => format!("did you mean {PREFIX}{known}?"),
                    None => format!("the annotations of podward are {}", ALL.join(", ")),
                };
                value.fault(report, "unknown annotation of podward", remedy);
                continue;
            }
        };
        if let Err(remedy) = outcome {
            value.fault(report, "is not well-formed", remedy);
        }
    }
}

/// Checks that a text is one of these words.
fn one_of(text: &str, words: &[&str], remedy: &str) -> Result<(), String> {
    if words.contains(&text) { Ok(()) } else { Err(remedy.to_owned()) }
}

/// Checks a number of seconds.
fn seconds(text: &str, least: u32) -> Result<(), String> {
    match text.parse::<u32>() {
        Ok(seconds) if seconds >= least => Ok(()),
        _ => Err(format!("write a number of seconds from {least} to {}", u32::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::spec::FieldValidation;

    use super::*;

    fn set(annotations: &Value, rolling: &Value) -> DaemonSet {
        serde_json::from_value(json!({
            "metadata": {"annotations": annotations},
            "spec": {"selector": {}, "template": {}, "minReadySeconds": 5,
                     "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}
        }))
        .unwrap()
    }

    #[test]
    fn percentages_are_rounded_up_and_numbers_taken_as_they_are() {
        for (amount, all, nodes) in [
            ("10%", 10, 1),
            ("10%", 11, 2),
            ("1%", 1, 1),
            ("0%", 9, 0),
            ("100%", 7, 7),
            ("9", 3, 9),
        ] {
            assert_eq!(Amount::parse(amount).unwrap().of(all), nodes, "{amount} of {all}");
        }
        for wrong in ["", "%", "-1", "1.5", "101%", "+3", "99999999999"] {
            assert_eq!(Amount::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_set_that_says_nothing_rolls_one_node_at_a_time_and_stalls_on_failure() {
        let rollout = Rollout::of(&set(&json!({}), &json!({})));
        assert_eq!(rollout.max_unavailable, Amount::Count(1));
        assert_eq!(
            (rollout.deadline, rollout.min_ready),
            (DEFAULT_DEADLINE, Duration::from_secs(5))
        );
        assert!(!rollout.surges() && !rollout.rollback && !rollout.paused && !rollout.on_delete);
    }

    #[test]
    fn annotations_say_what_kubernetes_has_no_fields_for() {
        let annotations = json!({
            "podward.dev/paused": "true", "podward.dev/on-failure": "rollback", "podward.dev/canary": "ring=0",
            "podward.dev/bake-seconds": "60", "podward.dev/partition": "50%", "podward.dev/domain": "rack",
            "podward.dev/absent-nodes": "ignore", "podward.dev/progress-deadline-seconds": "30",
        });
        let rollout =
            Rollout::of(&set(&annotations, &json!({"maxUnavailable": 0, "maxSurge": "20%"})));
        assert!(rollout.paused && rollout.rollback && rollout.ignore_absent && rollout.surges());
        assert_eq!((rollout.partition, rollout.domain.as_str()), (Amount::Percent(50), "rack"));
        assert_eq!(
            (rollout.bake, rollout.deadline),
            (Duration::from_mins(1), Duration::from_secs(30))
        );
        assert!(rollout.canary.unwrap().selects(&[("ring".into(), "0".into())].into()));
    }

    #[test]
    fn a_wrong_annotation_names_itself_and_the_remedy() {
        for (key, value, remedy) in [
            ("paused", "yes", "write \"true\" or \"false\""),
            ("on-failure", "abort", "write stall or rollback"),
            ("progress-deadline-seconds", "0", "write a number of seconds from 1 to"),
            ("partition", "half", "write a number of nodes such as 3"),
            ("canary", "ring=", ""),
            ("canary", "ring in 0", "values stand in parentheses"),
            ("canarys", "a=b", "did you mean podward.dev/canary?"),
            ("domain", "a b", ""),
        ] {
            let annotations = json!({ format!("{PREFIX}{key}"): value });
            let mut report = Report::new("x.yaml", 0, FieldValidation::Strict);
            check(&Spot { path: "metadata.annotations".into(), value: &annotations }, &mut report);
            let told: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
            let valid = key == "canary" && value == "ring=";
            assert_eq!(told.is_empty(), valid, "{key}: {told:?}");
            assert!(
                told.iter().all(|fault| fault.contains(key) && fault.contains(remedy)),
                "{told:?}"
            );
        }
    }
}
