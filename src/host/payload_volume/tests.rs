//! Volumes of files on the real kernel.

use std::cell::Cell;
use std::os::unix::fs::MetadataExt;

use k8s_openapi::api::core::v1::{ConfigMapVolumeSource, SecretVolumeSource};

use crate::base::errors::Chain;
use crate::host::removal::remove_tree;
use crate::host::tests::as_root;
use crate::pod::payload::File as PayloadFile;

use super::*;

/// A volume of a ConfigMap, and one of a Secret.
fn volumes() -> [(Volume, FileKind); 2] {
    let map = Volume {
        name: "v".into(),
        config_map: Some(ConfigMapVolumeSource::default()),
        ..Volume::default()
    };
    let secret = Volume {
        name: "v".into(),
        secret: Some(SecretVolumeSource::default()),
        ..Volume::default()
    };
    [(map, FileKind::ConfigMap), (secret, FileKind::Secret)]
}

/// One file `key` of mode 0400.
#[expect(clippy::unnecessary_wraps, reason = "it stands where contents may be missing")]
fn one(text: &str) -> Result<Payload, PayloadFault> {
    let file = PayloadFile { bytes: text.as_bytes().into(), mode: 0o400 };
    Ok(Payload::from([("key".to_owned(), file)]))
}

/// The tmpfs mounts below a directory.
fn mounted(dir: &Path) -> usize {
    let dir = fs::canonicalize(dir).unwrap();
    table().unwrap().iter().filter(|entry| entry.point.starts_with(&dir)).count()
}

#[test]
fn secrets_lie_in_memory_and_all_of_it_goes_with_the_pod() {
    if !as_root("secrets_lie_in_memory_and_all_of_it_goes_with_the_pod") {
        return;
    }
    for (volume, kind) in volumes() {
        let dir = tempfile::tempdir().unwrap();
        let pod_dir = dir.path().join("pod");
        let spec = PodSpec::default();
        let make = |text: &str| prepare(&spec, &volume, kind, &pod_dir, &|_| one(text)).unwrap();
        let path = make("1");
        assert!(path.ends_with(format!("volumes/kubernetes.io~{}/v", kind.plugin())));
        let key = path.join("key");
        assert_eq!(fs::read_to_string(&key).unwrap(), "1");
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(&key), mode(&path)), (0o400, 0o755));
        assert_eq!(mode(path.parent().unwrap()), 0o750);
        assert_eq!(mounted(dir.path()), usize::from(kind.in_memory()));
        assert_eq!(make("1"), path);
        assert_eq!(mounted(dir.path()), usize::from(kind.in_memory()), "mounted once");
        // A reboot takes the memory.
        if kind.in_memory() {
            crate::host::mounts::unmount(&path).unwrap();
            assert!(!key.exists());
        }
        assert_eq!(make("1"), path);
        assert_eq!(fs::read_to_string(&key).unwrap(), "1");
        remove_tree(&pod_dir).unwrap();
        assert!(!pod_dir.exists());
    }
}

#[test]
fn files_follow_their_content_and_outlive_its_loss() {
    if !as_root("files_follow_their_content_and_outlive_its_loss") {
        return;
    }
    for (volume, kind) in volumes() {
        let dir = tempfile::tempdir().unwrap();
        let pod_dir = dir.path().join("pod");
        let follow =
            |text: &str| refresh(&PodSpec::default(), &volume, kind, &pod_dir, &|_| one(text));
        assert!(!follow("1").unwrap(), "there is no pod yet");
        assert!(!pod_dir.exists());
        let path = prepare(&PodSpec::default(), &volume, kind, &pod_dir, &|_| one("1")).unwrap();
        assert!(!follow("1").unwrap());
        assert!(follow("2").unwrap());
        assert_eq!(fs::read_to_string(path.join("key")).unwrap(), "2");
        let lost = |_: &Volume| Err(PayloadFault("secret \"s\" not found".into()));
        let error = refresh(&PodSpec::default(), &volume, kind, &pod_dir, &lost).unwrap_err();
        assert_eq!(
            Chain(&error).to_string(),
            "MountVolume.SetUp failed for volume \"v\" : secret \"s\" not found"
        );
        assert_eq!(fs::read_to_string(path.join("key")).unwrap(), "2");
        // A pod on its way out: its memory is gone, its directory not yet.
        if kind.in_memory() {
            crate::host::mounts::unmount(&path).unwrap();
            assert!(!follow("3").unwrap());
            assert_eq!(fs::read_dir(&path).unwrap().count(), 0, "no secret reaches the disk");
        }
        remove_tree(&pod_dir).unwrap();
    }
}

#[test]
fn what_is_missing_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let [(volume, kind), _] = volumes();
    let lost = |_: &Volume| Err(PayloadFault("configmap \"c\" not found".into()));
    let spec = PodSpec::default();
    assert!(prepare(&spec, &volume, kind, dir.path(), &lost).is_err());
    let path = prepare(&spec, &volume, kind, dir.path(), &|_| one("1")).unwrap();
    assert_eq!(fs::read_to_string(path.join("key")).unwrap(), "1");
}

#[test]
fn the_content_is_asked_for_when_nobody_else_writes() {
    let dir = tempfile::tempdir().unwrap();
    let [(volume, kind), _] = volumes();
    let spec = PodSpec::default();
    let path = prepare(&spec, &volume, kind, dir.path(), &|_| one("1")).unwrap();
    let tried = Cell::new(false);
    let contents = |_: &Volume| {
        let other = File::open(&path).unwrap();
        tried.set(matches!(other.try_lock(), Err(fs::TryLockError::WouldBlock)));
        one("2")
    };
    assert!(refresh(&PodSpec::default(), &volume, kind, dir.path(), &contents).unwrap());
    assert!(tried.get());
}
