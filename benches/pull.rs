//! A whole pull beside `ctr images pull --plain-http` of the same image from the same registry into the same containerd.
//!
//! 200 MB in 8 layers that compress as binaries do. The two take turns, each in a process of its own, and each begins
//! with nothing of the image in containerd. The memory of podward's process is watched while it pulls.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

#[path = "pull/registry.rs"]
mod registry;
#[path = "../tests/it/support/mod.rs"]
#[allow(dead_code, reason = "the benchmark uses a part of the tests' harness")]
mod support;
#[path = "whole/table.rs"]
#[allow(dead_code, reason = "the benchmark uses a part of the table")]
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use podward::testing::{
    LoginSettings, PullSettings, Puller, Request,
    containerd::{Containerd, Settings},
    progress::Progress,
    reference::Reference,
};
use tokio::sync::watch;

use registry::Registry;
use support::containerd::Containerd as Daemon;
use support::wait::clock;
use table::{Samples, Table};

/// How often the memory is looked at.
const LOOK: Duration = Duration::from_millis(5);

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some("pull-once") {
        let (socket, hosts) = words.next().zip(words.next()).context("a socket and a directory")?;
        return pull_once(
            Path::new(&socket),
            Path::new(&hosts),
            &words.next().context("an image")?,
        );
    }
    if !support::able()? {
        return Ok(());
    }
    let quick = std::env::var_os("PODWARD_BENCH_QUICK").is_some();
    let (rounds, layer) = if quick { (3, 4 << 20) } else { (7, 20 << 20) };
    let dir = tempfile::Builder::new().prefix("podward-pull.").tempdir_in("/tmp")?;
    let registry = Registry::start(&dir.path().join("registry"))?;
    let image = registry.push("bench/pull", 8, layer)?;
    let daemon = Daemon::new(&dir.path().join("containerd"))?;
    daemon.ctr(&["namespaces", "create", "podward"])?;
    let hosts = dir.path().join("certs.d").join(&registry.host);
    fs::create_dir_all(&hosts)?;
    fs::write(hosts.join("hosts.toml"), format!("server = \"http://{}\"\n", registry.host))?;

    let (mut ours, mut peer) = (Samples::default(), Samples::default());
    let (mut grown, mut used) = (0, Duration::ZERO);
    for _ in 0..rounds {
        let began = clock();
        daemon.ctr(&["images", "pull", "--plain-http", &image])?;
        peer.add(began.elapsed());
        clean(&daemon)?;

        let began = clock();
        let mut child = Command::new(std::env::current_exe()?)
            .arg("pull-once")
            .args([daemon.socket(), dir.path().join("certs.d")])
            .arg(&image)
            .stdin(Stdio::null())
            .spawn()?;
        let growth = watch_memory(&mut child)?;
        ours.add(began.elapsed());
        (grown, used) = (grown.max(growth.0), used.max(growth.1));
        clean(&daemon)?;
    }
    let mut table = Table::new();
    let size = registry.size.get() / 1_000_000;
    table.time(
        &format!("pull of {size} MB in 8 layers; beside it: `ctr images pull`"),
        &ours,
        &peer,
        1.0,
    );
    table.size("growth of anonymous memory while pulling", grown, 16_000_000);
    table.budget("CPU time of the pull in podward's process", used, Duration::from_secs(10));
    println!("{table}");
    Ok(())
}

/// Takes every image and what it alone holds out of containerd.
fn clean(daemon: &Daemon) -> Result<()> {
    let names = daemon.ctr(&["images", "ls", "-q"])?;
    for name in names.lines() {
        daemon.ctr(&["images", "rm", "--sync", name])?;
    }
    for lease in daemon.leases()? {
        daemon.ctr(&["leases", "rm", "--sync", &lease])?;
    }
    let left = daemon.ctr(&["content", "ls", "-q"])? + &daemon.ctr(&["snapshots", "ls"])?;
    ensure!(left.lines().count() <= 1, "left behind: {left}");
    Ok(())
}

/// Pulls, in a process of its own.
fn pull_once(socket: &Path, hosts_dir: &Path, image: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let containerd = Containerd::new(Settings {
            address: socket.to_owned(),
            namespace: "podward".into(),
            snapshotter: "overlayfs".into(),
            runtime: "io.containerd.runc.v2".into(),
            systemd_cgroup: false,
            runc_root: "/run/podward-bench".into(),
        })?;
        let logins = LoginSettings {
            auth_file: "/etc/podward/auth.json".into(),
            provider_config: None,
            provider_dir: PathBuf::new(),
        };
        let hosts_dir = hosts_dir.to_owned();
        let settings = PullSettings { transfer: false, hosts_dir, logins, parallel_layers: 3 };
        let puller = Puller::new(containerd, settings);
        let reference = Reference::parse(image)?;
        let progress = watch::Sender::new(Progress::default());
        let request = Request { reference: &reference, secrets: &[], signatures: None };
        puller.pull(request, &progress).await?;
        Ok(())
    })
}

/// Waits for a pull; by how much its anonymous memory grew since the process began, and its CPU time.
fn watch_memory(child: &mut Child) -> Result<(u64, Duration)> {
    let pid = child.id();
    let (mut first, mut most, mut cpu) = (None, 0, Duration::ZERO);
    loop {
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "the pull ended with {status}");
            return Ok((most - first.unwrap_or(0), cpu));
        }
        if let Some(now) = anonymous(pid).filter(|now| *now > 0) {
            first.get_or_insert(now);
            most = most.max(now);
            cpu = spent(pid).unwrap_or(cpu);
        }
        thread::sleep(LOOK);
    }
}

/// A process's anonymous memory.
fn anonymous(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// A process's CPU time.
fn spent(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}
