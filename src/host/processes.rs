//! Ending a process with all that it has started.

use std::fs;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Kills a process and its descendants. They are stopped from the top down first, so that none has a child unseen.
/// Descendants whose parents have ended already are not found: they are somebody else's children now.
pub fn kill_tree(pid: u32) {
    let Some(root) = i32::try_from(pid).ok().filter(|pid| *pid > 1) else {
        return;
    };
    let mut tree = vec![Pid::from_raw(root)];
    let mut next = 0;
    while let Some(pid) = tree.get(next).copied() {
        next += 1;
        if kill(pid, Signal::SIGSTOP).is_ok() {
            tree.extend(children(pid));
        }
    }
    for pid in tree {
        // Gone already is as good.
        let _ = kill(pid, Signal::SIGKILL);
    }
}

/// A process and its descendants as they were at one moment.
#[derive(Debug)]
pub struct Tree(Vec<(Pid, String)>);

impl Tree {
    /// The tree below a process.
    pub fn of(pid: u32) -> Self {
        let root = i32::try_from(pid).ok().filter(|pid| *pid > 1).map(Pid::from_raw);
        let mut tree: Vec<Pid> = root.into_iter().collect();
        let mut next = 0;
        while let Some(pid) = tree.get(next).copied() {
            next += 1;
            tree.extend(children(pid));
        }
        Self(tree.into_iter().filter_map(|pid| Some((pid, started(pid)?))).collect())
    }

    /// Sends a signal to those that are still there, and to no process that got one of their numbers meanwhile.
    pub fn signal(&self, signal: Signal) {
        for (pid, start) in &self.0 {
            if started(*pid).as_ref() == Some(start) {
                let _ = kill(*pid, signal);
            }
        }
    }
}

/// When a process started, in the kernel's ticks: with its number that is its identity.
fn started(pid: Pid) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19).map(str::to_owned)
}

/// The children of a process, whichever of its threads made them.
fn children(pid: Pid) -> Vec<Pid> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|it| fs::read_to_string(it.path().join("children")).ok());
    let lists: Vec<String> = lists.collect();
    let pids = lists.iter().flat_map(|list| list.split_whitespace());
    pids.filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        os::unix::process::ExitStatusExt,
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn a_process_goes_with_its_descendants() {
        let script = "sh -c 'sleep 1000 & echo $!; wait' & wait";
        let mut child =
            Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        kill_tree(child.id());
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        // The pipe ends with the last of them.
        assert_eq!(said.read_line(&mut line).unwrap(), 0);
        kill_tree(0);
        kill_tree(1);
        assert!(Tree::of(1).0.is_empty());
    }

    #[test]
    fn a_signal_reaches_those_that_were_there() {
        // The word comes when the last of them is there: one that came later would outlive the test.
        let script = "trap 'exit 3' USR1; sh -c 'sleep 1000 & echo; wait' & wait";
        let mut child =
            Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut String::new()).unwrap();
        let tree = Tree::of(child.id());
        assert_eq!(tree.0.len(), 3, "{tree:?}");
        tree.signal(Signal::SIGUSR1);
        assert_eq!(child.wait().unwrap().code(), Some(3));
        tree.signal(Signal::SIGKILL);
        assert_eq!(said.read_line(&mut String::new()).unwrap(), 0);
    }
}
