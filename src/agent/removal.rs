//! The removal of a pod: containers, cgroup, sandbox, logs, volumes, and its record last.

use std::{collections::BTreeSet, fs, path::PathBuf, sync::Arc};

use crate::base::{
    errors::Errors,
    ids::{ContainerId, PodUid},
};
use crate::host::{log_dir, sandbox, shims, volumes};
use crate::pod::{holder::holder_id, machine::Input, record::PodRecord, resources::all_containers};

use super::{
    effects::{Effects, blocking},
    image_volumes,
    reconciler::{Done, Reconciler},
};

/// The label that says whose a container is.
pub const POD_UID_LABEL: &str = "podward.dev/pod-uid";

impl Reconciler {
    /// With the last pod goes the group above all pods.
    pub(super) fn tidy_up(&mut self) {
        if self.pods.is_empty() {
            let effects = Arc::clone(&self.effects);
            self.work.spawn(async move {
                blocking(move || effects.cgroups.remove_parent()).await;
                Done::TidiedUp
            });
        }
    }
}

impl Effects {
    /// Removes everything of a pod. The record goes last, so that a death on the way is made good by the next try.
    pub async fn remove_pod(self: Arc<Self>, record: PodRecord) -> Input {
        let mut errors = Errors::default();
        self.remove_containers(&record, &mut errors).await;
        let effects = Arc::clone(&self);
        let (uid, views) = (record.uid.clone(), image_volumes::any(record.spec()));
        let removed = blocking(move || effects.remove_rest(&record, errors)).await;
        let removed = match removed {
            Ok(()) => self.remove_last(uid, views).await,
            failed => failed,
        };
        match removed {
            Ok(()) => Input::PodRemoved,
            Err(errors) => Input::RemoveFailed(errors.to_string()),
        }
    }

    /// Removes containers and sandbox of a pod that will be made anew.
    pub async fn reset_pod(self: Arc<Self>, record: PodRecord) -> Input {
        let mut errors = Errors::default();
        self.remove_containers(&record, &mut errors).await;
        let effects = Arc::clone(&self);
        let reset = blocking(move || {
            errors.note("shim", shims::end(effects.daemon.client.namespace(), &ids(&record)));
            errors.note("processes", effects.cgroups.kill_pod(&record.uid));
            errors.note("cgroup", effects.cgroups.remove_pod(&record.uid));
            errors.note("sandbox", sandbox::remove(&effects.paths.sandbox(&record.uid)));
            errors.into_result()
        })
        .await;
        match reset {
            Ok(()) => Input::ResetDone,
            Err(errors) => Input::ResetFailed(errors.to_string()),
        }
    }

    /// Removes what is left of a pod whose record is gone.
    pub async fn remove_orphan(self: Arc<Self>, uid: PodUid) -> Result<(), Errors> {
        blocking(move || {
            let mut errors = Errors::default();
            errors.note("processes", self.cgroups.kill_pod(&uid));
            errors.note("cgroup", self.cgroups.remove_pod(&uid));
            errors.note("sandbox", sandbox::remove(&self.paths.sandbox(&uid)));
            for logs in self.log_dirs_of(&uid) {
                errors.note("logs", log_dir::remove_pod(&self.paths.container_logs, &logs));
            }
            let volumes = errors.note("volumes", volumes::remove(&self.records.pod_dir(&uid)));
            if volumes.is_some() {
                errors.note("record", self.records.remove(&uid));
            }
            errors.into_result()
        })
        .await
    }

    /// The log directories of a pod of which only the uid is known.
    fn log_dirs_of(&self, uid: &PodUid) -> Vec<PathBuf> {
        let ending = format!("_{uid}");
        let entries = fs::read_dir(&self.paths.pod_logs).into_iter().flatten().flatten();
        let ours = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().ends_with(&ending);
        entries.filter(ours).map(|entry| entry.path()).collect()
    }

    /// Removes every container of the pod that containerd knows.
    async fn remove_containers(&self, record: &PodRecord, errors: &mut Errors) {
        let listed = self.daemon.call(|| self.daemon.client.list_containers()).await;
        let uid = record.uid.as_str();
        let ids: BTreeSet<ContainerId> = errors
            .note("list containers", listed)
            .unwrap_or_default()
            .into_iter()
            .filter(|there| there.labels.get(POD_UID_LABEL).is_some_and(|label| label == uid))
            .map(|there| there.id)
            .collect();
        for id in ids {
            let removed = self.daemon.call(|| self.daemon.client.remove_container(&id)).await;
            errors.note("container", removed);
        }
    }

    /// Removes what is not containerd's.
    fn remove_rest(&self, record: &PodRecord, mut errors: Errors) -> Result<(), Errors> {
        let uid = &record.uid;
        errors.note("shim", shims::end(self.daemon.client.namespace(), &ids(record)));
        errors.note("processes", self.cgroups.kill_pod(uid));
        errors.note("cgroup", self.cgroups.remove_pod(uid));
        errors.note("sandbox", sandbox::remove(&self.paths.sandbox(uid)));
        let logs = self.pod_log_dir(record);
        errors.note("logs", log_dir::remove_pod(&self.paths.container_logs, &logs));
        errors.note("volumes", volumes::remove(&self.records.pod_dir(uid)));
        errors.into_result()
    }

    /// Removes what the volumes stood on, and the record.
    async fn remove_last(self: Arc<Self>, uid: PodUid, views: bool) -> Result<(), Errors> {
        let mut errors = Errors::default();
        if views && errors.note("views of images", self.remove_views(&uid).await).is_none() {
            return errors.into_result();
        }
        errors.note("record", blocking(move || self.records.remove(&uid)).await);
        errors.into_result()
    }
}

/// The ids of every attempt that the pod may have made.
fn ids(record: &PodRecord) -> BTreeSet<String> {
    let attempts = |name: &String| {
        let newest = record.containers.get(name).and_then(|container| container.attempt);
        0..=newest.map_or(0, |newest| newest + 1)
    };
    let names = all_containers(record.spec()).map(|container| &container.name);
    names
        .flat_map(|name| attempts(name).map(|attempt| ContainerId::of(&record.uid, name, attempt)))
        .chain([holder_id(&record.uid)])
        .map(|id| id.to_string())
        .collect()
}
