//! The events of this node, folded as Kubernetes folds them and kept within bounds.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use crate::base::ids::NodeName;
use crate::base::time::Now;

/// How many different events are kept.
const CAPACITY: usize = 512;
/// How long an event is kept after it was last seen.
const KEPT: Duration = Duration::from_hours(1);
/// Who reports.
const COMPONENT: &str = "podward";

/// How grave an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventType {
    /// As planned.
    Normal,
    /// Someone may have to act.
    Warning,
}

impl EventType {
    /// The type as Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// The object that an event is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Involved {
    /// DaemonSet, Pod or Node.
    pub kind: &'static str,
    /// Its namespace; empty for a Node.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid; empty when it has none.
    pub uid: String,
}

/// One event and how often it was seen; small, since hundreds of them stay in memory.
#[derive(Debug)]
struct Entry {
    /// The object, shared by its events.
    involved: Arc<Involved>,
    /// How grave.
    kind: EventType,
    /// The first sighting in nanoseconds, made unique: Kubernetes ends an event's name with it.
    mark: i128,
    /// The reason in one word.
    reason: Box<str>,
    /// The reason in a sentence.
    message: Box<str>,
    /// How often it was seen.
    count: i32,
    /// When it was first seen.
    first: Timestamp,
    /// When it was last seen.
    last: Timestamp,
    /// The same by the clock that never jumps.
    seen: Instant,
}

/// The events of this node, the one seen longest ago first.
#[derive(Debug)]
pub struct EventLog {
    /// This node.
    node: NodeName,
    /// The events.
    entries: VecDeque<Entry>,
    /// The mark of the newest event.
    mark: i128,
}

impl EventLog {
    /// An empty log.
    pub fn new(node: NodeName) -> Self {
        Self { node, entries: VecDeque::new(), mark: 0 }
    }

    /// Notes an event. The same again (object, type, reason and message) raises its count.
    pub fn record(
        &mut self,
        now: Now,
        involved: Involved,
        kind: EventType,
        reason: &str,
        message: String,
    ) {
        self.expire(now);
        let known = self.entries.iter().position(|entry| {
            *entry.involved == involved
                && entry.kind == kind
                && *entry.reason == *reason
                && *entry.message == *message
        });
        let entry = match known.and_then(|index| self.entries.remove(index)) {
            Some(entry) => Entry {
                count: entry.count.saturating_add(1),
                last: now.wall,
                seen: now.mono,
                ..entry
            },
            None => Entry {
                involved: self.shared(involved),
                mark: self.next_mark(now.wall),
                kind,
                reason: reason.into(),
                message: message.into(),
                count: 1,
                first: now.wall,
                last: now.wall,
                seen: now.mono,
            },
        };
        if self.entries.len() == CAPACITY {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    /// Forgets what was last seen more than an hour ago. True when something went.
    pub fn expire(&mut self, now: Now) -> bool {
        let before = self.entries.len();
        while let Some(oldest) = self.entries.front()
            && expired(oldest, now)
        {
            self.entries.pop_front();
        }
        self.entries.len() != before
    }

    /// The events as `v1` objects, the one seen longest ago first. What has expired is left out, so that
    /// an idle agent need not wake up to forget it.
    pub fn list(&self, now: Now) -> Vec<Event> {
        let kept = self.entries.iter().filter(|entry| !expired(entry, now));
        kept.map(|entry| self.object(entry)).collect()
    }

    /// One allocation for all events of an object.
    fn shared(&self, involved: Involved) -> Arc<Involved> {
        let known = self.entries.iter().rev().find(|entry| *entry.involved == involved);
        known.map_or_else(|| Arc::new(involved), |entry| Arc::clone(&entry.involved))
    }

    /// A mark that no other event has.
    fn next_mark(&mut self, now: Timestamp) -> i128 {
        self.mark = now.as_nanosecond().max(self.mark + 1);
        self.mark
    }

    /// The event as Kubernetes shapes it.
    fn object(&self, entry: &Entry) -> Event {
        let involved = &entry.involved;
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let namespace = text(&involved.namespace).unwrap_or_else(|| "default".to_owned());
        let api_version = if involved.kind == "DaemonSet" { "apps/v1" } else { "v1" };
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{}.{:x}", involved.name, entry.mark)),
                namespace: Some(namespace),
                creation_timestamp: Some(Time(entry.first)),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some(api_version.to_owned()),
                kind: Some(involved.kind.to_owned()),
                namespace: text(&involved.namespace),
                name: Some(involved.name.clone()),
                uid: text(&involved.uid),
                ..ObjectReference::default()
            },
            type_: Some(entry.kind.as_str().to_owned()),
            reason: Some(entry.reason.to_string()),
            message: Some(entry.message.to_string()),
            count: Some(entry.count),
            first_timestamp: Some(Time(entry.first)),
            last_timestamp: Some(Time(entry.last)),
            source: Some(EventSource {
                component: Some(COMPONENT.to_owned()),
                host: Some(self.node.to_string()),
            }),
            reporting_component: Some(COMPONENT.to_owned()),
            reporting_instance: Some(self.node.to_string()),
            ..Event::default()
        }
    }
}

/// Whether an event was last seen too long ago.
fn expired(entry: &Entry, now: Now) -> bool {
    now.mono.saturating_duration_since(entry.seen) > KEPT
}

#[cfg(test)]
mod tests {
    use crate::base::time::now;

    use super::*;

    fn log() -> EventLog {
        EventLog::new(NodeName::new("n1"))
    }

    fn pod(name: &str) -> Involved {
        Involved { kind: "Pod", namespace: "x".into(), name: name.into(), uid: "u".into() }
    }

    fn later(start: Now, seconds: u64) -> Now {
        let by = Duration::from_secs(seconds);
        Now { mono: start.mono + by, wall: start.wall + by }
    }

    fn back_off(log: &mut EventLog, now: Now, name: &str) {
        log.record(now, pod(name), EventType::Warning, "BackOff", "restarting".into());
    }

    #[test]
    fn the_same_event_again_raises_its_count() {
        let (start, mut log) = (now(), log());
        back_off(&mut log, start, "a");
        log.record(start, pod("a"), EventType::Normal, "Pulled", "present".into());
        back_off(&mut log, later(start, 10), "a");
        let events = log.list(start);
        let seen: Vec<_> =
            events.iter().map(|e| (e.reason.as_deref().unwrap(), e.count.unwrap())).collect();
        assert_eq!(seen, [("Pulled", 1), ("BackOff", 2)]);
        assert_eq!(events[1].first_timestamp, Some(Time(start.wall)));
        assert_eq!(events[1].last_timestamp, Some(Time(later(start, 10).wall)));
        assert_eq!(events[1].involved_object.api_version.as_deref(), Some("v1"));
    }

    #[test]
    fn other_objects_and_messages_are_other_events() {
        let (start, mut log) = (now(), log());
        back_off(&mut log, start, "a");
        back_off(&mut log, start, "b");
        log.record(start, pod("a"), EventType::Warning, "BackOff", "other".into());
        let names: std::collections::BTreeSet<_> =
            log.list(start).into_iter().map(|event| event.metadata.name).collect();
        assert_eq!(names.len(), 3, "each event has a name of its own");
    }

    #[test]
    fn an_event_is_forgotten_an_hour_after_it_was_last_seen() {
        let (start, mut log) = (now(), log());
        back_off(&mut log, start, "a");
        back_off(&mut log, later(start, 1800), "b");
        assert_eq!(log.list(later(start, 3600)).len(), 2);
        assert_eq!(log.list(later(start, 3601)).len(), 1, "even before anything is recorded again");
        assert!(!log.expire(later(start, 3600)));
        assert!(log.expire(later(start, 3601)));
        assert_eq!(log.list(start).len(), 1);
    }

    #[test]
    fn the_log_keeps_the_latest_events_when_full() {
        let (start, mut log) = (now(), log());
        for index in 0..=CAPACITY {
            back_off(&mut log, start, &format!("p{index}"));
        }
        let events = log.list(start);
        assert_eq!(events.len(), CAPACITY);
        assert_eq!(events[0].involved_object.name.as_deref(), Some("p1"));
    }

    #[test]
    fn an_event_of_a_node_lives_in_the_default_namespace() {
        let mut log = log();
        let node = Involved {
            kind: "Node",
            namespace: String::new(),
            name: "n1".into(),
            uid: String::new(),
        };
        log.record(now(), node, EventType::Normal, "Starting", "agent started".into());
        let event = log.list(now()).remove(0);
        assert_eq!(event.metadata.namespace.as_deref(), Some("default"));
        assert_eq!(event.involved_object.namespace, None);
    }
}
