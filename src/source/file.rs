//! The file source: a file, or the `*.yaml`, `*.yml` and `*.json` files of a directory.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::base::fault::Fault;
use crate::spec::{self, Document, FieldUse, FieldValidation, ObjectDocument, Outcome, Support};

use super::merge::{FileReading, SourceReading};
use super::trust::{Trust, signature_beside};

/// More of a file is never read: the reader refuses it by its size.
const READ_LIMIT: u64 = 4 * 1024 * 1024 + 1;

/// More faults of one file are counted and not told: each becomes an event.
const MOST_FAULTS: usize = 100;

/// The most bytes of a fault's path, value, problem and remedy, each: whole keys of hostile documents stand in them.
const LONGEST_TEXT: usize = 1000;

/// Reads a whole source.
pub fn read_source(path: &Path, validation: FieldValidation, trust: &Trust) -> SourceReading {
    let mut reading = SourceReading { path: path.to_owned(), ..SourceReading::default() };
    match list(path) {
        Ok(files) => {
            for file in files {
                if let Some(read) = read_file(&file, validation, trust) {
                    reading.files.insert(file, read);
                }
            }
            trust.save();
        }
        Err(error) => {
            reading.fault = Some(Fault::of_file(
                path.display().to_string(),
                format!("cannot be read: {error}"),
                "make it a readable directory or file; until then what runs goes on",
            ));
        }
    }
    reading
}

/// Whether a change at `changed` may be one of the source at `source`, or of the signature of that.
pub fn concerns(source: &Path, changed: &Path) -> bool {
    changed.starts_with(source)
        || source.starts_with(changed)
        || signed_by(changed).is_some_and(|signed| signed == source)
}

/// The document that a signature's file is about.
fn signed_by(path: &Path) -> Option<PathBuf> {
    path.extension().is_some_and(|extension| extension == "sig").then(|| path.with_extension(""))
}

/// Reads those of the source's files again that changed; anything but a plain change of files reads all of it again.
pub fn read_changes(
    reading: &mut SourceReading,
    changed: &BTreeSet<PathBuf>,
    validation: FieldValidation,
    trust: &Trust,
) {
    let changed = changed.iter().filter(|path| concerns(&reading.path, path));
    let changed: BTreeSet<PathBuf> =
        changed.map(|path| signed_by(path).unwrap_or_else(|| path.clone())).collect();
    let plain = |path: &PathBuf| path.parent() == Some(&reading.path) && wanted(path);
    if !changed.is_empty() && (reading.fault.is_some() || !changed.iter().all(plain)) {
        *reading = read_source(&reading.path, validation, trust);
        return;
    }
    for path in changed {
        match read_file(&path, validation, trust) {
            Some(read) => reading.files.insert(path, read),
            None => reading.files.remove(&path),
        };
    }
    trust.save();
}

/// The files of a source, in the order of their names.
fn list(path: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::metadata(path) {
        Ok(there) if !there.is_dir() => return Ok(vec![path.to_owned()]),
        // Who names a single file and removes it means its sets; a missing directory means trouble.
        Err(error) if error.kind() == io::ErrorKind::NotFound && removed_file(path) => {
            return Ok(Vec::new());
        }
        there => there?,
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        if wanted(&path) {
            files.push(path);
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Whether a path that is not there is that of a file in a directory that is.
fn removed_file(path: &Path) -> bool {
    wanted(path) && !path.is_symlink() && path.parent().is_some_and(Path::is_dir)
}

/// Whether a directory's entry is a manifest by its name.
fn wanted(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    !name.starts_with('.') && matches!(extension, "yaml" | "yml" | "json")
}

/// Reads one file; `None` when there is none, or when it is a directory.
fn read_file(path: &Path, validation: FieldValidation, trust: &Trust) -> Option<FileReading> {
    let origin = path.display().to_string();
    let unreadable = |error: io::Error| {
        let problem = format!("cannot be read: {error}");
        let remedy = "make it readable or remove it; until then what it brought goes on";
        kept(Fault::of_file(&origin, problem, remedy))
    };
    let bytes = match contents(path) {
        Ok(bytes) => bytes?,
        Err(error) => return Some(unreadable(error)),
    };
    if trust.is_required() {
        let believed = signature_beside(path)
            .map_err(|error| {
                Fault::of_file(format!("{origin}.sig"), error.to_string(), "make it readable")
            })
            .and_then(|signature| trust.check(&origin, &bytes, signature.as_deref()));
        if let Err(fault) = believed {
            return Some(kept(fault));
        }
    }
    Some(understand(&origin, &bytes, validation))
}

/// The reading of a file that cannot be read or is not believed: what it brought goes on.
pub fn kept(fault: Fault) -> FileReading {
    FileReading { unreadable: true, faults: vec![fault], ..FileReading::default() }
}

/// The bytes of a regular file. A link that leads nowhere is an error, a name that is gone is not.
fn contents(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = if there.is_symlink() { fs::metadata(path)? } else { there };
    if metadata.is_dir() {
        return Ok(None);
    }
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let size = metadata.len().min(READ_LIMIT);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    File::open(path)?.take(READ_LIMIT).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// The fields for which a document is refused, as faults: whoever wrote it is told as of any other.
fn refusals(origin: &str, document: &Document) -> Vec<Fault> {
    let refused = document.fields.iter().filter(|field| field.support == Support::Refused);
    let fault = |field: &FieldUse| Fault {
        document: Some(document.index),
        line: Some(document.line),
        path: field.path.clone(),
        // What stands in a Secret is told to nobody.
        value: if document.key.is_some() { field.value.clone() } else { String::new() },
        ..Fault::of_file(origin, field.reason.clone(), "")
    };
    refused.map(fault).collect()
}

/// What the bytes of a file, a page or a key say.
pub fn understand(origin: &str, bytes: &[u8], validation: FieldValidation) -> FileReading {
    // A file that is too large is not empty, whatever its beginning.
    if bytes.len() <= spec::MAX_BYTES && bytes.trim_ascii().is_empty() {
        return FileReading { empty: true, ..FileReading::default() };
    }
    let read = spec::read(origin, bytes, validation);
    let mut file = FileReading {
        unreadable: !read.faults.is_empty(),
        faults: read.faults,
        ..FileReading::default()
    };
    for document in read.documents {
        if matches!(document.outcome, Outcome::Rejected) {
            file.faults.extend(refusals(origin, &document));
        }
        file.warnings.extend(document.warnings);
        match document.outcome {
            Outcome::Set(set) => file.sets.push(set),
            Outcome::Object { key, value: object } => {
                let (origin, document) = (origin.to_owned(), document.index);
                file.objects.push(Arc::new(ObjectDocument { key, origin, document, object }));
            }
            Outcome::Ignored { .. } => {}
            Outcome::Rejected => {
                file.faults.extend(document.faults);
                match (document.key, document.object) {
                    (Some(key), _) => {
                        file.broken.insert(key);
                    }
                    (None, Some(key)) => {
                        file.broken_objects.insert(key);
                    }
                    (None, None) => file.unreadable = true,
                }
            }
        }
    }
    shorten(origin, &mut file.faults);
    shorten(origin, &mut file.warnings);
    file
}

/// Keeps the faults of one file, and the text of each, within what events and logs can carry.
fn shorten(origin: &str, faults: &mut Vec<Fault>) {
    let more = faults.len().saturating_sub(MOST_FAULTS);
    faults.truncate(MOST_FAULTS);
    for text in faults.iter_mut().flat_map(|fault| {
        [&mut fault.path, &mut fault.value, &mut fault.problem, &mut fault.remedy]
    }) {
        if text.len() > LONGEST_TEXT {
            text.truncate(text.floor_char_boundary(LONGEST_TEXT));
            text.push('…');
        }
    }
    if more > 0 {
        let problem = format!("{more} more of this kind");
        faults.push(Fault::of_file(origin, problem, "`podward validate` shows all of them"));
    }
}
