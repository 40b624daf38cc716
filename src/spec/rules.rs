//! Rows of the support table that depend on the value: small decisions, each with its reason.

use serde_json::Value;

use crate::spec::{
    names,
    reasons::NO_NETWORK,
    table::{
        Given,
        Support::{Honoured, Ignored, Refused},
        Verdict,
    },
};

/// Nothing to explain.
const FINE: Verdict = (Honoured, "");

/// Refused with `reason` when the flag is `true`.
fn unless_true(given: &Given, reason: &'static str) -> Verdict {
    if given.value == &Value::Bool(true) { (Refused, reason) } else { FINE }
}

/// Whether the pod uses the host's network.
pub fn host_network(pod: &Value) -> bool {
    pod.get("hostNetwork") == Some(&Value::Bool(true))
}

/// `dnsPolicy`.
pub fn dns_policy(given: &Given) -> Verdict {
    match given.value.as_str() {
        Some("ClusterFirst") if !host_network(given.pod) => {
            (Ignored, "there is no cluster DNS; the pod gets the host's resolv.conf")
        }
        Some("ClusterFirstWithHostNet") => {
            (Ignored, "there is no cluster DNS; the pod gets the host's resolv.conf")
        }
        _ => FINE,
    }
}

/// `hostname` and `subdomain`.
pub fn hostname(given: &Given) -> Verdict {
    if host_network(given.pod) {
        (Ignored, "a pod with hostNetwork has the name of the host, as in Kubernetes")
    } else {
        (Ignored, NO_NETWORK)
    }
}

/// `setHostnameAsFQDN`.
pub fn fqdn(given: &Given) -> Verdict {
    unless_true(given, "there is no cluster domain that a full name could be made of")
}

/// `hostUsers`.
pub fn host_users(given: &Given) -> Verdict {
    if given.value == &Value::Bool(false) {
        (
            Refused,
            "user namespaces are not made in this version; the pod would run as the real root",
        )
    } else {
        FINE
    }
}

/// `os.name`.
pub fn os_name(given: &Given) -> Verdict {
    if given.value == "linux" { FINE } else { (Refused, "podward runs on Linux only") }
}

/// `image`: Kubernetes takes any text here, and its pod would wait for ever.
pub fn image(given: &Given) -> Verdict {
    let text = given.value.as_str().unwrap_or_default();
    if text.trim() != text || names::image(text).is_ok() {
        FINE
    } else if text.contains("{{") || text.contains("${") {
        (Refused, "a placeholder that nobody filled in; render the template first")
    } else {
        (Refused, "no image can have this name; write one such as docker.io/library/busybox:1.36")
    }
}

/// `hostPath.path`: Kubernetes takes a relative one, and no container starts with it.
pub fn host_path(given: &Given) -> Verdict {
    let text = given.value.as_str().unwrap_or_default();
    if text.starts_with('/') || is_windows_path(text) {
        FINE
    } else {
        (Refused, "not absolute; write the path from / on")
    }
}

/// Whether a path is one of Windows: of a drive, or of a named pipe.
pub fn is_windows_path(text: &str) -> bool {
    text.starts_with("\\\\") || matches!(text.get(1..3), Some(":\\" | ":/"))
}

/// `procMount`.
pub fn proc_mount(given: &Given) -> Verdict {
    if given.value == "Default" {
        FINE
    } else {
        (Refused, "paths below /proc are always masked in this version")
    }
}

/// `action` of a restart rule.
pub fn restart_action(given: &Given) -> Verdict {
    if given.value == "RestartAllContainers" {
        (Refused, "a pod is not restarted as a whole in this version")
    } else {
        FINE
    }
}

/// `stdin`: a terminal's input is open and silent, as with a kubelet when nobody is attached.
pub fn stdin(given: &Given) -> Verdict {
    if given.parent.get("tty") == Some(&Value::Bool(true)) {
        return FINE;
    }
    unless_true(
        given,
        "without a terminal standard input is at its end at once in this version; write tty: true beside it",
    )
}

/// `resizePolicy[].restartPolicy`.
pub fn resize_restart(given: &Given) -> Verdict {
    if given.value == "RestartContainer" {
        (Ignored, "a change of the resource replaces the pod instead of restarting the container")
    } else {
        FINE
    }
}

/// `hostPort`.
pub fn host_port(given: &Given) -> Verdict {
    if host_network(given.pod) || given.value == 0 { FINE } else { (Ignored, NO_NETWORK) }
}

/// `hostIP`.
pub fn host_ip(given: &Given) -> Verdict {
    if host_network(given.pod) {
        (Ignored, "with hostNetwork the process binds to the address that it likes")
    } else {
        (Ignored, NO_NETWORK)
    }
}

/// One entry of `limits` or `requests`.
pub fn resource(given: &Given) -> Verdict {
    match given.key {
        "cpu" | "memory" => FINE,
        "ephemeral-storage" => (Ignored, "disk use is not limited in this version"),
        key if key.starts_with("hugepages-") => {
            (Refused, "huge pages are not limited in this version")
        }
        _ => (
            Refused,
            "there are no device plugins without a cluster; the container would start without it",
        ),
    }
}

/// `emptyDir.medium`.
pub fn medium(given: &Given) -> Verdict {
    match given.value.as_str() {
        None | Some("" | "Memory") => FINE,
        Some(text) if text.starts_with("HugePages") => {
            (Refused, "volumes of huge pages are not made in this version")
        }
        Some(_) => (Refused, "no such medium; write Memory, or leave it out for the disk"),
    }
}
