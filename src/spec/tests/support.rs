//! What the page of supported fields says is proven: row by row, by tests that are there.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::spec::{
    FieldUse, Outcome, Support, known_paths,
    proofs::{audit, proof},
    table::{Field, Kind, Rule, Type},
    table_rows,
    table_set::SET,
};

use super::{GOOD, container, only, pod, support};

/// Rows that are on their way: their tests come with them.
const AWAITED: &[&str] = &[
    "initContainers[]",
    "Probe",
    "lifecycle",
    "containers[].restartPolicy",
    "seccompProfile",
    "appArmorProfile",
    "sysctls",
    "shareProcessNamespace",
    "stdin",
    "tty",
    "resizePolicy",
];

#[test]
fn no_field_is_honoured_without_a_test() {
    let mut bare = vec![];
    for row in table_rows() {
        let works = matches!(row.field.rule, Rule::Honoured | Rule::Depends(..));
        let awaited = AWAITED.iter().any(|part| row.path.contains(part));
        if works && !awaited && proof(&row.path).is_empty() {
            bare.push(row.path);
        }
    }
    assert!(bare.is_empty(), "no line of src/spec/proofs.rs fits these:\n{}", bare.join("\n"));
}

#[test]
fn each_test_that_proves_a_field_is_there() {
    let rows: Vec<String> = table_rows()
        .into_iter()
        .filter(|row| matches!(row.field.rule, Rule::Honoured | Rule::Depends(..)))
        .map(|row| row.path)
        .collect();
    let (tests, idle) = audit(&rows);
    assert!(idle.is_empty(), "these lines of src/spec/proofs.rs prove no row: {idle:#?}");
    let missing: Vec<_> = tests.into_iter().filter(|test| !is_there(test)).collect();
    assert!(missing.is_empty(), "src/spec/proofs.rs names tests that are not there: {missing:#?}");
}

/// Whether the source holds a test of that name, below its module's file.
fn is_there(test: &str) -> bool {
    let Some((module, name)) = test.rsplit_once("::") else {
        return false;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let base = match module.strip_prefix("it::") {
        Some(module) => root.join("tests/it").join(module.replace("::", "/")),
        None => root.join("src").join(module.replace("::", "/")),
    };
    let mut files = vec![base.with_extension("rs"), base.join("mod.rs")];
    if base.ends_with("tests") {
        files.extend(base.parent().map(|file| file.with_extension("rs")));
    }
    files.iter().any(|file: &PathBuf| {
        let source = fs::read_to_string(file).unwrap_or_default();
        let lines: Vec<&str> = source.lines().map(str::trim).collect();
        lines.iter().enumerate().any(|(number, line)| {
            let declared = line.strip_prefix("async ").unwrap_or(line);
            let declared = declared.strip_prefix("fn ").and_then(|rest| rest.strip_prefix(name));
            // Attributes of a test stand right above it.
            let above = lines[..number].iter().rev().take_while(|line| line.starts_with("#["));
            let is_test = above.copied().any(|line| line == "#[test]" || line == "#[tokio::test]");
            is_test && declared.is_some_and(|rest| rest.starts_with('('))
        })
    })
}

/// A value that a field may have.
fn sample(kind: Kind) -> Value {
    match kind {
        Kind::Text => json!("x"),
        Kind::Flag => json!(true),
        Kind::Int32 | Kind::Int64 | Kind::IntOrText => json!(1),
        Kind::Amount => json!("1"),
        Kind::Time => json!("2030-01-31T00:00:00Z"),
        Kind::Texts => json!(["x"]),
        Kind::Ints => json!([1]),
        Kind::Any | Kind::TextMap => json!({"x": "y"}),
        Kind::AmountMap => json!({"cpu": "1"}),
        Kind::Object(of) => object(of),
        Kind::List(of) => json!([object(of)]),
    }
}

/// A value that a field of that name may have: some take a few words only.
fn value(field: &Field) -> Value {
    match field.name {
        "operator" => json!("Exists"),
        "preemptionPolicy" => json!("Never"),
        "fsGroupChangePolicy" => json!("Always"),
        "seLinuxChangePolicy" => json!("Recursive"),
        "whenUnsatisfiable" => json!("DoNotSchedule"),
        "resizePolicy" => json!([{"resourceName": "cpu", "restartPolicy": "NotRequired"}]),
        "terminationMessagePolicy" => json!("File"),
        _ => sample(field.kind),
    }
}

/// An object with what it needs, and with its first field when it needs nothing.
fn object(of: &Type) -> Value {
    let needed = of.fields.iter().filter(|field| field.needed);
    let mut fields: Map<String, Value> =
        needed.map(|field| (field.name.to_owned(), value(field))).collect();
    if fields.is_empty() {
        fields.extend(of.fields.first().map(|field| (field.name.to_owned(), value(field))));
    }
    Value::Object(fields)
}

/// Lays a field at a path of the table into an object of a type, with what stands above it.
fn lay(of: &Type, object: &mut Value, path: &str, field: &Field) {
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    let name = name.trim_end_matches("[]");
    if rest.is_empty() || rest == "{}" {
        object[field.name] = value(field);
        return;
    }
    let (inner, lists) = match of.field(name).unwrap().kind {
        Kind::Object(inner) => (inner, false),
        Kind::List(inner) => (inner, true),
        _ => panic!("{path}: nothing can stand below"),
    };
    if object.get(name).is_none() {
        let mut needed = self::object(inner);
        if inner.fields.iter().all(|field| !field.needed) {
            needed = json!({});
        }
        object[name] = if lists { json!([needed]) } else { needed };
    }
    let below = if lists { &mut object[name][0] } else { &mut object[name] };
    lay(inner, below, rest, field);
}

/// What becomes of a good set with a field in it: whether it can run, its faults, and the field's use.
fn trial(path: &str, field: &Field) -> (bool, Vec<String>, Option<FieldUse>) {
    let mut set: Value = serde_saphyr::from_str(GOOD).unwrap();
    lay(&SET, &mut set, path, field);
    let document = only(&set.to_string());
    let at = path.trim_end_matches("[]").trim_end_matches(".{}").replace("[]", "[0]");
    let used = document.fields.iter().find(|used| used.path.starts_with(&at)).cloned();
    let faults = document.faults.iter().map(ToString::to_string).collect();
    (matches!(document.outcome, Outcome::Set(_)), faults, used)
}

#[test]
fn each_refused_field_keeps_its_set_from_running() {
    for row in table_rows() {
        let Rule::Refused(reason) = row.field.rule else { continue };
        let (runs, _, used) = trial(&row.path, row.field);
        let used = used.unwrap_or_else(|| panic!("{} is not told of", row.path));
        assert_eq!(
            (used.support, used.reason.as_str()),
            (Support::Refused, reason),
            "{}",
            row.path
        );
        assert!(!runs, "{}", row.path);
    }
}

#[test]
fn each_ignored_field_is_named_and_its_set_runs() {
    let mut complaints = vec![];
    for row in table_rows() {
        let Rule::Ignored(reason) = row.field.rule else { continue };
        let (runs, faults, used) = trial(&row.path, row.field);
        let used = used.unwrap_or_else(|| panic!("{} is not told of", row.path));
        assert_eq!(
            (used.support, used.reason.as_str()),
            (Support::Ignored, reason),
            "{}",
            row.path
        );
        complaints.extend((!runs).then(|| format!("{}: {}", row.path, faults.join("; "))));
    }
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn a_field_that_depends_on_its_value_is_decided_by_it() {
    use Support::{Honoured, Ignored, Refused};
    let context = |text: &str| container(&format!("securityContext: {{{text}}}"));
    let ports = |text: &str| container(&format!("ports: [{{containerPort: 1, {text}}}]"));
    for (text, path, expected) in [
        (pod("hostUsers: true"), "hostUsers", Honoured),
        (pod("hostUsers: false"), "hostUsers", Refused),
        (pod("os: {name: linux}"), "os.name", Honoured),
        (pod("os: {name: windows}"), "os.name", Refused),
        (pod("setHostnameAsFQDN: false"), "setHostnameAsFQDN", Honoured),
        (pod("setHostnameAsFQDN: true"), "setHostnameAsFQDN", Refused),
        (context("procMount: Default"), "containers[0].securityContext.procMount", Honoured),
        (context("procMount: Unmasked"), "containers[0].securityContext.procMount", Refused),
        (ports("hostIP: 127.0.0.1"), "containers[0].ports[0].hostIP", Ignored),
        (ports("hostPort: 1"), "containers[0].ports[0].hostPort", Honoured),
    ] {
        assert_eq!(support(&text, &format!("spec.template.spec.{path}")), expected, "{text}");
    }
}
