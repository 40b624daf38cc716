//! Control groups of the first kind: one hierarchy for each controller.

use std::fs;
use std::path::{Path, PathBuf};

use crate::pod::resources::Resources;

use super::cgroup::{CgroupError, failed, make_group};
use super::mounts::MountEntry;

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// Where it is mounted.
    pub(super) root: PathBuf,
    /// Its controllers; none for systemd's own and for the unified one of a hybrid machine.
    pub(super) controllers: Vec<String>,
}

/// The controllers that have files worth writing or reading here.
const KNOWN: [&str; 13] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "pids",
    "net_cls",
    "net_prio",
    "perf_event",
    "hugetlb",
    "rdma",
];

/// Every hierarchy in the table of mounts, each once.
pub(super) fn hierarchies(table: &[MountEntry]) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for entry in table.iter().filter(|entry| entry.kind.starts_with("cgroup")) {
        let known = |option: &&String| KNOWN.contains(&option.as_str());
        let hierarchy = Hierarchy {
            root: entry.point.clone(),
            controllers: entry.options.iter().filter(known).cloned().collect(),
        };
        // A bind mount of a hierarchy elsewhere shows the same groups again.
        let again = entry.kind == "cgroup"
            && !hierarchy.controllers.is_empty()
            && found.iter().any(|known| known.controllers == hierarchy.controllers);
        if !again {
            found.push(hierarchy);
        }
    }
    found
}

/// Makes a pod's group where limits are set; the runtime makes the others with the first container.
pub(super) fn create(
    all: &[Hierarchy],
    group: &Path,
    limits: &Resources,
) -> Result<(), CgroupError> {
    if let Some(dir) = group_of(all, "cpu", group) {
        make_group(&dir)?;
        let write = |file: &str, value: String| set(&dir, file, &value);
        write("cpu.shares", limits.cpu_shares.to_string())?;
        // Kernels without CFS bandwidth lack these files; they matter only where a quota is asked for.
        let bandwidth = dir.join("cpu.cfs_quota_us").exists();
        if limits.cpu_quota.is_some() || bandwidth {
            write("cpu.cfs_period_us", limits.cpu_period.to_string())?;
            write("cpu.cfs_quota_us", limits.cpu_quota.unwrap_or(-1).to_string())?;
        }
    }
    if let Some(dir) = group_of(all, "memory", group) {
        // Kernels before 5.11 leave a group out of its parent's accounts unless told; newer ones refuse the question.
        if let Some(parent) = dir.parent() {
            make_group(parent)?;
            let _ = fs::write(parent.join("memory.use_hierarchy"), "1");
        }
        make_group(&dir)?;
        set(&dir, "memory.limit_in_bytes", &limits.memory_limit.unwrap_or(-1).to_string())?;
    }
    Ok(())
}

/// Thaws frozen groups: a frozen process cannot die.
pub(super) fn thaw(all: &[Hierarchy], dirs: &[PathBuf]) {
    let Some(freezer) = all.iter().find(|h| h.controllers.iter().any(|name| name == "freezer"))
    else {
        return;
    };
    for dir in dirs.iter().filter(|dir| dir.starts_with(&freezer.root)) {
        thaw_below(dir);
    }
}

/// Thaws a group and those below it.
fn thaw_below(dir: &Path) {
    // A group that is gone needs no thawing.
    let _ = fs::write(dir.join("freezer.state"), "THAWED");
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            thaw_below(&entry.path());
        }
    }
}

/// A group in the hierarchy of a controller.
fn group_of(all: &[Hierarchy], controller: &str, group: &Path) -> Option<PathBuf> {
    let hierarchy = all.iter().find(|h| h.controllers.iter().any(|name| name == controller))?;
    Some(hierarchy.root.join(group))
}

/// Writes one value.
fn set(dir: &Path, file: &str, value: &str) -> Result<(), CgroupError> {
    let path = dir.join(file);
    failed("write", &path, fs::write(&path, value))
}
