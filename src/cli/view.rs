//! How `get` shows objects: which columns, labels and prefixes.

use std::{collections::BTreeMap, io};

use jiff::Timestamp;
use serde_json::Value;

use super::document;
use super::resource::Kind;
use super::rows;
use super::table::{Table, or_none, pairs};

/// What a table of one kind looks like.
#[expect(clippy::struct_excessive_bools, reason = "independent switches of the command line")]
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// Whether the wide columns are shown.
    pub wide: bool,
    /// Whether the namespace comes first.
    pub namespaces: bool,
    /// Whether names begin with their type.
    pub types: bool,
    /// Whether all labels come last.
    pub labels: bool,
    /// Labels that have a column each.
    pub label_columns: Vec<String>,
    /// Whether there are no headers.
    pub bare: bool,
}

/// A table of one kind that is printed list by list.
#[derive(Debug)]
pub struct View {
    /// The kind.
    kind: Kind,
    /// What the table looks like.
    look: Look,
    /// The columns' widths.
    table: Table,
    /// Whether the headers are out.
    begun: bool,
}

impl View {
    /// A table before its first row.
    pub fn new(kind: Kind, look: Look) -> Self {
        Self { kind, begun: look.bare, look, table: Table::default() }
    }

    /// Prints rows for objects, below the headers the first time.
    pub fn print(
        &mut self,
        objects: &[&Value],
        now: Timestamp,
        out: &mut dyn io::Write,
    ) -> anyhow::Result<()> {
        if objects.is_empty() {
            return Ok(());
        }
        let mut rows = Vec::with_capacity(objects.len() + 1);
        if !std::mem::replace(&mut self.begun, true) {
            rows.push(self.headers());
        }
        for object in objects {
            rows.push(self.row(object, now)?);
        }
        Ok(self.table.print(&rows, out)?)
    }

    /// The headers.
    fn headers(&self) -> Vec<String> {
        let first = self.look.namespaces.then(|| "NAMESPACE".to_owned());
        let labels = self
            .look
            .label_columns
            .iter()
            .map(|key| key.rsplit('/').next().unwrap_or(key).to_ascii_uppercase());
        let last = self.look.labels.then(|| "LABELS".to_owned());
        let columns = self.columns().map(|(_, name)| name.to_owned());
        first.into_iter().chain(columns).chain(labels).chain(last).collect()
    }

    /// The columns that are shown, each with its number.
    fn columns(&self) -> impl Iterator<Item = (usize, &'static str)> {
        let wide = self.look.wide;
        let columns = rows::columns(self.kind).iter().enumerate();
        columns
            .filter(move |(_, (_, only_wide))| wide || !only_wide)
            .map(|(i, (name, _))| (i, *name))
    }

    /// The row of an object.
    fn row(&self, object: &Value, now: Timestamp) -> anyhow::Result<Vec<String>> {
        let cells = rows::cells(self.kind, object, now)?;
        let labels = labels(object);
        let meta = |field: &str| {
            let text = object.pointer(&format!("/metadata/{field}")).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let first = self.look.namespaces.then(|| meta("namespace"));
        let cells = self.columns().map(|(index, name)| match name {
            "NAME" if self.look.types => document::name(self.kind, object),
            _ => cells.get(index).cloned().unwrap_or_default(),
        });
        let own = self.look.label_columns.iter();
        let own = own.map(|key| or_none(labels.get(key).map(String::as_str)));
        let last = self.look.labels.then(|| pairs(Some(&labels)));
        Ok(first.into_iter().chain(cells).chain(own).chain(last).collect())
    }
}

/// The labels of an object.
pub fn labels(object: &Value) -> BTreeMap<String, String> {
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    let labels = labels.into_iter().flatten();
    labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
