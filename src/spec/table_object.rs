//! The fields of ConfigMaps and Secrets around their values.

use crate::spec::{
    table::{
        Kind::{Any, Flag, Object, Text},
        Rule::Honoured,
        Type, field, needed,
    },
    table_set::OBJECT_META,
};

/// The fields of `ConfigMap`. The values are read for themselves: no table repeats them.
pub static CONFIG_MAP_OBJECT: Type = Type {
    name: "ConfigMap",
    fields: &[
        field("apiVersion", Text, Honoured),
        field("binaryData", Any, Honoured),
        field("data", Any, Honoured),
        field("immutable", Flag, Honoured),
        field("kind", Text, Honoured),
        needed("metadata", Object(&OBJECT_META), Honoured),
    ],
};

/// The fields of `Secret`.
pub static SECRET_OBJECT: Type = Type {
    name: "Secret",
    fields: &[
        field("apiVersion", Text, Honoured),
        field("data", Any, Honoured),
        field("immutable", Flag, Honoured),
        field("kind", Text, Honoured),
        needed("metadata", Object(&OBJECT_META), Honoured),
        field("stringData", Any, Honoured),
        field("type", Text, Honoured),
    ],
};
