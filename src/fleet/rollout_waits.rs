//! What a node that is not in its turn waits for, worked out from what all nodes say: nodes do not write it.

use crate::base::ids::{NodeName, TemplateHash};
use crate::rollout::{
    admit::{Gates, Look, Mover, Wait, admit, gate},
    turn::TurnKind,
};

use super::records::Member;
use super::rollout_view::Scene;

impl Scene {
    /// What a node waits for: what it says itself, otherwise what the set's own rules and the queue say of it.
    pub(super) fn waiting(&self, node: &NodeName, place: Option<usize>, member: &Member) -> String {
        let unseen = self.own_condemned().is_none()
            && self.hash.as_ref().is_some_and(|hash| member.wanted != *hash);
        if unseen {
            return "it has not heard of the new template yet".to_owned();
        }
        if !member.reason.is_empty() {
            return member.reason.clone();
        }
        let surges = self.rollout.surges();
        let mover = Mover {
            to: member.wanted.clone(),
            kind: if surges { TurnKind::Surge } else { TurnKind::Replace },
            // Which one it is of is for the node itself to know.
            domain: self.turns.values().next().map_or_else(String::new, |turn| turn.domain.clone()),
            canary: self.canaries.contains_key(node),
        };
        let wait = gate(&self.rollout, &self.gates(), &mover).and_then(|()| match place {
            Some(1) => admit(&self.rollout, &mover, &self.look(&member.wanted)).map(|_| ()),
            _ => Ok(()),
        });
        match (wait, place) {
            (Err(wait), _) => wait.to_string(),
            (Ok(()), Some(1)) => "it is the next one".to_owned(),
            (Ok(()), Some(_)) => Wait::Queue.to_string(),
            (Ok(()), None) => "it joins the queue soon".to_owned(),
        }
    }

    /// The gates as nodes know them.
    fn gates(&self) -> Gates {
        Gates {
            condemned: self.condemned.keys().cloned().collect(),
            baked: self.baked.iter().cloned().collect(),
            baking: self.baking.iter().cloned().collect(),
        }
    }

    /// What the head of the queue would read, on its way to a template.
    fn look(&self, to: &TemplateHash) -> Look {
        let canary = |(node, at): (&NodeName, &String)| {
            (TemplateHash::new(at.clone()), self.available.contains(node))
        };
        Look {
            under: 0,
            ahead: None,
            passed: 0,
            counted: true,
            members: self.members.len(),
            available: self.available.len(),
            absent: self.members.iter().filter(|(node, _)| self.ignored(node)).count(),
            turns: self.turns.iter().map(|(node, turn)| (node.clone(), turn.clone())).collect(),
            updated: self.members.iter().filter(|(_, one)| one.hash == to.as_str()).count(),
            canaries: self.canaries.iter().map(canary).collect(),
        }
    }
}
