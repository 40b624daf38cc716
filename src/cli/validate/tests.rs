//! What `podward validate` prints and with which exit status it ends.

use std::{fs, os::unix::fs::symlink};

use clap::Parser;

use super::*;

/// A set that runs.
const GOOD: &str = "\
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      hostNetwork: true
      containers:
      - name: main
        image: busybox
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}
";

/// A command line of this verb alone.
#[derive(Parser)]
struct Line {
    /// Its arguments.
    #[command(flatten)]
    args: ValidateArgs,
}

/// Runs the verb and yields its answer and report.
fn run_with(words: &[&str]) -> (bool, String) {
    let line = Line::try_parse_from([&["validate"], words].concat()).unwrap();
    let mut out = Vec::new();
    let fine = run(&line.args, &mut out).unwrap();
    (fine, String::from_utf8(out).unwrap())
}

/// A folder with files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[test]
fn a_good_set_is_accepted_with_each_field_and_its_reason() {
    let folder = folder(&[("a.yaml", GOOD)]);
    let (fine, report) = run_with(&["-f", folder.path().join("a.yaml").to_str().unwrap()]);
    assert!(fine, "{report}");
    assert!(report.contains("document 1, line 1: DaemonSet default/web: accepted, template hash "));
    assert!(
        report.contains("      spec.template.spec.containers[0].image = busybox\n"),
        "{report}"
    );
    let spread = "      there is no scheduler: each host decides for itself\n        \
                  spec.template.spec.topologySpreadConstraints = ";
    assert!(report.contains(spread), "{report}");
    assert!(!report.contains("topologySpreadConstraints[0].maxSkew"), "{report}");
    assert!(report.ends_with("1 accepted, 0 refused or invalid, 0 ignored\n"), "{report}");
}

#[test]
fn the_report_for_programs_has_the_same_content() {
    let refused =
        GOOD.replace("hostNetwork: true", "hostNetwork: true\n      runtimeClassName: kata");
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n";
    let folder = folder(&[("a.yaml", &format!("{service}---\n{refused}"))]);
    let (fine, report) = run_with(&["-f", folder.path().to_str().unwrap(), "-o", "json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert!(!fine);
    assert_eq!(report["ok"], false);
    let documents = &report["files"][0]["documents"];
    assert_eq!(documents[0]["verdict"], "ignored");
    assert!(documents[0]["reason"].as_str().unwrap().contains("Service"));
    assert_eq!(documents[1]["verdict"], "refused");
    assert_eq!(documents[1]["set"], "default/web");
    let fields = documents[1]["fields"].as_array().unwrap();
    let of = |path: &str| fields.iter().find(|field| field["path"] == path).unwrap();
    assert_eq!(of("spec.template.spec.runtimeClassName")["support"], "refused");
    let spread = "spec.template.spec.topologySpreadConstraints[0].maxSkew";
    assert_eq!(of(spread)["support"], "ignored");
}

#[test]
fn a_directory_is_read_in_order_without_hidden_and_other_files() {
    let second = GOOD.replace("name: web", "name: other");
    let files =
        [("b.yml", GOOD), ("a.json", "{}"), (".c.yaml", "x"), ("d.txt", "x"), ("e.yaml", &second)];
    let folder = folder(&files);
    let (fine, report) = run_with(&["-f", folder.path().to_str().unwrap()]);
    assert!(!fine);
    let places: Vec<_> =
        ["a.json", "b.yml", "e.yaml"].iter().map(|name| report.find(name)).collect();
    assert!(places.is_sorted() && places[0].is_some(), "{report}");
    assert!(!report.contains("c.yaml") && !report.contains("d.txt"), "{report}");
    assert!(report.ends_with("2 accepted, 1 refused or invalid, 0 ignored\n"), "{report}");
}

#[test]
fn a_set_in_two_files_is_rejected_in_the_second() {
    let folder = folder(&[("a.yaml", GOOD), ("b.yaml", GOOD)]);
    let (fine, report) = run_with(&["-f", folder.path().to_str().unwrap()]);
    assert!(!fine);
    assert!(report.contains("a.yaml describes default/web already; rename one"), "{report}");
    assert!(report.ends_with("1 accepted, 1 refused or invalid, 0 ignored\n"), "{report}");
}

#[test]
fn files_that_cannot_be_read_get_one_message_each_and_hide_no_others() {
    let folder = folder(&[("a.yaml", GOOD), ("big.yaml", &"# ".repeat(5 << 20))]);
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    symlink("loop.yaml", at("loop.yaml")).unwrap();
    let (good, absent, around, big) =
        (at("a.yaml"), at("none.yaml"), at("loop.yaml"), at("big.yaml"));
    let (fine, report) = run_with(&["-f", &absent, "-f", &around, "-f", &big, "-f", &good]);
    assert!(!fine);
    for (path, problem) in [
        (&absent, "No such file or directory"),
        (&around, "symbolic links lead in a circle"),
        (&big, "is 10485760 bytes large; at most 4194304 (4 MiB) are read; split it"),
    ] {
        let lines: Vec<_> =
            report.lines().filter(|line| line.starts_with("  ") && line.contains(path)).collect();
        assert!(lines.len() == 1 && lines[0].contains(problem), "{report}");
    }
    assert!(
        report.ends_with("1 accepted, 0 refused or invalid, 0 ignored, 3 unreadable\n"),
        "{report}"
    );
}

#[test]
fn an_empty_directory_is_said_to_be_one() {
    let folder = folder(&[]);
    let (fine, report) = run_with(&["-f", folder.path().to_str().unwrap()]);
    assert!(!fine);
    assert!(report.contains("is a directory without *.yaml, *.yml or *.json"), "{report}");
}

#[test]
fn unknown_fields_are_taken_as_asked_for() {
    let text = GOOD.replace("hostNetwork", "replicas: 2\n      hostNetwork");
    let folder = folder(&[("a.yaml", &text)]);
    let path = folder.path().to_str().unwrap();
    assert!(!run_with(&["-f", path]).0);
    let (fine, report) = run_with(&["-f", path, "--validate", "Warn"]);
    assert!(fine && report.contains("spec.template.spec.replicas: 2: unknown field"), "{report}");
    let (fine, report) = run_with(&["-f", path, "--validate=ignore"]);
    assert!(fine && !report.contains("unknown field"), "{report}");
    let wrong = Line::try_parse_from(["validate", "-f", path, "--validate", "Loose"]);
    assert!(wrong.err().unwrap().to_string().contains("none of Strict, Warn, Ignore"));
}
