//! Effects: what the pod machine asks for, done to containerd and the host. Each is idempotent and answers once.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use nix::sys::signal;
use tokio::task;
use tracing::warn;

use crate::base::{
    errors::Chain,
    ids::{ContainerId, NodeName, PodUid},
    time,
};
use crate::host::{
    attempt_dir::AttemptDir,
    cgroup::Cgroups,
    facts::{self, NodeFacts},
    fifos, log_dir, sandbox,
};
use crate::pod::{
    downward::NodeView,
    fault::StartFault,
    holder::shares_processes,
    image::stop_signal,
    machine::{Exit, ExitKind, Input, Signal},
    record::PodRecord,
    resources::pod_resources,
    sandbox::HostFacts,
};
use crate::runtime::containerd::Error;
use crate::spec::Objects;

use super::{daemon::Daemon, image_volumes, messages::LastWords, pulls::Pulls, records::Records};

/// How many runs of a container keep their logs.
const KEPT_LOGS: usize = 2;

/// Where things of pods are on this host.
#[derive(Debug, Clone)]
pub struct Paths {
    /// `<run>/pods`: sandboxes.
    pub sandboxes: PathBuf,
    /// The log directories.
    pub pod_logs: PathBuf,
    /// The links that log shippers read.
    pub container_logs: PathBuf,
    /// The operator's seccomp profiles.
    pub seccomp: PathBuf,
    /// Where vendors describe their devices.
    pub cdi: Vec<PathBuf>,
}

impl Paths {
    /// The directory of one pod's sandbox.
    pub fn sandbox(&self, uid: &PodUid) -> PathBuf {
        self.sandboxes.join(uid.as_str())
    }
}

/// How the logger of each container is called.
#[derive(Debug, Clone)]
pub struct Logging {
    /// The binary that is agent and logger in one.
    pub exe: PathBuf,
    /// The size at which a log is rotated.
    pub max_size: u64,
    /// How many files are kept of each.
    pub max_files: u32,
}

/// Everything that effects need; shared by all that are under way.
#[derive(Debug)]
pub struct Effects {
    /// containerd.
    pub daemon: Daemon,
    /// Images out of registries.
    pub pulls: Pulls,
    /// The pods' cgroups.
    pub cgroups: Cgroups,
    /// The pods' records.
    pub records: Records,
    /// Where things are.
    pub paths: Paths,
    /// How logs are written.
    pub logging: Logging,
    /// What containers get of the host.
    pub host: HostFacts,
    /// What the host is.
    pub facts: NodeFacts,
    /// The node's name.
    pub node: NodeName,
    /// `/etc/passwd` and `/etc/group` of images, by their top layer: containers start on what never changes.
    pub accounts: Mutex<BTreeMap<String, (String, String)>>,
    /// The newest ConfigMaps and Secrets that an effect was given: one that runs late must not write what is old.
    pub objects: Mutex<Arc<Objects>>,
}

/// Runs something that blocks where it holds up nobody.
///
/// # Panics
///
/// When the work does.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let place = Arc::new(Mutex::new(None));
    let there = Arc::clone(&place);
    // All work is one kind of task: tokio's code for a kind is large, and there are dozens of works.
    let work: Box<dyn FnOnce() + Send> = Box::new(move || {
        let done = work();
        *there.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
    });
    if let Err(error) = task::spawn_blocking(work).await {
        std::panic::resume_unwind(error.into_panic());
    }
    let done = place.lock().unwrap_or_else(PoisonError::into_inner).take();
    done.expect("work that ended has left what came of it")
}

impl Effects {
    /// The node as its pods may see it. Addresses come and go, so they are looked up now.
    pub fn node_view(&self) -> NodeView {
        NodeView {
            name: self.node.clone(),
            addresses: facts::addresses(),
            cpus: self.facts.cpus,
            memory: self.facts.memory,
            storage: facts::storage(self.records.dir()),
        }
    }

    /// Makes volumes, cgroup, namespaces and files of a pod.
    pub fn create_sandbox(
        self: Arc<Self>,
        record: PodRecord,
        objects: Arc<Objects>,
    ) -> impl Future<Output = Input> + Send + 'static {
        self.know(Arc::clone(&objects));
        async move {
            if image_volumes::any(record.spec())
                && let Err(fault) = self.mount_images(&record, &objects).await
            {
                return Input::SandboxFailed(fault);
            }
            let (effects, pod) = (Arc::clone(&self), record.clone());
            let mut made = blocking(move || effects.make_sandbox(&pod)).await;
            if let Ok(Input::SandboxReady { facts, .. }) = &mut made
                && let Err(fault) = self.hold_processes(&record, facts).await
            {
                made = Err(fault);
            }
            made.unwrap_or_else(Input::SandboxFailed)
        }
    }

    /// The same, in one piece: nothing in it waits for the network or for containerd.
    fn make_sandbox(&self, record: &PodRecord) -> Result<Input, StartFault> {
        let failed = |reason, error: &(dyn std::error::Error + 'static)| StartFault {
            reason,
            message: Chain(error).to_string(),
        };
        let spec = record.spec();
        let volumes =
            self.prepare_volumes(record).map_err(|error| failed("FailedMount", &error))?;
        self.cgroups
            .create_pod(&record.uid, &pod_resources(spec))
            .map_err(|error| failed("FailedCreatePodContainer", &error))?;
        let run_dir = self.paths.sandbox(&record.uid);
        let plan = sandbox::SandboxPlan {
            spec,
            run_dir: &run_dir,
            node_hostname: &self.facts.hostname,
            host_etc: Path::new("/etc"),
        };
        let facts =
            sandbox::create(&plan).map_err(|error| failed("FailedCreatePodSandBox", &error))?;
        Ok(Input::SandboxReady { facts, volumes })
    }

    /// Waits for the end of an attempt. The record is only looked at now: a watch lasts as long as its container.
    pub fn watch(
        self: Arc<Self>,
        record: &PodRecord,
        container: String,
        attempt: u32,
    ) -> impl Future<Output = Input> + Send + use<> {
        let words = LastWords::of(&self, record, &container, attempt);
        let uid = record.uid.clone();
        async move {
            let exit = self.end_of(&uid, &container, attempt).await;
            let exit = self.explain(words, exit).await;
            Input::Exited { container, attempt, exit }
        }
    }

    /// How an attempt ends, once it does.
    async fn end_of(self: &Arc<Self>, uid: &PodUid, container: &str, attempt: u32) -> Exit {
        let id = ContainerId::of(uid, container, attempt);
        let (effects, pod) = (Arc::clone(self), uid.clone());
        let before = blocking(move || effects.cgroups.oom_kills_of_the_gone(&pod)).await;
        let message = String::new();
        match self.daemon.ended(&id).await {
            Some(exit) if exit.code == 137 && self.killed_for_memory(uid, &id, before).await => {
                Exit { code: exit.code, at: exit.at, kind: ExitKind::OutOfMemory, message }
            }
            Some(exit) => Exit { code: exit.code, at: exit.at, kind: ExitKind::Ended, message },
            None => Exit { code: 255, at: time::now().wall, kind: ExitKind::Lost, message },
        }
    }

    /// Whether the kernel killed the container for memory, given the kills in groups that were gone before.
    async fn killed_for_memory(
        self: &Arc<Self>,
        uid: &PodUid,
        id: &ContainerId,
        gone_before: u64,
    ) -> bool {
        let (effects, uid, id) = (Arc::clone(self), uid.clone(), id.clone());
        blocking(move || match effects.cgroups.oom_kills(&uid, &id) {
            Some(kills) => kills > 0,
            None => effects.cgroups.oom_kills_of_the_gone(&uid) > gone_before,
        })
        .await
    }

    /// Sends a signal; a process that is gone already is what was wanted.
    pub async fn signal(
        self: Arc<Self>,
        record: PodRecord,
        container: String,
        attempt: u32,
        signal: Signal,
    ) {
        let id = ContainerId::of(&record.uid, &container, attempt);
        let number = match signal {
            Signal::Stop => stop_signal_of(&record, &container),
            Signal::Kill => signal::SIGKILL as u32,
        };
        // Without a PID namespace of its own a container's children outlive its first process.
        let shared = record.spec().host_pid == Some(true) || shares_processes(record.spec());
        let all = signal == Signal::Kill && shared;
        let sent = self.daemon.call(|| self.daemon.client.kill_task(&id, number, all)).await;
        report("signal a container", &id, sent);
    }

    /// Removes what is left of an attempt; of its container's logs the last dead one's stays beside the live one's.
    pub async fn remove_container(
        self: Arc<Self>,
        record: PodRecord,
        container: String,
        attempt: u32,
    ) {
        let id = ContainerId::of(&record.uid, &container, attempt);
        let removed = self.daemon.call(|| self.daemon.client.remove_container(&id)).await;
        report("remove a container", &id, removed);
        let dir = AttemptDir::of(&self.records.pod_dir(&record.uid), &container, attempt);
        let pruned = blocking(move || {
            if let Err(errors) = dir.remove() {
                warn!(container = %id, error = %errors, "failed to remove what an attempt had to itself");
            }
            let run_dir = self.paths.sandbox(&record.uid);
            if let Err(error) = fifos::remove_all(&run_dir, &container, attempt) {
                warn!(container = %id, error = %Chain(&error), "failed to remove pipes");
            }
            let pod_dir = self.pod_log_dir(&record);
            if let Err(error) =
                log_dir::prune(&self.paths.container_logs, &pod_dir, &container, KEPT_LOGS)
            {
                warn!(container = %id, error = %Chain(&error), "failed to prune logs");
            }
        });
        pruned.await;
    }

    /// The directory of a pod's logs.
    pub fn pod_log_dir(&self, record: &PodRecord) -> PathBuf {
        log_dir::pod_log_dir(&self.paths.pod_logs, &record.set.namespace, &record.name, &record.uid)
    }

    /// Kills all that is in the pod's cgroup.
    pub async fn kill_pod(self: Arc<Self>, uid: PodUid) {
        let killed = blocking(move || self.cgroups.kill_pod(&uid)).await;
        if let Err(error) = killed {
            warn!(error = %Chain(&error), "kill a pod's cgroup");
        }
    }
}

/// The signal that asks a container of this pod to end.
fn stop_signal_of(record: &PodRecord, container: &str) -> u32 {
    let image = record.containers.get(container).and_then(|container| container.image.as_ref());
    stop_signal(record.container(container), image.map(|image| &image.config))
}

/// Logs an effect that has no answer and failed: what it left behind is found by the pod's removal.
fn report(what: &'static str, id: &ContainerId, result: Result<(), Error>) {
    if let Err(error) = result {
        warn!(container = %id, error = %Chain(&error), "failed to {what}");
    }
}
