//! The start of one attempt: image, user, OCI spec, container record, snapshot, task, process.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Arc, PoisonError},
};

use k8s_openapi::api::core::v1::Container;
use tracing::warn;

use crate::base::{errors::Chain, ids::ContainerId, time};
use crate::host::{
    facts,
    log_dir::{self, LogDirError, LogOwner},
    logger::{self, LogTarget},
    users,
};
use crate::pod::{
    cdi::{self, Devices},
    confinement::{Confinement, confine},
    downward::Downward,
    environment::{Environment, own_environment},
    fault::{IMAGE_GONE, StartFault},
    image::MountPoint,
    machine::{Exit, ExitKind, Input},
    mounts::{Prepared, asks_recursive},
    oci::{Surroundings, oci_spec},
    record::{PinnedImage, PodRecord},
    sandbox::HostFacts,
    user::{User, UserRequest, resolve_user, user_request},
    values::Values,
};
use crate::runtime::containerd::{Class, Error, NewContainer, Stdio};
use crate::spec::Objects;

use super::effects::{Effects, Logging, blocking};

/// Of how many images the accounts are remembered.
const REMEMBERED: usize = 32;

/// Why a start did not lead to a running process.
enum Failure {
    /// Before there was a task; trying again may help.
    Fault(StartFault),
    /// The runtime refused to run the process, which counts as a run that failed.
    NeverRan(String),
}

impl From<StartFault> for Failure {
    fn from(fault: StartFault) -> Self {
        Self::Fault(fault)
    }
}

/// A failure of containerd before there was a task.
fn unmade(error: &Error) -> Failure {
    let message = Chain(error).to_string();
    Failure::Fault(StartFault { reason: "CreateContainerError", message })
}

/// One attempt to be started.
struct Attempt<'a> {
    /// The pod.
    record: &'a PodRecord,
    /// The container's own environment.
    own: Environment,
    /// The container in its template.
    container: &'a Container,
    /// Which attempt.
    number: u32,
    /// containerd's id of it.
    id: ContainerId,
    /// The image that it runs.
    image: PinnedImage,
    /// What confines it.
    confinement: Confinement,
    /// What was made for it to mount.
    prepared: Prepared,
    /// The devices that it gets.
    devices: Devices,
}

impl Effects {
    /// Starts one attempt.
    pub async fn start_container(
        self: Arc<Self>,
        record: PodRecord,
        objects: Arc<Objects>,
        container: String,
        attempt: u32,
        remove_first: Option<u32>,
    ) -> Input {
        if let Some(previous) = remove_first {
            let effects = Arc::clone(&self);
            effects.remove_container(record.clone(), container.clone(), previous).await;
        }
        let started = self.start(&record, &objects, &container, attempt).await;
        match started {
            Ok(()) => Input::Started { container, attempt, at: time::now().wall },
            Err(Failure::Fault(fault)) => Input::StartFailed { container, attempt, fault },
            Err(Failure::NeverRan(message)) => {
                let exit = Exit {
                    code: 128,
                    at: time::now().wall,
                    kind: ExitKind::NeverRan(message),
                    message: String::new(),
                };
                Input::Exited { container, attempt, exit }
            }
        }
    }

    /// The start itself; nothing of a failed one is left behind.
    async fn start(
        self: &Arc<Self>,
        record: &PodRecord,
        objects: &Objects,
        name: &str,
        number: u32,
    ) -> Result<(), Failure> {
        let container = record.container(name).ok_or_else(|| StartFault {
            reason: "CreateContainerError",
            message: format!("the pod's template has no container {name}"),
        })?;
        let known = record.containers.get(name).and_then(|known| known.image.clone());
        let image = known.ok_or_else(|| image_gone("it was never brought here"))?;
        let confinement = self.confinement(record, container).await?;
        let devices = self.devices(record).await?;
        let id = ContainerId::of(&record.uid, name, number);
        let node = self.node_view();
        let values = Values { objects, downward: Downward { record, node: &node } };
        let own = own_environment(container, &values)?;
        let prepared = self.prepare_start(record, container, number, &image.config, &own).await?;
        let attempt =
            Attempt { record, own, container, number, id, image, confinement, prepared, devices };
        let ran = self.run(&attempt).await;
        if ran.is_err() {
            let id = &attempt.id;
            if let Err(error) = self.daemon.call(|| self.daemon.client.remove_container(id)).await {
                warn!(container = %id, error = %Chain(&error), "failed to remove a failed start");
            }
        }
        ran
    }

    /// Record, snapshot, task, process. A rest of an earlier try of the same attempt is cleared away first.
    async fn run(self: &Arc<Self>, attempt: &Attempt<'_>) -> Result<(), Failure> {
        let request =
            user_request(attempt.record.spec(), attempt.container, &attempt.image.config)?;
        if let Some(user) = self.known_user(attempt, &request)? {
            self.create(attempt, &user).await?;
            let mounts = self.snapshot(attempt).await?;
            return self.run_task(attempt, mounts).await;
        }
        // The record needs a spec before the snapshot is there to look the user up in.
        let nobody_yet = User { uid: 0, gid: 0, additional_gids: Vec::new() };
        self.create(attempt, &nobody_yet).await?;
        let mounts = self.snapshot(attempt).await?;
        let spec = self.spec_with_accounts(attempt, &request, &mounts).await?;
        let id = &attempt.id;
        self.daemon
            .call(|| self.daemon.client.update_spec(id, spec.clone()))
            .await
            .map_err(|error| unmade(&error))?;
        self.run_task(attempt, mounts).await
    }

    /// The user, when it was given by number or when the image's accounts were read for another start.
    fn known_user(
        &self,
        attempt: &Attempt<'_>,
        request: &UserRequest,
    ) -> Result<Option<User>, StartFault> {
        if let UserRequest::Known(user) = request {
            return Ok(Some(user.clone()));
        }
        let known = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let accounts = known.get(&attempt.image.chain_id);
        accounts.map(|(passwd, group)| resolve_user(request, passwd, group)).transpose()
    }

    /// Makes the container's record, which protects the snapshot that follows from containerd's garbage collector.
    async fn create(&self, attempt: &Attempt<'_>, user: &User) -> Result<(), Failure> {
        let container = NewContainer {
            id: attempt.id.clone(),
            labels: labels(attempt),
            image_ref: attempt.image.reference.clone(),
            parent_chain_id: attempt.image.chain_id.clone(),
            spec_json: self.spec(attempt, user)?,
        };
        let created = self.daemon.call(|| self.daemon.client.create_container(&container)).await;
        let Err(error) = created else { return Ok(()) };
        if error.class() != Class::Exists {
            return Err(unmade(&error));
        }
        let client = &self.daemon.client;
        let again = || async {
            client.remove_container(&attempt.id).await?;
            client.create_container(&container).await
        };
        self.daemon.call(again).await.map_err(|error| unmade(&error))
    }

    /// Prepares the container's own layer on top of the image's.
    async fn snapshot(&self, attempt: &Attempt<'_>) -> Result<Vec<MountPoint>, Failure> {
        let (id, parent) = (&attempt.id, attempt.image.chain_id.as_str());
        self.daemon.call(|| self.daemon.client.prepare_snapshot(id, parent)).await.map_err(
            |error| match error.class() {
                Class::Missing => image_gone(&Chain(&error).to_string()).into(),
                _ => unmade(&error),
            },
        )
    }

    /// The OCI spec as JSON.
    fn spec(&self, attempt: &Attempt<'_>, user: &User) -> Result<Vec<u8>, StartFault> {
        let record = attempt.record;
        let sandbox = record.sandbox.as_ref().ok_or_else(|| StartFault {
            reason: "CreateContainerError",
            message: "the pod's sandbox is not there".into(),
        })?;
        let mut spec = oci_spec(&Surroundings {
            namespace: &record.set.namespace,
            pod_name: &record.name,
            pod_uid: &record.uid,
            spec: record.spec(),
            container: attempt.container,
            image: &attempt.image.config,
            own: &attempt.own,
            image_ref: &attempt.image.reference,
            user,
            sandbox,
            volumes: &record.volumes,
            prepared: &attempt.prepared,
            host: &self.host_for(attempt.container),
            cgroups_path: &self.cgroups.container_path(&record.uid, &attempt.id),
        })?;
        cdi::apply(&mut spec, &attempt.devices)?;
        confine(&mut spec, &attempt.confinement, &self.host)?;
        serde_json::to_vec(&spec).map_err(|error| StartFault {
            reason: "CreateContainerConfigError",
            message: error.to_string(),
        })
    }

    /// What the container gets of the host; devices come and go, so a privileged one's are looked up now.
    fn host_for(&self, container: &Container) -> Cow<'_, HostFacts> {
        let mut host = Cow::Borrowed(&self.host);
        let context = container.security_context.as_ref();
        if context.and_then(|context| context.privileged) == Some(true) {
            host.to_mut().devices = facts::devices();
        }
        if asks_recursive(container) {
            host.to_mut().recursive_read_only = facts::recursive_read_only();
        }
        host
    }

    /// The OCI spec once the image's own accounts were read.
    async fn spec_with_accounts(
        &self,
        attempt: &Attempt<'_>,
        request: &UserRequest,
        mounts: &[MountPoint],
    ) -> Result<Vec<u8>, Failure> {
        let layers = mounts.to_vec();
        let (passwd, group) =
            blocking(move || users::read_accounts(&layers)).await.map_err(|error| StartFault {
                reason: "CreateContainerConfigError",
                message: format!("read the image's accounts: {error}"),
            })?;
        let user = resolve_user(request, &passwd, &group)?;
        let mut known = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() == REMEMBERED {
            known.clear();
        }
        known.insert(attempt.image.chain_id.clone(), (passwd, group));
        drop(known);
        Ok(self.spec(attempt, &user)?)
    }

    /// Makes the task and starts its process.
    async fn run_task(
        self: &Arc<Self>,
        attempt: &Attempt<'_>,
        mounts: Vec<MountPoint>,
    ) -> Result<(), Failure> {
        let never_ran = |error: Error| Failure::NeverRan(Chain(&error).to_string());
        self.fill_volumes(&attempt.prepared, &mounts).await?;
        let logger = self.log(attempt).map_err(|error| StartFault {
            reason: "CreateContainerError",
            message: Chain(&error).to_string(),
        })?;
        let stdio = Stdio { logger, terminal: attempt.container.tty == Some(true) };
        let id = &attempt.id;
        let client = &self.daemon.client;
        let create = || async {
            match client.create_task(id, mounts.clone(), &stdio).await {
                // containerd went away in the middle and had made it.
                Err(error) if error.class() == Class::Exists => Ok(()),
                made => made.map(drop),
            }
        };
        self.daemon.call(create).await.map_err(never_ran)?;
        let started = self.daemon.call(|| self.daemon.client.start_task(id)).await;
        match started {
            Err(error) if error.class() != Class::Exists => Err(never_ran(error)),
            _ => Ok(()),
        }
    }

    /// The log's place, made ready, as the URI of the logger that writes it.
    fn log(&self, attempt: &Attempt<'_>) -> Result<String, LogDirError> {
        let Attempt { record, container, number, id, .. } = attempt;
        let pod_dir = self.pod_log_dir(record);
        log_dir::create(&pod_dir, &container.name)?;
        let path = log_dir::log_path(&pod_dir, &container.name, *number);
        log_dir::begin(&path);
        let (namespace, pod) = (record.set.namespace.as_str(), record.name.as_str());
        let owner = LogOwner { namespace, pod, container: &container.name, id };
        log_dir::link(&self.paths.container_logs, owner, &path)?;
        let Logging { exe, max_size, max_files } = &self.logging;
        let terminal = container.tty == Some(true);
        let target = LogTarget { path, max_size: *max_size, max_files: *max_files, terminal };
        Ok(logger::uri(exe, &target))
    }
}

/// The fault of an image that is not here any more; its message is for the log only.
fn image_gone(why: &str) -> StartFault {
    StartFault { reason: IMAGE_GONE, message: why.into() }
}

/// The labels by which a container is recognised whatever happened to its record.
fn labels(attempt: &Attempt<'_>) -> BTreeMap<String, String> {
    let record = attempt.record;
    [
        ("set", record.set.to_string()),
        ("pod", record.name.clone()),
        ("pod-uid", record.uid.to_string()),
        ("template-hash", record.hash.to_string()),
        ("container", attempt.container.name.clone()),
        ("attempt", attempt.number.to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (format!("podward.dev/{key}"), value))
    .collect()
}
