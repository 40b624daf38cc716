//! The documents that `-f` names, for the verbs that write: read as `validate` reads them, and none is used while one of
//! them is at fault.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args as ClapArgs;
use serde_json::Value;

use crate::base::fault::Fault;
use crate::fleet::merge3::{metadata, strip};
use crate::spec::{self, Document, FieldValidation, Outcome, Support};

use super::{
    contents,
    desk::{MAX_DOCUMENT, Place},
    documents,
    failure::Failure,
    validate,
};

/// Which files.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct Files {
    /// A file, a directory of *.yaml, *.yml and *.json, or - for standard input; may be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Read the directories below a directory as well
    #[arg(short = 'R', long, requires = "files")]
    pub recursive: bool,
}

/// An object that is to be written, or deleted.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The file.
    pub origin: String,
    /// The object as its author wrote it, without what only the store says.
    pub value: Value,
    /// Where it belongs.
    pub place: Place,
}

/// Reads the files; ConfigMaps and Secrets come first, since sets take from them. `namespace` is what `-n` says.
pub fn read(
    files: &Files,
    namespace: Option<&str>,
    validation: FieldValidation,
    err: &mut dyn Write,
) -> anyhow::Result<Vec<Manifest>> {
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    for path in files.files.iter().flat_map(|file| expand(file, files.recursive)) {
        let read = match path {
            Ok(path) => contents::of(&path).map_err(|fault| fault.to_string()),
            Err(fault) => Err(fault.to_string()),
        };
        match read {
            Ok((origin, bytes)) => {
                one(&origin, &bytes, (namespace, validation), &mut found, &mut faults, err)?;
            }
            Err(fault) => faults.push(fault),
        }
    }
    for (index, manifest) in found.iter().enumerate() {
        if let Some(first) = found[..index].iter().find(|first| first.place == manifest.place) {
            let (Manifest { origin, place, .. }, first) = (manifest, &first.origin);
            faults.push(format!("{origin}: {} is described by {first} already", place.shown()));
        }
    }
    if !faults.is_empty() {
        let count = faults.len();
        for fault in &faults {
            writeln!(err, "{fault}")?;
        }
        let plural = if count == 1 { "" } else { "s" };
        return Err(Failure::hinted(
            format!("{count} fault{plural}; nothing was written"),
            "`podward validate -f FILE` says of each field what becomes of it",
        ));
    }
    if found.is_empty() {
        return Err(Failure::hinted(
            "no objects passed: the files hold no DaemonSet, ConfigMap or Secret",
            "name a file that does",
        ));
    }
    found.sort_by_key(|manifest| matches!(manifest.place, Place::Set(_)));
    Ok(found)
}

/// The files that an argument stands for.
fn expand(argument: &Path, recursive: bool) -> Vec<Result<PathBuf, Fault>> {
    if !recursive || !argument.is_dir() {
        return validate::expand(argument);
    }
    let mut files: Vec<Result<PathBuf, Fault>> = Vec::new();
    let shown = argument.display().to_string();
    let mut entries: Vec<PathBuf> = match argument.read_dir() {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(error) => return vec![Err(contents::unreadable(&shown, &error))],
    };
    entries.sort_unstable();
    for entry in entries {
        // A link to a directory may lead in a circle.
        if entry.is_dir() && !entry.is_symlink() {
            files.extend(expand(&entry, true));
        } else if validate::is_manifest(&entry) {
            files.push(Ok(entry));
        }
    }
    files
}

/// Reads one file.
fn one(
    origin: &str,
    bytes: &[u8],
    (namespace, validation): (Option<&str>, FieldValidation),
    found: &mut Vec<Manifest>,
    faults: &mut Vec<String>,
    err: &mut dyn Write,
) -> anyhow::Result<()> {
    let reading = spec::read(origin, bytes, validation);
    let before = faults.len();
    faults.extend(reading.faults.iter().map(ToString::to_string));
    for document in &reading.documents {
        for warning in &document.warnings {
            writeln!(err, "warning: {warning}")?;
        }
        match &document.outcome {
            Outcome::Set(_) | Outcome::Object { .. } => {}
            Outcome::Ignored { reason } => {
                let Document { kind, name, .. } = document;
                writeln!(
                    err,
                    "{origin}: document {}: {kind} {name} is ignored: {reason}",
                    document.index
                )?;
            }
            Outcome::Rejected => faults.extend(complaints(document)),
        }
    }
    if faults.len() > before {
        return Ok(());
    }
    let mut values = Vec::new();
    for document in documents::read(origin, bytes).0 {
        flatten(document.value, &mut values);
    }
    if values.len() != reading.documents.len() {
        faults.push(format!("{origin}: its lists are nested too deep; write plain documents"));
        return Ok(());
    }
    for (document, value) in reading.documents.iter().zip(values) {
        match manifest(origin, document, value, namespace) {
            Ok(manifest) => found.extend(manifest),
            Err(fault) => faults.push(fault),
        }
    }
    Ok(())
}

/// Takes lists inside of lists apart, and leaves out what is no document.
fn flatten(mut value: Value, values: &mut Vec<Value>) {
    let list = value["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    match value.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if list => {
            for item in items {
                flatten(item, values);
            }
        }
        _ if value.is_null() => {}
        items => {
            if let Some(items) = items {
                value["items"] = items;
            }
            values.push(value);
        }
    }
}

/// What a document says to write; `None` when it is ignored.
fn manifest(
    origin: &str,
    document: &Document,
    mut value: Value,
    namespace: Option<&str>,
) -> Result<Option<Manifest>, String> {
    let mut place = match &document.outcome {
        Outcome::Set(set) => Place::Set(set.key.clone()),
        Outcome::Object { key, .. } => Place::Object(key.clone()),
        Outcome::Ignored { .. } | Outcome::Rejected => return Ok(None),
    };
    let size = value.to_string().len();
    if size > MAX_DOCUMENT {
        return Err(format!(
            "{origin}: document {}: {} has {size} bytes; at most {MAX_DOCUMENT} (1 MiB) are stored; split it, or bring \
             large files to the hosts by an image or a hostPath",
            document.index,
            place.shown()
        ));
    }
    let own = value["metadata"]["namespace"].as_str().filter(|own| !own.is_empty());
    if let (Some(own), Some(wanted)) = (own, namespace)
        && own != wanted
    {
        return Err(format!(
            "{origin}: document {}: the namespace {own:?} of {} is not {wanted:?}; leave one of them out",
            document.index,
            place.shown()
        ));
    }
    let namespace = own.or(namespace).unwrap_or("default").to_owned();
    match &mut place {
        Place::Set(set) => set.namespace.clone_from(&namespace),
        Place::Object(object) => object.namespace.clone_from(&namespace),
    }
    strip(&mut value);
    metadata(&mut value).insert("namespace".into(), namespace.into());
    // What a list says of its items stands nowhere else.
    value["apiVersion"] = document.api_version.clone().into();
    value["kind"] = document.kind.clone().into();
    if let (Place::Object(_), Outcome::Object { value: object, .. }) = (&place, &document.outcome) {
        fold_string_data(&mut value, object);
    }
    Ok(Some(Manifest { origin: origin.to_owned(), value, place }))
}

/// A Secret's plain texts become part of its data, as in a cluster.
fn fold_string_data(value: &mut Value, object: &Arc<spec::Object>) {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let Some(fields) = value.as_object_mut().filter(|fields| fields.contains_key("stringData"))
    else {
        return;
    };
    fields.remove("stringData");
    let data = object.data.iter().map(|(key, bytes)| (key.clone(), STANDARD.encode(bytes).into()));
    fields.insert("data".into(), Value::Object(data.collect()));
}

/// Why a document is rejected, a line each.
pub fn complaints(document: &Document) -> Vec<String> {
    let refused = document.fields.iter().filter(|field| field.support == Support::Refused);
    let refused = refused
        .map(|field| format!("{}: refused: {}: {}", document.name, field.path, field.reason));
    document.faults.iter().map(ToString::to_string).chain(refused).collect()
}
