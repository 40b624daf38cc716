//! Readers of single values: each notes what is wrong and gives nothing then.

use std::{ops::RangeInclusive, path::Path, path::PathBuf, time::Duration};

use k8s_openapi::api::core::v1::Taint;
use serde_json::Value;

use crate::base::quantity::Amount;

use super::file::{Branch, Tree};
use super::read::Notes;
use super::settings::Settings;

/// The effects of a taint.
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// Puts a value in its place when there is one.
pub fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// A path as text.
pub fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A text. Numbers and words like `yes` are faults: YAML reads them as something else.
pub fn text<'t>(tree: &'t Tree, notes: &mut Notes<'_>) -> Option<&'t str> {
    match &tree.value {
        Branch::Leaf(Value::String(text)) if !text.is_empty() => Some(text),
        Branch::Leaf(Value::String(_)) => {
            notes.fault(tree, "empty", "write a value, or remove the key");
            None
        }
        Branch::Leaf(Value::Number(_) | Value::Bool(_)) => {
            notes.fault(tree, "not a text", "put it in quotes");
            None
        }
        Branch::Leaf(_) | Branch::List(_) | Branch::Map(_) => {
            notes.fault(tree, "not a text", "write a single value");
            None
        }
    }
}

/// A text fit for a key or an identifier: no blanks, no slashes.
pub fn word(tree: &Tree, notes: &mut Notes<'_>) -> Option<String> {
    let text = text(tree, notes)?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if text.len() <= 76 && text.bytes().all(fits) {
        return Some(text.to_owned());
    }
    notes.fault(tree, "not a name", "use at most 76 letters, digits, -, _ and .");
    None
}

/// The name of a node: a DNS subdomain, as Kubernetes wants it.
pub fn node_name(tree: &Tree, notes: &mut Notes<'_>) -> Option<String> {
    let text = text(tree, notes)?;
    if subdomain(text) {
        return Some(text.to_owned());
    }
    notes.fault(
        tree,
        "not a node name",
        "use at most 253 lower-case letters, digits, - and ., with a letter or digit at each end",
    );
    None
}

/// An absolute path.
pub fn path(tree: &Tree, notes: &mut Notes<'_>) -> Option<PathBuf> {
    let text = text(tree, notes)?;
    if text.starts_with('/') {
        return Some(text.into());
    }
    notes.fault(tree, "not an absolute path", "begin it with /");
    None
}

/// Several absolute paths.
pub fn directories(tree: &Tree, notes: &mut Notes<'_>) -> Option<Vec<PathBuf>> {
    let items = notes.items(tree).iter().enumerate();
    items.map(|(index, item)| path(item, &mut notes.inside(&format!("[{index}]")))).collect()
}

/// A cgroup: an absolute path, or the name of a slice.
pub fn cgroup(tree: &Tree, notes: &mut Notes<'_>) -> Option<String> {
    let text = text(tree, notes)?;
    let slice = text.strip_suffix(".slice").is_some_and(|name| !name.is_empty());
    let inside = !text.split('/').any(|step| step == "..");
    if inside && (slice && !text.contains('/') || text.starts_with('/') && text.len() > 1) {
        return Some(text.to_owned());
    }
    notes.fault(tree, "not a cgroup", "write a path such as /podward, with systemd podward.slice");
    None
}

/// One of several words.
pub fn choice<T: Copy>(
    tree: &Tree,
    notes: &mut Notes<'_>,
    names: &[(&'static str, T)],
) -> Option<T> {
    let text = text(tree, notes)?;
    let found = names.iter().find(|(name, _)| *name == text);
    if found.is_none() {
        let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        notes.fault(tree, "not a choice", format!("write one of: {}", names.join(", ")));
    }
    found.map(|(_, value)| *value)
}

/// A number of bytes, plain or as a quantity.
pub fn bytes(tree: &Tree, notes: &mut Notes<'_>) -> Option<u64> {
    const LEAST: u64 = 4096;
    let amount = match &tree.value {
        Branch::Leaf(Value::Number(number)) => number.as_u64(),
        Branch::Leaf(Value::String(text)) => {
            Amount::parse(text).ok().and_then(|amount| u64::try_from(amount.value()).ok())
        }
        Branch::Leaf(_) | Branch::List(_) | Branch::Map(_) => None,
    };
    let fitting = amount.filter(|amount| *amount >= LEAST);
    if fitting.is_none() {
        notes.fault(tree, "not a size of 4Ki or more", "write a quantity such as 10Mi");
    }
    fitting
}

/// A number of log files.
pub fn files(tree: &Tree, notes: &mut Notes<'_>) -> Option<u32> {
    number(tree, notes, 2..=1000, 5)
}

/// A whole number within bounds, and an example of one.
pub fn number(
    tree: &Tree,
    notes: &mut Notes<'_>,
    bounds: RangeInclusive<u32>,
    example: u32,
) -> Option<u32> {
    let number = match &tree.value {
        Branch::Leaf(Value::Number(number)) => number.as_u64(),
        Branch::Leaf(Value::String(text)) => text.parse().ok(),
        Branch::Leaf(_) | Branch::List(_) | Branch::Map(_) => None,
    };
    let fitting = number.and_then(|number| u32::try_from(number).ok());
    let fitting = fitting.filter(|number| bounds.contains(number));
    if fitting.is_none() {
        let problem = format!("not a number from {} to {}", bounds.start(), bounds.end());
        notes.fault(tree, problem, format!("write a number such as {example}"));
    }
    fitting
}

/// A duration within Kubernetes' bounds for this key.
pub fn period(tree: &Tree, notes: &mut Notes<'_>) -> Option<Duration> {
    let text = text(tree, notes)?;
    let bounds = Duration::from_secs(1)..=Duration::from_mins(5);
    let fitting = duration(text).filter(|duration| bounds.contains(duration));
    if fitting.is_none() {
        notes.fault(tree, "not a duration from 1s to 5m", "write a duration such as 1m30s");
    }
    fitting
}

/// A duration as Go writes it, in whole hours, minutes, seconds and milliseconds.
pub fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let number: u32 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].find(|letter: char| letter.is_ascii_digit());
        let (unit, after) = rest[digits..].split_at(unit.unwrap_or(rest.len() - digits));
        let one = match unit {
            "h" => Duration::from_hours(1),
            "m" => Duration::from_mins(1),
            "s" => Duration::from_secs(1),
            "ms" => Duration::from_millis(1),
            _ => return None,
        };
        total = total.checked_add(one.checked_mul(number)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

/// The labels of the node.
pub fn labels(tree: &Tree, settings: &mut Settings, notes: &mut Notes<'_>) {
    settings.node.labels.clear();
    for (key, line, value) in notes.entries(tree) {
        let mut inside = notes.inside(&format!("[{key}]"));
        if !qualified(key) {
            inside.fault_at(
                *line,
                String::new(),
                "not a label key",
                "write it as disktype or example.com/disktype",
            );
        }
        let value = match &value.value {
            // A label without a value is as common as one with.
            Branch::Leaf(Value::String(text)) if text.is_empty() => Some(""),
            _ => text(value, &mut inside),
        };
        if let Some(text) = value {
            if !label_value(text) {
                inside.fault_at(
                    *line,
                    format!("{text:?}"),
                    "not a label value",
                    "use at most 63 letters, digits, -, _ and ., with a letter or digit at each end",
                );
            }
            settings.node.labels.insert(key.clone(), text.to_owned());
        }
    }
}

/// The taints of the node.
pub fn taints(tree: &Tree, settings: &mut Settings, notes: &mut Notes<'_>) {
    let mut taints: Vec<Taint> = Vec::new();
    for (index, item) in notes.items(tree).iter().enumerate() {
        let mut inside = notes.inside(&format!("[{index}]"));
        let Some(taint) = taint(item, &mut inside) else {
            continue;
        };
        if taints.iter().any(|other| other.key == taint.key && other.effect == taint.effect) {
            inside.fault(item, "the same key and effect again", "remove one of them");
        }
        taints.push(taint);
    }
    settings.node.taints = taints;
}

/// One taint.
fn taint(item: &Tree, notes: &mut Notes<'_>) -> Option<Taint> {
    let (mut key, mut value, mut effect) = (None, None, None);
    for (name, line, tree) in notes.entries(item) {
        let mut inside = notes.inside(&format!(".{name}"));
        match name.as_str() {
            "key" => {
                key = text(tree, &mut inside).map(str::to_owned);
                if key.as_deref().is_some_and(|key| !qualified(key)) {
                    inside.fault(
                        tree,
                        "not a taint key",
                        "write it as dedicated or example.com/dedicated",
                    );
                }
            }
            "value" if tree.is_null() || tree.shown() == "\"\"" => {}
            "value" => {
                value = text(tree, &mut inside).map(str::to_owned);
                if value.as_deref().is_some_and(|value| !label_value(value)) {
                    inside.fault(
                        tree,
                        "not a taint value",
                        "use at most 63 letters, digits, -, _ and .",
                    );
                }
            }
            "effect" => effect = choice(tree, &mut inside, &EFFECTS.map(|effect| (effect, effect))),
            _ => inside.unknown(*line, name, &["key", "value", "effect"]),
        }
    }
    for (name, found) in [("key", key.is_some()), ("effect", effect.is_some())] {
        let written = matches!(&item.value, Branch::Map(entries) if entries.iter().any(|(key, ..)| key == name));
        if !found && !written {
            notes.fault(item, format!("no {name}"), "write key and effect");
        }
    }
    Some(Taint { key: key?, value, effect: effect?.to_owned(), time_added: None })
}

/// A taint as kubectl shows it.
pub fn shown_taint(taint: &Taint) -> String {
    match &taint.value {
        Some(value) => format!("{}={value}:{}", taint.key, taint.effect),
        None => format!("{}:{}", taint.key, taint.effect),
    }
}

/// Whether a text is a DNS subdomain.
fn subdomain(text: &str) -> bool {
    let label = |label: &str| {
        let edge = |byte: Option<&u8>| {
            byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        let bytes = label.as_bytes();
        edge(bytes.first())
            && edge(bytes.last())
            && bytes
                .iter()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// Whether a text is a label's name, with or without a prefix.
pub fn qualified(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    prefix.is_none_or(subdomain) && !name.is_empty() && label_value(name)
}

/// Whether a text is a label's value.
fn label_value(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}
