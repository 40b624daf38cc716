//! `podward validate`: what becomes of each document and of each field of it, without an agent.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::base::fault::Fault;
use crate::spec::{Document, FieldUse, FieldValidation, Outcome, Reading, Support, read};

use super::contents;

/// What `podward validate` is told.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// A file, a directory of *.yaml, *.yml and *.json, or - for standard input; may be repeated
    #[arg(short = 'f', long = "filename", required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The form of the report
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// How unknown and repeated fields are taken: Strict, Warn or Ignore
    #[arg(long = "validate", default_value_t = FieldValidation::Strict, value_name = "MODE")]
    pub validation: FieldValidation,
}

/// The form of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Reads the files and writes the report; true when nothing in them is refused or invalid.
pub fn run(args: &ValidateArgs, out: &mut dyn Write) -> anyhow::Result<bool> {
    let mut readings: Vec<(String, Reading)> = Vec::new();
    for file in &args.files {
        for path in expand(file) {
            readings.push(match path {
                Ok(path) => reading(&path, args.validation),
                Err(fault) => faulty(fault),
            });
        }
    }
    mark_duplicates(&mut readings);
    let tally = Tally::of(&readings);
    match args.output {
        Output::Text => text(&readings, &tally, out),
        Output::Json => machine(&readings, &tally, out),
    }
    .context("write the report")?;
    Ok(tally.fine())
}

/// The files that an argument stands for, in the order of their names.
pub fn expand(argument: &Path) -> Vec<Result<PathBuf, Fault>> {
    if !argument.is_dir() {
        return vec![Ok(argument.to_owned())];
    }
    let shown = argument.display().to_string();
    let entries: io::Result<Vec<PathBuf>> = argument
        .read_dir()
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect());
    let mut files = match entries {
        Ok(entries) => entries,
        Err(error) => return vec![Err(contents::unreadable(&shown, &error))],
    };
    files.retain(|path| is_manifest(path));
    files.sort_unstable();
    if files.is_empty() {
        let problem = "is a directory without *.yaml, *.yml or *.json";
        return vec![Err(Fault::of_file(shown, problem, "name a file, or another directory"))];
    }
    files.into_iter().map(Ok).collect()
}

/// Whether a file of a directory is read: by its ending, and not hidden as editors' copies are.
pub fn is_manifest(path: &Path) -> bool {
    let ending = path.extension().is_some_and(|ending| {
        ["yaml", "yml", "json"].iter().any(|known| ending.eq_ignore_ascii_case(known))
    });
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    ending && !hidden && !path.is_dir()
}

/// Reads one file, or standard input.
fn reading(path: &Path, validation: FieldValidation) -> (String, Reading) {
    match contents::of(path) {
        Ok((origin, bytes)) => {
            let reading = read(&origin, &bytes, validation);
            (origin, reading)
        }
        Err(fault) => faulty(*fault),
    }
}

/// A file of which nothing is known but a fault.
fn faulty(fault: Fault) -> (String, Reading) {
    (fault.origin.clone(), Reading { faults: vec![fault], documents: Vec::new() })
}

/// Rejects sets and objects that an earlier file describes already.
fn mark_duplicates(readings: &mut [(String, Reading)]) {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for (origin, reading) in readings {
        for document in &mut reading.documents {
            let Some((key, name)) = described(document) else {
                continue;
            };
            let first = seen.entry(key.clone()).or_insert_with(|| origin.clone());
            if first != origin {
                document.faults.push(Fault {
                    origin: origin.clone(),
                    document: Some(document.index),
                    line: Some(document.line),
                    path: "metadata.name".to_owned(),
                    value: name,
                    problem: format!("{first} describes {key} already"),
                    remedy: "rename one of them or remove it".to_owned(),
                });
                document.outcome = Outcome::Rejected;
            }
        }
    }
}

/// What a document describes and the name of that, when there may be only one of it.
fn described(document: &Document) -> Option<(String, String)> {
    let set = document.key.as_ref().map(|key| (key.to_string(), key.name.clone()));
    set.or_else(|| document.object.as_ref().map(|key| (key.to_string(), key.name.clone())))
}

/// How many documents came to which end.
#[derive(Debug, Default)]
struct Tally {
    /// Sets that can run, and the objects that they may take from.
    accepted: usize,
    /// Documents that are refused or invalid.
    rejected: usize,
    /// Documents of other kinds.
    ignored: usize,
    /// Files that could not be read.
    unreadable: usize,
}

impl Tally {
    /// Counts.
    fn of(readings: &[(String, Reading)]) -> Self {
        let mut tally = Self::default();
        for (_, reading) in readings {
            tally.unreadable += usize::from(!reading.faults.is_empty());
            for document in &reading.documents {
                match document.outcome {
                    Outcome::Set(_) | Outcome::Object { .. } => tally.accepted += 1,
                    Outcome::Ignored { .. } => tally.ignored += 1,
                    Outcome::Rejected => tally.rejected += 1,
                }
            }
        }
        tally
    }

    /// Whether nothing is refused or invalid.
    fn fine(&self) -> bool {
        self.rejected == 0 && self.unreadable == 0
    }
}

/// A document's end in a word.
fn verdict(document: &Document) -> &'static str {
    match document.outcome {
        Outcome::Set(_) | Outcome::Object { .. } => "accepted",
        Outcome::Ignored { .. } => "ignored",
        Outcome::Rejected if document.faults.is_empty() => "refused",
        Outcome::Rejected => "invalid",
    }
}

/// Writes the report for people.
fn text(readings: &[(String, Reading)], tally: &Tally, out: &mut dyn Write) -> io::Result<()> {
    for (origin, reading) in readings {
        writeln!(out, "{origin}")?;
        for fault in &reading.faults {
            writeln!(out, "  {fault}")?;
        }
        if reading.faults.is_empty() && reading.documents.is_empty() {
            writeln!(out, "  holds no documents")?;
        }
        for document in &reading.documents {
            document_text(document, out)?;
        }
        writeln!(out)?;
    }
    let Tally { accepted, rejected, ignored, unreadable } = tally;
    write!(out, "{accepted} accepted, {rejected} refused or invalid, {ignored} ignored")?;
    if *unreadable > 0 {
        write!(out, ", {unreadable} unreadable")?;
    }
    writeln!(out)
}

/// Writes one document for people.
fn document_text(document: &Document, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "  document {}, line {}: ", document.index, document.line)?;
    let kind = if document.kind.is_empty() { "not an object" } else { &document.kind };
    write!(out, "{kind}")?;
    match (&document.key, &document.object) {
        (Some(key), _) => write!(out, " {key}")?,
        (_, Some(key)) => write!(out, " {}/{}", key.namespace, key.name)?,
        _ if !document.name.is_empty() => write!(out, " {}", document.name)?,
        _ => {}
    }
    write!(out, ": {}", verdict(document))?;
    match &document.outcome {
        Outcome::Ignored { reason } => writeln!(out, ": {reason}")?,
        Outcome::Set(set) => writeln!(out, ", template hash {}", set.hash)?,
        Outcome::Object { value, .. } => {
            let (keys, fixed) =
                (value.keys().count(), if value.immutable { ", immutable" } else { "" });
            writeln!(out, ", {keys} key{}{fixed}", if keys == 1 { "" } else { "s" })?;
        }
        Outcome::Rejected => writeln!(out)?,
    }
    messages("faults", &document.faults, out)?;
    messages("warnings", &document.warnings, out)?;
    for support in [Support::Refused, Support::Ignored] {
        reasons(document, support, out)?;
    }
    honoured(document, out)
}

/// Writes faults or warnings, one a line.
fn messages(title: &str, faults: &[Fault], out: &mut dyn Write) -> io::Result<()> {
    if !faults.is_empty() {
        writeln!(out, "    {title}:")?;
    }
    for fault in faults {
        writeln!(out, "      {fault}")?;
    }
    Ok(())
}

/// Writes fields under the reason that they share; what stands below a written field is left out.
fn reasons(document: &Document, support: Support, out: &mut dyn Write) -> io::Result<()> {
    let mut groups: Vec<(&str, Vec<&FieldUse>)> = Vec::new();
    let mut head = "";
    for field in document.fields.iter().filter(|field| field.support == support) {
        let below = field.path.strip_prefix(head).is_some_and(|rest| rest.starts_with(['.', '[']));
        if !head.is_empty() && below {
            continue;
        }
        head = &field.path;
        match groups.iter_mut().find(|(reason, _)| *reason == field.reason) {
            Some((_, fields)) => fields.push(field),
            None => groups.push((&field.reason, vec![field])),
        }
    }
    if !groups.is_empty() {
        writeln!(out, "    {}:", support.as_str())?;
    }
    for (reason, fields) in groups {
        writeln!(out, "      {reason}")?;
        for field in fields {
            writeln!(out, "        {} = {}", field.path, field.value)?;
        }
    }
    Ok(())
}

/// Writes the honoured fields.
fn honoured(document: &Document, out: &mut dyn Write) -> io::Result<()> {
    let mut fields =
        document.fields.iter().filter(|field| field.support == Support::Honoured).peekable();
    if fields.peek().is_some() {
        writeln!(out, "    honoured:")?;
    }
    for field in fields {
        writeln!(out, "      {} = {}", field.path, field.value)?;
    }
    Ok(())
}

/// Writes the report for programs.
fn machine(readings: &[(String, Reading)], tally: &Tally, out: &mut dyn Write) -> io::Result<()> {
    let files: Vec<Value> = readings
        .iter()
        .map(|(origin, reading)| {
            let documents: Vec<Value> = reading.documents.iter().map(document_json).collect();
            json!({ "file": origin, "faults": reading.faults, "documents": documents })
        })
        .collect();
    let report = json!({
        "ok": tally.fine(),
        "accepted": tally.accepted,
        "rejected": tally.rejected,
        "ignored": tally.ignored,
        "unreadable": tally.unreadable,
        "files": files,
    });
    serde_json::to_writer_pretty(&mut *out, &report)?;
    writeln!(out)
}

/// One document for programs.
fn document_json(document: &Document) -> Value {
    let (reason, hash, keys) = match &document.outcome {
        Outcome::Ignored { reason } => (Some(reason.as_str()), None, None),
        Outcome::Set(set) => (None, Some(set.hash.as_str()), None),
        Outcome::Object { value, .. } => (None, None, Some(value.keys().count())),
        Outcome::Rejected => (None, None, None),
    };
    json!({
        "document": document.index,
        "line": document.line,
        "apiVersion": document.api_version,
        "kind": document.kind,
        "name": document.name,
        "set": document.key.as_ref().map(ToString::to_string),
        "verdict": verdict(document),
        "reason": reason,
        "templateHash": hash,
        "object": document.object.as_ref().map(ToString::to_string),
        "keys": keys,
        "faults": document.faults,
        "warnings": document.warnings,
        "fields": document.fields,
    })
}

#[cfg(test)]
mod tests;
