//! The fields that choose nodes.

use crate::spec::{
    reasons::OTHER_PODS,
    table::{
        Kind::{Int32, Int64, List, Object, Text, Texts},
        Rule::{Honoured, Ignored},
        Type, field, needed,
    },
    table_set::LABEL_SELECTOR,
};

/// The fields of `Affinity`.
pub static AFFINITY: Type = Type {
    name: "Affinity",
    fields: &[
        field("nodeAffinity", Object(&NODE_AFFINITY), Honoured),
        field("podAffinity", Object(&POD_AFFINITY), Ignored(OTHER_PODS)),
        field("podAntiAffinity", Object(&POD_ANTI_AFFINITY), Ignored(OTHER_PODS)),
    ],
};

/// The fields of `NodeAffinity`.
pub static NODE_AFFINITY: Type = Type {
    name: "NodeAffinity",
    fields: &[
        field(
            "preferredDuringSchedulingIgnoredDuringExecution",
            List(&PREFERRED_SCHEDULING_TERM),
            Ignored(
                "a preference only ranks nodes for a scheduler; a DaemonSet runs on each eligible node",
            ),
        ),
        field("requiredDuringSchedulingIgnoredDuringExecution", Object(&NODE_SELECTOR), Honoured),
    ],
};

/// The fields of `NodeSelector`.
pub static NODE_SELECTOR: Type = Type {
    name: "NodeSelector",
    fields: &[needed("nodeSelectorTerms", List(&NODE_SELECTOR_TERM), Honoured)],
};

/// The fields of `NodeSelectorTerm`.
pub static NODE_SELECTOR_TERM: Type = Type {
    name: "NodeSelectorTerm",
    fields: &[
        field("matchExpressions", List(&NODE_SELECTOR_REQUIREMENT), Honoured),
        field("matchFields", List(&NODE_SELECTOR_REQUIREMENT), Honoured),
    ],
};

/// The fields of `NodeSelectorRequirement`.
pub static NODE_SELECTOR_REQUIREMENT: Type = Type {
    name: "NodeSelectorRequirement",
    fields: &[
        needed("key", Text, Honoured),
        needed("operator", Text, Honoured),
        field("values", Texts, Honoured),
    ],
};

/// The fields of `PreferredSchedulingTerm`.
pub static PREFERRED_SCHEDULING_TERM: Type = Type {
    name: "PreferredSchedulingTerm",
    fields: &[
        needed("preference", Object(&NODE_SELECTOR_TERM), Honoured),
        needed("weight", Int32, Honoured),
    ],
};

/// The fields of `PodAffinity`.
pub static POD_AFFINITY: Type = Type {
    name: "PodAffinity",
    fields: &[
        field(
            "preferredDuringSchedulingIgnoredDuringExecution",
            List(&WEIGHTED_POD_AFFINITY_TERM),
            Honoured,
        ),
        field("requiredDuringSchedulingIgnoredDuringExecution", List(&POD_AFFINITY_TERM), Honoured),
    ],
};

/// The fields of `PodAntiAffinity`.
pub static POD_ANTI_AFFINITY: Type = Type {
    name: "PodAntiAffinity",
    fields: &[
        field(
            "preferredDuringSchedulingIgnoredDuringExecution",
            List(&WEIGHTED_POD_AFFINITY_TERM),
            Honoured,
        ),
        field("requiredDuringSchedulingIgnoredDuringExecution", List(&POD_AFFINITY_TERM), Honoured),
    ],
};

/// The fields of `PodAffinityTerm`.
pub static POD_AFFINITY_TERM: Type = Type {
    name: "PodAffinityTerm",
    fields: &[
        field("labelSelector", Object(&LABEL_SELECTOR), Honoured),
        field("matchLabelKeys", Texts, Honoured),
        field("mismatchLabelKeys", Texts, Honoured),
        field("namespaceSelector", Object(&LABEL_SELECTOR), Honoured),
        field("namespaces", Texts, Honoured),
        needed("topologyKey", Text, Honoured),
    ],
};

/// The fields of `WeightedPodAffinityTerm`.
pub static WEIGHTED_POD_AFFINITY_TERM: Type = Type {
    name: "WeightedPodAffinityTerm",
    fields: &[
        needed("podAffinityTerm", Object(&POD_AFFINITY_TERM), Honoured),
        needed("weight", Int32, Honoured),
    ],
};

/// The fields of `Toleration`.
pub static TOLERATION: Type = Type {
    name: "Toleration",
    fields: &[
        field("effect", Text, Honoured),
        field("key", Text, Honoured),
        field("operator", Text, Honoured),
        field("tolerationSeconds", Int64, Honoured),
        field("value", Text, Honoured),
    ],
};

/// The fields of `TopologySpreadConstraint`.
pub static TOPOLOGY_SPREAD_CONSTRAINT: Type = Type {
    name: "TopologySpreadConstraint",
    fields: &[
        field("labelSelector", Object(&LABEL_SELECTOR), Honoured),
        field("matchLabelKeys", Texts, Honoured),
        needed("maxSkew", Int32, Honoured),
        field("minDomains", Int32, Honoured),
        field("nodeAffinityPolicy", Text, Honoured),
        field("nodeTaintsPolicy", Text, Honoured),
        needed("topologyKey", Text, Honoured),
        needed("whenUnsatisfiable", Text, Honoured),
    ],
};
