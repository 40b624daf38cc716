//! Whose specs are followed: with trusted keys, only what one of them signed, and never anything older than what was
//! followed already. What is refused goes on as it was before.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs::{self, File, Metadata},
    io::{self, Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};

use crate::base::fault::Fault;
use crate::fleet::envelope::{self, PublicKey, Refusal, detached_says, digest_of};

/// The form of the file of generations.
const VERSION: u64 = 1;

/// More of a key or a signature is never read.
pub const SIGNATURE_LIMIT: u64 = 64 << 10;

/// The trusted keys, and how far each origin came.
#[derive(Debug)]
pub struct Trust {
    /// The files of the keys.
    files: Vec<PathBuf>,
    /// Where the generations are kept: `<state>/trust.json`.
    path: PathBuf,
    /// What changes.
    inner: Mutex<Inner>,
}

/// What changes.
#[derive(Debug, Default)]
struct Inner {
    /// The keys as they were read last.
    keys: BTreeMap<PathBuf, (Option<Stamp>, Result<PublicKey, String>)>,
    /// The last accepted generation of each origin.
    accepted: BTreeMap<String, i64>,
    /// Whether some of that is not on the disk yet.
    unsaved: bool,
    /// Why it could not be brought there.
    trouble: Option<Fault>,
}

/// By what a changed file is told: inode, size, and when it changed in seconds and nanoseconds.
type Stamp = (u64, u64, i64, i64);

impl Trust {
    /// The keys of these files, and the generations that an earlier agent accepted. Without files nothing is verified.
    pub fn load(files: &[PathBuf], state: &Path) -> Self {
        let path = state.join("trust.json");
        let mut inner = Inner::default();
        if !files.is_empty() {
            match generations(&path) {
                Ok(accepted) => inner.accepted = accepted,
                Err(error) => {
                    let moved = fs::rename(&path, aside(&path));
                    // Whether or not it could be moved, it is told as long as the torn file lies there.
                    inner.trouble = moved.err().map(|_| torn(&path, &error.to_string()));
                }
            }
        }
        Self { files: files.to_vec(), path, inner: Mutex::new(inner) }
    }

    /// Whether anything is verified.
    pub fn is_required(&self) -> bool {
        !self.files.is_empty()
    }

    /// The plain value of a key of the store. Without trusted keys an envelope is opened, whoever signed it.
    pub fn open<'b>(&self, origin: &str, bytes: &'b [u8]) -> Result<Cow<'b, [u8]>, Fault> {
        if !self.is_required() {
            return match envelope::payload(bytes) {
                Ok(payload) => Ok(payload.map_or(Cow::Borrowed(bytes), Cow::Owned)),
                Err(refusal) => Err(refused(origin, &refusal.to_string())),
            };
        }
        let mut inner = self.inner();
        let payload = self.verified(&mut inner, origin, bytes)?;
        // What lost its generation is older than whatever had one.
        inner.advance(origin, generation_of(&payload).unwrap_or(0))?;
        Ok(Cow::Owned(payload))
    }

    /// Verifies a file or page by its detached signature.
    pub fn check(&self, origin: &str, bytes: &[u8], signature: Option<&[u8]>) -> Result<(), Fault> {
        if !self.is_required() {
            return Ok(());
        }
        let signature = signature.ok_or_else(|| refused(origin, &Refusal::Unsigned.to_string()))?;
        let mut inner = self.inner();
        let payload = self.verified(&mut inner, origin, signature)?;
        let Some((digest, generation)) = detached_says(&payload) else {
            return Err(refused(origin, "bad envelope: it names no digest and generation"));
        };
        if digest != digest_of(bytes) {
            return Err(refused(origin, "altered: its signature is of other bytes"));
        }
        inner.advance(origin, generation)
    }

    /// Begins anew with what comes from below `prefix`: an operator said that an older state is the right one.
    pub fn forget(&self, prefix: &str) {
        let mut inner = self.inner();
        let before = inner.accepted.len();
        inner.accepted.retain(|origin, _| !origin.starts_with(prefix));
        inner.unsaved |= inner.accepted.len() != before;
    }

    /// Brings newly accepted generations to the disk; to be called before what was accepted takes effect.
    pub fn save(&self) {
        let mut inner = self.inner();
        if !inner.unsaved {
            return;
        }
        let text = json!({ "version": VERSION, "accepted": inner.accepted }).to_string();
        inner.trouble = match write(&self.path, text.as_bytes()) {
            Ok(()) => {
                inner.unsaved = false;
                None
            }
            Err(error) => Some(Fault::of_file(
                self.path.display().to_string(),
                format!("cannot be written: {error}"),
                "make room; until then a restarted agent would not know a replayed spec",
            )),
        };
    }

    /// What is wrong with the keys and the file of generations.
    pub fn faults(&self) -> Vec<Fault> {
        if !self.is_required() {
            return Vec::new();
        }
        let mut inner = self.inner();
        self.read_keys(&mut inner);
        let key = |(path, (_, key)): (&PathBuf, &(_, Result<PublicKey, String>))| {
            let problem = key.as_ref().err()?;
            let remedy = "until then what it signs is refused, and what runs goes on";
            Some(Fault::of_file(path.display().to_string(), problem, remedy))
        };
        let mut faults: Vec<Fault> = inner.keys.iter().filter_map(key).collect();
        faults.extend(inner.trouble.clone());
        let aside = aside(&self.path);
        if aside.exists() {
            faults.push(torn(&aside, "it cannot be read"));
        }
        faults
    }

    /// What changes, for one change.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The payload of an envelope by one of the trusted keys.
    fn verified(&self, inner: &mut Inner, origin: &str, bytes: &[u8]) -> Result<Vec<u8>, Fault> {
        self.read_keys(inner);
        let keys: Vec<PublicKey> =
            inner.keys.values().filter_map(|(_, key)| key.as_ref().ok().cloned()).collect();
        match envelope::open(bytes, &keys) {
            Ok(opened) => Ok(opened.payload),
            Err(Refusal::UnknownKey(_)) if keys.is_empty() => {
                Err(refused(origin, "none of the trusted keys can be read"))
            }
            Err(refusal) => Err(refused(origin, &refusal.to_string())),
        }
    }

    /// Reads those keys again whose files changed, so that keys are replaced without a restart.
    fn read_keys(&self, inner: &mut Inner) {
        for path in &self.files {
            let stamp = fs::metadata(path).ok().map(|metadata| stamp(&metadata));
            if stamp.is_none() || inner.keys.get(path).is_none_or(|(known, _)| *known != stamp) {
                inner.keys.insert(path.clone(), (stamp, public_key(path)));
            }
        }
    }
}

impl Inner {
    /// Accepts a generation, unless a higher one was accepted before.
    fn advance(&mut self, origin: &str, generation: i64) -> Result<(), Fault> {
        match self.accepted.get(origin) {
            Some(accepted) if generation < *accepted => Err(refused(
                origin,
                &format!(
                    "replayed: generation {generation} < {accepted}, which was accepted before"
                ),
            )),
            Some(accepted) if generation == *accepted => Ok(()),
            _ => {
                self.accepted.insert(origin.to_owned(), generation);
                self.unsaved = true;
                Ok(())
            }
        }
    }
}

/// The file beside a document that holds its signature.
pub fn signature_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}

/// The detached signature beside a file, if there is one.
pub fn signature_beside(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match limited(&signature_path(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

/// The fault of something that is not believed.
pub fn refused(origin: &str, reason: &str) -> Fault {
    let remedy = if origin.starts_with("etcd:") {
        "apply it with --sign-key and a trusted key; until then what it brought goes on"
    } else {
        "sign it by `podward sign -k KEY -f FILE` with a trusted key; until then what it brought goes on"
    };
    Fault::of_file(origin, format!("refused: {reason}"), remedy)
}

/// The generation of a value: of a Kubernetes object in its metadata, of ours at the top.
fn generation_of(payload: &[u8]) -> Option<i64> {
    let value: Value = serde_json::from_slice(payload).ok()?;
    let of_object = value.get("metadata").and_then(|metadata| metadata.get("generation"));
    of_object.or_else(|| value.get("generation"))?.as_i64()
}

/// Reads a public key.
fn public_key(path: &Path) -> Result<PublicKey, String> {
    let pem = limited(path).map_err(|error| format!("cannot be read: {error}"))?;
    PublicKey::parse(&pem).map_err(|error| error.to_string())
}

/// The beginning of a file, long enough for keys and signatures.
fn limited(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(SIGNATURE_LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// By what a changed file is told.
fn stamp(metadata: &Metadata) -> Stamp {
    (metadata.ino(), metadata.size(), metadata.ctime(), metadata.ctime_nsec())
}

/// The generations in a file; none when there is none yet.
fn generations(path: &Path) -> io::Result<BTreeMap<String, i64>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let value: Value =
        serde_json::from_slice(&bytes).map_err(|_| io::Error::other("it is torn"))?;
    if value["version"] != VERSION {
        return Err(io::Error::other("another build wrote it"));
    }
    let accepted = value["accepted"].as_object();
    let accepted = accepted.ok_or_else(|| io::Error::other("it is torn"))?;
    let generation = |(origin, generation): (&String, &Value)| {
        generation.as_i64().map(|generation| (origin.clone(), generation))
    };
    accepted
        .iter()
        .map(generation)
        .collect::<Option<_>>()
        .ok_or_else(|| io::Error::other("it is torn"))
}

/// Where a torn file is kept for whoever wants to look at it.
fn aside(path: &Path) -> PathBuf {
    path.with_extension("json.bad")
}

/// The fault of a torn file.
fn torn(path: &Path, why: &str) -> Fault {
    Fault::of_file(
        path.display().to_string(),
        format!(
            "the generations that were accepted before are lost ({why}): an older spec that somebody replays is \
             told from a new one only after the next accepted one"
        ),
        "look at what runs, then remove this file",
    )
}

/// Writes a file whole and to the disk, or not at all.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("json.new");
    let mut file = File::create(&fresh)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests;
