//! Readers of the values of images: the policy's lists, ages, and what two values must be to each other.

use std::time::Duration;

use serde_json::Value;

use crate::base::fault::Fault;
use crate::image::{pattern::Pattern, policy::SignatureRule};

use super::file::{Branch, Tree};
use super::read::Notes;
use super::settings::Settings;
use super::values::{directories, duration, shown, text};

/// Yes or no; as a text where it comes from the environment.
pub fn flag(tree: &Tree, notes: &mut Notes<'_>) -> Option<bool> {
    let found = match &tree.value {
        Branch::Leaf(Value::Bool(flag)) => Some(*flag),
        Branch::Leaf(Value::String(text)) => text.parse().ok(),
        Branch::Leaf(_) | Branch::List(_) | Branch::Map(_) => None,
    };
    if found.is_none() {
        notes.fault(tree, "neither true nor false", "write true or false");
    }
    found
}

/// A duration of any length.
pub fn age(tree: &Tree, notes: &mut Notes<'_>) -> Option<Duration> {
    let found = duration(text(tree, notes)?);
    if found.is_none() {
        notes.fault(tree, "not a duration", "write a duration such as 2m or 24h");
    }
    found
}

/// A list of patterns.
pub fn patterns(tree: &Tree, notes: &mut Notes<'_>) -> Option<Vec<Pattern>> {
    let items = notes.items(tree);
    if items.is_empty() && matches!(tree.value, Branch::List(_)) {
        notes.fault(tree, "allows nothing", "name what is allowed, or remove the key to allow all");
        return None;
    }
    // Each is read, so that all faults come at once.
    let items = items.iter().enumerate();
    let read = |(index, item)| pattern(item, &mut notes.inside(&format!("[{index}]")));
    Some(items.filter_map(read).collect())
}

/// One pattern.
fn pattern(tree: &Tree, notes: &mut Notes<'_>) -> Option<Pattern> {
    match Pattern::parse(text(tree, notes)?) {
        Ok(pattern) => Some(pattern),
        Err((problem, remedy)) => {
            notes.fault(tree, problem, remedy);
            None
        }
    }
}

/// The rules about signatures.
pub fn signatures(tree: &Tree, notes: &mut Notes<'_>) -> Vec<SignatureRule> {
    let items = notes.items(tree).iter().enumerate();
    let read = |(index, item)| rule(item, &mut notes.inside(&format!("[{index}]")));
    items.filter_map(read).collect()
}

/// One rule about signatures.
fn rule(item: &Tree, notes: &mut Notes<'_>) -> Option<SignatureRule> {
    let (mut matched, mut keys) = (None, None);
    let entries = notes.entries(item);
    for (name, line, tree) in entries {
        let mut inside = notes.inside(&format!(".{name}"));
        match name.as_str() {
            "match" => matched = pattern(tree, &mut inside),
            "keys" => {
                keys = directories(tree, &mut inside);
                if keys.as_ref().is_some_and(Vec::is_empty) {
                    inside.fault(tree, "no key", "name files such as /etc/podward/keys/cosign.pub");
                }
            }
            _ => inside.unknown(*line, name, &["match", "keys"]),
        }
    }
    for wanted in ["match", "keys"] {
        let written = entries.iter().any(|(name, ..)| name == wanted);
        if !written && matches!(item.value, Branch::Map(_)) {
            notes.fault(item, format!("no {wanted}"), "write match and keys");
        }
    }
    Some(SignatureRule { pattern: matched?, keys: keys? })
}

/// Rules about signatures as text.
pub fn shown_rules(rules: &[SignatureRule]) -> String {
    let shown = rules.iter().map(|rule| {
        let keys: Vec<_> = rule.keys.iter().map(|key| shown(key)).collect();
        format!("{}: {}", rule.pattern, keys.join(" or "))
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// What is wrong with values that are good each by itself.
pub fn together(origin: &str, settings: &Settings) -> Vec<Fault> {
    let images = &settings.images;
    let mut faults = Vec::new();
    let (low, high) = (images.gc_low_threshold_percent, images.gc_high_threshold_percent);
    if low >= high {
        let fault = Fault::of_file(
            origin,
            format!("not less than images.gcHighThresholdPercent, which is {high}"),
            "write a lower number here, or a higher one there",
        );
        let path = "images.gcLowThresholdPercent".to_owned();
        faults.push(Fault { path, value: low.to_string(), ..fault });
    }
    faults
}
