//! What probing costs the agent: many pods with three probes each at the default period, in one process and without a thread for each.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::gauge::{Usage, pss, threads};
use crate::support::Host;
use crate::support::pod::Pod;
use crate::support::set::{STAY, Set};
use crate::table::Table;
use crate::{Extent, settle};

/// The share of a core that a hundred pods' probes may take from the agent.
const GOAL: f64 = 0.02;

/// Measures probes over the network and probes by exec apart: of the latter nearly all is done by containerd and runc.
pub(crate) fn probes(host: &Host, extent: Extent, table: &mut Table) -> Result<()> {
    let before = threads(host.agent_pid()?)?;
    let network = |number: usize| {
        // Each pod has a small web server on a port of its own.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let ask = json!({"httpGet": {"path": "/", "port": port}});
        let serve = format!(
            "mkdir /tmp/www; echo ok >/tmp/www/index.html; httpd -p {port} -h /tmp/www; {STAY}"
        );
        Ok(Set::named(&format!("asked-{number}")).script(&serve).container(&json!({
            "startupProbe": ask, "livenessProbe": ask, "readinessProbe": {"tcpSocket": {"port": port}},
        })))
    };
    let what = "startup and liveness by httpGet, readiness by tcpSocket";
    measure(host, extent, ("asked", extent.asked), &network, what, table)?;
    let asked = threads(host.agent_pid()?)?;
    table.at_most("agent's threads with them, against before", asked, before);
    clear(host, "asked")?;

    let exec = |number: usize| {
        let run = json!({"exec": {"command": ["sh", "-c", "echo >>/tmp/asked"]}});
        Ok(Set::named(&format!("exec-{number}")).container(&json!({
            "startupProbe": run, "livenessProbe": run, "readinessProbe": run,
        })))
    };
    measure(host, extent, ("exec", extent.asked / 5), &exec, "all three by exec", table)?;
    clear(host, "exec")
}

/// Runs that many sets whose names begin so, and says what the agent uses once all are ready.
fn measure(
    host: &Host,
    extent: Extent,
    (name, pods): (&str, usize),
    set: &dyn Fn(usize) -> Result<Set>,
    what: &str,
    table: &mut Table,
) -> Result<()> {
    let sets = (0..pods).map(set).collect::<Result<Vec<_>>>()?;
    let documents: Vec<String> = sets.iter().map(Set::text).collect();
    host.write("probed.yaml", &documents.join("---\n"))?;
    host.until("every pod to be ready", || {
        let ready = |pod: &&Pod| pod.set().starts_with(name) && pod.ready();
        Ok((host.pods()?.iter().filter(ready).count() >= pods).then_some(()))
    })?;
    settle();
    let agent = host.agent_pid()?;
    let tried_before = tried(host)?;
    let before = Usage::of(agent)?;
    std::thread::sleep(extent.idle);
    let used = Usage::of(agent)?.since(before);
    let tried = tried(host)? - tried_before;
    table.count(&format!("exec probes run in that time, {name}"), tried);
    let seconds = extent.idle.as_secs();
    let share = GOAL * pods as f64 / 100.0;
    let line = format!("CPU time in {seconds} s, {pods} pods, {what}");
    table.budget(&line, used.cpu, Duration::from_secs(seconds).mul_f64(share));
    table.count(&format!("wake-ups in {seconds} s, the same"), used.switches);
    table.size("agent's PSS, the same", pss(agent)?, 12_000_000);
    Ok(())
}

/// Takes the sets away again.
fn clear(host: &Host, name: &str) -> Result<()> {
    host.remove("probed.yaml")?;
    host.until("the probed pods to be gone", || {
        let gone = !host.pods()?.iter().any(|pod| pod.set().starts_with(name));
        Ok(gone.then_some(()))
    })
}

/// How often exec probes have run in all containers, by what they wrote.
fn tried(host: &Host) -> Result<u64> {
    let counts = host.containerd.tasks()?.into_iter().map(|task| {
        std::fs::read(format!("/proc/{}/root/tmp/asked", task.pid))
            .map_or(0, |said| said.len() as u64)
    });
    Ok(counts.sum())
}
