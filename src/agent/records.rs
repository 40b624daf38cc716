//! Pod records on disk: written before the first effect on a pod's behalf, removed after the last.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::base::ids::PodUid;
use crate::pod::record::{PodRecord, VERSION};

/// The directory of the pods' own directories.
#[derive(Debug, Clone)]
pub struct Records {
    /// `<state>/pods`.
    dir: PathBuf,
}

/// Why a record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The disk refused.
    #[error("{action} {}", path.display())]
    Disk {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The record was written by a newer build.
    #[error("the pod record {} has version {version}; this build reads up to {VERSION}; install that build again", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

impl Records {
    /// Opens the directory, made if it is missing.
    pub fn open(state: &Path) -> Result<Self, RecordError> {
        let dir = state.join("pods");
        match fs::create_dir_all(&dir) {
            Ok(()) => Ok(Self { dir }),
            Err(source) => Err(RecordError::Disk { action: "make", path: dir, source }),
        }
    }

    /// The directory of all pods.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory of one pod: record and volumes.
    pub fn pod_dir(&self, uid: &PodUid) -> PathBuf {
        self.dir.join(uid.as_str())
    }

    /// Writes a record so that a reader sees the old or the new one, never half of it.
    pub fn save(&self, record: &PodRecord) -> Result<(), RecordError> {
        let dir = self.pod_dir(&record.uid);
        let (path, fresh) = (dir.join("pod.json"), dir.join(".pod.json.new"));
        let disk = |action, path: &Path| {
            let path = path.to_owned();
            move |source| RecordError::Disk { action, path, source }
        };
        fs::create_dir_all(&dir).map_err(disk("make", &dir))?;
        let text = text(record).map_err(io::Error::other).map_err(disk("write", &path))?;
        fs::write(&fresh, text).map_err(disk("write", &fresh))?;
        fs::rename(&fresh, &path).map_err(disk("replace", &path))
    }

    /// Removes a record and the pod's directory, whose volumes are gone already.
    pub fn remove(&self, uid: &PodUid) -> Result<(), RecordError> {
        let dir = self.pod_dir(uid);
        match fs::remove_dir_all(&dir) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(RecordError::Disk { action: "remove", path: dir, source })
            }
            _ => Ok(()),
        }
    }

    /// All records, and the pods whose record is missing or torn: they were half made or half removed.
    pub fn load(&self) -> Result<(Vec<PodRecord>, Vec<PodUid>), RecordError> {
        let disk = |source| RecordError::Disk { action: "list", path: self.dir.clone(), source };
        let (mut records, mut torn) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.dir).map_err(disk)? {
            let entry = entry.map_err(disk)?;
            let uid = PodUid::new(entry.file_name().to_string_lossy());
            match read(&entry.path().join("pod.json")) {
                Ok(Some(record)) => records.push(record),
                Ok(None) => torn.push(uid),
                Err(error) => return Err(error),
            }
        }
        Ok((records, torn))
    }
}

/// Reads one record; `None` when it is missing or torn, which only a death in the middle of a change leaves.
fn read(path: &Path) -> Result<Option<PodRecord>, RecordError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(RecordError::Disk { action: "read", path: path.to_owned(), source });
        }
    };
    let Ok(value) = serde_json::from_slice::<Value>(&text) else { return Ok(None) };
    let version = value["version"].as_u64().and_then(|version| u32::try_from(version).ok());
    match version {
        Some(version) if version > VERSION => {
            Err(RecordError::Newer { path: path.to_owned(), version })
        }
        _ => Ok(serde_json::from_value(value).ok()),
    }
}

/// A record as it is written. Kubernetes' types are large, and the code that turns them into text or back once more is
/// larger still: here as everywhere they go through a [`Value`], for which that code is there already.
fn text(record: &PodRecord) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&serde_json::to_value(record)?)
}
