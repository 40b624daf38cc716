//! The fields of probes and lifecycle hooks.

use crate::spec::table::{
    Kind::{Int32, Int64, IntOrText, List, Object, Text, Texts},
    Rule::{Honoured, Refused},
    Type, field, needed,
};

/// The fields of `Lifecycle`.
pub static LIFECYCLE: Type = Type {
    name: "Lifecycle",
    fields: &[
        field("postStart", Object(&LIFECYCLE_HANDLER), Honoured),
        field("preStop", Object(&LIFECYCLE_HANDLER), Honoured),
        field("stopSignal", Text, Honoured),
    ],
};

/// The fields of `LifecycleHandler`.
pub static LIFECYCLE_HANDLER: Type = Type {
    name: "LifecycleHandler",
    fields: &[
        field("exec", Object(&EXEC_ACTION), Honoured),
        field("httpGet", Object(&HTTP_GET_ACTION), Honoured),
        field("sleep", Object(&SLEEP_ACTION), Honoured),
        field(
            "tcpSocket",
            Object(&TCP_SOCKET_ACTION),
            Refused(
                "a hook that opens a socket fails in Kubernetes too; write exec, httpGet or sleep",
            ),
        ),
    ],
};

/// The fields of `SleepAction`.
pub static SLEEP_ACTION: Type =
    Type { name: "SleepAction", fields: &[needed("seconds", Int64, Honoured)] };

/// The fields of `Probe`.
pub static PROBE: Type = Type {
    name: "Probe",
    fields: &[
        field("exec", Object(&EXEC_ACTION), Honoured),
        field("failureThreshold", Int32, Honoured),
        field("grpc", Object(&GRPC_ACTION), Honoured),
        field("httpGet", Object(&HTTP_GET_ACTION), Honoured),
        field("initialDelaySeconds", Int32, Honoured),
        field("periodSeconds", Int32, Honoured),
        field("successThreshold", Int32, Honoured),
        field("tcpSocket", Object(&TCP_SOCKET_ACTION), Honoured),
        field("terminationGracePeriodSeconds", Int64, Honoured),
        field("timeoutSeconds", Int32, Honoured),
    ],
};

/// The fields of `ExecAction`.
pub static EXEC_ACTION: Type =
    Type { name: "ExecAction", fields: &[field("command", Texts, Honoured)] };

/// The fields of `HTTPGetAction`.
pub static HTTP_GET_ACTION: Type = Type {
    name: "HTTPGetAction",
    fields: &[
        field("host", Text, Honoured),
        field("httpHeaders", List(&HTTP_HEADER), Honoured),
        field("path", Text, Honoured),
        needed("port", IntOrText, Honoured),
        field("scheme", Text, Honoured),
    ],
};

/// The fields of `HTTPHeader`.
pub static HTTP_HEADER: Type = Type {
    name: "HTTPHeader",
    fields: &[needed("name", Text, Honoured), needed("value", Text, Honoured)],
};

/// The fields of `TCPSocketAction`.
pub static TCP_SOCKET_ACTION: Type = Type {
    name: "TCPSocketAction",
    fields: &[field("host", Text, Honoured), needed("port", IntOrText, Honoured)],
};

/// The fields of `GRPCAction`.
pub static GRPC_ACTION: Type = Type {
    name: "GRPCAction",
    fields: &[needed("port", Int32, Honoured), field("service", Text, Honoured)],
};
