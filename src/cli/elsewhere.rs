//! Where a pod is that this host does not have: logs and commands are the host's own.

use anyhow::Context as _;

use crate::base::ids::NodeName;
use crate::store::Range;

use super::{
    Globals, client,
    desk::Desk,
    failure::{Failure, Outcome},
    resource, store_client,
};

/// The outcome; of a failure because the pod is not here, the store may know where it is.
pub fn explained(outcome: Outcome, globals: &Globals, namespace: &str, pod: &str) -> Outcome {
    let Err(error) = outcome else { return outcome };
    let text = format!("{error:#}");
    let missing = text.contains("not found") || text.contains("no agent answers");
    let configured =
        globals.settings_to_ask().is_ok_and(|known| store_client::connection(&known).is_some());
    if globals.local || !missing || !configured {
        return Err(error);
    }
    let pod = resource::pod(pod, "logs are those of a pod")?;
    // When the store cannot say it either, the first failure is the one to tell.
    match client::converse(find(globals, namespace, &pod)) {
        Ok(Some(node)) => Err(Failure::hinted(
            format!(
                "pod {pod:?} runs on node {node}; only its own host has its logs and containers"
            ),
            format!("run the same command on {node}"),
        )),
        Ok(None) | Err(_) => Err(error),
    }
}

/// The node of a pod.
async fn find(globals: &Globals, namespace: &str, pod: &str) -> anyhow::Result<Option<NodeName>> {
    let desk = Desk::open(globals).await.context("ask the store")?;
    let prefix = desk.keys().pods();
    let kvs = desk.read(&[Range::prefix(&*prefix)]).await?;
    Ok(kvs.iter().find_map(|kv| {
        let mut parts = kv.key.strip_prefix(&prefix)?.split('/');
        let node = parts.next()?;
        (parts.next()? == namespace && parts.next()? == pod).then(|| NodeName::new(node))
    }))
}
