//! The documents of a file, as values: YAML and JSON, several in one file, and lists of objects.
//!
//! This reading is for questions only, such as `podward why -f`: it lets pass what validation
//! refuses. What the agent runs is read by the spec floor.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::Value;
use serde_saphyr::with_deserializer_from_str_with_options;

use crate::base::fault::Fault;
use crate::spec::{self, MAX_DOCUMENTS, ParseFault, Piece};

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
    let text = match spec::decode(origin, bytes) {
        Ok(text) => text,
        Err(fault) => return (Vec::new(), vec![*fault]),
    };
    let (mut documents, mut faults) = (Vec::new(), Vec::new());
    if let Some(values) = spec::json(text) {
        for (index, (line, value)) in values.into_iter().enumerate() {
            flatten(Piece { line, text }, index + 1, value, None, &mut documents);
        }
    } else {
        let mut index = 0;
        for piece in spec::pieces(text) {
            // Of a key given twice the last counts, as for a cluster's command line.
            match spec::yaml(&piece, true) {
                Ok(Value::Null) => {}
                Ok(value) => {
                    index += 1;
                    flatten(piece, index, value, Some(piece.text), &mut documents);
                }
                Err(fault) => {
                    index += 1;
                    faults.push(syntax_fault(origin, index, &fault));
                }
            }
            if documents.len().max(faults.len()) > MAX_DOCUMENTS {
                break;
            }
        }
    }
    if documents.len().max(faults.len()) > MAX_DOCUMENTS {
        documents.truncate(MAX_DOCUMENTS);
        faults.truncate(MAX_DOCUMENTS);
        faults.push(spec::too_many(origin));
    }
    (documents, faults)
}

/// The fault of a document that is no YAML.
fn syntax_fault(origin: &str, index: usize, fault: &ParseFault) -> Fault {
    let whole = Fault::of_file(origin, &fault.problem, &fault.remedy);
    Fault { document: Some(index), line: Some(fault.line), ..whole }
}

/// One YAML document as a value.
pub fn yaml(text: &str) -> Option<Value> {
    spec::yaml(&Piece { line: 1, text }, true).ok()
}

/// The texts of all numbers and booleans of a document, in the form of its value: `08` and `y` are
/// lost in the value itself.
pub fn scalar_texts(text: &str, value: &Value) -> Option<Value> {
    with_deserializer_from_str_with_options(text, spec::options(true), |yaml| {
        Texts(value).deserialize(yaml)
    })
    .ok()
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
