//! What this host remembers of the store, so that another store, or an older copy of it, is told from the right one;
//! and what operators laid over its labels, so that a host that boots offline is the node that it was.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::fleet::records::{Accept, NodeOverlay};
use crate::store::Header;

use super::checked;

/// The version of the file's shape that this build writes.
const VERSION: u32 = 1;

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Memory {
    /// The shape's version.
    version: u32,
    /// The cluster's identity; 0 before the first answer.
    pub cluster_id: u64,
    /// The highest revision seen.
    pub revision: i64,
    /// The words of operators that were heard, by their ids.
    pub accepted: BTreeSet<String>,
    /// When the store last said what is wanted.
    pub last_good: Option<Timestamp>,
    /// What is laid over this node's labels and taints.
    pub overlay: Option<NodeOverlay>,
}

/// The memory and its file.
#[derive(Debug)]
pub(super) struct Guard {
    /// The file.
    path: PathBuf,
    /// What is remembered.
    pub memory: Memory,
}

/// What the store's answer says of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the one that this host knows, or the first that it meets.
    Right,
    /// It is another cluster.
    Foreign,
    /// It is older than what was seen already.
    Regressed,
}

impl Guard {
    /// Reads the memory. A torn or foreign file is set aside and named: then the first store that answers is believed,
    /// and nothing is deleted that it does not have.
    pub(super) fn load(state: &Path) -> (Self, Option<String>) {
        let path = state.join("store.json");
        let (memory, trouble) = match read(&path) {
            Ok(memory) => (memory, None),
            Err(error) => {
                let aside = path.with_extension("json.bad");
                let _ = fs::rename(&path, &aside);
                let text = format!(
                    "{} cannot be used ({error}); it was set aside as {}",
                    path.display(),
                    aside.display()
                );
                (None, Some(text))
            }
        };
        let fresh = Memory {
            version: VERSION,
            cluster_id: 0,
            revision: 0,
            accepted: BTreeSet::new(),
            last_good: None,
            overlay: None,
        };
        (Self { path, memory: memory.unwrap_or(fresh) }, trouble)
    }

    /// Judges an answer.
    pub(super) fn judge(&self, header: Header) -> Verdict {
        let known = &self.memory;
        if known.cluster_id == 0 {
            Verdict::Right
        } else if known.cluster_id != header.cluster_id {
            Verdict::Foreign
        } else if known.revision > header.revision {
            Verdict::Regressed
        } else {
            Verdict::Right
        }
    }

    /// Whether an operator's word is new and means the store that answers. A host that knows no store yet believes the
    /// first one anyway; a word that it finds there may be old.
    pub(super) fn accepts(&self, accept: Option<&Accept>, header: Header) -> bool {
        let known = &self.memory;
        accept.is_some_and(|accept| {
            known.cluster_id != 0
                && accept.cluster_id == format!("{:x}", header.cluster_id)
                && !known.accepted.contains(&accept.id)
        })
    }

    /// Takes a store for the right one; `true` when something is to be saved.
    pub(super) fn learn(&mut self, header: Header, accept: Option<&Accept>) -> bool {
        let before = self.memory.clone();
        let memory = &mut self.memory;
        (memory.cluster_id, memory.revision) = (header.cluster_id, header.revision);
        memory.accepted.extend(accept.map(|accept| accept.id.clone()));
        *memory != before
    }

    /// The file and its text as it is to be written: see `sets::write`.
    pub(super) fn snapshot(&self) -> serde_json::Result<(PathBuf, Vec<u8>)> {
        let value = serde_json::to_value(&self.memory)?;
        Ok((self.path.clone(), checked::text(value)?))
    }
}

/// Reads the file; `None` when there is none.
fn read(path: &Path) -> io::Result<Option<Memory>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let memory: Memory = serde_json::from_value(checked::object(&text)?)?;
    if memory.version != VERSION {
        return Err(io::Error::other(format!("version {}", memory.version)));
    }
    Ok(Some(memory))
}

#[cfg(test)]
mod tests {
    use crate::agent::sets;

    use super::*;

    fn header(cluster_id: u64, revision: i64) -> Header {
        Header { cluster_id, revision }
    }

    fn word(id: &str, cluster_id: u64) -> Accept {
        Accept { id: id.into(), cluster_id: format!("{cluster_id:x}"), at: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn another_cluster_is_foreign_and_an_older_revision_regressed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut guard, trouble) = Guard::load(dir.path());
        assert_eq!((trouble, guard.judge(header(7, 1))), (None, Verdict::Right));
        assert!(guard.learn(header(7, 50), None));
        assert!(!guard.learn(header(7, 50), None), "nothing new");
        let (path, text) = guard.snapshot().unwrap();
        sets::write(&path, &text).unwrap();
        let (guard, _) = Guard::load(dir.path());
        assert_eq!(guard.judge(header(7, 50)), Verdict::Right);
        assert_eq!(guard.judge(header(7, 49)), Verdict::Regressed);
        assert_eq!(guard.judge(header(8, 99)), Verdict::Foreign);
    }

    #[test]
    fn an_operators_word_counts_once_and_only_for_its_cluster() {
        let dir = tempfile::tempdir().unwrap();
        let (mut guard, _) = Guard::load(dir.path());
        assert!(!guard.accepts(Some(&word("a", 7)), header(7, 1)), "nothing is known yet");
        guard.learn(header(7, 50), Some(&word("a", 7)));
        assert!(!guard.accepts(Some(&word("a", 7)), header(7, 9)), "it was heard already");
        assert!(!guard.accepts(Some(&word("b", 7)), header(8, 9)), "it means another cluster");
        assert!(guard.accepts(Some(&word("b", 8)), header(8, 9)));
        assert!(!guard.accepts(None, header(8, 9)));
    }

    #[test]
    fn a_torn_file_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("store.json"), "{\"version\": 1, \"clu").unwrap();
        let (guard, trouble) = Guard::load(dir.path());
        assert_eq!(guard.memory.cluster_id, 0);
        assert!(trouble.unwrap().contains("store.json.bad"));
        assert!(dir.path().join("store.json.bad").exists());
    }
}
