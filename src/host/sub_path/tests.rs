//! Parts of volumes, and attempts to lead them astray.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::host::mounts::table;
use crate::host::tests::as_root;

use super::*;

/// A volume and, beside it, what nobody may reach.
fn place() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (volume, outside) = (dir.path().join("volume"), dir.path().join("outside"));
    fs::create_dir(&volume).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    (dir, volume, outside)
}

/// The inode that a path leads to, or the error's text.
fn found(volume: &Path, path: &str) -> Result<u64, String> {
    let found = find(volume, path).map_err(|error| error.to_string())?;
    Ok(fstat(&found).unwrap().st_ino)
}

/// The inode of a path.
fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

#[test]
fn a_part_that_is_there_is_found_also_by_links_that_stay_inside() {
    let (_dir, volume, _) = place();
    fs::create_dir_all(volume.join("..data_1/deep")).unwrap();
    fs::write(volume.join("..data_1/key"), "x").unwrap();
    symlink("..data_1", volume.join("..data")).unwrap();
    symlink("..data/key", volume.join("key")).unwrap();
    symlink("../..data_1/key", volume.join("..data_1/round")).unwrap();
    let key = inode(&volume.join("..data_1/key"));
    for path in ["key", "..data/key", "./..data//key", "..data_1/round"] {
        assert_eq!(found(&volume, path), Ok(key), "{path}");
    }
    assert_eq!(found(&volume, "."), Ok(inode(&volume)));
}

#[test]
fn missing_directories_are_made_with_the_mode_of_the_volume() {
    let (_dir, volume, _) = place();
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o2775)).unwrap();
    fs::create_dir(volume.join("there")).unwrap();
    for _ in 0..2 {
        assert_eq!(found(&volume, "there/a/b"), Ok(inode(&volume.join("there/a/b"))));
    }
    for made in ["there/a", "there/a/b"] {
        assert_eq!(fs::metadata(volume.join(made)).unwrap().mode() & 0o7777, 0o2775, "{made}");
    }
}

#[test]
fn no_link_leads_out_of_the_volume() {
    let (_dir, volume, outside) = place();
    symlink("/", volume.join("root")).unwrap();
    symlink("../outside", volume.join("up")).unwrap();
    symlink(&outside, volume.join("absolute")).unwrap();
    symlink("up", volume.join("chain")).unwrap();
    fs::create_dir(volume.join("dir")).unwrap();
    symlink("../../../../../../../../etc", volume.join("dir/far")).unwrap();
    symlink("/proc/self/root", volume.join("magic")).unwrap();
    for path in [
        "root",
        "root/etc/passwd",
        "up",
        "up/secret",
        "up/new",
        "absolute",
        "chain/secret",
        "dir/far",
        "dir/far/passwd",
        "magic",
        "magic/etc",
        "../outside",
        "dir/../../outside",
    ] {
        let error = found(&volume, path).unwrap_err();
        assert!(error.contains("leads out of the volume"), "{path}: {error}");
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "something was made outside");
}

#[test]
fn nothing_is_made_through_a_link_that_leads_nowhere() {
    let (dir, volume, _) = place();
    symlink("nowhere", volume.join("dangling")).unwrap();
    symlink("../made", volume.join("trap")).unwrap();
    let error = found(&volume, "dangling/new").unwrap_err();
    assert!(error.contains("symlink"), "{error}");
    assert!(found(&volume, "trap/new").is_err());
    assert!(!dir.path().join("made").exists() && !volume.join("nowhere").exists());
    fs::write(volume.join("file"), "x").unwrap();
    let error = found(&volume, "file/below").unwrap_err();
    assert!(error.contains("a file or a symlink"), "{error}");
}

#[test]
fn a_link_that_is_swapped_in_between_two_starts_is_noticed() {
    if !as_root("a_link_that_is_swapped_in_between_two_starts_is_noticed") {
        return;
    }
    let (dir, volume, outside) = place();
    let target = fs::canonicalize(dir.path()).unwrap().join("pod/0");
    let part =
        Part { volume: &volume, path: "data", target: &target, propagation: Propagation::None };
    bind(&part).unwrap();
    fs::write(volume.join("data/mine"), "x").unwrap();
    assert!(target.join("mine").exists());
    fs::rename(volume.join("data"), volume.join("aside")).unwrap();
    symlink(&outside, volume.join("data")).unwrap();
    assert!(target.join("mine").exists(), "what is mounted stays what it was");
    assert!(matches!(bind(&part), Err(SubPathError::Outside)));
    assert!(!target.exists(), "what the last start mounted is gone");
    fs::remove_file(volume.join("data")).unwrap();
    fs::write(volume.join("data"), "a file now").unwrap();
    bind(&part).unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), "a file now");
    let count = table().unwrap().iter().filter(|entry| entry.point == target).count();
    assert_eq!(count, 1);
    remove_tree(&dir.path().join("pod")).unwrap();
    assert!(outside.join("secret").exists() && volume.join("data").exists());
}

#[test]
fn unmounting_a_part_leaves_the_hosts_mounts_alone() {
    if !as_root("unmounting_a_part_leaves_the_hosts_mounts_alone") {
        return;
    }
    for propagation in [Propagation::None, Propagation::HostToContainer, Propagation::Bidirectional]
    {
        let (dir, volume, _) = place();
        let base = fs::canonicalize(dir.path()).unwrap();
        let own = |target: &Path, flags| {
            mount(Some("none"), target, Some("tmpfs"), flags, None::<&str>).unwrap();
        };
        let volume = fs::canonicalize(volume).unwrap();
        own(&volume, MsFlags::empty());
        mount(None::<&str>, &volume, None::<&str>, MsFlags::MS_SHARED, None::<&str>).unwrap();
        let target = base.join("pod/0");
        let part = Part { volume: &volume, path: "data", target: &target, propagation };
        bind(&part).unwrap();
        fs::create_dir(volume.join("data/disk")).unwrap();
        own(&volume.join("data/disk"), MsFlags::empty());
        let travels = table().unwrap().iter().any(|entry| entry.point == target.join("disk"));
        assert_eq!(travels, propagation != Propagation::None, "{propagation:?}");
        remove_tree(&base.join("pod")).unwrap();
        let stays = table().unwrap().iter().any(|entry| entry.point == volume.join("data/disk"));
        remove_tree(&volume).unwrap();
        assert!(stays, "{propagation:?}: the host's own mount was undone");
    }
}
