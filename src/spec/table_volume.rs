//! The volume sources: what is on this host is honoured, the others are known so that each can be refused by name.

use crate::spec::{
    reasons::{CLAIMS, CLOUD, NETWORK},
    rules,
    table::{
        Kind::{Amount, AmountMap, Flag, Int32, Int64, List, Object, Text, TextMap, Texts},
        Rule::{Depends, Honoured, Refused},
        Type, field, needed,
    },
    table_cloud::{
        AWS_ELASTIC_BLOCK_STORE, AZURE_DISK, AZURE_FILE, CEPH_FS, CINDER, FC, FLEX, FLOCKER,
        GCE_PERSISTENT_DISK, GIT_REPO, GLUSTERFS, ISCSI, NFS, PHOTON_PERSISTENT_DISK, PORTWORX,
        QUOBYTE, RBD, SCALE_IO, STORAGE_OS, VSPHERE_VIRTUAL_DISK,
    },
    table_env::{OBJECT_FIELD_SELECTOR, RESOURCE_FIELD_SELECTOR},
    table_pod::LOCAL_OBJECT_REFERENCE,
    table_set::{LABEL_SELECTOR, OBJECT_META},
};

/// The fields of `Volume`.
pub static VOLUME: Type = Type {
    name: "Volume",
    fields: &[
        field("awsElasticBlockStore", Object(&AWS_ELASTIC_BLOCK_STORE), Refused(CLOUD)),
        field("azureDisk", Object(&AZURE_DISK), Refused(CLOUD)),
        field("azureFile", Object(&AZURE_FILE), Refused(CLOUD)),
        field("cephfs", Object(&CEPH_FS), Refused(NETWORK)),
        field("cinder", Object(&CINDER), Refused(CLOUD)),
        field("configMap", Object(&CONFIG_MAP), Honoured),
        field("csi", Object(&CSI), Refused("there is no CSI driver without a cluster")),
        field("downwardAPI", Object(&DOWNWARD_API), Honoured),
        field("emptyDir", Object(&EMPTY_DIR), Honoured),
        field("ephemeral", Object(&EPHEMERAL), Refused(CLAIMS)),
        field("fc", Object(&FC), Refused(NETWORK)),
        field("flexVolume", Object(&FLEX), Refused(CLOUD)),
        field("flocker", Object(&FLOCKER), Refused(CLOUD)),
        field("gcePersistentDisk", Object(&GCE_PERSISTENT_DISK), Refused(CLOUD)),
        field("gitRepo", Object(&GIT_REPO), Refused(CLOUD)),
        field("glusterfs", Object(&GLUSTERFS), Refused(NETWORK)),
        field("hostPath", Object(&HOST_PATH), Honoured),
        field("image", Object(&IMAGE), Honoured),
        field("iscsi", Object(&ISCSI), Refused(NETWORK)),
        needed("name", Text, Honoured),
        field("nfs", Object(&NFS), Refused(NETWORK)),
        field("persistentVolumeClaim", Object(&PERSISTENT_VOLUME_CLAIM), Refused(CLAIMS)),
        field("photonPersistentDisk", Object(&PHOTON_PERSISTENT_DISK), Refused(CLOUD)),
        field("portworxVolume", Object(&PORTWORX), Refused(CLOUD)),
        field("projected", Object(&PROJECTED), Honoured),
        field("quobyte", Object(&QUOBYTE), Refused(CLOUD)),
        field("rbd", Object(&RBD), Refused(NETWORK)),
        field("scaleIO", Object(&SCALE_IO), Refused(CLOUD)),
        field("secret", Object(&SECRET), Honoured),
        field("storageos", Object(&STORAGE_OS), Refused(CLOUD)),
        field("vsphereVolume", Object(&VSPHERE_VIRTUAL_DISK), Refused(CLOUD)),
    ],
};

/// The fields of `HostPathVolumeSource`.
pub static HOST_PATH: Type = Type {
    name: "HostPathVolumeSource",
    fields: &[
        needed(
            "path",
            Text,
            Depends(
                rules::host_path,
                "honoured; a relative path is refused, for nothing starts with it",
            ),
        ),
        field("type", Text, Honoured),
    ],
};

/// The fields of `EmptyDirVolumeSource`.
pub static EMPTY_DIR: Type = Type {
    name: "EmptyDirVolumeSource",
    fields: &[
        field(
            "medium",
            Text,
            Depends(
                rules::medium,
                "`\"\"` and `Memory` are honoured; huge pages and unknown media are refused",
            ),
        ),
        field("sizeLimit", Amount, Honoured),
    ],
};

/// The fields of `ConfigMapVolumeSource`.
pub static CONFIG_MAP: Type = Type {
    name: "ConfigMapVolumeSource",
    fields: &[
        field("defaultMode", Int32, Honoured),
        field("items", List(&KEY_TO_PATH), Honoured),
        needed("name", Text, Honoured),
        field("optional", Flag, Honoured),
    ],
};

/// The fields of `SecretVolumeSource`.
pub static SECRET: Type = Type {
    name: "SecretVolumeSource",
    fields: &[
        field("defaultMode", Int32, Honoured),
        field("items", List(&KEY_TO_PATH), Honoured),
        field("optional", Flag, Honoured),
        field("secretName", Text, Honoured),
    ],
};

/// The fields of `DownwardAPIVolumeSource`.
pub static DOWNWARD_API: Type = Type {
    name: "DownwardAPIVolumeSource",
    fields: &[
        field("defaultMode", Int32, Honoured),
        field("items", List(&DOWNWARD_API_VOLUME_FILE), Honoured),
    ],
};

/// The fields of `DownwardAPIVolumeFile`.
pub static DOWNWARD_API_VOLUME_FILE: Type = Type {
    name: "DownwardAPIVolumeFile",
    fields: &[
        field("fieldRef", Object(&OBJECT_FIELD_SELECTOR), Honoured),
        field("mode", Int32, Honoured),
        needed("path", Text, Honoured),
        field("resourceFieldRef", Object(&RESOURCE_FIELD_SELECTOR), Honoured),
    ],
};

/// The fields of `KeyToPath`.
pub static KEY_TO_PATH: Type = Type {
    name: "KeyToPath",
    fields: &[
        needed("key", Text, Honoured),
        field("mode", Int32, Honoured),
        needed("path", Text, Honoured),
    ],
};

/// The fields of `ProjectedVolumeSource`.
pub static PROJECTED: Type = Type {
    name: "ProjectedVolumeSource",
    fields: &[
        field("defaultMode", Int32, Honoured),
        field("sources", List(&VOLUME_PROJECTION), Honoured),
    ],
};

/// The fields of `VolumeProjection`.
pub static VOLUME_PROJECTION: Type = Type {
    name: "VolumeProjection",
    fields: &[
        field(
            "clusterTrustBundle",
            Object(&CLUSTER_TRUST_BUNDLE_PROJECTION),
            Refused("there is no cluster that publishes trust bundles; use a ConfigMap"),
        ),
        field("configMap", Object(&CONFIG_MAP_PROJECTION), Honoured),
        field("downwardAPI", Object(&DOWNWARD_API_PROJECTION), Honoured),
        field(
            "podCertificate",
            Object(&POD_CERTIFICATE_PROJECTION),
            Refused("there is no API server that signs certificates; use a Secret"),
        ),
        field("secret", Object(&SECRET_PROJECTION), Honoured),
        field(
            "serviceAccountToken",
            Object(&SERVICE_ACCOUNT_TOKEN_PROJECTION),
            Refused("there is no API server that issues tokens, and the pod asks for one outright"),
        ),
    ],
};

/// The fields of `ClusterTrustBundleProjection`.
pub static CLUSTER_TRUST_BUNDLE_PROJECTION: Type = Type {
    name: "ClusterTrustBundleProjection",
    fields: &[
        field("labelSelector", Object(&LABEL_SELECTOR), Honoured),
        field("name", Text, Honoured),
        field("optional", Flag, Honoured),
        needed("path", Text, Honoured),
        field("signerName", Text, Honoured),
    ],
};

/// The fields of `ConfigMapProjection`.
pub static CONFIG_MAP_PROJECTION: Type = Type {
    name: "ConfigMapProjection",
    fields: &[
        field("items", List(&KEY_TO_PATH), Honoured),
        needed("name", Text, Honoured),
        field("optional", Flag, Honoured),
    ],
};

/// The fields of `DownwardAPIProjection`.
pub static DOWNWARD_API_PROJECTION: Type = Type {
    name: "DownwardAPIProjection",
    fields: &[field("items", List(&DOWNWARD_API_VOLUME_FILE), Honoured)],
};

/// The fields of `PodCertificateProjection`.
pub static POD_CERTIFICATE_PROJECTION: Type = Type {
    name: "PodCertificateProjection",
    fields: &[
        field("certificateChainPath", Text, Honoured),
        field("credentialBundlePath", Text, Honoured),
        field("keyPath", Text, Honoured),
        needed("keyType", Text, Honoured),
        field("maxExpirationSeconds", Int32, Honoured),
        needed("signerName", Text, Honoured),
        field("userAnnotations", TextMap, Honoured),
    ],
};

/// The fields of `SecretProjection`.
pub static SECRET_PROJECTION: Type = Type {
    name: "SecretProjection",
    fields: &[
        field("items", List(&KEY_TO_PATH), Honoured),
        needed("name", Text, Honoured),
        field("optional", Flag, Honoured),
    ],
};

/// The fields of `ServiceAccountTokenProjection`.
pub static SERVICE_ACCOUNT_TOKEN_PROJECTION: Type = Type {
    name: "ServiceAccountTokenProjection",
    fields: &[
        field("audience", Text, Honoured),
        field("expirationSeconds", Int64, Honoured),
        needed("path", Text, Honoured),
    ],
};

/// The fields of `CSIVolumeSource`.
pub static CSI: Type = Type {
    name: "CSIVolumeSource",
    fields: &[
        needed("driver", Text, Honoured),
        field("fsType", Text, Honoured),
        field("nodePublishSecretRef", Object(&LOCAL_OBJECT_REFERENCE), Honoured),
        field("readOnly", Flag, Honoured),
        field("volumeAttributes", TextMap, Honoured),
    ],
};

/// The fields of `ImageVolumeSource`.
pub static IMAGE: Type = Type {
    name: "ImageVolumeSource",
    fields: &[
        field("pullPolicy", Text, Honoured),
        field(
            "reference",
            Text,
            Depends(
                rules::image,
                "honoured; a name that no image can have, such as a placeholder, is refused",
            ),
        ),
    ],
};

/// The fields of `PersistentVolumeClaimVolumeSource`.
pub static PERSISTENT_VOLUME_CLAIM: Type = Type {
    name: "PersistentVolumeClaimVolumeSource",
    fields: &[needed("claimName", Text, Honoured), field("readOnly", Flag, Honoured)],
};

/// The fields of `EphemeralVolumeSource`.
pub static EPHEMERAL: Type = Type {
    name: "EphemeralVolumeSource",
    fields: &[field("volumeClaimTemplate", Object(&PERSISTENT_VOLUME_CLAIM_TEMPLATE), Honoured)],
};

/// The fields of `PersistentVolumeClaimTemplate`.
pub static PERSISTENT_VOLUME_CLAIM_TEMPLATE: Type = Type {
    name: "PersistentVolumeClaimTemplate",
    fields: &[
        field("metadata", Object(&OBJECT_META), Honoured),
        needed("spec", Object(&PERSISTENT_VOLUME_CLAIM_SPEC), Honoured),
    ],
};

/// The fields of `PersistentVolumeClaimSpec`.
pub static PERSISTENT_VOLUME_CLAIM_SPEC: Type = Type {
    name: "PersistentVolumeClaimSpec",
    fields: &[
        field("accessModes", Texts, Honoured),
        field("dataSource", Object(&TYPED_LOCAL_OBJECT_REFERENCE), Honoured),
        field("dataSourceRef", Object(&TYPED_OBJECT_REFERENCE), Honoured),
        field("resources", Object(&VOLUME_RESOURCE_REQUIREMENTS), Honoured),
        field("selector", Object(&LABEL_SELECTOR), Honoured),
        field("storageClassName", Text, Honoured),
        field("volumeAttributesClassName", Text, Honoured),
        field("volumeMode", Text, Honoured),
        field("volumeName", Text, Honoured),
    ],
};

/// The fields of `TypedLocalObjectReference`.
pub static TYPED_LOCAL_OBJECT_REFERENCE: Type = Type {
    name: "TypedLocalObjectReference",
    fields: &[
        field("apiGroup", Text, Honoured),
        needed("kind", Text, Honoured),
        needed("name", Text, Honoured),
    ],
};

/// The fields of `TypedObjectReference`.
pub static TYPED_OBJECT_REFERENCE: Type = Type {
    name: "TypedObjectReference",
    fields: &[
        field("apiGroup", Text, Honoured),
        needed("kind", Text, Honoured),
        needed("name", Text, Honoured),
        field("namespace", Text, Honoured),
    ],
};

/// The fields of `VolumeResourceRequirements`.
pub static VOLUME_RESOURCE_REQUIREMENTS: Type = Type {
    name: "VolumeResourceRequirements",
    fields: &[field("limits", AmountMap, Honoured), field("requests", AmountMap, Honoured)],
};
