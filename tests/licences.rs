//! Licences and duplicate crates against `deny.toml`, from `cargo metadata` alone: the part of cargo-deny that must always run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What `deny.toml` allows.
#[derive(Debug, Default)]
struct Rules {
    /// Licences, exceptions included in the name.
    licences: BTreeSet<String>,
    /// What may be there in several versions, `name@version-prefix`, with the reason.
    skip: BTreeMap<String, String>,
}

/// One crate of the build.
#[derive(Debug)]
struct Package {
    /// Its name.
    name: String,
    /// Its version.
    version: String,
    /// Its licence expression as it wrote it.
    licence: String,
}

/// Reads the lists `allow = [` and `skip = [`, one entry a line, as they are laid out in the file.
fn rules() -> Rules {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml"))
        .expect("deny.toml is there");
    let mut rules = Rules::default();
    let mut list = "";
    for line in text.lines().map(str::trim) {
        let quoted: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
        match line {
            "allow = [" => list = "allow",
            "skip = [" => list = "skip",
            "]" => list = "",
            _ if list == "allow" => rules.licences.extend(quoted.iter().map(|&name| name.into())),
            _ if list == "skip" => {
                let [name, reason] = quoted[..] else {
                    assert!(line.starts_with('#'), "deny.toml: `{line}` is no entry with a reason");
                    continue;
                };
                rules.skip.insert(name.into(), reason.into());
            }
            _ => {}
        }
    }
    assert!(!rules.licences.is_empty(), "deny.toml: no list `allow = [` was found");
    rules
}

/// The crates that this machine's build is made of.
fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--format-version", "1"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let text = |package: &Value, key: &str| package[key].as_str().unwrap_or_default().to_owned();
    metadata["packages"]
        .as_array()
        .expect("cargo lists packages")
        .iter()
        .map(|package| Package {
            name: text(package, "name"),
            version: text(package, "version"),
            licence: text(package, "license"),
        })
        .collect()
}

/// Whether a licence expression can be met by allowed licences: OR needs one side, AND both.
fn permitted(expression: &str, allowed: &BTreeSet<String>) -> bool {
    // `/` is how crates wrote OR before SPDX expressions.
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = text.split_whitespace().collect();
    let (met, rest) = either(&words, allowed);
    met && rest.is_empty()
}

/// `both (OR both)*`, and the words behind it.
fn either<'a>(words: &'a [&'a str], allowed: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    let (mut met, mut rest) = both(words, allowed);
    while let ["OR", tail @ ..] = rest {
        let (other, after) = both(tail, allowed);
        (met, rest) = (met || other, after);
    }
    (met, rest)
}

/// `one (AND one)*`, and the words behind it.
fn both<'a>(words: &'a [&'a str], allowed: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    let (mut met, mut rest) = one(words, allowed);
    while let ["AND", tail @ ..] = rest {
        let (other, after) = one(tail, allowed);
        (met, rest) = (met && other, after);
    }
    (met, rest)
}

/// One licence, one with an exception, or an expression in brackets.
fn one<'a>(words: &'a [&'a str], allowed: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    match words {
        ["(", tail @ ..] => {
            let (met, rest) = either(tail, allowed);
            (met && rest.first() == Some(&")"), rest.get(1..).unwrap_or_default())
        }
        [name, "WITH", exception, rest @ ..] => {
            (allowed.contains(&format!("{name} WITH {exception}")), rest)
        }
        [name, rest @ ..] => (allowed.contains(*name), rest),
        [] => (false, words),
    }
}

#[test]
fn every_crate_has_an_allowed_licence() {
    let rules = rules();
    let refused: Vec<String> = packages()
        .iter()
        .filter(|package| !permitted(&package.licence, &rules.licences))
        .map(|package| format!("{} {}: {:?}", package.name, package.version, package.licence))
        .collect();
    assert!(refused.is_empty(), "deny.toml does not allow\n{}", refused.join("\n"));
}

#[test]
fn every_crate_that_is_there_twice_has_a_reason() {
    let rules = rules();
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages() {
        versions.entry(package.name).or_default().push(package.version);
    }
    let excused = |name: &str, version: &str| {
        rules.skip.keys().any(|entry| {
            let (crate_name, prefix) = entry.split_once('@').unwrap_or((entry, ""));
            crate_name == name && version.starts_with(prefix)
        })
    };
    let mut complaints = vec![];
    for (name, versions) in &versions {
        // As in cargo-deny: a skipped version does not count, and one may remain.
        let counted = versions.iter().filter(|version| !excused(name, version)).count();
        if counted > 1 {
            complaints.push(format!("{name} is there in the versions {}", versions.join(", ")));
        }
    }
    for entry in rules.skip.keys() {
        let (name, _) = entry.split_once('@').unwrap_or((entry, ""));
        if versions.get(name).is_none_or(|versions| versions.len() < 2) {
            complaints.push(format!("deny.toml skips {entry}, which is there only once"));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn licence_expressions_are_read_as_spdx_means_them() {
    let allowed: BTreeSet<String> =
        ["MIT", "Zlib", "Apache-2.0 WITH LLVM-exception"].map(String::from).into();
    for (expression, met) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("(GPL-3.0 OR MIT) AND Zlib", true),
        ("GPL-3.0 OR MIT AND Zlib", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
        ("(MIT", false),
        ("", false),
    ] {
        assert_eq!(permitted(expression, &allowed), met, "{expression}");
    }
}
