//! Reasons that several rows of the support table share.

/// Fields that only an API server writes.
pub const CLUSTER: &str = "written by a cluster's API server, not by an author";
/// Names of pods.
pub const POD_NAME: &str = "a DaemonSet names its pods itself";
/// Service accounts.
pub const NO_TOKEN: &str = "there is no API server, so no token is mounted";
/// Whatever tells a scheduler what to do.
pub const NO_SCHEDULER: &str = "there is no scheduler: each host decides for itself";
/// Pod affinity of both kinds.
pub const OTHER_PODS: &str = "the DaemonSet controller does not look at other pods either";
/// What a pod with a network of its own would have.
pub const NO_NETWORK: &str = "pods without hostNetwork do not start in this version";
/// Volume claims.
pub const CLAIMS: &str = "there are no volume claims without a cluster";
/// File systems of other machines.
pub const NETWORK: &str =
    "network file systems are not mounted in this version; mount it on the host and use hostPath";
/// Disks of clouds and retired drivers.
pub const CLOUD: &str =
    "there is no driver for it without a cluster; mount it on the host and use hostPath";
