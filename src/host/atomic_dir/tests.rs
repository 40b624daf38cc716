//! The layout, its changes, and what a writer that died left behind.

use std::os::unix::fs::MetadataExt;

use crate::pod::payload::File;

use super::*;

/// Files of mode 0644.
fn payload(files: &[(&str, &str)]) -> Payload {
    files
        .iter()
        .map(|(path, text)| {
            ((*path).to_owned(), File { bytes: text.as_bytes().into(), mode: 0o644 })
        })
        .collect()
}

/// Writes without a last touch.
fn put(root: &Path, files: &[(&str, &str)]) -> bool {
    write(root, &payload(files), |_| Ok(())).unwrap()
}

/// Every entry of a directory, versions as `..`.
fn entries(root: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| if name.starts_with("..2") { "..".to_owned() } else { name })
        .collect();
    names.sort();
    names
}

#[test]
fn files_are_seen_through_links() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    assert!(!is_written(root));
    assert!(put(root, &[("a", "1"), ("sub/b", "2"), ("sub/deep/c", "3")]));
    assert!(is_written(root));
    assert_eq!(entries(root), ["..", "..data", "a", "sub"]);
    for (path, text) in [("a", "1"), ("sub/b", "2"), ("sub/deep/c", "3")] {
        assert_eq!(fs::read_to_string(root.join(path)).unwrap(), text);
    }
    assert_eq!(fs::read_link(root.join("sub")).unwrap(), Path::new("..data/sub"));
    let version = fs::read_link(root.join("..data")).unwrap();
    assert_eq!(version.to_string_lossy().len(), "..2026_01_31_12_00_00.123456789".len());
}

#[test]
fn modes_are_as_asked_whatever_the_umask() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = payload(&[("sub/open", "x"), ("shut", "x")]);
    files.get_mut("sub/open").unwrap().mode = 0o777;
    files.get_mut("shut").unwrap().mode = 0o400;
    write(dir.path(), &files, |_| Ok(())).unwrap();
    let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("sub/open"), mode("shut")), (0o777, 0o400));
    assert_eq!((mode("sub"), mode("..data")), (0o755, 0o755));
}

#[test]
fn the_same_content_is_not_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    assert!(put(root, &[("a", "1"), ("s/b", "2")]));
    let version = fs::read_link(root.join("..data")).unwrap();
    assert!(!put(root, &[("a", "1"), ("s/b", "2")]));
    assert_eq!(fs::read_link(root.join("..data")).unwrap(), version);
    for other in [
        &[("a", "2"), ("s/b", "2")][..],
        &[("a", "2")],
        &[("a", "2"), ("s/c", "")],
        &[],
        &[("a", "")],
    ] {
        assert!(put(root, other), "{other:?}");
        assert!(!put(root, other), "{other:?}");
    }
}

#[test]
fn a_change_swaps_all_at_once_and_leaves_nothing_old() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    put(root, &[("a", "1"), ("gone", "1"), ("sub/x", "1")]);
    let old = fs::canonicalize(root.join("..data")).unwrap();
    let open = fs::File::open(root.join("a")).unwrap();
    let seen = write(root, &payload(&[("a", "2"), ("new", "2")]), |fresh| {
        // Nothing of it shows yet.
        assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "1");
        assert_eq!(fs::read_to_string(fresh.join("a")).unwrap(), "2");
        Ok(())
    });
    assert!(seen.unwrap());
    assert_eq!(entries(root), ["..", "..data", "a", "new"]);
    assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "2");
    assert!(!old.exists());
    assert_eq!(io::read_to_string(open).unwrap(), "1", "whoever reads the old file goes on");
}

#[test]
fn a_writer_that_died_half_way_is_made_good_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    put(root, &[("a", "1"), ("b", "1")]);
    // It died while writing files.
    let fresh = make_dir(root).unwrap();
    fs::write(root.join(&fresh).join("a"), "2").unwrap();
    assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "1");
    assert!(!put(root, &[("a", "1"), ("b", "1")]));
    assert_eq!(entries(root), ["..", "..data", "a", "b"]);
    // It died before the rename.
    let fresh = make_dir(root).unwrap();
    symlink(&fresh, root.join(FRESH_DATA)).unwrap();
    assert!(put(root, &[("a", "2"), ("b", "1")]));
    assert_eq!(entries(root), ["..", "..data", "a", "b"]);
    // It died behind the rename: links are missing, old ones are left, and so is the old version.
    let fresh = make_dir(root).unwrap();
    fill(&root.join(&fresh), &payload(&[("a", "3"), ("c", "3")])).unwrap();
    swap(root, &fresh).unwrap();
    assert!(!put(root, &[("a", "3"), ("c", "3")]));
    assert_eq!(entries(root), ["..", "..data", "a", "c"]);
    assert_eq!(fs::read_to_string(root.join("c")).unwrap(), "3");
}

#[test]
fn a_version_that_a_power_loss_tore_is_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    put(root, &[("a", "1")]);
    let file = fs::canonicalize(root.join("a")).unwrap();
    fs::write(&file, "").unwrap();
    assert!(put(root, &[("a", "1")]));
    fs::remove_dir_all(fs::canonicalize(root.join("..data")).unwrap()).unwrap();
    assert!(put(root, &[("a", "1")]));
    assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "1");
}

#[test]
fn a_failure_leaves_the_old_files() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    put(root, &[("a", "1")]);
    let refused = write(root, &payload(&[("a", "2")]), |_| Err(io::Error::other("no")));
    assert_eq!(refused.unwrap_err().to_string(), "no");
    assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "1");
    assert!(put(root, &[("a", "2")]));
    assert_eq!(entries(root), ["..", "..data", "a"]);
}

#[test]
fn a_mount_point_of_another_volume_stays() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::create_dir(root.join("cache")).unwrap();
    put(root, &[("a", "1"), ("cache", "in the way")]);
    put(root, &[]);
    assert_eq!(entries(root), ["..", "..data", "cache"]);
}
