//! Removing a container, whatever state it was left in.

use std::time::Duration;

use serde::Deserialize;

use super::{
    Containerd,
    error::{Class, Error},
    tasks::TaskStatus,
};
use crate::base::{errors::Errors, ids::ContainerId};

/// SIGKILL.
pub(super) const KILL: u32 = 9;

/// How long a killed task may take to end: a process in the kernel's hands dies only when the kernel lets go.
pub(super) const DEATH: Duration = Duration::from_secs(30);

impl Containerd {
    /// Removes a container: its task (killed if it lives), its record, its snapshot. What is missing
    /// already is success. The record stays while the task does, because nothing else reaches the task.
    pub async fn remove_container(&self, id: &ContainerId) -> Result<(), Error> {
        let mut failures = Failures::default();
        if failures.note("task", self.remove_task(id).await) {
            failures.note("record", self.forget_container(id).await);
            failures.note("snapshot", self.remove_snapshot(id.as_str()).await);
        }
        failures.into_result(id)
    }

    /// Removes a container's task, and returns once its logger has ended.
    pub async fn remove_task(&self, id: &ContainerId) -> Result<(), Error> {
        // Without a process namespace of its own, a container's first process can end and leave others behind.
        if self.spec_json(id).await?.is_some_and(|spec| shares_processes(&spec)) {
            self.end_task(id, true).await?;
        }
        let first = match self.delete_task(id).await {
            Err(error) if error.class() == Class::Other => error,
            outcome => return outcome,
        };
        match self.end_task(id, false).await {
            Err(error) if error.class() == Class::Unavailable => return Err(error),
            // A shim that no longer answers cannot be told to kill; deleting again may still clean up.
            _ => {}
        }
        self.delete_task(id).await.map_err(|second| match second.class() {
            Class::Unavailable => second,
            Class::Missing | Class::Exists | Class::Invalid | Class::Other => first,
        })
    }

    /// Kills a task and waits for its end.
    async fn end_task(&self, id: &ContainerId, all: bool) -> Result<(), Error> {
        let Some(task) = self.task(id).await? else {
            return Ok(());
        };
        if task.status == TaskStatus::Paused {
            self.resume_task(id).await?;
        }
        self.kill_task(id, KILL, all).await?;
        match tokio::time::timeout(DEATH, self.wait_task(id)).await {
            Ok(Err(error)) if error.class() != Class::Missing => Err(error),
            Ok(_) => Ok(()),
            Err(_) => Err(Error::Silent {
                operation: "wait for the end of killed task",
                subject: id.as_str().to_owned(),
                within: DEATH,
            }),
        }
    }
}

/// The failed steps of a removal.
#[derive(Default)]
struct Failures {
    /// What failed.
    errors: Errors,
    /// The weightiest class among them.
    class: Option<Class>,
}

impl Failures {
    /// Notes a step's outcome and says whether it succeeded.
    fn note(&mut self, step: &str, outcome: Result<(), Error>) -> bool {
        if let Err(error) = &outcome
            && self.class != Some(Class::Unavailable)
        {
            self.class = Some(error.class());
        }
        self.errors.note(step, outcome).is_some()
    }

    /// The removal's outcome.
    fn into_result(self, id: &ContainerId) -> Result<(), Error> {
        let class = self.class.unwrap_or(Class::Other);
        self.errors.into_result().map_err(|source| Error::Teardown {
            id: id.as_str().to_owned(),
            class,
            source,
        })
    }
}

/// Whether a runtime spec gives its container no process namespace of its own. A spec that cannot be
/// read counts as one that does: killing everything in the container's cgroup is right for it too.
fn shares_processes(spec: &[u8]) -> bool {
    /// The one part of a runtime spec that matters here.
    #[derive(Deserialize)]
    struct Spec {
        /// Linux's part.
        linux: Option<Linux>,
    }
    /// The namespaces in it.
    #[derive(Deserialize)]
    struct Linux {
        /// Each of them.
        #[serde(default)]
        namespaces: Vec<Namespace>,
    }
    /// One namespace.
    #[derive(Deserialize)]
    struct Namespace {
        /// Its kind.
        r#type: String,
        /// The namespace to join; a new one when there is none.
        #[serde(default)]
        path: String,
    }
    let Ok(spec) = serde_json::from_slice::<Spec>(spec) else {
        return true;
    };
    let namespaces = spec.linux.map(|linux| linux.namespaces).unwrap_or_default();
    !namespaces.iter().any(|namespace| namespace.r#type == "pid" && namespace.path.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_new_process_namespace_is_a_containers_own() {
        for (spec, shares) in [
            (r#"{"linux":{"namespaces":[{"type":"pid"}]}}"#, false),
            (r#"{"linux":{"namespaces":[{"type":"pid","path":"/proc/7/ns/pid"}]}}"#, true),
            (r#"{"linux":{"namespaces":[{"type":"mount"}]}}"#, true),
            (r#"{"linux":{}}"#, true),
            ("{}", true),
            ("nonsense", true),
        ] {
            assert_eq!(shares_processes(spec.as_bytes()), shares, "{spec}");
        }
    }
}
