//! The holder of a pod's shared process namespace: made with the sandbox, missed when it ends.

use std::{path::Path, sync::Arc};

use crate::base::{errors::Chain, ids::PodUid};
use crate::host::{program::own_program, sandbox};
use crate::pod::{
    confinement::{Confinement, Seccomp, confine},
    fault::StartFault,
    holder::{HolderPlan, holder_id, holder_spec, shares_processes},
    machine::{Input, Pod},
    record::PodRecord,
    sandbox::SandboxFacts,
};
use crate::runtime::containerd::{Class, Error, Stdio};

use super::{
    effects::{Effects, blocking},
    reconciler::{Done, Reconciler},
    removal::POD_UID_LABEL,
};

/// A holder that could not be made.
fn unmade(error: &(dyn std::error::Error + 'static)) -> StartFault {
    StartFault {
        reason: "FailedCreatePodSandBox",
        message: format!("share the process namespace: {}", Chain(error)),
    }
}

impl Effects {
    /// Completes a sandbox with the namespace that the pod's containers share, if they do. A holder that lives is
    /// kept; what is left of one that died is cleared away first.
    pub(super) async fn hold_processes(
        self: &Arc<Self>,
        record: &PodRecord,
        facts: &mut SandboxFacts,
    ) -> Result<(), StartFault> {
        if !shares_processes(record.spec()) {
            return Ok(());
        }
        let run_dir = self.paths.sandbox(&record.uid);
        let dir = run_dir.clone();
        if !blocking(move || sandbox::processes_held(&dir)).await {
            let id = holder_id(&record.uid);
            let removed = self.daemon.call(|| self.daemon.client.remove_container(&id)).await;
            removed.map_err(|error| unmade(&error))?;
            let dir = run_dir.clone();
            let root = blocking(move || sandbox::empty_root(&dir)).await;
            let root = root.map_err(|error| unmade(&error))?;
            let pid = self.start_holder(record, facts, &root).await?;
            let dir = run_dir.clone();
            let pinned = blocking(move || sandbox::pin_processes(&dir, pid)).await;
            pinned.map_err(|error| unmade(&error))?;
        }
        facts.pid = Some(sandbox::processes_pin(&run_dir));
        Ok(())
    }

    /// Starts the holder and returns its process.
    async fn start_holder(
        &self,
        record: &PodRecord,
        facts: &SandboxFacts,
        root: &Path,
    ) -> Result<u32, StartFault> {
        let id = holder_id(&record.uid);
        let mut spec = holder_spec(&HolderPlan {
            pod: &record.uid,
            spec: record.spec(),
            root,
            program: &own_program(&self.logging.exe, &["hold"]),
            sandbox: facts,
            host: &self.host,
            cgroups_path: &self.cgroups.container_path(&record.uid, &id),
        });
        let seccomp =
            if self.host.confines.seccomp { Seccomp::Default } else { Seccomp::Unconfined };
        confine(&mut spec, &Confinement { seccomp, app_armor: None }, &self.host)?;
        let spec = serde_json::to_vec(&spec).map_err(|error| unmade(&error))?;
        let labels = [
            (POD_UID_LABEL.to_owned(), record.uid.to_string()),
            ("podward.dev/pod".to_owned(), record.name.clone()),
            ("podward.dev/set".to_owned(), record.set.to_string()),
            ("podward.dev/role".to_owned(), "holder".to_owned()),
        ];
        let client = &self.daemon.client;
        let make = || async {
            client.create_rootless(&id, labels.clone().into(), spec.clone()).await.or_else(there)
        };
        self.daemon.call(make).await.map_err(|error| unmade(&error))?;
        let run = || async {
            client
                .create_task(&id, Vec::new(), &Stdio::default())
                .await
                .map(drop)
                .or_else(there)?;
            client.start_task(&id).await.or_else(there)?;
            client.task(&id).await
        };
        let task = self.daemon.call(run).await.map_err(|error| unmade(&error))?;
        let ended = || StartFault {
            reason: "FailedCreatePodSandBox",
            message: "share the process namespace: its holder ended at once".into(),
        };
        task.map(|task| task.pid).ok_or_else(ended)
    }

    /// Waits for the end of a pod's holder: with it the kernel ends every process of the pod.
    async fn holder_ended(self: Arc<Self>, uid: PodUid) -> Input {
        self.daemon.ended(&holder_id(&uid)).await;
        Input::SandboxLost
    }
}

impl Reconciler {
    /// Sees to it that a pod whose sandbox is there learns of the end of its holder, if it has one.
    pub(super) fn watch_holder(&mut self, uid: &PodUid) {
        let holder = |pod: &Pod| shares_processes(pod.record.spec());
        if self.pods.get(uid).is_some_and(holder) {
            let (effects, uid) = (Arc::clone(&self.effects), uid.clone());
            self.watches.spawn(async move {
                let lost = effects.holder_ended(uid.clone()).await;
                Done::Pod(uid, Some(lost))
            });
        }
    }
}

/// What is there already was made by an earlier try.
fn there(error: Error) -> Result<(), Error> {
    if error.class() == Class::Exists { Ok(()) } else { Err(error) }
}
