//! Control groups on the real kernel, each test below a parent of its own.

use std::process::{Child, Command};

use crate::host::tests::as_root;

use super::*;

/// Control groups with a parent that nobody else uses; all of it goes at the end.
struct Own {
    cgroups: Cgroups,
}

impl Own {
    fn new(name: &str) -> Self {
        let parent = format!("/podward-test-{}-{name}", std::process::id());
        Self { cgroups: Cgroups::detect(DriverWish::Cgroupfs, &parent).unwrap() }
    }

    fn limits() -> Resources {
        Resources {
            cpu_shares: 512,
            cpu_quota: Some(50_000),
            cpu_period: 100_000,
            memory_limit: Some(64 << 20),
        }
    }

    /// A process in a container's group below the pod's, in every hierarchy.
    fn process(&self, pod: &PodUid) -> Child {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        for dir in self.cgroups.pod_dirs(pod) {
            // What an untouched cpuset lacks before it takes processes.
            let group = dir.join("container");
            fs::create_dir_all(&group).unwrap();
            for file in ["cpuset.cpus", "cpuset.mems"] {
                for at in [dir.parent().unwrap(), &dir, &group] {
                    if let Ok(value) = fs::read_to_string(at.parent().unwrap().join(file)) {
                        let _ = fs::write(at.join(file), value.trim());
                    }
                }
            }
            fs::write(group.join("cgroup.procs"), child.id().to_string()).unwrap();
        }
        child
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        for pod in self.cgroups.pods() {
            let _ = self.cgroups.kill_pod(&pod);
            let _ = self.cgroups.remove_pod(&pod);
        }
        self.cgroups.remove_parent();
    }
}

#[test]
fn a_pods_limits_are_in_the_kernel_before_its_containers() {
    if !as_root("a_pods_limits_are_in_the_kernel_before_its_containers") {
        return;
    }
    let own = Own::new("limits");
    let pod = PodUid::new("u-1");
    own.cgroups.create_pod(&pod, &Own::limits()).unwrap();
    own.cgroups.create_pod(&pod, &Own::limits()).unwrap();
    let read = |controller: &str, file: &str| {
        let dirs = own.cgroups.pod_dirs(&pod);
        let dir = match &own.cgroups.hierarchies {
            Hierarchies::V2(_) => dirs[0].clone(),
            Hierarchies::V1(all) => {
                let at = all.iter().position(|h| h.controllers == [controller]).unwrap();
                dirs[at].clone()
            }
        };
        fs::read_to_string(dir.join(file)).unwrap().trim().to_owned()
    };
    if own.cgroups.v2() {
        assert_eq!(read("", "cpu.max"), "50000 100000");
        assert_eq!(read("", "memory.max"), "67108864");
    } else {
        assert_eq!(read("cpu", "cpu.shares"), "512");
        assert_eq!(read("cpu", "cpu.cfs_quota_us"), "50000");
        assert_eq!(read("memory", "memory.limit_in_bytes"), "67108864");
    }
    assert_eq!(own.cgroups.pods(), [PodUid::new("u-1")]);
    let unlimited = Resources { cpu_quota: None, memory_limit: None, ..Own::limits() };
    own.cgroups.create_pod(&pod, &unlimited).unwrap();
    own.cgroups.remove_pod(&pod).unwrap();
    own.cgroups.remove_pod(&pod).unwrap();
    assert_eq!(own.cgroups.pods(), []);
}

#[test]
fn a_pod_is_killed_as_a_whole_and_removed_with_its_leftovers() {
    if !as_root("a_pod_is_killed_as_a_whole_and_removed_with_its_leftovers") {
        return;
    }
    let own = Own::new("kill");
    let pod = PodUid::new("u-2");
    own.cgroups.create_pod(&pod, &Own::limits()).unwrap();
    let mut child = own.process(&pod);
    let reaper = thread::spawn(move || child.wait().unwrap());
    own.cgroups.kill_pod(&pod).unwrap();
    assert!(!reaper.join().unwrap().success());
    own.cgroups.kill_pod(&pod).unwrap();
    own.cgroups.remove_pod(&pod).unwrap();
    assert_eq!(own.cgroups.pods(), []);
    assert!(own.cgroups.pod_dirs(&pod).iter().all(|dir| !dir.exists()));
}

#[test]
fn a_pod_that_lives_is_not_removed_and_its_processes_are_named() {
    if !as_root("a_pod_that_lives_is_not_removed_and_its_processes_are_named") {
        return;
    }
    let own = Own::new("alive");
    let pod = PodUid::new("u-3");
    let mut child = own.process(&pod);
    let id = i32::try_from(child.id()).unwrap();
    let error = own.cgroups.remove_pod(&pod).unwrap_err();
    assert!(matches!(&error, CgroupError::Alive { pids, .. } if *pids == [id]), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    own.cgroups.remove_pod(&pod).unwrap();
}

#[test]
fn containers_lie_below_their_pod_in_either_drivers_words() {
    let (pod, container) = (PodUid::new("a-b"), ContainerId::new("c0ffee"));
    let hierarchies = Hierarchies::V2(ROOT.into());
    let plain =
        Cgroups { hierarchies, parent: "podward".into(), driver: Driver::Cgroupfs, systemd: None };
    assert_eq!(plain.container_path(&pod, &container), "/podward/poda-b/c0ffee");
    let systemd = Some(Systemd::new("podward"));
    let aside = Cgroups { systemd: systemd.clone(), ..plain.clone() };
    assert_eq!(aside.container_path(&pod, &container), "/podward/poda-b/c0ffee");
    let systemd = Cgroups { driver: Driver::Systemd, systemd, ..plain };
    assert_eq!(systemd.container_path(&pod, &container), "podward-poda_b.slice:podward:c0ffee");
    // Whoever makes groups now, those of the other driver are killed and removed as well.
    let both =
        ["podward.slice/podward-poda_b.slice", "podward/poda-b"].map(|at| Path::new(ROOT).join(at));
    assert_eq!(systemd.pod_dirs(&pod), both);
    assert_eq!(aside.pod_dirs(&pod), both);
}

#[test]
fn kills_for_memory_are_known_also_after_systemd_took_the_scope_away() {
    let root = tempfile::tempdir().unwrap();
    let (pod, container) = (PodUid::new("a"), ContainerId::new("c0ffee"));
    let cgroups = Cgroups {
        hierarchies: Hierarchies::V2(root.path().to_owned()),
        parent: "podward".into(),
        driver: Driver::Systemd,
        systemd: Some(Systemd::new("podward")),
    };
    let slice = root.path().join("podward.slice/podward-poda.slice");
    let write = |dir: &Path, kills: u64| {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join("memory.events"), format!("oom 9\noom_kill {kills}\n")).unwrap();
    };
    assert_eq!(
        (cgroups.oom_kills(&pod, &container), cgroups.oom_kills_of_the_gone(&pod)),
        (None, 0)
    );
    // Two kills of an earlier attempt, one of a container that lives, none yet of this one.
    write(&slice, 3);
    write(&slice.join("podward-0ther.scope"), 1);
    write(&slice.join("podward-c0ffee.scope"), 0);
    assert_eq!(
        (cgroups.oom_kills(&pod, &container), cgroups.oom_kills_of_the_gone(&pod)),
        (Some(0), 2)
    );
    write(&slice, 4);
    write(&slice.join("podward-c0ffee.scope"), 1);
    assert_eq!(
        (cgroups.oom_kills(&pod, &container), cgroups.oom_kills_of_the_gone(&pod)),
        (Some(1), 2)
    );
    fs::remove_dir_all(slice.join("podward-c0ffee.scope")).unwrap();
    assert_eq!(
        (cgroups.oom_kills(&pod, &container), cgroups.oom_kills_of_the_gone(&pod)),
        (None, 3)
    );
}

#[test]
fn the_kernels_interface_is_told_by_what_is_mounted() {
    let entry = |point: &str, kind: &str, options: &str| MountEntry {
        point: point.into(),
        kind: kind.into(),
        options: options.split(',').map(Into::into).collect(),
        shared: false,
    };
    let v2 = [entry("/", "ext4", "rw"), entry("/sys/fs/cgroup", "cgroup2", "rw")];
    assert_eq!(Hierarchies::of(&v2), Some(Hierarchies::V2(ROOT.into())));
    let hybrid = [
        entry("/sys/fs/cgroup", "tmpfs", "rw,mode=755"),
        entry("/sys/fs/cgroup/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct"),
        entry("/mnt/cpu", "cgroup", "rw,cpu,cpuacct"),
        entry("/sys/fs/cgroup/systemd", "cgroup", "rw,name=systemd"),
        entry("/sys/fs/cgroup/unified", "cgroup2", "rw"),
    ];
    let Some(found @ Hierarchies::V1(_)) = Hierarchies::of(&hybrid) else { panic!("not v1") };
    assert_eq!(
        found.roots(),
        ["cpu,cpuacct", "systemd", "unified"].map(|name| Path::new(ROOT).join(name))
    );
    assert_eq!(Hierarchies::of(&v2[..1]), None);
}
