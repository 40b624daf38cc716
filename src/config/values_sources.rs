//! Readers of the values of sources and of the shared store, and what they must be to each other.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use serde_json::Value;

use crate::base::{fault::Fault, time::go_duration};
use crate::net::redirect::Place;

use super::file::{Branch, Tree};
use super::read::Notes;
use super::settings::{EtcdSettings, HttpSettings, Settings, SourceSettings};
use super::values::{bytes, duration, path, qualified, shown, text, word};

/// How often a page may be asked for.
const INTERVAL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);

/// How long an answer may take.
pub(super) const TIMEOUT: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_mins(10);

/// How long a host may count as alive without a sign of life.
pub(super) const LEASE: RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_hours(1);

/// More of a page is never understood.
const MOST: u64 = 4 << 20;

/// The keys of a page.
const HTTP_KEYS: [&str; 10] = [
    "url",
    "interval",
    "timeout",
    "maxSize",
    "caFile",
    "certFile",
    "keyFile",
    "tokenFile",
    "username",
    "passwordFile",
];

/// A duration within bounds.
pub fn span(
    tree: &Tree,
    notes: &mut Notes<'_>,
    bounds: RangeInclusive<Duration>,
) -> Option<Duration> {
    let fitting = duration(text(tree, notes)?).filter(|duration| bounds.contains(duration));
    if fitting.is_none() {
        let bound = |edge| go_duration(edge).replace("m0s", "m").replace("h0m", "h");
        let problem =
            format!("not a duration from {} to {}", bound(*bounds.start()), bound(*bounds.end()));
        notes.fault(tree, problem, "write a duration such as 30s");
    }
    fitting
}

/// Paths as text.
pub fn shown_paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| shown(path)).collect::<Vec<_>>().join(", ")
}

/// The name of a cluster, which is one segment of the store's keys.
pub fn cluster(tree: &Tree, notes: &mut Notes<'_>) -> Option<String> {
    let name = word(tree, notes)?;
    if name.bytes().all(|byte| byte == b'.') {
        notes.fault(tree, "not a name", "use a letter or a digit in it");
        return None;
    }
    Some(name)
}

/// What the store's keys begin with: `/` and names with `/` between them.
pub fn prefix(tree: &Tree, notes: &mut Notes<'_>) -> Option<String> {
    let text = text(tree, notes)?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let name = |name: &str| !name.is_empty() && name.bytes().all(fits);
    if text.len() <= 253 && text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(name)) {
        return Some(text.to_owned());
    }
    notes.fault(
        tree,
        "not a prefix of keys",
        "begin it with /, end it without, and use letters, digits, -, _ and ., as in /podward",
    );
    None
}

/// The keys that nobody changes from afar.
pub fn protected(tree: &Tree, notes: &mut Notes<'_>) -> Option<Vec<String>> {
    let items = notes.items(tree).iter().enumerate();
    let read = |(index, item)| {
        let mut inside = notes.inside(&format!("[{index}]"));
        let key = text(item, &mut inside)?;
        if !qualified(key) {
            let remedy = "write it as disktype or example.com/disktype";
            inside.fault(item, "not a key of a label or taint", remedy);
            return None;
        }
        Some(key.to_owned())
    };
    items.map(read).collect()
}

/// Where metrics are served; an empty text is nowhere.
pub fn listen(tree: &Tree, settings: &mut Settings, notes: &mut Notes<'_>) {
    if tree.value == Branch::Leaf(Value::from("")) {
        settings.metrics = None;
    } else if let Some(text) = text(tree, notes) {
        match text.parse() {
            Ok(address) => settings.metrics = Some(address),
            Err(_) => notes.fault(
                tree,
                "not an address and a port",
                "write one such as 127.0.0.1:9577, for all addresses [::]:9577",
            ),
        }
    }
}

/// The store's members: a list, or a text with commas, as variables and flags have it.
pub fn endpoints(tree: &Tree, notes: &mut Notes<'_>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let split: Vec<Tree>;
    let items = match &tree.value {
        Branch::Leaf(Value::String(text)) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            // On a command line, as with etcdctl, what says nothing of TLS goes without.
            let whole = |part: &str| {
                if part.contains("://") { part.to_owned() } else { format!("http://{part}") }
            };
            let item = |part| Tree { line: tree.line, ..Tree::of_text(&whole(part)) };
            split = parts.map(item).collect();
            &split
        }
        Branch::Leaf(_) | Branch::List(_) | Branch::Map(_) => notes.items(tree),
    };
    for (index, item) in items.iter().enumerate() {
        let mut inside = notes.inside(&format!("[{index}]"));
        let Some(url) = url(item, &mut inside) else { continue };
        let rest = url.split_once("://").map_or("", |(_, rest)| rest).trim_end_matches('/');
        let host = rest.rsplit(']').next().unwrap_or_default();
        if rest.contains(['/', '?', '#']) || !host.contains(':') {
            inside.fault(
                item,
                "not the address of a member",
                "write scheme, host and port and nothing else, as in https://10.0.0.1:2379",
            );
            continue;
        }
        let url = url.trim_end_matches('/').to_owned();
        if found.contains(&url) {
            inside.fault(item, "the same member again", "remove it");
        } else {
            found.push(url);
        }
    }
    found
}

/// An address by HTTP, with or without TLS. One with a password in it is refused without being repeated.
fn url<'t>(tree: &'t Tree, notes: &mut Notes<'_>) -> Option<&'t str> {
    let url = text(tree, notes)?;
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    if authority.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@')) {
        notes.fault_at(
            tree.line,
            String::new(),
            "an address with a user or a password in it",
            "take them out; write username, passwordFile or tokenFile beside it",
        );
        return None;
    }
    let written =
        url.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte));
    if !written || Place::parse(url).is_none_or(|place| place.host.contains(['[', ']'])) {
        notes.fault(
            tree,
            "not an address by http or https",
            "write it in full, as in https://host.example:8443/path",
        );
        return None;
    }
    Some(url)
}

/// The sources of sets.
pub fn sources(tree: &Tree, settings: &mut Settings, notes: &mut Notes<'_>) {
    let mut found: Vec<SourceSettings> = Vec::new();
    for (index, item) in notes.items(tree).iter().enumerate() {
        let mut inside = notes.inside(&format!("[{index}]"));
        let entries = inside.entries(item);
        if entries.len() != 1 && matches!(item.value, Branch::Map(_)) {
            inside.fault(item, "not one source", "write one key, such as file, for each item");
        }
        for (name, line, tree) in entries {
            let mut at = inside.inside(&format!(".{name}"));
            let source = match name.as_str() {
                "file" => file_source(tree, &mut at),
                "http" => http_source(tree, &mut at).map(SourceSettings::Http),
                "etcd" => {
                    for (name, line, _) in at.entries(tree) {
                        let value = String::new();
                        at.inside(&format!(".{name}")).fault_at(
                            *line,
                            value,
                            "not a key of this source",
                            "write etcd: {} here, and how to reach the store below etcd at the top",
                        );
                    }
                    Some(SourceSettings::Etcd)
                }
                _ => {
                    at.unknown(*line, name, &["file", "http", "etcd"]);
                    None
                }
            };
            let Some(source) = source else { continue };
            if let Some(first) = found.iter().position(|other| same(other, &source)) {
                let problem = format!("the same source as sources[{first}]");
                inside.fault(item, problem, "remove one of them");
            }
            found.push(source);
        }
    }
    settings.sources = found;
}

/// Whether two sources are one.
fn same(one: &SourceSettings, other: &SourceSettings) -> bool {
    match (one, other) {
        (SourceSettings::Http(one), SourceSettings::Http(other)) => one.url == other.url,
        (one, other) => one == other,
    }
}

/// One file source.
fn file_source(tree: &Tree, notes: &mut Notes<'_>) -> Option<SourceSettings> {
    let mut found = None;
    let entries = notes.entries(tree);
    for (name, line, tree) in entries {
        let mut inside = notes.inside(&format!(".{name}"));
        if name == "path" {
            found = path(tree, &mut inside);
        } else {
            inside.unknown(*line, name, &["path"]);
        }
    }
    if !entries.iter().any(|(name, ..)| name == "path") {
        notes.fault(tree, "no path", "write path: /etc/podward/manifests or another");
    }
    found.map(|path| SourceSettings::File { path })
}

/// One page.
fn http_source(tree: &Tree, notes: &mut Notes<'_>) -> Option<HttpSettings> {
    let mut http = HttpSettings::of("");
    let entries = notes.entries(tree);
    for (name, line, value) in entries {
        let notes = &mut notes.inside(&format!(".{name}"));
        let owned = |text: &str| Some(text.to_owned());
        match name.as_str() {
            // As everywhere, a key without a value is a key that was not written.
            _ if value.is_null() => {}
            "url" => url(value, notes).unwrap_or_default().clone_into(&mut http.url),
            "interval" => http.interval = span(value, notes, INTERVAL).unwrap_or(http.interval),
            "timeout" => http.timeout = span(value, notes, TIMEOUT).unwrap_or(http.timeout),
            "maxSize" => http.max_size = size(value, notes).unwrap_or(http.max_size),
            "caFile" => http.ca_file = path(value, notes),
            "certFile" => http.cert_file = path(value, notes),
            "keyFile" => http.key_file = path(value, notes),
            "tokenFile" => http.token_file = path(value, notes),
            "username" => http.username = text(value, notes).and_then(owned),
            "passwordFile" => http.password_file = path(value, notes),
            _ => notes.unknown(*line, name, &HTTP_KEYS),
        }
    }
    let written =
        |key: &str| entries.iter().any(|(name, _, value)| name == key && !value.is_null());
    if !written("url") {
        notes.fault(tree, "no url", "write url: https://host.example/fleet.yaml or another");
    }
    for (one, other) in PAIRS {
        if written(one) != written(other) {
            let (there, missing) = if written(one) { (one, other) } else { (other, one) };
            notes.fault(tree, format!("{there} without {missing}"), "write both or neither");
        }
    }
    if written("tokenFile") && written("username") {
        notes.fault(tree, "tokenFile and username", "keep one of them: a page is asked by one");
    }
    (!http.url.is_empty()).then_some(http)
}

/// Keys of which one is nothing without the other.
const PAIRS: [(&str, &str); 2] = [("certFile", "keyFile"), ("username", "passwordFile")];

/// How long a page may be.
fn size(tree: &Tree, notes: &mut Notes<'_>) -> Option<u64> {
    let size = bytes(tree, notes)?;
    if size > MOST {
        notes.fault(tree, "more than 4Mi", "write 4Mi or less: more is not read from any source");
        return None;
    }
    Some(size)
}

/// The sources where the file names none: manifests, and the store when there is one.
pub fn default_sources(settings: &mut Settings) {
    if !settings.etcd.endpoints.is_empty() && !settings.sources.contains(&SourceSettings::Etcd) {
        settings.sources.push(SourceSettings::Etcd);
    }
}

/// What is wrong with values that are good each by itself.
pub fn together(origin: &str, settings: &Settings) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |path: String, problem: String, remedy: &str| {
        let fault = Fault::of_file(origin, problem, remedy);
        faults.push(Fault { path, ..fault });
    };
    let etcd = &settings.etcd;
    let store = settings.sources.iter().position(|source| *source == SourceSettings::Etcd);
    if let Some(index) = store.filter(|_| etcd.endpoints.is_empty()) {
        fault(
            format!("sources[{index}].etcd"),
            "no member of the store is known".into(),
            "write etcd: {endpoints: [https://10.0.0.1:2379]} at the top",
        );
    }
    let written = |key: &str| match key {
        "certFile" => etcd.cert_file.is_some(),
        "keyFile" => etcd.key_file.is_some(),
        "username" => etcd.username.is_some(),
        _ => etcd.password_file.is_some(),
    };
    for (one, other) in PAIRS {
        if written(one) != written(other) {
            let (there, missing) = if written(one) { (one, other) } else { (other, one) };
            let problem = format!("given without etcd.{missing}");
            fault(format!("etcd.{there}"), problem, "write both or neither");
        }
    }
    if let Some(problem) = schemes(etcd) {
        fault("etcd.endpoints".into(), problem.into(), "write https:// before each of them");
    }
    faults
}

/// What is wrong with the members' schemes.
fn schemes(etcd: &EtcdSettings) -> Option<&'static str> {
    let plain = etcd.endpoints.iter().filter(|url| url.starts_with("http://")).count();
    let secured = etcd.ca_file.is_some() || etcd.cert_file.is_some();
    if plain == 0 {
        None
    } else if plain < etcd.endpoints.len() {
        Some("some with TLS and some without")
    } else if secured {
        Some("certificates are named, but the members are asked without TLS")
    } else {
        None
    }
}
