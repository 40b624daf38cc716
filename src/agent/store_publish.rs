//! What this node writes into the store: its record, its sign of life, what it says of its sets, its pods, its events.
//!
//! Every transaction demands that the node's record is as this agent wrote it last: whoever deleted it, or took the
//! name, ends this agent's writing. Only what changed is written, once a second at most.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::base::{
    ids::{NodeName, SetKey},
    keyed::{distinct, keyed},
    time,
};
use crate::fleet::records::INSTALL_ID;
use crate::store::{Compare, Error, Keys, Kv, Op, Range, Store, Txn};

use super::{
    feeds::text,
    handle::{Command, FleetReport, Handle},
};

/// The least time between two writes.
const PACE: Duration = Duration::from_secs(1);

/// How many operations one transaction holds: etcd takes 128 unless it is told otherwise.
const BATCH: usize = 100;

/// How long an event stays, and how long its lease is taken for further events.
const EVENTS: (Duration, Duration) = (Duration::from_mins(75), Duration::from_mins(15));

/// How many events may be written at once, and how long one more takes to be allowed.
const BURST: (u32, Duration) = (25, Duration::from_secs(2));

/// Whether this node is registered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Registered {
    /// It is.
    Yes,
    /// Another installation has its name: who, and the way out.
    Taken(String),
    /// Its record changed meanwhile: look again.
    Changed,
}

/// What is in the store of this node, as far as this agent knows.
#[derive(Debug, Default)]
struct Published {
    /// Its record.
    node: Value,
    /// Its members.
    members: BTreeMap<SetKey, Value>,
    /// Its pods, by key.
    pods: BTreeMap<String, Value>,
    /// Its events, by name, as last written by this agent.
    events: BTreeMap<String, Value>,
}

/// Writes.
#[derive(Debug)]
pub(super) struct Publisher {
    /// The keys' names.
    keys: Keys,
    /// This node.
    node: NodeName,
    /// This installation.
    install_id: String,
    /// How long this node counts as alive.
    ttl: Duration,
    /// The store lease of its sign of life; 0 before the first.
    lease: i64,
    /// The revision of its record.
    revision: i64,
    /// What is there.
    published: Published,
    /// When it may write again.
    due: Instant,
    /// Whether something waits although nothing changes.
    owes: bool,
    /// The store lease of events, and since when.
    event_lease: Option<(i64, Instant)>,
    /// How many events may be written now, and when that was counted.
    allowance: (u32, Instant),
}

impl Publisher {
    /// A publisher that has written nothing.
    pub(super) fn new(keys: Keys, node: NodeName, install_id: String, ttl: Duration) -> Self {
        let now = time::now().mono;
        Self {
            keys,
            node,
            install_id,
            ttl,
            lease: 0,
            revision: 0,
            published: Published::default(),
            due: now,
            owes: false,
            event_lease: None,
            allowance: (BURST.0, now),
        }
    }

    /// The store lease of this node's sign of life.
    pub(super) fn lease(&self) -> i64 {
        self.lease
    }

    /// The revision at which this agent wrote the node's record last.
    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    /// When it may write again.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Whether something waits to be written although nothing changes: events beyond their pace.
    pub(super) fn owes(&self) -> bool {
        self.owes
    }

    /// Registers this node under its name, unless another installation has it; `own` is the record that is there.
    pub(super) async fn register(
        &mut self,
        store: &Store,
        handle: &Handle,
        own: Option<&Kv>,
    ) -> Result<Registered, Error> {
        let key = self.keys.node(&self.node);
        let there: Value =
            own.map(|kv| serde_json::from_slice(&kv.value).unwrap_or_default()).unwrap_or_default();
        let holder = annotation(&there, INSTALL_ID);
        if own.is_some() && !holder.is_empty() && holder != self.install_id {
            return Ok(Registered::Taken(self.taken(&there)));
        }
        self.renew_lease(store).await?;
        // A store that was wiped or restored never heard of an earlier one.
        self.event_lease = None;
        let mut record = ask(handle).await?.node;
        // A node is as old as its record.
        if let Some(created) = there.pointer("/metadata/creationTimestamp") {
            record["metadata"]["creationTimestamp"] = created.clone();
        }
        let when = match own {
            Some(kv) => Compare::ModRevision(key.clone(), kv.mod_revision),
            None => Compare::Absent(key.clone()),
        };
        // The record is written anew although it may be the same: what an earlier session sent and did not hear of demands
        // the record as it was, and can no longer be done.
        let mut then = vec![self.sign_of_life(&record), Op::put(key, record.to_string())];
        then.push(Op::Get(Range::prefix(self.keys.pods_of(&self.node))));
        then.push(Op::Get(Range::key(self.keys.memberships(&self.node))));
        let outcome = store.txn(&Txn { when: vec![when], then, otherwise: Vec::new() }).await?;
        if !outcome.succeeded {
            return Ok(Registered::Changed);
        }
        self.revision = outcome.header.revision;
        let mut listings = outcome.listings.into_iter();
        let pods = listings.next().unwrap_or_default().kvs;
        let memberships = listings.next().unwrap_or_default().kvs;
        self.published.node = record;
        self.published.pods = keyed(pods.into_iter().map(|kv| (kv.key, parsed(&kv.value))));
        self.published.members = self.members(store, memberships.first()).await?;
        Ok(Registered::Yes)
    }

    /// What to say of a name that is taken.
    fn taken(&self, there: &Value) -> String {
        let host = there.pointer("/status/addresses").and_then(Value::as_array);
        let host: Vec<&str> =
            host.into_iter().flatten().map(|address| text(address, "/address")).collect();
        format!(
            "the name {} belongs to another installation ({}, {}); give this host another node.name, or \
             `podward delete node {}` when that host is no more",
            self.node,
            host.join(", "),
            annotation(there, INSTALL_ID),
            self.node
        )
    }

    /// Makes sure that the store lease of this node lives.
    async fn renew_lease(&mut self, store: &Store) -> Result<(), Error> {
        if self.lease != 0 {
            // etcd may say at once that it never heard of it: it was wiped, or it is another.
            let renewed = async { store.keep_alive(self.lease).await?.renew().await };
            match renewed.await {
                Ok(_) => return Ok(()),
                Err(Error::LeaseGone) => {}
                Err(error) => return Err(error),
            }
        }
        self.lease = store.grant(self.ttl).await?;
        Ok(())
    }

    /// The operation that puts this node's sign of life.
    fn sign_of_life(&self, record: &Value) -> Op {
        let value = json!({
            "installId": self.install_id,
            "bootId": text(record, "/status/nodeInfo/bootID"),
        });
        let key = self.keys.alive(&self.node);
        Op::Put { key, value: value.to_string().into_bytes(), lease: self.lease }
    }

    /// The members that are there, by the index that is kept beside them.
    async fn members(
        &self,
        store: &Store,
        index: Option<&Kv>,
    ) -> Result<BTreeMap<SetKey, Value>, Error> {
        let Some(index) = index else { return Ok(BTreeMap::new()) };
        let names: Vec<String> = serde_json::from_slice(&index.value).unwrap_or_default();
        let sets: Vec<SetKey> = names
            .iter()
            .filter_map(|name| name.split_once('/').map(|(space, name)| SetKey::new(space, name)))
            .collect();
        let mut members = BTreeMap::new();
        for some in sets.chunks(BATCH) {
            let keys = some.iter().map(|set| Range::key(self.keys.member(set, &self.node)));
            let (_, kvs) = store.list_all(&keys.collect::<Vec<_>>()).await?;
            // One that is named but missing is deleted once more.
            members.extend(some.iter().map(|set| (set.clone(), Value::Null)));
            members
                .extend(kvs.into_iter().filter_map(|kv| {
                    Some((self.keys.parse_member(&kv.key)?.0, parsed(&kv.value)))
                }));
        }
        Ok(members)
    }

    /// Writes what changed; `false` when the node's record is no longer this agent's.
    pub(super) async fn publish(&mut self, store: &Store, handle: &Handle) -> Result<bool, Error> {
        let mut report = ask(handle).await?;
        if let Some(created) = self.published.node.pointer("/metadata/creationTimestamp") {
            report.node["metadata"]["creationTimestamp"] = created.clone();
        }
        let event_lease = self.lease_for(store, &report).await?;
        let told = if event_lease == 0 { None } else { Some(self.published.events.clone()) };
        let ops = self.difference(&report, event_lease);
        for some in ops.chunks(BATCH) {
            let written = self.write(store, some).await;
            if let (Ok(false) | Err(_), Some(told)) = (&written, &told) {
                // The next session reads what there is of all else; events it would take for told.
                self.published.events.clone_from(told);
            }
            if !written? {
                return Ok(false);
            }
        }
        self.due = time::now().mono + if self.owes { BURST.1 } else { PACE };
        Ok(true)
    }

    /// Writes some operations as long as the node's record is this agent's.
    async fn write(&mut self, store: &Store, ops: &[Op]) -> Result<bool, Error> {
        let key = self.keys.node(&self.node);
        let own = ops.iter().any(|op| matches!(op, Op::Put { key: put, .. } if *put == key));
        let when = vec![Compare::ModRevision(key, self.revision)];
        let txn = Txn { when, then: ops.to_vec(), otherwise: Vec::new() };
        let outcome = store.txn(&txn).await?;
        if own && outcome.succeeded {
            self.revision = outcome.header.revision;
        }
        Ok(outcome.succeeded)
    }

    /// The store lease for events that are to be written; 0 when there are none.
    async fn lease_for(&mut self, store: &Store, report: &FleetReport) -> Result<i64, Error> {
        let news = |event: &&Value| self.published.events.get(name(event)) != Some(*event);
        if !report.events.iter().any(|event| news(&event)) {
            return Ok(0);
        }
        if let Some((lease, since)) = self.event_lease
            && time::now().mono.duration_since(since) < EVENTS.1
        {
            return Ok(lease);
        }
        let lease = store.grant(EVENTS.0).await?;
        self.event_lease = Some((lease, time::now().mono));
        Ok(lease)
    }

    /// What makes the store say what the report says. What is written is taken for written: a session that fails
    /// meanwhile is followed by one that reads what is there.
    fn difference(&mut self, report: &FleetReport, event_lease: i64) -> Vec<Op> {
        let mut ops = Vec::new();
        if self.published.node != report.node {
            ops.push(Op::put(self.keys.node(&self.node), report.node.to_string()));
            self.published.node = report.node.clone();
        }
        self.member_ops(report, &mut ops);
        let key = |pod: &Value| {
            let (space, name) = (text(pod, "/metadata/namespace"), text(pod, "/metadata/name"));
            self.keys.pod(&self.node, space, name)
        };
        let pods: BTreeMap<String, Value> =
            keyed(report.pods.iter().map(|pod| (key(pod), pod.clone())));
        for (key, pod) in &pods {
            if self.published.pods.get(key) != Some(pod) {
                ops.push(Op::put(key, pod.to_string()));
            }
        }
        let gone = self.published.pods.keys().filter(|key| !pods.contains_key(*key));
        ops.extend(gone.map(|key| Op::Delete(Range::key(key))));
        self.published.pods = pods;
        self.event_ops(report, event_lease, &mut ops);
        ops
    }

    /// The sets of which this node is a member, as far as the store knows.
    pub(super) fn memberships(&self) -> impl Iterator<Item = &SetKey> {
        self.published.members.iter().filter(|(_, member)| !member.is_null()).map(|(set, _)| set)
    }

    /// The operations that write what this node says of one set now, and what it said before.
    pub(super) async fn member_now(
        &mut self,
        handle: &Handle,
        set: &SetKey,
    ) -> Result<(Vec<Op>, Option<Value>), Error> {
        let report = ask(handle).await?;
        let before = self.published.members.get(set).cloned();
        let mut ops = Vec::new();
        if let (Some(member), Some(_)) = (report.members.get(set), &before) {
            self.put_member(set, member, &mut ops);
        }
        Ok((ops, before))
    }

    /// What was taken for written was not.
    pub(super) fn member_was(&mut self, set: &SetKey, before: Value) {
        self.published.members.insert(set.clone(), before);
    }

    /// The uid of a set, as this node said it.
    pub(super) fn uid_of(&self, set: &SetKey) -> String {
        self.published
            .members
            .get(set)
            .map(|member| text(member, "/uid").to_owned())
            .unwrap_or_default()
    }

    /// What every transaction of this session demands: that the node's record is as it wrote it.
    pub(super) fn fence(&self) -> Compare {
        Compare::ModRevision(self.keys.node(&self.node), self.revision)
    }

    /// Puts what this node says of a set, and the indexes beside it, where they differ.
    fn put_member(&mut self, set: &SetKey, member: &Value, ops: &mut Vec<Op>) {
        let before = self.published.members.insert(set.clone(), member.clone()).unwrap_or_default();
        if before == *member {
            return;
        }
        let hash = |member: &Value| text(member, "/hash").to_owned();
        let (was, is) = (hash(&before), hash(member));
        if was != is {
            if !was.is_empty() {
                ops.push(Op::Delete(Range::key(self.keys.at(set, &was, &self.node))));
            }
            if !is.is_empty() {
                ops.push(Op::put(self.keys.at(set, &is, &self.node), ""));
            }
        }
        let (canary, key) = (member["canary"] == true, self.keys.canary(set, &self.node));
        if canary && (was != is || before["canary"] != true) {
            ops.push(Op::put(key, json!({ "hash": is }).to_string()));
        } else if !canary && before["canary"] == true {
            ops.push(Op::Delete(Range::key(key)));
        }
        ops.push(Op::put(self.keys.member(set, &self.node), member.to_string()));
    }

    /// The members that differ, with the index that names them. Whoever removes a member removes what depends on it.
    fn member_ops(&mut self, report: &FleetReport, ops: &mut Vec<Op>) {
        let before: Vec<SetKey> = self.published.members.keys().cloned().collect();
        if !before.iter().eq(report.members.keys()) {
            let index: Vec<String> = report.members.keys().map(ToString::to_string).collect();
            let key = self.keys.memberships(&self.node);
            ops.push(Op::put(key, Value::from(index).to_string()));
        }
        for (set, member) in &report.members {
            self.put_member(set, member, ops);
        }
        for set in before.iter().filter(|set| !report.members.contains_key(*set)) {
            let member = self.published.members.remove(set).unwrap_or_default();
            let at = self.keys.at(set, text(&member, "/hash"), &self.node);
            // The member goes last: these may be parts of two transactions, and a turn without a member would count for nobody.
            let keys = [
                self.keys.available(set, &self.node),
                self.keys.turn(set, &self.node),
                self.keys.queue(set, &self.node),
                self.keys.canary(set, &self.node),
                at,
                self.keys.member(set, &self.node),
            ];
            ops.extend(keys.into_iter().map(|key| Op::Delete(Range::key(key))));
        }
    }

    /// The events that are new or were seen again, as many as the pace allows.
    fn event_ops(&mut self, report: &FleetReport, lease: i64, ops: &mut Vec<Op>) {
        let earned =
            time::now().mono.duration_since(self.allowance.1).as_millis() / BURST.1.as_millis();
        if let Ok(earned @ 1..) = u32::try_from(earned) {
            let now = time::now().mono;
            self.allowance = (self.allowance.0.saturating_add(earned).min(BURST.0), now);
        }
        self.owes = false;
        let names: BTreeSet<&str> = distinct(report.events.iter().map(name));
        self.published.events.retain(|known, _| names.contains(known.as_str()));
        for event in &report.events {
            if self.published.events.get(name(event)) == Some(event) || lease == 0 {
                continue;
            }
            if self.allowance.0 == 0 {
                self.owes = true;
                break;
            }
            self.allowance.0 -= 1;
            let key = self.keys.event(&self.node, name(event));
            ops.push(Op::Put { key, value: event.to_string().into_bytes(), lease });
            self.published.events.insert(name(event).to_owned(), event.clone());
        }
    }
}

/// Asks the reconciler what is to be told.
async fn ask(handle: &Handle) -> Result<FleetReport, Error> {
    let (reply, answer) = oneshot::channel();
    // An agent that is stopping answers no more, and its link is about to be dropped.
    if handle.commands.send(Command::Report { reply }).await.is_err() {
        return std::future::pending().await;
    }
    match answer.await {
        Ok(report) => Ok(report),
        Err(_) => std::future::pending().await,
    }
}

/// A value as JSON; what is none differs from anything.
fn parsed(value: &[u8]) -> Value {
    serde_json::from_slice(value).unwrap_or_default()
}

/// An object's name.
fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// An annotation of an object.
fn annotation<'v>(object: &'v Value, key: &str) -> &'v str {
    object["metadata"]["annotations"][key].as_str().unwrap_or_default()
}
