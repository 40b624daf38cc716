//! Recovery: what earlier agents, containerd and a restart of the host left behind, sorted into pods and orphans.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    sync::Arc,
};

use tracing::{info, warn};

use crate::base::{
    ids::{ContainerId, PodUid},
    keyed::{distinct, keyed},
    time,
};
use crate::host::{fifos::Ends, sandbox};
use crate::pod::{
    adopt::{Observed, ObservedContainer, ObservedTask},
    machine::{Exit, ExitKind},
    record::PodRecord,
};
use crate::runtime::containerd::{ContainerRecord, Error, Task, TaskStatus};

use super::{
    effects::{Effects, blocking},
    messages::LastWords,
    records::RecordError,
    removal::POD_UID_LABEL,
};

/// What was found.
#[derive(Debug)]
pub struct Recovered {
    /// Pods to go on with.
    pub pods: Vec<(PodRecord, Observed)>,
    /// What containerd calls itself.
    pub containerd: String,
}

/// Why the agent cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The records cannot be read.
    #[error(transparent)]
    Records(#[from] RecordError),
    /// containerd refuses.
    #[error(transparent)]
    Containerd(#[from] Error),
}

impl Effects {
    /// Takes stock, and clears away what belongs to no pod.
    pub async fn recover(self: Arc<Self>) -> Result<Recovered, RecoveryError> {
        let records = self.records.clone();
        let (records, torn) = blocking(move || records.load()).await?;
        let pipes: Vec<Ends> = records.iter().flat_map(|record| self.open_pipes(record)).collect();
        let containerd = self.daemon.call(|| self.daemon.client.version()).await?;
        self.daemon.call(|| self.daemon.client.ensure_namespace()).await?;
        let found = self.daemon.call(|| self.daemon.client.list_containers()).await?;
        let tasks = self.daemon.call(|| self.daemon.client.list_tasks()).await?;
        let known: BTreeSet<PodUid> = distinct(records.iter().map(|record| record.uid.clone()));
        self.clear(&known, torn, &found).await;
        for record in &records {
            self.sweep_execs(record).await;
        }
        drop(pipes);
        let tasks: BTreeMap<ContainerId, Task> =
            keyed(tasks.into_iter().map(|task| (task.id.clone(), task)));
        let effects = Arc::clone(&self);
        let pods = blocking(move || {
            let observe = |record: PodRecord| {
                let observed = effects.observe(&record, &found, &tasks);
                (record, observed)
            };
            records.into_iter().map(observe).collect()
        })
        .await;
        Ok(Recovered { pods, containerd })
    }

    /// What is there of one pod.
    fn observe(
        &self,
        record: &PodRecord,
        containers: &[ContainerRecord],
        tasks: &BTreeMap<ContainerId, Task>,
    ) -> Observed {
        let run_dir = self.paths.sandbox(&record.uid);
        let mut observed =
            Observed { sandbox: sandbox::intact(&run_dir, record.spec()), ..Observed::default() };
        for container in containers {
            let label = |key| container.labels.get(key).map(String::as_str);
            let (Some(uid), Some(name)) = (label(POD_UID_LABEL), label("podward.dev/container"))
            else {
                continue;
            };
            let attempt = label("podward.dev/attempt").and_then(|attempt| attempt.parse().ok());
            let Some(attempt) = attempt.filter(|_| uid == record.uid.as_str()) else { continue };
            let newer = observed.containers.get(name).is_none_or(|there| there.attempt < attempt);
            if newer {
                let task = self.ended_well(record, name, attempt, tasks.get(&container.id));
                observed.containers.insert(name.to_owned(), ObservedContainer { attempt, task });
            }
        }
        observed
    }

    /// What a task means; an end that was seen comes with the container's last words.
    fn ended_well(
        &self,
        record: &PodRecord,
        name: &str,
        attempt: u32,
        task: Option<&Task>,
    ) -> ObservedTask {
        let Some(words) = LastWords::of(self, record, name, attempt) else {
            return observed_task(task);
        };
        // Whoever noted an end deleted the task.
        let noted = if task.is_none() { words.noted() } else { None };
        match noted.map_or_else(|| observed_task(task), ObservedTask::Stopped) {
            ObservedTask::Stopped(exit) => {
                ObservedTask::Stopped(Exit { message: words.read(&exit), ..exit })
            }
            other => other,
        }
    }

    /// Removes what belongs to no pod: it was half made or half removed when somebody died.
    async fn clear(
        self: &Arc<Self>,
        known: &BTreeSet<PodUid>,
        torn: Vec<PodUid>,
        containers: &[ContainerRecord],
    ) {
        let mut keep = BTreeSet::new();
        let mut orphans: BTreeSet<PodUid> = distinct(torn);
        for container in containers {
            match container.labels.get(POD_UID_LABEL).map(PodUid::new) {
                Some(uid) if !known.contains(&uid) => {
                    orphans.insert(uid);
                }
                _ => {
                    keep.insert(container.id.clone());
                }
            }
        }
        if let Err(errors) = self.daemon.client.sweep(&keep).await {
            warn!(error = %errors, "failed to sweep what belongs to no pod");
        }
        let effects = Arc::clone(self);
        orphans.extend(blocking(move || effects.leftovers()).await);
        let views = self.views().await;
        orphans.extend(views.iter().map(|view| view.pod.clone()));
        let mut stuck = HashSet::new();
        for uid in orphans.difference(known) {
            match Arc::clone(self).remove_orphan(uid.clone()).await {
                Ok(()) => info!(uid = %uid, "removed what was left of a pod without a record"),
                Err(errors) => {
                    warn!(uid = %uid, error = %errors, "failed to remove what was left of a pod");
                    stuck.insert(uid.clone());
                }
            }
        }
        self.clear_views(views, known, &stuck).await;
    }

    /// Pods that only a cgroup or a sandbox still tells of.
    fn leftovers(&self) -> Vec<PodUid> {
        let mut uids = self.cgroups.pods();
        if let Ok(entries) = fs::read_dir(&self.paths.sandboxes) {
            let names = entries.flatten().map(|entry| entry.file_name());
            uids.extend(names.map(|name| PodUid::new(name.to_string_lossy())));
        }
        uids
    }
}

/// What a task, or its absence, means.
fn observed_task(task: Option<&Task>) -> ObservedTask {
    match task {
        None | Some(Task { status: TaskStatus::Created, .. }) => ObservedTask::HalfMade,
        Some(Task { status: TaskStatus::Stopped, exit, .. }) => {
            let exit = exit.map_or_else(
                || Exit {
                    code: 255,
                    at: time::now().wall,
                    kind: ExitKind::Lost,
                    message: String::new(),
                },
                |exit| Exit {
                    code: exit.code,
                    at: exit.at,
                    kind: ExitKind::Ended,
                    message: String::new(),
                },
            );
            ObservedTask::Stopped(exit)
        }
        Some(Task {
            status: TaskStatus::Running | TaskStatus::Paused | TaskStatus::Unknown,
            ..
        }) => ObservedTask::Running,
    }
}
