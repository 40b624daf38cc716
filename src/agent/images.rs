//! The image keeper: archives in `<state>/images` are imported at start and when they arrive, each once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::base::errors::Chain;

use super::effects::{Effects, blocking};

/// What an archive was when it was imported, and what it brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    /// Its size.
    size: u64,
    /// Its time of change, in nanoseconds.
    changed: i64,
    /// The images in it.
    names: Vec<String>,
}

/// The outcome for one archive that is new.
#[derive(Debug)]
pub struct Import {
    /// Which archive.
    pub archive: PathBuf,
    /// The images that it brought, or why it did not.
    pub result: Result<Vec<String>, String>,
}

/// The directory of archives, and which of them are done.
#[derive(Debug)]
pub struct ImageKeeper {
    /// `<state>/images`.
    dir: PathBuf,
    /// `<state>/imported.json`.
    marks: PathBuf,
}

impl ImageKeeper {
    /// Opens the directory, made if it is missing.
    pub fn open(state: &Path) -> io::Result<Self> {
        let dir = state.join("images");
        fs::create_dir_all(&dir)?;
        Ok(Self { dir, marks: state.join("imported.json") })
    }

    /// The directory to watch.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Imports every archive that is not imported as it is now.
    pub async fn import(&self, effects: &Arc<Effects>) -> Vec<Import> {
        let mut marks = self.load();
        let mut imports = Vec::new();
        for (archive, size, changed) in self.archives() {
            let name = archive.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(mark) = marks.get(&name)
                && (mark.size, mark.changed) == (size, changed)
                && present(effects, &mark.names).await
            {
                continue;
            }
            let done = effects.daemon.call(|| effects.daemon.client.import(&archive)).await;
            let result = match done {
                Ok(names) => {
                    info!(image = ?names, archive = %archive.display(), "imported an archive");
                    marks.insert(name, Mark { size, changed, names: names.clone() });
                    Ok(names)
                }
                Err(error) => {
                    let error = Chain(&error).to_string();
                    warn!(archive = %archive.display(), %error, "failed to import an archive");
                    Err(error)
                }
            };
            imports.push(Import { archive, result });
        }
        if imports.iter().any(|import| import.result.is_ok()) {
            self.save(marks).await;
        }
        imports
    }

    /// The archives with their sizes and times.
    fn archives(&self) -> Vec<(PathBuf, u64, i64)> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let mut archives: Vec<_> = entries
            .flatten()
            .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
            .filter_map(|entry| {
                let there = fs::metadata(entry.path()).ok().filter(fs::Metadata::is_file)?;
                let changed = there.mtime() * 1_000_000_000 + there.mtime_nsec();
                Some((entry.path(), there.len(), changed))
            })
            .collect();
        archives.sort_unstable();
        archives
    }

    /// The marks on disk; unreadable ones only cost an import that was done before.
    fn load(&self) -> BTreeMap<String, Mark> {
        fs::read(&self.marks)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    /// Writes the marks.
    async fn save(&self, marks: BTreeMap<String, Mark>) {
        let path = self.marks.clone();
        let saved = blocking(move || {
            let fresh = path.with_extension("json.new");
            fs::write(&fresh, serde_json::to_vec(&marks)?)?;
            fs::rename(&fresh, &path)
        })
        .await;
        if let Err(error) = saved {
            warn!(%error, "failed to note which archives are imported");
        }
    }
}

/// The images whose archives lie in the directory: without them they would be imported again at once.
pub(super) fn archived_names(state: &Path) -> BTreeSet<String> {
    let keeper = ImageKeeper { dir: state.join("images"), marks: state.join("imported.json") };
    let marks = keeper.load();
    let there = |archive: &Path| marks.get(archive.file_name()?.to_str()?);
    let marks = keeper.archives().into_iter();
    marks.filter_map(|(archive, ..)| there(&archive)).flat_map(|mark| mark.names.clone()).collect()
}

/// Whether all these images are still there.
async fn present(effects: &Arc<Effects>, names: &[String]) -> bool {
    for name in names {
        let found = effects.daemon.call(|| effects.daemon.client.image(name)).await;
        if !matches!(found, Ok(Some(_))) {
            return false;
        }
    }
    true
}
