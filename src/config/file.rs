//! The settings file as a tree in which every value knows its line.

use std::{fs, io, path::Path};

use serde_json::Value;

use crate::base::fault::Fault;
use crate::spec::{self, Place};

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
        spec::places(text, false).map(Self::of).map_err(|error| {
            let line = error.location().map(|location| line(location.line()));
            let said = error.to_string();
            let said = said.lines().next().unwrap_or_default();
            // The line is told apart already.
            let problem = said.split(" at line ").next().unwrap_or(said);
            let problem = problem.split(", set DuplicateKeyPolicy").next().unwrap_or(problem);
            let fault = Fault::of_file(
                origin,
                problem,
                "write one YAML mapping; docs/config.md has all keys",
            );
            Box::new(Fault { line: line.flatten(), ..fault })
        })
    }

    /// Takes what was read.
    fn of(place: Place) -> Self {
        let value = match place.tree {
            spec::Tree::Scalar(value, _) => Branch::Leaf(value),
            spec::Tree::List(items) => Branch::List(items.into_iter().map(Self::of).collect()),
            spec::Tree::Mapping(fields) => Branch::Map(
                fields.into_iter().map(|(key, at)| (key, line(at.line), Self::of(at))).collect(),
            ),
        };
        Self { line: line(place.own), value }
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
