//! Objects as documents: `-o json`, `-o yaml` and `-o name`.

use std::io::{self, Write};

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize as _;
use serde_json::{Value, json};

use super::resource::{Kind, singular};

/// What `-o` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table with more columns.
    Wide,
    /// Kubernetes objects as JSON.
    Json,
    /// Kubernetes objects as YAML.
    Yaml,
    /// One `type/name` on each line.
    Name,
}

/// Objects under one `v1` List, as kubectl prints several.
pub fn list(objects: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": objects})
}

/// The line of `-o name`.
pub fn name(kind: Kind, object: &Value) -> String {
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    format!("{}/{name}", singular(kind))
}

/// Prints JSON indented by four.
pub fn json(value: &Value, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut text = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value
        .serialize(&mut serde_json::Serializer::with_formatter(&mut text, indent))
        .context("print as JSON")?;
    text.push(b'\n');
    Ok(out.write_all(&text)?)
}

/// Prints YAML that YAML 1.1 readers, too, take for the same values.
pub fn yaml(value: &Value, out: &mut dyn Write) -> anyhow::Result<()> {
    // Long lines stay whole: folding hides a string's shape from grep and from people.
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    let text = serde_saphyr::to_string_with_options(value, options).context("print as YAML")?;
    Ok(out.write_all(text.as_bytes())?)
}

/// Prints a document, or does nothing for a table format.
pub fn print(format: Format, kind: Kind, value: &Value, out: &mut dyn Write) -> anyhow::Result<()> {
    match format {
        Format::Json => json(value, out),
        Format::Yaml => yaml(value, out),
        Format::Name => Ok(writeln!(out, "{}", name(kind, value))?),
        Format::Wide => Ok::<(), io::Error>(()).context("print"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn yaml_text(value: &Value) -> String {
        let mut out = Vec::new();
        yaml(value, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn yaml_reads_as_kubectls_does() {
        let value = json!({
            "kind": "Pod", "apiVersion": "v1", "empty": {}, "none": [],
            "spec": {"containers": [{"name": "a", "args": ["yes", "0644", "1e3", "~", "on", ""]}]},
            "text": "one\n  two\n", "bare": "one\ntwo", "colon": "a: b", "time": "2026-01-01T00:00:00Z",
            "long": "word ".repeat(30).trim_end(),
        });
        let long = "word ".repeat(30);
        assert_eq!(
            yaml_text(&value),
            format!(
                "apiVersion: v1\nbare: |-\n  one\n  two\ncolon: \"a: b\"\nempty: {{}}\nkind: Pod\nlong: {}\n\
                 none: []\nspec:\n  containers:\n  - args:\n    - \"yes\"\n    - \"0644\"\n    - \"1e3\"\n    - \"~\"\n    \
                 - \"on\"\n    - \"\"\n    name: a\ntext: |\n  one\n    two\ntime: \"2026-01-01T00:00:00Z\"\n",
                long.trim_end()
            )
        );
    }

    #[test]
    fn json_is_indented_by_four() {
        let mut out = Vec::new();
        json(&list(&[]), &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\n    \"apiVersion\": \"v1\",\n    \"items\": [],\n    \"kind\": \"List\",\n    \
             \"metadata\": {\n        \"resourceVersion\": \"\"\n    }\n}\n"
        );
    }

    proptest! {
        #[test]
        fn whatever_is_printed_as_yaml_reads_back_the_same(
            text in "[ -~\n\té:#'\"0-9]{0,40}",
            key in "[ -~]{1,12}",
        ) {
            let value = json!({key: [{"a": &text}, text]});
            let printed = yaml_text(&value);
            let read: Value = serde_saphyr::from_str(&printed).map_err(|error| {
                TestCaseError::fail(format!("{printed:?}: {error}"))
            })?;
            prop_assert_eq!(read, value, "{:?}", printed);
        }
    }
}
