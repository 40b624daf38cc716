//! Tables for mounts: order, replacement, propagation, modes.

use k8s_openapi::api::core::v1::{ConfigMapVolumeSource, ImageVolumeSource, Volume};

use crate::pod::oci::tests::Fixture;

use super::{anonymous_volumes, asks_recursive, normal_path};

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
    let fault = part.make().unwrap_err();
    assert_eq!(fault.message, "volumeMounts[0]: the part of volume \"v\" is not there");
    let mut wrong = Fixture::new(&[]);
    wrong.mount("v", "/x", false, "Sideways");
    assert!(wrong.make().unwrap_err().message.contains("Sideways"));
}

#[test]
fn a_part_of_a_volume_is_mounted_from_where_it_was_bound() {
    let mut fixture = Fixture::new(&[]);
    fixture.mount("whole", "/whole", false, "");
    fixture.mount("v", "/part", true, "");
    fixture.spec.containers[0].volume_mounts.as_mut().unwrap()[1].sub_path = Some("a".into());
    fixture.prepared.sub_paths.insert(1, "/pod/volume-subpaths/v/main/1".into());
    let list = list(&fixture);
    assert_eq!(list[6], "/whole bind /vol/whole rbind,rprivate,rw");
    assert_eq!(list[7], "/part bind /pod/volume-subpaths/v/main/1 rbind,rprivate,ro");
}

#[test]
fn the_last_words_have_a_file_of_their_own_unless_a_volume_is_there() {
    let mut fixture = Fixture::new(&[]);
    fixture.prepared.message = Some("/pod/message".into());
    let line = "/dev/termination-log bind /pod/message rbind,rprivate,rw";
    assert!(list(&fixture).contains(&line.to_owned()));
    fixture.security().read_only_root_filesystem = Some(true);
    assert!(list(&fixture).contains(&line.to_owned()), "also with a root that is read-only");
    fixture.mount("own", "/dev/termination-log", false, "");
    assert!(!list(&fixture).iter().any(|line| line.contains("/pod/message")));
}

#[test]
fn volumes_of_the_image_are_mounted_where_the_container_mounts_none() {
    let mut fixture = Fixture::new(&[]);
    fixture.mount("own", "/data/", false, "");
    fixture.image.volumes =
        ["/cache", "data", "/cache/", "/data/deep", "/"].map(str::to_owned).to_vec();
    let wanted = anonymous_volumes(&fixture.spec.containers[0], &fixture.image);
    assert_eq!(wanted, ["/cache", "/data/deep"]);
    fixture.prepared.image_volumes.insert("/cache".into(), "/pod/volumes/0".into());
    assert!(list(&fixture).contains(&"/cache bind /pod/volumes/0 rbind,rprivate,rw".to_owned()));
}

#[test]
fn mounts_are_read_only_all_the_way_down_where_host_and_runtime_can() {
    for (able, mode, expected) in [
        (true, "Enabled", Ok("rro")),
        (true, "IfPossible", Ok("rro")),
        (true, "Disabled", Ok("ro")),
        (false, "IfPossible", Ok("ro")),
        (false, "Enabled", Err("volumeMounts[0].recursiveReadOnly: Enabled: volume \"v\"")),
    ] {
        let mut fixture = Fixture::new(&[]);
        fixture.host.recursive_read_only = able;
        fixture.mount("v", "/v", true, "");
        let mounts = fixture.spec.containers[0].volume_mounts.as_mut().unwrap();
        mounts[0].recursive_read_only = Some(mode.into());
        assert_eq!(asks_recursive(&fixture.spec.containers[0]), mode != "Disabled");
        match expected {
            Ok(option) => {
                let line = format!("/v bind /vol/v rbind,rprivate,{option}");
                assert!(list(&fixture).contains(&line), "{able} {mode}");
            }
            Err(text) => {
                let fault = fixture.make().unwrap_err();
                assert!(fault.message.starts_with(text), "{fault}");
            }
        }
    }
}

#[test]
fn what_the_agent_writes_and_what_an_image_holds_no_container_may_change() {
    let volume = |name: &str| Volume { name: name.into(), ..Volume::default() };
    let mut fixture = Fixture::new(&[]);
    fixture.mount("map", "/map", false, "");
    fixture.mount("image", "/image", false, "");
    fixture.spec.volumes = Some(vec![
        Volume { config_map: Some(ConfigMapVolumeSource::default()), ..volume("map") },
        Volume { image: Some(ImageVolumeSource::default()), ..volume("image") },
    ]);
    let list = list(&fixture);
    assert!(list.contains(&"/map bind /vol/map rbind,rprivate,ro".to_owned()), "{list:?}");
    assert!(list.contains(&"/image bind /vol/image rbind,rprivate,ro,noexec".to_owned()));
}

#[test]
fn paths_take_their_normal_form() {
    for (path, normal) in
        [("/", "/"), ("a", "/a"), ("/a/", "/a"), ("//a//./b", "/a/b"), ("/../a/../b", "/b")]
    {
        assert_eq!(normal_path(path), normal, "{path}");
    }
}
