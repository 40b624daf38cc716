//! An agent without containers, for benchmarks of fleets: the link to the store, the merge of sources, the verdict and
//! the plan are the agent's own; pods are entries of a map that run at once.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc, watch};
use uuid::Uuid;

use crate::base::{
    ids::{PodUid, SetKey, TemplateHash},
    time,
};
use crate::node::{Node, eligibility};
use crate::plan::steps::{DesiredSet, Images, Leave, ObservedPod, Step, plan};
use crate::source::{
    merge::{Sets, SourceReading, merge},
    trust::Trust,
};
use crate::spec::FieldValidation;
use crate::store::{self, Keys};

use super::{
    feeds::News,
    handle::{Command, FleetReport, Handle},
    store_guard::Guard,
    store_link::{self, Link},
    store_view::View,
};

/// How long such a node counts as alive without a sign of life.
const LEASE: Duration = Duration::from_mins(1);

/// An agent without containers.
#[derive(Debug)]
pub struct Light {
    /// Its node.
    node: Node,
    /// The sets that it wants.
    sets: Sets,
    /// Its pods.
    pods: Vec<ObservedPod>,
    /// Where it tells which template it began to run.
    told: mpsc::UnboundedSender<TemplateHash>,
}

/// Runs such an agent until `stop`; each template that it begins to run is told through `told`.
pub async fn run(
    store: store::Settings,
    keys: Keys,
    node: Node,
    state: &Path,
    told: mpsc::UnboundedSender<TemplateHash>,
    stop: watch::Receiver<bool>,
) {
    let (commands, mut orders) = mpsc::channel(16);
    let (sender, _execs) = mpsc::channel(1);
    let (changes, seen) = watch::channel(0);
    let (news, mut feeds) = mpsc::unbounded_channel();
    let handle = Handle { commands, changes: seen, execs: sender };
    let open = Arc::new(|_: &str, value: &[u8]| Ok(value.to_vec()));
    let strict = FieldValidation::Strict;
    let view = View::new(keys.clone(), node.name.clone(), strict, open, BTreeMap::new(), None);
    let settings = store_link::Settings {
        store,
        keys,
        node: node.name.clone(),
        install_id: node.name.to_string(),
        source: Some(0),
        lease_ttl: LEASE,
        boot_id: String::new(),
        turns: false,
        pace: None,
        trust: Arc::new(Trust::load(&[], state)),
        poke: Arc::new(Notify::new()),
    };
    let link = Link::new(settings, handle, news, view, Guard::load(state).0).run(stop);
    let mut link = std::pin::pin!(link);
    let mut light = Light { node, sets: Sets::new(), pods: Vec::new(), told };
    loop {
        tokio::select! {
            // cancel-safe: channels lose nothing, and the link goes on where it was.
            () = &mut link => return,
            Some(order) = orders.recv() => {
                if let Command::Report { reply } = order {
                    let _ = reply.send(light.report());
                }
            }
            Some(heard) = feeds.recv() => {
                if let News::Source(_, reading) = heard
                    && light.take(&reading)
                {
                    changes.send_modify(|count| *count += 1);
                }
            }
        }
    }
}

impl Light {
    /// Takes a reading up, as far as the plan goes; `true` when something was done.
    fn take(&mut self, reading: &SourceReading) -> bool {
        self.sets = merge(&[reading], &self.sets, &BTreeMap::new()).sets;
        let mut news = false;
        loop {
            let steps = plan(&self.desired(), &self.pods).steps;
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
        let desired = |(key, set): (&SetKey, &Arc<crate::spec::Set>)| {
            let verdict = eligibility(&self.node, set.template());
            let desired = DesiredSet {
                hash: set.hash.clone(),
                on_delete: set.on_delete(),
                surge: false,
                min_ready: set.min_ready(),
                should_run: verdict.should_run,
                should_continue: verdict.should_continue,
                refusal: verdict.refusal().unwrap_or_default(),
                evicted: false,
                missing: String::new(),
                unread: false,
                images: Images::Ready,
                leave: Leave::Given,
            };
            (key.clone(), desired)
        };
        self.sets.iter().map(desired).collect()
    }

    /// Does a step: nothing takes time here.
    fn carry_out(&mut self, step: Step) {
        match step {
            Step::Create(set) => {
                let hash = self.sets[&set].hash.clone();
                // Nobody listens any more when the benchmark is over.
                let _ = self.told.send(hash.clone());
                self.pods.push(ObservedPod {
                    uid: PodUid::new(Uuid::new_v4().to_string()),
                    set,
                    hash,
                    created: time::now().wall,
                    stopping: false,
                    ready_for: Some(Duration::from_hours(1)),
                    resizable: false,
                    idle: false,
                    time_over: false,
                    ended: None,
                });
            }
            Step::Delete { pod, .. } => self.pods.retain(|one| one.uid != pod),
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
        let member = |pod: &ObservedPod| {
            let member = json!({"uid": "", "hash": pod.hash.as_str(), "wanted": pod.hash.as_str(),
                                "status": {"desiredNumberScheduled": 1, "numberReady": 1}});
            (pod.set.clone(), member)
        };
        let shown = |pod: &ObservedPod| -> Value {
            json!({"apiVersion": "v1", "kind": "Pod",
                   "metadata": {"name": format!("{}-{}", pod.set.name, &pod.uid.as_str()[..5]),
                                "namespace": pod.set.namespace, "uid": pod.uid.as_str()},
                   "spec": {"nodeName": self.node.name.as_str(), "containers": [{"name": "c", "image": "x"}]},
                   "status": {"phase": "Running", "startTime": pod.created.to_string()}})
        };
        FleetReport {
            node,
            members: self.pods.iter().map(member).collect(),
            pods: self.pods.iter().map(shown).collect(),
            events: Vec::new(),
        }
    }
}
