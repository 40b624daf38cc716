//! `podward hold`: the first process of a pod whose containers share their processes. It does nothing but take
//! over orphans and bury them, so that the namespace lives for as long as the pod.
//!
//! *Guarantees*: it ends on SIGTERM only when nobody else is left in the namespace, because with it the kernel
//! kills all the others: a host that goes down lets the containers end in their own time first.

use std::{fs, io, thread, time::Duration};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

/// How often it looks whether the others are gone, once it was told to go.
const LOOK: Duration = Duration::from_millis(100);

/// Runs until it is told to go and is alone.
pub fn run() -> io::Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT] {
        signals.add(signal);
    }
    // Blocked, they wait to be taken; the first process of a namespace would not even see them otherwise.
    signals.thread_block()?;
    while signals.wait()? == Signal::SIGCHLD {
        bury();
    }
    while !alone() {
        bury();
        thread::sleep(LOOK);
    }
    Ok(())
}

/// Takes the ends of all children that have one.
fn bury() {
    while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status != WaitStatus::StillAlive)
    {
    }
}

/// Whether no other process is in the namespace. Where that cannot be seen, nobody is waited for.
fn alone() -> bool {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbered = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    entries.filter(|entry| entry.file_name().to_str().is_some_and(numbered)).count() <= 1
}
