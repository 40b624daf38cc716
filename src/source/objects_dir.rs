//! The operator's own objects: `<dir>/<namespace>/{configmaps,secrets}/<name>/<key>`, each file the value of a key.
//!
//! What cannot be read keeps its last good version, as documents do. A Secret that others could read is not served.

use std::{
    collections::BTreeSet,
    fs::{self, File, Metadata},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::base::fault::Fault;
use crate::spec::{MAX_OBJECT, Object, ObjectKey, ObjectKind, Objects, names};

/// What the directory said the last time it was read.
#[derive(Debug, Default)]
pub struct DirReading {
    /// Its objects.
    pub objects: Objects,
    /// The directories in it that bring objects: each is to be watched.
    pub directories: BTreeSet<PathBuf>,
    /// What is wrong with it.
    pub faults: Vec<Fault>,
}

/// Reads the whole directory; one that is not there brings nothing. `owner` is whom Secrets must belong to, and
/// `previous` what was read before.
pub fn read_objects_dir(root: &Path, owner: u32, previous: &Objects) -> DirReading {
    let mut reader = Reader { owner, previous, reading: DirReading::default() };
    match fs::metadata(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        _ => reader.root(root),
    }
    reader.reading
}

/// The directory of an object below the root.
pub fn place(root: &Path, key: &ObjectKey) -> PathBuf {
    root.join(&key.namespace).join(folder(key.kind)).join(&key.name)
}

/// The name of the directory that holds the objects of a kind.
fn folder(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::ConfigMap => "configmaps",
        ObjectKind::Secret => "secrets",
    }
}

/// The state of reading the directory.
struct Reader<'a> {
    /// Whom Secrets must belong to.
    owner: u32,
    /// What was read before.
    previous: &'a Objects,
    /// What was read so far.
    reading: DirReading,
}

impl Reader<'_> {
    /// Reads the root: a directory for each namespace.
    fn root(&mut self, root: &Path) {
        let Some(entries) = self.entries(root) else {
            return self.keep(|_| true);
        };
        for (namespace, path) in entries {
            if !path.is_dir() {
                continue;
            }
            if let Err(remedy) = names::dns_label(&namespace) {
                self.fault(&path, "is not named like a namespace", remedy);
                continue;
            }
            self.namespace(&namespace, &path);
        }
    }

    /// Reads a namespace: a directory for each kind.
    fn namespace(&mut self, namespace: &str, dir: &Path) {
        let Some(entries) = self.entries(dir) else {
            return self.keep(|key| key.namespace == namespace);
        };
        for (name, path) in entries {
            let kinds = [ObjectKind::ConfigMap, ObjectKind::Secret];
            match kinds.into_iter().find(|kind| name == folder(*kind)) {
                Some(kind) => self.kind(kind, namespace, &path),
                None if path.is_dir() => {
                    let remedy = "move it into one of the two";
                    self.fault(&path, "is neither configmaps nor secrets", remedy);
                }
                None => {}
            }
        }
    }

    /// Reads the objects of one kind: a directory for each.
    fn kind(&mut self, kind: ObjectKind, namespace: &str, dir: &Path) {
        let of_kind = |key: &ObjectKey| key.kind == kind && key.namespace == namespace;
        let Some(entries) = self.entries(dir) else {
            return self.keep(of_kind);
        };
        if kind == ObjectKind::Secret && !self.private(dir) {
            return;
        }
        for (name, path) in entries {
            if let Err(remedy) = names::dns_subdomain(&name) {
                self.fault(&path, "is not named like an object", remedy);
                continue;
            }
            let key = ObjectKey { kind, namespace: namespace.to_owned(), name };
            self.object(&key, &path);
        }
    }

    /// Reads one object: a file for each key.
    fn object(&mut self, key: &ObjectKey, dir: &Path) {
        let secret = key.kind == ObjectKind::Secret;
        let Some(entries) = self.entries(dir) else {
            return self.keep(|kept| kept == key);
        };
        if secret && !self.private(dir) {
            return;
        }
        let mut object = Object::default();
        for (name, path) in entries {
            let Some(metadata) = self.key_file(&name, &path) else {
                return self.keep(|kept| kept == key);
            };
            if secret && !self.alone(&path, &metadata) {
                return;
            }
            let bytes = match bytes(&path) {
                Ok(bytes) => bytes,
                Err(error) => {
                    self.unreadable(&path, &error);
                    return self.keep(|kept| kept == key);
                }
            };
            // Text can become a variable, as with `kubectl create configmap --from-file`.
            let text = secret || str::from_utf8(&bytes).is_ok();
            let values = if text { &mut object.data } else { &mut object.binary };
            values.insert(name, bytes);
            if object.size() > MAX_OBJECT {
                let problem = format!("its files have more than {MAX_OBJECT} bytes together");
                self.fault(dir, &problem, "split it into several objects");
                return self.keep(|kept| kept == key);
            }
        }
        self.reading.objects.insert(key.clone(), Arc::new(object));
    }

    /// What is known of a key's file, when it is one.
    fn key_file(&mut self, name: &str, path: &Path) -> Option<Metadata> {
        if let Err(remedy) = names::object_key(name) {
            self.fault(path, "is not named like a key", remedy);
            return None;
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => Some(metadata),
            Ok(_) => {
                self.fault(path, "is no file; each key is one", "move it out of the object");
                None
            }
            Err(error) => {
                self.unreadable(path, &error);
                None
            }
        }
    }

    /// The entries of a directory in the order of their names, without dotfiles; `None` when it cannot be read.
    fn entries(&mut self, dir: &Path) -> Option<Vec<(String, PathBuf)>> {
        self.reading.directories.insert(dir.to_owned());
        let listed: io::Result<Vec<PathBuf>> = fs::read_dir(dir)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect());
        let mut paths = match listed {
            Ok(paths) => paths,
            Err(error) => {
                self.unreadable(dir, &error);
                return None;
            }
        };
        paths.sort_unstable();
        let named = |path: PathBuf| Some((path.file_name()?.to_string_lossy().into_owned(), path));
        let entries = paths.into_iter().filter_map(named);
        Some(entries.filter(|(name, _)| !name.starts_with('.')).collect())
    }

    /// Whether a directory of Secrets is closed to others; says so if not.
    fn private(&mut self, dir: &Path) -> bool {
        match fs::metadata(dir) {
            Ok(metadata) => self.alone(dir, &metadata),
            Err(error) => {
                self.unreadable(dir, &error);
                false
            }
        }
    }

    /// Whether only its owner, who must be the right one, can reach something; says so if not.
    fn alone(&mut self, path: &Path, metadata: &Metadata) -> bool {
        let (shown, mode) = (path.display(), metadata.mode() & 0o7777);
        if metadata.uid() != self.owner {
            let problem =
                format!("belongs to uid {}; a Secret from it is not served", metadata.uid());
            self.fault(path, &problem, &format!("chown {} {shown}", self.owner));
            return false;
        }
        if mode & 0o077 != 0 {
            let problem =
                format!("has mode {mode:04o}, open to others; a Secret from it is not served");
            let all = if metadata.is_dir() { "-R " } else { "" };
            self.fault(path, &problem, &format!("chmod {all}go= {shown}"));
            return false;
        }
        true
    }

    /// Keeps what was read before of the objects that `which` picks.
    fn keep(&mut self, which: impl Fn(&ObjectKey) -> bool) {
        let kept = self.previous.iter().filter(|(key, _)| which(key));
        self.reading.objects.extend(kept.map(|(key, object)| (key.clone(), Arc::clone(object))));
    }

    /// Notes what cannot be read.
    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        let problem = format!("cannot be read: {error}");
        self.fault(
            path,
            &problem,
            "make it readable or remove it; until then its last good version counts",
        );
    }

    /// Notes a fault.
    fn fault(&mut self, path: &Path, problem: &str, remedy: &str) {
        self.reading.faults.push(Fault::of_file(path.display().to_string(), problem, remedy));
    }
}

/// The bytes of a file, not many more than an object may have.
fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_OBJECT as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
