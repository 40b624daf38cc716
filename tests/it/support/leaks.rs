//! What is left of pods: in containerd, among processes, mounts, cgroups and directories.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::containerd::Containerd;
use super::wait::patiently;

/// Everything that belongs to a pod and is still there, one line each.
pub(crate) fn leaks(containerd: &Containerd, dir: &Path, cgroup: &str) -> Result<Vec<String>> {
    let mut found = vec![];
    let mut note = |kind: &str, names: Vec<String>| {
        found.extend(names.iter().map(|name| format!("{kind} {name}")));
    };
    note("container", containerd.containers()?);
    note("task", containerd.tasks()?.into_iter().map(|task| task.id).collect());
    note("snapshot", containerd.active_snapshots()?);
    note("content lease", containerd.leases()?);
    note("shim", containerd.shims().iter().map(|pid| shim(*pid)).collect());
    note("mount", mounts_below(dir).iter().map(|path| path.display().to_string()).collect());
    note("cgroup", cgroups(cgroup).iter().map(|path| path.display().to_string()).collect());
    for folder in ["run/pods", "state/pods", "logs", "containers"] {
        note("entry", entries(&dir.join(folder)));
    }
    Ok(found)
}

/// Makes a directory a mount of its own that hands on what is mounted below it, as `/` does under systemd.
pub(crate) fn share(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    mount(Some(directory), directory, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    let none = None::<&str>;
    Ok(mount(none, directory, none, MsFlags::MS_SHARED, none)?)
}

/// A shim's process id, and the container that it was started for.
fn shim(pid: i32) -> String {
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let id = line.split('\0').skip_while(|word| *word != "-id").nth(1).unwrap_or_default();
    format!("{pid} of {id}")
}

/// The mount points below a directory, the last mounted first.
pub(crate) fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut points: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .filter(|point| point.starts_with(dir))
        .collect();
    points.reverse();
    points
}

/// Takes away every mount below a directory.
pub(crate) fn unmount_below(dir: &Path) {
    for point in mounts_below(dir) {
        let _ = umount2(&point, MntFlags::MNT_DETACH);
    }
}

/// The cgroups of pods: what lies below the parent, in every hierarchy.
fn cgroups(parent: &str) -> Vec<PathBuf> {
    let mut found = vec![];
    for hierarchy in hierarchies() {
        let parent = hierarchy.join(parent.trim_start_matches('/'));
        found.extend(
            entries(&parent).iter().map(|name| parent.join(name)).filter(|path| path.is_dir()),
        );
    }
    found
}

/// Removes the parent and all below it, in every hierarchy; waits a little for processes in it that are still ending.
pub(crate) fn remove_cgroups(parent: &str) {
    let groups = hierarchies().into_iter().map(|at| at.join(parent.trim_start_matches('/')));
    let groups: Vec<PathBuf> = groups.collect();
    let _ = patiently("the cgroups to go", Duration::from_secs(5), || {
        for group in &groups {
            remove_tree(group);
        }
        Ok(groups.iter().all(|group| !group.exists()).then_some(()))
    });
}

/// Removes a cgroup with those below it.
fn remove_tree(group: &Path) {
    for name in entries(group) {
        if group.join(&name).is_dir() {
            remove_tree(&group.join(name));
        }
    }
    let _ = fs::remove_dir(group);
}

/// Where the cgroup hierarchies are mounted.
pub(crate) fn hierarchies() -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table
        .lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            right.starts_with("cgroup").then(|| left.split(' ').nth(4).map(PathBuf::from))?
        })
        .collect()
}

/// The names in a directory; none when it is not there.
fn entries(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
