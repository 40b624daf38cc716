//! Noting what operators see of the past: events of pods, of sets and of this node.

use crate::base::{
    ids::{PodUid, SetKey},
    time::{self, Now},
};
use crate::fleet::events::{EventType, Involved};
use crate::pod::machine::PodEvent;

use super::reconciler::Reconciler;

impl Reconciler {
    /// Records an event of a pod.
    pub(super) fn note_pod(&mut self, now: Now, uid: &PodUid, event: PodEvent) {
        let Some(pod) = self.pods.get(uid) else { return };
        let involved = Involved {
            kind: "Pod",
            namespace: pod.record.set.namespace.clone(),
            name: pod.record.name.clone(),
            uid: uid.to_string(),
        };
        let kind = if event.warning { EventType::Warning } else { EventType::Normal };
        self.events.record(now, involved, kind, event.reason, event.message);
    }

    /// Records an event of a set.
    pub(super) fn note_set(
        &mut self,
        key: &SetKey,
        kind: EventType,
        reason: &str,
        message: String,
    ) {
        let uid = self.sets.entries().get(key).map(|entry| entry.uid.clone()).unwrap_or_default();
        let involved = Involved {
            kind: "DaemonSet",
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            uid,
        };
        self.events.record(time::now(), involved, kind, reason, message);
    }

    /// Records an event of this node.
    pub(super) fn note_node(&mut self, kind: EventType, reason: &str, message: String) {
        let name = self.node.name.to_string();
        let involved = Involved { kind: "Node", namespace: String::new(), uid: name.clone(), name };
        self.events.record(time::now(), involved, kind, reason, message);
    }
}
