//! The support table as a page of documentation.

use std::fmt::Write as _;

use crate::spec::{
    table::{Kind, Rule, Type, known_paths},
    table_set::SET,
};

/// The page's beginning.
const HEAD: &str = "\
# Which fields of a DaemonSet podward honours

This page is written by `PODWARD_BLESS=1 cargo test --lib spec::` from the table that podward itself reads; do not edit it.
`podward validate -f FILE` says the same of one file.

- **honoured**: it works as in Kubernetes;
- **ignored**: it has no effect here, and nobody is less safe for it;
- **refused**: the set is not run, because without this field it would not be what its author meant.

What a row says goes for every field below it; such fields are named in its last column. A field that is not on this page does
not exist in Kubernetes either: it is a fault, a warning or dropped, as `fieldValidation` has it.
";

/// The sections: a title, and the path that it begins at.
const SECTIONS: &[(&str, &str)] = &[
    ("The set", ""),
    ("The pod", "spec.template.spec."),
    ("Each container", "spec.template.spec.containers[]."),
    ("Each volume", "spec.template.spec.volumes[]."),
];

/// The whole page.
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    let _ = writeln!(page, "\nThe table has {} fields.", known_paths().len());
    for (title, path) in SECTIONS {
        let _ = writeln!(page, "\n## {title}\n");
        if !path.is_empty() {
            let _ = writeln!(page, "Below `{}`:\n", path.trim_end_matches('.'));
        }
        page.push_str("| field | type | support | reason | goes also for |\n| --- | --- | --- | --- | --- |\n");
        if let Some(of) = find(&SET, path) {
            rows(of, path, path, &mut page);
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

/// Writes the rows of a type; a path that begins another section is left to it.
fn rows(of: &Type, path: &str, section: &str, page: &mut String) {
    for field in of.fields {
        let full = format!("{path}{}{}", field.name, field.kind.suffix());
        let shown = &full[section.len()..];
        let (support, reason) = match field.rule {
            Rule::Honoured => ("honoured", ""),
            Rule::Ignored(reason) => ("ignored", reason),
            Rule::Refused(reason) => ("refused", reason),
            Rule::Depends(_, summary) => ("by value", summary),
        };
        let inner = match field.kind {
            Kind::Object(inner) | Kind::List(inner) => Some(inner),
            _ => None,
        };
        let honoured = matches!(field.rule, Rule::Honoured);
        let below = match inner {
            Some(inner) if !honoured => format!("every field of {}: {}", inner.name, names(inner)),
            Some(_) | None => String::new(),
        };
        let noun = field.kind.noun();
        let _ = writeln!(page, "| `{shown}` | {noun} | {support} | {reason} | {below} |");
        let begins_section = SECTIONS.iter().any(|(_, start)| *start == format!("{full}."));
        if let Some(inner) = inner.filter(|_| honoured && !begins_section) {
            rows(inner, &format!("{full}."), section, page);
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
