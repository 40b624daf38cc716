//! Why documents of other kinds are ignored.

use crate::base::nearest::nearest;
use crate::spec::object::ObjectKind;

/// Whether an apiVersion ever held DaemonSets, and is still read.
pub fn holds_sets(api_version: &str) -> bool {
    matches!(api_version, "apps/v1" | "apps/v1beta2" | "extensions/v1beta1")
}

/// The apiVersion that holds a kind, when podward reads the kind.
pub fn version_of(kind: &str) -> Option<&'static str> {
    match kind {
        "DaemonSet" => Some("apps/v1"),
        "ConfigMap" | "Secret" => Some("v1"),
        _ => None,
    }
}

/// Whether an apiVersion beside a kind that is read is a mistake, not another project's kind of that name.
pub fn mistaken(api_version: &str, kind: &str) -> bool {
    let Some(right) = version_of(kind) else { return false };
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let read = if kind == "DaemonSet" { holds_sets(api_version) } else { api_version == right };
    !api_version.is_empty()
        && !read
        && (matches!(group, "" | "apps" | "extensions") || nearest(api_version, [right]).is_some())
}

/// Which kind of object a kind means, however its letters are written.
pub fn object(kind: &str) -> Option<ObjectKind> {
    let is = |name: &str| kind.eq_ignore_ascii_case(name);
    match kind {
        _ if is("ConfigMap") => Some(ObjectKind::ConfigMap),
        _ if is("Secret") => Some(ObjectKind::Secret),
        _ => None,
    }
}

/// The kind that was meant by a kind that nobody knows, such as `Daemonset` or `configmap`.
pub fn meant(api_version: &str, kind: &str) -> Option<&'static str> {
    let meant = match object(kind).filter(|_| !api_version.contains('/')) {
        Some(ObjectKind::ConfigMap) => Some("ConfigMap"),
        Some(ObjectKind::Secret) => Some("Secret"),
        None => Some("DaemonSet").filter(|_| mistyped(api_version, kind)),
    };
    meant.filter(|meant| *meant != kind)
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
