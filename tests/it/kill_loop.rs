//! The loop that everything must survive: the agent dies fifty times while three sets come, change and go.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::support::containerd::Task;
use crate::support::set::Set;
use crate::support::{Host, on_host};

/// How often the agent dies.
const KILLS: u32 = 50;
/// The sets.
const SETS: [&str; 3] = ["red", "green", "blue"];

/// A small generator of repeatable chance (xorshift).
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Starts, changes or deletes one of the sets; `versions` is what the directory holds afterwards.
fn disturb(host: &Host, chance: &mut Chance, versions: &mut [Option<u64>; 3]) -> Result<()> {
    let which = usize::try_from(chance.below(3))?;
    let file = format!("{}.yaml", SETS[which]);
    if versions[which].is_some() && chance.below(3) == 0 {
        versions[which] = None;
        return host.remove(&file);
    }
    let version = chance.below(1_000_000);
    versions[which] = Some(version);
    let set = Set::named(SETS[which])
        .container(&json!({"env": [{"name": "VERSION", "value": version.to_string()}]}))
        .pod(&json!({"terminationGracePeriodSeconds": 1}));
    // A second container in one of them: half a pod is a state of its own.
    let set = if which == 0 { set.also("second", crate::support::set::STAY) } else { set };
    host.write(&file, &set.text())
}

#[test]
fn fifty_kills_at_random_moments_leave_exactly_the_right_containers() -> Result<()> {
    let seed = std::env::var("PODWARD_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()) * 2_654_435_761 + 1);
    println!("PODWARD_SEED={seed} repeats this run's choices");
    on_host(|host| {
        let mut chance = Chance(seed);
        let mut versions = [None; 3];
        for _ in 0..KILLS {
            disturb(host, &mut chance, &mut versions)?;
            // The moment of death is the one thing here that must not follow from what the agent does.
            thread::sleep(Duration::from_millis(chance.below(300)));
            host.kill_agent()?;
            if chance.below(2) == 0 {
                disturb(host, &mut chance, &mut versions)?;
            }
            host.spawn_agent()?;
        }
        host.await_ready()?;
        for (name, version) in SETS.into_iter().zip(versions) {
            match version {
                None => host.gone(name)?,
                Some(version) => {
                    let version = version.to_string();
                    host.until_pod(name, "running in its last version", |pod| {
                        pod.running()
                            && pod.0["spec"]["containers"][0]["env"][0]["value"] == version
                    })?;
                }
            }
        }
        nothing_but(host, versions)
    })
    .map_err(|error| error.context(format!("PODWARD_SEED={seed} repeats this run's choices")))
}

/// Demands that containerd and the directories hold the running pods and nothing else.
fn nothing_but(host: &Host, versions: [Option<u64>; 3]) -> Result<()> {
    let alive = versions.iter().flatten().count();
    let containers = alive + usize::from(versions[0].is_some());
    host.until("exactly the right containers", || {
        let pods = host.pods()?;
        let mut wanted: Vec<String> = pods
            .iter()
            .flat_map(|pod| ["main", "second"].map(|name| pod.id(name)))
            .filter(|id| !id.is_empty())
            .collect();
        wanted.sort();
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names
        };
        let tasks = host.containerd.tasks()?;
        let running: Vec<Task> =
            tasks.iter().filter(|task| task.status == "RUNNING").cloned().collect();
        let same = wanted.len() == containers
            && pods.len() == alive
            && running.len() == tasks.len()
            && sorted(tasks.into_iter().map(|task| task.id).collect()) == wanted
            && sorted(host.containerd.containers()?) == wanted
            && sorted(host.containerd.active_snapshots()?) == wanted
            && host.containerd.leases()?.is_empty()
            && host.containerd.shims().len() == alive
            && std::fs::read_dir(host.path("run/pods"))?.count() == alive
            && std::fs::read_dir(host.path("logs"))?.count() == alive;
        Ok(same.then_some(()))
    })
    .map_err(|error| error.context(format!("left at the end: {:#?}", host.leaks())))
}
