//! How soon a fleet reacts: 1000 agents without containers follow one real etcd by connections of their own; a set is
//! changed again and again, and each agent says when it begins to run the new template.
//!
//! `PODWARD_BENCH_AGENTS` says how many agents. The peer beside it is one bare watch: the least that etcd itself takes.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for people"
)]

#[path = "../tests/support/etcd.rs"]
mod etcd;
#[path = "nodes/mod.rs"]
mod nodes;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use etcd::Etcd;
use nodes::{cpu_of, key, memory, node, now, put, settle};
use podward::testing::{
    light::{self, Told},
    store::{Change, Keys, Range, Settings, Store},
};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// How long the whole fleet may take to react at all.
const PATIENCE: Duration = Duration::from_mins(2);

fn main() -> Result<()> {
    let quick = std::env::var_os("PODWARD_BENCH_QUICK").is_some();
    let agents = std::env::var("PODWARD_BENCH_AGENTS").ok().and_then(|count| count.parse().ok());
    let agents = agents.unwrap_or(if quick { 200 } else { 1000 });
    let rounds = if quick { 3 } else { 10 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(fleet(agents, rounds))
}

/// Starts everything, changes the set, prints what was seen.
async fn fleet(agents: usize, rounds: u32) -> Result<()> {
    let server = Etcd::start(1)?;
    let pid = server.pid(0).context("etcd runs")?;
    let settings = Settings {
        endpoints: server.endpoints(),
        timeout: Duration::from_secs(30),
        ..Settings::default()
    };
    let keys = Keys::new("/podward", "bench");
    let state = tempfile::tempdir()?;
    let (stop, stopped) = watch::channel(false);
    let (told, mut heard) = mpsc::unbounded_channel();
    let mut fleet = JoinSet::new();
    let began = now();
    let shared = light::Settings {
        store: settings.clone(),
        keys: keys.clone(),
        pod_time: Duration::ZERO,
        turns: false,
        pace: None,
        told,
    };
    for number in 0..agents {
        let (shared, stopped) = (shared.clone(), stopped.clone());
        let path = state.path().join(number.to_string());
        std::fs::create_dir(&path)?;
        fleet.spawn(async move { light::run(shared, node(number), &path, stopped).await });
    }
    let store = Store::connect(&settings, 0).await?;
    put(&store, &keys, 1, &Value::Null, &Value::Null).await?;
    reactions(&mut heard, agents, now()).await?;
    println!(
        "{agents} agents joined and ran the first set in {:.1} s",
        began.elapsed().as_secs_f64()
    );

    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    let mut cpu = Duration::ZERO;
    for round in 0..rounds {
        settle(&store, &keys).await?;
        let (before, began) = (cpu_of(pid)?, now());
        bare.push(alone(&store, &keys, i64::from(round) + 2, began).await?);
        ours.extend(reactions(&mut heard, agents, began).await?);
        cpu += cpu_of(pid)?.saturating_sub(before);
    }
    println!("change to reaction over {rounds} rounds: {}", spread(&mut ours));
    println!("one bare watch beside it:          {}", spread(&mut bare));
    println!(
        "etcd: {:.0} ms of CPU for each change, {:.0} MB resident; goal: p99 < 500 ms",
        cpu.as_secs_f64() * 1000.0 / f64::from(rounds),
        memory(pid, "VmRSS")? as f64 / 1e6
    );
    stop.send_replace(true);
    while fleet.join_next().await.is_some() {}
    Ok(())
}

/// Changes the set, and says how soon a watch that does nothing else hears of it.
async fn alone(store: &Store, keys: &Keys, generation: i64, began: Instant) -> Result<Duration> {
    let key = keys.set(&key());
    let (header, _) = store.get(&key).await?;
    let mut watch = store.watch(&[Range::key(&key)], header.revision + 1).await?;
    put(store, keys, generation, &Value::Null, &Value::Null).await?;
    loop {
        let (_, changes) = watch.next().await?;
        if changes.iter().any(|change| matches!(change, Change::Put(kv) if kv.key == key)) {
            return Ok(began.elapsed());
        }
    }
}

/// Waits until every agent has told its reaction; says how long each took.
async fn reactions(
    heard: &mut mpsc::UnboundedReceiver<Told>,
    agents: usize,
    began: Instant,
) -> Result<Vec<Duration>> {
    let mut all = Vec::with_capacity(agents);
    while all.len() < agents {
        let one = tokio::time::timeout(PATIENCE, heard.recv()).await;
        ensure!(one.is_ok(), "only {} of {agents} agents reacted", all.len());
        if let Ok(Some(Told::Began(_))) = one {
            all.push(began.elapsed());
        }
    }
    Ok(all)
}

/// A distribution as a line.
fn spread(samples: &mut [Duration]) -> String {
    samples.sort_unstable();
    let at = |share: f64| {
        let index = ((samples.len() - 1) as f64 * share).round() as usize;
        samples[index].as_secs_f64() * 1000.0
    };
    format!(
        "p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    )
}
