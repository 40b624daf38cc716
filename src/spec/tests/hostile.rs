//! Files that mean no good, and files that mean nothing.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::{GOOD, faults, only, strict};
use crate::spec::{FieldValidation, read};

/// The one fault of a whole file.
fn file_fault(bytes: &[u8]) -> String {
    let reading = read("f", bytes, FieldValidation::Strict);
    assert!(reading.documents.is_empty());
    assert_eq!(reading.faults.len(), 1);
    reading.faults[0].to_string()
}

#[test]
fn files_that_are_no_text_get_one_clear_message() {
    let large = file_fault(&b"# ".repeat(5 << 20));
    assert_eq!(
        large,
        "f: is 10485760 bytes large; at most 4194304 (4 MiB) are read; split it into several files"
    );
    assert_eq!(
        file_fault(b"a: 1\nb: \0\n"),
        "f: line 2 holds a NUL byte; this is no text file; give a YAML or JSON file"
    );
    assert_eq!(
        file_fault(b"a: 1\n\nb: \xff\xfe\n"),
        "f: line 3 is not valid UTF-8; save it as UTF-8"
    );
    assert_eq!(file_fault(b"\xff\xfea\0"), "f: is written in UTF-16; save it as UTF-8");
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let items = vec![format!("*a{}", level - 1); 9].join(", ");
        let _ = writeln!(bomb, "a{level}: &a{level} [{items}]");
    }
    assert!(faults(&bomb)[0].contains("unfold"), "{:?}", faults(&bomb));
    let long = format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 3000].join(", "));
    assert!(!faults(&long).is_empty());
}

#[test]
fn deep_nesting_is_refused() {
    for deep in [
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)),
        format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000)),
        (0..1500).fold(String::new(), |text, depth| text + &" ".repeat(depth) + "a:\n"),
    ] {
        let fault = &only(&deep).faults[0];
        assert!(!fault.remedy.is_empty(), "{fault}");
    }
}

#[test]
fn a_storm_of_documents_is_bounded() {
    assert!(strict(&"---\n".repeat(1 << 20)).documents.is_empty());
    let reading = strict(&"a: 1\n---\n".repeat(100_000));
    assert_eq!(reading.documents.len(), 5_000);
    assert!(reading.faults[0].problem.contains("more than 5000 objects"));
    let reading = strict(&"a: [\n---\n".repeat(100_000));
    assert_eq!(reading.documents.len(), 5_000);
    let unknown = |count| (0..count).fold(GOOD.to_owned(), |text, n| text + &format!("x{n}: 1\n"));
    assert_eq!(only(&unknown(5_000)).faults.len(), 200);
    let faults = only(&unknown(50_000)).faults;
    assert_eq!(faults.len(), 1);
    assert!(faults[0].problem.contains("at most 10000 are read"), "{}", faults[0]);
}

#[test]
fn many_values_without_an_alias_are_not_blamed_on_aliases() {
    let document = only(&format!("a: [{}]\n", "{b: c},".repeat(100_000)));
    assert!(document.faults[0].to_string().contains("holds too many values; split it"));
}

/// Pieces that YAML and Kubernetes give meaning to.
fn scrap() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "apiVersion: apps/v1\n",
        "kind: DaemonSet\n",
        "kind: List\n",
        "items:\n",
        "metadata:\n",
        "  name: a\n",
        "spec:\n",
        "  template:\n",
        "    spec:\n",
        "      containers:\n",
        "      - name: a\n",
        "- ",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        ": ",
        "{",
        "}",
        "[",
        "]",
        "&a ",
        "*a",
        "<<: ",
        "|\n",
        ">-\n",
        "\"",
        "'",
        "#",
        "\n",
        "\t",
        "!!str ",
        "null",
        "~",
        "1e999",
        "0x",
        "yes",
        "\r\n",
        "\u{feff}",
        "\u{1f600}",
        "? ",
        "null: null\n",
        ",",
    ]);
    prop_oneof![8 => known.prop_map(str::to_owned), 1 => "\\PC{0,6}"]
}

/// A mutation of the good set: a line gone, doubled, or something else in its place.
fn mutation() -> impl Strategy<Value = String> {
    let lines = GOOD.lines().count();
    (0..lines, 0..3, "\\PC{0,12}").prop_map(|(at, how, text)| {
        let mut lines: Vec<String> = GOOD.lines().map(str::to_owned).collect();
        match how {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[at].clone()),
            _ => {
                let key = lines[at].split(':').next().unwrap_or_default().to_owned();
                lines[at] = format!("{key}: {text}");
            }
        }
        lines.join("\n")
    })
}

/// Each document has an outcome, and one that is rejected says why.
fn sound(bytes: &[u8]) {
    for validation in [FieldValidation::Strict, FieldValidation::Warn, FieldValidation::Ignore] {
        for (place, document) in read("f", bytes, validation).documents.iter().enumerate() {
            assert_eq!(document.index, place + 1);
            let rejected = matches!(document.outcome, crate::spec::Outcome::Rejected);
            let refused =
                document.fields.iter().any(|field| field.support == crate::spec::Support::Refused);
            assert_eq!(rejected, refused || !document.faults.is_empty());
            assert!(
                document
                    .faults
                    .iter()
                    .all(|fault| !fault.problem.is_empty() && fault.line.is_some())
            );
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        sound(&bytes);
    }

    #[test]
    fn any_scraps_of_yaml_are_read_without_a_panic(scraps in prop::collection::vec(scrap(), 0..40)) {
        sound(scraps.concat().as_bytes());
    }

    #[test]
    fn any_mutation_of_a_good_set_has_an_outcome(text in mutation()) {
        sound(text.as_bytes());
    }
}
