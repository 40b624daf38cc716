//! The protocol's transactions as etcd knows them, and what operators are told of them.

use tracing::{info, warn};

use crate::base::ids::SetKey;
use crate::fleet::events::EventType;
use crate::rollout::{
    deal::{Demand, Key, Write},
    protocol::{Act, Facts},
    turn::{Condemned, TurnKind},
};
use crate::store::{Compare, Error, Gate, Op, Range, Store};

use super::{feeds::News, store_publish::Publisher, turn_keeper::Keeper, turn_looks};

impl Keeper {
    /// Tells operators of what concerns them.
    pub(super) fn say(&self, set: &SetKey, act: &Act, facts: &Facts) {
        let to = &facts.local.to;
        let (kind, reason, message) = match act {
            Act::Claim { .. } | Act::Repair => {
                let how = match facts.local.kind() {
                    TurnKind::Replace => "its pod is replaced",
                    TurnKind::Surge => "the new pod starts beside the old one",
                    TurnKind::Repair => "its pod was not available",
                };
                (EventType::Normal, "TurnTaken", format!("Took the turn for template {to}: {how}"))
            }
            Act::Done => (
                EventType::Normal,
                "TurnDone",
                format!("Ended the turn: template {to} is available"),
            ),
            Act::Withdraw(_) => (
                EventType::Normal,
                "TurnWithdrawn",
                "Gave the turn back: nothing was disturbed".to_owned(),
            ),
            Act::Retarget => (
                EventType::Normal,
                "TurnRetargeted",
                format!("Goes to template {to} in the same turn"),
            ),
            Act::Fail { verdict, condemn } => {
                let next = if *condemn { "every node goes back from it" } else { "the turn stays" };
                let message =
                    format!("The turn for template {to} failed: {}; {next}", verdict.message);
                let reason = if verdict.reason == "BootLoop" {
                    "BootLoop"
                } else {
                    "ProgressDeadlineExceeded"
                };
                (EventType::Warning, reason, message)
            }
            Act::StartBake => (
                EventType::Normal,
                "CanaryBaking",
                format!(
                    "The canary nodes are well; the others follow in {} seconds",
                    facts.local.rollout.bake.as_secs()
                ),
            ),
            Act::ResetBake => (
                EventType::Warning,
                "CanaryNotAvailable",
                "A canary node is no longer well; the others wait".to_owned(),
            ),
            Act::Show(_) | Act::Hide | Act::Enter | Act::Leave => return,
        };
        if kind == EventType::Warning {
            warn!(set = %set, hash = %to, reason, "{message}");
        } else {
            info!(set = %set, hash = %to, reason, "{message}");
        }
        // Without a reconciler the agent is stopping.
        let _ = self.news.send(News::Noted(set.clone(), kind, reason, message));
    }

    /// A key of the protocol as etcd knows it.
    fn key(&self, set: &SetKey, key: &Key) -> String {
        let (keys, node) = (&self.keys, &self.node);
        match key {
            Key::Set => keys.set(set),
            Key::Member => keys.member(set, node),
            Key::Available => keys.available(set, node),
            Key::Turn => keys.turn(set, node),
            Key::Queue => keys.queue(set, node),
            Key::Condemned(hash) => keys.gate(set, Gate::Condemned, hash),
            Key::Baked(hash) => keys.gate(set, Gate::Baked, hash),
            Key::Baking(hash) => keys.gate(set, Gate::Baking, hash),
        }
    }

    /// A demand of the protocol as etcd knows it.
    pub(super) fn compare(&self, set: &SetKey, demand: &Demand) -> Compare {
        match demand {
            Demand::Absent(key) => Compare::Absent(self.key(set, key)),
            Demand::Present(key) => Compare::Present(self.key(set, key)),
            Demand::Changed(key, revision) => Compare::ModRevision(self.key(set, key), *revision),
            Demand::Made(key, revision) => Compare::CreateRevision(self.key(set, key), *revision),
        }
    }

    /// A write of the protocol as etcd knows it.
    pub(super) async fn ops(
        &self,
        set: &SetKey,
        write: &Write,
        store: &Store,
        publisher: &Publisher,
    ) -> Result<Vec<Op>, Error> {
        let lease = publisher.lease();
        let key = |key: &Key| self.key(set, key);
        Ok(match write {
            Write::Show(hash) => {
                let value = hash.as_str().as_bytes().to_vec();
                vec![Op::Put { key: key(&Key::Available), value, lease }]
            }
            Write::Enter => {
                // Who entered last is read before it is another one: that is who stands before this node.
                let entered = self.keys.entered(set);
                let last = Op::Get(Range::key(entered.clone()));
                let queue = Op::Put { key: key(&Key::Queue), value: Vec::new(), lease };
                vec![last, queue, Op::put(entered, self.node.as_str())]
            }
            Write::Pass(claimed) => {
                vec![Op::put(self.keys.claimed(set), turn_looks::json(claimed))]
            }
            Write::Turn(turn) => vec![Op::put(key(&Key::Turn), turn_looks::json(turn))],
            Write::Condemn(hash, verdict) => {
                let uid = publisher.uid_of(set);
                let node = self.node.to_string();
                let word = Condemned { uid, node, verdict: verdict.clone() };
                vec![Op::put(key(&Key::Condemned(hash.clone())), turn_looks::json(&word))]
            }
            Write::Bake(hash, bake) => {
                let lease = store.grant(*bake).await?;
                let baked = Op::put(key(&Key::Baked(hash.clone())), self.node.as_str());
                let baking = key(&Key::Baking(hash.clone()));
                vec![baked, Op::Put { key: baking, value: Vec::new(), lease }]
            }
            Write::Delete(which) => vec![Op::Delete(Range::key(key(which)))],
            Write::Member => Vec::new(),
        })
    }
}
