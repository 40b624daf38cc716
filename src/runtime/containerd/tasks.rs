//! Tasks: the living part of a container, kept by its shim.

use std::time::Duration;

use containerd_client::{
    services::v1::{
        CreateTaskRequest, DeleteTaskRequest, GetRequest, KillRequest, ListTasksRequest,
        ResumeTaskRequest, StartRequest, UpdateTaskRequest, WaitRequest,
    },
    types::v1::{Process, Status},
};
use jiff::Timestamp;
use prost_types::Any;

use super::{
    Containerd,
    client::{call, long_call, within},
    error::{Class, Error},
    snapshots::wire_mount,
};
use crate::base::{ids::ContainerId, time};
use crate::pod::image::MountPoint;

/// How long runc may take for a start, a kill or a removal on a machine that is very busy.
pub(super) const RUNC: Duration = Duration::from_mins(2);

/// The type of new limits, by its bare name.
const RESOURCES_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";

/// The exit code of a task whose shim died: containerd kills what the shim kept.
const LOST: u32 = 137;

/// Where a task's output goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stdio {
    /// The URI of its logger; empty is nowhere.
    pub logger: String,
    /// Whether it writes to a terminal. Nobody ever types there: reading from it waits.
    pub terminal: bool,
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The exit code; 128 and the signal's number when a signal ended it.
    pub code: u32,
    /// When.
    pub at: Timestamp,
}

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskStatus {
    /// Made, not started.
    Created,
    /// Running.
    Running,
    /// Ended, not deleted.
    Stopped,
    /// Frozen by somebody.
    Paused,
    /// containerd cannot tell: the shim does not answer.
    Unknown,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its container's id.
    pub id: ContainerId,
    /// Its first process on the host.
    pub pid: u32,
    /// What it does.
    pub status: TaskStatus,
    /// How it ended, once it has.
    pub exit: Option<Exit>,
}

impl Containerd {
    /// Makes a container's task, not running yet, and returns its process. No deadline: giving up on
    /// this call half-way would leave a shim that nobody knows of.
    pub async fn create_task(
        &self,
        id: &ContainerId,
        mounts: Vec<MountPoint>,
        stdio: &Stdio,
    ) -> Result<u32, Error> {
        let request = CreateTaskRequest {
            container_id: id.as_str().to_owned(),
            rootfs: mounts.into_iter().map(wire_mount).collect(),
            terminal: stdio.terminal,
            // The scheme of stdout alone decides; a logger gets both streams. A terminal has no second one.
            stdout: stdio.logger.clone(),
            stderr: if stdio.terminal { String::new() } else { stdio.logger.clone() },
            ..CreateTaskRequest::default()
        };
        let mut service = self.client().tasks();
        let reply =
            long_call("create task", id.as_str(), service.create(self.client().request(request)));
        Ok(reply.await?.pid)
    }

    /// Starts a task.
    pub async fn start_task(&self, id: &ContainerId) -> Result<(), Error> {
        let request =
            StartRequest { container_id: id.as_str().to_owned(), ..StartRequest::default() };
        let mut service = self.client().tasks();
        let reply = service.start(self.client().request(request));
        within(RUNC, "start task", id.as_str(), reply).await.map(|_| ())
    }

    /// Gives a running task other limits: the OCI spec's resources as JSON.
    pub async fn update_task(&self, id: &ContainerId, resources: Vec<u8>) -> Result<(), Error> {
        let request = UpdateTaskRequest {
            container_id: id.as_str().to_owned(),
            resources: Some(Any { type_url: RESOURCES_TYPE.to_owned(), value: resources }),
            ..UpdateTaskRequest::default()
        };
        let mut service = self.client().tasks();
        let reply = service.update(self.client().request(request));
        within(RUNC, "update task", id.as_str(), reply).await
    }

    /// Waits for a task's end, however long that takes. Class `Unavailable`: containerd went away and
    /// the task may still run, so wait again later. Class `Missing`: no such task, its exit is unknown.
    /// A task whose shim died has ended: containerd kills its processes, and it counts as killed.
    pub async fn wait_task(&self, id: &ContainerId) -> Result<Exit, Error> {
        let mut tries = 0;
        loop {
            let error = match self.wait_once(id).await {
                Ok(exit) => return Ok(exit),
                Err(error) => error,
            };
            match error.class() {
                Class::Missing if tries > 0 => return Ok(lost()),
                Class::Other if tries < 20 => {}
                _ => return Err(error),
            }
            // The shim's connection broke, and containerd needs a moment to clean up behind it. Until then
            // the task is still listed, and waiting for it fails at once.
            match self.task(id).await {
                Ok(None) => return Ok(lost()),
                Ok(Some(Task { exit: Some(exit), .. })) => return Ok(exit),
                Err(gone) if gone.class() == Class::Unavailable => return Err(gone),
                Ok(Some(_)) | Err(_) => {}
            }
            tries += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Sends a signal. A task that has ended or was never there has what a signal wants: success.
    pub async fn kill_task(&self, id: &ContainerId, signal: u32, all: bool) -> Result<(), Error> {
        let request = KillRequest {
            container_id: id.as_str().to_owned(),
            signal,
            all,
            ..KillRequest::default()
        };
        let mut service = self.client().tasks();
        let reply = service.kill(self.client().request(request));
        match within(RUNC, "kill task", id.as_str(), reply).await {
            Err(error) if error.class() != Class::Missing => Err(error),
            _ => Ok(()),
        }
    }

    /// A container's task, if it has one.
    pub async fn task(&self, id: &ContainerId) -> Result<Option<Task>, Error> {
        let request = GetRequest { container_id: id.as_str().to_owned(), ..GetRequest::default() };
        let mut service = self.client().tasks();
        match call("read task", id.as_str(), service.get(self.client().request(request))).await {
            Ok(reply) => Ok(reply.process.map(Task::of)),
            Err(error) if error.class() == Class::Missing => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every task of our namespace.
    pub async fn list_tasks(&self) -> Result<Vec<Task>, Error> {
        let mut service = self.client().tasks();
        let request = self.client().request(ListTasksRequest::default());
        let reply = call("list", "tasks", service.list(request)).await?;
        Ok(reply.tasks.into_iter().map(Task::of).collect())
    }

    /// Deletes a task that does not run; a missing one is success.
    pub(super) async fn delete_task(&self, id: &ContainerId) -> Result<(), Error> {
        let request = DeleteTaskRequest { container_id: id.as_str().to_owned() };
        let mut service = self.client().tasks();
        let reply = service.delete(self.client().request(request));
        match within(RUNC, "delete task", id.as_str(), reply).await {
            Err(error) if error.class() != Class::Missing => Err(error),
            _ => Ok(()),
        }
    }

    /// Thaws a task that somebody froze: a frozen process does not even die.
    pub(super) async fn resume_task(&self, id: &ContainerId) -> Result<(), Error> {
        let request = ResumeTaskRequest { container_id: id.as_str().to_owned() };
        let mut service = self.client().tasks();
        let reply = service.resume(self.client().request(request));
        within(RUNC, "resume task", id.as_str(), reply).await
    }

    /// One call of Wait.
    async fn wait_once(&self, id: &ContainerId) -> Result<Exit, Error> {
        let request =
            WaitRequest { container_id: id.as_str().to_owned(), ..WaitRequest::default() };
        let mut service = self.client().tasks();
        let reply =
            long_call("wait for task", id.as_str(), service.wait(self.client().request(request)))
                .await?;
        Ok(Exit { code: reply.exit_status, at: timestamp(reply.exited_at) })
    }
}

impl Task {
    /// Reads containerd's process: it carries the container's id as its own.
    pub(super) fn of(process: Process) -> Self {
        let status = match process.status() {
            Status::Created => TaskStatus::Created,
            Status::Running => TaskStatus::Running,
            Status::Stopped => TaskStatus::Stopped,
            Status::Paused | Status::Pausing => TaskStatus::Paused,
            Status::Unknown => TaskStatus::Unknown,
        };
        let exit = (status == TaskStatus::Stopped)
            .then(|| Exit { code: process.exit_status, at: timestamp(process.exited_at) });
        Self { id: ContainerId::new(process.id), pid: process.pid, status, exit }
    }
}

/// The end of a task whose shim died.
pub(super) fn lost() -> Exit {
    Exit { code: LOST, at: time::now().wall }
}

/// containerd's time as ours. Its zero lies before the calendar's start and means "never"; it becomes the epoch.
pub(super) fn timestamp(time: Option<prost_types::Timestamp>) -> Timestamp {
    time.filter(|time| time.seconds > 0)
        .and_then(|time| Timestamp::new(time.seconds, time.nanos).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}
