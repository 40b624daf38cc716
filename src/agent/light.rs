//! An agent without containers, for benchmarks of fleets: the link to the store, the keeper of turns, the merge of
//! sources, the verdict and the plan are the agent's own; pods are entries of a map that are ready after a while.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::sleep_until,
};
use uuid::Uuid;

use crate::base::{
    ids::{PodUid, SetKey, TemplateHash},
    time,
};
use crate::node::{Node, eligibility};
use crate::plan::steps::{DesiredSet, Images, Leave, ObservedPod, Step, plan};
use crate::rollout::{
    protocol::{Local, PodFact, permitted},
    turn::TurnKind,
};
use crate::source::{
    merge::{Sets, SourceReading, merge},
    trust::Trust,
};
use crate::spec::{FieldValidation, Rollout, Set};
use crate::store::{self, Keys};

use super::{
    feeds::News,
    handle::{Command, FleetReport, Handle, TurnsAnswer, TurnsTold},
    store_guard::Guard,
    store_link::{self, Link},
    store_view::View,
};

/// How long such a node counts as alive without a sign of life.
const LEASE: Duration = Duration::from_mins(1);

/// What such agents share.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How to reach the store.
    pub store: store::Settings,
    /// The keys' names.
    pub keys: Keys,
    /// How long a pod takes from its start until it is ready.
    pub pod_time: Duration,
    /// Whether sets wait for their turns.
    pub turns: bool,
    /// How often whoever waits for a turn looks again, where that is not the usual.
    pub pace: Option<Duration>,
    /// Where each agent tells what its pods do.
    pub told: mpsc::UnboundedSender<Told>,
}

/// What a pod did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A pod of this template began.
    Began(TemplateHash),
    /// It is ready.
    Ready(TemplateHash),
    /// A pod of this template ended.
    Ended(TemplateHash),
}

/// An agent without containers.
#[derive(Debug)]
struct Light {
    /// What it shares with others.
    settings: Settings,
    /// Its node.
    node: Node,
    /// The sets that it wants.
    sets: Sets,
    /// Its pods, and when each is ready.
    pods: Vec<(ObservedPod, Instant)>,
    /// What the keeper of turns knows.
    turns: TurnsTold,
    /// What it has to tell operators.
    events: Vec<Value>,
}

/// Runs such an agent until `stop`.
pub async fn run(settings: Settings, node: Node, state: &Path, stop: watch::Receiver<bool>) {
    let (commands, mut orders) = mpsc::channel(16);
    let (sender, _execs) = mpsc::channel(1);
    let (changes, seen) = watch::channel(0);
    let (news, mut feeds) = mpsc::unbounded_channel();
    let handle = Handle { commands, changes: seen, execs: sender };
    let link = link(&settings, &node, state, handle, news).run(stop);
    let mut link = std::pin::pin!(link);
    let mut light = Light {
        settings,
        node,
        sets: Sets::new(),
        pods: Vec::new(),
        turns: TurnsTold::default(),
        events: Vec::new(),
    };
    loop {
        let next = light.next();
        let news = tokio::select! {
            biased; // What the link told before it asked is in the answer.
            // cancel-safe: channels lose nothing, and the link goes on where it was.
            () = &mut link => return,
            Some(heard) = feeds.recv() => light.hear(heard),
            Some(order) = orders.recv() => light.answer(order),
            () = ripe(next) => light.ripen(),
        };
        if light.advance() | news {
            changes.send_modify(|count| *count += 1);
        }
    }
}

/// Waits until a moment; without one for ever.
async fn ripe(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// The agent's own link to the store.
fn link(
    settings: &Settings,
    node: &Node,
    state: &Path,
    handle: Handle,
    news: mpsc::UnboundedSender<News>,
) -> Link {
    let open = Arc::new(|_: &str, value: &[u8]| Ok(value.to_vec()));
    let (keys, strict) = (settings.keys.clone(), FieldValidation::Strict);
    let view = View::new(keys.clone(), node.name.clone(), strict, open, BTreeMap::new(), None);
    let settings = store_link::Settings {
        store: settings.store.clone(),
        keys,
        node: node.name.clone(),
        install_id: node.name.to_string(),
        source: Some(0),
        lease_ttl: LEASE,
        boot_id: "none".to_owned(),
        turns: settings.turns,
        pace: settings.pace,
        trust: Arc::new(Trust::load(&[], state)),
        poke: Arc::new(Notify::new()),
    };
    Link::new(settings, handle, news, view, Guard::load(state).0)
}

impl Light {
    /// Answers the link; `true` when something is another than before.
    fn answer(&mut self, order: Command) -> bool {
        match order {
            // Nobody listens any more when the link begins another session.
            Command::Report { reply } => drop(reply.send(self.report())),
            Command::Turns { told, reply } => {
                self.turns = told;
                let _ = reply.send(Some(self.locals()));
            }
            _ => {}
        }
        false
    }

    /// Takes news up; `true` when operators are to hear of something.
    fn hear(&mut self, news: News) -> bool {
        match news {
            News::Source(_, reading) => {
                self.take(&reading);
                true
            }
            News::Noted(set, _, reason, message) => {
                self.note(&set, reason, &message);
                true
            }
            _ => false,
        }
    }

    /// Takes a reading up.
    fn take(&mut self, reading: &SourceReading) {
        self.sets = merge(&[reading], &self.sets, &BTreeMap::new()).sets;
    }

    /// An event, about as large as an agent's own.
    fn note(&mut self, set: &SetKey, reason: &str, message: &str) {
        let name = format!("{}.{}", set.name, Uuid::new_v4().simple());
        self.events.push(json!({
            "apiVersion": "v1", "kind": "Event", "type": "Normal", "reason": reason, "message": message, "count": 1,
            "metadata": {"name": name, "namespace": set.namespace},
            "involvedObject": {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": set.name, "namespace": set.namespace},
            "source": {"component": "podward", "host": self.node.name.as_str()},
            "lastTimestamp": time::now().wall.to_string(),
        }));
        // An agent keeps the last hour's, which here is all that matters.
        if self.events.len() > 8 {
            self.events.remove(0);
        }
    }

    /// When the next pod is ready.
    fn next(&self) -> Option<Instant> {
        let waiting = self.pods.iter().filter(|(pod, _)| pod.ready_for.is_none());
        waiting.map(|(_, at)| *at).min()
    }

    /// Has pods be ready whose time has come.
    fn ripen(&mut self) -> bool {
        let now = time::now().mono;
        for (pod, at) in self.pods.iter_mut().filter(|(pod, _)| pod.ready_for.is_none()) {
            if *at <= now {
                pod.ready_for = Some(Duration::ZERO);
                // Nobody listens any more when the benchmark is over.
                let _ = self.settings.told.send(Told::Ready(pod.hash.clone()));
            }
        }
        true
    }

    /// Goes on as far as the plan goes; `true` when something was done.
    fn advance(&mut self) -> bool {
        let mut news = false;
        loop {
            let now = time::now().mono;
            for (pod, at) in self.pods.iter_mut().filter(|(pod, _)| pod.ready_for.is_some()) {
                pod.ready_for = Some(now.saturating_duration_since(*at));
            }
            let observed: Vec<ObservedPod> = self.pods.iter().map(|(pod, _)| pod.clone()).collect();
            let steps = plan(&self.desired(), &observed).steps;
            if steps.is_empty() {
                return news;
            }
            for step in steps {
                news = true;
                self.carry_out(step);
            }
        }
    }

    /// What is wanted.
    fn desired(&self) -> BTreeMap<SetKey, DesiredSet> {
        let desired = |(key, set): (&SetKey, &Arc<Set>)| {
            let verdict = eligibility(&self.node, set.template());
            let desired = DesiredSet {
                hash: set.hash.clone(),
                on_delete: set.on_delete(),
                surge: Rollout::of(&set.object).surges(),
                min_ready: set.min_ready(),
                should_run: verdict.should_run,
                should_continue: verdict.should_continue,
                refusal: verdict.refusal().unwrap_or_default(),
                evicted: false,
                missing: String::new(),
                unread: false,
                images: Images::Ready,
                leave: self.leave(key, set),
            };
            (key.clone(), desired)
        };
        self.sets.iter().map(desired).collect()
    }

    /// Whether a pod of a set may be disturbed.
    fn leave(&self, key: &SetKey, set: &Set) -> Leave {
        if !self.settings.turns {
            return Leave::Given;
        }
        let held = self.turns.held.get(key).filter(|held| !held.revoked);
        match held.filter(|held| permitted(&self.local(key, set), Some(&held.turn))) {
            Some(held) if held.turn.kind == TurnKind::Repair => Leave::WhileIll,
            Some(_) => Leave::Given,
            None => Leave::Held("no-turn", String::new()),
        }
    }

    /// What the keeper of turns has to know.
    fn locals(&self) -> TurnsAnswer {
        let eligible =
            self.sets.iter().filter(|(_, set)| eligibility(&self.node, set.template()).should_run);
        let locals = eligible.map(|(key, set)| (key.clone(), self.local(key, set)));
        TurnsAnswer { locals: locals.collect(), wake: None }
    }

    /// What the protocol has to know of a set here.
    fn local(&self, key: &SetKey, set: &Set) -> Local {
        let rollout = Rollout::of(&set.object);
        let fact = |new: bool| {
            let pods = self.pods.iter().map(|(pod, _)| pod);
            let mut pods = pods.filter(|pod| pod.set == *key && (pod.hash == set.hash) == new);
            pods.next().map(|pod| PodFact {
                ready: pod.ready_for.is_some(),
                hash: pod.hash.clone(),
                available: pod.ready_for.is_some_and(|ready| ready >= rollout.min_ready),
            })
        };
        let old = |pod: &ObservedPod| pod.set == *key && pod.hash != set.hash;
        let revision = set.object.metadata.resource_version.as_deref();
        Local {
            revision: revision.and_then(|revision| revision.parse().ok()).unwrap_or(0),
            to: set.hash.clone(),
            own_template: true,
            leftover: self.pods.iter().filter(|(pod, _)| old(pod)).count() > 1,
            new: fact(true),
            old: fact(false),
            ready: Ok(()),
            domain: self.node.labels.get(&rollout.domain).cloned().unwrap_or_default(),
            canary: rollout.canary.as_ref().is_some_and(|one| one.selects(&self.node.labels)),
            barred: None,
            rollout,
        }
    }

    /// Does a step: pods end at once, and are ready after a while.
    fn carry_out(&mut self, step: Step) {
        match step {
            Step::Create(set) => {
                let hash = self.sets[&set].hash.clone();
                let _ = self.settings.told.send(Told::Began(hash.clone()));
                self.note(&set, "Started", "Started container c");
                let pod = ObservedPod {
                    uid: PodUid::new(Uuid::new_v4().to_string()),
                    set,
                    hash,
                    created: time::now().wall,
                    stopping: false,
                    ready_for: None,
                    resizable: false,
                    idle: false,
                    time_over: false,
                    ended: None,
                };
                self.pods.push((pod, time::now().mono + self.settings.pod_time));
            }
            Step::Delete { pod, .. } => {
                let at = self.pods.iter().position(|(one, _)| one.uid == pod);
                if let Some(at) = at {
                    let (pod, _) = self.pods.swap_remove(at);
                    let _ = self.settings.told.send(Told::Ended(pod.hash));
                    self.note(&pod.set, "Killing", "Stopping container c");
                }
            }
            Step::Pull(_) | Step::Resize(_) => {}
        }
    }

    /// What the fleet is told, about as large as an agent's own report.
    fn report(&self) -> FleetReport {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": self.node.name.as_str(), "labels": self.node.labels,
                         "annotations": {"podward.dev/install-id": self.node.name.as_str()}},
            "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "PodwardReady"}],
                       "nodeInfo": {"bootID": "none"}},
        });
        let member = |(key, set): (&SetKey, &Arc<Set>)| {
            let local = self.local(key, set);
            let newest = self.pods.iter().map(|(pod, _)| pod).filter(|pod| pod.set == *key);
            let newest = newest.max_by_key(|pod| pod.created);
            let ready = newest.is_some_and(|pod| pod.ready_for.is_some());
            let member = json!({
                "uid": "bench", "hash": newest.map(|pod| pod.hash.as_str()).unwrap_or_default(),
                "wanted": set.hash.as_str(), "canary": local.canary, "reason": "",
                "status": {
                    "desiredNumberScheduled": 1, "currentNumberScheduled": i32::from(newest.is_some()),
                    "numberReady": i32::from(ready), "numberAvailable": i32::from(local.serving().is_some()),
                    "updatedNumberScheduled": i32::from(local.new.is_some()), "numberMisscheduled": 0,
                },
            });
            (key.clone(), member)
        };
        let shown = |(pod, _): &(ObservedPod, Instant)| -> Value {
            let phase = if pod.ready_for.is_some() { "Running" } else { "Pending" };
            json!({"apiVersion": "v1", "kind": "Pod",
                   "metadata": {"name": format!("{}-{}", pod.set.name, &pod.uid.as_str()[..5]),
                                "namespace": pod.set.namespace, "uid": pod.uid.as_str(),
                                "labels": {"controller-revision-hash": pod.hash.as_str()}},
                   "spec": {"nodeName": self.node.name.as_str(), "containers": [{"name": "c", "image": "x"}]},
                   "status": {"phase": phase, "startTime": pod.created.to_string()}})
        };
        let eligible =
            self.sets.iter().filter(|(_, set)| eligibility(&self.node, set.template()).should_run);
        FleetReport {
            node,
            members: eligible.map(member).collect(),
            pods: self.pods.iter().map(shown).collect(),
            events: self.events.clone(),
        }
    }
}
