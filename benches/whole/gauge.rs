//! What is read off: arrivals in a directory, memory, CPU time and wake-ups of processes.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::support::containerd::{Containerd, children};

/// Waits for files to appear, without spending the processor time that the measured ones need.
#[derive(Debug)]
pub(crate) struct Arrivals {
    /// The watched directory's inotify.
    inotify: Inotify,
    /// What has appeared so far.
    seen: BTreeSet<String>,
}

impl Arrivals {
    /// Watches from now on.
    pub(crate) fn watch(directory: &Path) -> Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        inotify.add_watch(directory, AddWatchFlags::IN_CREATE)?;
        Ok(Self { inotify, seen: BTreeSet::new() })
    }

    /// Returns when all of these have appeared.
    pub(crate) fn wait(&mut self, names: &[String]) -> Result<()> {
        while !names.iter().all(|name| self.seen.contains(name)) {
            let mut readable = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
            let ready = poll(&mut readable, PollTimeout::from(60_000_u16))?;
            ensure!(ready > 0, "of {names:?} only {:?} started within a minute", self.seen);
            for event in self.inotify.read_events()? {
                self.seen.extend(event.name.map(|name| name.to_string_lossy().into_owned()));
            }
        }
        Ok(())
    }
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Time on a processor, in the kernel's ticks of 10 ms.
    pub(crate) cpu: Duration,
    /// How often one of its threads went to sleep, that is, had been woken.
    pub(crate) switches: u64,
}

impl Usage {
    /// Reads it for a process: its processor time with that of threads that have ended, which would otherwise be missing from a
    /// difference of two readings; its wake-ups for the threads that there are.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name in parentheses may hold blanks; user and system time are fields 14 and 15.
        let fields = stat.rsplit_once(')').context("stat has a name")?.1;
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(str::parse::<u64>)
            .sum::<Result<u64, _>>()?;
        let mut usage = Self { cpu: Duration::from_millis(ticks * 10), switches: 0 };
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            usage.switches += field(&thread?.path().join("status"), "voluntary_ctxt_switches:")?;
        }
        Ok(usage)
    }

    /// What was used since an earlier reading.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            switches: self.switches.saturating_sub(earlier.switches),
        }
    }
}

/// The process's proportional share of memory, in bytes.
pub(crate) fn pss(pid: u32) -> Result<u64> {
    Ok(field(Path::new(&format!("/proc/{pid}/smaps_rollup")), "Pss:")? * 1024)
}

/// How many threads a process has.
pub(crate) fn threads(pid: u32) -> Result<u64> {
    field(Path::new(&format!("/proc/{pid}/status")), "Threads:")
}

/// The memory that is this process's alone, in bytes.
pub(crate) fn private(pid: i32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let path = Path::new(&path);
    Ok((field(path, "Private_Clean:")? + field(path, "Private_Dirty:")?) * 1024)
}

/// The number behind a name in one of the kernel's tables.
fn field(path: &Path, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    Ok(number.with_context(|| format!("no {name} in {}", path.display()))?.parse()?)
}

/// The container loggers, which are children of the shims.
pub(crate) fn loggers(containerd: &Containerd) -> Vec<i32> {
    let of_shims = containerd.shims().into_iter().flat_map(children);
    of_shims.filter(|pid| command(*pid).get(1).is_some_and(|word| word == "log")).collect()
}

/// What a running logger was told: where to write, and how much.
pub(crate) fn logger_value(containerd: &Containerd) -> Option<String> {
    loggers(containerd).first().and_then(|pid| command(*pid).into_iter().nth(2))
}

/// A process's command line.
fn command(pid: i32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).split('\0').map(str::to_owned).collect()
}

/// The text as a query's value.
pub(crate) fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}
