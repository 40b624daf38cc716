//! How a node waits for its turn: its place in the queue, what it reads there, and what makes it read again.

use std::time::{Duration, Instant};

use crate::base::{
    ids::{SetKey, TemplateHash},
    time,
};
use crate::rollout::{
    admit::{Look, Wait},
    order::{entry_delay, queue_limit, rank},
    protocol::{Act, Facts},
};
use crate::store::{Error, Range, Store};

use super::turn_keeper::{Hands, Keeper, Keeping};
use super::turn_looks::{self, Place};

/// How often whoever waits outside a queue that is full looks again, and the head of a queue that hears nothing.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// How much more seldom those look again who wait behind another one: there may be thousands.
const BEHIND: f64 = 10.0;

/// How long after one count the next one may follow. A count costs the store a look at every member; what is freed meanwhile
/// is found by one count, and passed on.
const COUNT_PAUSE: Duration = Duration::from_millis(20);

/// Within how long those find their place anew before whom somebody left without a claim: often many leave at once, and this
/// node hears in that time that it is one of them. Finding it costs the store a look at the whole queue.
const ASTRAY: Duration = Duration::from_secs(1);

/// Where a node stands in the queue of a set.
#[derive(Debug, Default)]
pub(super) struct Spot {
    /// When it may join the queue for which template.
    pub join: Option<(TemplateHash, Instant)>,
    /// Who stood before it when it learned that last.
    place: Option<Place>,
    /// What it knows of that one.
    sight: Sight,
    /// When it may find out who stands before it now that that one left without a claim.
    find: Option<Instant>,
    /// Whether it listens to what may let the head go on.
    heeds: bool,
    /// When somebody counted last, as far as it knows.
    counted: Option<Instant>,
    /// How many members there were; 0 before it counted.
    members: usize,
    /// When it looks again although it heard nothing.
    again: Option<Instant>,
}

/// What a node knows of whoever stands before it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Sight {
    /// Nothing.
    #[default]
    None,
    /// It takes for granted that that one is there.
    Assumed,
    /// It saw that one there.
    Seen,
}

impl Keeper {
    /// Somebody did something at this key: whoever waits for it looks again.
    pub(super) fn stirred(&mut self, key: &str) {
        for (set, keeping) in &mut self.sets {
            if key.starts_with(&self.keys.of_set(set)) {
                look_again(&mut keeping.look);
            }
        }
    }

    /// This node listens to what it waits for, `anew` or as before: where that is new, or where it only took for granted who
    /// stands before it, it looks once more for what was done before it listened. `true` when there is such a set.
    pub(super) fn listens(&mut self, anew: bool) -> bool {
        let mut looks = false;
        for keeping in self.sets.values_mut().filter(|keeping| keeping.own.queue.is_some()) {
            let sight = &mut keeping.spot.sight;
            if anew || *sight == Sight::Assumed {
                *sight = Sight::None;
                look_again(&mut keeping.look);
                looks = true;
            }
        }
        looks
    }

    /// When this node will have entered the queues that it is about to enter: it says in the same transactions how it is.
    pub(super) fn entering(&self) -> Option<Instant> {
        let outside = |keeping: &&Keeping| {
            keeping.own.queue.is_none() && keeping.local.rollout.domain.is_empty()
        };
        let due =
            self.sets.values().filter(outside).filter_map(|keeping| keeping.spot.join.as_ref());
        due.map(|(_, at)| *at).max()
    }

    /// Takes for granted that whoever entered the queue right before this node still stands there, so that this node listens
    /// before it looks.
    pub(super) fn entered(&mut self, set: &SetKey, place: Option<Place>, under: i64) {
        let Some(keeping) = self.sets.get_mut(set) else { return };
        let ahead =
            place.as_ref().map(|(node, _)| node).filter(|node| **node != self.node).cloned();
        let sight = if ahead.is_some() { Sight::Assumed } else { Sight::None };
        keeping.look = ahead.map(|ahead| Look { under, ahead: Some(ahead), ..Look::default() });
        let spot = &mut keeping.spot;
        (spot.place, spot.sight, spot.find) = (place, sight, None);
    }

    /// Something is due: whoever has heard nothing for long looks again, for something may have been done unheard.
    pub(super) fn overslept(&mut self) {
        let now = time::now().mono;
        for keeping in self.sets.values_mut() {
            if keeping.spot.again.take_if(|at| *at <= now).is_some() {
                keeping.look = None;
            }
        }
    }

    /// What others may do that lets a set go on which waits here.
    pub(super) fn listens_to(&mut self) -> Vec<Range> {
        let mut ranges = Vec::new();
        for (set, keeping) in &mut self.sets {
            let waits = keeping.look.as_ref().filter(|_| keeping.own.queue.is_some());
            // A head listens once it has counted in vain, and then for as long as it is that.
            keeping.spot.heeds = waits
                .is_some_and(|look| look.ahead.is_none() && (look.counted || keeping.spot.heeds));
            if keeping.spot.heeds {
                ranges.push(Range::prefix(self.keys.availables(set)));
                ranges.push(Range::prefix(self.keys.turns(set)));
            } else if let Some(ahead) = waits.and_then(|look| look.ahead.as_ref()) {
                ranges.push(Range::key(self.keys.queue(set, ahead)));
            }
        }
        ranges
    }

    /// What ends a wait although nothing is heard.
    pub(super) fn wait(&mut self, set: &SetKey, facts: &Facts, wait: &Wait) {
        let now = time::now().mono;
        if *wait == Wait::InTurn {
            let left = facts.local.rollout.deadline.saturating_sub(facts.in_turn_for);
            self.wake(now + left);
        } else if facts.own.queue.is_some() {
            // Events are hints: one that was lost only delays.
            let behind = facts.look.as_ref().is_some_and(|look| look.ahead.is_some());
            let times = (1.0 + self.rank(set, facts)) * if behind { BEHIND } else { 1.0 };
            let again = now + self.again.mul_f64(times);
            if let Some(keeping) = self.sets.get_mut(set) {
                keeping.spot.again = Some(again);
            }
            self.wake(again);
        }
    }

    /// Where this node stands in the rollout.
    fn rank(&self, set: &SetKey, facts: &Facts) -> f64 {
        rank(set, &facts.local.to, &facts.local.domain, &self.node)
    }

    /// Reads where this node stands in the queue.
    pub(super) async fn look(
        &mut self,
        set: &SetKey,
        store: &Store,
        facts: &Facts,
    ) -> Result<Option<bool>, Error> {
        let (now, rank) = (time::now().mono, self.rank(set, facts));
        let Some(keeping) = self.sets.get_mut(set) else { return Ok(Some(false)) };
        let spot = &mut keeping.spot;
        let seen = spot.sight == Sight::Seen;
        if let (Some(place), None) = (&spot.place, spot.find) {
            let look = turn_looks::stand(store, &self.keys, set, facts, place).await?;
            if let Some(mut look) = look {
                if look.ahead.is_some() {
                    spot.sight = Sight::Seen;
                } else if seen {
                    // The one before it counted a moment ago.
                    (spot.sight, spot.counted) = (Sight::None, Some(now));
                } else {
                    // That may be days ago, and says nothing of what failed by itself since then.
                    look.passed = 0;
                }
                keeping.look = Some(look);
                return Ok(Some(true));
            }
            spot.find = seen.then(|| now + ASTRAY.mul_f64(0.5 + rank));
        }
        if let Some(find) = spot.find.filter(|find| *find > now) {
            self.wake(find);
            return Ok(Some(false));
        }
        let place = turn_looks::find(store, &self.keys, set, facts).await?;
        let ahead = place.as_ref().map(|(node, _)| node.clone());
        let under = facts.own.queue.unwrap_or(0);
        let sight = if ahead.is_some() { Sight::Seen } else { Sight::None };
        (spot.sight, spot.place, spot.find) = (sight, place, None);
        keeping.look = Some(Look { under, ahead, ..Look::default() });
        Ok(Some(true))
    }

    /// Counts, when that may be again.
    pub(super) async fn count(
        &mut self,
        set: &SetKey,
        store: &Store,
        facts: &Facts,
    ) -> Result<Option<bool>, Error> {
        let Some(keeping) = self.sets.get_mut(set) else { return Ok(Some(false)) };
        let next = keeping.spot.counted.map(|at| at + COUNT_PAUSE);
        if let Some(next) = next.filter(|next| *next > time::now().mono) {
            self.wake(next);
            return Ok(Some(false));
        }
        let look = turn_looks::count(store, &self.keys, set, facts).await?;
        (keeping.spot.members, keeping.spot.counted) = (look.members, Some(time::now().mono));
        keeping.look = Some(look);
        Ok(Some(true))
    }

    /// Joins the queue when the time has come, and, where domains go one after the other, there is room.
    pub(super) async fn join(
        &mut self,
        set: &SetKey,
        facts: &Facts,
        hands: &mut Hands<'_>,
    ) -> Result<Option<bool>, Error> {
        let (now, rank) = (time::now().mono, self.rank(set, facts));
        let Some(keeping) = self.sets.get_mut(set) else { return Ok(Some(false)) };
        let to = &facts.local.to;
        let known = keeping.spot.join.take_if(|(known, _)| known == to);
        let (_, mut at) = known.unwrap_or_else(|| (to.clone(), now + entry_delay(rank)));
        if at <= now {
            let alone = facts.local.rollout.domain.is_empty();
            if alone || self.has_room(set, hands.store, facts).await? {
                return self.act(set, &Act::Enter, facts, hands).await;
            }
            at = now + self.again.mul_f64(0.5 + rank);
        }
        self.wake(at);
        if let Some(keeping) = self.sets.get_mut(set) {
            keeping.spot.join = Some((to.clone(), at));
        }
        Ok(Some(false))
    }

    /// Whether there is room in the queue of a set whose domains go one after the other, and nobody of another one is in its
    /// turn. Thousands may ask: it costs the store a look at the queue and at the turns, not at the members.
    async fn has_room(&self, set: &SetKey, store: &Store, facts: &Facts) -> Result<bool, Error> {
        let rollout = &facts.local.rollout;
        let members = self.sets.get(set).map_or(0, |keeping| keeping.spot.members);
        let disturbed = rollout.max_unavailable.of(members) + rollout.max_surge.of(members);
        let (queued, turns) = turn_looks::room(store, &self.keys, set).await?;
        let elsewhere = turns.iter().any(|turn| turn.domain != facts.local.domain);
        Ok(queued < queue_limit(disturbed) && !elsewhere)
    }
}

/// Makes a node look again. Who is the head stays that; what it counted is over.
fn look_again(look: &mut Option<Look>) {
    match look {
        Some(known) if known.ahead.is_none() => (known.passed, known.counted) = (0, false),
        _ => *look = None,
    }
}
