//! The node's taints against a pod's tolerations: may it start, may it go on, when is it evicted.

use std::time::Duration;

use k8s_openapi::api::core::v1::Taint;

use crate::node::eligibility::{Reason, id};
use crate::node::tolerations::Tolerations;

/// What the taints say of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tolerated {
    /// No `NoSchedule` and no `NoExecute` taint is untolerated.
    pub may_start: bool,
    /// No `NoExecute` taint is untolerated.
    pub may_continue: bool,
    /// The shortest time for which a `NoExecute` taint is tolerated; `None` for ever.
    pub evict_after: Option<Duration>,
}

/// Weighs all taints of a node.
pub fn weigh(
    taints: &[Taint],
    tolerations: &Tolerations<'_>,
    reasons: &mut Vec<Reason>,
) -> Tolerated {
    let mut all = Tolerated { may_start: true, may_continue: true, evict_after: None };
    let mut considered = false;
    for taint in taints {
        let executes = match taint.effect.as_str() {
            "NoSchedule" => false,
            "NoExecute" => true,
            _ => {
                reasons.push(ignored(taint));
                continue;
            }
        };
        considered = true;
        let reason = one(taint, tolerations, executes, &mut all);
        reasons.push(reason);
    }
    if taints.is_empty() {
        reasons.push(Reason {
            id: id::NO_TAINTS,
            message: "the node has no taints".into(),
            clause: "taints".into(),
            holds: true,
        });
    }
    if considered {
        reasons.push(Reason {
            id: id::AUTOMATIC_TOLERATIONS,
            message: tolerations.automatic_in_words(),
            clause: "automatic tolerations".into(),
            holds: true,
        });
    }
    all
}

/// Weighs one `NoSchedule` or `NoExecute` taint.
fn one(
    taint: &Taint,
    tolerations: &Tolerations<'_>,
    executes: bool,
    all: &mut Tolerated,
) -> Reason {
    let clause = format!("taint {}", shown(taint));
    let Some(matching) = tolerations.first_match(taint) else {
        all.may_start = false;
        if executes {
            all.may_continue = false;
            all.evict_after = Some(Duration::ZERO);
        }
        let message = match tolerations.near_miss(taint) {
            Some(miss) => format!("{clause} is not tolerated: {miss}"),
            None => format!("{clause} is not tolerated"),
        };
        return Reason { id: id::TAINT, message, clause, holds: false };
    };
    match matching.seconds.filter(|_| executes) {
        None => {
            let message = format!("{clause} is tolerated by {matching}");
            Reason { id: id::TAINT, message, clause, holds: true }
        }
        Some(seconds) => {
            // Zero and less mean at once.
            let limit = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
            all.evict_after = Some(all.evict_after.map_or(limit, |before| before.min(limit)));
            let message = if limit.is_zero() {
                format!("{clause} is tolerated by {matching} for no time: a pod is evicted at once")
            } else {
                format!(
                    "{clause} is tolerated by {matching} for {seconds} s, then a pod is evicted"
                )
            };
            Reason { id: id::TAINT_FOR_A_TIME, message, clause, holds: true }
        }
    }
}

/// A taint with an effect that never keeps a DaemonSet away.
fn ignored(taint: &Taint) -> Reason {
    let clause = format!("taint {}", shown(taint));
    let message = if taint.effect == "PreferNoSchedule" {
        format!(
            "{clause} only asks a scheduler to avoid the node; a DaemonSet has no scheduler's choice"
        )
    } else {
        format!("{clause} has no effect that counts: NoSchedule and NoExecute do")
    };
    Reason { id: id::IGNORED_TAINT, message, clause, holds: true }
}

/// A taint as kubectl writes it.
fn shown(taint: &Taint) -> String {
    match taint.value.as_deref() {
        None | Some("") => format!("{}:{}", taint.key, taint.effect),
        Some(value) => format!("{}={value}:{}", taint.key, taint.effect),
    }
}
