//! Tests of documents that mean harm, by each way that documents come: refused, with faults that are short.

use std::path::Path;

use crate::fleet::envelope;
use crate::spec::{FieldValidation, MAX_BYTES};

use super::{file, http, merge::FileReading, trust::Trust};

/// The most that all faults of one source may take, however large what they are about is.
const FAULTS: usize = 256 << 10;

/// What is larger comes by one way only: it takes its time, and behind the ways is the same reader.
const LARGE: usize = 64 << 10;

/// A set with something in the place of its name, and more below its pod's spec.
fn set(name: &str, more: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: {name}}}\nspec:\n  selector: {{matchLabels: {{app: a}}}}\n  \
         template:\n    metadata: {{labels: {{app: a}}}}\n    spec:\n      hostNetwork: true\n      \
         containers: [{{name: a, image: \"x:1\"}}]\n{more}"
    )
}

/// Laughs: nine levels of nine aliases each.
fn laughs() -> String {
    let mut text =
        "a: &a [\"lol\",\"lol\",\"lol\",\"lol\",\"lol\",\"lol\",\"lol\",\"lol\",\"lol\"]\n"
            .to_owned();
    for (level, before) in "bcdefghi".chars().zip("abcdefgh".chars()) {
        let nine = vec![format!("*{before}"); 9].join(",");
        let line = format!("{level}: &{level} [{nine}]\n");
        text.push_str(&line);
    }
    text
}

/// What means harm, by name.
fn harms() -> Vec<(&'static str, Vec<u8>)> {
    let deep = 100_000;
    let key = "k".repeat(3 << 20);
    let items = |path: &str| {
        set(
            "a",
            &format!(
                "      volumes: [{{name: v, configMap: {{name: c, items: [{{key: k, path: \"{path}\"}}]}}}}]\n"
            ),
        )
    };
    vec![
        ("laughs", laughs().into()),
        ("laughs in a set", (set("a", "") + &laughs()).into()),
        ("aliases in an anchor", b"a: &a [*a]\n".to_vec()),
        ("a hundred megabytes", vec![b' '; 100 << 20]),
        ("more than is read", [set("a", "").into_bytes(), vec![b'#'; MAX_BYTES]].concat()),
        ("deep lists in JSON", ("[".repeat(deep) + &"]".repeat(deep)).into()),
        ("deep mappings in JSON", ("{\"a\":".repeat(deep) + "1" + &"}".repeat(deep)).into()),
        ("deep lists in YAML", ("- ".repeat(deep) + "a").into()),
        ("deep flow mappings", ("{a: ".repeat(deep) + "1" + &"}".repeat(deep)).into()),
        ("NUL", b"kind: Daemon\0Set\n".to_vec()),
        ("NUL in a name", set("\"a\\0b\"", "").into()),
        ("up and away in a name", set("../../etc/cron.d/x", "").into()),
        ("a slash in a name", set("a/b", "").into()),
        ("dots for a name", set("\"..\"", "").into()),
        ("up and away in an item", items("../../etc/passwd").into()),
        ("up and away within an item", items("a/../../b").into()),
        ("an absolute item", items("/etc/passwd").into()),
        ("keys twice", (set("a", "") + "kind: DaemonSet\n").into()),
        ("keys twice in JSON", br#"{"kind": "DaemonSet", "kind": "ConfigMap"}"#.to_vec()),
        ("no UTF-8", b"kind: \xff\xfe\xfd\n".to_vec()),
        ("UTF-16", b"\xff\xfek\0i\0n\0d\0".to_vec()),
        ("a million documents", b"---\na\n".repeat(680_000)),
        ("a million objects", b"{}\n".repeat(1_300_000)),
        ("a huge key", format!("{key}: 1\n").into()),
        ("a huge key in a set", (set("a", "") + &format!("{key}: 1\n")).into()),
        ("a huge name", set(&key, "").into()),
        ("a huge value", set("a", &format!("      dnsPolicy: {key}\n")).into()),
        (
            "anchors without end",
            (0..200_000).map(|n| format!("a{n}: &a{n} x\n")).collect::<Vec<_>>().concat().into(),
        ),
        (
            "a million keys",
            (0..400_000).map(|n| format!("k{n}: 1\n")).collect::<Vec<_>>().concat().into(),
        ),
        ("a number without end", format!("{{\"kind\": {}}}", "9".repeat(1 << 20)).into()),
        ("a tag", b"!!python/object/apply:os.system [\"id\"]\n".to_vec()),
    ]
}

/// Demands that nothing came of it, and that what is said of it is short.
fn refused(name: &str, way: &str, read: &FileReading) {
    assert!(read.sets.is_empty() && read.objects.is_empty(), "{way}: {name}: something came of it");
    let blamed = read.unreadable || read.empty || !read.broken.is_empty();
    assert!(blamed, "{way}: {name}: it would delete what was there");
    let said: usize = read.faults.iter().map(|fault| fault.to_string().len()).sum();
    assert!(said < FAULTS, "{way}: {name}: {said} bytes of faults");
    assert!(read.empty || !read.faults.is_empty(), "{way}: {name}: no fault");
}

#[test]
fn what_means_harm_is_refused_by_every_way_that_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let anybody = Trust::load(&[], Path::new("/nonexistent"));
    for (name, bytes) in harms() {
        let path = dir.path().join("harm.yaml");
        std::fs::write(&path, &bytes).unwrap();
        let mut source = file::read_source(&path, FieldValidation::Strict, &anybody);
        refused(name, "file", &source.files.remove(&path).unwrap());
        if bytes.len() > LARGE {
            continue;
        }
        refused(name, "http", &http::understand("https://h/x", &bytes, FieldValidation::Strict));
        let value = anybody.open("etcd:/k", &bytes).unwrap();
        refused(name, "etcd", &file::understand("etcd:/k", &value, FieldValidation::Strict));
    }
}

#[test]
fn envelopes_that_mean_harm_are_no_envelopes() {
    for (name, bytes) in harms() {
        assert!(envelope::open(&bytes, &[]).is_err(), "{name}");
        assert_eq!(envelope::payload(&bytes), Ok(None), "{name}");
    }
}
