//! A place in a document during validation: a value and the path to it.

use serde_json::Value;

use crate::base::quantity::Amount;
use crate::spec::{report::Report, shape::entry_path};

/// What stands at places that are not there.
static NOTHING: Value = Value::Null;

/// A value with its path. What is missing or of the wrong type was reported by the walk before, so that
/// accessors just yield nothing.
#[derive(Clone)]
pub struct Spot<'a> {
    /// The path from the document's root.
    pub path: String,
    /// The value; null when nothing is there.
    pub value: &'a Value,
}

impl<'a> Spot<'a> {
    /// The root of a document.
    pub fn root(value: &'a Value) -> Self {
        Self { path: String::new(), value }
    }

    /// A field of this object, there or not.
    pub fn at(&self, name: &str) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        Self {
            path: format!("{}{dot}{name}", self.path),
            value: self.value.get(name).unwrap_or(&NOTHING),
        }
    }

    /// A field of this object when it is there.
    pub fn has(&self, name: &str) -> Option<Self> {
        self.value.get(name).is_some_and(|value| !value.is_null()).then(|| self.at(name))
    }

    /// The items of this list, but for those of the wrong type.
    pub fn items(&self) -> Vec<Self> {
        let items = self.value.as_array().map_or(&[][..], Vec::as_slice);
        let spots = items.iter().enumerate().filter(|(_, value)| !value.is_null());
        spots
            .map(|(index, value)| Self { path: format!("{}[{index}]", self.path), value })
            .collect()
    }

    /// The entries of this map.
    pub fn entries(&self) -> Vec<(&'a str, Self)> {
        let Some(fields) = self.value.as_object() else {
            return Vec::new();
        };
        fields
            .iter()
            .map(|(key, value)| (key.as_str(), Self { path: entry_path(&self.path, key), value }))
            .collect()
    }

    /// The text here.
    pub fn text(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    /// The whole number here.
    pub fn number(&self) -> Option<i64> {
        self.value.as_i64()
    }

    /// Whether `true` stands here.
    pub fn is_true(&self) -> bool {
        self.value == &Value::Bool(true)
    }

    /// The quantity here.
    pub fn amount(&self) -> Option<Amount> {
        Amount::parse(self.text()?).ok()
    }

    /// How many items or entries are here.
    pub fn len(&self) -> usize {
        match self.value {
            Value::Array(items) => items.len(),
            Value::Object(fields) => fields.len(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        }
    }

    /// Reports a fault here.
    pub fn fault(
        &self,
        report: &mut Report,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        report.fault(&self.path, self.value, problem, remedy);
    }

    /// Checks a text, when there is one, by a rule of `names`.
    pub fn check(&self, report: &mut Report, rule: impl Fn(&str) -> Result<(), &'static str>) {
        if let Some(Err(remedy)) = self.text().map(rule) {
            let problem = if self.text() == Some("") { "is empty" } else { "is not well-formed" };
            self.fault(report, problem, remedy);
        }
    }

    /// Checks that a text, when there is one, is one of a few words.
    pub fn one_of(&self, report: &mut Report, words: &[&str]) {
        if self.text().is_some_and(|text| !words.contains(&text)) {
            self.fault(report, "is none of the known values", format!("write {}", listed(words)));
        }
    }

    /// Checks that a number, when there is one, lies within bounds.
    pub fn within(&self, report: &mut Report, low: i64, high: i64) {
        let Some(number) = self.number().filter(|number| !(low..=high).contains(number)) else {
            return;
        };
        let unbounded = high == i64::MAX || high == i64::from(i32::MAX);
        let remedy = if unbounded && number < low {
            format!("write a number not below {low}")
        } else {
            format!("write a number from {low} to {high}")
        };
        self.fault(report, "is out of bounds", remedy);
    }
}

/// Words for people: `A, B or C`; an empty one stands in quotes.
fn listed(words: &[&str]) -> String {
    let words: Vec<&str> =
        words.iter().map(|word| if word.is_empty() { "\"\"" } else { word }).collect();
    match words.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}
