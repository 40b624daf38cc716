//! The fields of a container, init container or ephemeral container.

use crate::spec::{
    rules,
    table::{
        Kind::{AmountMap, Flag, Int32, Int64, Ints, List, Object, Text, Texts},
        Rule::{Depends, Honoured, Ignored, Refused},
        Type, field, needed,
    },
    table_env::{ENV_FROM_SOURCE, ENV_VAR},
    table_pod::{
        APP_ARMOR_PROFILE, SE_LINUX_OPTIONS, SECCOMP_PROFILE, WINDOWS_SECURITY_CONTEXT_OPTIONS,
    },
    table_probe::{LIFECYCLE, PROBE},
};

/// The fields of `Container`.
pub static CONTAINER: Type = Type {
    name: "Container",
    fields: &[
        field("args", Texts, Honoured),
        field("command", Texts, Honoured),
        field("env", List(&ENV_VAR), Honoured),
        field("envFrom", List(&ENV_FROM_SOURCE), Honoured),
        field(
            "image",
            Text,
            Depends(
                rules::image,
                "honoured; a name that no image can have, such as a placeholder, is refused",
            ),
        ),
        field("imagePullPolicy", Text, Honoured),
        field("lifecycle", Object(&LIFECYCLE), Honoured),
        field("livenessProbe", Object(&PROBE), Honoured),
        needed("name", Text, Honoured),
        field("ports", List(&CONTAINER_PORT), Honoured),
        field("readinessProbe", Object(&PROBE), Honoured),
        field("resizePolicy", List(&CONTAINER_RESIZE_POLICY), Honoured),
        field("resources", Object(&RESOURCE_REQUIREMENTS), Honoured),
        field("restartPolicy", Text, Honoured),
        field("restartPolicyRules", List(&CONTAINER_RESTART_RULE), Honoured),
        field("securityContext", Object(&SECURITY_CONTEXT), Honoured),
        field("startupProbe", Object(&PROBE), Honoured),
        field(
            "stdin",
            Flag,
            Depends(
                rules::stdin,
                "honoured with `tty: true`, where it is open and silent; without, `true` is refused: standard input is then at its end at once in this version",
            ),
        ),
        field(
            "stdinOnce",
            Flag,
            Ignored(
                "nobody attaches to a container here, so there is no first session whose end could matter",
            ),
        ),
        field("terminationMessagePath", Text, Honoured),
        field("terminationMessagePolicy", Text, Honoured),
        field("tty", Flag, Honoured),
        field(
            "volumeDevices",
            List(&VOLUME_DEVICE),
            Refused("block devices of volume claims are not known here"),
        ),
        field("volumeMounts", List(&VOLUME_MOUNT), Honoured),
        field("workingDir", Text, Honoured),
    ],
};

/// The fields of `EphemeralContainer`.
pub static EPHEMERAL_CONTAINER: Type = Type {
    name: "EphemeralContainer",
    fields: &[
        field("args", Texts, Honoured),
        field("command", Texts, Honoured),
        field("env", List(&ENV_VAR), Honoured),
        field("envFrom", List(&ENV_FROM_SOURCE), Honoured),
        field(
            "image",
            Text,
            Depends(
                rules::image,
                "honoured; a name that no image can have, such as a placeholder, is refused",
            ),
        ),
        field("imagePullPolicy", Text, Honoured),
        field(
            "lifecycle",
            Object(&LIFECYCLE),
            Refused("Kubernetes forbids hooks on an ephemeral container"),
        ),
        field("livenessProbe", Object(&PROBE), Honoured),
        needed("name", Text, Honoured),
        field("ports", List(&CONTAINER_PORT), Honoured),
        field("readinessProbe", Object(&PROBE), Honoured),
        field("resizePolicy", List(&CONTAINER_RESIZE_POLICY), Honoured),
        field("resources", Object(&RESOURCE_REQUIREMENTS), Honoured),
        field("restartPolicy", Text, Honoured),
        field("restartPolicyRules", List(&CONTAINER_RESTART_RULE), Honoured),
        field("securityContext", Object(&SECURITY_CONTEXT), Honoured),
        field("startupProbe", Object(&PROBE), Honoured),
        field(
            "stdin",
            Flag,
            Depends(
                rules::stdin,
                "honoured with `tty: true`, where it is open and silent; without, `true` is refused: standard input is then at its end at once in this version",
            ),
        ),
        field(
            "stdinOnce",
            Flag,
            Ignored(
                "nobody attaches to a container here, so there is no first session whose end could matter",
            ),
        ),
        field("targetContainerName", Text, Honoured),
        field("terminationMessagePath", Text, Honoured),
        field("terminationMessagePolicy", Text, Honoured),
        field("tty", Flag, Honoured),
        field(
            "volumeDevices",
            List(&VOLUME_DEVICE),
            Refused("block devices of volume claims are not known here"),
        ),
        field("volumeMounts", List(&VOLUME_MOUNT), Honoured),
        field("workingDir", Text, Honoured),
    ],
};

/// The fields of `ContainerPort`.
pub static CONTAINER_PORT: Type = Type {
    name: "ContainerPort",
    fields: &[
        needed("containerPort", Int32, Honoured),
        field(
            "hostIP",
            Text,
            Depends(
                rules::host_ip,
                "ignored: with hostNetwork the process binds as it likes, and without the pod does not start in this version",
            ),
        ),
        field(
            "hostPort",
            Int32,
            Depends(
                rules::host_port,
                "honoured with hostNetwork; ignored without, because such pods do not start in this version",
            ),
        ),
        field("name", Text, Honoured),
        field("protocol", Text, Honoured),
    ],
};

/// The fields of `ContainerResizePolicy`.
pub static CONTAINER_RESIZE_POLICY: Type = Type {
    name: "ContainerResizePolicy",
    fields: &[
        needed("resourceName", Text, Honoured),
        needed(
            "restartPolicy",
            Text,
            Depends(
                rules::resize_restart,
                "`NotRequired` is honoured: the containers run on under their new limits; `RestartContainer` is ignored: a change of the resource replaces the pod",
            ),
        ),
    ],
};

/// The fields of `ContainerRestartRule`.
pub static CONTAINER_RESTART_RULE: Type = Type {
    name: "ContainerRestartRule",
    fields: &[
        needed(
            "action",
            Text,
            Depends(
                rules::restart_action,
                "`Restart` is honoured; `RestartAllContainers` is refused: a pod is not restarted as a whole in this version",
            ),
        ),
        field("exitCodes", Object(&CONTAINER_RESTART_RULE_ON_EXIT_CODES), Honoured),
    ],
};

/// The fields of `ContainerRestartRuleOnExitCodes`.
pub static CONTAINER_RESTART_RULE_ON_EXIT_CODES: Type = Type {
    name: "ContainerRestartRuleOnExitCodes",
    fields: &[needed("operator", Text, Honoured), field("values", Ints, Honoured)],
};

/// The fields of `ResourceRequirements`.
pub static RESOURCE_REQUIREMENTS: Type = Type {
    name: "ResourceRequirements",
    fields: &[
        field(
            "claims",
            List(&RESOURCE_CLAIM),
            Refused("devices are not allocated in this version"),
        ),
        field(
            "limits",
            AmountMap,
            Depends(
                rules::resource,
                "`cpu` and `memory` are honoured, `ephemeral-storage` is ignored (disk use is not limited in this version); huge pages and devices are refused",
            ),
        ),
        field(
            "requests",
            AmountMap,
            Depends(
                rules::resource,
                "`cpu` and `memory` are honoured, `ephemeral-storage` is ignored (nothing is scheduled by it); huge pages and devices are refused",
            ),
        ),
    ],
};

/// The fields of `ResourceClaim`.
pub static RESOURCE_CLAIM: Type = Type {
    name: "ResourceClaim",
    fields: &[needed("name", Text, Honoured), field("request", Text, Honoured)],
};

/// The fields of `VolumeMount`.
pub static VOLUME_MOUNT: Type = Type {
    name: "VolumeMount",
    fields: &[
        needed("mountPath", Text, Honoured),
        field("mountPropagation", Text, Honoured),
        needed("name", Text, Honoured),
        field("readOnly", Flag, Honoured),
        field("recursiveReadOnly", Text, Honoured),
        field("subPath", Text, Honoured),
        field("subPathExpr", Text, Honoured),
    ],
};

/// The fields of `VolumeDevice`.
pub static VOLUME_DEVICE: Type = Type {
    name: "VolumeDevice",
    fields: &[needed("devicePath", Text, Honoured), needed("name", Text, Honoured)],
};

/// The fields of `SecurityContext`.
pub static SECURITY_CONTEXT: Type = Type {
    name: "SecurityContext",
    fields: &[
        field("allowPrivilegeEscalation", Flag, Honoured),
        field("appArmorProfile", Object(&APP_ARMOR_PROFILE), Honoured),
        field("capabilities", Object(&CAPABILITIES), Honoured),
        field("privileged", Flag, Honoured),
        field(
            "procMount",
            Text,
            Depends(rules::proc_mount, "`Default` is honoured; `Unmasked` is refused"),
        ),
        field("readOnlyRootFilesystem", Flag, Honoured),
        field("runAsGroup", Int64, Honoured),
        field("runAsNonRoot", Flag, Honoured),
        field("runAsUser", Int64, Honoured),
        field(
            "seLinuxOptions",
            Object(&SE_LINUX_OPTIONS),
            Refused("SELinux labels are not set in this version"),
        ),
        field("seccompProfile", Object(&SECCOMP_PROFILE), Honoured),
        field(
            "windowsOptions",
            Object(&WINDOWS_SECURITY_CONTEXT_OPTIONS),
            Ignored("for Windows hosts only"),
        ),
    ],
};

/// The fields of `Capabilities`.
pub static CAPABILITIES: Type = Type {
    name: "Capabilities",
    fields: &[field("add", Texts, Honoured), field("drop", Texts, Honoured)],
};
