//! Control groups of the second kind: one hierarchy for all controllers.

use std::fs;
use std::path::{Component, Path};

use crate::pod::resources::{Resources, cpu_weight};

use super::cgroup::{CgroupError, failed, make_group};

/// The controllers that containers are limited or measured by.
const WANTED: [&str; 6] = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids"];

/// Makes a pod's group below the hierarchy's root, with its limits.
pub(super) fn create(root: &Path, group: &Path, limits: &Resources) -> Result<(), CgroupError> {
    let dir = root.join(group);
    make_group(&dir)?;
    // A controller must be handed down by every group above.
    let mut at = root.to_owned();
    for part in group.components() {
        enable_controllers(&at);
        if let Component::Normal(part) = part {
            at.push(part);
        }
    }
    for (file, value) in values(limits) {
        let path = dir.join(file);
        match fs::write(&path, &value) {
            // Without the controller there is nothing that a missing limit could change.
            Err(_) if !path.exists() && is_unlimited(&value) => {}
            result => failed("write", &path, result)?,
        }
    }
    Ok(())
}

/// Hands down what a group has. Each alone: one that cannot be handed down shall not keep the others.
fn enable_controllers(dir: &Path) {
    let available = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
    let enabled = fs::read_to_string(dir.join("cgroup.subtree_control")).unwrap_or_default();
    let has = |list: &str, name: &str| list.split_whitespace().any(|known| known == name);
    for name in WANTED {
        if has(&available, name) && !has(&enabled, name) {
            // A limit that then cannot be written is an error of its own.
            let _ = fs::write(dir.join("cgroup.subtree_control"), format!("+{name}"));
        }
    }
}

/// The files and what to write into them.
fn values(limits: &Resources) -> [(&'static str, String); 3] {
    let number = |value: Option<i64>| value.map_or_else(|| "max".into(), |value| value.to_string());
    [
        ("cpu.weight", cpu_weight(limits.cpu_shares).to_string()),
        ("cpu.max", format!("{} {}", number(limits.cpu_quota), limits.cpu_period)),
        ("memory.max", number(limits.memory_limit)),
    ]
}

/// Whether a value asks for no limit, or is a mere weight.
fn is_unlimited(value: &str) -> bool {
    value.starts_with("max") || value.parse::<u64>().is_ok_and(|weight| weight <= 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_as_the_unified_hierarchy_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let limits = |cpu_shares, cpu_quota, memory_limit| Resources {
            cpu_shares,
            cpu_quota,
            cpu_period: 100_000,
            memory_limit,
        };
        fs::write(dir.path().join("cgroup.controllers"), "cpu memory\n").unwrap();
        let read =
            |file: &str| fs::read_to_string(dir.path().join("podward/podu").join(file)).unwrap();
        create(dir.path(), Path::new("podward/podu"), &limits(1024, Some(50_000), Some(1 << 20)))
            .unwrap();
        assert_eq!(
            (read("cpu.weight"), read("cpu.max"), read("memory.max")),
            ("100".into(), "50000 100000".into(), "1048576".into())
        );
        create(dir.path(), Path::new("podward/podu"), &limits(2, None, None)).unwrap();
        assert_eq!(
            (read("cpu.weight"), read("cpu.max"), read("memory.max")),
            ("1".into(), "max 100000".into(), "max".into())
        );
        assert_eq!(
            fs::read_to_string(dir.path().join("cgroup.subtree_control")).unwrap(),
            "+memory"
        );
    }
}
