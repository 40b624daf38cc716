//! Execs: commands in a running container, beside its own process.

use std::{fmt, path::PathBuf, sync::Arc};

use containerd_client::services::v1::{
    CloseIoRequest, DeleteProcessRequest, ExecProcessRequest, GetRequest, KillRequest,
    ResizePtyRequest, StartRequest, WaitRequest,
};
use prost_types::Any;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Containerd,
    client::{call, long_call, within},
    error::{Class, Error},
    remove::{DEATH, KILL},
    tasks::{Exit, RUNC, Task, lost, timestamp},
};
use crate::base::ids::{ContainerId, ExecId};

/// The type of an exec's process; a bare name, as with a container's spec.
const PROCESS_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";

/// A container's own process, as its spec has it. Its environment may hold secrets: `Debug` tells nothing of it.
#[derive(Clone, Default)]
pub(super) struct OwnProcess(Arc<Map<String, Value>>);

impl fmt::Debug for OwnProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnProcess")
    }
}

/// A command to be run in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewExec {
    /// The container.
    pub container: ContainerId,
    /// The command's id.
    pub id: ExecId,
    /// The argument vector.
    pub args: Vec<String>,
    /// The terminal that it gets, if it gets one; then there is no standard error of its own.
    pub terminal: Option<Terminal>,
    /// The named pipe that it reads; nothing to read without one.
    pub stdin: Option<PathBuf>,
    /// The named pipe of its output.
    pub stdout: PathBuf,
    /// The named pipe of its errors, which may be that of its output.
    pub stderr: PathBuf,
}

/// A terminal as a command sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminal {
    /// The value of `TERM`.
    pub term: String,
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

impl Containerd {
    /// Makes a command ready to start. It runs as the container's own process does: user, environment, capabilities,
    /// directory and limits are those of the container's spec.
    pub async fn create_exec(&self, new: &NewExec) -> Result<(), Error> {
        let own = self.own_process(&new.container).await?;
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let request = ExecProcessRequest {
            container_id: new.container.as_str().to_owned(),
            exec_id: new.id.as_str().to_owned(),
            stdin: new.stdin.as_ref().map(path).unwrap_or_default(),
            stdout: path(&new.stdout),
            stderr: if new.terminal.is_some() { String::new() } else { path(&new.stderr) },
            terminal: new.terminal.is_some(),
            spec: Some(Any { type_url: PROCESS_TYPE.to_owned(), value: process(&own.0, new) }),
        };
        let mut service = self.client().tasks();
        let reply = service.exec(self.client().request(request));
        call("prepare exec", new.id.as_str(), reply).await
    }

    /// The process of a container's spec. A run of a container keeps it to its end, and probes ask for it every few
    /// seconds, so it is remembered.
    async fn own_process(&self, container: &ContainerId) -> Result<OwnProcess, Error> {
        /// Of how many containers it is remembered.
        const REMEMBERED: usize = 256;
        /// The one part of a runtime spec that matters here.
        #[derive(Default, Deserialize)]
        struct Spec {
            /// The container's own process.
            #[serde(default)]
            process: Map<String, Value>,
        }
        let processes =
            || self.shared.processes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = processes().get(container) {
            return Ok(known.clone());
        }
        // Of a container without a record containerd says, when it is asked for the exec, that it is missing.
        let Some(spec) = self.spec_json(container).await? else { return Ok(OwnProcess::default()) };
        let spec = serde_json::from_slice::<Spec>(&spec).unwrap_or_default();
        let own = OwnProcess(Arc::new(spec.process));
        let mut processes = processes();
        if processes.len() >= REMEMBERED {
            processes.clear();
        }
        processes.insert(container.clone(), own.clone());
        Ok(own)
    }

    /// Starts a command and returns its process on this host.
    pub async fn start_exec(&self, container: &ContainerId, id: &ExecId) -> Result<u32, Error> {
        let request = StartRequest {
            container_id: container.as_str().to_owned(),
            exec_id: id.as_str().to_owned(),
        };
        let mut service = self.client().tasks();
        let reply = service.start(self.client().request(request));
        Ok(within(RUNC, "start exec", id.as_str(), reply).await?.pid)
    }

    /// Waits for a command's end. Class `Unavailable`: containerd went away, wait again later. A command that went with
    /// its container or its shim counts as killed.
    pub async fn wait_exec(&self, container: &ContainerId, id: &ExecId) -> Result<Exit, Error> {
        let request = WaitRequest {
            container_id: container.as_str().to_owned(),
            exec_id: id.as_str().to_owned(),
        };
        let mut service = self.client().tasks();
        let reply = service.wait(self.client().request(request));
        match long_call("wait for exec", id.as_str(), reply).await {
            Ok(reply) => Ok(Exit { code: reply.exit_status, at: timestamp(reply.exited_at) }),
            Err(error) if matches!(error.class(), Class::Missing | Class::Other) => Ok(lost()),
            Err(error) => Err(error),
        }
    }

    /// What a command does; `None` when there is none of that id, or no container.
    pub async fn exec(&self, container: &ContainerId, id: &ExecId) -> Result<Option<Task>, Error> {
        let request = GetRequest {
            container_id: container.as_str().to_owned(),
            exec_id: id.as_str().to_owned(),
        };
        let mut service = self.client().tasks();
        let reply = service.get(self.client().request(request));
        match call("read exec", id.as_str(), reply).await {
            Ok(reply) => Ok(reply.process.map(Task::of)),
            Err(error) if error.class() == Class::Missing => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a signal to a command's process; one that has ended has what a signal wants.
    pub async fn kill_exec(
        &self,
        container: &ContainerId,
        id: &ExecId,
        signal: u32,
    ) -> Result<(), Error> {
        let request = KillRequest {
            container_id: container.as_str().to_owned(),
            exec_id: id.as_str().to_owned(),
            signal,
            all: false,
        };
        let mut service = self.client().tasks();
        let reply = service.kill(self.client().request(request));
        done(within(RUNC, "kill exec", id.as_str(), reply).await)
    }

    /// Forgets a command, which is killed if it runs; a missing one is success.
    pub async fn remove_exec(&self, container: &ContainerId, id: &ExecId) -> Result<(), Error> {
        match self.delete_exec(container, id).await {
            Err(error) if error.class() == Class::Other => {}
            outcome => return outcome,
        }
        self.kill_exec(container, id, KILL).await?;
        match tokio::time::timeout(DEATH, self.wait_exec(container, id)).await {
            Ok(ended) => drop(ended?),
            Err(_) => {
                return Err(Error::Silent {
                    operation: "wait for the end of killed exec",
                    subject: id.as_str().to_owned(),
                    within: DEATH,
                });
            }
        }
        self.delete_exec(container, id).await
    }

    /// Tells a command's terminal how large it is.
    pub async fn resize_exec(
        &self,
        container: &ContainerId,
        id: &ExecId,
        (width, height): (u16, u16),
    ) -> Result<(), Error> {
        let request = ResizePtyRequest {
            container_id: container.as_str().to_owned(),
            exec_id: id.as_str().to_owned(),
            width: u32::from(width),
            height: u32::from(height),
        };
        let mut service = self.client().tasks();
        let reply = service.resize_pty(self.client().request(request));
        done(call("resize exec", id.as_str(), reply).await)
    }

    /// Lets a command see the end of its input, once what is in the pipe is read: the shim holds it open until then.
    pub async fn close_exec_input(
        &self,
        container: &ContainerId,
        id: &ExecId,
    ) -> Result<(), Error> {
        let request = CloseIoRequest {
            container_id: container.as_str().to_owned(),
            exec_id: id.as_str().to_owned(),
            stdin: true,
        };
        let mut service = self.client().tasks();
        let reply = service.close_io(self.client().request(request));
        done(call("close the input of exec", id.as_str(), reply).await)
    }

    /// Forgets a command that does not run.
    async fn delete_exec(&self, container: &ContainerId, id: &ExecId) -> Result<(), Error> {
        let request = DeleteProcessRequest {
            container_id: container.as_str().to_owned(),
            exec_id: id.as_str().to_owned(),
        };
        let mut service = self.client().tasks();
        let reply = service.delete_process(self.client().request(request));
        done(within(RUNC, "delete exec", id.as_str(), reply).await)
    }
}

/// An answer where a missing process is as good as success.
fn done<T>(answer: Result<T, Error>) -> Result<(), Error> {
    match answer {
        Err(error) if error.class() != Class::Missing => Err(error),
        _ => Ok(()),
    }
}

/// The OCI process of a command: the container's own, with other words and perhaps a terminal.
fn process(own: &Map<String, Value>, new: &NewExec) -> Vec<u8> {
    let mut process = own.clone();
    process.insert("args".into(), json!(new.args));
    process.insert("terminal".into(), json!(new.terminal.is_some()));
    process.remove("consoleSize");
    if let Some(Terminal { term, width, height }) = &new.terminal {
        process.insert("consoleSize".into(), json!({ "width": width, "height": height }));
        let mut env: Vec<Value> =
            process.get("env").and_then(Value::as_array).cloned().unwrap_or_default();
        env.retain(|entry| !entry.as_str().is_some_and(|entry| entry.starts_with("TERM=")));
        env.push(json!(format!("TERM={term}")));
        process.insert("env".into(), Value::Array(env));
    }
    Value::Object(process).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(terminal: Option<Terminal>) -> NewExec {
        NewExec {
            container: ContainerId::new("c"),
            id: ExecId::new("e"),
            args: vec!["ls".into()],
            terminal,
            stdin: None,
            stdout: PathBuf::new(),
            stderr: PathBuf::new(),
        }
    }

    #[test]
    fn a_command_runs_as_its_container_does() {
        let own = json!({
            "args": ["sh"], "env": ["A=1", "TERM=dumb"], "cwd": "/w", "user": {"uid": 7},
            "noNewPrivileges": true, "terminal": true, "consoleSize": {"width": 1, "height": 1},
        });
        let made = |terminal| -> Value {
            let own = own.as_object().unwrap();
            serde_json::from_slice(&process(own, &new(terminal))).unwrap()
        };
        let plain = json!({
            "args": ["ls"], "env": ["A=1", "TERM=dumb"], "cwd": "/w", "user": {"uid": 7},
            "noNewPrivileges": true, "terminal": false,
        });
        assert_eq!(made(None), plain);
        let terminal = Terminal { term: "xterm".into(), width: 80, height: 25 };
        let with = made(Some(terminal));
        assert_eq!(with["env"], json!(["A=1", "TERM=xterm"]));
        assert_eq!(with["consoleSize"], json!({"width": 80, "height": 25}));
        assert_eq!(with["terminal"], true);
    }
}
