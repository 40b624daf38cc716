//! Turns as this host's reconciler knows them: which pod it may disturb, which template it is to run, and what the keeper
//! of turns has to know of its pods.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::PodSpec;
use tokio::sync::oneshot;

use crate::base::{
    ids::{SetKey, TemplateHash},
    time::{self, elapsed},
};
use crate::fleet::events::EventType;
use crate::plan::steps::{Hold, Leave};
use crate::pod::{
    machine::Pod,
    record::PodRecord,
    references::{effective_hash, references},
};
use crate::rollout::{
    admit::Gates,
    order::{rank, splay_delay},
    protocol::{Local, PodFact, permitted},
    turn::{Condemned, TurnKind},
};
use crate::spec::{Objects, Rollout, Set, template_hash};

use super::{
    handle::{StoreState, TurnsAnswer, TurnsTold},
    reconciler::Reconciler,
    sets::{Entry, with_template},
    turn_records::Record,
};

/// How long the process of a container that nothing probes has to run in a turn.
const UNPROBED: Duration = Duration::from_secs(2);

/// The gates of a set, with what follows from them.
#[derive(Debug, Clone, Default)]
pub(super) struct SetGates {
    /// The templates that failed.
    pub condemned: BTreeMap<TemplateHash, Condemned>,
    /// The gates as the protocol knows them.
    pub gates: Gates,
    /// The set with the templates of its history, the newest first.
    pub history: Vec<Arc<Set>>,
}

impl Reconciler {
    /// Answers the keeper of turns: what it holds goes in, what it has to know comes out.
    pub(super) fn exchange_turns(
        &mut self,
        told: TurnsTold,
        reply: oneshot::Sender<Option<TurnsAnswer>>,
    ) {
        if !self.recovered {
            let _ = reply.send(None);
            return;
        }
        let pods = &self.pods;
        let previous = |key: &SetKey, from: &str| {
            let pod = pods
                .values()
                .find(|pod| pod.record.set == *key && pod.record.hash.as_str() == from);
            pod.map(|pod| pod.record.template.clone())
        };
        if self.turns.take(told, previous) {
            // What is barred here may have changed.
            self.judge();
        }
        let mut answer = TurnsAnswer::default();
        for (key, entry) in self.sets.entries() {
            if let Some((local, wake)) = self.local(key, entry) {
                answer.locals.insert(key.clone(), local);
                answer.wake = [answer.wake, wake].into_iter().flatten().min();
            }
        }
        let _ = reply.send(Some(answer));
    }

    /// What the protocol has to know of this host and a set that takes turns here, and when that changes by itself.
    fn local(&self, key: &SetKey, entry: &Entry) -> Option<(Local, Option<Duration>)> {
        let standing = self.standings.get(key).filter(|standing| standing.should_run)?;
        if !entry.shared() || !self.turns.keeps {
            return None;
        }
        let now = time::now().wall;
        let rollout = Rollout::of(&entry.set.object);
        let (mut new, mut old): (Option<PodFact>, Option<PodFact>) = (None, None);
        let mut wake = None;
        let mut others = Vec::new();
        for pod in self.pods.values().filter(|pod| pod.record.set == *key) {
            if pod.record.hash != standing.target {
                others.push(&pod.record.hash);
            }
            if pod.stopping() {
                continue;
            }
            let ready = pod.ready_since().map(|since| elapsed(since, now));
            let needed = self.needed(key, pod.record.spec(), rollout.min_ready);
            let missing = ready.map(|ready| needed.saturating_sub(ready));
            let available = missing == Some(Duration::ZERO);
            wake = [wake, missing.filter(|missing| !missing.is_zero())].into_iter().flatten().min();
            let place = if pod.record.hash == standing.target { &mut new } else { &mut old };
            if place.as_ref().is_none_or(|other| available && !other.available) {
                *place = Some(PodFact {
                    hash: pod.record.hash.clone(),
                    ready: ready.is_some(),
                    available,
                });
            }
        }
        let ready = match self.holds.get(key) {
            Some(
                hold @ (Hold::ImagesPending(_)
                | Hold::Preflight(_)
                | Hold::ObjectsMissing(_)
                | Hold::NotEligible(_)
                | Hold::Evicted),
            ) => Err(hold.to_string()),
            _ => Ok(()),
        };
        let labels = &self.node.labels;
        let revision = entry.set.object.metadata.resource_version.as_deref();
        let local = Local {
            revision: revision.and_then(|revision| revision.parse().ok()).unwrap_or(0),
            to: standing.target.clone(),
            own_template: standing.target == standing.own,
            leftover: others.iter().any(|hash| old.as_ref().is_none_or(|old| old.hash != **hash)),
            new,
            old,
            ready,
            domain: labels.get(&rollout.domain).cloned().unwrap_or_default(),
            canary: rollout.canary.as_ref().is_some_and(|canary| canary.selects(labels)),
            barred: self.turns.records.get(key).and_then(|record| record.barred.clone()),
            rollout,
        };
        Some((local, wake))
    }

    /// How long a pod must be ready to count as available. In a turn, one that nothing probes counts as ready the moment its
    /// process runs, also when that ends at once: it has to run for a while.
    pub(super) fn needed(&self, key: &SetKey, spec: &PodSpec, min_ready: Duration) -> Duration {
        let probed = spec.containers.iter().all(|container| container.readiness_probe.is_some());
        if probed || !self.turns.records.contains_key(key) {
            return min_ready;
        }
        min_ready.max(UNPROBED)
    }

    /// Whether this node may disturb its pod of a set now.
    pub(super) fn leave(&self, key: &SetKey, entry: &Entry) -> Leave {
        let Some((local, _)) = self.local(key, entry) else { return self.splay(key, entry) };
        let held = self.turns.records.get(key);
        if let Some(record) = held.filter(|record| record.saved && !record.revoked)
            && permitted(&local, Some(&record.turn))
        {
            let ill = record.turn.kind == TurnKind::Repair;
            return if ill { Leave::WhileIll } else { Leave::Given };
        }
        if let (Some(barred), Some(target)) = (&local.barred, self.turns.detours.get(key)) {
            // The way back is part of the same turn.
            if local.new.is_some() || local.old.as_ref().is_none_or(|pod| !pod.available) {
                return Leave::Given;
            }
            debug_assert_eq!(*target, local.to);
            let why = format!("the new template failed on this host: {}", barred.message);
            return Leave::Held("turn-failed", why);
        }
        if let Some(store) =
            self.feeds.store.as_ref().filter(|store| store.state != StoreState::Ready)
        {
            let why = format!("no update begins while the store is away: {}", store.state.reason());
            return Leave::Held("store-away", why);
        }
        match self.turns.waits.get(key) {
            Some((id, why)) => Leave::Held(id, why.clone()),
            None => Leave::Held("no-turn", "it waits for its turn".into()),
        }
    }

    /// Whether a set that no store coordinates may change here: each host waits its part of the splay.
    fn splay(&self, key: &SetKey, entry: &Entry) -> Leave {
        match (self.splay_of(key, entry), self.turns.splays.get(key)) {
            (None, _) => Leave::Given,
            (Some(wait), Some((_, since))) if time::now().mono >= *since + wait => Leave::Given,
            (Some(wait), _) => {
                let why = format!(
                    "no store coordinates hosts: each updates by itself, this one {wait:.0?} after it heard of the change"
                );
                Leave::Held("splay", why)
            }
        }
    }

    /// How long this host waits with the present template where no store coordinates hosts.
    fn splay_of(&self, key: &SetKey, entry: &Entry) -> Option<Duration> {
        let splay = Rollout::of(&entry.set.object).splay.filter(|splay| !splay.is_zero())?;
        let standing = self.standings.get(key)?;
        Some(splay_delay(rank(key, &standing.hash, "", &self.node.name), splay))
    }

    /// Keeps the time since when sets want another template; says when the next may change.
    pub(super) fn keep_splays(&mut self) {
        let now = time::now().mono;
        let mut splays = BTreeMap::new();
        for (key, entry) in self.sets.entries() {
            let Some(standing) = self.standings.get(key).filter(|_| !entry.shared()) else {
                continue;
            };
            let outdated = |pod: &&Pod| pod.record.set == *key && pod.record.hash != standing.hash;
            if !self.pods.values().any(|pod| outdated(&pod)) {
                continue;
            }
            let Some(wait) = self.splay_of(key, entry) else { continue };
            let known = self.turns.splays.get(key).filter(|(hash, _)| *hash == standing.hash);
            let since = known.map_or(now, |(_, since)| *since);
            if since + wait > now {
                let at = since + wait;
                self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
            }
            splays.insert(key.clone(), (standing.hash.clone(), since));
        }
        self.turns.splays = splays;
    }

    /// Chooses the template that this node runs of each set: the set's own, unless it is condemned, or barred here.
    pub(super) fn choose_templates(&mut self) {
        if self.turns.gates.is_none() && self.turns.is_empty() {
            return;
        }
        let documents = self.sets.objects();
        let keys: Vec<SetKey> = self.sets.entries().keys().cloned().collect();
        let mut news = false;
        self.turns.detours.clear();
        for key in keys {
            let entry = &self.sets.entries()[&key];
            let (instead, detour) = self.instead(&key, entry, &documents);
            news |= self.sets.set_instead(&key, instead);
            if let Some(target) = detour {
                self.turns.detours.insert(key, target);
            }
        }
        if news {
            self.save_sets();
        }
    }

    /// The set with the template that is to run instead of its own; and what the fleet wants, where that is barred here.
    fn instead(
        &self,
        key: &SetKey,
        entry: &Entry,
        documents: &Objects,
    ) -> (Option<Arc<Set>>, Option<TemplateHash>) {
        let hash = |set: &Set| {
            let spec = set.template().spec.as_ref();
            let referred = spec.map(|spec| references(&key.namespace, spec)).unwrap_or_default();
            effective_hash(&set.hash, &referred, documents)
        };
        let barred = self.turns.records.get(key).filter(|record| record.barred.is_some());
        if let (None, Some(Record { previous: Some(previous), turn, .. })) =
            (&self.turns.gates, barred)
        {
            // Until the store is heard, the turn says what the fleet wants; what runs instead may be this very way back.
            let set = with_template(&entry.set, template_hash(previous), previous.clone());
            return (Some(set), Some(turn.to.clone()));
        }
        let fleet = match self.turns.gates.as_ref().map(|gates| gates.get(key)) {
            // What was known last goes on.
            None => entry.instead.clone(),
            Some(None) => None,
            Some(Some(gates)) => {
                let condemned = |set: &Set| {
                    gates.condemned.get(&hash(set)).is_some_and(|word| word.uid == entry.uid)
                };
                let other = || gates.history.iter().find(|set| !condemned(set)).cloned();
                if condemned(&entry.set) { other() } else { None }
            }
        };
        let target = hash(fleet.as_ref().unwrap_or(&entry.set));
        match barred.filter(|record| record.turn.to == target) {
            Some(Record { previous: Some(previous), .. }) => {
                let hash = template_hash(previous);
                (Some(with_template(&entry.set, hash, previous.clone())), Some(target))
            }
            _ => (fleet, None),
        }
    }

    /// The hash of the template that the fleet wants on this node: another one than it runs only where that is barred.
    pub(super) fn target_of(&self, key: &SetKey, runs: &TemplateHash) -> TemplateHash {
        self.turns.detours.get(key).unwrap_or(runs).clone()
    }

    /// Whether a pod is one of a template that is barred here: it is not started again, not even to be stopped.
    pub(super) fn barred(&self, record: &PodRecord) -> bool {
        self.turns.detours.get(&record.set) == Some(&record.hash)
    }

    /// The gates of sets are known, or known anew.
    pub(super) fn gates_read(&mut self, gates: BTreeMap<SetKey, SetGates>) {
        let before = self.turns.gates.replace(gates);
        let new: Vec<(SetKey, TemplateHash, Condemned)> = self
            .turns
            .gates
            .iter()
            .flatten()
            .flat_map(|(key, gates)| {
                gates.condemned.iter().map(move |(hash, word)| (key, hash, word))
            })
            .filter(|(key, hash, _)| {
                let known = before.as_ref().and_then(|before| before.get(*key));
                before.is_some() && known.is_none_or(|known| !known.condemned.contains_key(*hash))
            })
            .map(|(key, hash, word)| (key.clone(), hash.clone(), word.clone()))
            .collect();
        self.judge();
        for (key, hash, word) in new {
            let message = format!(
                "template {hash} failed on node {} ({}): {}; this node goes back from it",
                word.node, word.verdict.reason, word.verdict.message
            );
            self.note_set(&key, EventType::Warning, "TemplateCondemned", message);
        }
    }
}
