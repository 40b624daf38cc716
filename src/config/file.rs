//! The settings file as a tree in which every value knows its line.

use std::{fmt, fs, io, path::Path};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::base::fault::Fault;

/// The text of the file; `None` when it is missing and nobody named it.
pub fn text(path: &Path, named: bool) -> Result<Option<String>, Box<Fault>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !named => Ok(None),
        Err(error) => Err(Box::new(Fault::of_file(
            path.display().to_string(),
            format!("cannot be read: {error}"),
            match error.kind() {
                io::ErrorKind::NotFound => "name an existing file with --config",
                io::ErrorKind::PermissionDenied => "run as root, or let its group read it",
                io::ErrorKind::InvalidData => "save it as UTF-8",
                _ => "name a readable file with --config",
            },
        ))),
    }
}

/// A value and its line, where it has one.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree {
    /// The line in the file, from 1.
    pub line: Option<usize>,
    /// The value.
    pub value: Branch,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub enum Branch {
    /// A single value, or none.
    Leaf(Value),
    /// A list.
    List(Vec<Tree>),
    /// Keys, each with its line, and their values.
    Map(Vec<(String, Option<usize>, Tree)>),
}

impl Tree {
    /// A text that stands in no file.
    pub fn of_text(text: &str) -> Self {
        Self { line: None, value: Branch::Leaf(Value::from(text)) }
    }

    /// Reads YAML (or JSON, which is YAML).
    pub fn parse(origin: &str, text: &str) -> Result<Self, Box<Fault>> {
        // A key written twice means that its author sees one of the values and gets the other.
        serde_saphyr::from_str::<Spanned<Branch>>(text).map(Self::of).map_err(|error| {
            let line = error.location().map(|location| line(location.line()));
            let said = error.to_string();
            let said = said.lines().next().unwrap_or_default();
            // The line is told apart already: `error: line 2 column 1: …`.
            let problem = said.split_once(" column ").and_then(|(_, rest)| rest.split_once(": "));
            let problem = problem.map_or(said, |(_, problem)| problem);
            let problem = problem.split(", set DuplicateKeyPolicy").next().unwrap_or(problem);
            let fault = Fault::of_file(
                origin,
                problem,
                "write one YAML mapping; docs/config.md has all keys",
            );
            Box::new(Fault { line: line.flatten(), ..fault })
        })
    }

    /// Takes the place apart from the value.
    fn of(spanned: Spanned<Branch>) -> Self {
        Self { line: line(spanned.referenced.line()), value: spanned.value }
    }

    /// Whether nothing was written.
    pub fn is_null(&self) -> bool {
        self.value == Branch::Leaf(Value::Null)
    }

    /// The value as it was written, shortened.
    pub fn shown(&self) -> String {
        match &self.value {
            Branch::Leaf(value) => {
                let text = value.to_string();
                if text.chars().count() > 60 {
                    text.chars().take(60).chain("…".chars()).collect()
                } else {
                    text
                }
            }
            Branch::List(_) => "[…]".to_owned(),
            Branch::Map(_) => "{…}".to_owned(),
        }
    }
}

/// A line number, where the parser knows one.
fn line(number: impl TryInto<usize>) -> Option<usize> {
    number.try_into().ok().filter(|number| *number > 0)
}

impl<'de> Deserialize<'de> for Branch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BranchVisitor)
    }
}

/// Takes whatever the parser finds.
struct BranchVisitor;

impl<'de> Visitor<'de> for BranchVisitor {
    type Value = Branch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Branch, E> {
        Ok(Branch::Leaf(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Branch, E> {
        Ok(Branch::Leaf(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Branch, E> {
        Ok(Branch::Leaf(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Branch, E> {
        Ok(Branch::Leaf(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Branch, E> {
        Ok(Branch::Leaf(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Branch, E> {
        Ok(Branch::Leaf(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Branch, E> {
        Ok(Branch::Leaf(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Branch, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element::<Spanned<Branch>>()? {
            items.push(Tree::of(item));
        }
        Ok(Branch::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Branch, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = access.next_entry::<Spanned<String>, Spanned<Branch>>()? {
            entries.push((key.value, line(key.referenced.line()), Tree::of(value)));
        }
        Ok(Branch::Map(entries))
    }
}
