//! A host: a machine with a containerd, settings, state and an agent of its own.

use std::fs;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::machine::{Booting, Machine, said};
use crate::support;
use crate::support::NOWHERE;
use crate::support::containerd::children;
use crate::support::pod::Pod;
use crate::support::set::{Set, merge};
use crate::support::wait::{PATIENCE, Watch, patiently};

/// A host of a fleet.
#[derive(Debug)]
pub(crate) struct Host {
    /// Its name, which is also its node's.
    pub(crate) name: String,
    /// Where everything of it lies; the same path inside and outside.
    dir: PathBuf,
    /// Its number, from 1.
    number: usize,
    /// The parent of all cgroups of the fleet.
    group: String,
    /// On its way up.
    booting: Option<Booting>,
    /// The machine, while it is up.
    machine: Option<Machine>,
    /// How often it was linked to the hub: the kernel takes a while to forget the name of a dead host's link.
    links: usize,
    /// Whether the link to the hub is pulled.
    cut: bool,
    /// The `nsenter` that waits for the agent, while one runs.
    agent: Option<Child>,
    /// Where the agent says that it is ready.
    notify: UnixDatagram,
    /// The settings as they are written to the file.
    settings: Value,
}

/// A container's process; one that was started again differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Running {
    /// The container's id in containerd.
    pub(crate) id: String,
    /// Its process on the host.
    pub(crate) pid: i32,
    /// When the kernel started it, in its ticks.
    pub(crate) started: u64,
}

impl Host {
    /// Lays out the directories and settings of a host.
    pub(super) fn new(
        fleet: &Path,
        number: usize,
        group: &str,
        archive: &Path,
        settings: &Value,
    ) -> Result<Self> {
        let name = format!("h{number}");
        let dir = fleet.join(&name);
        for folder in ["manifests", "objects", "state/images", "logs", "certs.d/_default"] {
            fs::create_dir_all(dir.join(folder))?;
        }
        let at = |name: &str| dir.join(name);
        fs::hard_link(archive, at("state/images/busybox.tar"))?;
        fs::write(at("containerd.toml"), containerd_config(&dir))?;
        fs::write(at("certs.d/_default/hosts.toml"), format!("server = \"http://{NOWHERE}\"\n"))?;
        let mut all = json!({
            "sources": [{"file": {"path": at("manifests")}}],
            "objectsDir": at("objects"),
            "containerd": {"cgroupDriver": "cgroupfs"},
            "images": {
                "hostsDir": at("certs.d"), "authFile": at("auth.json"), "gcHighThresholdPercent": 100,
            },
            "paths": {
                "state": at("state"), "run": "/run/podward",
                "podLogs": at("logs"), "containerLogs": at("containers"),
            },
        });
        if settings.get("etcd").is_some() {
            all["sources"] = json!([{"file": {"path": at("manifests")}}, {"etcd": {}}]);
        }
        merge(&mut all, settings);
        let notify = UnixDatagram::bind(at("notify"))?;
        notify.set_read_timeout(Some(Duration::from_millis(300)))?;
        let group = group.to_owned();
        let host = Self {
            name,
            dir,
            number,
            group,
            booting: None,
            machine: None,
            links: 0,
            cut: false,
            agent: None,
            notify,
            settings: all,
        };
        host.write_settings()?;
        Ok(host)
    }

    /// A path below the host's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The machine.
    pub(crate) fn machine(&self) -> Result<&Machine> {
        self.machine.as_ref().with_context(|| format!("{} is down", self.name))
    }

    // The machine.

    /// Asks the machine to boot.
    pub(super) fn boot(&mut self) -> Result<()> {
        ensure!(self.machine.is_none(), "{} is up already", self.name);
        self.booting = Some(Machine::boot(&self.name, &self.dir, &self.group)?);
        Ok(())
    }

    /// Waits until the machine is up, links it to the hub, and waits for its containerd.
    pub(super) fn up(&mut self, hub: &Machine) -> Result<()> {
        let booting = self.booting.take().context("the machine was not asked to boot")?;
        let machine = booting
            .up()
            .with_context(|| fs::read_to_string(self.path("boot.log")).unwrap_or_default())?;
        self.links += 1;
        let (link, leader) = (self.link(), machine.leader);
        let state = if self.cut { "down" } else { "up" };
        hub.ip(&format!(
            "link add {link} type veth peer name eth0 netns {leader}\nlink set {link} master br0 {state}\n"
        ))?;
        machine.ip(&format!(
            "addr add {}/24 dev eth0\nlink set eth0 up\nroute add default via 10.88.0.1\n",
            self.address()
        ))?;
        let socket = machine.path("/run/containerd/containerd.sock");
        self.machine = Some(machine);
        patiently("containerd to answer", PATIENCE, || Ok(UnixStream::connect(&socket).ok()))?;
        Ok(())
    }

    /// The hub's end of the link.
    fn link(&self) -> String {
        format!("v{}-{}", self.number, self.links)
    }

    /// Its address in the fleet's network.
    pub(crate) fn address(&self) -> String {
        format!("10.88.0.{}", 10 + self.number)
    }

    /// Pulls the plug: everything on the host ends by SIGKILL.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.machine.take().context("the host is down already")?.kill()?;
        if let Some(mut agent) = self.agent.take() {
            agent.wait()?;
        }
        Ok(())
    }

    /// Begins to end everything on the host.
    pub(super) fn doom(&mut self) {
        if let Some(machine) = &self.machine {
            machine.doom();
        }
    }

    /// Pulls the link to the hub.
    pub(super) fn cut(&mut self, hub: &Machine) -> Result<()> {
        self.cut = true;
        // A host that is down has no link; it boots without one.
        if self.machine.is_some() {
            hub.ip(&format!("link set {} down\n", self.link()))
        } else {
            Ok(())
        }
    }

    /// Puts the link to the hub back.
    pub(super) fn heal(&mut self, hub: &Machine) -> Result<()> {
        self.cut = false;
        hub.ip(&format!("link set {} up\n", self.link()))
    }

    // The agent.

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
        let agent = self
            .podward_command()?
            .args(["agent", "--config"])
            .arg(self.path("config.yaml"))
            .env("NOTIFY_SOCKET", self.path("notify"))
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
        let agent = self.agent.as_mut().context("the agent does not run")?;
        let (notify, mut message) = (&self.notify, [0; 512]);
        let ready = patiently("READY=1", PATIENCE, || {
            if let Some(status) = agent.try_wait()? {
                bail!("the agent ended with {status}");
            }
            let length = notify.recv(&mut message).unwrap_or(0);
            let said = String::from_utf8_lossy(&message[..length]);
            Ok(said.lines().any(|line| line == "READY=1").then_some(()))
        });
        ready.with_context(|| self.last_words())
    }

    /// Ends the agent by SIGKILL; what it started stays.
    pub(crate) fn kill_agent(&mut self) -> Result<()> {
        let mut agent = self.agent.take().context("the agent does not run")?;
        for inner in children(i32::try_from(agent.id())?) {
            let _ = kill(Pid::from_raw(inner), Signal::SIGKILL);
        }
        agent.wait()?;
        Ok(())
    }

    /// Kills the agent and starts it again.
    pub(crate) fn restart_agent(&mut self) -> Result<()> {
        self.kill_agent()?;
        self.start_agent()
    }

    // What an operator does and sees on the host.

    /// `podward` on the host.
    fn podward_command(&self) -> Result<Command> {
        let binary = support::Host::binary();
        let mut command = self.machine()?.command(&binary.display().to_string());
        command.env("NO_COLOR", "1");
        Ok(command)
    }

    /// Runs a program on the host, whatever comes of it.
    pub(crate) fn exec(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        self.machine()?
            .command(program)
            .args(arguments)
            .output()
            .with_context(|| program.to_owned())
    }

    /// Runs `podward` on the host with the host's settings, whatever comes of it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<Output> {
        self.podward_command()?
            .args(arguments)
            .arg("--config")
            .arg(self.path("config.yaml"))
            .output()
            .context("podward")
    }

    /// `podward` that speaks with the host's agent alone, from outside, which costs less than to go there.
    fn local(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(support::Host::binary());
        command
            .args(arguments)
            .env("PODWARD_SOCKET", self.machine()?.path("/run/podward/podward.sock"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Asks the host's agent something, which must succeed, and returns what was printed.
    pub(crate) fn podward(&self, arguments: &[&str]) -> Result<String> {
        let output = self.local(arguments)?.output().context("podward")?;
        said(&format!("{}: podward {}", self.name, arguments.join(" ")), &output)
    }

    /// Lays a file into the manifests directory, whole or not at all.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        let partial = self.path("partial");
        fs::write(&partial, text)?;
        fs::rename(partial, self.path("manifests").join(name))?;
        Ok(())
    }

    /// Gives the host a set of its own.
    pub(crate) fn wants(&self, set: &str) -> Result<()> {
        self.write(&format!("{set}.yaml"), &Set::named(set).text())
    }

    /// Takes a file out of the manifests directory.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        fs::remove_file(self.path("manifests").join(name)).context(name.to_owned())
    }

    /// Writes the settings' file in one step.
    fn write_settings(&self) -> Result<()> {
        let partial = self.path("config.partial");
        fs::write(&partial, format!("{:#}\n", self.settings))?;
        fs::rename(partial, self.path("config.yaml"))?;
        Ok(())
    }

    /// The objects of one kind that the host's own agent knows.
    pub(crate) fn objects(&self, kind: &str) -> Result<Vec<Value>> {
        let text = self.podward(&["get", kind, "-A", "-o", "json"])?;
        let list: Value =
            serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))?;
        Ok(list["items"].as_array().cloned().unwrap_or_else(|| vec![list]))
    }

    /// The pods of a set on this host.
    pub(crate) fn pods_of(&self, set: &str) -> Result<Vec<Pod>> {
        let pods = self.objects("pods")?.into_iter().map(Pod);
        Ok(pods.filter(|pod| pod.set() == set).collect())
    }

    /// Waits until `check` finds something, looking at each change of the pods; the agent may be away for a moment.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        check: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let watch = Watch::start(self.local(&["get", "pods", "-A", "-w"])?)?;
        watch.until(&format!("{what} on {}", self.name), check)
    }

    /// Waits until the one pod of a set runs here.
    pub(crate) fn runs(&self, set: &str) -> Result<Pod> {
        self.until(&format!("the pod of {set} to run"), || {
            let pods = self.pods_of(set)?;
            Ok(pods.into_iter().find(Pod::running))
        })
    }

    /// Waits until a set has no pod here.
    pub(crate) fn lacks(&self, set: &str) -> Result<()> {
        self.until(&format!("the pods of {set} to be gone"), || {
            Ok(self.pods_of(set)?.is_empty().then_some(()))
        })
    }

    /// How often the agent noted an event with this reason.
    pub(crate) fn noted(&self, reason: &str) -> Result<u64> {
        let events = self.objects("events")?;
        let events = events.iter().filter(|event| event["reason"] == reason);
        Ok(events.map(|event| event["count"].as_u64().unwrap_or(1)).sum())
    }

    /// Waits until the agent says of itself that something is so: an event of this node with this reason, seen more often
    /// than `before`. Returns how often.
    pub(crate) fn notes(&self, reason: &str, before: u64) -> Result<u64> {
        let noted = self.until(&format!("{reason} to be noted more than {before} times"), || {
            let count = self.noted(reason)?;
            Ok((count > before).then_some(count))
        });
        noted.with_context(|| self.podward(&["get", "events", "-A"]).unwrap_or_default())
    }

    /// What the agent says is wrong or waits, as `sync --dry-run` lists it.
    pub(crate) fn complaints(&self) -> Result<String> {
        let output = self.local(&["sync", "--dry-run"])?.output().context("podward sync")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Every container whose process runs: from containerd and the kernel, whatever the agent says or whether it lives.
    pub(crate) fn running(&self) -> Result<Vec<Running>> {
        let machine = self.machine()?;
        let output = Command::new("ctr")
            .arg("--address")
            .arg(machine.path("/run/containerd/containerd.sock"))
            .args(["--namespace", "podward", "tasks", "ls"])
            .stdin(Stdio::null())
            .output()
            .context("ctr")?;
        let mut found = vec![];
        for line in said("ctr tasks ls", &output)?.lines().skip(1) {
            let [id, pid, status] = line.split_whitespace().collect::<Vec<_>>()[..] else {
                bail!("ctr tasks ls printed {line:?}");
            };
            if status == "RUNNING" {
                let started = start_time(&machine.path(&format!("/proc/{pid}/stat")))?;
                found.push(Running { id: id.into(), pid: pid.parse()?, started });
            }
        }
        found.sort();
        Ok(found)
    }

    /// The end of the agent's log, for a failure's report.
    pub(crate) fn last_words(&self) -> String {
        let log = fs::read_to_string(self.path("agent.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(20)..];
        format!("the agent of {} said last:\n{}", self.name, tail.join("\n"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.machine = None;
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.wait();
        }
    }
}

/// When a process was started: the 22nd field, counted behind the name, which may hold anything.
fn start_time(stat: &Path) -> Result<u64> {
    let text = fs::read_to_string(stat).with_context(|| stat.display().to_string())?;
    let (_, fields) = text.rsplit_once(')').context("a process has a name")?;
    let field = fields.split_whitespace().nth(19).context("a process has a start time")?;
    Ok(field.parse()?)
}

/// The configuration of a containerd that keeps its data below `dir` and the rest at the default places of the host.
fn containerd_config(dir: &Path) -> String {
    format!(
        r#"version = 2
root = "{}/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime",
  "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs", "io.containerd.nri.v1.nri"]
[debug]
level = "warn"
"#,
        dir.display()
    )
}
