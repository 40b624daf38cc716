//! Reads the contents of ConfigMaps and Secrets: decoded, checked, and never repeated where they are secret.

use std::collections::BTreeMap;

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::general_purpose::{GeneralPurpose, PAD},
};
use serde_json::{Map, Value};

use crate::spec::{
    document::FieldUse,
    names,
    object::{MAX_OBJECT, Object, ObjectKind},
    report::{Report, SECRET, type_of},
    shape::{entry_path, walk_as},
    spot::Spot,
    table::{Kind, Support},
    table_object::{CONFIG_MAP_OBJECT, SECRET_OBJECT},
    validate,
};

/// Base64 as Kubernetes reads it: padded, whatever the bits that no byte needs.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, PAD.with_decode_allow_trailing_bits(true));

/// Values by their keys.
type Values = BTreeMap<String, Vec<u8>>;

/// Reads an object of a kind; what is wrong goes to the report. With it come the fields that are not honoured.
pub fn read_object(
    kind: ObjectKind,
    fields: &mut Map<String, Value>,
    report: &mut Report,
) -> (Object, Vec<FieldUse>) {
    let mut values = |name: &str| fields.remove(name).unwrap_or(Value::Null);
    let (data, binary) = match kind {
        ObjectKind::ConfigMap => {
            let (data, binary) = (values("data"), values("binaryData"));
            (texts("data", &data, report), decoded("binaryData", &binary, report))
        }
        ObjectKind::Secret => {
            let (data, strings) = (values("data"), values("stringData"));
            let mut data = decoded("data", &data, report);
            data.extend(texts("stringData", &strings, report));
            (data, Values::new())
        }
    };
    let of = match kind {
        ObjectKind::ConfigMap => &CONFIG_MAP_OBJECT,
        ObjectKind::Secret => &SECRET_OBJECT,
    };
    let mut uses = walk_as(of, fields, Value::Null, report);
    uses.retain(|field| field.support != Support::Honoured);
    for field in uses.iter_mut().filter(|_| kind == ObjectKind::Secret) {
        SECRET.clone_into(&mut field.value);
    }
    let whole = Value::Object(std::mem::take(fields));
    validate::metadata(&Spot::root(&whole).at("metadata"), "name the object", report);
    for key in binary.keys().filter(|key| data.contains_key(*key)) {
        let path = entry_path("binaryData", key);
        report.fault(&path, &Value::Null, "stands in data as well", "remove one of the two");
    }
    let object = Object { data, binary, immutable: whole["immutable"] == true };
    if object.size() > MAX_OBJECT {
        let problem = format!("its values have {} bytes, more than {MAX_OBJECT}", object.size());
        report.fault("", &Value::Null, problem, "split it into several objects");
    }
    (object, uses)
}

/// The values of a map of strings.
fn texts(path: &str, map: &Value, report: &mut Report) -> Values {
    entries(path, map, report, |_, text, _| Some(text.as_bytes().to_vec()))
}

/// The values of a map of base64.
fn decoded(path: &str, map: &Value, report: &mut Report) -> Values {
    entries(path, map, report, |path, text, report| {
        let plain: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
        let decoded = BASE64.decode(plain).ok();
        if decoded.is_none() {
            let remedy = if report.secret {
                "encode it, as `base64 -w0` does, or write it as it is below stringData"
            } else {
                "encode it, as `base64 -w0` does, or write text below data"
            };
            report.fault(path, &Value::String(text.to_owned()), "is not base64", remedy);
        }
        decoded
    })
}

/// The entries of a map; each that is no string, has an illegal key or cannot be taken is reported.
fn entries(
    path: &str,
    map: &Value,
    report: &mut Report,
    take: impl Fn(&str, &str, &mut Report) -> Option<Vec<u8>>,
) -> Values {
    let map = match map {
        Value::Object(map) => map,
        Value::Null => return Values::new(),
        other => {
            let problem = format!("is {}, but must be a mapping of keys to values", type_of(other));
            report.fault(path, other, problem, "write each key on a line of its own");
            return Values::new();
        }
    };
    let mut values = Values::new();
    for (key, value) in map {
        let path = entry_path(path, key);
        if let Err(remedy) = names::object_key(key) {
            report.fault(&path, &Value::String(key.clone()), "the key is not well-formed", remedy);
        }
        match value {
            Value::String(text) => {
                values.extend(take(&path, text, report).map(|bytes| (key.clone(), bytes)));
            }
            // As for Go, a key without a value has an empty one.
            Value::Null => {
                values.insert(key.clone(), Vec::new());
            }
            other => report.wrong_type(&path, other, Kind::Text),
        }
    }
    values
}
