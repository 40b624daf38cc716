//! The fields of a pod template and a pod.

use crate::spec::{
    reasons::{NO_SCHEDULER, NO_TOKEN},
    rules,
    table::{
        Kind::{AmountMap, Flag, Int32, Int64, Ints, List, Object, Text, TextMap, Texts},
        Rule::{Depends, Honoured, Ignored, Refused},
        Type, field, needed,
    },
    table_affinity::{AFFINITY, TOLERATION, TOPOLOGY_SPREAD_CONSTRAINT},
    table_container::{CONTAINER, EPHEMERAL_CONTAINER, RESOURCE_REQUIREMENTS},
    table_set::POD_META,
    table_volume::VOLUME,
};

/// The fields of `PodTemplateSpec`.
pub static POD_TEMPLATE_SPEC: Type = Type {
    name: "PodTemplateSpec",
    fields: &[
        field("metadata", Object(&POD_META), Honoured),
        field("spec", Object(&POD_SPEC), Honoured),
    ],
};

/// The fields of `PodSpec`.
pub static POD_SPEC: Type = Type {
    name: "PodSpec",
    fields: &[
        field(
            "activeDeadlineSeconds",
            Int64,
            Refused("a pod of a DaemonSet runs without end; Kubernetes forbids the field here"),
        ),
        field("affinity", Object(&AFFINITY), Honoured),
        field("automountServiceAccountToken", Flag, Ignored(NO_TOKEN)),
        needed("containers", List(&CONTAINER), Honoured),
        field("dnsConfig", Object(&POD_DNS_CONFIG), Honoured),
        field(
            "dnsPolicy",
            Text,
            Depends(
                rules::dns_policy,
                "`Default` and `None` are honoured, and `ClusterFirst` with hostNetwork, which means the same as `Default`; otherwise the cluster policies are ignored: there is no cluster DNS, and the pod starts from the host's resolv.conf, as a kubelet does then",
            ),
        ),
        field(
            "enableServiceLinks",
            Flag,
            Ignored("there are no Services without a cluster, so no service variables"),
        ),
        field(
            "ephemeralContainers",
            List(&EPHEMERAL_CONTAINER),
            Refused("Kubernetes forbids the field in a template"),
        ),
        field("hostAliases", List(&HOST_ALIAS), Honoured),
        field("hostIPC", Flag, Honoured),
        field("hostNetwork", Flag, Honoured),
        field("hostPID", Flag, Honoured),
        field(
            "hostUsers",
            Flag,
            Depends(
                rules::host_users,
                "`true` is honoured; `false` is refused: user namespaces are not made in this version, and the pod would run as the real root",
            ),
        ),
        field(
            "hostname",
            Text,
            Depends(
                rules::hostname,
                "ignored: a pod with hostNetwork has the name of the host, as in Kubernetes, and others do not start in this version",
            ),
        ),
        field(
            "hostnameOverride",
            Text,
            Refused("a hostname of its own is not set in this version"),
        ),
        field("imagePullSecrets", List(&LOCAL_OBJECT_REFERENCE), Honoured),
        field("initContainers", List(&CONTAINER), Honoured),
        field("nodeName", Text, Honoured),
        field("nodeSelector", TextMap, Honoured),
        field("os", Object(&POD_OS), Honoured),
        field(
            "overhead",
            AmountMap,
            Refused("there are no runtime classes here that could have an overhead"),
        ),
        field("preemptionPolicy", Text, Ignored(NO_SCHEDULER)),
        field("priority", Int32, Ignored(NO_SCHEDULER)),
        field(
            "priorityClassName",
            Text,
            Ignored(
                "no priority classes without a cluster: nothing is preempted or evicted, and the OOM score follows the QoS class alone",
            ),
        ),
        field(
            "readinessGates",
            List(&POD_READINESS_GATE),
            Refused(
                "nobody sets the conditions that a gate waits for, so the pod would be called ready too early",
            ),
        ),
        field(
            "resourceClaims",
            List(&POD_RESOURCE_CLAIM),
            Refused("devices are not allocated in this version"),
        ),
        field(
            "resources",
            Object(&RESOURCE_REQUIREMENTS),
            Refused(
                "resources of the whole pod are not enforced in this version; write them on the containers",
            ),
        ),
        field("restartPolicy", Text, Honoured),
        field(
            "runtimeClassName",
            Text,
            Refused(
                "runtime classes are not known here, and the pod would run less isolated than meant",
            ),
        ),
        field("schedulerName", Text, Ignored(NO_SCHEDULER)),
        field(
            "schedulingGates",
            List(&POD_SCHEDULING_GATE),
            Refused("nobody removes a gate here, and the pod would start before it is meant to"),
        ),
        field("schedulingGroup", Object(&POD_SCHEDULING_GROUP), Ignored(NO_SCHEDULER)),
        field("securityContext", Object(&POD_SECURITY_CONTEXT), Honoured),
        field("serviceAccount", Text, Ignored(NO_TOKEN)),
        field("serviceAccountName", Text, Ignored(NO_TOKEN)),
        field(
            "setHostnameAsFQDN",
            Flag,
            Depends(
                rules::fqdn,
                "`false` is honoured; `true` is refused: there is no cluster domain",
            ),
        ),
        field("shareProcessNamespace", Flag, Honoured),
        field(
            "subdomain",
            Text,
            Depends(
                rules::hostname,
                "ignored: a pod with hostNetwork has the name of the host, as in Kubernetes, and others do not start in this version",
            ),
        ),
        field("terminationGracePeriodSeconds", Int64, Honoured),
        field("tolerations", List(&TOLERATION), Honoured),
        field(
            "topologySpreadConstraints",
            List(&TOPOLOGY_SPREAD_CONSTRAINT),
            Ignored(NO_SCHEDULER),
        ),
        field("volumes", List(&VOLUME), Honoured),
    ],
};

/// The fields of `PodOS`.
pub static POD_OS: Type = Type {
    name: "PodOS",
    fields: &[needed(
        "name",
        Text,
        Depends(rules::os_name, "`linux` is honoured; any other system is refused"),
    )],
};

/// The fields of `HostAlias`.
pub static HOST_ALIAS: Type = Type {
    name: "HostAlias",
    fields: &[field("hostnames", Texts, Honoured), needed("ip", Text, Honoured)],
};

/// The fields of `LocalObjectReference`.
pub static LOCAL_OBJECT_REFERENCE: Type =
    Type { name: "LocalObjectReference", fields: &[field("name", Text, Honoured)] };

/// The fields of `PodDNSConfig`.
pub static POD_DNS_CONFIG: Type = Type {
    name: "PodDNSConfig",
    fields: &[
        field("nameservers", Texts, Honoured),
        field("options", List(&POD_DNS_CONFIG_OPTION), Honoured),
        field("searches", Texts, Honoured),
    ],
};

/// The fields of `PodDNSConfigOption`.
pub static POD_DNS_CONFIG_OPTION: Type = Type {
    name: "PodDNSConfigOption",
    fields: &[field("name", Text, Honoured), field("value", Text, Honoured)],
};

/// The fields of `PodReadinessGate`.
pub static POD_READINESS_GATE: Type =
    Type { name: "PodReadinessGate", fields: &[needed("conditionType", Text, Honoured)] };

/// The fields of `PodResourceClaim`.
pub static POD_RESOURCE_CLAIM: Type = Type {
    name: "PodResourceClaim",
    fields: &[
        needed("name", Text, Honoured),
        field("resourceClaimName", Text, Honoured),
        field("resourceClaimTemplateName", Text, Honoured),
    ],
};

/// The fields of `PodSchedulingGate`.
pub static POD_SCHEDULING_GATE: Type =
    Type { name: "PodSchedulingGate", fields: &[needed("name", Text, Honoured)] };

/// The fields of `PodSchedulingGroup`.
pub static POD_SCHEDULING_GROUP: Type =
    Type { name: "PodSchedulingGroup", fields: &[field("podGroupName", Text, Honoured)] };

/// The fields of `PodSecurityContext`.
pub static POD_SECURITY_CONTEXT: Type = Type {
    name: "PodSecurityContext",
    fields: &[
        field("appArmorProfile", Object(&APP_ARMOR_PROFILE), Honoured),
        field("fsGroup", Int64, Honoured),
        field("fsGroupChangePolicy", Text, Honoured),
        field("runAsGroup", Int64, Honoured),
        field("runAsNonRoot", Flag, Honoured),
        field("runAsUser", Int64, Honoured),
        field(
            "seLinuxChangePolicy",
            Text,
            Ignored("it only says how seLinuxOptions are applied, and those are refused"),
        ),
        field(
            "seLinuxOptions",
            Object(&SE_LINUX_OPTIONS),
            Refused("SELinux labels are not set in this version"),
        ),
        field("seccompProfile", Object(&SECCOMP_PROFILE), Honoured),
        field("supplementalGroups", Ints, Honoured),
        field("supplementalGroupsPolicy", Text, Honoured),
        field("sysctls", List(&SYSCTL), Refused("kernel parameters are not set in this version")),
        field(
            "windowsOptions",
            Object(&WINDOWS_SECURITY_CONTEXT_OPTIONS),
            Ignored("for Windows hosts only"),
        ),
    ],
};

/// The fields of `Sysctl`.
pub static SYSCTL: Type = Type {
    name: "Sysctl",
    fields: &[needed("name", Text, Honoured), needed("value", Text, Honoured)],
};

/// The fields of `AppArmorProfile`.
pub static APP_ARMOR_PROFILE: Type = Type {
    name: "AppArmorProfile",
    fields: &[field("localhostProfile", Text, Honoured), needed("type", Text, Honoured)],
};

/// The fields of `SeccompProfile`.
pub static SECCOMP_PROFILE: Type = Type {
    name: "SeccompProfile",
    fields: &[field("localhostProfile", Text, Honoured), needed("type", Text, Honoured)],
};

/// The fields of `SELinuxOptions`.
pub static SE_LINUX_OPTIONS: Type = Type {
    name: "SELinuxOptions",
    fields: &[
        field("level", Text, Honoured),
        field("role", Text, Honoured),
        field("type", Text, Honoured),
        field("user", Text, Honoured),
    ],
};

/// The fields of `WindowsSecurityContextOptions`.
pub static WINDOWS_SECURITY_CONTEXT_OPTIONS: Type = Type {
    name: "WindowsSecurityContextOptions",
    fields: &[
        field("gmsaCredentialSpec", Text, Honoured),
        field("gmsaCredentialSpecName", Text, Honoured),
        field("hostProcess", Flag, Honoured),
        field("runAsUserName", Text, Honoured),
    ],
};
