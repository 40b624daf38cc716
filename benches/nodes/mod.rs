//! What benchmarks of fleets share: nodes without containers, a set that they run, and what a process costs.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use podward::testing::{
    Node, NodeName, SetKey,
    store::{Keys, Op, Store, Txn},
    time,
};
use serde_json::{Value, json};

/// The moment.
pub(crate) fn now() -> Instant {
    time::now().mono
}

/// The set that all nodes run.
pub(crate) fn key() -> SetKey {
    SetKey::new("default", "web")
}

/// One of the fleet's nodes.
pub(crate) fn node(number: usize) -> Node {
    let name = format!("n{number}");
    let labels = [("kubernetes.io/hostname".to_owned(), name.clone())].into();
    Node { name: NodeName::new(name), labels, taints: Vec::new() }
}

/// Writes the set with another template; `over` is laid over its spec, `annotations` over its annotations.
pub(crate) async fn put(
    store: &Store,
    keys: &Keys,
    generation: i64,
    over: &Value,
    annotations: &Value,
) -> Result<()> {
    let labels = json!({"app": "web"});
    let mut set = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "web", "namespace": "default", "uid": "bench", "generation": generation,
                     "annotations": annotations},
        "spec": {"selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels, "annotations": {"round": generation.to_string()}},
            "spec": {"hostNetwork": true, "containers": [{"name": "c", "image": "busybox:1"}]}}},
    });
    for (field, value) in over.as_object().into_iter().flatten() {
        set["spec"][field] = value.clone();
    }
    let op = Op::put(keys.set(&key()), set.to_string());
    store.txn(&Txn { then: vec![op], ..Txn::default() }).await?;
    Ok(())
}

/// Waits until nobody writes any more: two looks a second and a half apart see the same revision.
pub(crate) async fn settle(store: &Store, keys: &Keys) -> Result<()> {
    let mut last = 0;
    loop {
        let (header, _) = store.get(&keys.accept()).await?;
        if header.revision == last {
            return Ok(());
        }
        last = header.revision;
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
}

/// The CPU time of a process.
pub(crate) fn cpu_of(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> =
        stat.rsplit_once(')').context("a stat line")?.1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    // Linux counts them in hundredths of a second wherever this runs.
    Ok(Duration::from_millis(ticks * 10))
}

/// The memory of a process: what it has, or `VmHWM` for the most that it had.
pub(crate) fn memory(pid: u32, field: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
    let kilobytes = line.trim_start_matches(':').trim().trim_end_matches(" kB");
    Ok(kilobytes.parse::<u64>()? * 1024)
}
