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
    /// systemd, where it is the driver.
    systemd: Option<Systemd>,
}

impl Cgroups {
    /// Finds out what this machine has. `parent` is the group above all pods, such as `/podward`.
    pub fn detect(wish: DriverWish, parent: &str) -> Result<Self, CgroupError> {
        let running = Path::new("/run/systemd/system").is_dir();
        let mounts = failed("read", "/proc/self/mountinfo", table())?;
        let hierarchies = Hierarchies::of(&mounts).ok_or(CgroupError::NotMounted)?;
        let parent = parent.trim_matches('/').to_owned();
        let systemd = match wish {
            DriverWish::Systemd if !running => return Err(CgroupError::NoSystemd),
            DriverWish::Auto if !running => None,
            DriverWish::Cgroupfs => None,
            DriverWish::Auto | DriverWish::Systemd => Some(Systemd::new(&parent)),
        };
        Ok(Self { hierarchies, parent, systemd })
    }

    /// Whether the unified hierarchy is in use.
    pub fn v2(&self) -> bool {
        matches!(self.hierarchies, Hierarchies::V2(_))
    }

    /// Who makes the groups.
    pub fn driver(&self) -> Driver {
        if self.systemd.is_some() { Driver::Systemd } else { Driver::Cgroupfs }
    }

    /// A container's group in the form that the OCI spec's `cgroupsPath` has under this driver.
    pub fn container_path(&self, pod: &PodUid, container: &ContainerId) -> String {
        match &self.systemd {
            Some(systemd) => format!("{}:podward:{container}", systemd.slice(pod)),
            None => format!("/{}/{container}", self.pod_group(pod)),
        }
    }

    /// Makes the pod's group with its limits. Repeating it sets the limits anew.
    pub fn create_pod(&self, pod: &PodUid, limits: &Resources) -> Result<(), CgroupError> {
        match (&self.systemd, &self.hierarchies) {
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
            let there = self.pod_dirs(pod).iter().any(|dir| dir.exists());
            systemd.remove(pod, there)?;
        }
        for dir in self.pod_dirs(pod) {
            remove_group(pod, &dir)?;
        }
        Ok(())
    }

    /// How many processes of a container the kernel has killed for memory.
    pub fn oom_kills(&self, pod: &PodUid, container: &ContainerId) -> u64 {
        let ours = |name: &String| name.contains(container.as_str());
        let count = |file: PathBuf| {
            let text = fs::read_to_string(file).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "))?;
            line.trim().parse::<u64>().ok()
        };
        let groups = self.pod_dirs(pod).into_iter().flat_map(|dir| {
            let names: Vec<String> = children(&dir).into_iter().filter(ours).collect();
            names.into_iter().map(move |name| dir.join(name))
        });
        let files = groups
            .flat_map(|group| ["memory.events", "memory.oom_control"].map(|file| group.join(file)));
        files.filter_map(count).max().unwrap_or(0)
    }

    /// Every pod that has a group, whether it should or not.
    pub fn pods(&self) -> Vec<PodUid> {
        let mut found = BTreeSet::new();
        for root in self.hierarchies.roots() {
            for name in children(&root.join(self.parent_group())) {
                found.extend(match &self.systemd {
                    Some(systemd) => systemd.pod_of(&name),
                    None => name.strip_prefix("pod").map(PodUid::new),
                });
            }
        }
        found.into_iter().collect()
    }

    /// Removes the group above all pods where it is empty: an agent without pods leaves the machine as it found it.
    pub fn remove_parent(&self) {
        if self.systemd.is_none() {
            for root in self.hierarchies.roots() {
                // A pod that still runs keeps it; that is as it should be.
                let _ = fs::remove_dir(root.join(&self.parent));
            }
        }
    }

    /// The pod's group below a hierarchy's root, with the cgroupfs driver.
    fn pod_group(&self, pod: &PodUid) -> String {
        format!("{}/pod{pod}", self.parent)
    }

    /// The group above all pods below a hierarchy's root.
    fn parent_group(&self) -> PathBuf {
        self.systemd.as_ref().map_or_else(|| PathBuf::from(&self.parent), Systemd::parent_path)
    }

    /// The pod's group in every hierarchy, whether it is there or not.
    fn pod_dirs(&self, pod: &PodUid) -> Vec<PathBuf> {
        let group = match &self.systemd {
            Some(systemd) => systemd.parent_path().join(systemd.slice(pod)),
            None => PathBuf::from(self.pod_group(pod)),
        };
        self.hierarchies.roots().into_iter().map(|root| root.join(&group)).collect()
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
