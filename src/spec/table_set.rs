//! The fields of a DaemonSet around its pods: metadata, selector, update strategy.

use crate::spec::{
    reasons::{CLUSTER, POD_NAME},
    table::{
        Kind::{Any, Flag, Int32, Int64, IntOrText, List, Object, Text, TextMap, Texts, Time},
        Rule::{Honoured, Ignored, Refused},
        Type, field, needed,
    },
    table_pod::POD_TEMPLATE_SPEC,
};

/// The fields of `DaemonSet`.
pub static SET: Type = Type {
    name: "DaemonSet",
    fields: &[
        field("apiVersion", Text, Honoured),
        field("kind", Text, Honoured),
        needed("metadata", Object(&OBJECT_META), Honoured),
        field("spec", Object(&SET_SPEC), Honoured),
        field("status", Object(&SET_STATUS), Ignored("podward reports the status itself")),
    ],
};

/// The fields of `DaemonSetSpec`.
pub static SET_SPEC: Type = Type {
    name: "DaemonSetSpec",
    fields: &[
        field("minReadySeconds", Int32, Honoured),
        field("revisionHistoryLimit", Int32, Honoured),
        needed("selector", Object(&LABEL_SELECTOR), Honoured),
        needed("template", Object(&POD_TEMPLATE_SPEC), Honoured),
        field("updateStrategy", Object(&SET_UPDATE_STRATEGY), Honoured),
    ],
};

/// The fields of `DaemonSetUpdateStrategy`.
pub static SET_UPDATE_STRATEGY: Type = Type {
    name: "DaemonSetUpdateStrategy",
    fields: &[
        field("rollingUpdate", Object(&ROLLING_UPDATE_SET), Honoured),
        field("type", Text, Honoured),
    ],
};

/// The fields of `RollingUpdateDaemonSet`.
pub static ROLLING_UPDATE_SET: Type = Type {
    name: "RollingUpdateDaemonSet",
    fields: &[field("maxSurge", IntOrText, Honoured), field("maxUnavailable", IntOrText, Honoured)],
};

/// The fields of `DaemonSetStatus`.
pub static SET_STATUS: Type = Type {
    name: "DaemonSetStatus",
    fields: &[
        field("collisionCount", Int32, Honoured),
        field("conditions", List(&SET_CONDITION), Honoured),
        field("currentNumberScheduled", Int32, Honoured),
        field("desiredNumberScheduled", Int32, Honoured),
        field("numberAvailable", Int32, Honoured),
        field("numberMisscheduled", Int32, Honoured),
        field("numberReady", Int32, Honoured),
        field("numberUnavailable", Int32, Honoured),
        field("observedGeneration", Int64, Honoured),
        field("updatedNumberScheduled", Int32, Honoured),
    ],
};

/// The fields of `DaemonSetCondition`.
pub static SET_CONDITION: Type = Type {
    name: "DaemonSetCondition",
    fields: &[
        field("lastTransitionTime", Time, Honoured),
        field("message", Text, Honoured),
        field("reason", Text, Honoured),
        field("status", Text, Honoured),
        field("type", Text, Honoured),
    ],
};

/// The fields of `ObjectMeta`.
pub static OBJECT_META: Type = Type {
    name: "ObjectMeta",
    fields: &[
        field("annotations", TextMap, Honoured),
        field("creationTimestamp", Time, Ignored(CLUSTER)),
        field("deletionGracePeriodSeconds", Int64, Ignored(CLUSTER)),
        field("deletionTimestamp", Time, Ignored(CLUSTER)),
        field("finalizers", Texts, Ignored(CLUSTER)),
        field("generateName", Text, Refused("a set needs a fixed name; write metadata.name")),
        field("generation", Int64, Ignored(CLUSTER)),
        field("labels", TextMap, Honoured),
        field("managedFields", List(&MANAGED_FIELDS_ENTRY), Ignored(CLUSTER)),
        field("name", Text, Honoured),
        field("namespace", Text, Honoured),
        field("ownerReferences", List(&OWNER_REFERENCE), Ignored(CLUSTER)),
        field("resourceVersion", Text, Ignored(CLUSTER)),
        field("selfLink", Text, Ignored(CLUSTER)),
        field("uid", Text, Ignored(CLUSTER)),
    ],
};

/// The fields of `PodMeta`.
pub static POD_META: Type = Type {
    name: "template metadata",
    fields: &[
        field("annotations", TextMap, Honoured),
        field("creationTimestamp", Time, Ignored(CLUSTER)),
        field("deletionGracePeriodSeconds", Int64, Ignored(CLUSTER)),
        field("deletionTimestamp", Time, Ignored(CLUSTER)),
        field("finalizers", Texts, Ignored(CLUSTER)),
        field("generateName", Text, Ignored(POD_NAME)),
        field("generation", Int64, Ignored(CLUSTER)),
        field("labels", TextMap, Honoured),
        field("managedFields", List(&MANAGED_FIELDS_ENTRY), Ignored(CLUSTER)),
        field("name", Text, Ignored(POD_NAME)),
        field("namespace", Text, Ignored("the pod takes the namespace of its set")),
        field("ownerReferences", List(&OWNER_REFERENCE), Ignored(CLUSTER)),
        field("resourceVersion", Text, Ignored(CLUSTER)),
        field("selfLink", Text, Ignored(CLUSTER)),
        field("uid", Text, Ignored(CLUSTER)),
    ],
};

/// The fields of `OwnerReference`.
pub static OWNER_REFERENCE: Type = Type {
    name: "OwnerReference",
    fields: &[
        needed("apiVersion", Text, Honoured),
        field("blockOwnerDeletion", Flag, Honoured),
        field("controller", Flag, Honoured),
        needed("kind", Text, Honoured),
        needed("name", Text, Honoured),
        needed("uid", Text, Honoured),
    ],
};

/// The fields of `ManagedFieldsEntry`.
pub static MANAGED_FIELDS_ENTRY: Type = Type {
    name: "ManagedFieldsEntry",
    fields: &[
        field("apiVersion", Text, Honoured),
        field("fieldsType", Text, Honoured),
        field("fieldsV1", Any, Honoured),
        field("manager", Text, Honoured),
        field("operation", Text, Honoured),
        field("subresource", Text, Honoured),
        field("time", Time, Honoured),
    ],
};

/// The fields of `LabelSelector`.
pub static LABEL_SELECTOR: Type = Type {
    name: "LabelSelector",
    fields: &[
        field("matchExpressions", List(&LABEL_SELECTOR_REQUIREMENT), Honoured),
        field("matchLabels", TextMap, Honoured),
    ],
};

/// The fields of `LabelSelectorRequirement`.
pub static LABEL_SELECTOR_REQUIREMENT: Type = Type {
    name: "LabelSelectorRequirement",
    fields: &[
        needed("key", Text, Honoured),
        needed("operator", Text, Honoured),
        field("values", Texts, Honoured),
    ],
};
