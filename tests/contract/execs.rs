//! Commands in a running container, proved on a real containerd.

use std::{fs, path::PathBuf, time::Duration};

use podward::testing::{
    ContainerId, ExecId,
    containerd::{Class, Containerd, NewContainer, NewExec, Stdio, TaskStatus, Terminal},
    fifos::{self, Ends},
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    daemon::{Daemon, daemon, processes_of, shell, spec},
    images::busybox,
};

/// A container that stays, and what commands need.
struct Stage {
    client: Containerd,
    container: ContainerId,
    run: PathBuf,
}

impl Stage {
    async fn set(daemon: &Daemon) -> Self {
        let client = daemon.ready().await;
        let chain = busybox(daemon, &client).await;
        let container = daemon.id("stage");
        let stay = "trap 'exit 0' TERM; export INNER=no; while :; do sleep 1000 & wait; done";
        let mut spec = spec(stay, &[]);
        // Terminals want these two.
        spec["mounts"] = json!([
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]},
        ]);
        let spec_json = spec.to_string().into_bytes();
        let new = NewContainer { spec_json, ..shell(&container, &chain, "") };
        client.create_container(&new).await.unwrap();
        let mounts = client.prepare_snapshot(&container, &chain).await.unwrap();
        client.create_task(&container, mounts, &Stdio::default()).await.unwrap();
        client.start_task(&container).await.unwrap();
        Self { client, container, run: daemon.path("run") }
    }

    /// Makes a command and its pipes.
    async fn make(
        &self,
        id: &str,
        script: &str,
        stdin: bool,
        terminal: Option<Terminal>,
    ) -> (ExecId, Ends) {
        let id = ExecId::new(id);
        let dir = fifos::dir(&self.run, "main", 0, &id);
        fifos::make(&dir, stdin, true).unwrap();
        let ends = Ends::open(&dir).unwrap();
        let new = NewExec {
            container: self.container.clone(),
            id: id.clone(),
            args: ["/bin/busybox", "sh", "-c", script].map(str::to_owned).into(),
            terminal,
            stdin: stdin.then(|| dir.join("in")),
            stdout: dir.join("out"),
            stderr: dir.join("err"),
        };
        self.client.create_exec(&new).await.unwrap();
        assert_eq!(self.client.create_exec(&new).await.unwrap_err().class(), Class::Exists);
        (id, ends)
    }

    /// Makes a command and starts it.
    async fn start(
        &self,
        id: &str,
        script: &str,
        stdin: bool,
        terminal: Option<Terminal>,
    ) -> (ExecId, Ends) {
        let (id, mut ends) = self.make(id, script, stdin, terminal).await;
        let pid = self.client.start_exec(&self.container, &id).await.unwrap();
        assert!(pid > 1);
        ends.begun();
        (id, ends)
    }

    async fn code(&self, id: &ExecId) -> u32 {
        self.client.wait_exec(&self.container, id).await.unwrap().code
    }

    async fn status(&self, id: &ExecId) -> Option<TaskStatus> {
        self.client.exec(&self.container, id).await.unwrap().map(|it| it.status)
    }

    async fn remove(&self, id: &ExecId) {
        self.client.remove_exec(&self.container, id).await.unwrap();
        self.client.remove_exec(&self.container, id).await.unwrap();
        assert_eq!(self.status(id).await, None);
    }

    async fn clear(self, daemon: &Daemon) {
        // The container's own, and its sleep, which a slow machine may not have begun yet.
        let left = || processes_of(&self.container).len();
        let begun = async {
            while left() < 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), begun).await.unwrap();
        assert_eq!(left(), 2);
        self.client.remove_container(&self.container).await.unwrap();
        daemon.assert_empty();
    }
}

async fn whole(receiver: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut text = String::new();
    receiver.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn a_command_has_its_containers_process_and_streams_of_its_own() {
    let Some(daemon) = daemon().await else { return };
    let stage = Stage::set(&daemon).await;
    let script = "echo out $PATH $INNER; echo err >&2; cat; exit 7";
    let (id, mut ends) = stage.make("plain", script, true, None).await;
    assert_eq!(stage.status(&id).await, Some(TaskStatus::Created));
    stage.client.start_exec(&stage.container, &id).await.unwrap();
    ends.begun();
    assert_eq!(stage.status(&id).await, Some(TaskStatus::Running));
    let mut stdin = ends.stdin.take().unwrap();
    stdin.write_all(b"in").await.unwrap();
    drop(stdin);
    stage.client.close_exec_input(&stage.container, &id).await.unwrap();
    // The end of each stream comes by itself.
    assert_eq!(whole(&mut ends.stdout).await, "out /bin\nin");
    assert_eq!(whole(ends.stderr.as_mut().unwrap()).await, "err\n");
    assert_eq!(stage.code(&id).await, 7);
    assert_eq!(stage.status(&id).await, Some(TaskStatus::Stopped));
    stage.client.kill_exec(&stage.container, &id, 15).await.unwrap();
    assert_eq!(stage.code(&id).await, 7, "whoever comes late learns it too");
    stage.remove(&id).await;
    stage.clear(&daemon).await;
}

#[tokio::test]
async fn a_terminal_has_a_size_that_can_change() {
    let Some(daemon) = daemon().await else { return };
    let stage = Stage::set(&daemon).await;
    let terminal = Terminal { term: "vt100".into(), width: 90, height: 30 };
    let script = "echo $TERM; read line; stty size; tty";
    let (id, mut ends) = stage.start("tty", script, true, Some(terminal)).await;
    stage.client.resize_exec(&stage.container, &id, (77, 33)).await.unwrap();
    ends.stdin.as_mut().unwrap().write_all(b"x\r").await.unwrap();
    let said = whole(&mut ends.stdout).await;
    assert!(said.starts_with("vt100\r\n") && said.contains("\r\n33 77\r\n/dev/pts/"), "{said:?}");
    assert_eq!(stage.code(&id).await, 0);
    stage.remove(&id).await;
    stage.client.resize_exec(&stage.container, &id, (1, 1)).await.unwrap();
    stage.clear(&daemon).await;
}

#[tokio::test]
async fn a_command_is_removed_from_every_state() {
    let Some(daemon) = daemon().await else { return };
    let stage = Stage::set(&daemon).await;
    let (made, _ends) = stage.make("made", "true", false, None).await;
    stage.remove(&made).await;
    let (deaf, mut ends) =
        stage.start("deaf", "trap '' TERM; echo; exec sleep 1000", false, None).await;
    // The line tells that the shell does not hear TERM any more; before it, TERM would end it.
    ends.stdout.read_u8().await.unwrap();
    stage.client.kill_exec(&stage.container, &deaf, 15).await.unwrap();
    assert_eq!(stage.status(&deaf).await, Some(TaskStatus::Running));
    stage.remove(&deaf).await;
    drop(ends);
    stage.clear(&daemon).await;
}

#[tokio::test]
async fn what_cannot_start_says_why_and_can_be_removed() {
    let Some(daemon) = daemon().await else { return };
    let stage = Stage::set(&daemon).await;
    let id = ExecId::new("missing");
    let dir = fifos::dir(&stage.run, "main", 0, &id);
    fifos::make(&dir, false, false).unwrap();
    let _ends = Ends::open(&dir).unwrap();
    let new = NewExec {
        container: stage.container.clone(),
        id: id.clone(),
        args: vec!["nothing-of-that-name".into()],
        terminal: None,
        stdin: None,
        stdout: dir.join("out"),
        stderr: dir.join("out"),
    };
    stage.client.create_exec(&new).await.unwrap();
    let error = stage.client.start_exec(&stage.container, &id).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("executable file not found in $PATH"), "{source}");
    stage.remove(&id).await;
    let nowhere = NewExec { container: ContainerId::new("nobody"), ..new };
    assert_eq!(stage.client.create_exec(&nowhere).await.unwrap_err().class(), Class::Missing);
    stage.clear(&daemon).await;
}

#[tokio::test]
async fn a_command_outlives_containerd_and_ends_with_its_container() {
    let Some(mut daemon) = daemon().await else { return };
    let stage = Stage::set(&daemon).await;
    let (long, ends) = stage.start("long", "exec sleep 1000", false, None).await;
    daemon.kill();
    let away = stage.client.wait_exec(&stage.container, &long).await.unwrap_err();
    assert_eq!(away.class(), Class::Unavailable);
    daemon.revive().await;
    assert_eq!(stage.status(&long).await, Some(TaskStatus::Running));
    let (client, container) = (stage.client.clone(), stage.container.clone());
    let waiting = tokio::spawn(async move { client.wait_exec(&container, &long).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    stage.client.remove_container(&stage.container).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().code, 137);
    drop(ends);
    fs::remove_dir_all(&stage.run).unwrap();
    daemon.assert_empty();
}
