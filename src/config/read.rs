//! Reads the file's tree into settings, key by key, noting every fault.

use std::collections::BTreeSet;

use crate::base::fault::Fault;
use crate::base::nearest::nearest;

use super::file::{Branch, Tree};
use super::keys::{LATER, keys};
use super::settings::Settings;

/// Collects the faults of one value and of what is inside it.
#[derive(Debug)]
pub struct Notes<'a> {
    /// The file, flag or variable.
    origin: &'a str,
    /// The path of the value.
    path: String,
    /// Where the faults go.
    faults: &'a mut Vec<Fault>,
}

impl<'a> Notes<'a> {
    /// Notes for the value at a path.
    pub fn new(origin: &'a str, path: &str, faults: &'a mut Vec<Fault>) -> Self {
        Self { origin, path: path.to_owned(), faults }
    }

    /// Notes for a value inside this one: `.key` or `[0]`.
    pub fn inside(&mut self, step: &str) -> Notes<'_> {
        let path = format!("{}{step}", self.path);
        let path = path.trim_start_matches('.').to_owned();
        Notes { origin: self.origin, path, faults: self.faults }
    }

    /// Notes a fault of the value.
    pub fn fault(&mut self, tree: &Tree, problem: impl Into<String>, remedy: impl Into<String>) {
        self.fault_at(tree.line, tree.shown(), problem, remedy);
    }

    /// Notes a fault of a key.
    pub fn fault_at(
        &mut self,
        line: Option<usize>,
        value: String,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let fault = Fault::of_file(self.origin, problem, remedy);
        self.faults.push(Fault { line, path: self.path.clone(), value, ..fault });
    }

    /// The entries of a mapping; a fault when it is none.
    pub fn entries<'t>(&mut self, tree: &'t Tree) -> &'t [(String, Option<usize>, Tree)] {
        match &tree.value {
            Branch::Map(entries) => entries,
            Branch::Leaf(serde_json::Value::Null) => &[],
            Branch::Leaf(_) | Branch::List(_) => {
                self.fault(tree, "not a mapping", "write keys and values");
                &[]
            }
        }
    }

    /// The items of a list; a fault when it is none.
    pub fn items<'t>(&mut self, tree: &'t Tree) -> &'t [Tree] {
        match &tree.value {
            Branch::List(items) => items,
            Branch::Leaf(serde_json::Value::Null) => &[],
            Branch::Leaf(_) | Branch::Map(_) => {
                self.fault(tree, "not a list", "begin each item with a dash");
                &[]
            }
        }
    }

    /// Refuses a key that nobody knows, or that a later version will.
    pub fn unknown(&mut self, line: Option<usize>, key: &str, known: &[&str]) {
        if LATER.contains(&key) {
            return self.fault_at(line, String::new(), "not in this version", "remove it");
        }
        let remedy = match nearest(key, known.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("known here: {}", known.join(", ")),
        };
        self.fault_at(line, String::new(), "unknown key", remedy);
    }
}

/// Reads the text of a file into settings, and tells whether it says where sets come from.
pub fn file(origin: &str, text: &str, settings: &mut Settings, faults: &mut Vec<Fault>) -> bool {
    match Tree::parse(origin, text) {
        Ok(tree) => {
            section(&tree, "", settings, &mut Notes::new(origin, "", faults));
            let sources =
                |(name, _, value): &(String, _, Tree)| name == "sources" && !value.is_null();
            matches!(&tree.value, Branch::Map(entries) if entries.iter().any(sources))
        }
        Err(fault) => {
            faults.push(*fault);
            false
        }
    }
}

/// Reads one mapping of the file and the mappings inside it.
fn section(tree: &Tree, prefix: &str, settings: &mut Settings, notes: &mut Notes<'_>) {
    for (name, line, value) in notes.entries(tree) {
        let path = format!("{prefix}{name}");
        let mut inside = notes.inside(&format!(".{name}"));
        let key = keys().find(|key| key.in_file && key.path == path);
        if let Some(key) = key {
            // As in Kubernetes, a key without a value is a key that was not written.
            if !value.is_null() {
                (key.read)(value, settings, &mut inside);
            }
        } else if known(&format!("{path}.")).is_empty() {
            inside.unknown(*line, name, &known(prefix));
        } else {
            section(value, &format!("{path}."), settings, &mut inside);
        }
    }
}

/// The names that may stand right under a prefix such as `containerd.`.
fn known(prefix: &str) -> Vec<&'static str> {
    let mut names: Vec<&str> = keys()
        .filter(|key| key.in_file)
        .filter_map(|key| key.path.strip_prefix(prefix)?.split('.').next())
        .collect();
    // `node` and `images` have keys in more than one table.
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(*name));
    names
}
