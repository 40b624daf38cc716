//! What a rollout was, by the store's own history: every revision of a set's keys, replayed and held against what
//! docs/protocol.md says is always true. A double claim or a lost turn shows here though no sampler saw its effect.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::etcd;
use crate::hosts::{Fleet, ROOT};

/// One key at one revision; no value: it was deleted.
type Change = (String, Option<String>);

/// The history of one set's keys.
#[derive(Debug)]
pub(crate) struct History(BTreeMap<i64, Vec<Change>>);

/// What a history amounts to.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// The revision at which each turn began, and whose it was.
    pub(crate) claims: Vec<(i64, String)>,
    /// The nodes whose turns ended by somebody else's hand: neither done nor given back.
    pub(crate) released: Vec<String>,
    /// How many nodes held turns at most at once.
    pub(crate) most: usize,
    /// How many writes there were, as keys that were put or deleted.
    pub(crate) writes: usize,
}

/// The keys as they stand at one revision.
#[derive(Debug, Default)]
struct State {
    /// The members.
    members: BTreeSet<String>,
    /// Who says that its pod is available.
    available: BTreeSet<String>,
    /// The turns, with their kinds.
    turns: BTreeMap<String, String>,
}

impl History {
    /// The history of a set from the beginning, or from what the store still knows.
    pub(crate) fn of(fleet: &Fleet, set: &str) -> Result<Self> {
        let prefix = format!("{ROOT}fleet/sets/default/{set}/");
        let end = format!("{prefix}end/test");
        fleet.etcdctl(&["put", &end, "1"])?;
        let program = etcd::program("etcdctl").context("no etcdctl")?;
        let mut watch = fleet
            .hub
            .command(&program.display().to_string())
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &fleet.endpoints()?, "watch", "--prefix", "--rev=1"])
            .args(["--write-out=json", &prefix])
            .stdout(Stdio::piped())
            .spawn()
            .context("etcdctl watch")?;
        let lines = BufReader::new(watch.stdout.take().context("its output is piped")?).lines();
        let read = Self::read(lines, &prefix);
        // What nsenter forked ends with its machine.
        watch.kill()?;
        watch.wait()?;
        fleet.etcdctl(&["del", &end])?;
        read
    }

    /// Reads up to the mark at the end.
    fn read(lines: impl Iterator<Item = std::io::Result<String>>, prefix: &str) -> Result<Self> {
        let mut revisions: BTreeMap<i64, Vec<Change>> = BTreeMap::new();
        for line in lines {
            let line = line?;
            let answer: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            for event in answer["Events"].as_array().into_iter().flatten() {
                let kv = &event["kv"];
                let text = |field: &str| -> Result<String> {
                    let bytes = STANDARD.decode(kv[field].as_str().unwrap_or_default())?;
                    Ok(String::from_utf8(bytes)?)
                };
                let key = text("key")?;
                let key = key.strip_prefix(prefix).context("it is below the prefix")?.to_owned();
                if key == "end/test" {
                    return Ok(Self(revisions));
                }
                let deleted = event["type"] == 1 || event["type"] == "DELETE";
                let value = if deleted { None } else { Some(text("value")?) };
                let revision = kv["mod_revision"].as_i64().context("a revision")?;
                revisions.entry(revision).or_default().push((key, value));
            }
        }
        anyhow::bail!("etcdctl watch ended before its mark: {} revisions", revisions.len())
    }

    /// Replays all of it: nobody claims beyond the budget, nobody counts as available while it is being replaced or does
    /// not belong, and every turn ends as the protocol says.
    pub(crate) fn check(&self, budget: usize) -> Result<Summary> {
        let (mut state, mut sum) = (State::default(), Summary::default());
        for (revision, changes) in &self.0 {
            let at = format!("at revision {revision}: {changes:?}\nafter {state:?}");
            let unavailable = state.members.difference(&state.available).count();
            for (key, value) in changes {
                let (part, node) = key.split_once('/').with_context(|| key.clone())?;
                if part != "turn" {
                    continue;
                }
                match (value, state.turns.contains_key(node)) {
                    (Some(value), false) => {
                        sum.claims.push((*revision, node.to_owned()));
                        let kind = kind(value)?;
                        ensure!(
                            kind != "replace" || unavailable < budget,
                            "{node} claimed though {unavailable} of {budget} were unavailable {at}"
                        );
                        ensure!(
                            kind == "repair" || state.available.contains(node),
                            "{node} claimed a turn to {kind} without an available pod {at}"
                        );
                    }
                    (None, true) => {
                        let shown = format!("available/{node}");
                        let done =
                            changes.iter().any(|(key, value)| *key == shown && value.is_some());
                        if !done {
                            sum.released.push(node.to_owned());
                        }
                    }
                    _ => {}
                }
            }
            state.take(changes)?;
            sum.writes += changes.len();
            let replacing = state.turns.values().filter(|kind| *kind == "replace").count();
            sum.most = sum.most.max(state.turns.len());
            let wrong = state.available.iter().find(|node| {
                !state.members.contains(*node)
                    || state.turns.get(*node).is_some_and(|kind| kind != "surge")
            });
            ensure!(
                wrong.is_none(),
                "{wrong:?} counts as available at revision {revision}: {state:?}"
            );
            ensure!(replacing <= budget, "{replacing} turns at revision {revision}: {state:?}");
        }
        Ok(sum)
    }
}

impl Summary {
    /// Whose turns began behind one revision and up to another.
    pub(crate) fn between(&self, after: i64, until: i64) -> Vec<&str> {
        let claims = self.claims.iter().filter(|(at, _)| after < *at && *at <= until);
        claims.map(|(_, node)| node.as_str()).collect()
    }
}

impl State {
    /// Goes on to the next revision.
    fn take(&mut self, changes: &[Change]) -> Result<()> {
        for (key, value) in changes {
            let (part, node) = key.split_once('/').with_context(|| key.clone())?;
            let node = node.to_owned();
            match (part, value) {
                ("member", Some(_)) => drop(self.members.insert(node)),
                ("member", None) => drop(self.members.remove(&node)),
                ("available", Some(_)) => drop(self.available.insert(node)),
                ("available", None) => drop(self.available.remove(&node)),
                ("turn", Some(value)) => drop(self.turns.insert(node, kind(value)?)),
                ("turn", None) => drop(self.turns.remove(&node)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The kind of a turn.
fn kind(value: &str) -> Result<String> {
    let turn: Value = serde_json::from_str(value).with_context(|| value.to_owned())?;
    Ok(turn["kind"].as_str().unwrap_or_default().to_owned())
}
