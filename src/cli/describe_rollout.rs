//! What descriptions say of rollouts: a set's own, and the turns of nodes.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSet;
use serde_json::Value;

use crate::base::{ids::SetKey, time};
use crate::fleet::rollout_summary::{Summary, strategy};
use crate::rollout::turn::Turn;
use crate::spec::Rollout;
use crate::store::Range;

use super::backend::Backend;
use super::rollout_scene::RolloutScene;
use super::rows::typed;
use super::store_client::refusal;

/// The rollout of a set: the fleet's, or what the set says of it.
pub async fn of_set(backend: &Backend, set: &Value, now: Timestamp) -> anyhow::Result<Summary> {
    let metadata = &set["metadata"];
    if let (Backend::Fleet(fleet, connection), Some(namespace), Some(name)) =
        (backend, metadata["namespace"].as_str(), metadata["name"].as_str())
    {
        let mut scene = RolloutScene::over(fleet, connection, &SetKey::new(namespace, name));
        scene.read().await?;
        if let Some(scene) = scene.scene() {
            return Ok(scene.summary(now));
        }
    }
    Ok(strategy(&Rollout::of(&typed::<DaemonSet>(set)?)))
}

/// Every turn: node, set, and how it goes.
pub async fn turns(backend: &Backend, now: Timestamp) -> anyhow::Result<Vec<[String; 3]>> {
    let Backend::Fleet(fleet, _) = backend else { return Ok(Vec::new()) };
    let prefix = fleet.keys.fleet_sets();
    let (_, kvs) = fleet.store.list_all(&[Range::prefix(&*prefix)]).await.map_err(refusal)?;
    let turns = kvs.iter().filter_map(|kv| {
        let parts: Vec<&str> = kv.key.strip_prefix(&prefix)?.split('/').collect();
        let [namespace, name, "turn", node] = *parts.as_slice() else { return None };
        let turn: Turn = serde_json::from_slice(&kv.value).ok()?;
        let age = time::age(time::elapsed(turn.since, now));
        let how = match &turn.failed {
            Some(verdict) => format!("failed ({}: {})", verdict.reason, verdict.message),
            None => "open".to_owned(),
        };
        Some([node.to_owned(), format!("{namespace}/{name}"), format!("{how}, for {age}")])
    });
    Ok(turns.collect())
}
