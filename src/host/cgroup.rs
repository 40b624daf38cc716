//! Control groups: one for each pod, made before its first container and removed after its last.
//!
//! The runtime makes the containers' own groups below the pod's. Two drivers, as everywhere in the field: with
//! `cgroupfs` the agent writes files, with `systemd` it asks systemd for a slice. The two kernel interfaces (v1
//! and v2) are told apart once, at the start.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::base::ids::{ContainerId, PodUid};
use crate::pod::resources::Resources;

use super::cgroup_systemd::Systemd;
use super::mounts::{MountEntry, table};
use super::{cgroup_v1, cgroup_v2};

/// How long to wait between two looks at processes that were killed.
const PAUSE: Duration = Duration::from_millis(20);

/// How many looks, about four seconds in all; a process that hangs in the kernel longer is reported.
const LOOKS: usize = 200;

/// Where the kernel's control groups are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// What the configuration asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverWish {
    /// systemd where it runs, else cgroupfs.
    #[default]
    Auto,
    /// Files.
    Cgroupfs,
    /// systemd's slices.
    Systemd,
}

/// Who makes the groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The agent and the runtime, by files.
    Cgroupfs,
    /// systemd.
    Systemd,
}

/// Why a control group could not be made, emptied or removed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// No control groups at all.
    #[error("no control groups are mounted below /sys/fs/cgroup; mount cgroup2 there")]
    NotMounted,
    /// The systemd driver without systemd.
    #[error(
        "the systemd cgroup driver needs systemd as the init system; set cgroupDriver to cgroupfs or auto"
    )]
    NoSystemd,
    /// The kernel refused.
    #[error("{step} {path}")]
    Step {
        /// What was tried.
        step: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Processes that do not end.
    #[error("processes {pids:?} of pod {pod} do not end although they were killed")]
    Alive {
        /// The pod.
        pod: PodUid,
        /// The processes.
        pids: Vec<i32>,
    },
    /// systemd refused.
    #[error("{command} failed: {message}")]
    Systemctl {
        /// The command line.
        command: String,
        /// What it said.
        message: String,
    },
}

/// The kernel's interface and where it is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hierarchies {
    /// One mount for each (group of) controllers, and maybe a unified one without controllers.
    V1(Vec<cgroup_v1::Hierarchy>),
    /// The unified hierarchy.
    V2(PathBuf),
}

impl Hierarchies {
    /// Reads the table of mounts.
    fn of(table: &[MountEntry]) -> Option<Self> {
        let unified =
            table.iter().rev().find(|entry| entry.point == Path::new(ROOT))?.kind == "cgroup2";
        if unified {
            return Some(Self::V2(ROOT.into()));
        }
        let found = cgroup_v1::hierarchies(table);
        (!found.is_empty()).then_some(Self::V1(found))
    }

    /// The mount points.
    fn roots(&self) -> Vec<&Path> {
        match self {
            Self::V1(all) => all.iter().map(|hierarchy| hierarchy.root.as_path()).collect(),
            Self::V2(root) => vec![root],
        }
    }
}

/// The control groups of this agent's pods.
#[derive(Clone, Debug)]
pub struct Cgroups {
    /// The kernel's interface.
    hierarchies: Hierarchies,
    /// The group above all pods, without slashes at its ends: `podward`.
    parent: String,
    /// Who makes new groups.
    driver: Driver,
    /// systemd, where it runs the host: pods of a time with the other driver have their groups there.
    systemd: Option<Systemd>,
}

impl Cgroups {
    /// Finds out what this machine has. `parent` is the group above all pods, such as `/podward`.
    pub fn detect(wish: DriverWish, parent: &str) -> Result<Self, CgroupError> {
        let running = Path::new("/run/systemd/system").is_dir();
        let mounts = failed("read", "/proc/self/mountinfo", table())?;
        let hierarchies = Hierarchies::of(&mounts).ok_or(CgroupError::NotMounted)?;
        let parent = parent.trim_matches('/').to_owned();
        let driver = match wish {
            DriverWish::Systemd if !running => return Err(CgroupError::NoSystemd),
            DriverWish::Auto if !running => Driver::Cgroupfs,
            DriverWish::Cgroupfs => Driver::Cgroupfs,
            DriverWish::Auto | DriverWish::Systemd => Driver::Systemd,
        };
        let systemd = running.then(|| Systemd::new(&parent));
        Ok(Self { hierarchies, parent, driver, systemd })
    }

    /// Whether the unified hierarchy is in use.
    pub fn v2(&self) -> bool {
        matches!(self.hierarchies, Hierarchies::V2(_))
    }

    /// Who makes the groups.
    pub fn driver(&self) -> Driver {
        self.driver
    }

    /// systemd, where it makes new groups.
    fn driving(&self) -> Option<&Systemd> {
        self.systemd.as_ref().filter(|_| self.driver == Driver::Systemd)
    }

    /// A container's group in the form that the OCI spec's `cgroupsPath` has under this driver.
    pub fn container_path(&self, pod: &PodUid, container: &ContainerId) -> String {
        match self.driving() {
            Some(systemd) => format!("{}:podward:{container}", systemd.slice(pod)),
            None => format!("/{}/{container}", self.pod_group(pod)),
        }
    }

    /// Makes the pod's group with its limits. Repeating it sets the limits anew.
    pub fn create_pod(&self, pod: &PodUid, limits: &Resources) -> Result<(), CgroupError> {
        match (self.driving(), &self.hierarchies) {
            (Some(systemd), _) => systemd.set_limits(pod, limits, self.v2()),
            (None, Hierarchies::V1(all)) => {
                cgroup_v1::create(all, Path::new(&self.pod_group(pod)), limits)
            }
            (None, Hierarchies::V2(root)) => {
                cgroup_v2::create(root, Path::new(&self.pod_group(pod)), limits)
            }
        }
    }

    /// Kills every process of the pod and waits until they are gone.
    pub fn kill_pod(&self, pod: &PodUid) -> Result<(), CgroupError> {
        let dirs = self.pod_dirs(pod);
        for _ in 0..LOOKS {
            let pids = processes(&dirs);
            if pids.is_empty() {
                return Ok(());
            }
            match &self.hierarchies {
                Hierarchies::V2(_) => dirs.iter().for_each(|dir| {
                    // Kernels before 5.14 lack the file: there each process is killed by number, below.
                    let _ = fs::write(dir.join("cgroup.kill"), "1");
                }),
                Hierarchies::V1(all) => cgroup_v1::thaw(all, &dirs),
            }
            for pid in pids {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            thread::sleep(PAUSE);
        }
        match processes(&dirs) {
            pids if pids.is_empty() => Ok(()),
            pids => Err(CgroupError::Alive { pod: pod.clone(), pids: pids.into_iter().collect() }),
        }
    }

    /// Removes the pod's group in every hierarchy, with whatever groups were left below it. Processes that are
    /// just ending are waited for; those that go on living are an error.
    pub fn remove_pod(&self, pod: &PodUid) -> Result<(), CgroupError> {
        if let Some(systemd) = &self.systemd {
            let slice = systemd.parent_path().join(systemd.slice(pod));
            let there = self.hierarchies.roots().iter().any(|root| root.join(&slice).exists());
            systemd.remove(pod, there)?;
        }
        for dir in self.pod_dirs(pod) {
            remove_group(pod, &dir)?;
        }
        Ok(())
    }

    /// How many bytes of memory a container uses; `None` once its group is gone.
    pub fn memory_usage(&self, pod: &PodUid, container: &ContainerId) -> Option<u64> {
        let own = |group: &PathBuf| group.to_string_lossy().contains(container.as_str());
        let groups = self.container_groups(pod).into_iter().filter(own);
        groups.filter_map(|group| memory_used_in(&group)).max()
    }

    /// How many processes of a container the kernel has killed for memory; `None` once its group is gone, which
    /// under systemd is as soon as its last process has ended.
    pub fn oom_kills(&self, pod: &PodUid, container: &ContainerId) -> Option<u64> {
        let groups = self.container_groups(pod);
        let own = groups.iter().filter(|group| {
            group
                .file_name()
                .is_some_and(|name| name.to_string_lossy().contains(container.as_str()))
        });
        own.filter_map(|group| oom_kills_in(group)).max()
    }

    /// How many processes the kernel has killed for memory in those of the pod's groups that are gone: the pod's own
    /// count goes on. Only the unified hierarchy counts that way.
    pub fn oom_kills_of_the_gone(&self, pod: &PodUid) -> u64 {
        let all: u64 = self.pod_dirs(pod).iter().filter_map(|dir| oom_kills_in(dir)).sum();
        let there: u64 =
            self.container_groups(pod).iter().filter_map(|group| oom_kills_in(group)).sum();
        all.saturating_sub(there)
    }

    /// The groups right below the pod's.
    fn container_groups(&self, pod: &PodUid) -> Vec<PathBuf> {
        let below = |dir: PathBuf| children(&dir).into_iter().map(move |name| dir.join(name));
        self.pod_dirs(pod).into_iter().flat_map(below).collect()
    }

    /// Every pod that has a group, of either driver, whether it should or not.
    pub fn pods(&self) -> Vec<PodUid> {
        let mut found = BTreeSet::new();
        for root in self.hierarchies.roots() {
            let plain = children(&root.join(&self.parent));
            found.extend(plain.iter().filter_map(|name| name.strip_prefix("pod").map(PodUid::new)));
            if let Some(systemd) = &self.systemd {
                let slices = children(&root.join(systemd.parent_path()));
                found.extend(slices.iter().filter_map(|name| systemd.pod_of(name)));
            }
        }
        found.into_iter().collect()
    }

    /// Removes the group above all pods where it is empty: an agent without pods leaves the machine as it found it.
    pub fn remove_parent(&self) {
        for root in self.hierarchies.roots() {
            // A pod that still runs keeps it; that is as it should be.
            let _ = fs::remove_dir(root.join(&self.parent));
        }
    }

    /// The pod's group below a hierarchy's root, with the cgroupfs driver.
    fn pod_group(&self, pod: &PodUid) -> String {
        format!("{}/pod{pod}", self.parent)
    }

    /// The pod's group in every hierarchy, as either driver names it, whether it is there or not.
    fn pod_dirs(&self, pod: &PodUid) -> Vec<PathBuf> {
        let slice = self.systemd.as_ref().map(|of| of.parent_path().join(of.slice(pod)));
        let groups: Vec<PathBuf> =
            slice.into_iter().chain([PathBuf::from(self.pod_group(pod))]).collect();
        let roots = self.hierarchies.roots().into_iter();
        roots.flat_map(|root| groups.iter().map(|group| root.join(group))).collect()
    }
}

/// Removes a pod's group in one hierarchy, and waits for processes that are just ending.
fn remove_group(pod: &PodUid, dir: &Path) -> Result<(), CgroupError> {
    for _ in 0..LOOKS {
        match remove_groups(dir) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
            other => return failed("remove", dir, other),
        }
        thread::sleep(PAUSE);
    }
    let pids: Vec<i32> = processes(&[dir.to_owned()]).into_iter().collect();
    if pids.is_empty() {
        return failed("remove", dir, remove_groups(dir));
    }
    Err(CgroupError::Alive { pod: pod.clone(), pids })
}

/// Names the step and the path of a failure.
pub(super) fn failed<T>(
    step: &'static str,
    path: impl AsRef<Path>,
    result: io::Result<T>,
) -> Result<T, CgroupError> {
    result.map_err(|source| CgroupError::Step { step, path: path.as_ref().to_owned(), source })
}

/// Makes a group and its parents. Another pod's removal may take an empty parent away in between, so it tries again.
pub(super) fn make_group(dir: &Path) -> Result<(), CgroupError> {
    let mut result = Ok(());
    for _ in 0..3 {
        result = fs::create_dir_all(dir);
        match &result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => break,
        }
    }
    failed("create", dir, result)
}

/// How much memory a group uses, as either interface tells it.
fn memory_used_in(group: &Path) -> Option<u64> {
    ["memory.current", "memory.usage_in_bytes"]
        .iter()
        .find_map(|file| fs::read_to_string(group.join(file)).ok()?.trim().parse().ok())
}

/// How many processes the kernel has killed for memory in a group, as either interface tells it.
fn oom_kills_in(group: &Path) -> Option<u64> {
    ["memory.events", "memory.oom_control"].iter().find_map(|file| {
        let text = fs::read_to_string(group.join(file)).ok()?;
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "))?;
        count.trim().parse().ok()
    })
}

/// The names of the groups right below one.
fn children(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    dirs.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The processes in groups and all groups below them.
fn processes(dirs: &[PathBuf]) -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    for dir in dirs {
        let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        // 0 is a process of another pid namespace: nothing that could be killed from here.
        found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|p| *p > 0));
        let below: Vec<PathBuf> = children(dir).iter().map(|name| dir.join(name)).collect();
        found.extend(processes(&below));
    }
    found
}

/// Removes a group after those below it; one that is gone is fine.
fn remove_groups(dir: &Path) -> io::Result<()> {
    for name in children(dir) {
        remove_groups(&dir.join(name))?;
    }
    match fs::remove_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
