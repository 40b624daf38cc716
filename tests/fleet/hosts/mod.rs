//! The harness: a fleet is a hub with a bridge, and hosts that are linked to it. All of it goes when the [`Fleet`] goes,
//! also when its test panics or its process is killed.

mod host;
mod machine;

use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, process};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::etcd::{self, Etcd, Wish};
use crate::support;
use crate::support::image::{self, IMAGE};
use crate::support::set::{Set, merge};
use crate::support::wait::{PATIENCE, patiently};

pub(crate) use host::{Host, Running};
use machine::Machine;
pub(crate) use machine::said;

/// Names fleets apart within one process; the process id names processes apart.
static FLEETS: AtomicU32 = AtomicU32::new(0);

/// What the keys of every fleet begin with.
pub(crate) const ROOT: &str = "/podward/default/";

/// Hosts on one network.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// The hosts, `h1` first.
    pub(crate) hosts: Vec<Host>,
    /// The store at the hub, where there is one. It goes before the hub does.
    etcd: Option<Etcd>,
    /// The machine with the bridge, where stores and servers run: 10.88.0.1.
    pub(crate) hub: Machine,
    /// The parent of all cgroups.
    pub(crate) group: String,
    /// Where everything lies.
    dir: TempDir,
}

/// Runs a test on a fleet of so many hosts whose agents run and have the image.
pub(crate) fn on_fleet(hosts: usize, test: impl FnOnce(&mut Fleet) -> Result<()>) -> Result<()> {
    let Some(mut fleet) = Fleet::start(hosts, &json!({}))? else {
        return Ok(());
    };
    test(&mut fleet).map_err(|error| error.context(fleet.last_words()))
}

/// The same for hosts that follow an etcd of so many members.
pub(crate) fn on_store(
    hosts: usize,
    members: usize,
    test: impl FnOnce(&mut Fleet) -> Result<()>,
) -> Result<()> {
    let Some(mut fleet) = Fleet::with_store(members)? else {
        return Ok(());
    };
    let outcome = fleet.join(hosts, &json!({})).and_then(|()| test(&mut fleet));
    outcome.map_err(|error| error.context(fleet.last_words()))
}

impl Fleet {
    /// A fleet without hosts whose store has so many members; none where containers or etcd cannot be.
    pub(crate) fn with_store(members: usize) -> Result<Option<Self>> {
        if !etcd::is_there() {
            return Ok(None);
        }
        let Some(mut fleet) = Self::hub()? else {
            return Ok(None);
        };
        let leader = fleet.hub.leader.to_string();
        let launcher =
            ["setpriv", "--pdeathsig", "KILL", "nsenter", "--target", &leader, "--net", "--"];
        fleet.etcd = Some(Etcd::of(Wish {
            address: Some("10.88.0.1".into()),
            launcher: launcher.map(str::to_owned).into(),
            ..Wish::plain(members)
        })?);
        Ok(Some(fleet))
    }

    /// A fleet whose agents run with these settings beside the hosts' own; none where containers cannot run.
    pub(crate) fn start(hosts: usize, settings: &Value) -> Result<Option<Self>> {
        let Some(mut fleet) = Self::hub()? else {
            return Ok(None);
        };
        fleet.join(hosts, settings)?;
        Ok(Some(fleet))
    }

    /// A fleet without hosts.
    pub(crate) fn hub() -> Result<Option<Self>> {
        if !support::able()? {
            return Ok(None);
        }
        let dir = tempfile::Builder::new().prefix("podward-fleet.").tempdir_in("/tmp")?;
        let number = FLEETS.fetch_add(1, Ordering::Relaxed);
        let group = format!("/podward-fleet-{}-{number}", process::id());
        image::write(&dir.path().join("busybox.tar"), IMAGE)?;
        let at = dir.path().join("hub");
        fs::create_dir(&at)?;
        let hub = Machine::boot("hub", &at, &group)?.up()?;
        let fleet = Self { hosts: vec![], etcd: None, hub, group, dir };
        fleet
            .hub
            .ip("link add br0 type bridge\naddr add 10.88.0.1/24 dev br0\nlink set br0 up\n")?;
        Ok(Some(fleet))
    }

    /// More hosts, whose agents run when this returns.
    pub(crate) fn join(&mut self, hosts: usize, settings: &Value) -> Result<()> {
        let first = self.hosts.len();
        let mut all = json!({});
        if let Some(etcd) = &self.etcd {
            // Short, so that a silent network is noticed within a test.
            all["etcd"] =
                json!({"endpoints": etcd.endpoints(), "leaseTtl": "10s", "timeout": "4s"});
        }
        merge(&mut all, settings);
        for number in first + 1..=first + hosts {
            let archive = self.dir.path().join("busybox.tar");
            self.hosts.push(Host::new(self.dir.path(), number, &self.group, &archive, &all)?);
        }
        let new = &mut self.hosts[first..];
        new.iter_mut().try_for_each(Host::boot)?;
        new.iter_mut().try_for_each(|host| host.up(&self.hub))?;
        new.iter_mut().try_for_each(Host::spawn_agent)?;
        new.iter_mut().try_for_each(Host::await_ready)
    }

    /// A path below the fleet's directory, the same on every machine.
    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// The store.
    pub(crate) fn etcd(&mut self) -> Result<&mut Etcd> {
        self.etcd.as_mut().context("this fleet has no store")
    }

    /// What `etcdctl` prints.
    pub(crate) fn etcdctl(&self, arguments: &[&str]) -> Result<String> {
        self.etcd.as_ref().context("this fleet has no store")?.ctl(arguments)
    }

    /// The store's present revision.
    pub(crate) fn revision(&self) -> Result<i64> {
        self.etcd.as_ref().context("this fleet has no store")?.revision()
    }

    /// Waits until every host has taken up what was written before, by a label that each of them then says that it has.
    pub(crate) fn caught_up(&self) -> Result<()> {
        let label = format!("seen=r{}", self.revision()?);
        let mut words = vec!["label", "node", "--overwrite"];
        words.extend(self.hosts.iter().map(|host| host.name.as_str()));
        words.push(&label);
        self.podward(&words)?;
        patiently("every host to have seen a label", PATIENCE, || {
            std::thread::park_timeout(std::time::Duration::from_millis(200));
            let nodes = self.podward(&["get", "nodes", "-l", &label, "--no-headers"])?;
            Ok((nodes.lines().count() == self.hosts.len()).then_some(()))
        })
    }

    /// Waits until the store no longer takes a host for alive.
    pub(crate) fn gone(&self, host: &str) -> Result<()> {
        patiently("a sign of life to end", PATIENCE, || {
            std::thread::park_timeout(std::time::Duration::from_millis(300));
            let alive = self.keys("fleet/alive/")?;
            Ok((!alive.contains(&format!("fleet/alive/{host}"))).then_some(()))
        })
    }

    /// What `podward rollout` does or says.
    pub(crate) fn rollout(&self, verb: &str, set: &str) -> Result<String> {
        self.podward(&["rollout", verb, &format!("ds/{set}")])
    }

    /// What `podward rollout status` says now, whatever its exit code.
    pub(crate) fn status(&self, set: &str) -> Result<String> {
        let output = self.run(&["rollout", "status", &format!("ds/{set}"), "--watch=false"])?;
        let text = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Waits until `rollout status` says all of this.
    pub(crate) fn says(&self, set: &str, words: &[&str]) -> Result<String> {
        let mut last = String::new();
        let said = patiently(&format!("the status to say {words:?}"), PATIENCE, || {
            std::thread::park_timeout(std::time::Duration::from_millis(200));
            last = self.status(set)?;
            Ok(words.iter().all(|word| last.contains(word)).then(|| last.clone()))
        });
        said.with_context(|| last)
    }

    /// Where clients reach the store, as flags want it.
    pub(crate) fn endpoints(&self) -> Result<String> {
        Ok(self.etcd.as_ref().context("this fleet has no store")?.endpoints_text())
    }

    /// Runs `podward` as an operator at the hub, whatever comes of it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<Output> {
        let etcd = self.etcd.as_ref().context("this fleet has no store")?;
        let mut command = self.hub.command(&support::Host::binary().display().to_string());
        command.env("PODWARD_ETCD_ENDPOINTS", etcd.endpoints_text()).env("NO_COLOR", "1");
        command.args(arguments).output().context("podward")
    }

    /// Runs `podward` as an operator at the hub, which must succeed, and returns what it printed.
    pub(crate) fn podward(&self, arguments: &[&str]) -> Result<String> {
        said(&format!("podward {}", arguments.join(" ")), &self.run(arguments)?)
    }

    /// Applies a set.
    pub(crate) fn apply(&self, set: &Set) -> Result<String> {
        let file = self.path("applied.yaml");
        fs::write(&file, set.text())?;
        self.podward(&["apply", "-f", &file.display().to_string()])
    }

    /// The keys below a prefix of this cluster's.
    pub(crate) fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        let prefix = format!("{ROOT}{prefix}");
        let keys = self.etcdctl(&["get", "--prefix", "--keys-only", &prefix])?;
        Ok(keys.split_whitespace().map(|key| key[ROOT.len()..].to_owned()).collect())
    }

    /// The value of one of this cluster's keys; null where it is not there.
    pub(crate) fn value(&self, key: &str) -> Result<Value> {
        let text = self.etcdctl(&["get", "--print-value-only", &format!("{ROOT}{key}")])?;
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).with_context(|| format!("{key}: {text}"))
    }

    /// Runs a program at the hub, whatever comes of it.
    pub(crate) fn at_hub(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        self.hub.command(program).args(arguments).output().with_context(|| program.to_owned())
    }

    /// The same for each host, beside each other.
    pub(crate) fn each<T: Send>(&self, work: impl Fn(&Host) -> Result<T> + Sync) -> Result<Vec<T>> {
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                self.hosts.iter().map(|host| scope.spawn(|| work(host))).collect();
            let joined = threads.into_iter().map(|thread| thread.join().expect("no panic"));
            joined.collect()
        })
    }

    /// What every container of the fleet is and since when it runs, host by host.
    pub(crate) fn running(&self) -> Result<Vec<Vec<Running>>> {
        self.each(Host::running)
    }

    /// Pulls the link between a host and the hub.
    pub(crate) fn cut(&mut self, host: usize) -> Result<()> {
        self.hosts[host].cut(&self.hub)
    }

    /// Puts the link back.
    pub(crate) fn heal(&mut self, host: usize) -> Result<()> {
        self.hosts[host].heal(&self.hub)
    }

    /// Boots a host that was killed, and starts its agent.
    pub(crate) fn restart(&mut self, host: usize) -> Result<()> {
        let host = &mut self.hosts[host];
        host.boot()?;
        host.up(&self.hub)?;
        host.start_agent()
    }

    /// The ends of all agents' logs, for a failure's report.
    pub(crate) fn last_words(&self) -> String {
        self.hosts.iter().map(Host::last_words).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // All at once, then one after the other: dying takes the kernel a while.
        self.hosts.iter_mut().for_each(Host::doom);
        self.hosts.clear();
        self.etcd = None;
        self.hub.doom();
        // A cgroup that is left fails the harness's own test, and here nothing could be done about it.
        let _ = machine::remove_cgroups(&self.group);
    }
}

/// The processes of this machine that name a path.
pub(crate) fn processes_of(path: &std::path::Path) -> Vec<i32> {
    let name = path.display().to_string();
    support::containerd::processes(|command| command.iter().any(|word| word.contains(&name)))
}
