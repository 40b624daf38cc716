//! What holds a set's whole rollout: a pause, a verdict, canary nodes, a partition, or that nothing moves.

use crate::base::{ids::NodeName, time};
use crate::rollout::turn::TurnKind;

use super::rollout_view::{Count, Line, Scene, State, few};

impl Scene {
    /// What holds the whole set.
    pub(super) fn notes(&self, lines: &[Line]) -> Vec<String> {
        let name = &self.name;
        let mut notes = Vec::new();
        if self.rollout.paused {
            notes.push(format!(
                "paused: no node begins its turn; go on by `podward rollout resume ds/{name}`"
            ));
        }
        if let Some(condemned) = self.own_condemned() {
            let own = self.hash.as_ref().map_or_else(String::new, ToString::to_string);
            let verdict = &condemned.verdict;
            let back = match self.back() {
                Some((number, _)) => format!("nodes go back to revision {number}"),
                None => "there is no revision to go back to; apply another template".to_owned(),
            };
            notes.push(format!(
                "condemned: {} by node {} ({}: {}); {back}",
                self.revision(&own),
                condemned.node,
                verdict.reason,
                verdict.message
            ));
        } else {
            notes.extend(self.canary());
        }
        let keep = self.rollout.partition.of(self.count().nodes);
        if keep > 0 {
            notes.push(format!("partition: {keep} nodes keep the template that they have"));
        }
        notes.extend(self.stall(lines));
        notes
    }

    /// What the canary nodes keep the others waiting for.
    fn canary(&self) -> Option<String> {
        let (hash, rollout) = (self.hash.as_ref()?, &self.rollout);
        if rollout.canary.is_none() || rollout.promoted == hash.as_str() {
            return None;
        }
        let (name, all) = (&self.name, self.canaries.len());
        if rollout.bake.is_zero() || !self.baked.contains(hash) {
            let well = |(node, at): &(&NodeName, &String)| {
                at.as_str() == hash.as_str() && self.available.contains(*node)
            };
            let well = self.canaries.iter().filter(well).count();
            let what = match all {
                0 => "no node matches the annotation podward.dev/canary".to_owned(),
                _ => format!("{well} of {all} canary nodes are available with the new template"),
            };
            let bake = if rollout.bake.is_zero() {
                String::new()
            } else {
                format!(" and bake for {}", time::go_duration(rollout.bake))
            };
            return Some(match bake.as_str() {
                "" => format!(
                    "canary: {what}; the others wait for `podward rollout promote ds/{name}`"
                ),
                bake => format!(
                    "canary: {what}; the others wait until all are{bake}, or for `podward rollout promote ds/{name}`"
                ),
            });
        }
        self.baking.contains(hash).then(|| {
            format!(
                "canary: baking for {}; the others follow then, or with `podward rollout promote ds/{name}`",
                time::go_duration(rollout.bake)
            )
        })
    }

    /// That nothing moves, and why.
    fn stall(&self, lines: &[Line]) -> Option<String> {
        let of = |wanted: State| -> Vec<&str> {
            lines
                .iter()
                .filter(|line| line.state == wanted)
                .map(|line| line.node.as_str())
                .collect()
        };
        let waiting = !of(State::Waiting).is_empty();
        let Count { nodes, unavailable, allowed } = self.count();
        let surging = self.turns.values().filter(|turn| turn.kind == TurnKind::Surge).count();
        let full = if self.rollout.surges() {
            surging >= self.rollout.max_surge.of(nodes)
        } else {
            unavailable >= allowed
        };
        if !of(State::InTurn).is_empty() || (waiting && !full) {
            return None;
        }
        let causes: Vec<String> = [State::Failed, State::Lost, State::Absent, State::Unavailable]
            .into_iter()
            .filter(|state| *state != State::Absent || !self.rollout.ignore_absent)
            .filter_map(|state| {
                let nodes = of(state);
                (!nodes.is_empty()).then(|| format!("{} {}", few(&nodes), state.as_str()))
            })
            .collect();
        let idle = !waiting && self.turns.is_empty();
        if causes.is_empty() || idle {
            return None;
        }
        Some(format!(
            "stalled: nothing moves, since {unavailable} of {nodes} nodes are unavailable and {allowed} may be: {}",
            causes.join(", ")
        ))
    }
}
