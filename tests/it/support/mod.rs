//! The harness: hosts with a containerd, settings and an agent of their own, all below one directory each.
//!
//! Everything goes when a [`Host`] goes, also when its test panics: agent, containers, daemon, mounts, cgroups, files.

pub(crate) mod certs;
pub(crate) mod containerd;
pub(crate) mod http;
pub(crate) mod image;
pub(crate) mod leaks;
pub(crate) mod manifest;
pub(crate) mod oci;
pub(crate) mod page;
pub(crate) mod pod;
pub(crate) mod proxy;
pub(crate) mod registry;
pub(crate) mod rich;
pub(crate) mod scene;
pub(crate) mod set;
pub(crate) mod small_disk;
pub(crate) mod stand_in;
pub(crate) mod tokens;
pub(crate) mod wait;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use containerd::Containerd;
use leaks::leaks;
use pod::Pod;
use wait::{Watch, patiently};

/// Names hosts apart within one process; the process id names processes apart.
static HOSTS: AtomicU32 = AtomicU32::new(0);

/// An address at which nobody listens.
pub(crate) const NOWHERE: &str = "127.0.0.1:1";

/// A host to itself.
#[derive(Debug)]
pub(crate) struct Host {
    /// Where everything lies.
    dir: TempDir,
    /// Its daemon.
    pub(crate) containerd: Containerd,
    /// The parent of its pods' cgroups.
    pub(crate) cgroup: String,
    /// Its agent, while one runs.
    agent: Option<Child>,
    /// Where the agent says that it is ready.
    notify: UnixDatagram,
    /// The settings as they are written to the file.
    settings: Value,
}

/// Runs a test on a fresh host whose agent runs and has the image; then removes every manifest and demands that nothing is left.
pub(crate) fn on_host(test: impl FnOnce(&mut Host) -> Result<()>) -> Result<()> {
    let Some(mut host) = Host::new()? else {
        return Ok(());
    };
    host.offer_image()?;
    host.start_agent()?;
    let outcome = test(&mut host).and_then(|()| host.leave_nothing());
    outcome.map_err(|error| error.context(host.last_words()))
}

/// Whether this machine can run containers; says loudly what is missing, and fails where everything must be there.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
pub(crate) fn able() -> Result<bool> {
    let mut missing = vec![];
    if !nix::unistd::geteuid().is_root() {
        missing.push("root".to_owned());
    }
    for tool in [containerd::binary(), "ctr".into(), "runc".into(), image::BUSYBOX.into()] {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        if !tool.is_absolute() && !places.into_iter().any(|place| place.join(&tool).exists())
            || tool.is_absolute() && !tool.exists()
        {
            missing.push(tool.display().to_string());
        }
    }
    if missing.is_empty() {
        return Ok(true);
    }
    let missing = missing.join(", ");
    ensure!(
        std::env::var_os("CI").is_none(),
        "this machine lacks {missing}, and CI may skip nothing: run `make setup`, as root"
    );
    eprintln!(
        "SKIPPED: this machine lacks {missing}; `make setup` and root bring the integration tests back"
    );
    Ok(false)
}

impl Host {
    /// A host whose containerd runs and whose agent does not yet; none where containers cannot run.
    pub(crate) fn new() -> Result<Option<Self>> {
        if !able()? {
            return Ok(None);
        }
        let dir = tempfile::Builder::new().prefix("podward-it.").tempdir_in("/tmp")?;
        for folder in ["manifests", "state/images", "run", "logs", "containers", "out"] {
            fs::create_dir_all(dir.path().join(folder))?;
        }
        let number = HOSTS.fetch_add(1, Ordering::Relaxed);
        let cgroup = format!("/podward-it-{}-{number}", std::process::id());
        let at = |name: &str| dir.path().join(name);
        let settings = json!({
            "node": {"name": "it-node"},
            "sources": [{"file": {"path": at("manifests")}}],
            "objectsDir": at("objects"),
            "containerd": {
                "address": at("containerd/containerd.sock"),
                "cgroupDriver": "cgroupfs",
            },
            "cgroupParent": cgroup,
            "images": {"hostsDir": at("certs.d"), "authFile": at("auth.json")},
            "paths": {
                "state": at("state"),
                "run": at("run"),
                "podLogs": at("logs"),
                "containerLogs": at("containers"),
            },
        });
        let containerd = Containerd::new(&at("containerd"))?;
        let notify = UnixDatagram::bind(at("notify"))?;
        notify.set_read_timeout(Some(Duration::from_secs(20)))?;
        let host = Self { dir, containerd, cgroup, agent: None, notify, settings };
        // No test asks a registry that is not of this machine.
        host.hosts_toml("_default", &format!("server = \"http://{NOWHERE}\"\n"))?;
        host.write_settings()?;
        Ok(Some(host))
    }

    /// The host's directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A path below the host's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts the image's archive where the agent imports it from.
    pub(crate) fn offer_image(&self) -> Result<()> {
        image::write(&self.path("state/images/busybox.tar"), image::IMAGE)
    }

    // The agent.

    /// The binary under test; benchmarks name the release build.
    pub(crate) fn binary() -> PathBuf {
        std::env::var_os("PODWARD_BIN")
            .map_or_else(|| env!("CARGO_BIN_EXE_podward").into(), PathBuf::from)
    }

    /// The agent's process id.
    #[allow(dead_code, reason = "only the benchmark asks for it")]
    pub(crate) fn agent_pid(&self) -> Result<u32> {
        Ok(self.agent.as_ref().context("the agent does not run")?.id())
    }

    /// Starts the agent and waits until it says that it is ready.
    pub(crate) fn start_agent(&mut self) -> Result<()> {
        self.spawn_agent()?;
        self.await_ready()
    }

    /// Starts the agent without waiting for it.
    pub(crate) fn spawn_agent(&mut self) -> Result<()> {
        ensure!(self.agent.is_none(), "the agent runs already");
        // What a dead agent said is not the next one's word.
        self.notify.set_nonblocking(true)?;
        while self.notify.recv(&mut [0; 512]).is_ok() {}
        self.notify.set_nonblocking(false)?;
        let log = fs::File::options().create(true).append(true).open(self.path("agent.log"))?;
        let agent = Command::new(Self::binary())
            .args(["agent", "--config"])
            .arg(self.path("config.yaml"))
            .env("NOTIFY_SOCKET", self.path("notify"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("podward agent")?;
        self.agent = Some(agent);
        Ok(())
    }

    /// Waits for the agent's READY=1.
    pub(crate) fn await_ready(&mut self) -> Result<()> {
        let mut message = [0; 512];
        loop {
            let length = self.notify.recv(&mut message).context("the agent never said READY=1")?;
            if String::from_utf8_lossy(&message[..length]).lines().any(|line| line == "READY=1") {
                return Ok(());
            }
            if let Some(status) = self.agent.as_mut().and_then(|agent| agent.try_wait().ok()?) {
                bail!("the agent ended with {status} before it was ready");
            }
        }
    }

    /// Ends the agent by SIGKILL.
    pub(crate) fn kill_agent(&mut self) -> Result<()> {
        let mut agent = self.agent.take().context("the agent does not run")?;
        agent.kill()?;
        agent.wait()?;
        Ok(())
    }

    /// Ends the agent as systemd would, and waits until it is gone.
    pub(crate) fn stop_agent(&mut self) -> Result<()> {
        let mut agent = self.agent.take().context("the agent does not run")?;
        let pid = nix::unistd::Pid::from_raw(i32::try_from(agent.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        patiently("the agent to stop", Duration::from_secs(20), || Ok(agent.try_wait()?))
            .map(|_| ())
    }

    /// Kills the agent and starts it again.
    pub(crate) fn restart_agent(&mut self) -> Result<()> {
        self.kill_agent()?;
        self.start_agent()
    }

    /// Does to this host what a reboot does: every process gone, `/run` and mounts gone, state kept.
    pub(crate) fn reboot(&mut self) -> Result<()> {
        if self.agent.is_some() {
            self.kill_agent()?;
        }
        self.containerd.fell();
        let containerd = &self.containerd;
        patiently("the shims to end", Duration::from_secs(10), || {
            Ok(containerd.shims().is_empty().then_some(()))
        })?;
        leaks::unmount_below(self.dir.path());
        for folder in [self.path("run"), self.containerd.state()] {
            fs::remove_dir_all(&folder)?;
            fs::create_dir_all(&folder)?;
        }
        leaks::remove_cgroups(&self.cgroup);
        self.containerd.start()?;
        self.start_agent()
    }

    // What an operator writes.

    /// Lays a file into the manifests directory, whole or not at all.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        let partial = self.path(&format!("{name}.partial"));
        fs::write(&partial, text)?;
        fs::rename(partial, self.path("manifests").join(name))?;
        Ok(())
    }

    /// Takes a file out of the manifests directory.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        fs::remove_file(self.path("manifests").join(name)).context(name.to_owned())
    }

    /// Writes a registry's `hosts.toml`.
    pub(crate) fn hosts_toml(&self, registry: &str, text: &str) -> Result<()> {
        let folder = self.path("certs.d").join(registry);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("hosts.toml"), text)?;
        Ok(())
    }

    /// Says that a registry's name stands for a plain server at this address. containerd 1.6 insists on a table of hosts.
    pub(crate) fn serves(&self, registry: &str, address: SocketAddr) -> Result<()> {
        self.hosts_toml(registry, &format!("server = \"http://{address}\"\n[host]\n"))
    }

    /// Changes a top-level part of the settings while the agent runs.
    pub(crate) fn configure(&mut self, key: &str, mut value: Value) -> Result<()> {
        if key == "images" {
            // Whatever a test is about, this machine's own registries and credentials are not.
            for kept in ["hostsDir", "authFile"] {
                if value[kept].is_null() {
                    value[kept] = self.settings[key][kept].clone();
                }
            }
        }
        self.settings[key] = value;
        self.write_settings()
    }

    /// Gives the node labels and taints.
    pub(crate) fn describe_node(&mut self, labels: &Value, taints: &Value) -> Result<()> {
        self.configure("node", json!({"name": "it-node", "labels": labels, "taints": taints}))
    }

    /// Writes the settings' file in one step.
    fn write_settings(&self) -> Result<()> {
        let partial = self.path("config.partial");
        fs::write(&partial, format!("{:#}\n", self.settings))?;
        fs::rename(partial, self.path("config.yaml"))?;
        Ok(())
    }

    // What an operator sees.

    /// The command line, ready to run.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(Self::binary());
        command
            .args(arguments)
            .env("PODWARD_SOCKET", self.path("run/podward.sock"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// Runs the command line, whatever comes of it; one that hangs is ended after a minute, and is a failure.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<Output> {
        let plain = self.command(arguments);
        let mut bounded = Command::new("timeout");
        bounded.args(["--kill-after=2", "60"]).arg(plain.get_program()).args(plain.get_args());
        for (name, value) in plain.get_envs() {
            bounded.env(name, value.unwrap_or_default());
        }
        let output = bounded.stdin(Stdio::null()).output().context("podward")?;
        ensure!(
            output.status.code() != Some(124),
            "podward {}: no answer within a minute",
            arguments.join(" ")
        );
        Ok(output)
    }

    /// Runs the command line, which must succeed, and returns what it printed.
    pub(crate) fn podward(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "podward {}: {}: {errors}",
            arguments.join(" "),
            output.status
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The objects of one kind, in all namespaces.
    pub(crate) fn objects(&self, kind: &str) -> Result<Vec<Value>> {
        let text = self.podward(&["get", kind, "-A", "-o", "json"])?;
        let list: Value =
            serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))?;
        Ok(list["items"].as_array().cloned().unwrap_or_else(|| vec![list]))
    }

    /// All pods.
    pub(crate) fn pods(&self) -> Result<Vec<Pod>> {
        Ok(self.objects("pods")?.into_iter().map(Pod).collect())
    }

    /// The pods of a set.
    pub(crate) fn pods_of(&self, set: &str) -> Result<Vec<Pod>> {
        Ok(self.pods()?.into_iter().filter(|pod| pod.set() == set).collect())
    }

    /// Whether an event with this reason is there whose message contains `words`.
    pub(crate) fn has_event(&self, reason: &str, words: &str) -> Result<bool> {
        Ok(self.objects("events")?.iter().any(|event| {
            event["reason"] == reason
                && event["message"].as_str().is_some_and(|message| message.contains(words))
        }))
    }

    /// Waits until `check` finds something, looking at each change of the pods.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        check: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        Watch::start(self.command(&["get", "pods", "-A", "-w"]))?.until(what, check)
    }

    /// Waits until the one pod of a set satisfies `check`.
    pub(crate) fn until_pod(
        &self,
        set: &str,
        what: &str,
        mut check: impl FnMut(&Pod) -> bool,
    ) -> Result<Pod> {
        let mut last = vec![];
        let found = self.until(&format!("the pod of {set} to be {what}"), || {
            last = self.pods_of(set)?;
            Ok(match &last[..] {
                [pod] if check(pod) => Some(pod.clone()),
                _ => None,
            })
        });
        found.with_context(|| {
            let shown: Vec<String> =
                last.iter().map(|pod| format!("{:#}", pod.0["status"])).collect();
            format!("the pods of {set} at the end: {}", shown.join("\n"))
        })
    }

    /// Waits until the one pod of a set runs.
    pub(crate) fn running(&self, set: &str) -> Result<Pod> {
        self.until_pod(set, "running", Pod::running)
    }

    /// Waits until the one pod of a set is ready.
    pub(crate) fn ready(&self, set: &str) -> Result<Pod> {
        self.until_pod(set, "ready", Pod::ready)
    }

    /// Waits until a set has no pod any more.
    pub(crate) fn gone(&self, set: &str) -> Result<()> {
        self.until(&format!("the pods of {set} to be gone"), || {
            Ok(self.pods_of(set)?.is_empty().then_some(()))
        })
    }

    /// Waits until a file that a container writes contains `words`, and returns it.
    pub(crate) fn reads(path: &Path, words: &str) -> Result<String> {
        patiently(&format!("{words:?} in {}", path.display()), wait::PATIENCE, || {
            Ok(fs::read_to_string(path).ok().filter(|text| text.contains(words)))
        })
    }

    /// The process of a running container.
    pub(crate) fn pid_of(&self, id: &str) -> Result<i32> {
        let tasks = self.containerd.tasks()?;
        let task = tasks.iter().find(|task| task.id == id && task.status == "RUNNING");
        Ok(task.with_context(|| format!("no running task {id} in {tasks:?}"))?.pid)
    }

    /// The one log file of a container's attempt.
    pub(crate) fn log_path(&self, pod: &Pod, container: &str, attempt: u64) -> PathBuf {
        let name = format!("default_{}_{}", pod.name(), pod.uid());
        self.path("logs").join(name).join(container).join(format!("{attempt}.log"))
    }

    // The end.

    /// Removes every manifest and demands that nothing of any pod is left.
    pub(crate) fn leave_nothing(&mut self) -> Result<()> {
        fs::create_dir_all(self.path("manifests"))?;
        for entry in fs::read_dir(self.path("manifests"))? {
            let path = entry?.path();
            if path.is_dir() && !path.is_symlink() {
                fs::remove_dir_all(path)?;
            } else {
                fs::remove_file(path)?;
            }
        }
        if self.agent.is_none() {
            self.start_agent()?;
        }
        let mut left = vec![];
        let clean = self.until("nothing to be left", || {
            left = self.leaks()?;
            left.extend(self.pods()?.iter().map(|pod| format!("pod {}", pod.name())));
            Ok(left.is_empty().then_some(()))
        });
        clean.with_context(|| format!("left behind:\n  {}", left.join("\n  ")))
    }

    /// What is left of pods.
    pub(crate) fn leaks(&self) -> Result<Vec<String>> {
        leaks(&self.containerd, self.dir.path(), &self.cgroup)
    }

    /// The end of the agent's log, for a failure's report.
    pub(crate) fn last_words(&self) -> String {
        let log = fs::read_to_string(self.path("agent.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(30)..];
        format!("the agent said last:\n{}", tail.join("\n"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.agent.is_some() {
            let _ = self.kill_agent();
        }
        self.containerd.fell();
        let containerd = &self.containerd;
        let _ = patiently("the shims to end", Duration::from_secs(5), || {
            Ok(containerd.shims().is_empty().then_some(()))
        });
        leaks::unmount_below(self.dir.path());
        leaks::remove_cgroups(&self.cgroup);
    }
}
