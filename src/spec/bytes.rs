//! From bytes to values: text checks, documents of a file, YAML and JSON; each fault stays with its own document.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Error, Options, budget::BudgetBreach};

use crate::base::fault::Fault;

/// The largest file that is read: 4 MiB.
pub const MAX_BYTES: usize = 4 << 20;

/// The most objects that one file may hold.
pub const MAX_DOCUMENTS: usize = 5_000;

/// The deepest nesting of a document; Kubernetes' own objects stay below forty.
const MAX_DEPTH: usize = 64;

/// One document's text.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// The line of the file that it begins on, from 1.
    pub line: usize,
    /// The text.
    pub text: &'a str,
}

/// Why a piece cannot be read.
#[derive(Debug)]
pub struct ParseFault {
    /// The line of the file.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
    /// Whether a repeated key is all that is wrong.
    pub duplicate: bool,
}

/// The fault of a file that is too large; callers that know the size need not read it first.
pub fn too_large(origin: &str, size: u64) -> Fault {
    let problem = format!("is {size} bytes large; at most {MAX_BYTES} (4 MiB) are read");
    Fault::of_file(origin, problem, "split it into several files")
}

/// The fault of a file with more objects than are read.
pub fn too_many(origin: &str) -> Fault {
    let problem = format!("holds more than {MAX_DOCUMENTS} objects; the rest is not read");
    Fault::of_file(origin, problem, "split it into several files")
}

/// The text of a file, or why there is none.
pub fn decode<'a>(origin: &str, bytes: &'a [u8]) -> Result<&'a str, Box<Fault>> {
    let fault =
        |problem: String, remedy: &str| Err(Box::new(Fault::of_file(origin, problem, remedy)));
    if bytes.len() > MAX_BYTES {
        return Err(Box::new(too_large(origin, bytes.len() as u64)));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return fault("is written in UTF-16".to_owned(), "save it as UTF-8");
    }
    let line_of = |end: usize| bytes[..end].split(|byte| *byte == b'\n').count();
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        let problem = format!("line {} holds a NUL byte; this is no text file", line_of(at));
        return fault(problem, "give a YAML or JSON file");
    }
    match str::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let problem = format!("line {} is not valid UTF-8", line_of(error.valid_up_to()));
            fault(problem, "save it as UTF-8")
        }
    }
}

/// The values of a JSON file with their lines; `None` when the text is not JSON throughout.
pub fn json(text: &str) -> Option<Vec<(usize, Value)>> {
    if !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let mut values = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Strict>();
    let (mut line, mut counted) = (1, 0);
    loop {
        let blank =
            text[stream.byte_offset()..].len() - text[stream.byte_offset()..].trim_start().len();
        let start = stream.byte_offset() + blank;
        line += text[counted..start].matches('\n').count();
        counted = start;
        match stream.next() {
            Some(Ok(Strict(value))) => values.push((line, value)),
            Some(Err(_)) => return None,
            None => return Some(values),
        }
    }
}

/// Splits a file at its document markers, so that a malformed document hides no other one.
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut start, mut start_line, mut offset) = (0, 1, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let end = offset + line.len();
        match marker(line) {
            Some("---") => {
                // Directives such as %YAML stand before the marker of their own document.
                let mut before = text[start..offset].lines().filter(|line| !is_blank(line));
                let directives = text[start..offset].contains('%');
                if !(directives && before.all(|line| line.starts_with('%'))) {
                    pieces.push(Piece { line: start_line, text: &text[start..offset] });
                    (start, start_line) = (offset, number + 1);
                }
            }
            Some(_) => {
                pieces.push(Piece { line: start_line, text: &text[start..offset] });
                (start, start_line) = (end, number + 2);
            }
            None => {}
        }
        offset = end;
    }
    pieces.push(Piece { line: start_line, text: &text[start..] });
    pieces.retain(|piece| !piece.text.lines().all(|line| is_blank(line) || is_bare_marker(line)));
    for piece in &mut pieces {
        piece.skip_blank();
    }
    pieces
}

impl Piece<'_> {
    /// Leaves out what stands before the content, so that the line is the one that people look for.
    fn skip_blank(&mut self) {
        while let Some((first, rest)) = self.text.split_once('\n') {
            if !(is_blank(first) || is_bare_marker(first)) {
                break;
            }
            self.text = rest;
            self.line += 1;
        }
    }
}

/// The document marker that a line is.
fn marker(line: &str) -> Option<&str> {
    let (head, rest) = line.split_at_checked(3)?;
    let alone = rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']);
    (alone && (head == "---" || head == "...")).then_some(head)
}

/// Whether a line holds nothing but a comment.
fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

/// Whether a line is a `---` with nothing but a comment behind it.
fn is_bare_marker(line: &str) -> bool {
    marker(line).is_some() && is_blank(&line[3..])
}

/// Reads one piece; a repeated key is a fault, or its last value wins when `lenient`.
pub fn yaml(piece: &Piece<'_>, lenient: bool) -> Result<Value, ParseFault> {
    serde_saphyr::from_str_with_options::<Value>(piece.text, options(lenient))
        .map_err(|error| explained(&error, piece))
}

/// How YAML is read: as Kubernetes does, within bounds of time and memory.
pub fn options(lenient: bool) -> Options {
    let policy = if lenient {
        serde_saphyr::options::DuplicateKeyPolicy::LastWins
    } else {
        serde_saphyr::options::DuplicateKeyPolicy::Error
    };
    serde_saphyr::options! {
        legacy_octal_numbers: true,
        with_snippet: false,
        duplicate_keys: policy,
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_total_scalar_bytes: 4 * MAX_BYTES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 50_000,
        },
    }
}

/// A parser's error in our words.
fn explained(error: &Error, piece: &Piece<'_>) -> ParseFault {
    let line = error.location().and_then(|location| usize::try_from(location.line()).ok());
    let mut cause = error.without_snippet();
    while let Error::AliasError { error, .. } = cause {
        cause = error.without_snippet();
    }
    let (problem, remedy) = match cause {
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or_default();
            (format!("the key {key} stands twice in one mapping"), "keep one of them")
        }
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => too_deep(),
        // Without an alias nothing unfolds: there is just very much of it.
        Error::Budget { .. } if !piece.text.contains('*') => {
            ("holds too many values".to_owned(), "split it, or write a plainer document")
        }
        Error::Budget { .. } => unfolding(),
        Error::AliasReplayLimitExceeded { .. } | Error::AliasExpansionLimitExceeded { .. } => {
            unfolding()
        }
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            ("an alias stands within its own anchor".to_owned(), "write the value out")
        }
        Error::NullIntoString { .. } => ("a key is empty".to_owned(), "give each key a name"),
        Error::NonFiniteFloat { value, .. } => {
            (format!("{value} is a number without end"), "write it in quotes if it is a string")
        }
        other => {
            let at = line.unwrap_or(1).max(1) - 1;
            let text = piece.text.lines().nth(at).unwrap_or_default();
            let (problem, remedy) = syntax(&other.to_string(), text);
            // The parser's words may repeat a part of the text.
            let secret = piece.text.contains("Secret") && problem.starts_with(NOT_YAML);
            (if secret { NOT_YAML.to_owned() } else { problem }, remedy)
        }
    };
    ParseFault {
        line: piece.line + line.unwrap_or(1).max(1) - 1,
        problem,
        remedy: remedy.to_owned(),
        duplicate: matches!(cause, Error::DuplicateMappingKey { .. }),
    }
}

/// How the problem of a text that is no YAML begins.
const NOT_YAML: &str = "not valid YAML";

/// A problem and its remedy.
type Explanation = (String, &'static str);

/// What is said of nesting.
fn too_deep() -> Explanation {
    let problem = format!("is nested more than {MAX_DEPTH} levels deep");
    (problem, "write a plainer document, with fewer levels")
}

/// What is said of documents that grow when they are read.
fn unfolding() -> Explanation {
    let problem = "its values and aliases unfold to too much".to_owned();
    (problem, "write a plainer document, with fewer aliases")
}

/// What is said of text that is no YAML; `line` is the one on which it was noticed.
fn syntax(text: &str, line: &str) -> Explanation {
    if text.contains("recursion limit") {
        return too_deep();
    }
    let text = text.split(" at line ").next().unwrap_or_default();
    let remedy = if line.contains("{{") || line.contains("{%") {
        "this is a template; render it first, for example with `helm template`"
    } else if ["<<<<<<<", "=======", ">>>>>>>"].iter().any(|mark| line.starts_with(mark)) {
        "a merge was left unfinished; keep one of the two sides"
    } else if text.contains("tabs disallowed") {
        "indent with spaces"
    } else if text.contains("unexpected character") {
        "write the value in quotes"
    } else {
        "mend the YAML on this line or just above it"
    };
    (format!("{NOT_YAML}: {text}"), remedy)
}

/// A JSON value in which no key stands twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

/// Builds a [`Strict`] value.
struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let Strict(value) = entries.next_value()?;
            if map.insert(key, value).is_some() {
                return Err(de::Error::custom("a key stands twice"));
            }
        }
        Ok(Value::Object(map))
    }
}
