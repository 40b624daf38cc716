//! The table against the schema of the Kubernetes types, in both directions.

use std::{env, fs};

use k8s_openapi::api::apps::v1::DaemonSet;
use serde_json::Value;

use crate::spec::{
    known_paths, markdown,
    table::{Field, Kind, Type},
    table_set::SET,
};

/// Follows a reference of the schema.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let schema = schema.get("allOf").map_or(schema, |all| &all[0]);
    match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => &root["$defs"][reference.rsplit('/').next().unwrap()],
        None => schema,
    }
}

/// Compares one type with its schema.
fn compare(root: &Value, schema: &Value, of: &Type, path: &str) {
    let properties = schema["properties"].as_object().unwrap_or_else(|| panic!("{path}"));
    for name in properties.keys() {
        assert!(of.field(name).is_some(), "{path}.{name} is not in the table");
    }
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for field in of.fields {
        let path = format!("{path}.{}", field.name);
        let property = properties.get(field.name);
        let property = property.unwrap_or_else(|| panic!("{path} is not in Kubernetes"));
        // The name of a referred object may be left out, and a status is none of its author's business.
        let lenient = of.name == "LocalObjectReference" || of.name.starts_with("DaemonSetStatus");
        let lenient = lenient || of.name == "DaemonSetCondition";
        if !lenient {
            assert_eq!(field.needed, required.contains(&field.name), "{path}");
        }
        same_type(root, resolve(root, property), field, &path);
    }
}

/// Compares a field's type with its schema.
fn same_type(root: &Value, schema: &Value, field: &Field, path: &str) {
    let word = schema.get("type").and_then(Value::as_str).unwrap_or("any");
    let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
    let item = || resolve(root, &schema["items"]);
    let entry = || resolve(root, &schema["additionalProperties"]);
    match field.kind {
        Kind::Text => assert_eq!((word, format), ("string", ""), "{path}"),
        Kind::Time => assert_eq!((word, format), ("string", "date-time"), "{path}"),
        Kind::Flag => assert_eq!(word, "boolean", "{path}"),
        Kind::Int32 => assert_eq!((word, format), ("integer", "int32"), "{path}"),
        Kind::Int64 => assert_eq!((word, format), ("integer", "int64"), "{path}"),
        Kind::IntOrText | Kind::Amount => {
            assert_eq!(schema["x-kubernetes-int-or-string"], true, "{path}");
        }
        Kind::Any => assert!(schema.get("properties").is_none(), "{path}"),
        Kind::Texts => assert_eq!((word, &item()["type"]), ("array", &"string".into()), "{path}"),
        Kind::Ints => assert_eq!((word, &item()["type"]), ("array", &"integer".into()), "{path}"),
        Kind::TextMap => assert_eq!(entry()["type"], "string", "{path}"),
        Kind::AmountMap => assert_eq!(entry()["x-kubernetes-int-or-string"], true, "{path}"),
        Kind::Object(inner) => compare(root, schema, inner, path),
        Kind::List(inner) => compare(root, item(), inner, &format!("{path}[]")),
    }
}

#[test]
fn the_table_holds_each_field_of_kubernetes_and_no_other() {
    let schema = schemars::schema_for!(DaemonSet);
    let root = serde_json::to_value(&schema).unwrap();
    compare(&root, &root, &SET, "DaemonSet");
    assert!(known_paths().iter().any(|path| path == "spec.template.spec.containers[].image"));
}

#[test]
fn the_page_of_documentation_is_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/support.md");
    if env::var_os("PODWARD_BLESS").is_some() {
        fs::write(path, markdown()).unwrap();
    }
    let page = fs::read_to_string(path).unwrap_or_default();
    let bless = "docs/support.md is old; run: PODWARD_BLESS=1 cargo test --lib spec::";
    assert!(page == markdown(), "{bless}");
}
