//! Whether a node may take its turn now: by what the set allows, and by what the head of the queue read.

use std::fmt;

use crate::base::ids::{NodeName, TemplateHash};
use crate::spec::{Amount, Rollout};

use super::turn::{Turn, TurnKind};

/// How many may claim at most on the count of one: what failed by itself since then only the next count sees.
const PASSED: usize = 64;

/// What is known of a set's gates: keys that every node follows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gates {
    /// The templates that failed.
    pub condemned: Vec<TemplateHash>,
    /// The templates whose canary nodes were all well once, and began to bake.
    pub baked: Vec<TemplateHash>,
    /// Those that are still baking.
    pub baking: Vec<TemplateHash>,
}

/// What a node that waits reads of its set, at one revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// The revision that made the queue key under which it was read: under another one it says nothing.
    pub under: i64,
    /// Who stands in the queue before this node; nobody: it is the head.
    pub ahead: Option<NodeName>,
    /// How many may still claim on what the head before this one counted.
    pub passed: usize,
    /// Whether this node counted itself: all that follows.
    pub counted: bool,
    /// How many nodes should run the set.
    pub members: usize,
    /// How many of them say that their pod is available.
    pub available: usize,
    /// How many give no sign of life, have no turn, and do not count; 0 where they count.
    pub absent: usize,
    /// Who is in its turn.
    pub turns: Vec<(NodeName, Turn)>,
    /// How many nodes have a pod of the template to which this node would go.
    pub updated: usize,
    /// The canary nodes: the template of each, and whether it is available.
    pub canaries: Vec<(TemplateHash, bool)>,
}

/// A node that would take its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mover {
    /// Where to.
    pub to: TemplateHash,
    /// In what way.
    pub kind: TurnKind,
    /// Its value of the set's domain label.
    pub domain: String,
    /// Whether it is of the canary.
    pub canary: bool,
}

/// Why a node does not take its turn now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// The update strategy is `OnDelete`.
    OnDelete,
    /// The rollout is paused.
    Paused,
    /// The new pod could not start here.
    NotReady(String),
    /// The old pod is ready, but not for long enough.
    NotAvailable,
    /// The template failed elsewhere, and there is none to go back to.
    Condemned,
    /// The canary nodes go first.
    Canary,
    /// The canary nodes are well, but not for long enough.
    Baking,
    /// The canary nodes are not all well.
    CanaryIll,
    /// Enough nodes have the new template.
    Partition {
        /// How many keep the old one.
        keep: usize,
    },
    /// Nodes with another value of the domain label are in their turns.
    Domain {
        /// The value.
        value: String,
        /// One of them.
        node: NodeName,
    },
    /// As many nodes as may be are unavailable.
    Budget {
        /// How many are.
        unavailable: usize,
        /// How many may be.
        allowed: usize,
    },
    /// As many nodes as may have two pods do.
    Surge {
        /// How many do.
        surging: usize,
        /// How many may.
        allowed: usize,
    },
    /// Others stand before it in the queue, or the queue is full.
    Queue,
    /// It is in its turn.
    InTurn,
    /// Its turn failed.
    Failed(String),
}

impl Wait {
    /// Its name in logs and output.
    pub fn id(&self) -> &'static str {
        match self {
            Self::OnDelete => "on-delete",
            Self::Paused => "paused",
            Self::NotReady(_) => "preflight-failed",
            Self::NotAvailable => "old-not-available",
            Self::Condemned => "condemned",
            Self::Canary => "canary-first",
            Self::Baking => "canary-baking",
            Self::CanaryIll => "canary-not-available",
            Self::Partition { .. } => "partition",
            Self::Domain { .. } => "domain",
            Self::Budget { .. } => "max-unavailable",
            Self::Surge { .. } => "max-surge",
            Self::Queue => "queued",
            Self::InTurn => "in-turn",
            Self::Failed(_) => "turn-failed",
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnDelete => {
                f.write_str("updateStrategy is OnDelete: delete the pod to bring the new template")
            }
            Self::Paused => f.write_str("the rollout is paused; go on by `podward rollout resume`"),
            Self::NotReady(why) => write!(f, "the new pod could not start here: {why}"),
            Self::NotAvailable => f.write_str("the old pod is not available yet"),
            Self::Condemned => f.write_str(
                "the new template failed on another node and was condemned, and there is none to go back to; \
                 apply another one",
            ),
            Self::Canary => f.write_str(
                "the canary nodes go first; when they are well, go on by `podward rollout promote`",
            ),
            Self::Baking => f.write_str("the canary nodes have the new template, but not for long enough"),
            Self::CanaryIll => f.write_str("the canary nodes are not all available with the new template"),
            Self::Partition { keep } => write!(f, "the partition keeps {keep} nodes at the old template"),
            Self::Domain { value, node } => {
                write!(f, "nodes of the domain {value:?} are in their turns, {node} among them")
            }
            Self::Budget { unavailable, allowed } => {
                write!(f, "{unavailable} nodes are unavailable, and {allowed} may be")
            }
            Self::Surge { surging, allowed } => {
                write!(f, "{surging} nodes have a pod beside the old one, and {allowed} may")
            }
            Self::Queue => f.write_str("it waits in the queue"),
            Self::InTurn => f.write_str("it is in its turn"),
            Self::Failed(why) => write!(
                f,
                "its turn failed: {why}; apply another template, `podward rollout undo`, or `podward rollout release`"
            ),
        }
    }
}

/// Whether the set lets a node go to a template at all, whatever others do.
pub fn gate(rollout: &Rollout, gates: &Gates, mover: &Mover) -> Result<(), Wait> {
    if gates.condemned.contains(&mover.to) {
        return Err(Wait::Condemned);
    }
    if rollout.paused {
        return Err(Wait::Paused);
    }
    if waits_for_canary(rollout, mover) {
        if rollout.bake.is_zero() || !gates.baked.contains(&mover.to) {
            return Err(Wait::Canary);
        }
        if gates.baking.contains(&mover.to) {
            return Err(Wait::Baking);
        }
    }
    Ok(())
}

/// Whether the canary nodes go before this one.
pub fn waits_for_canary(rollout: &Rollout, mover: &Mover) -> bool {
    rollout.canary.is_some() && !mover.canary && rollout.promoted != mover.to.as_str()
}

/// Whether the head of the queue may claim, by what it read; how many more may then on the same count.
pub fn admit(rollout: &Rollout, mover: &Mover, look: &Look) -> Result<usize, Wait> {
    if look.passed > 0 {
        return Ok(look.passed - 1);
    }
    let more = admit_one(rollout, mover, look)?;
    // What else was asked may have another answer for the next one.
    let canary = rollout.canary.is_some() && rollout.promoted != mover.to.as_str();
    let alone = canary || !rollout.domain.is_empty() || rollout.partition != Amount::Count(0);
    Ok(if alone { 0 } else { more.min(PASSED) })
}

/// Whether the head of the queue may claim by its own count, and how many more the budget would let.
fn admit_one(rollout: &Rollout, mover: &Mover, look: &Look) -> Result<usize, Wait> {
    if waits_for_canary(rollout, mover) && !canary_is_well(&mover.to, look) {
        return Err(Wait::CanaryIll);
    }
    let counted = look.members - look.absent.min(look.members);
    let keep = rollout.partition.of(counted);
    let moving = look.turns.iter().filter(|(_, turn)| turn.to == mover.to).count();
    // A node whose pod is there already while its turn is open counts twice: that only delays.
    if keep > 0 && look.updated + moving + keep >= counted {
        return Err(Wait::Partition { keep });
    }
    if !rollout.domain.is_empty()
        && let Some((node, turn)) = look.turns.iter().find(|(_, turn)| turn.domain != mover.domain)
    {
        return Err(Wait::Domain { value: turn.domain.clone(), node: node.clone() });
    }
    if mover.kind == TurnKind::Surge {
        let surging = look.turns.iter().filter(|(_, turn)| turn.kind == TurnKind::Surge).count();
        let allowed = rollout.max_surge.of(counted);
        let more = allowed.checked_sub(surging + 1);
        return more.ok_or(Wait::Surge { surging, allowed });
    }
    let unavailable = counted.saturating_sub(look.available);
    let allowed = allowed_unavailable(rollout, counted);
    let more = allowed.checked_sub(unavailable + 1);
    more.ok_or(Wait::Budget { unavailable, allowed })
}

/// How many of so many nodes may be unavailable; where neither budget leaves anything it is one, as in Kubernetes.
pub fn allowed_unavailable(rollout: &Rollout, nodes: usize) -> usize {
    let allowed = rollout.max_unavailable.of(nodes);
    if allowed == 0 && rollout.max_surge.of(nodes) == 0 && nodes > 0 { 1 } else { allowed }
}

/// Whether every canary node is available with a template; nobody is not everybody.
pub fn canary_is_well(to: &TemplateHash, look: &Look) -> bool {
    let well = |(hash, available): &(TemplateHash, bool)| *available && hash == to;
    !look.canaries.is_empty() && look.canaries.iter().all(well)
}
