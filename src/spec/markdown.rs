//! The support table as a page of documentation.

use std::fmt::Write as _;

use crate::spec::{
    proofs::{IGNORED, REFUSED, proof},
    table::{Field, Kind, Rule, Type, known_paths},
    table_set::SET,
};

/// The page's beginning.
const HEAD: &str = "\
# Which fields of a DaemonSet podward honours, and which test proves it

This page is written by `PODWARD_BLESS=1 cargo test --lib spec::` from the table that podward itself reads; do not edit it.
`podward validate -f FILE` says the same of one file.

- **honoured**: it works as in Kubernetes;
- **ignored**: it has no effect here, and nobody is less safe for it;
- **refused**: the set is not run, because without this field it would not be what its author meant.

What a row says goes for every field below it; such fields are named in its last column. A field that is not on this page does
not exist in Kubernetes either: it is a fault, a warning or dropped, as `fieldValidation` has it.

A row names the tests that prove it, and none is honoured without. Those that begin with `it::` run the whole agent on a real
containerd, `make it ARGS=running::` for example; the others run by `make unit ARGS=spec::tests`. What is ignored or refused is
proven by two tests that try each such row:

- ignored: `IGNORED`;
- refused: `REFUSED`.
";

/// The sections: a title, and the path that it begins at.
const SECTIONS: &[(&str, &str)] = &[
    ("The set", ""),
    ("The pod", "spec.template.spec."),
    ("Each container", "spec.template.spec.containers[]."),
    ("Each volume", "spec.template.spec.volumes[]."),
];

/// One row of the page.
pub struct Row {
    /// Its section's path.
    section: &'static str,
    /// The whole path.
    pub path: String,
    /// The field.
    pub field: &'static Field,
    /// What goes for the fields below it, when they have no rows of their own.
    below: String,
}

/// Every row, in the order of the page.
pub fn table_rows() -> Vec<Row> {
    let mut found = Vec::new();
    for (_, section) in SECTIONS {
        if let Some(of) = find(&SET, section) {
            rows(of, section, section, &mut found);
        }
    }
    found
}

/// The whole page.
pub fn markdown() -> String {
    let mut page = HEAD.replace("IGNORED", IGNORED).replace("REFUSED", REFUSED);
    let _ = writeln!(page, "\nThe table has {} fields.", known_paths().len());
    let all = table_rows();
    for (title, path) in SECTIONS {
        let _ = writeln!(page, "\n## {title}\n");
        if !path.is_empty() {
            let _ = writeln!(page, "Below `{}`:\n", path.trim_end_matches('.'));
        }
        page.push_str("| field | type | support | reason | proven by | goes also for |\n| --- | --- | --- | --- | --- | --- |\n");
        for row in all.iter().filter(|row| row.section == *path) {
            let (support, reason) = match row.field.rule {
                Rule::Honoured => ("honoured", ""),
                Rule::Ignored(reason) => ("ignored", reason),
                Rule::Refused(reason) => ("refused", reason),
                Rule::Depends(_, summary) => ("by value", summary),
            };
            let tests: Vec<String> = match row.field.rule {
                Rule::Ignored(_) => vec!["as every ignored field".to_owned()],
                Rule::Refused(_) => vec!["as every refused field".to_owned()],
                Rule::Honoured | Rule::Depends(..) => {
                    proof(&row.path).iter().map(|test| format!("`{test}`")).collect()
                }
            };
            let (shown, noun) = (&row.path[path.len()..], row.field.kind.noun());
            let (tests, below) = (tests.join(", "), &row.below);
            let _ =
                writeln!(page, "| `{shown}` | {noun} | {support} | {reason} | {tests} | {below} |");
        }
    }
    page
}

/// The type at a path that ends in a dot.
fn find(of: &'static Type, path: &str) -> Option<&'static Type> {
    let Some((first, rest)) = path.split_once('.') else {
        return Some(of);
    };
    match of.field(first.trim_end_matches("[]"))?.kind {
        Kind::Object(inner) | Kind::List(inner) => find(inner, rest),
        _ => None,
    }
}

/// Adds the rows of a type; a path that begins another section is left to it.
fn rows(of: &'static Type, path: &str, section: &'static str, found: &mut Vec<Row>) {
    for field in of.fields {
        let full = format!("{path}{}{}", field.name, field.kind.suffix());
        let inner = match field.kind {
            Kind::Object(inner) | Kind::List(inner) => Some(inner),
            _ => None,
        };
        let works = matches!(field.rule, Rule::Honoured | Rule::Depends(..));
        let elsewhere = SECTIONS.iter().any(|(_, start)| *start == format!("{full}."));
        // Containers of every sort have the same fields: they stand in the section of the plain ones.
        let shared = inner.filter(|inner| works && !elsewhere && inner.name == "Container");
        let below = match inner {
            Some(_) if shared.is_some() => "every field, as of each container below".to_owned(),
            Some(inner) if !works => format!("every field of {}: {}", inner.name, names(inner)),
            Some(_) | None => String::new(),
        };
        found.push(Row { section, path: full.clone(), field, below });
        if let Some(inner) = inner.filter(|_| works && !elsewhere && shared.is_none()) {
            rows(inner, &format!("{full}."), section, found);
        }
    }
}

/// The names of a type's fields and of those below.
fn names(of: &Type) -> String {
    let names = of.fields.iter().map(|field| match field.kind {
        Kind::Object(inner) | Kind::List(inner) if of.name != "Container" => {
            format!("`{}` ({})", field.name, names(inner))
        }
        _ => format!("`{}`", field.name),
    });
    names.collect::<Vec<_>>().join(", ")
}
