//! What flags and the environment lay over the file.

use std::{collections::BTreeMap, path::PathBuf};

use crate::base::fault::Fault;

use super::file::Tree;
use super::keys::{Key, keys};
use super::read::Notes;
use super::settings::Settings;

/// Values from outside the file, by key; a flag goes before the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Where each value came from, and the value.
    values: BTreeMap<&'static str, (String, String)>,
}

impl Overrides {
    /// The overrides among environment variables; an empty variable counts as unset.
    pub fn from_environment(variables: impl Iterator<Item = (String, String)>) -> Self {
        let mut overrides = Self::default();
        for (name, value) in variables.filter(|(_, value)| !value.is_empty()) {
            if let Some(key) = keys().find(|key| key.variable().as_ref() == Some(&name)) {
                overrides.values.insert(key.path, (format!("variable {name}"), value));
            }
        }
        overrides
    }

    /// Lays a flag over what is there, when it was given.
    #[must_use]
    pub fn flag(mut self, flag: &str, value: Option<String>) -> Self {
        if let (Some(value), Some(key)) = (value, keys().find(|key| key.flag == Some(flag))) {
            self.values.insert(key.path, (format!("flag {flag}"), value));
        }
        self
    }

    /// The control socket, when it was given.
    pub fn socket(&self) -> Option<PathBuf> {
        self.values.get("socket").map(|(_, value)| value.into())
    }

    /// Lays the values over settings.
    pub fn apply(&self, settings: &mut Settings, faults: &mut Vec<Fault>) {
        for (path, (origin, value)) in &self.values {
            if let Some(Key { read, .. }) = keys().find(|key| key.path == *path) {
                read(&Tree::of_text(value), settings, &mut Notes::new(origin, path, faults));
            }
        }
    }
}
