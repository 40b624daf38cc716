//! Tables for mounts: order, replacement, propagation, modes.

use crate::pod::oci::tests::Fixture;

use super::normal_path;

/// The mounts as `destination type source options`, options that all defaults share left out.
fn list(fixture: &Fixture) -> Vec<String> {
    fixture
        .make()
        .unwrap()
        .mounts()
        .iter()
        .flatten()
        .map(|mount| {
            format!(
                "{} {} {} {}",
                mount.destination().display(),
                mount.typ().as_deref().unwrap(),
                mount.source().as_ref().unwrap().display(),
                mount.options().as_ref().unwrap().join(",")
            )
        })
        .collect()
}

/// The destinations in order.
fn destinations(fixture: &Fixture) -> Vec<String> {
    list(fixture).iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn kernel_file_systems_come_first_and_the_sandbox_last() {
    assert_eq!(
        list(&Fixture::new(&[])),
        [
            "/proc proc proc nosuid,noexec,nodev",
            "/dev tmpfs tmpfs nosuid,strictatime,mode=755,size=65536k",
            "/dev/pts devpts devpts nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5",
            "/dev/mqueue mqueue mqueue nosuid,noexec,nodev",
            "/sys sysfs sysfs nosuid,noexec,nodev,ro",
            "/sys/fs/cgroup cgroup cgroup nosuid,noexec,nodev,relatime,ro",
            "/etc/hosts bind /run/p/hosts rbind,rprivate,rw",
            "/etc/hostname bind /run/p/hostname rbind,rprivate,rw",
            "/etc/resolv.conf bind /run/p/resolv.conf rbind,rprivate,rw",
            "/dev/shm bind /run/p/shm rbind,rprivate,rw",
        ]
    );
}

#[test]
fn volumes_are_mounted_by_depth_with_their_mode_and_propagation() {
    let mut fixture = Fixture::new(&[]);
    fixture.mount("cache", "/data/deep/cache", false, "");
    fixture.mount("data", "/data/", true, "None");
    fixture.mount("host", "rootfs", true, "HostToContainer");
    let list = list(&fixture);
    assert_eq!(
        list[6..8],
        ["/data bind /vol/data rbind,rprivate,ro", "/rootfs bind /vol/host rbind,rslave,ro"]
    );
    assert_eq!(list.last().unwrap(), "/data/deep/cache bind /vol/cache rbind,rprivate,rw");
}

#[test]
fn the_roots_propagation_is_as_wide_as_the_widest_mount_needs() {
    for (propagations, expected) in [
        (&["", "None"][..], None),
        (&["HostToContainer", ""], Some("rslave")),
        (&["Bidirectional", "HostToContainer"], Some("rshared")),
    ] {
        let mut fixture = Fixture::new(&[]);
        for (n, propagation) in propagations.iter().enumerate() {
            fixture.mount(&format!("v{n}"), &format!("/v{n}"), false, propagation);
        }
        let spec = fixture.make().unwrap();
        let linux = spec.linux().as_ref().unwrap();
        assert_eq!(linux.rootfs_propagation().as_deref(), expected, "{propagations:?}");
    }
}

#[test]
fn a_volume_takes_the_place_of_what_would_be_mounted_there() {
    let mut fixture = Fixture::new(&[]);
    for (name, path) in [
        ("sys", "/sys"),
        ("hosts", "/etc/hosts"),
        ("shm", "/dev/shm"),
        ("resolv", "/etc/../etc//resolv.conf"),
    ] {
        fixture.mount(name, path, false, "");
    }
    assert_eq!(
        destinations(&fixture),
        [
            "/proc",
            "/dev",
            "/dev/pts",
            "/dev/mqueue",
            "/sys/fs/cgroup",
            "/sys",
            "/etc/hosts",
            "/dev/shm",
            "/etc/resolv.conf",
            "/etc/hostname",
        ]
    );
}

#[test]
fn a_volume_at_dev_replaces_all_of_the_default_dev() {
    let mut fixture = Fixture::new(&[]);
    fixture.mount("dev", "/dev", false, "");
    assert_eq!(
        destinations(&fixture),
        [
            "/proc",
            "/sys",
            "/sys/fs/cgroup",
            "/dev",
            "/etc/hosts",
            "/etc/hostname",
            "/etc/resolv.conf",
            "/dev/shm",
        ]
    );
}

#[test]
fn a_privileged_container_may_write_to_sys_and_its_cgroups() {
    let mut fixture = Fixture::new(&[]);
    fixture.security().privileged = Some(true);
    let list = list(&fixture);
    assert_eq!(list[4], "/sys sysfs sysfs nosuid,noexec,nodev,rw");
    assert_eq!(list[5], "/sys/fs/cgroup cgroup cgroup nosuid,noexec,nodev,relatime,rw");
}

#[test]
fn a_read_only_root_makes_the_runtimes_files_read_only_but_not_hosts_and_shm() {
    let mut fixture = Fixture::new(&[]);
    fixture.security().read_only_root_filesystem = Some(true);
    let modes: Vec<_> = list(&fixture)[6..].iter().map(|line| line.ends_with(",ro")).collect();
    assert_eq!(modes, [false, true, true, false]);
}

#[test]
fn faulty_mounts_are_refused_by_name() {
    let mut missing = Fixture::new(&[]);
    missing.mount("gone", "/x", false, "");
    missing.volumes.clear();
    let fault = missing.make().unwrap_err();
    assert_eq!(fault.message, "cannot find volume \"gone\" to mount into container \"main\"");
    let mut part = Fixture::new(&[]);
    part.mount("v", "/x", false, "");
    part.spec.containers[0].volume_mounts.as_mut().unwrap()[0].sub_path = Some("a".into());
    assert!(part.make().unwrap_err().message.contains("subPath"));
    let mut wrong = Fixture::new(&[]);
    wrong.mount("v", "/x", false, "Sideways");
    assert!(wrong.make().unwrap_err().message.contains("Sideways"));
}

#[test]
fn paths_take_their_normal_form() {
    for (path, normal) in
        [("/", "/"), ("a", "/a"), ("/a/", "/a"), ("//a//./b", "/a/b"), ("/../a/../b", "/b")]
    {
        assert_eq!(normal_path(path), normal, "{path}");
    }
}
