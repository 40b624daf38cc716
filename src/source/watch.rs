//! Watching paths by inotify: tells which path changed once whoever changed it is done.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use notify::{
    Event, EventKind, INotifyWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, ModifyKind},
};
use tokio::sync::mpsc;

/// Watches directories for as long as it lives. One thread and one inotify instance serve all of them.
#[derive(Debug)]
pub struct Watcher {
    /// The kernel's side.
    inner: INotifyWatcher,
    /// What the agent wants to hear of.
    wanted: BTreeSet<PathBuf>,
    /// What is watched on its behalf.
    watched: BTreeSet<PathBuf>,
}

/// Why a watch could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("watch by inotify (see fs.inotify.max_user_instances and max_user_watches)")]
pub struct WatchError(#[source] notify::Error);

impl Watcher {
    /// A watcher that sends each path that settled.
    pub fn new(settled: mpsc::UnboundedSender<PathBuf>) -> Result<Self, WatchError> {
        let tell = move |event: notify::Result<Event>| {
            if let Ok(event) = event {
                let overflowed = event.need_rescan();
                let kind = event.kind;
                for path in event.paths {
                    if overflowed || is_settled(kind, &path) {
                        let _ = settled.send(path);
                    }
                }
                if overflowed {
                    // The queue overflowed: what changed is unknown, so everything did.
                    let _ = settled.send(PathBuf::from("/"));
                }
            }
        };
        let inner = INotifyWatcher::new(tell, notify::Config::default()).map_err(WatchError)?;
        Ok(Self { inner, wanted: BTreeSet::new(), watched: BTreeSet::new() })
    }

    /// Watches a file or directory, whether it is there or not.
    pub fn add(&mut self, path: &Path) {
        self.wanted.insert(path.to_owned());
        self.arm();
    }

    /// Watches exactly these directories below a root that is watched already.
    pub fn follow(&mut self, root: &Path, directories: &BTreeSet<PathBuf>) {
        let below = |path: &PathBuf| path.starts_with(root) && path != root;
        self.wanted.retain(|path| !below(path) || directories.contains(path));
        let stale = |path: &&PathBuf| below(path) && !directories.contains(*path);
        for stale in self.watched.iter().filter(stale).cloned().collect::<Vec<_>>() {
            let _ = self.inner.unwatch(&stale);
            self.watched.remove(&stale);
        }
        self.wanted.extend(directories.iter().cloned());
        self.arm();
    }

    /// Sets the watches again after something at `path` was made, moved or removed: a watch follows what was
    /// there, not the name.
    pub fn renew(&mut self, path: &Path) {
        let affected = |watched: &&PathBuf| watched.starts_with(path);
        for stale in self.watched.iter().filter(affected).cloned().collect::<Vec<_>>() {
            let _ = self.inner.unwatch(&stale);
            self.watched.remove(&stale);
        }
        self.arm();
    }

    /// Watches every wanted path that is there, and the nearest directory above each.
    fn arm(&mut self) {
        for wanted in self.wanted.clone() {
            let above = wanted.ancestors().skip(1).find(|above| above.is_dir());
            for path in
                [Some(wanted.as_path()).filter(|path| path.is_dir()), above].into_iter().flatten()
            {
                if !self.watched.contains(path)
                    && self.inner.watch(path, RecursiveMode::NonRecursive).is_ok()
                {
                    self.watched.insert(path.to_owned());
                }
            }
        }
    }
}

/// Whether the change is complete. A file that is being written is read only when its writer closed it.
fn is_settled(kind: EventKind, path: &Path) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(_) | ModifyKind::Metadata(_))
        | EventKind::Remove(_) => true,
        // A link or a directory is complete when it appears; a new file's writer has yet to close it.
        EventKind::Create(_) => fs::symlink_metadata(path)
            .is_ok_and(|there| there.is_symlink() || there.is_dir() || there.nlink() > 1),
        EventKind::Any | EventKind::Access(_) | EventKind::Modify(_) | EventKind::Other => false,
    }
}
