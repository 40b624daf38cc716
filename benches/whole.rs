//! The whole system against its goals, beside `ctr run -d` of the same image on the same private containerd, in one run.
//!
//! `PODWARD_BIN` names the binary to measure, `PODWARD_BENCH_QUICK` takes few samples. Peer and podward take turns sample by
//! sample, so that a machine that is busy for a while slows both.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

#[path = "whole/gauge.rs"]
mod gauge;
#[path = "whole/probes.rs"]
mod probes;
#[path = "../tests/it/support/mod.rs"]
#[allow(dead_code, reason = "the benchmark uses a part of the tests' harness")]
mod support;
#[path = "whole/table.rs"]
mod table;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use gauge::{Arrivals, Usage, logger_value, loggers, private, pss};
use support::Host;
use support::image::IMAGE;
use support::leaks::remove_cgroups;
use support::set::{STAY, Set};
use support::wait::clock;
use table::{Samples, Table};

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Extent {
    /// Samples of one start.
    starts: usize,
    /// Samples of twenty starts at once.
    crowds: usize,
    /// How long the idle agent is watched.
    idle: Duration,
    /// How many pods are probed.
    asked: usize,
}

/// How many sets make a crowd.
const CROWD: usize = 20;

fn main() -> Result<()> {
    let extent = if std::env::var_os("PODWARD_BENCH_QUICK").is_some() {
        Extent { starts: 7, crowds: 2, idle: Duration::from_secs(10), asked: 20 }
    } else {
        Extent { starts: 31, crowds: 7, idle: Duration::from_mins(1), asked: 100 }
    };
    let Some(mut host) = Host::new()? else {
        return Ok(());
    };
    let outcome = measure(&mut host, extent);
    remove_cgroups(&peers(&host));
    outcome.map_err(|error| error.context(host.last_words()))
}

/// Measures everything, one line of the table after the other.
fn measure(host: &mut Host, extent: Extent) -> Result<()> {
    host.offer_image()?;
    host.start_agent()?;
    host.write("warm.yaml", &Set::named("warm").text())?;
    host.running("warm")?;

    let mut table = Table::new();
    // `cargo bench --bench whole -- probes` measures these alone.
    if std::env::args().any(|word| word == "probes") {
        probes::probes(host, extent, &mut table)?;
        println!("{table}");
        return host.leave_nothing();
    }
    starts(host, extent, &mut table)?;
    logger_cost(host, extent, &mut table)?;
    crowds(host, extent, &mut table)?;

    settle();
    table.size("agent's PSS idle, 1 pod", pss(host.agent_pid()?)?, 8_000_000);
    idle_crowd(host, extent, &mut table)?;
    probes::probes(host, extent, &mut table)?;
    let binary = fs::metadata(Host::binary())?.len();
    table.size("size of the binary", binary, 8_000_000);
    println!("{table}");
    host.leave_nothing()
}

/// The parent of the peers' cgroups, beside that of the pods.
fn peers(host: &Host) -> String {
    format!("{}-peers", host.cgroup)
}

/// One start and one restart, each beside a `ctr run -d`.
fn starts(host: &Host, extent: Extent, table: &mut Table) -> Result<()> {
    let (mut peer, mut returned) = (Samples::default(), Samples::default());
    let (mut start, mut restart) = (Samples::default(), Samples::default());
    for number in 0..extent.starts {
        let (running, back) = ctr_run(host, &format!("peer-{number}"), None)?;
        peer.add(running);
        returned.add(back);

        let name = format!("one-{number}");
        let set = marked(host, &name);
        let mut arrivals = Arrivals::watch(&host.path("out"))?;
        let began = clock();
        host.write("one.yaml", &set)?;
        arrivals.wait(std::slice::from_ref(&name))?;
        start.add(began.elapsed());

        let pod = host.running(&name)?;
        let pid = host.pid_of(&pod.id("main"))?;
        fs::remove_file(host.path("out").join(&name))?;
        let mut arrivals = Arrivals::watch(&host.path("out"))?;
        let began = clock();
        kill(Pid::from_raw(pid), Signal::SIGKILL)?;
        arrivals.wait(std::slice::from_ref(&name))?;
        restart.add(began.elapsed());
        host.remove("one.yaml")?;
        host.gone(&name)?;
    }
    table.note("`ctr run -d` until it returned", &returned);
    table.time("manifest written -> process running", &start, &peer, 0.85);
    table.time("crash -> running again, first restart", &restart, &peer, 0.85);
    Ok(())
}

/// What a container's start costs more with podward's logger than with none.
fn logger_cost(host: &Host, extent: Extent, table: &mut Table) -> Result<()> {
    let value = logger_value(&host.containerd).context("no logger runs beside the first pod")?;
    let uri = format!("binary://{}?log={}", Host::binary().display(), gauge::escaped(&value));
    let (mut without, mut with) = (Samples::default(), Samples::default());
    for number in 0..extent.starts {
        without.add(ctr_run(host, &format!("plain-{number}"), None)?.0);
        with.add(ctr_run(host, &format!("logged-{number}"), Some(&uri))?.0);
    }
    table.compare("`ctr run -d` with podward's logger", &with, &without);
    Ok(())
}

/// Twenty sets at once beside twenty `ctr run -d` at once.
fn crowds(host: &Host, extent: Extent, table: &mut Table) -> Result<()> {
    let (mut peer, mut ours) = (Samples::default(), Samples::default());
    for round in 0..extent.crowds {
        let names: Vec<String> = (0..CROWD).map(|n| format!("crowd-{round}-{n}")).collect();

        let mut arrivals = Arrivals::watch(&host.path("out"))?;
        let began = clock();
        let children: Result<Vec<_>> =
            names.iter().map(|name| Ok(ctr_command(host, name, None).spawn()?)).collect();
        arrivals.wait(&names)?;
        peer.add(began.elapsed());
        for mut child in children? {
            child.wait()?;
        }
        for name in &names {
            forget(host, name)?;
        }

        let documents: Vec<String> = names.iter().map(|name| marked(host, name)).collect();
        let mut arrivals = Arrivals::watch(&host.path("out"))?;
        let began = clock();
        for (name, document) in names.iter().zip(&documents) {
            host.write(&format!("{name}.yaml"), document)?;
        }
        arrivals.wait(&names)?;
        ours.add(began.elapsed());
        for name in &names {
            host.remove(&format!("{name}.yaml"))?;
        }
        for name in &names {
            host.gone(name)?;
            let _ = fs::remove_file(host.path("out").join(name));
        }
    }
    table.time("20 sets at once -> all running", &ours, &peer, 1.0);
    Ok(())
}

/// The agent and its loggers with twenty pods and nothing to do.
fn idle_crowd(host: &Host, extent: Extent, table: &mut Table) -> Result<()> {
    for number in 1..CROWD {
        host.write(&format!("idle-{number}.yaml"), &Set::named(&format!("idle-{number}")).text())?;
    }
    host.podward(&["sync"])?;
    for number in 1..CROWD {
        host.running(&format!("idle-{number}"))?;
    }
    settle();
    let agent = host.agent_pid()?;
    let before = Usage::of(agent)?;
    thread::sleep(extent.idle);
    let used = Usage::of(agent)?.since(before);
    let seconds = extent.idle.as_secs();
    // The goal is for sixty seconds; a shorter look is held against its part.
    let goal = Duration::from_millis(20 * seconds / 60);
    table.budget(&format!("CPU time in {seconds} idle seconds, 20 pods"), used.cpu, goal);
    table.count(&format!("wake-ups in {seconds} idle seconds, 20 pods"), used.switches);
    table.size("agent's PSS idle, 20 pods", pss(agent)?, 8_000_000);
    let loggers = loggers(&host.containerd);
    let mut memory = loggers.iter().map(|pid| private(*pid)).collect::<Result<Vec<_>>>()?;
    memory.sort_unstable();
    let median = memory.get(memory.len() / 2).copied().context("no logger runs")?;
    table.size("logger's private memory", median, 500_000);
    for number in 1..CROWD {
        host.remove(&format!("idle-{number}.yaml"))?;
    }
    for number in 1..CROWD {
        host.gone(&format!("idle-{number}"))?;
    }
    Ok(())
}

/// A set whose container's first act is to leave its name in the host's `out` directory.
fn marked(host: &Host, name: &str) -> String {
    Set::named(name)
        .script(&format!(": >/out/{name}; {STAY}"))
        .pod(&json!({"terminationGracePeriodSeconds": 1}))
        .out(&host.path("out"))
        .text()
}

/// The peer's command: the same image, the same first act.
fn ctr_command(host: &Host, name: &str, log: Option<&str>) -> Command {
    let mut command = Command::new("ctr");
    let out = host.path("out").display().to_string();
    command
        .arg("--address")
        .arg(host.containerd.socket())
        .args(["--namespace", "podward", "run", "-d"])
        .args(["--cgroup", &format!("{}/{name}", peers(host))])
        .args(["--mount", &format!("type=bind,src={out},dst=/out,options=rbind:rw")])
        .args(log.into_iter().flat_map(|uri| ["--log-uri", uri]))
        .args([IMAGE, name, "sh", "-c", &format!(": >/out/{name}; exec sleep 100000")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Runs the peer once: how long until its process ran, and until `ctr` returned.
fn ctr_run(host: &Host, name: &str, log: Option<&str>) -> Result<(Duration, Duration)> {
    let mut arrivals = Arrivals::watch(&host.path("out"))?;
    let began = clock();
    let mut child = ctr_command(host, name, log).spawn()?;
    arrivals.wait(&[name.to_owned()])?;
    let running = began.elapsed();
    let status = child.wait()?;
    let returned = began.elapsed();
    anyhow::ensure!(status.success(), "ctr run ended with {status}");
    forget(host, name)?;
    Ok((running, returned))
}

/// Removes what a peer made.
fn forget(host: &Host, name: &str) -> Result<()> {
    host.containerd.ctr(&["tasks", "rm", "-f", name])?;
    host.containerd.ctr(&["containers", "rm", name])?;
    remove(&host.path("out").join(name))
}

/// Removes a mark.
fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).with_context(|| path.display().to_string())
}

/// Lets what was started come to rest before something idle is measured.
fn settle() {
    thread::sleep(Duration::from_secs(3));
}
