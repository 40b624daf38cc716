//! Why documents of other kinds are ignored.

use crate::base::nearest::nearest;

/// Whether an apiVersion ever held DaemonSets, and is still read.
pub fn holds_sets(api_version: &str) -> bool {
    matches!(api_version, "apps/v1" | "apps/v1beta2" | "extensions/v1beta1")
}

/// Whether an apiVersion beside `kind: DaemonSet` is a mistake, not another project's kind of that name.
pub fn mistaken(api_version: &str) -> bool {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    !api_version.is_empty()
        && !holds_sets(api_version)
        && (matches!(group, "" | "apps" | "extensions")
            || nearest(api_version, ["apps/v1"]).is_some())
}

/// Whether a kind is a DaemonSet mistyped, such as `Daemonset`.
pub fn mistyped(api_version: &str, kind: &str) -> bool {
    let group = api_version.split('/').next().unwrap_or_default();
    matches!(group, "apps" | "extensions")
        && !["ReplicaSet", "StatefulSet", "Deployment", "ControllerRevision", "Ingress"]
            .contains(&kind)
        && nearest(kind, ["DaemonSet"]).is_some()
}

/// Why a document of this kind is ignored.
pub fn ignored(api_version: &str, kind: &str) -> String {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let reason = match (group, kind) {
        ("", "ConfigMap" | "Secret") => {
            "ConfigMaps and Secrets are not read in this version; a set that refers to one is refused"
        }
        ("", "Namespace") => {
            "a namespace needs no object here; the name in a set's metadata suffices"
        }
        ("", "ServiceAccount") => {
            "there is no API server, so service accounts have nothing to sign in to"
        }
        ("", "Service" | "Endpoints") | ("discovery.k8s.io", "EndpointSlice") => {
            "there is no cluster network that a Service could stand in"
        }
        ("", "Pod") => "only DaemonSets are run",
        ("", "Node") => "a node describes a host; sets are read here",
        ("", "PersistentVolume" | "PersistentVolumeClaim") | ("storage.k8s.io", _) => {
            "storage is not provisioned without a cluster"
        }
        ("", "LimitRange" | "ResourceQuota") => {
            "quotas are enforced by an API server, and there is none"
        }
        ("rbac.authorization.k8s.io", _) => "there is no API server whose access it could rule",
        ("apiextensions.k8s.io", _) => "there is no API server that could serve custom resources",
        ("admissionregistration.k8s.io" | "apiregistration.k8s.io", _) => {
            "there is no API server that could call it"
        }
        ("networking.k8s.io" | "extensions", "Ingress" | "IngressClass" | "NetworkPolicy") => {
            "there is no cluster network that it could rule"
        }
        ("policy" | "extensions", "PodSecurityPolicy") => {
            "Kubernetes retired this kind; nothing enforces it here, and each set's own fields count"
        }
        ("policy", "PodDisruptionBudget") => {
            "nothing is evicted here; a set's updateStrategy bounds its updates"
        }
        ("scheduling.k8s.io", _) => "there is no scheduler, so priorities have no effect",
        ("autoscaling", _) => "a DaemonSet is not scaled",
        ("apps" | "extensions", "Deployment" | "ReplicaSet" | "StatefulSet")
        | ("batch", _)
        | ("", "ReplicationController") => {
            "only DaemonSets are run; other workloads need a cluster"
        }
        _ => {
            return format!(
                "podward runs DaemonSets only, and knows nothing of {api_version} {kind}"
            );
        }
    };
    reason.to_owned()
}
