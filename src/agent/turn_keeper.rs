//! The keeper of turns: for each set that comes from the store it knows this node's own keys, asks the reconciler how its
//! pods are, has the protocol decide, and carries out one transaction after the other. It lives as long as a session.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use crate::base::{
    backoff::{Backoff, Bounds},
    ids::{NodeName, SetKey, TemplateHash},
    time::{self, elapsed},
};
use crate::rollout::{
    admit::{Gates, Look, Wait},
    deal::{Beginning, Deal, Key, Write, deal},
    protocol::{Act, Facts, Held, Local, Own, Step, next},
    turn::Verdict,
};
use crate::store::{Error, Keys, Kv, Op, Range, Store, Txn};

use super::{
    feeds::News,
    handle::{Command, Handle, HeldTurn, TurnsAnswer, TurnsTold},
    store_link::Settings,
    store_publish::Publisher,
    turn_looks,
    turn_queue::{LOOK_AGAIN, Spot},
};

/// How soon what others were faster at is tried again.
const CONFLICT: Bounds =
    Bounds { initial: Duration::from_millis(100), cap: Duration::from_secs(10) };

/// What the keeper knows of one set.
#[derive(Debug)]
pub(super) struct Keeping {
    /// This node's own keys.
    pub own: Own,
    /// How its pods are.
    pub local: Local,
    /// What was read last.
    pub look: Option<Look>,
    /// Where it stands in the queue.
    pub spot: Spot,
    /// Whether the leave to disturb the pod is taken back.
    revoked: bool,
    /// What it waits for.
    wait: Option<Wait>,
    /// When the next try may be, after others were faster.
    not_before: Option<Instant>,
    /// The back-off earned so far.
    backoff: Backoff,
}

/// The keeper.
#[derive(Debug)]
pub(super) struct Keeper {
    /// The keys' names.
    pub keys: Keys,
    /// This node.
    pub node: NodeName,
    /// This boot of it.
    boot_id: String,
    /// What it knows, by set.
    pub sets: BTreeMap<SetKey, Keeping>,
    /// The gates, by set.
    pub gates: BTreeMap<SetKey, Gates>,
    /// When something is due although nothing happens.
    due: Option<Instant>,
    /// What is listened to.
    pub heard: Vec<Range>,
    /// How often whoever waits looks again.
    pub again: Duration,
    /// Where news go.
    pub news: mpsc::UnboundedSender<News>,
}

/// What a round works with.
pub(super) struct Hands<'a> {
    /// The store.
    pub store: &'a Store,
    /// What this node writes beside its turns.
    pub publisher: &'a mut Publisher,
    /// The way to the reconciler.
    pub handle: &'a Handle,
}

/// What came of a round.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Round {
    /// All is done that can be.
    Settled,
    /// The node's record is no longer this session's.
    Fenced,
}

impl Keeper {
    /// A keeper that knows nothing yet.
    pub(super) fn new(settings: &Settings, news: mpsc::UnboundedSender<News>) -> Self {
        Self {
            keys: settings.keys.clone(),
            node: settings.node.clone(),
            boot_id: settings.boot_id.clone(),
            news,
            sets: BTreeMap::new(),
            gates: BTreeMap::new(),
            due: None,
            heard: Vec::new(),
            again: settings.pace.unwrap_or(LOOK_AGAIN),
        }
    }

    /// Forgets everything: a session begins.
    pub(super) fn begin(&mut self) {
        self.sets.clear();
        self.heard.clear();
    }

    /// When the next round is due although nothing happens.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Goes on with every set as far as possible.
    pub(super) async fn round(&mut self, hands: &mut Hands<'_>) -> Result<Round, Error> {
        loop {
            let Some(answer) = self.exchange(hands).await? else {
                // The reconciler still takes stock; it tells when it has.
                self.due = None;
                return Ok(Round::Settled);
            };
            self.due = answer.wake.map(|wake| time::now().mono + wake);
            if self.learn(hands.store, hands.publisher, answer).await? {
                // Before anything follows from keys that were just read, the reconciler hears of them: a turn that is gone
                // gives no leave any more.
                continue;
            }
            let mut news = false;
            let sets: Vec<SetKey> = self.sets.keys().cloned().collect();
            for set in &sets {
                match self.step(set, hands).await? {
                    Some(true) => news = true,
                    Some(false) => {}
                    None => return Ok(Round::Fenced),
                }
            }
            if !news {
                return Ok(Round::Settled);
            }
        }
    }

    /// Tells the reconciler what is held, and hears how its pods are.
    async fn exchange(&self, hands: &Hands<'_>) -> Result<Option<TurnsAnswer>, Error> {
        let members = hands.publisher.memberships().cloned().collect();
        let mut told = TurnsTold { members, ..TurnsTold::default() };
        for (set, keeping) in &self.sets {
            told.known.insert(set.clone());
            if let Some(held) = &keeping.own.turn {
                let held = HeldTurn { turn: held.turn.clone(), revoked: keeping.revoked };
                told.held.insert(set.clone(), held);
            }
            if let Some(wait) = &keeping.wait {
                told.waits.insert(set.clone(), (wait.id(), wait.to_string()));
            }
        }
        let (reply, answer) = oneshot::channel();
        let asked = hands.handle.commands.send(Command::Turns { told, reply }).await;
        let gone = |_| Error::Answer("the agent stops".into());
        asked.map_err(|_| Error::Answer("the agent stops".into()))?;
        answer.await.map_err(gone)
    }

    /// Takes what the reconciler said; reads the own keys of sets that are new here, and says whether there were any.
    async fn learn(
        &mut self,
        store: &Store,
        publisher: &Publisher,
        answer: TurnsAnswer,
    ) -> Result<bool, Error> {
        let mut anew = false;
        let members: Vec<SetKey> = publisher.memberships().cloned().collect();
        self.sets.retain(|set, _| answer.locals.contains_key(set) && members.contains(set));
        for (set, local) in answer.locals {
            if let Some(keeping) = self.sets.get_mut(&set) {
                let was = (&keeping.local.to, keeping.local.revision);
                if was != (&local.to, local.revision) {
                    // It was a look for another template.
                    keeping.look = None;
                }
                keeping.local = local;
            } else if members.contains(&set) {
                let own = self.own(store, publisher, &set).await?;
                let keeping = Keeping {
                    own,
                    local,
                    look: None,
                    spot: Spot::default(),
                    revoked: false,
                    wait: None,
                    not_before: None,
                    backoff: Backoff::default(),
                };
                self.sets.insert(set, keeping);
                anew = true;
            }
        }
        Ok(anew)
    }

    /// Reads this node's own keys of a set. What hangs on a store lease of an earlier session ends with that.
    async fn own(&self, store: &Store, publisher: &Publisher, set: &SetKey) -> Result<Own, Error> {
        let ranges = self.own_ranges(set);
        let (_, kvs) = store.list_all(&ranges).await?;
        let queue = self.keys.queue(set, &self.node);
        if kvs.iter().any(|kv| kv.key == queue && kv.lease != publisher.lease()) {
            let then = vec![Op::Delete(Range::key(queue))];
            store.txn(&Txn { when: vec![publisher.fence()], then, ..Txn::default() }).await?;
        }
        Ok(self.read_own(set, &kvs, publisher.lease()))
    }

    /// This node's own keys of a set.
    fn own_ranges(&self, set: &SetKey) -> [Range; 4] {
        [
            Range::key(self.keys.member(set, &self.node)),
            Range::key(self.keys.available(set, &self.node)),
            Range::key(self.keys.turn(set, &self.node)),
            Range::key(self.keys.queue(set, &self.node)),
        ]
    }

    /// What they say.
    fn read_own(&self, set: &SetKey, kvs: &[Kv], lease: i64) -> Own {
        let [member, available, turn, queue] = self.own_ranges(set).map(|range| range.from);
        let of = |key: &str| kvs.iter().find(|kv| kv.key == key);
        let leased = |key: &str| of(key).filter(|kv| kv.lease == lease);
        Own {
            member: of(&member).is_some(),
            // One that hangs on another lease is there, and says nothing: it is put anew, or taken away.
            available: of(&available).map(|kv| {
                let said =
                    if kv.lease == lease { String::from_utf8_lossy(&kv.value) } else { "".into() };
                TemplateHash::new(said)
            }),
            turn: of(&turn)
                .map(|kv| Held { turn: turn_looks::turn(&kv.value), revision: kv.mod_revision }),
            queue: leased(&queue).map(|kv| kv.create_revision),
        }
    }

    /// One step of one set: whether there was one; `None` when the record is no longer this session's.
    async fn step(&mut self, set: &SetKey, hands: &mut Hands<'_>) -> Result<Option<bool>, Error> {
        let Some(facts) = self.facts(set) else { return Ok(Some(false)) };
        let now = time::now().mono;
        let step = next(&facts);
        let Some(keeping) = self.sets.get_mut(set) else { return Ok(Some(false)) };
        if !matches!(step, Step::Revoke | Step::Act(Act::Withdraw(_) | Act::Done)) {
            keeping.revoked = false;
        }
        let wait = match &step {
            Step::Wait(wait) => Some(wait.clone()),
            Step::Join | Step::Look => Some(Wait::Queue),
            Step::Count => keeping.wait.clone().or(Some(Wait::Queue)),
            Step::Rest | Step::Revoke | Step::Act(_) => None,
        };
        let told = keeping.wait != wait;
        if told {
            debug!(set = %set, hold = wait.as_ref().map_or("none", Wait::id), "where this node stands");
            keeping.wait = wait;
        }
        if let Some(at) = keeping.not_before.filter(|at| *at > now) {
            self.wake(at);
            return Ok(Some(false));
        }
        match step {
            Step::Rest => Ok(Some(false)),
            Step::Wait(wait) => {
                self.wait(set, &facts, &wait);
                Ok(Some(told))
            }
            Step::Look => self.look(set, hands.store, &facts).await,
            Step::Count => self.count(set, hands.store, &facts).await,
            Step::Join => self.join(set, &facts, hands).await,
            Step::Revoke => {
                keeping.revoked = true;
                Ok(Some(true))
            }
            Step::Act(act) => self.act(set, &act, &facts, hands).await,
        }
    }

    /// All that the next step of a set depends on.
    fn facts(&self, set: &SetKey) -> Option<Facts> {
        let keeping = self.sets.get(set)?;
        let now = time::now().wall;
        let held = keeping.own.turn.as_ref();
        let in_turn_for = held.map_or(Duration::ZERO, |held| elapsed(held.turn.since, now));
        let local = keeping.local.clone();
        let overdue = Verdict {
            reason: "ProgressDeadlineExceeded".into(),
            message: format!(
                "the new pod was not available within {} seconds",
                local.rollout.deadline.as_secs()
            ),
            at: now,
        };
        Some(Facts {
            granted: held.is_some() && !keeping.revoked,
            own: keeping.own.clone(),
            gates: self.gates.get(set).cloned().unwrap_or_default(),
            look: keeping.look.clone(),
            in_turn_for,
            overdue,
            local,
        })
    }

    /// Makes sure that there is a round at a moment.
    pub(super) fn wake(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Carries out one transaction.
    pub(super) async fn act(
        &mut self,
        set: &SetKey,
        act: &Act,
        facts: &Facts,
        hands: &mut Hands<'_>,
    ) -> Result<Option<bool>, Error> {
        let Hands { store, publisher, handle } = hands;
        let beginning = Beginning { boot_id: &self.boot_id, since: time::now().wall };
        let deal = deal(act, facts, beginning);
        let before = if deal.then.contains(&Write::Member) {
            Some(publisher.member_now(handle, set).await?)
        } else {
            None
        };
        let mut then = Vec::new();
        for write in &deal.then {
            match write {
                Write::Member => {
                    then.extend(before.iter().flat_map(|(ops, _)| ops.iter().cloned()));
                }
                write => then.extend(self.ops(set, write, store, publisher).await?),
            }
        }
        let mut when = vec![publisher.fence()];
        when.extend(deal.when.iter().map(|demand| self.compare(set, demand)));
        let record = Range::key(self.keys.node(&self.node));
        let otherwise = std::iter::once(record.clone()).chain(self.own_ranges(set)).map(Op::Get);
        let txn = Txn { when, then, otherwise: otherwise.collect() };
        let outcome = store.txn(&txn).await?;
        let lease = publisher.lease();
        if !outcome.succeeded {
            if let Some((_, Some(before))) = before {
                publisher.member_was(set, before);
            }
            let kvs: Vec<Kv> =
                outcome.listings.into_iter().flat_map(|listing| listing.kvs).collect();
            let ours = |kv: &Kv| kv.key == record.from && kv.mod_revision == publisher.revision();
            if !kvs.iter().any(ours) {
                return Ok(None);
            }
            let own = self.read_own(set, &kvs, lease);
            debug!(set = %set, action = ?act, "others were faster");
            if let Some(keeping) = self.sets.get_mut(set) {
                keeping.own = own;
                keeping.look = None;
                let wait = keeping.backoff.next(CONFLICT);
                keeping.not_before = Some(time::now().mono + wait);
            }
            return Ok(Some(true));
        }
        let revision = outcome.header.revision;
        self.done(set, act, &deal, facts, revision);
        if *act == Act::Enter {
            self.entered(set, turn_looks::last(&outcome.listings), revision);
        }
        self.say(set, act, facts);
        Ok(Some(true))
    }

    /// Takes over what a transaction wrote.
    fn done(&mut self, set: &SetKey, act: &Act, deal: &Deal, facts: &Facts, revision: i64) {
        let Some(keeping) = self.sets.get_mut(set) else { return };
        keeping.look = None;
        keeping.not_before = None;
        if !matches!(act, Act::Show(_) | Act::Hide | Act::Leave | Act::Enter) {
            keeping.backoff.reset();
            keeping.spot.join = None;
        }
        let own = &mut keeping.own;
        for write in &deal.then {
            match write {
                Write::Show(hash) => own.available = Some(hash.clone()),
                Write::Enter => own.queue = Some(revision),
                Write::Turn(turn) => own.turn = Some(Held { turn: turn.clone(), revision }),
                Write::Delete(Key::Available) => own.available = None,
                Write::Delete(Key::Turn) => own.turn = None,
                Write::Delete(Key::Queue) => own.queue = None,
                Write::Bake(hash, _) => {
                    let gates = self.gates.entry(set.clone()).or_default();
                    gates.baked.push(hash.clone());
                }
                Write::Delete(Key::Baked(hash)) => {
                    let gates = self.gates.entry(set.clone()).or_default();
                    gates.baked.retain(|known| known != hash);
                }
                Write::Member | Write::Condemn(..) | Write::Pass(_) | Write::Delete(_) => {}
            }
        }
        debug!(set = %set, action = ?act, hash = %facts.local.to, revision, "a transaction of a turn");
    }
}
