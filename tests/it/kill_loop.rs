//! The loop that everything must survive: the agent dies again and again while sets come, change and go, plain ones and rich ones.

use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::support::containerd::Task;
use crate::support::pod::Pod;
use crate::support::rich::rich;
use crate::support::set::Set;
use crate::support::{Host, on_host};

/// How often the agent dies.
const KILLS: u32 = 50;
/// How often it dies in the middle of init containers, hooks, probes and their stops.
const RICH_KILLS: u32 = 25;
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

/// The seed of this run's choices, as the environment has it or a new one.
#[expect(clippy::print_stdout, reason = "what a failed run printed is what repeats it")]
fn seed() -> u64 {
    let seed = std::env::var("PODWARD_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) * 2_654_435_761 + 1);
    println!("PODWARD_SEED={seed} repeats this run's choices");
    seed
}

#[test]
fn fifty_kills_at_random_moments_leave_exactly_the_right_containers() -> Result<()> {
    let seed = seed();
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

#[test]
fn rich_pods_survive_kills_in_the_middle_of_init_containers_hooks_probes_and_stops() -> Result<()> {
    let seed = seed();
    on_host(|host| {
        let mut chance = Chance(seed);
        let ports = [free_port()?, free_port()?];
        let mut versions = [None; 2];
        for _ in 0..RICH_KILLS {
            change_rich(host, &mut chance, ports, &mut versions)?;
            // Long enough for a pod to be anywhere between its first container and its last.
            thread::sleep(Duration::from_millis(chance.below(2000)));
            host.kill_agent()?;
            if chance.below(2) == 0 {
                change_rich(host, &mut chance, ports, &mut versions)?;
            }
            host.spawn_agent()?;
        }
        host.await_ready()?;
        for (name, version) in RICH.into_iter().zip(versions) {
            let Some(version) = version else {
                host.gone(name)?;
                continue;
            };
            let told = format!("main v{version} of v{version}");
            let pod = host.until_pod(name, "ready", |pod| pod.running() && pod.ready())?;
            let story = Host::reads(&host.path("out").join(name), &told)?;
            assert!(story.lines().any(|line| line == told), "{story}");
            let running = host.containerd.tasks()?;
            let running = running.iter().filter(|task| task.status == "RUNNING");
            let of_pod =
                running.filter(|task| [pod.id("main"), init_id(&pod, "side")].contains(&task.id));
            assert_eq!(of_pod.count(), 2, "the container and its sidecar, each once");
        }
        let alive = versions.iter().flatten().count();
        host.until("exactly the right tasks", || {
            let tasks = host.containerd.tasks()?;
            let running = tasks.iter().filter(|task| task.status == "RUNNING").count();
            Ok((running == 2 * alive && host.containerd.shims().len() == alive).then_some(()))
        })
    })
    .map_err(|error| error.context(format!("PODWARD_SEED={seed} repeats this run's choices")))
}

/// The rich sets.
const RICH: [&str; 2] = ["gold", "silver"];

/// Starts, changes or deletes a rich set together with its objects.
fn change_rich(
    host: &Host,
    chance: &mut Chance,
    ports: [u16; 2],
    versions: &mut [Option<u64>; 2],
) -> Result<()> {
    let which = usize::try_from(chance.below(2))?;
    let file = format!("{}.yaml", RICH[which]);
    if versions[which].is_some() && chance.below(4) == 0 {
        versions[which] = None;
        return host.remove(&file);
    }
    let version = chance.below(1_000_000);
    versions[which] = Some(version);
    let text = rich(RICH[which], &format!("v{version}"), &host.path("out"), ports[which]);
    host.write(&file, &text)
}

/// containerd's id of an init container.
fn init_id(pod: &Pod, name: &str) -> String {
    let id = pod.init(name)["containerID"].as_str().unwrap_or_default();
    id.trim_start_matches("containerd://").to_owned()
}

/// A port that nobody listens on.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
