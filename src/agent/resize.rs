//! New limits for a pod that runs: its containers and cgroup first, its record when all of them have them.
//!
//! A death on the way leaves the old record, the plan asks for the same again, and doing it twice is no harm.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::PodTemplateSpec;
use tracing::{info, warn};

use crate::base::{
    errors::Chain,
    ids::{ContainerId, PodUid, TemplateHash},
    time,
};
use crate::pod::{
    machine::{Effect, Pod, PodEvent},
    oci::limits,
    record::PodRecord,
    resize::{changes, resizable, widest},
    resources::{Resources, container_resources, pod_resources},
};
use crate::spec::template_hash;

use super::{
    effects::{Effects, blocking},
    reconciler::{Done, Reconciler},
};

/// Resizes under way, and those that failed.
#[derive(Debug, Default)]
pub(super) struct Resizes {
    /// What pods are becoming.
    under_way: BTreeMap<PodUid, Resize>,
    /// The template that a pod could not take: it is replaced instead.
    failed: BTreeMap<PodUid, TemplateHash>,
}

/// What a pod is becoming.
#[derive(Debug, Clone)]
struct Resize {
    /// The hash of its new template.
    hash: TemplateHash,
    /// Its new template.
    template: PodTemplateSpec,
    /// The attempts that ran when it began.
    running: BTreeMap<String, u32>,
}

impl Reconciler {
    /// Whether the pod can become one of its set's present template without being replaced. A pod whose hash counts
    /// more than its template, such as ConfigMaps, is replaced: what else changed cannot be told.
    pub(super) fn resizable(&self, pod: &Pod) -> bool {
        let record = &pod.record;
        let Some(entry) = self.sets.entries().get(&record.set) else { return false };
        let effective = self.standings.get(&record.set).map(|standing| &standing.hash);
        let set = entry.run();
        set.hash != record.hash
            && effective == Some(&set.hash)
            // One that was never up has nothing to lose, and its old limits may be why.
            && record.sandbox.is_some()
            && self.resizes.failed.get(&record.uid) != Some(&set.hash)
            && resizable(&record.template, set.template())
            && template_hash(&record.template) == record.hash
    }

    /// Begins to resize a pod, unless that is under way already or a container is just being started.
    pub(super) fn resize(&mut self, uid: &PodUid) {
        let Some(pod) = self.pods.get(uid) else { return };
        let Some(entry) = self.sets.entries().get(&pod.record.set) else { return };
        let Some(running) = pod.running_attempts() else { return };
        if self.resizes.under_way.contains_key(uid) {
            return;
        }
        let (hash, template) = (entry.run().hash.clone(), entry.run().template().clone());
        let resize = Resize { hash, template, running };
        info!(pod = %pod.record.name, hash = %resize.hash, "resizing a pod");
        let (effects, record) = (Arc::clone(&self.effects), pod.record.clone());
        self.resizes.under_way.insert(uid.clone(), resize.clone());
        let uid = uid.clone();
        self.work
            .spawn(async move { Done::Resized(uid, effects.set_limits(record, resize).await) });
    }

    /// A resize came to its end.
    pub(super) fn resized(&mut self, uid: &PodUid, outcome: Result<(), String>) {
        let Some(resize) = self.resizes.under_way.remove(uid) else { return };
        self.resizes.failed.retain(|uid, _| self.pods.contains_key(uid));
        let Some(pod) = self.pods.get_mut(uid) else { return };
        let name = pod.record.name.clone();
        let (warning, reason, message) = match outcome {
            // A container that was started meanwhile may have the old limits: the next plan does it again.
            Ok(()) if pod.running_attempts().as_ref() != Some(&resize.running) => return,
            Ok(()) => {
                pod.record.template = resize.template;
                pod.record.hash = resize.hash;
                (false, "ResizeCompleted", "Pod resize completed".to_owned())
            }
            Err(why) => {
                warn!(pod = %name, reason = %why, "failed to resize a pod; it is replaced");
                self.resizes.failed.insert(uid.clone(), resize.hash);
                (true, "ResizeError", why)
            }
        };
        let event = Effect::Record(PodEvent { warning, reason, message });
        if !warning {
            self.report(&format!("resized pod {name}"));
        }
        self.dispatch(time::now(), uid, vec![Effect::Save, event]);
        self.changed();
    }
}

impl Effects {
    /// Gives the containers that run, and the pod's cgroup, the limits of a new template.
    async fn set_limits(self: Arc<Self>, record: PodRecord, resize: Resize) -> Result<(), String> {
        let new = PodRecord { template: resize.template, ..record.clone() };
        let (before, after) = (pod_resources(record.spec()), pod_resources(new.spec()));
        self.limit_pod(&record.uid, widest(&before, &after)).await?;
        for (was, is) in changes(record.spec(), new.spec()) {
            let Some(attempt) = resize.running.get(&is.name) else { continue };
            let id = ContainerId::of(&record.uid, &is.name, *attempt);
            let (old, wanted) = (container_resources(was), container_resources(is));
            if let Some(limit) = wanted.memory_limit
                && old.memory_limit.is_none_or(|old| limit < old)
            {
                let (effects, uid, id) = (Arc::clone(&self), record.uid.clone(), id.clone());
                let used = blocking(move || effects.cgroups.memory_usage(&uid, &id)).await;
                if used.is_some_and(|used| i64::try_from(used).is_ok_and(|used| used > limit)) {
                    return Err(format!(
                        "container {}: attempting to set the memory limit ({limit}) below current usage ({})",
                        is.name,
                        used.unwrap_or_default()
                    ));
                }
            }
            let json =
                serde_json::to_vec(&limits(is, &self.host)).map_err(|error| error.to_string())?;
            let set = || self.daemon.client.update_task(&id, json.clone());
            let set = self.daemon.call(set).await;
            set.map_err(|error| format!("container {}: {}", is.name, Chain(&error)))?;
        }
        self.limit_pod(&record.uid, after).await
    }

    /// Sets the limits of the pod's cgroup.
    async fn limit_pod(self: &Arc<Self>, uid: &PodUid, limits: Resources) -> Result<(), String> {
        let (effects, uid) = (Arc::clone(self), uid.clone());
        let set = blocking(move || effects.cgroups.create_pod(&uid, &limits)).await;
        set.map_err(|error| Chain(&error).to_string())
    }
}
