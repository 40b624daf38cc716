//! Rules about pages: changelog, decisions, paths that units and docs share, words that belong nowhere.

use std::collections::BTreeSet;
use std::path::Path;

use crate::agree;
use crate::source::{files, read, root};

/// The field names that the table in `docs/observability.md` declares.
pub(crate) fn log_fields() -> BTreeSet<String> {
    let page = read("docs/observability.md");
    let table = page.split("\n## ").find(|part| part.starts_with("Log fields"));
    table
        .expect("docs/observability.md has a section `Log fields`")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_changelog_has_the_form_of_keep_a_changelog() {
    const KINDS: [&str; 6] = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
    let page = read("CHANGELOG.md");
    assert!(page.starts_with("# Changelog\n"), "CHANGELOG.md starts with `# Changelog`");
    assert!(page.contains("\n## [Unreleased]\n"), "CHANGELOG.md has a section `[Unreleased]`");
    let mut complaints = vec![];
    for line in page.lines() {
        if let Some(kind) = line.strip_prefix("### ") {
            if !KINDS.contains(&kind) {
                complaints.push(format!("CHANGELOG.md: `{line}` is none of {KINDS:?}"));
            }
        } else if let Some(version) = line.strip_prefix("## ") {
            let dated = version.split_once("] - ").is_some_and(|(number, date)| {
                let numbers = number.trim_start_matches('[').split('.').count() == 3;
                numbers && date.len() == 10 && date.split('-').count() == 3
            });
            if version != "[Unreleased]" && !dated {
                complaints.push(format!("CHANGELOG.md: `{line}` is no `[1.2.3] - 2030-01-31`"));
            }
        }
    }
    agree(&complaints);
}

#[test]
fn every_decision_is_numbered_and_indexed() {
    let markdown = |path: &Path| path.extension().is_some_and(|extension| extension == "md");
    let index = read("docs/adr/README.md");
    let mut complaints = vec![];
    let mut next = 1;
    for path in files(&root().join("docs/adr"), &markdown) {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        if name == "README.md" {
            continue;
        }
        if !name.starts_with(&format!("{next:04}-")) {
            complaints.push(format!("docs/adr/{name}: the next number is {next:04}"));
        }
        if !index.contains(&format!("({name})")) {
            complaints.push(format!("docs/adr/README.md does not link {name}"));
        }
        let text = read(&format!("docs/adr/{name}"));
        for section in ["## Decision", "## Alternatives", "## What would change our mind"] {
            if !text.contains(section) {
                complaints.push(format!("docs/adr/{name} lacks `{section}`"));
            }
        }
        next += 1;
    }
    agree(&complaints);
}

#[test]
fn the_index_of_the_docs_names_every_page() {
    let markdown = |path: &Path| path.extension().is_some_and(|extension| extension == "md");
    let index = read("docs/README.md");
    let mut complaints = vec![];
    for path in files(&root().join("docs"), &markdown) {
        let name = path.strip_prefix(root().join("docs")).expect("below docs/").display();
        let name = name.to_string();
        if name == "README.md" || (name.starts_with("adr/") && name != "adr/README.md") {
            continue;
        }
        if !index.contains(&format!("({name})")) {
            complaints.push(format!("docs/README.md does not link {name}"));
        }
    }
    agree(&complaints);
}

#[test]
fn the_unit_and_the_docs_name_the_same_paths() {
    let unit = read("systemd/podward.service");
    let setting = |key: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("podward.service has no {key}=")).to_owned()
    };
    let binary = setting("ExecStart").split(' ').next().unwrap_or_default().to_owned();
    let paths = [
        binary,
        format!("/run/{}", setting("RuntimeDirectory")),
        format!("/var/lib/{}", setting("StateDirectory")),
        format!("/etc/{}", setting("ConfigurationDirectory")),
    ];
    assert_eq!(paths, ["/usr/bin/podward", "/run/podward", "/var/lib/podward", "/etc/podward"]);
    let mut complaints = vec![];
    for page in ["docs/operations.md", "README.md"] {
        let text = read(page);
        for path in &paths {
            if !text.contains(path.as_str()) {
                complaints.push(format!("{page} does not name {path}, which podward.service does"));
            }
        }
    }
    agree(&complaints);
}

#[test]
fn the_readme_starts_with_the_two_commands() {
    let page = read("README.md");
    let (demo, test) = (page.find("make demo"), page.find("make test"));
    assert!(demo.is_some() && test.is_some(), "README.md shows `make demo` and `make test`");
    assert!(page.lines().count() < 200, "README.md is a start, not a manual");
}

#[test]
fn no_page_names_a_path_of_the_machine_it_was_written_on() {
    // Put together here, so that this file does not name them itself.
    let places = [["/wo", "rk/"]].map(|parts| parts.concat());
    let ours = |path: &Path| {
        let text = path.strip_prefix(root()).unwrap_or(path).to_string_lossy();
        !["target/", "dist/", ".git", "LICENSE"].iter().any(|start| text.starts_with(start))
    };
    let mut complaints = vec![];
    for folder in [
        "src",
        "tests",
        "benches",
        "docs",
        "scripts",
        "systemd",
        "examples",
        ".ci",
        "packaging",
        "proto",
    ] {
        for path in files(&root().join(folder), &ours) {
            complaints.extend(named_places(&path, &places));
        }
    }
    for path in std::fs::read_dir(root()).expect("the root is there").flatten() {
        if path.path().is_file() && ours(&path.path()) {
            complaints.extend(named_places(&path.path(), &places));
        }
    }
    agree(&complaints);
}

/// Where a text file names one of the places, at the start of a path.
fn named_places(path: &Path, places: &[String]) -> Vec<String> {
    let Ok(text) = std::fs::read_to_string(path) else {
        return vec![];
    };
    let mut complaints = vec![];
    for (number, line) in text.lines().enumerate() {
        for place in places {
            let named = line.match_indices(place.as_str()).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || "._-}*$)".contains(c))
            });
            if named {
                complaints.push(format!("{}:{}: names {place}", path.display(), number + 1));
            }
        }
    }
    complaints
}

#[test]
fn the_architecture_page_stays_short() {
    let lines = read("ARCHITECTURE.md").lines().count();
    assert!(lines <= 300, "ARCHITECTURE.md has {lines} lines; 300 are the limit");
}
