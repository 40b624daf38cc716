//! Volume sources on networks and in clouds: all refused, yet known by name.

use crate::spec::{
    table::{
        Kind::{Flag, Int32, Object, Text, TextMap, Texts},
        Rule::Honoured,
        Type, field, needed,
    },
    table_pod::LOCAL_OBJECT_REFERENCE,
};

/// The fields of `NFSVolumeSource`.
pub static NFS: Type = Type {
    name: "NFSVolumeSource",
    fields: &[
        needed("path", Text, Honoured),
        field("readOnly", Flag, Honoured),
        needed("server", Text, Honoured),
    ],
};

/// The fields of `ISCSIVolumeSource`.
pub static ISCSI: Type = Type {
    name: "ISCSIVolumeSource",
    fields: &[
        field("chapAuthDiscovery", Flag, Honoured),
        field("chapAuthSession", Flag, Honoured),
        field("fsType", Text, Honoured),
        field("initiatorName", Text, Honoured),
        needed("iqn", Text, Honoured),
        field("iscsiInterface", Text, Honoured),
        needed("lun", Int32, Honoured),
        field("portals", Texts, Honoured),
        field("readOnly", Flag, Honoured),
        field("secretRef", Object(&LOCAL_OBJECT_REFERENCE), Honoured),
        needed("targetPortal", Text, Honoured),
    ],
};

/// The fields of `FCVolumeSource`.
pub static FC: Type = Type {
    name: "FCVolumeSource",
    fields: &[
        field("fsType", Text, Honoured),
        field("lun", Int32, Honoured),
        field("readOnly", Flag, Honoured),
        field("targetWWNs", Texts, Honoured),
        field("wwids", Texts, Honoured),
    ],
};

/// The fields of `CephFSVolumeSource`.
pub static CEPH_FS: Type = Type {
    name: "CephFSVolumeSource",
    fields: &[
        needed("monitors", Texts, Honoured),
        field("path", Text, Honoured),
        field("readOnly", Flag, Honoured),
        field("secretFile", Text, Honoured),
        field("secretRef", Object(&LOCAL_OBJECT_REFERENCE), Honoured),
        field("user", Text, Honoured),
    ],
};

/// The fields of `RBDVolumeSource`.
pub static RBD: Type = Type {
    name: "RBDVolumeSource",
    fields: &[
        field("fsType", Text, Honoured),
        needed("image", Text, Honoured),
        field("keyring", Text, Honoured),
        needed("monitors", Texts, Honoured),
        field("pool", Text, Honoured),
        field("readOnly", Flag, Honoured),
        field("secretRef", Object(&LOCAL_OBJECT_REFERENCE), Honoured),
        field("user", Text, Honoured),
    ],
};

/// The fields of `GlusterfsVolumeSource`.
pub static GLUSTERFS: Type = Type {
    name: "GlusterfsVolumeSource",
    fields: &[
        needed("endpoints", Text, Honoured),
        needed("path", Text, Honoured),
        field("readOnly", Flag, Honoured),
    ],
};

/// The fields of `CinderVolumeSource`.
pub static CINDER: Type = Type {
    name: "CinderVolumeSource",
    fields: &[
        field("fsType", Text, Honoured),
        field("readOnly", Flag, Honoured),
        field("secretRef", Object(&LOCAL_OBJECT_REFERENCE), Honoured),
        needed("volumeID", Text, Honoured),
    ],
};

/// The fields of `AWSElasticBlockStoreVolumeSource`.
pub static AWS_ELASTIC_BLOCK_STORE: Type = Type {
    name: "AWSElasticBlockStoreVolumeSource",
    fields: &[
        field("fsType", Text, Honoured),
        field("partition", Int32, Honoured),
        field("readOnly", Flag, Honoured),
        needed("volumeID", Text, Honoured),
    ],
};

/// The fields of `AzureDiskVolumeSource`.
pub static AZURE_DISK: Type = Type {
    name: "AzureDiskVolumeSource",
    fields: &[
        field("cachingMode", Text, Honoured),
        needed("diskName", Text, Honoured),
        needed("diskURI", Text, Honoured),
        field("fsType", Text, Honoured),
        field("kind", Text, Honoured),
        field("readOnly", Flag, Honoured),
    ],
};

/// The fields of `AzureFileVolumeSource`.
pub static AZURE_FILE: Type = Type {
    name: "AzureFileVolumeSource",
    fields: &[
        field("readOnly", Flag, Honoured),
        needed("secretName", Text, Honoured),
        needed("shareName", Text, Honoured),
    ],
};

/// The fields of `GCEPersistentDiskVolumeSource`.
pub static GCE_PERSISTENT_DISK: Type = Type {
    name: "GCEPersistentDiskVolumeSource",
    fields: &[
        field("fsType", Text, Honoured),
        field("partition", Int32, Honoured),
        needed("pdName", Text, Honoured),
        field("readOnly", Flag, Honoured),
    ],
};

/// The fields of `FlexVolumeSource`.
pub static FLEX: Type = Type {
    name: "FlexVolumeSource",
    fields: &[
        needed("driver", Text, Honoured),
        field("fsType", Text, Honoured),
        field("options", TextMap, Honoured),
        field("readOnly", Flag, Honoured),
        field("secretRef", Object(&LOCAL_OBJECT_REFERENCE), Honoured),
    ],
};

/// The fields of `FlockerVolumeSource`.
pub static FLOCKER: Type = Type {
    name: "FlockerVolumeSource",
    fields: &[field("datasetName", Text, Honoured), field("datasetUUID", Text, Honoured)],
};

/// The fields of `GitRepoVolumeSource`.
pub static GIT_REPO: Type = Type {
    name: "GitRepoVolumeSource",
    fields: &[
        field("directory", Text, Honoured),
        needed("repository", Text, Honoured),
        field("revision", Text, Honoured),
    ],
};

/// The fields of `PhotonPersistentDiskVolumeSource`.
pub static PHOTON_PERSISTENT_DISK: Type = Type {
    name: "PhotonPersistentDiskVolumeSource",
    fields: &[field("fsType", Text, Honoured), needed("pdID", Text, Honoured)],
};

/// The fields of `PortworxVolumeSource`.
pub static PORTWORX: Type = Type {
    name: "PortworxVolumeSource",
    fields: &[
        field("fsType", Text, Honoured),
        field("readOnly", Flag, Honoured),
        needed("volumeID", Text, Honoured),
    ],
};

/// The fields of `QuobyteVolumeSource`.
pub static QUOBYTE: Type = Type {
    name: "QuobyteVolumeSource",
    fields: &[
        field("group", Text, Honoured),
        field("readOnly", Flag, Honoured),
        needed("registry", Text, Honoured),
        field("tenant", Text, Honoured),
        field("user", Text, Honoured),
        needed("volume", Text, Honoured),
    ],
};

/// The fields of `ScaleIOVolumeSource`.
pub static SCALE_IO: Type = Type {
    name: "ScaleIOVolumeSource",
    fields: &[
        field("fsType", Text, Honoured),
        needed("gateway", Text, Honoured),
        field("protectionDomain", Text, Honoured),
        field("readOnly", Flag, Honoured),
        needed("secretRef", Object(&LOCAL_OBJECT_REFERENCE), Honoured),
        field("sslEnabled", Flag, Honoured),
        field("storageMode", Text, Honoured),
        field("storagePool", Text, Honoured),
        needed("system", Text, Honoured),
        field("volumeName", Text, Honoured),
    ],
};

/// The fields of `StorageOSVolumeSource`.
pub static STORAGE_OS: Type = Type {
    name: "StorageOSVolumeSource",
    fields: &[
        field("fsType", Text, Honoured),
        field("readOnly", Flag, Honoured),
        field("secretRef", Object(&LOCAL_OBJECT_REFERENCE), Honoured),
        field("volumeName", Text, Honoured),
        field("volumeNamespace", Text, Honoured),
    ],
};

/// The fields of `VsphereVirtualDiskVolumeSource`.
pub static VSPHERE_VIRTUAL_DISK: Type = Type {
    name: "VsphereVirtualDiskVolumeSource",
    fields: &[
        field("fsType", Text, Honoured),
        field("storagePolicyID", Text, Honoured),
        field("storagePolicyName", Text, Honoured),
        needed("volumePath", Text, Honoured),
    ],
};
