//! A rollout in a description: strategy, budget, who is in its turn, what failed, what holds it.

use crate::base::time;
use crate::spec::{Amount, Rollout};

use super::rollout_view::{Scene, State};

/// Labels with their lines.
pub type Summary = Vec<(&'static str, Vec<String>)>;

/// How a set's updates go, by what it says itself.
pub fn strategy(rollout: &Rollout) -> Summary {
    if rollout.on_delete {
        return vec![(
            "Strategy",
            vec!["OnDelete: only `podward delete pod` brings a new template".into()],
        )];
    }
    let failure = if rollout.rollback { "roll back" } else { "stall" };
    let mut lines: Summary = vec![
        (
            "Strategy",
            vec![format!(
                "RollingUpdate ({} max unavailable, {} max surge)",
                amount(rollout.max_unavailable),
                amount(rollout.max_surge)
            )],
        ),
        ("Min Ready", vec![time::go_duration(rollout.min_ready)]),
        ("Deadline", vec![format!("{}, then {failure}", time::go_duration(rollout.deadline))]),
    ];
    if !rollout.domain.is_empty() {
        lines.push(("Domain", vec![rollout.domain.clone()]));
    }
    lines
}

/// A number of nodes as operators wrote it.
fn amount(amount: Amount) -> String {
    match amount {
        Amount::Count(count) => count.to_string(),
        Amount::Percent(percent) => format!("{percent}%"),
    }
}

impl Scene {
    /// The rollout as a description shows it.
    pub fn summary(&self, now: jiff::Timestamp) -> Summary {
        let story = self.story();
        let mut summary = strategy(&self.rollout);
        let (nodes, unavailable, allowed) = self.budget();
        summary.push((
            "Budget",
            vec![format!("{allowed} of {nodes} nodes may be unavailable, {unavailable} are")],
        ));
        let of = |wanted: &[State]| -> Vec<String> {
            let lines = story.lines.iter().filter(|line| wanted.contains(&line.state));
            lines.map(|line| line.shown(now)).collect()
        };
        summary.push(("In Turn", of(&[State::InTurn, State::Lost])));
        summary.push(("Failed", of(&[State::Failed])));
        let waiting = story.lines.iter().filter(|line| line.state == State::Waiting).count();
        if waiting > 0 {
            summary.push(("Waiting", vec![format!("{waiting} nodes")]));
        }
        let condemned = self.condemned.iter().map(|(hash, condemned)| {
            let verdict = &condemned.verdict;
            format!(
                "{} by node {} ({}: {})",
                self.revision(hash.as_str()),
                condemned.node,
                verdict.reason,
                verdict.message
            )
        });
        summary.push(("Condemned", condemned.collect()));
        summary.push(("Holds", story.notes));
        summary
    }
}
