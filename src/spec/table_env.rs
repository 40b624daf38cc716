//! The fields of environment variables and where they come from.

use crate::spec::table::{
    Kind::{Amount, Flag, Object, Text},
    Rule::{Honoured, Refused},
    Type, field, needed,
};

/// The fields of `EnvVar`.
pub static ENV_VAR: Type = Type {
    name: "EnvVar",
    fields: &[
        needed("name", Text, Honoured),
        field("value", Text, Honoured),
        field("valueFrom", Object(&ENV_VAR_SOURCE), Honoured),
    ],
};

/// The fields of `EnvVarSource`.
pub static ENV_VAR_SOURCE: Type = Type {
    name: "EnvVarSource",
    fields: &[
        field("configMapKeyRef", Object(&CONFIG_MAP_KEY_SELECTOR), Honoured),
        field("fieldRef", Object(&OBJECT_FIELD_SELECTOR), Honoured),
        field(
            "fileKeyRef",
            Object(&FILE_KEY_SELECTOR),
            Refused("variables are not read from files of a volume in this version"),
        ),
        field("resourceFieldRef", Object(&RESOURCE_FIELD_SELECTOR), Honoured),
        field("secretKeyRef", Object(&SECRET_KEY_SELECTOR), Honoured),
    ],
};

/// The fields of `EnvFromSource`.
pub static ENV_FROM_SOURCE: Type = Type {
    name: "EnvFromSource",
    fields: &[
        field("configMapRef", Object(&CONFIG_MAP_ENV_SOURCE), Honoured),
        field("prefix", Text, Honoured),
        field("secretRef", Object(&SECRET_ENV_SOURCE), Honoured),
    ],
};

/// The fields of `ConfigMapKeySelector`.
pub static CONFIG_MAP_KEY_SELECTOR: Type = Type {
    name: "ConfigMapKeySelector",
    fields: &[
        needed("key", Text, Honoured),
        needed("name", Text, Honoured),
        field("optional", Flag, Honoured),
    ],
};

/// The fields of `SecretKeySelector`.
pub static SECRET_KEY_SELECTOR: Type = Type {
    name: "SecretKeySelector",
    fields: &[
        needed("key", Text, Honoured),
        needed("name", Text, Honoured),
        field("optional", Flag, Honoured),
    ],
};

/// The fields of `FileKeySelector`.
pub static FILE_KEY_SELECTOR: Type = Type {
    name: "FileKeySelector",
    fields: &[
        needed("key", Text, Honoured),
        field("optional", Flag, Honoured),
        needed("path", Text, Honoured),
        needed("volumeName", Text, Honoured),
    ],
};

/// The fields of `ObjectFieldSelector`.
pub static OBJECT_FIELD_SELECTOR: Type = Type {
    name: "ObjectFieldSelector",
    fields: &[field("apiVersion", Text, Honoured), needed("fieldPath", Text, Honoured)],
};

/// The fields of `ResourceFieldSelector`.
pub static RESOURCE_FIELD_SELECTOR: Type = Type {
    name: "ResourceFieldSelector",
    fields: &[
        field("containerName", Text, Honoured),
        field("divisor", Amount, Honoured),
        needed("resource", Text, Honoured),
    ],
};

/// The fields of `ConfigMapEnvSource`.
pub static CONFIG_MAP_ENV_SOURCE: Type = Type {
    name: "ConfigMapEnvSource",
    fields: &[needed("name", Text, Honoured), field("optional", Flag, Honoured)],
};

/// The fields of `SecretEnvSource`.
pub static SECRET_ENV_SOURCE: Type = Type {
    name: "SecretEnvSource",
    fields: &[needed("name", Text, Honoured), field("optional", Flag, Honoured)],
};
