//! A containerd of one's own below one directory, and `ctr` against it.

use std::fs;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::wait::patiently;

/// A running (or, between [`Containerd::kill`] and [`Containerd::start`], dead) private daemon.
#[derive(Debug)]
pub(crate) struct Containerd {
    /// Where all of it lies.
    dir: PathBuf,
    /// The daemon.
    child: Option<Child>,
}

/// One line of `ctr tasks ls`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Task {
    /// The container's id.
    pub(crate) id: String,
    /// Its process.
    pub(crate) pid: i32,
    /// `RUNNING`, `STOPPED`, …
    pub(crate) status: String,
}

/// The containerd binary; another version can be named, as the matrix does.
pub(crate) fn binary() -> PathBuf {
    tool("PODWARD_TEST_CONTAINERD", "containerd")
}

/// The `ctr` that belongs to it.
fn ctr_binary() -> PathBuf {
    tool("PODWARD_TEST_CTR", "ctr")
}

/// What a variable names, or the plain name.
fn tool(variable: &str, name: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| name.into(), PathBuf::from)
}

impl Containerd {
    /// Writes its configuration below `dir` and starts it.
    pub(crate) fn new(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let at = dir.display();
        fs::write(
            dir.join("config.toml"),
            format!(
                r#"version = 2
root = "{at}/root"
state = "{at}/state"
oom_score = 0
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime",
  "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs", "io.containerd.nri.v1.nri"]
[grpc]
address = "{at}/containerd.sock"
[debug]
level = "warn"
"#
            ),
        )?;
        let mut daemon = Self { dir: dir.into(), child: None };
        daemon.start()?;
        Ok(daemon)
    }

    /// The control socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("containerd.sock")
    }

    /// Where it keeps what a reboot wipes.
    pub(crate) fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// Starts it and waits until it answers.
    pub(crate) fn start(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "containerd runs already");
        let log = fs::File::options().create(true).append(true).open(self.dir.join("log"))?;
        let child = Command::new(binary())
            .arg("--config")
            .arg(self.dir.join("config.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // So that a Ctrl-C at the tests does not reach it before they could clean up.
            .process_group(0)
            .spawn()
            .context("containerd")?;
        self.child = Some(child);
        let socket = self.socket();
        patiently("containerd to answer", Duration::from_secs(20), || {
            let there = UnixStream::connect(&socket).is_ok();
            Ok((there && self.ctr(&["namespaces", "ls", "-q"]).is_ok()).then_some(()))
        })
    }

    /// Ends it by SIGKILL; shims and containers go on.
    pub(crate) fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("containerd does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Runs `ctr` in the namespace `podward` and returns what it printed.
    pub(crate) fn ctr(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(ctr_binary())
            .arg("--address")
            .arg(self.socket())
            .args(["--namespace", "podward"])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .context("ctr")?;
        if !output.status.success() {
            bail!("ctr {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The ids of all containers.
    pub(crate) fn containers(&self) -> Result<Vec<String>> {
        Ok(self.ctr(&["containers", "ls", "-q"])?.lines().map(str::to_owned).collect())
    }

    /// All tasks, by id: containerd lists them in no order.
    pub(crate) fn tasks(&self) -> Result<Vec<Task>> {
        let mut tasks = vec![];
        for line in self.ctr(&["tasks", "ls"])?.lines().skip(1) {
            let [id, pid, status] = line.split_whitespace().collect::<Vec<_>>()[..] else {
                bail!("ctr tasks ls printed {line:?}");
            };
            tasks.push(Task { id: id.into(), pid: pid.parse()?, status: status.into() });
        }
        tasks.sort();
        Ok(tasks)
    }

    /// The snapshots that containers write to; the layers of images are not among them.
    pub(crate) fn active_snapshots(&self) -> Result<Vec<String>> {
        let lines = self.ctr(&["snapshots", "ls"])?;
        let active = lines.lines().skip(1).filter(|line| !line.trim_end().ends_with("Committed"));
        Ok(active.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
    }

    /// The content leases.
    pub(crate) fn leases(&self) -> Result<Vec<String>> {
        Ok(self.ctr(&["leases", "ls", "-q"])?.lines().map(str::to_owned).collect())
    }

    /// The process ids of its shims.
    pub(crate) fn shims(&self) -> Vec<i32> {
        let address = self.socket().display().to_string();
        processes(|command| {
            command.first().is_some_and(|name| name.contains("containerd-shim"))
                && command.contains(&address)
        })
    }

    /// Ends every container and the daemon, for a wiped `/run` or for good.
    pub(crate) fn fell(&mut self) {
        let sockets = shim_sockets(&self.state());
        let mut ids = vec![];
        if self.child.is_some() {
            ids = self.containers().unwrap_or_default();
            for task in self.tasks().unwrap_or_default() {
                let _ = kill(Pid::from_raw(task.pid), Signal::SIGKILL);
            }
            let _ = self.kill();
        }
        for shim in self.shims() {
            // A shim that dies leaves its containers alone: end the children that it still has.
            for child in children(shim) {
                let _ = kill(Pid::from_raw(child), Signal::SIGKILL);
            }
            let _ = kill(Pid::from_raw(shim), Signal::SIGKILL);
        }
        // runc's records lie at one place for all; these were this daemon's.
        for id in ids {
            let _ = fs::remove_dir_all(Path::new("/run/containerd/runc/podward").join(id));
        }
        // And a killed shim leaves its socket.
        for socket in sockets {
            let _ = fs::remove_file(socket);
        }
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.fell();
    }
}

/// The sockets of the shims that a daemon keeps note of below its state directory.
fn shim_sockets(state: &Path) -> Vec<PathBuf> {
    let bundles = state.join("io.containerd.runtime.v2.task/podward");
    let mut found = vec![];
    for bundle in fs::read_dir(bundles).into_iter().flatten().flatten() {
        for name in ["address", "bootstrap.json"] {
            let note = fs::read_to_string(bundle.path().join(name)).unwrap_or_default();
            let address = note.split_once("unix://").map(|(_, rest)| rest);
            let end = |c: char| c == '"' || c.is_whitespace();
            found.extend(address.and_then(|rest| rest.split(end).next()).map(PathBuf::from));
        }
    }
    found
}

/// The processes whose command line satisfies `wanted`.
pub(crate) fn processes(wanted: impl Fn(&[String]) -> bool) -> Vec<i32> {
    let mut found = vec![];
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        let Ok(line) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let line = String::from_utf8_lossy(&line);
        let command: Vec<String> =
            line.split('\0').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        if wanted(&command) {
            found.push(pid);
        }
    }
    found
}

/// The direct children of a process, whichever of its threads made them.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|pid| pid.parse().ok())
        .collect()
}
