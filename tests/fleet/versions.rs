//! The sets that roll in tests: versions that are good, or bad in one of the ways in which updates are. Each container
//! tells the sampler when it is ready, and writes down when it began.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use crate::hosts::Fleet;
use crate::sampler::Sampler;
use crate::support::set::Set;
use crate::support::wait::{clock, patiently};

/// How long a test waits for what the store is to say: a rollout over a whole fleet on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often it asks the store, which costs a process each time.
const ASK: Duration = Duration::from_millis(200);

/// What every container does first.
const BEGIN: &str =
    r#"trap 'exit 0' TERM; d=/out/$NODE; mkdir -p "$d/ready"; echo "$VERSION" >>"$d/tried""#;
/// What it does when it is ready.
const READY: &str = r#"mkfifo "$d/ready/$VERSION" 2>/dev/null; exec 9<>"$d/ready/$VERSION"
read -r up rest </proc/uptime; echo "$VERSION $up" >>"$d/starts""#;
/// What it does until it is told to stop.
const STAY: &str = "while :; do sleep 1000 & wait $!; done";

/// A set that rolls over the hosts of a fleet.
#[derive(Debug)]
pub(crate) struct Rolling {
    /// Its name.
    pub(crate) name: String,
    /// Where its containers leave their traces.
    dir: PathBuf,
}

impl Rolling {
    /// A set of this name.
    pub(crate) fn new(fleet: &Fleet, name: &str) -> Self {
        Self { name: name.to_owned(), dir: fleet.path("out").join(name) }
    }

    /// A version whose container runs a script behind `BEGIN`.
    fn version(&self, version: &str, script: &str) -> Set {
        let env = json!([
            {"name": "VERSION", "value": version},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ]);
        let volumes =
            json!([{"name": "out", "hostPath": {"path": self.dir, "type": "DirectoryOrCreate"}}]);
        Set::named(&self.name)
            .script(&format!("{BEGIN}\n{script}"))
            .container(&json!({"env": env, "volumeMounts": [{"name": "out", "mountPath": "/out"}]}))
            .pod(&json!({"volumes": volumes}))
    }

    /// One that is ready at once.
    pub(crate) fn good(&self, version: &str) -> Set {
        self.version(version, &format!("{READY}\n{STAY}"))
    }

    /// One that is ready after a moment, by its probe.
    pub(crate) fn slow(&self, version: &str) -> Set {
        let script = format!("sleep 0.3\n{READY}\n: >/ready\n{STAY}");
        let probe = json!({"exec": {"command": ["test", "-e", "/ready"]}, "periodSeconds": 1});
        self.version(version, &script).container(&json!({"readinessProbe": probe}))
    }

    /// One whose image is nowhere.
    pub(crate) fn without_image(&self, version: &str) -> Set {
        let image = json!({"image": "docker.io/library/missing:1", "imagePullPolicy": "Never"});
        self.good(version).container(&image)
    }

    /// One that ends badly as soon as it starts.
    pub(crate) fn crashing(&self, version: &str) -> Set {
        self.version(version, "exit 3")
    }

    /// One that runs and never gets ready.
    pub(crate) fn never_ready(&self, version: &str) -> Set {
        let probe = json!({"exec": {"command": ["false"]}, "periodSeconds": 5});
        self.version(version, STAY).container(&json!({"readinessProbe": probe}))
    }

    /// One that takes its host down, by [`Rolling::victims`], before it counts as available.
    pub(crate) fn killing(&self, version: &str) -> Set {
        self.version(version, &format!(": >\"$d/victim\"\n{STAY}")).spec(&lasting())
    }

    /// Begins to look at every host of the fleet.
    pub(crate) fn sampler(&self, fleet: &Fleet) -> Result<Sampler> {
        let hosts: Vec<String> = fleet.hosts.iter().map(|host| host.name.clone()).collect();
        Sampler::start(&self.dir, &hosts)
    }

    /// Has a first version run on every host, and begins to look.
    pub(crate) fn begin(&self, fleet: &Fleet, first: &Set) -> Result<Sampler> {
        fleet.apply(first)?;
        let hosts: Vec<String> = fleet.hosts.iter().map(|host| host.name.clone()).collect();
        patiently("the first version to serve everywhere", PATIENCE, || {
            Ok(Sampler::start(&self.dir, &hosts).ok())
        })
        .and_then(|sampler| self.at_rest(fleet).map(|()| sampler))
    }

    /// Kills the hosts on which a container asked for it since the last time; says which.
    pub(crate) fn victims(&self, fleet: &mut Fleet) -> Result<Vec<usize>> {
        let mut victims = vec![];
        for (number, host) in fleet.hosts.iter_mut().enumerate() {
            let wish = self.dir.join(&host.name).join("victim");
            if wish.exists() {
                host.kill()?;
                fs::remove_file(wish)?;
                victims.push(number);
            }
        }
        Ok(victims)
    }

    /// The hosts on which a container of this version was ever started, ready or not.
    pub(crate) fn tried(&self, fleet: &Fleet, version: &str) -> Vec<String> {
        let hosts = fleet.hosts.iter().map(|host| host.name.clone());
        let tried = |host: &String| {
            let text = fs::read_to_string(self.dir.join(host).join("tried")).unwrap_or_default();
            text.lines().any(|line| line == version)
        };
        hosts.filter(tried).collect()
    }

    /// The keys that nodes keep of the set, without what stands before `member/`, `turn/` and so on.
    pub(crate) fn keys(&self, fleet: &Fleet) -> Result<Vec<String>> {
        let prefix = format!("fleet/sets/default/{}/", self.name);
        let keys = fleet.keys(&prefix)?;
        Ok(keys.into_iter().map(|key| key[prefix.len()..].to_owned()).collect())
    }

    /// The nodes that have a key of this part, such as `turn`.
    pub(crate) fn nodes(&self, fleet: &Fleet, part: &str) -> Result<Vec<String>> {
        let prefix = format!("{part}/");
        let keys = self.keys(fleet)?;
        Ok(keys.iter().filter_map(|key| key.strip_prefix(&prefix)).map(str::to_owned).collect())
    }

    /// A node's turn as it stands in the store; null without one.
    pub(crate) fn turn(&self, fleet: &Fleet, node: &str) -> Result<Value> {
        fleet.value(&format!("fleet/sets/default/{}/turn/{node}", self.name))
    }

    /// Waits until the store says what `check` looks for; it is given the set's keys.
    pub(crate) fn until_keys<T>(
        &self,
        fleet: &Fleet,
        what: &str,
        mut check: impl FnMut(&[String]) -> Result<Option<T>>,
    ) -> Result<T> {
        let start = clock();
        loop {
            // The store may be away, or without a leader, for a moment.
            let keys = self.keys(fleet);
            if let Ok(keys) = &keys
                && let Some(found) = check(keys)?
            {
                return Ok(found);
            }
            if start.elapsed() > PATIENCE {
                bail!("waited {PATIENCE:?} in vain for {what}: {keys:?}");
            }
            thread::park_timeout(ASK);
        }
    }

    /// Waits until nobody is in a turn or waits for one, and every member is available.
    pub(crate) fn at_rest(&self, fleet: &Fleet) -> Result<()> {
        self.until_keys(fleet, "a rollout at rest", |keys| {
            let count = |part: &str| keys.iter().filter(|key| key.starts_with(part)).count();
            let quiet = count("turn/") == 0 && count("queue/") == 0;
            let members = count("member/");
            Ok((quiet && members > 0 && count("available/") == members).then_some(()))
        })
    }

    /// Waits until a version alone serves everywhere and the store is at rest.
    pub(crate) fn ends_at(&self, fleet: &Fleet, sampler: &Sampler, version: &str) -> Result<()> {
        sampler.all_serve(version)?;
        self.at_rest(fleet)
    }

    /// Waits until so many turns have failed; gives their nodes.
    pub(crate) fn failed(&self, fleet: &Fleet, turns: usize) -> Result<Vec<String>> {
        self.until_keys(fleet, &format!("{turns} failed turns"), |_| {
            let mut failed = vec![];
            for node in self.nodes(fleet, "turn")? {
                if self.turn(fleet, &node)?["failed"].is_object() {
                    failed.push(node);
                }
            }
            Ok((failed.len() == turns).then_some(failed))
        })
    }
}

/// The spec of a set with turns that last long enough to break something in them.
pub(crate) fn lasting() -> Value {
    json!({"minReadySeconds": 3})
}

/// Annotations of a set, each after `podward.dev/`.
pub(crate) fn annotated(pairs: &[(&str, &str)]) -> Value {
    let pairs = pairs.iter().map(|(key, value)| (format!("podward.dev/{key}"), json!(value)));
    json!({"annotations": pairs.collect::<serde_json::Map<_, _>>()})
}

/// The spec of a set with budgets: how many may be unavailable, and how many may have two pods.
pub(crate) fn budget(unavailable: usize, surge: usize) -> Value {
    json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate":
        {"maxUnavailable": unavailable, "maxSurge": surge}}})
}

/// Whether each host began to serve a version exactly so often.
pub(crate) fn began(fleet: &Fleet, sampler: &Sampler, version: &str, times: usize) -> Result<()> {
    for host in &fleet.hosts {
        let starts = sampler.starts(&host.name)?;
        let count = starts.iter().filter(|(began, _)| began == version).count();
        ensure!(count == times, "{} began {version} {count} times: {starts:?}", host.name);
    }
    Ok(())
}
