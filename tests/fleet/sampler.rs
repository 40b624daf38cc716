//! A sampler outside the product: it asks neither podward nor containerd what serves, but the kernel. The container of a
//! test's set holds a named pipe open for reading from when it is ready until its process is gone, however that ends;
//! opening the pipe for writing without waiting tells which, costs two system calls, and disturbs nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::libc::{ENXIO, O_NONBLOCK};

use crate::support::wait::clock;

/// How often it looks.
const EVERY: Duration = Duration::from_millis(25);
/// How long a test waits for what it expects to see: a rollout over a whole fleet on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// What serves on each host: the versions of the ready containers.
pub(crate) type Serving = BTreeMap<String, BTreeSet<String>>;

/// What served from some moment on.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    /// Since when, in seconds since the machine was booted, as containers count as well.
    pub(crate) at: f64,
    /// What serves.
    pub(crate) serving: Serving,
}

impl Moment {
    /// The hosts on which nothing is ready.
    pub(crate) fn unavailable(&self) -> Vec<&str> {
        let none = self.serving.iter().filter(|(_, versions)| versions.is_empty());
        none.map(|(host, _)| host.as_str()).collect()
    }

    /// Whether this version alone serves everywhere.
    pub(crate) fn only(&self, version: &str) -> bool {
        let alone = |versions: &BTreeSet<String>| versions.len() == 1 && versions.contains(version);
        self.serving.values().all(alone)
    }

    /// The hosts on which this version serves.
    pub(crate) fn with(&self, version: &str) -> Vec<&str> {
        let with = self.serving.iter().filter(|(_, versions)| versions.contains(version));
        with.map(|(host, _)| host.as_str()).collect()
    }
}

/// Every change since the sampler began.
#[derive(Debug, Clone, Default)]
pub(crate) struct Timeline(pub(crate) Vec<Moment>);

/// What the thread and the test share.
#[derive(Debug, Default)]
struct Shared {
    /// What was seen.
    seen: Mutex<Seen>,
    /// Wakes who waits.
    changed: Condvar,
}

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    /// Every change.
    timeline: Timeline,
    /// Why the sampler could not go on.
    fault: Option<String>,
    /// Whether the test is over.
    over: bool,
}

/// A thread that looks at one set on some hosts again and again.
#[derive(Debug)]
pub(crate) struct Sampler {
    /// Where the set's containers leave their traces, host by host.
    dir: PathBuf,
    /// What is shared with the thread.
    shared: Arc<Shared>,
    /// The thread.
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    /// Begins to look at these hosts; all of them must serve.
    pub(crate) fn start(dir: &Path, hosts: &[String]) -> Result<Self> {
        let first = Moment { at: uptime()?, serving: look(dir, hosts)? };
        let idle = first.unavailable();
        ensure!(idle.is_empty(), "nothing serves on {idle:?} when the sampler begins");
        let shared = Arc::new(Shared::default());
        let dir = dir.to_owned();
        shared.lock().timeline.0.push(first);
        let thread = {
            let (dir, hosts, shared) = (dir.clone(), hosts.to_vec(), Arc::clone(&shared));
            thread::spawn(move || shared.run(&dir, &hosts))
        };
        Ok(Self { dir, shared, thread: Some(thread) })
    }

    /// What was seen until now.
    pub(crate) fn timeline(&self) -> Result<Timeline> {
        let seen = self.shared.lock();
        if let Some(fault) = &seen.fault {
            bail!("the sampler failed: {fault}");
        }
        Ok(seen.timeline.clone())
    }

    /// Waits until what serves is as `check` says.
    pub(crate) fn until(&self, what: &str, mut check: impl FnMut(&Moment) -> bool) -> Result<()> {
        let start = clock();
        let mut seen = self.shared.lock();
        loop {
            if let Some(fault) = &seen.fault {
                bail!("the sampler failed: {fault}");
            }
            if seen.timeline.0.last().is_some_and(&mut check) {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                bail!("waited {PATIENCE:?} in vain for {what}:\n{}", seen.timeline.text());
            }
            let waited = self.shared.changed.wait_timeout(seen, Duration::from_millis(500));
            seen = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What serves now.
    pub(crate) fn now(&self) -> Result<Moment> {
        self.timeline()?.0.pop().context("a sampler begins with a moment")
    }

    /// Waits until this version alone serves everywhere.
    pub(crate) fn all_serve(&self, version: &str) -> Result<()> {
        self.until(&format!("{version} everywhere"), |moment| moment.only(version))
    }

    /// Waits until a host is unavailable; says which.
    pub(crate) fn falls(&self) -> Result<String> {
        let mut fallen = String::new();
        self.until("a host to become unavailable", |moment| {
            moment.unavailable().first().is_some_and(|host| {
                (*host).clone_into(&mut fallen);
                true
            })
        })?;
        Ok(fallen)
    }

    /// Waits until this version serves on so many hosts.
    pub(crate) fn some_serve(&self, version: &str, hosts: usize) -> Result<()> {
        self.until(&format!("{version} on {hosts} hosts"), |moment| {
            moment.with(version).len() >= hosts
        })
    }

    /// Waits until exactly so many hosts are unavailable.
    pub(crate) fn idle(&self, hosts: usize) -> Result<()> {
        self.until(&format!("{hosts} unavailable hosts"), |moment| {
            moment.unavailable().len() == hosts
        })
    }

    /// Whether never more hosts than that were unavailable at once.
    pub(crate) fn within(&self, budget: usize) -> Result<Timeline> {
        let timeline = self.timeline()?;
        let worst = timeline.worst();
        ensure!(
            worst.unavailable().len() <= budget,
            "{:?} were unavailable at {:.2}, and {budget} may be:\n{}",
            worst.unavailable(),
            worst.at,
            timeline.text()
        );
        Ok(timeline)
    }

    /// How often a host's containers began to serve, with the version and the moment of each, as they wrote it down.
    pub(crate) fn starts(&self, host: &str) -> Result<Vec<(String, f64)>> {
        let text = fs::read_to_string(self.dir.join(host).join("starts")).unwrap_or_default();
        let start = |line: &str| {
            let (version, at) = line.split_once(' ').with_context(|| line.to_owned())?;
            Ok((version.to_owned(), at.parse()?))
        };
        text.lines().map(start).collect()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// What was seen; a thread that panicked leaves it whole.
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks until the test is over.
    fn run(&self, dir: &Path, hosts: &[String]) {
        loop {
            let found = look(dir, hosts).and_then(|serving| Ok((uptime()?, serving)));
            let mut seen = self.lock();
            match found {
                Ok((at, serving)) => {
                    if seen.timeline.0.last().is_none_or(|last| last.serving != serving) {
                        seen.timeline.0.push(Moment { at, serving });
                        self.changed.notify_all();
                    }
                }
                Err(error) => seen.fault = Some(format!("{error:#}")),
            }
            if seen.over || seen.fault.is_some() {
                self.changed.notify_all();
                return;
            }
            drop(self.changed.wait_timeout_while(seen, EVERY, |seen| !seen.over));
        }
    }
}

impl Timeline {
    /// The moment with the most unavailable hosts.
    pub(crate) fn worst(&self) -> &Moment {
        let most = self.0.iter().max_by_key(|moment| moment.unavailable().len());
        most.expect("a sampler begins with a moment")
    }

    /// The hosts in the order in which they first served a version.
    pub(crate) fn order(&self, version: &str) -> Vec<String> {
        let mut order: Vec<String> = vec![];
        for moment in &self.0 {
            for (host, versions) in &moment.serving {
                if versions.contains(version) && !order.contains(host) {
                    order.push(host.clone());
                }
            }
        }
        order
    }

    /// When each host became unavailable.
    pub(crate) fn falls(&self) -> Vec<(String, f64)> {
        let mut falls = vec![];
        for pair in self.0.windows(2) {
            for host in pair[1].unavailable() {
                if !pair[0].serving[host].is_empty() {
                    falls.push((host.to_owned(), pair[1].at));
                }
            }
        }
        falls
    }

    /// All of it for people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let began = self.0.first().map_or(0.0, |moment| moment.at);
        for moment in &self.0 {
            let _ = write!(text, "{:8.2} s", moment.at - began);
            for (host, versions) in &moment.serving {
                let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
                let _ = write!(text, "  {host}: {:6}", versions.join("+"));
            }
            text.push('\n');
        }
        text
    }
}

/// What serves at one moment. A look at several hosts takes time, in which one may come and another go: what two looks
/// see alike was so between them.
fn look(dir: &Path, hosts: &[String]) -> Result<Serving> {
    let all = || -> Result<Serving> {
        hosts.iter().map(|host| Ok((host.clone(), ready(&dir.join(host).join("ready"))?))).collect()
    };
    let mut last = all()?;
    loop {
        let again = all()?;
        if again == last {
            return Ok(again);
        }
        last = again;
    }
}

/// The versions whose pipes somebody holds.
fn ready(dir: &Path) -> Result<BTreeSet<String>> {
    let Ok(entries) = fs::read_dir(dir) else { return Ok(BTreeSet::new()) };
    let mut held = BTreeSet::new();
    for entry in entries {
        let entry = entry?;
        ensure!(entry.file_type()?.is_fifo(), "{} is no pipe", entry.path().display());
        match OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(entry.path()) {
            Ok(_) => {
                held.insert(entry.file_name().to_string_lossy().into_owned());
            }
            Err(error) if error.raw_os_error() == Some(ENXIO) => {}
            Err(error) => return Err(error).with_context(|| entry.path().display().to_string()),
        }
    }
    Ok(held)
}

/// Seconds since the machine was booted.
fn uptime() -> Result<f64> {
    let text = fs::read_to_string("/proc/uptime")?;
    Ok(text.split_whitespace().next().context("/proc/uptime is empty")?.parse()?)
}
