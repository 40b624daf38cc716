//! Volumes on the real kernel.

use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;

use k8s_openapi::api::core::v1::{Container, NFSVolumeSource, VolumeMount};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use nix::sys::statvfs::statvfs;

use crate::base::errors::Chain;
use crate::host::tests::as_root;

use super::*;

/// Makes the volumes of a pod that takes no files from anywhere.
fn prepare(spec: &PodSpec, pod_dir: &Path) -> Result<BTreeMap<String, PathBuf>, VolumeError> {
    super::prepare(spec, pod_dir, &|_| Err(PayloadFault("no files here".into())))
}

fn pod(volumes: Vec<Volume>) -> PodSpec {
    PodSpec { volumes: Some(volumes), ..PodSpec::default() }
}

fn host(path: &Path, kind: &str) -> PodSpec {
    pod(vec![Volume {
        name: "v".into(),
        host_path: Some(HostPathVolumeSource {
            path: path.display().to_string(),
            type_: Some(kind.into()),
        }),
        ..Volume::default()
    }])
}

fn memory(limit: &str) -> PodSpec {
    pod(vec![Volume {
        name: "m".into(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: Some("Memory".into()),
            size_limit: Some(Quantity(limit.into())),
        }),
        ..Volume::default()
    }])
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn each_type_takes_what_kubernetes_takes() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("dir")).unwrap();
    fs::write(at("file"), "").unwrap();
    let _listener = UnixListener::bind(at("socket")).unwrap();
    for name in ["dir", "file", "socket"] {
        std::os::unix::fs::symlink(at(name), at(&format!("to-{name}"))).unwrap();
    }
    let null = PathBuf::from("/dev/null");
    for (kind, fits, noun) in [
        ("DirectoryOrCreate", vec![at("dir"), at("to-dir")], "directory"),
        ("Directory", vec![at("dir"), at("to-dir")], "directory"),
        ("FileOrCreate", vec![at("file"), at("to-file")], "file"),
        ("File", vec![at("file"), at("to-file")], "file"),
        ("Socket", vec![at("socket"), at("to-socket")], "socket file"),
        ("CharDevice", vec![null.clone()], "character device"),
        ("BlockDevice", vec![], "block device"),
    ] {
        for path in [at("dir"), at("to-dir"), at("file"), at("to-file"), at("socket"), null.clone()]
        {
            let result = prepare(&host(&path, kind), dir.path());
            if fits.contains(&path) {
                assert_eq!(result.unwrap()["v"], fs::canonicalize(&path).unwrap(), "{kind}");
            } else if !(kind.starts_with("Socket") && path == at("to-socket")) {
                assert_eq!(
                    result.unwrap_err().to_string(),
                    format!(
                        "MountVolume.SetUp failed for volume \"v\" : hostPath type check failed: \
                         {} is not a {noun}",
                        path.display()
                    )
                );
            }
        }
        if !kind.ends_with("OrCreate") {
            assert!(prepare(&host(&at("missing"), kind), dir.path()).is_err(), "{kind}");
        }
    }
    assert!(prepare(&host(&null, ""), dir.path()).is_ok());
    let error = prepare(&host(&null, "Folder"), dir.path()).unwrap_err();
    assert!(error.to_string().ends_with("Folder is an invalid volume type"), "{error}");
}

#[test]
fn what_is_missing_is_made_where_the_type_allows_it() {
    let dir = tempfile::tempdir().unwrap();
    for (kind, name) in [("", "a/b"), ("DirectoryOrCreate", "c/d"), ("FileOrCreate", "file")] {
        let path = dir.path().join(name);
        assert_eq!(prepare(&host(&path, kind), dir.path()).unwrap()["v"], path);
        assert_eq!(path.is_dir(), kind != "FileOrCreate", "{kind}");
    }
    assert_eq!(mode(&dir.path().join("a/b")), 0o755);
    assert_eq!(mode(&dir.path().join("file")), 0o644);
    let orphan = host(&dir.path().join("no/such/parent"), "FileOrCreate");
    let error = prepare(&orphan, dir.path()).unwrap_err();
    assert!(Chain(&error).to_string().contains("create file"), "{}", Chain(&error));
    assert!(!dir.path().join("no").exists());
}

#[test]
fn an_empty_dir_is_open_to_all_and_keeps_its_content() {
    let dir = tempfile::tempdir().unwrap();
    let unnamed = Volume { name: "scratch".into(), ..Volume::default() };
    let pod_dir = dir.path().join("pod");
    let path = prepare(&pod(vec![unnamed.clone()]), &pod_dir).unwrap()["scratch"].clone();
    assert!(path.ends_with("volumes/kubernetes.io~empty-dir/scratch"));
    assert_eq!(mode(&path), 0o777);
    fs::write(path.join("kept"), "x").unwrap();
    prepare(&pod(vec![unnamed]), &pod_dir).unwrap();
    assert!(path.join("kept").exists());
    remove(&pod_dir).unwrap();
    assert!(!pod_dir.exists());
    remove(&pod_dir).unwrap();
}

#[test]
fn an_empty_dir_in_memory_is_mounted_once_and_gone_afterwards() {
    if !as_root("an_empty_dir_in_memory_is_mounted_once_and_gone_afterwards") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let pod_dir = dir.path().join("pod");
    let path = prepare(&memory("1Mi"), &pod_dir).unwrap()["m"].clone();
    fs::write(path.join("kept"), "x").unwrap();
    assert_eq!(prepare(&memory("1Mi"), &pod_dir).unwrap()["m"], path);
    assert!(path.join("kept").exists());
    assert_eq!(mode(&path), 0o777);
    let size = statvfs(&path).unwrap();
    assert_eq!(size.blocks() * size.fragment_size(), 1 << 20);
    let count = table().unwrap().iter().filter(|entry| entry.point == path).count();
    assert_eq!(count, 1);
    remove(&pod_dir).unwrap();
    assert!(!pod_dir.exists());
    assert!(!table().unwrap().iter().any(|entry| entry.point.starts_with(dir.path())));
}

#[test]
fn a_volume_in_memory_is_no_larger_than_its_pod() {
    let container = |limit: &str| Container {
        resources: Some(k8s_openapi::api::core::v1::ResourceRequirements {
            limits: Some([("memory".to_owned(), Quantity(limit.into()))].into()),
            ..Default::default()
        }),
        ..Container::default()
    };
    let source = |limit: &str| EmptyDirVolumeSource {
        medium: None,
        size_limit: (!limit.is_empty()).then(|| Quantity(limit.into())),
    };
    for (containers, limit, expected) in [
        (vec![], "", None),
        (vec![Container::default()], "", None),
        (vec![container("1Gi")], "", Some(1 << 30)),
        (vec![container("1Gi"), Container::default()], "", None),
        (vec![container("1Gi")], "1Mi", Some(1 << 20)),
        (vec![container("1Mi")], "1Gi", Some(1 << 20)),
        (vec![container("1Mi")], "0", Some(1 << 20)),
    ] {
        let spec = PodSpec { containers, ..PodSpec::default() };
        assert_eq!(memory_size(&spec, &source(limit)), expected);
    }
}

#[test]
fn other_volumes_and_media_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let network =
        Volume { name: "n".into(), nfs: Some(NFSVolumeSource::default()), ..Volume::default() };
    let pages = Volume {
        name: "h".into(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: Some("HugePages".into()),
            size_limit: None,
        }),
        ..Volume::default()
    };
    for volume in [network, pages] {
        let name = volume.name.clone();
        let error = prepare(&pod(vec![volume]), dir.path()).unwrap_err();
        assert!(error.to_string().contains(&format!("volume \"{name}\"")), "{error}");
    }
}

#[test]
fn mounts_travel_to_the_host_from_shared_mounts_only() {
    if !as_root("mounts_travel_to_the_host_from_shared_mounts_only") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = fs::canonicalize(dir.path()).unwrap();
    let mut spec = host(&path, "Directory");
    spec.containers = vec![Container {
        volume_mounts: Some(vec![VolumeMount {
            name: "v".into(),
            mount_path: "/v".into(),
            mount_propagation: Some("Bidirectional".into()),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    }];
    mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    let set = |flag| mount(None::<&str>, &path, None::<&str>, flag, None::<&str>).unwrap();
    set(MsFlags::MS_PRIVATE);
    let private = prepare(&spec, dir.path());
    set(MsFlags::MS_SHARED);
    let shared = prepare(&spec, dir.path());
    nix::mount::umount(&path).unwrap();
    let message = private.unwrap_err().to_string();
    assert!(message.contains("is not a shared mount"), "{message}");
    assert_eq!(shared.unwrap()["v"], path);
}
