//! Gathers the faults and warnings of one document.

use serde_json::Value;

use crate::base::fault::Fault;
use crate::spec::{document::FieldValidation, table::Kind};

/// The most faults that one document is told; whoever has more mends these first.
const MOST: usize = 200;

/// The most characters of a value that a message repeats.
const SHOWN: usize = 60;

/// What stands for a Secret's value wherever people look.
pub const SECRET: &str = "<secret>";

/// The fields of a Secret that are no secret.
const OPEN: [&str; 6] =
    ["apiVersion", "kind", "metadata.name", "metadata.namespace", "type", "immutable"];

/// The faults and warnings of one document so far.
pub struct Report {
    /// Where it was read.
    pub origin: String,
    /// Its number there.
    pub document: usize,
    /// How unknown fields are taken.
    pub validation: FieldValidation,
    /// Whether it is a Secret's, whose values no message repeats.
    pub secret: bool,
    /// Paths of values of the wrong type, about which nothing else is worth saying.
    broken: Vec<String>,
    /// Paths of numbers and booleans that should have been in quotes: YAML lost what was written.
    pub unquoted: Vec<String>,
    /// Why it is rejected.
    pub faults: Vec<Fault>,
    /// What its author should know.
    pub warnings: Vec<Fault>,
}

impl Report {
    /// An empty report.
    pub fn new(origin: &str, document: usize, validation: FieldValidation) -> Self {
        Self {
            origin: origin.to_owned(),
            document,
            validation,
            secret: false,
            broken: Vec::new(),
            unquoted: Vec::new(),
            faults: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Whether no more faults are told.
    pub fn is_full(&self) -> bool {
        self.faults.len() >= MOST
    }

    /// Reports a fault; said twice, it counts once.
    pub fn fault(
        &mut self,
        path: &str,
        value: &Value,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        if self.is_full() || self.is_broken(path) {
            return;
        }
        let fault = self.message(path, value, problem.into(), remedy.into());
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// Warns.
    pub fn warn(
        &mut self,
        path: &str,
        value: &Value,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        if self.warnings.len() >= MOST || self.is_broken(path) {
            return;
        }
        let warning = self.message(path, value, problem.into(), remedy.into());
        self.warnings.push(warning);
    }

    /// Reports an unknown field, as strictly as is asked for.
    pub fn unknown(&mut self, path: &str, value: &Value, remedy: String) {
        match self.validation {
            FieldValidation::Strict => self.fault(path, value, "unknown field", remedy),
            FieldValidation::Warn => self.warn(path, value, "unknown field", remedy),
            FieldValidation::Ignore => {}
        }
    }

    /// Reports a field that is not there but must be.
    pub fn missing(&mut self, path: &str, kind: Kind) {
        self.fault(
            path,
            &Value::Null,
            "required field is missing",
            what_to_give(path).map_or_else(|| format!("give {}", kind.noun()), str::to_owned),
        );
    }

    /// Whether something of the wrong type lies within a path.
    pub fn holds_broken(&self, path: &str) -> bool {
        self.broken.iter().any(|broken| {
            broken.strip_prefix(path).is_some_and(|rest| rest.starts_with(['.', '[']))
        })
    }

    /// Whether a path is, or lies within, something of the wrong type.
    pub fn is_broken(&self, path: &str) -> bool {
        self.broken.iter().any(|broken| {
            let rest = path.strip_prefix(broken.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }

    /// Reports a value of the wrong type.
    pub fn wrong_type(&mut self, path: &str, value: &Value, kind: Kind) {
        let problem = format!("is {}, but must be {}", type_of(value), kind.noun());
        let remedy = match (kind, value) {
            _ if self.secret => {
                format!("write {}, in quotes if it looks like another", kind.noun())
            }
            (Kind::Text | Kind::Time, Value::Bool(_) | Value::Number(_)) => {
                format!("write it in quotes: \"{}\"", shown(value))
            }
            (Kind::Flag, Value::String(text)) if bool_word(text).is_some() => {
                format!("write {} without quotes", bool_word(text).unwrap_or_default())
            }
            (Kind::Int32 | Kind::Int64, Value::String(text)) if text.parse::<i64>().is_ok() => {
                format!("write {text} without quotes")
            }
            (Kind::Int32, Value::Number(_)) => {
                "write a whole number from -2147483648 to 2147483647".to_owned()
            }
            (Kind::Texts | Kind::Ints | Kind::List(_), _) => {
                "write each item on a line of its own behind a dash".to_owned()
            }
            _ => format!("write {}", kind.noun()),
        };
        self.fault(path, value, problem, remedy);
        let unquoted = matches!(value, Value::Bool(_) | Value::Number(_)) && !self.secret;
        if matches!(kind, Kind::Text) && unquoted {
            self.unquoted.push(path.to_owned());
        }
        if self.broken.len() < MOST {
            self.broken.push(path.to_owned());
        }
    }

    /// A fault at a path of this document.
    fn message(&self, path: &str, value: &Value, problem: String, remedy: String) -> Fault {
        Fault {
            origin: self.origin.clone(),
            document: Some(self.document),
            line: None,
            path: path.to_owned(),
            value: match value {
                Value::Null => String::new(),
                _ if self.secret && !OPEN.contains(&path) => SECRET.to_owned(),
                value => quoted(value),
            },
            problem,
            remedy,
        }
    }
}

/// What to write where one of the best known fields is missing.
fn what_to_give(path: &str) -> Option<&'static str> {
    let pod = path.strip_prefix("spec.template.spec.").unwrap_or_default();
    Some(match path {
        "metadata" => "write metadata with a name",
        "spec.selector" => "write matchLabels with labels of spec.template.metadata.labels",
        "spec.template" => "describe the pod: its labels and its containers",
        "spec.template.spec.containers" => "describe at least one container",
        _ if pod.starts_with("containers[") && pod.ends_with("].name") => "name the container",
        _ if pod.starts_with("volumes[") && pod.ends_with("].name") => "name the volume",
        _ if pod.ends_with(".containerPort") => "give a port from 1 to 65535",
        _ if pod.ends_with(".hostPath.path") => "give an absolute path of the host",
        _ if pod.ends_with(".mountPath") => "give a path in the container",
        _ => return None,
    })
}

/// The word `true` or `false` that a text stands for, when somebody put it in quotes.
fn bool_word(text: &str) -> Option<&'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some("true"),
        "false" | "no" | "off" => Some("false"),
        _ => None,
    }
}

/// A JSON value's type, for people.
pub fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

/// A value as a person would write it, shortened: strings without quotes.
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => shortened(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            quoted(value)
        }
    }
}

/// A value as JSON, shortened.
fn quoted(value: &Value) -> String {
    match value {
        // Large values are cut before they are written out.
        Value::String(text) => Value::String(shortened(text)).to_string(),
        Value::Array(items) if items.len() > SHOWN => format!("[{} items]", items.len()),
        Value::Object(fields) if fields.len() > SHOWN => format!("{{{} fields}}", fields.len()),
        _ => shortened(&value.to_string()),
    }
}

/// A text of one line, cut when it is long.
fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short.replace(['\n', '\r', '\t'], " ")
}
