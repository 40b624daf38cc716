//! The page that `describe` fills: `Label:  value` lines, aligned as kubectl aligns them.

use std::{collections::BTreeMap, fmt::Display, io, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Taint, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tabwriter::TabWriter;

use crate::base::time;
use crate::fleet::merge3::LAST_APPLIED;

use super::event_row::{first_seen, last_seen};
use super::table::age;

/// Lines with tabs, which are aligned once all of them are there.
#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    /// Adds a line.
    pub fn line(&mut self, line: impl Display) {
        // A terminal shall not obey what a container said.
        self.0.push_str(&line.to_string().replace('\x1b', "^[").replace('\r', "\\r"));
        self.0.push('\n');
    }

    /// Adds `label:` and a value, indented by levels of two blanks.
    pub fn field(&mut self, level: usize, label: &str, value: impl Display) {
        self.line(format_args!("{}{label}:\t{value}", "  ".repeat(level)));
    }

    /// Adds a value for each line under one label, `<none>` without any.
    pub fn many(&mut self, level: usize, label: &str, values: &[String]) {
        let Some((first, rest)) = values.split_first() else {
            return self.field(level, label, "<none>");
        };
        self.field(level, label, first);
        for value in rest {
            self.line(format_args!("{}\t{value}", "  ".repeat(level)));
        }
    }

    /// Adds labels, one on each line.
    pub fn labels(&mut self, level: usize, label: &str, labels: Option<&BTreeMap<String, String>>) {
        let labels = labels.into_iter().flatten().map(|(key, value)| format!("{key}={value}"));
        self.many(level, label, &labels.collect::<Vec<_>>());
    }

    /// Adds annotations; long ones begin on a line of their own.
    pub fn annotations(&mut self, level: usize, annotations: Option<&BTreeMap<String, String>>) {
        const LONG: usize = 140;
        let mut lines = Vec::new();
        for (key, value) in annotations.into_iter().flatten() {
            // What was applied is the object itself once more.
            if key == LAST_APPLIED {
                continue;
            }
            if key.len() + value.len() + 2 <= LONG && !value.contains('\n') {
                lines.push(format!("{key}: {value}"));
            } else {
                lines.push(format!("{key}:"));
                lines.extend(value.lines().map(|line| format!("  {line}")));
            }
        }
        self.many(level, "Annotations", &lines);
    }

    /// Adds tolerations, sorted by key.
    pub fn tolerations(&mut self, level: usize, tolerations: Option<&Vec<Toleration>>) {
        let mut tolerations: Vec<&Toleration> = tolerations.into_iter().flatten().collect();
        tolerations.sort_by_key(|toleration| toleration.key.as_deref().unwrap_or_default());
        self.many(
            level,
            "Tolerations",
            &tolerations.into_iter().map(toleration).collect::<Vec<_>>(),
        );
    }

    /// Adds the table of events, the one seen longest ago first.
    pub fn events(&mut self, events: &[Event], now: Timestamp) {
        if events.is_empty() {
            return self.field(0, "Events", "<none>");
        }
        let mut events: Vec<&Event> = events.iter().collect();
        events.sort_by_key(|event| last_seen(event).map(|seen| seen.0));
        self.line("Events:\n  Type\tReason\tAge\tFrom\tMessage");
        self.line("  ----\t------\t----\t----\t-------");
        for event in events {
            let seen = match event.count {
                Some(count) if count > 1 => format!(
                    "{} (x{count} over {})",
                    age(last_seen(event), now),
                    age(first_seen(event), now)
                ),
                _ => age(first_seen(event), now),
            };
            let text = |text: Option<&String>| text.cloned().unwrap_or_default();
            self.line(format_args!(
                "  {}\t{}\t{seen}\t{}\t{}",
                text(event.type_.as_ref()),
                text(event.reason.as_ref()),
                text(event.source.as_ref().and_then(|source| source.component.as_ref())),
                text(event.message.as_ref()).trim().replace('\n', " "),
            ));
        }
    }

    /// Prints the page.
    pub fn print(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let mut aligned = TabWriter::new(Vec::new()).minwidth(0).padding(2);
        io::Write::write_all(&mut aligned, self.0.as_bytes())?;
        let text = aligned.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
        out.write_all(&text)
    }
}

/// A time as kubectl's descriptions show it.
pub fn date(at: Option<&Time>) -> String {
    at.map_or_else(String::new, |at| at.0.strftime("%a, %d %b %Y %H:%M:%S %z").to_string())
}

/// `True` or `False`.
pub fn truth(holds: bool) -> &'static str {
    if holds { "True" } else { "False" }
}

/// A toleration in one line.
fn toleration(toleration: &Toleration) -> String {
    let part = |sign: &str, part: &Option<String>| match part.as_deref() {
        None | Some("") => String::new(),
        Some(part) => format!("{sign}{part}"),
    };
    let key = part("", &toleration.key);
    let (value, effect) = (part("=", &toleration.value), part(":", &toleration.effect));
    let exists = toleration.operator.as_deref() == Some("Exists") && value.is_empty();
    let exists = if exists { "op=Exists" } else { "" };
    let lasting = toleration.toleration_seconds.map(|seconds| {
        let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        format!("for {}", time::age(seconds))
    });
    let words = [format!("{key}{value}{effect}"), exists.to_owned(), lasting.unwrap_or_default()];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A taint in one line.
pub fn taint(taint: &Taint) -> String {
    match taint.value.as_deref() {
        None | Some("") => format!("{}:{}", taint.key, taint.effect),
        Some(value) => format!("{}={value}:{}", taint.key, taint.effect),
    }
}
