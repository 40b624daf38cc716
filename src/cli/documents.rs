//! The documents of a file, as values: YAML and JSON, several in one file, and lists of objects.
//!
//! This reading is for questions only, such as `podward why -f`: it lets pass what validation
//! refuses. What the agent runs is read by the spec floor.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Options, with_deserializer_from_str_with_options};

use crate::base::fault::Fault;

/// One object of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Document<'a> {
    /// Its document's number in the file, from 1.
    pub index: usize,
    /// The line on which its document begins, from 1.
    pub line: usize,
    /// `apiVersion`, empty when missing.
    pub api_version: String,
    /// `kind`, empty when missing.
    pub kind: String,
    /// The object.
    pub value: Value,
    /// The place in `items`, when it came out of a list.
    pub item: Option<usize>,
    /// The document's YAML text; `None` for JSON.
    pub text: Option<&'a str>,
}

/// All objects of a file, and what cannot be read in it.
pub fn read<'a>(origin: &str, bytes: &'a [u8]) -> (Vec<Document<'a>>, Vec<Fault>) {
    let text = match str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
            let problem = "the file is not UTF-8 text";
            let fault = Fault::of_file(origin, problem, "give a YAML or JSON file in UTF-8");
            return (Vec::new(), vec![Fault { line: Some(line + 1), ..fault }]);
        }
    };
    let (mut documents, mut faults) = (Vec::new(), Vec::new());
    if let Some(values) = json(text) {
        for (index, value) in values.into_iter().enumerate() {
            flatten(Piece { line: 1, text }, index + 1, value, None, &mut documents);
        }
        return (documents, faults);
    }
    let mut index = 0;
    for piece in pieces(text) {
        match yaml(piece.text) {
            Ok(Value::Null) => {}
            Ok(value) => {
                index += 1;
                flatten(piece, index, value, Some(piece.text), &mut documents);
            }
            Err(error) => {
                index += 1;
                faults.push(syntax_fault(origin, index, piece.line, &error));
            }
        }
    }
    (documents, faults)
}

/// The fault of a document that is no YAML.
fn syntax_fault(origin: &str, index: usize, first: usize, error: &serde_saphyr::Error) -> Fault {
    let within = error.location().and_then(|at| usize::try_from(at.line()).ok()).unwrap_or(1);
    let problem = format!("cannot be read as YAML: {}", error.without_snippet());
    let fault = Fault::of_file(origin, problem, "mend the syntax there or just above");
    Fault { document: Some(index), line: Some(first + within.max(1) - 1), ..fault }
}

/// The values of a JSON text, of which several may follow each other; `None` when it is not JSON.
fn json(text: &str) -> Option<Vec<Value>> {
    if !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    serde_json::Deserializer::from_str(text).into_iter().collect::<Result<_, _>>().ok()
}

/// How Kubernetes reads YAML: version 1.1, and of a key given twice the last counts.
fn options() -> Options {
    serde_saphyr::options! {
        legacy_octal_numbers: true,
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        with_snippet: false,
    }
}

/// One YAML document as a value.
pub fn yaml(text: &str) -> Result<Value, serde_saphyr::Error> {
    serde_saphyr::from_str_with_options(text, options())
}

/// The texts of all numbers and booleans of a document, in the form of its value: `08` and `y` are
/// lost in the value itself.
pub fn scalar_texts(text: &str, value: &Value) -> Option<Value> {
    with_deserializer_from_str_with_options(text, options(), |yaml| Texts(value).deserialize(yaml))
        .ok()
}

/// A document's text in its file.
#[derive(Debug, Clone, Copy)]
struct Piece<'a> {
    /// The line on which it begins, from 1.
    line: usize,
    /// The text.
    text: &'a str,
}

/// Cuts a file at its `---` lines, so that one bad document does not hide the others.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut start, mut first_line) = (0, 1);
    // Comments and directives before a first `---` belong to the document behind it.
    let mut closed = false;
    let mut offset = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let marker = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        let bare = line.trim();
        if marker && closed {
            pieces.push(Piece { line: first_line, text: &text[start..offset] });
            (start, first_line) = (offset, number + 1);
        }
        closed |= marker || !(bare.is_empty() || bare.starts_with(['#', '%']));
        offset += line.len();
    }
    pieces.push(Piece { line: first_line, text: &text[start..] });
    pieces
}

/// Adds a document, or each object of a list.
fn flatten<'a>(
    piece: Piece<'a>,
    index: usize,
    mut value: Value,
    text: Option<&'a str>,
    documents: &mut Vec<Document<'a>>,
) {
    let field = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (field(&value, "apiVersion"), field(&value, "kind"));
    let document = |value: Value, item, api_version, kind| Document {
        index,
        line: piece.line,
        api_version,
        kind,
        value,
        item,
        text,
    };
    let items = if kind.ends_with("List") { value["items"].take() } else { Value::Null };
    let Value::Array(items) = items else {
        documents.push(document(value, None, api_version, kind));
        return;
    };
    for (place, item) in items.into_iter().enumerate() {
        let or = |own: String, of_list: &str| {
            if own.is_empty() { of_list.to_owned() } else { own }
        };
        let of_list = kind.trim_end_matches("List");
        let (version, own) = (field(&item, "apiVersion"), field(&item, "kind"));
        let (version, own) = (or(version, &api_version), or(own, of_list));
        documents.push(document(item, Some(place), version, own));
    }
}

/// Reads the scalars of a YAML document as texts, guided by its value.
struct Texts<'v>(&'v Value);

impl<'de> DeserializeSeed<'de> for Texts<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        match self.0 {
            Value::Null | Value::String(_) => IgnoredAny::deserialize(source).map(|_| Value::Null),
            Value::Bool(_) | Value::Number(_) => String::deserialize(source).map(Value::String),
            Value::Array(_) => source.deserialize_seq(self),
            Value::Object(_) => source.deserialize_map(self),
        }
    }
}

impl<'de> Visitor<'de> for Texts<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what was read there before")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut texts = Vec::new();
        for item in self.0.as_array().into_iter().flatten() {
            let text = list.next_element_seed(Texts(item))?;
            texts.push(text.ok_or_else(|| de::Error::custom("the list became shorter"))?);
        }
        Ok(Value::Array(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut texts = serde_json::Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let text = map.next_value_seed(Texts(&self.0[&key]))?;
            texts.insert(key, text);
        }
        Ok(Value::Object(texts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kinds found in a text.
    fn kinds(text: &str) -> Vec<String> {
        read("f.yaml", text.as_bytes()).0.into_iter().map(|document| document.kind).collect()
    }

    #[test]
    fn documents_lists_comments_and_directives_are_read() {
        assert_eq!(kinds("kind: A\n---\n# nothing\n---\nkind: B\n"), ["A", "B"]);
        assert_eq!(
            kinds("%YAML 1.1\n# one\n--- # two\nkind: A\r\n...\n--- {kind: B}\n"),
            ["A", "B"]
        );
        assert_eq!(kinds("---\n---\nkind: A\n---\n"), ["A"]);
        assert_eq!(kinds("kind: List\nitems: [{kind: A}, {kind: B}]\n"), ["A", "B"]);
        assert_eq!(kinds("kind: NodeList\nitems: [{metadata: {}}]\n"), ["Node"]);
        assert_eq!(kinds("{\"kind\": \"A\"}\n{\"kind\": \"B\"}"), ["A", "B"]);
        assert_eq!(kinds("\u{feff}{kind: A, text: \"---\"}"), ["A"]);
        assert_eq!(kinds(""), [""; 0]);
    }

    #[test]
    fn a_bad_document_does_not_hide_its_neighbours_and_says_where_it_is() {
        let (documents, faults) = read("f.yaml", b"kind: A\n---\nkind: [\n---\nkind: B\n");
        assert_eq!(documents.len(), 2);
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].document, Some(2));
        assert!(faults[0].to_string().starts_with("f.yaml:"), "{}", faults[0]);
    }

    #[test]
    fn the_last_of_two_equal_keys_counts() {
        assert_eq!(kinds("kind: A\nkind: B\n"), ["B"]);
    }
}
