//! What comes in from afar: pages by HTTP and the store's keys. Tasks beside the reconciler fetch and watch; this is
//! where the reconciler takes their news up.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tracing::{info, warn};

use crate::base::{
    fault::Fault,
    ids::{PodUid, SetKey},
    keyed::{distinct, keyed},
    time,
};
use crate::config::{Settings, SourceSettings};
use crate::fleet::events::EventType;
use crate::fleet::overlay::lay_over;
use crate::fleet::records::NodeOverlay;
use crate::node::Node;
use crate::pod::machine::Input;
use crate::source::merge::{FileReading, SourceReading};

use super::{
    handle::{SourceHealth, StoreHealth, StoreState},
    objects::node_of,
    reconciler::Reconciler,
    store_view::Known,
    turns::SetGates,
};

/// What a task beside the reconciler learned.
#[derive(Debug)]
pub(super) enum News {
    /// What the source of this number says.
    Source(usize, SourceReading),
    /// How the store is.
    Store(StoreHealth),
    /// What operators laid over this node.
    Overlay(Option<NodeOverlay>),
    /// What is wrong with records of the store.
    Faults(Vec<Fault>),
    /// The gates of sets.
    Gates(BTreeMap<SetKey, SetGates>),
    /// Something to tell operators about a set: whether it is a warning, the reason, the message.
    Noted(SetKey, EventType, &'static str, String),
    /// Pods that operators delete from afar, by uid, with their grace periods in seconds.
    Pods(BTreeMap<String, Option<u64>>),
}

/// Where the news come from.
pub(super) type NewsOf = mpsc::UnboundedReceiver<News>;

/// What was heard last.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    /// Sources that are not files, by their number.
    readings: BTreeMap<usize, SourceReading>,
    /// When each of them last answered well.
    last_good: BTreeMap<usize, Timestamp>,
    /// What is laid over this node.
    pub overlay: Option<NodeOverlay>,
    /// How the store is; `None` without one.
    pub store: Option<StoreHealth>,
    /// What is wrong with records of the store.
    pub faults: Vec<Fault>,
    /// Has pages asked for before their time.
    pub poke: Arc<Notify>,
}

impl Feeds {
    /// Nobody has answered yet; `overlay` is what was laid over this node last.
    pub(super) fn new(settings: &Settings, overlay: Option<NodeOverlay>) -> Self {
        let prefix = etcd_root(settings);
        let awaited = |(index, source): (usize, &SourceSettings)| {
            let path = match source {
                SourceSettings::File { .. } => return None,
                SourceSettings::Http(http) => http.url.clone().into(),
                SourceSettings::Etcd => prefix.clone().into(),
            };
            Some((index, SourceReading { path, awaited: true, ..SourceReading::default() }))
        };
        let store = (!settings.etcd.endpoints.is_empty()).then(|| StoreHealth {
            state: StoreState::Connecting,
            since: time::now().wall,
            message: "not asked yet".into(),
            endpoint: String::new(),
        });
        Self {
            readings: keyed(settings.sources.iter().enumerate().filter_map(awaited)),
            overlay,
            store,
            ..Self::default()
        }
    }

    /// All readings in the order of their sources.
    pub(super) fn beside<'a>(
        &'a self,
        settings: &Settings,
        files: &'a [SourceReading],
    ) -> Vec<&'a SourceReading> {
        let mut files = files.iter();
        let reading = |(index, source): (usize, &SourceSettings)| match source {
            SourceSettings::File { .. } => files.next(),
            SourceSettings::Http(_) | SourceSettings::Etcd => self.readings.get(&index),
        };
        settings.sources.iter().enumerate().filter_map(reading).collect()
    }

    /// Whether a source has neither answered nor failed yet.
    pub(super) fn awaited(&self) -> bool {
        self.readings.values().any(|reading| reading.awaited)
    }

    /// How the sources that are not files are.
    pub(super) fn health(&self) -> Vec<SourceHealth> {
        let health = |(index, reading): (&usize, &SourceReading)| SourceHealth {
            name: reading.path.display().to_string(),
            last_good: self.last_good.get(index).copied(),
            fault: reading.fault.as_ref().map(ToString::to_string).unwrap_or_default(),
        };
        self.readings.iter().map(health).collect()
    }
}

/// What everything that comes out of the store is called by.
pub(super) fn etcd_root(settings: &Settings) -> String {
    let keys = crate::store::Keys::new(&settings.etcd.prefix, &settings.cluster);
    super::store_view::origin(&keys.spec())
}

impl Reconciler {
    /// Stands where the host stood last, before anything is heard.
    pub(super) fn begin(&mut self) {
        self.node = self.node_now();
        self.judge();
    }

    /// Takes news up.
    pub(super) fn feed_news(&mut self, news: News) {
        match news {
            News::Source(index, reading) => {
                if reading.fault.is_none() && !reading.awaited {
                    self.feeds.last_good.insert(index, time::now().wall);
                }
                self.feeds.readings.insert(index, reading);
                // While files are being read, what comes of that read is merged with this.
                if let Some(files) = self.readings.take() {
                    self.sources_read(files);
                }
            }
            News::Overlay(overlay) => {
                if self.feeds.overlay != overlay {
                    self.feeds.overlay = overlay;
                    self.node_changed();
                }
            }
            News::Faults(faults) => {
                self.feeds.faults = faults;
                self.merge_objects();
            }
            News::Store(health) => self.store_news(health),
            News::Gates(gates) => self.gates_read(gates),
            News::Noted(key, kind, reason, message) => self.note_set(&key, kind, reason, message),
            News::Pods(pods) => self.delete_from_afar(&pods),
        }
    }

    /// Labels or taints may have changed.
    pub(super) fn node_changed(&mut self) {
        let node = self.node_now();
        if self.node != node {
            info!(node = %node.name, "labels or taints changed");
            self.node = node;
            self.judge();
        }
        let own = node_of(&self.settings, &self.effects.facts);
        let refused = self.overlaid(own).1.join(", ");
        if !refused.is_empty() {
            let message = format!(
                "operators would change {refused}, which this node's configuration protects (node.protected)"
            );
            self.note_node(EventType::Warning, "OverlayRefused", message);
        }
        self.changed();
    }

    /// A node with what operators laid over it, and the keys that they may not change.
    pub(super) fn overlaid(&self, node: Node) -> (Node, Vec<String>) {
        match &self.feeds.overlay {
            Some(overlay) => lay_over(&node, overlay, &self.settings.node.protected),
            None => (node, Vec::new()),
        }
    }

    /// The store's state is told once when it changes.
    fn store_news(&mut self, health: StoreHealth) {
        let before = self.feeds.store.as_ref().map(|store| store.state);
        let etcd = self.settings.sources.iter().position(|source| *source == SourceSettings::Etcd);
        if before == Some(StoreState::Ready)
            && let Some(index) = etcd
        {
            // Until now what it said was what is, also when it had nothing to say for days.
            self.feeds.last_good.insert(index, time::now().wall);
        }
        if before != Some(health.state) {
            let good = health.state == StoreState::Ready;
            let kind = if good { EventType::Normal } else { EventType::Warning };
            if good {
                info!(endpoint = %health.endpoint, "the store is ready");
            } else {
                warn!(error = %health.message, reason = health.state.reason(), "the store is not ready; what runs goes on");
            }
            self.note_node(kind, health.state.reason(), health.message.clone());
        }
        self.feeds.store = Some(health);
        self.changed();
    }

    /// Stops pods that operators delete from another machine.
    fn delete_from_afar(&mut self, pods: &BTreeMap<String, Option<u64>>) {
        let wanted: BTreeSet<PodUid> = distinct(pods.keys().map(PodUid::new));
        let here: Vec<PodUid> = self
            .pods
            .iter()
            .filter(|(uid, pod)| wanted.contains(*uid) && !pod.stopping())
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in here {
            let pod = &self.pods[&uid];
            let grace = pods[uid.as_str()]
                .map_or_else(|| pod.record.grace(), std::time::Duration::from_secs);
            let (name, set) = (pod.record.name.clone(), pod.record.set.clone());
            let message = format!("Deleted pod: {name} (by an operator)");
            self.note_set(&set, EventType::Normal, "SuccessfulDelete", message);
            self.tell(&uid, Input::Delete { grace, cause: "deleted by an operator".into() });
        }
    }

    /// What the last good snapshot has from the store, by origin.
    pub(super) fn known_of_store(&self) -> BTreeMap<String, Known> {
        let sets = self.sets.entries().values().map(|entry| {
            let metadata = &entry.set.object.metadata;
            let known = Known {
                uid: metadata.uid.clone().unwrap_or_default(),
                generation: metadata.generation.unwrap_or_default(),
                created: Some(entry.created),
            };
            (entry.set.origin.clone(), known)
        });
        let objects = self.sets.documents().values();
        keyed(sets.chain(objects.map(|object| (object.origin.clone(), Known::default()))))
    }
}

/// A reading of a source that cannot be asked: what it said last goes on.
pub(super) fn stale(
    path: impl Into<std::path::PathBuf>,
    files: BTreeMap<std::path::PathBuf, FileReading>,
    fault: Fault,
) -> SourceReading {
    SourceReading { path: path.into(), files, fault: Some(fault), awaited: false }
}

/// A text out of an object.
pub(super) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
