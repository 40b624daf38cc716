//! Reads a file of sets, ConfigMaps and Secrets: the way from bytes to outcomes.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::apps::v1::DaemonSet;
use serde_json::{Map, Value};

use crate::base::{fault::Fault, ids::SetKey};
use crate::spec::{
    bytes::{self, ParseFault, Piece},
    convert, defaults,
    document::{Document, FieldValidation, Outcome, Reading, Set},
    hash::template_hash,
    identity::{guess, identified, is_set, key_of, name_of, object_key},
    kinds,
    lines::Lines,
    object::{ObjectKey, ObjectKind},
    read_object::read_object,
    report::{Report, shown, type_of},
    shape,
    table::Support,
    validate::validate,
};

/// The most values that one set may hold: published ones have some hundreds.
const MAX_VALUES: usize = 10_000;

/// Reads a file: every document of it with all its faults, whatever the bytes are.
pub fn read(origin: &str, bytes: &[u8], validation: FieldValidation) -> Reading {
    let text = match bytes::decode(origin, bytes) {
        Ok(text) => text,
        Err(fault) => {
            return Reading { faults: vec![*fault], documents: Vec::new() };
        }
    };
    let mut reader = Reader {
        origin,
        validation,
        reading: Reading::default(),
        seen: BTreeMap::new(),
        seen_objects: BTreeMap::new(),
    };
    if let Some(values) = bytes::json(text) {
        let single = values.len() == 1;
        for (line, value) in values {
            // Of several JSON objects in one file only the beginnings are known, not the lines within.
            let source = if single { Some(text) } else { None };
            reader.value(value, &Source { text: source, line, prefix: String::new() });
        }
    } else {
        for piece in bytes::pieces(text) {
            reader.piece(&piece);
        }
    }
    reader.reading
}

/// Where a document stands in its file.
struct Source<'a> {
    /// The text that holds it.
    text: Option<&'a str>,
    /// The line that the text begins on.
    line: usize,
    /// The path within the text, such as `items[2].`.
    prefix: String,
}

/// The state of reading one file.
struct Reader<'a> {
    /// Where it was read.
    origin: &'a str,
    /// How unknown fields are taken.
    validation: FieldValidation,
    /// What was read so far.
    reading: Reading,
    /// The sets so far, with the number of their document.
    seen: BTreeMap<SetKey, usize>,
    /// The ConfigMaps and Secrets so far, likewise.
    seen_objects: BTreeMap<ObjectKey, usize>,
}

impl Reader<'_> {
    /// Whether no more is read; says so once.
    fn full(&mut self) -> bool {
        let full = self.reading.documents.len() >= bytes::MAX_DOCUMENTS;
        if full && self.reading.faults.is_empty() {
            self.reading.faults.push(bytes::too_many(self.origin));
        }
        full
    }

    /// Reads one document's text.
    fn piece(&mut self, piece: &Piece<'_>) {
        if self.full() {
            return;
        }
        let source = Source { text: Some(piece.text), line: piece.line, prefix: String::new() };
        match bytes::yaml(piece, false) {
            Ok(value) => self.value(value, &source),
            Err(fault) if fault.duplicate && self.validation != FieldValidation::Strict => {
                match bytes::yaml(piece, true) {
                    Ok(value) => {
                        let first = self.reading.documents.len();
                        self.value(value, &source);
                        if self.validation == FieldValidation::Warn {
                            self.repeated(first, &fault);
                        }
                    }
                    Err(fault) => self.unreadable(piece, &fault),
                }
            }
            Err(fault) => self.unreadable(piece, &fault),
        }
    }

    /// Warns of a repeated key in the documents from number `first` on.
    fn repeated(&mut self, first: usize, fault: &ParseFault) {
        if let Some(document) = self.reading.documents.get_mut(first) {
            document.warnings.push(Fault {
                origin: self.origin.to_owned(),
                document: Some(document.index),
                line: Some(fault.line),
                path: String::new(),
                value: String::new(),
                problem: fault.problem.clone(),
                remedy: format!("{}; the last one counts", fault.remedy),
            });
        }
    }

    /// Notes a document that is not even YAML; its set is guessed, so that the old one is not taken for removed.
    fn unreadable(&mut self, piece: &Piece<'_>, fault: &ParseFault) {
        let guess = guess(piece.text);
        let mut document = self.blank(piece.line);
        document.faults.push(Fault {
            origin: self.origin.to_owned(),
            document: Some(document.index),
            line: Some(fault.line),
            path: String::new(),
            value: String::new(),
            problem: fault.problem.clone(),
            remedy: fault.remedy.clone(),
        });
        if let Some((api_version, kind, key)) = guess {
            (document.api_version, document.kind) = (api_version, kind);
            document.name = key.to_string();
            document.object = object_key(&document, Some(key.clone()));
            document.key = Some(key).filter(|_| document.kind == "DaemonSet");
        }
        self.reading.documents.push(document);
    }

    /// An empty, rejected document with the next number.
    fn blank(&self, line: usize) -> Document {
        Document {
            index: self.reading.documents.len() + 1,
            line,
            api_version: String::new(),
            kind: String::new(),
            name: String::new(),
            key: None,
            object: None,
            outcome: Outcome::Rejected,
            draft: None,
            faults: Vec::new(),
            warnings: Vec::new(),
            fields: Vec::new(),
        }
    }

    /// Takes in a value: an object, a list of them, or something else.
    fn value(&mut self, value: Value, source: &Source<'_>) {
        if self.full() {
            return;
        }
        match value {
            Value::Null => {}
            Value::Object(mut object) => {
                let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
                let listed = object.get("items").is_some_and(Value::is_array);
                if kind == "List" || (kind.ends_with("List") && listed) {
                    self.items(&mut object, source);
                } else {
                    self.object(object, source);
                }
            }
            other => {
                let problem =
                    format!("is {}, but a Kubernetes object is a mapping", type_of(&other));
                // An item of a list may be a Secret's.
                let shown = if source.prefix.is_empty() { &other } else { &Value::Null };
                self.stray("", shown, problem, source);
            }
        }
    }

    /// Takes in the items of a list.
    fn items(&mut self, list: &mut Map<String, Value>, source: &Source<'_>) {
        match list.remove("items") {
            Some(Value::Array(items)) => {
                for (index, mut item) in items.into_iter().enumerate() {
                    name_kind(&mut item, list);
                    let prefix = format!("{}items[{index}].", source.prefix);
                    let (text, line) = (source.text, source.line);
                    self.value(item, &Source { text, line, prefix });
                }
            }
            None | Some(Value::Null) => {}
            Some(other) => {
                let problem = format!("is {}, but must be a list of objects", type_of(&other));
                // What stands there may be a Secret's.
                self.stray("items", &Value::Null, problem, source);
            }
        }
    }

    /// Notes something that is no object.
    fn stray(&mut self, path: &str, value: &Value, problem: String, source: &Source<'_>) {
        let mut document = self.blank(source.line);
        let mut report = Report::new(self.origin, document.index, self.validation);
        let remedy = "begin with apiVersion: apps/v1 and kind: DaemonSet";
        report.fault(path, value, problem, remedy);
        document.faults = report.faults;
        place(&mut document, source, &[]);
        self.reading.documents.push(document);
    }

    /// Takes in an object.
    fn object(&mut self, object: Map<String, Value>, source: &Source<'_>) {
        let mut document = self.blank(source.line);
        let mut report = Report::new(self.origin, document.index, self.validation);
        let word =
            |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        (document.api_version, document.kind) = (word("apiVersion"), word("kind"));
        let key = key_of(&object);
        document.name = name_of(&object);
        document.object = object_key(&document, key.clone());
        document.key = key.filter(|_| document.kind == "DaemonSet");
        report.secret = kinds::object(&document.kind) == Some(ObjectKind::Secret);
        let identified = identified(&object, &document, &mut report);
        if is_set(&document, identified) {
            // One that is badly marked is read on: all its faults at once.
            self.set(object, &mut document, &mut report);
        } else if kinds::object(&document.kind).is_some()
            && (document.api_version == "v1" || !identified)
        {
            self.config(object, &mut document, &mut report);
        } else if identified {
            let reason = kinds::ignored(&document.api_version, &document.kind);
            document.outcome = Outcome::Ignored { reason };
            document.key = None;
        }
        document.faults = report.faults;
        document.warnings = report.warnings;
        place(&mut document, source, &report.unquoted);
        self.reading.documents.push(document);
    }

    /// Takes in a DaemonSet.
    fn set(
        &mut self,
        mut object: Map<String, Value>,
        document: &mut Document,
        report: &mut Report,
    ) {
        if let Some(key) = &document.key {
            if let Some(first) = self.seen.get(key) {
                let problem = format!("document {first} of this file describes {key} already");
                let name = Value::String(key.name.clone());
                report.fault("metadata.name", &name, problem, "rename one of them or remove it");
            } else {
                self.seen.insert(key.clone(), document.index);
            }
        }
        let values = object.values().map(count).sum::<usize>();
        if values > MAX_VALUES {
            let problem = format!("holds {values} values; at most {MAX_VALUES} are read");
            report.fault("", &Value::Null, problem, "write a plainer set");
            return;
        }
        convert::to_apps_v1(&mut object, report);
        document.fields = shape::walk(&mut object, report);
        defaults::fill(&mut object);
        let object = Value::Object(object);
        validate(&object, report);
        document.draft = self.draft(object, document);
        let refused = document.fields.iter().any(|field| field.support == Support::Refused);
        if let Some(set) = document.draft.clone().filter(|_| !refused && report.faults.is_empty()) {
            document.outcome = Outcome::Set(set);
        } else if !refused && report.faults.is_empty() {
            let remedy = "report this to podward's authors with the document";
            report.fault("", &Value::Null, "passes all checks but is no DaemonSet", remedy);
        }
    }

    /// Takes in a ConfigMap or Secret.
    fn config(
        &mut self,
        mut fields: Map<String, Value>,
        document: &mut Document,
        report: &mut Report,
    ) {
        if let Some(key) = &document.object {
            if let Some(first) = self.seen_objects.get(key) {
                let problem = format!("document {first} of this file describes {key} already");
                let name = Value::String(key.name.clone());
                report.fault("metadata.name", &name, problem, "rename one of them or remove it");
            } else {
                self.seen_objects.insert(key.clone(), document.index);
            }
        }
        let Some(kind) = kinds::object(&document.kind) else { return };
        let (value, fields) = read_object(kind, &mut fields, report);
        document.fields = fields;
        let refused = document.fields.iter().any(|field| field.support == Support::Refused);
        if let Some(key) = document.object.clone().filter(|_| !refused && report.faults.is_empty())
        {
            document.outcome = Outcome::Object { key, value: Arc::new(value) };
        }
    }

    /// The typed set, when the object is whole enough to be one.
    fn draft(&self, object: Value, document: &Document) -> Option<Arc<Set>> {
        let key = document.key.clone()?;
        let object: DaemonSet = serde_json::from_value(object).ok()?;
        let template = &object.spec.as_ref()?.template;
        template.spec.as_ref()?;
        let hash = template_hash(template);
        let origin = self.origin.to_owned();
        Some(Arc::new(Set { key, origin, document: document.index, object, hash }))
    }
}

/// Tells the item of a typed list, such as a `DaemonSetList`, what it is when it does not say so itself.
fn name_kind(item: &mut Value, list: &Map<String, Value>) {
    let of_list = |field: &str| list.get(field).and_then(Value::as_str).unwrap_or_default();
    let kind = of_list("kind").trim_end_matches("List");
    let Value::Object(item) = item else {
        return;
    };
    if !kind.is_empty() && !item.contains_key("apiVersion") && !item.contains_key("kind") {
        item.insert("apiVersion".to_owned(), of_list("apiVersion").into());
        item.insert("kind".to_owned(), kind.into());
    }
}

/// Gives each fault its line, and the text of the file where YAML lost it; `unquoted` says where.
fn place(document: &mut Document, source: &Source<'_>, unquoted: &[String]) {
    let silent = document.faults.is_empty() && document.warnings.is_empty();
    if silent && source.prefix.is_empty() {
        return;
    }
    let Some(text) = source.text else {
        for fault in document.faults.iter_mut().chain(&mut document.warnings) {
            fault.line = Some(source.line);
        }
        return;
    };
    let lines = Lines::of(text, source.line);
    document.line = lines.line(source.prefix.trim_end_matches('.')).max(source.line);
    for fault in document.faults.iter_mut().chain(&mut document.warnings) {
        let path = format!("{}{}", source.prefix, fault.path);
        fault.line = Some(lines.line(&path));
        if unquoted.contains(&fault.path)
            && let Some(written) = lines.written(&path)
        {
            fault.value = shown(&Value::String(written.to_owned()));
            fault.remedy = format!("write it in quotes: \"{}\"", fault.value);
        }
        if fault.path.is_empty() {
            source.prefix.trim_end_matches('.').clone_into(&mut fault.path);
        }
    }
    document.faults.sort_by_key(|fault| fault.line);
}

/// How many values there are in a value, itself included.
fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(count).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}
