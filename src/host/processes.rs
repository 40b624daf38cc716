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
    }
}
