//! `podward delete pod` from any machine: the pod's node is asked by a tombstone, which ends by itself.

use std::{io::Write, time::Duration};

use serde_json::Value;

use crate::base::{ids::NodeName, time};
use crate::fleet::records::Tombstone;
use crate::store::{Compare, Range, Txn};

use super::delete::Args;
use super::desk::Desk;
use super::store_client::refusal;
use super::wait_gone;

/// How long a node has to follow: one that comes back later finds the wish gone.
const KEPT: Duration = Duration::from_hours(1);

/// Asks the node of a pod to stop it, and waits until it is gone.
pub async fn run(
    desk: &Desk,
    args: &Args,
    namespace: &str,
    name: &str,
    (out, err): (&mut dyn Write, &mut dyn Write),
) -> anyhow::Result<()> {
    let keys = desk.keys();
    let found = desk.read(&[Range::prefix(keys.pods())]).await?;
    let found = found.iter().find_map(|kv| {
        let mut parts = kv.key.strip_prefix(&keys.pods())?.split('/');
        let node = NodeName::new(parts.next()?);
        (parts.next()? == namespace && parts.next()? == name).then_some((node, kv))
    });
    let Some((node, kv)) = found else {
        if args.ignore_not_found {
            return Ok(());
        }
        anyhow::bail!("pods {name:?} not found in namespace {namespace:?}");
    };
    let pod: Value = serde_json::from_slice(&kv.value).unwrap_or_default();
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    anyhow::ensure!(!uid.is_empty(), "the record of pod {name:?} on node {node} names no uid");
    let tombstone = Tombstone {
        name: format!("pods/{node}/{uid}"),
        uid: uid.clone(),
        generation: 1,
        deleted: time::now().wall,
        grace_period_seconds: u64::try_from(args.grace()).ok(),
    };
    let lease = desk.fleet.store.grant(KEPT).await.map_err(refusal)?;
    let put =
        desk.put(keys.pod_tombstone(&node, &uid), &serde_json::to_value(&tombstone)?, lease)?;
    // A pod that went in between needs no tombstone.
    let txn = Txn {
        when: vec![Compare::Present(kv.key.clone())],
        then: vec![put],
        otherwise: Vec::new(),
    };
    desk.commit(&txn).await?;
    writeln!(out, "pod {name:?} deleted from {namespace} namespace")?;
    out.flush()?;
    if !args.wait {
        return Ok(());
    }
    let same = |pod: &Value| pod["metadata"]["uid"] == uid.as_str();
    let what = format!("pod/{name}");
    wait_gone::pods(desk, Some(namespace.into()), &same, (&what, args.timeout), err).await
}
