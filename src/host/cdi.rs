//! The files in which vendors describe their devices.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};

use crate::pod::cdi::{CdiEdits, CdiFile, CdiNode};
use crate::pod::sandbox::{DeviceKind, HostDevice};

/// The files of all directories, the least first. One that is no description of devices is left out, with the
/// reason: it may be a vendor's whose devices nobody asks for.
pub fn files(dirs: &[PathBuf]) -> (Vec<CdiFile>, Vec<String>) {
    let (mut files, mut faults) = (Vec::new(), Vec::new());
    for dir in dirs {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut paths: Vec<PathBuf> = entries.filter(|path| describes(path)).collect();
        paths.sort_unstable();
        for path in paths {
            match read(&path) {
                Ok(file) => files.push(file),
                Err(why) => faults.push(format!("{}: {why}", path.display())),
            }
        }
    }
    (files, faults)
}

/// Whether a file's name is one of a description.
fn describes(path: &Path) -> bool {
    matches!(path.extension().and_then(|ending| ending.to_str()), Some("json" | "yaml" | "yml"))
}

/// Reads one file; JSON is YAML.
fn read(path: &Path) -> Result<CdiFile, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    // By way of a value: a parser for each type is large.
    let value: serde_json::Value =
        serde_saphyr::from_str(&text).map_err(|error| error.to_string())?;
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// The host's nodes at the places that changes name.
pub fn nodes(edits: &[CdiEdits]) -> Vec<HostDevice> {
    let sources = edits.iter().flat_map(|edit| &edit.device_nodes).map(CdiNode::source);
    sources.filter_map(|path| node(path)).collect()
}

/// The node at one place.
fn node(path: &Path) -> Option<HostDevice> {
    let found = fs::metadata(path).ok()?;
    let kind = found.file_type();
    let device = kind.is_block_device() || kind.is_char_device();
    device.then_some(())?;
    Some(HostDevice {
        path: path.to_owned(),
        kind: if kind.is_block_device() { DeviceKind::Block } else { DeviceKind::Character },
        major: u32::try_from(major(found.rdev())).ok()?,
        minor: u32::try_from(minor(found.rdev())).ok()?,
        mode: found.mode() & 0o7777,
        uid: found.uid(),
        gid: found.gid(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_later_directories_come_later_and_broken_ones_are_named() {
        let (etc, run) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(etc.path().join("b.yaml"), "cdiVersion: 0.6.0\nkind: v.com/b\ndevices: []\n")
            .unwrap();
        fs::write(etc.path().join("a.json"), r#"{"cdiVersion": "0.6.0", "kind": "v.com/a"}"#)
            .unwrap();
        fs::write(etc.path().join("notes.txt"), "kind: no").unwrap();
        fs::write(run.path().join("c.json"), "{").unwrap();
        fs::write(run.path().join("d.yml"), "kind: v.com/d\n").unwrap();
        let dirs = [etc.path().to_owned(), run.path().to_owned(), "/nowhere".into()];
        let (files, faults) = files(&dirs);
        let kinds: Vec<_> = files.iter().map(|file| file.kind.as_str()).collect();
        assert_eq!(kinds, ["v.com/a", "v.com/b", "v.com/d"]);
        assert!(faults.len() == 1 && faults[0].contains("c.json"), "{faults:?}");
    }

    #[test]
    fn nodes_are_read_from_the_host() {
        let edit: CdiEdits = serde_json::from_str(
            r#"{"deviceNodes": [{"path": "/dev/null"}, {"path": "/dev/nothing"}]}"#,
        )
        .unwrap();
        let found = nodes(&[edit]);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].major, found[0].minor), (1, 3));
    }
}
