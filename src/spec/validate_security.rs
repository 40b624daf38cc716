//! Validation of security contexts of pods and containers.

use serde_json::Value;

use crate::base::nearest::nearest;
use crate::spec::{names, report::Report, spot::Spot};

/// The largest user or group id.
const MAX_ID: i64 = i32::MAX as i64;

/// Checks a pod's security context and its use of the host's namespaces.
pub fn pod(pod: &Spot, report: &mut Report) {
    let context = pod.at("securityContext");
    shared(&context, report);
    context.at("fsGroup").within(report, 0, MAX_ID);
    context.at("fsGroupChangePolicy").one_of(report, &["OnRootMismatch", "Always"]);
    context.at("supplementalGroupsPolicy").one_of(report, &["Merge", "Strict"]);
    context.at("seLinuxChangePolicy").one_of(report, &["MountOption", "Recursive"]);
    for group in context.at("supplementalGroups").items() {
        group.within(report, 0, MAX_ID);
    }
    if pod.at("hostPID").is_true() && pod.at("shareProcessNamespace").is_true() {
        let remedy = "keep one of the two";
        pod.at("shareProcessNamespace").fault(report, "excludes hostPID", remedy);
    }
    if pod.at("hostUsers").value == &Value::Bool(false) {
        for field in ["hostPID", "hostIPC", "hostNetwork"] {
            if pod.at(field).is_true() {
                pod.at(field).fault(report, "excludes hostUsers: false", "keep one of the two");
            }
        }
    }
    sysctls(pod, report);
}

/// Checks kernel parameters.
fn sysctls(pod: &Spot, report: &mut Report) {
    for sysctl in pod.at("securityContext").at("sysctls").items() {
        let name = sysctl.at("name");
        name.check(report, |text| {
            let well = text.split(['.', '/']).all(|part| {
                !part.is_empty()
                    && part
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c))
            });
            if well { Ok(()) } else { Err("write a name such as net.ipv4.ip_forward") }
        });
        let text = name.text().unwrap_or_default().replace('/', ".");
        if text.starts_with("net.") && pod.at("hostNetwork").is_true() {
            name.fault(report, "would change the host's network", "remove it, or hostNetwork");
        }
    }
}

/// Checks what both kinds of security context have.
fn shared(context: &Spot, report: &mut Report) {
    context.at("runAsUser").within(report, 0, MAX_ID);
    context.at("runAsGroup").within(report, 0, MAX_ID);
    for name in ["seccompProfile", "appArmorProfile"] {
        let profile = context.at(name);
        profile.at("type").one_of(report, &["Unconfined", "RuntimeDefault", "Localhost"]);
        let path = profile.at("localhostProfile");
        let localhost = profile.at("type").text() == Some("Localhost");
        match path.text() {
            None | Some("") if localhost => {
                path.fault(report, "is missing, though the type is Localhost", "name the profile");
            }
            Some(_) if !localhost => {
                path.fault(
                    report,
                    "has no meaning with this type",
                    "remove it, or write type: Localhost",
                );
            }
            _ => {}
        }
        if name == "seccompProfile" && localhost {
            path.check(report, names::relative_path);
        }
    }
}

/// Checks a container's security context.
pub fn container(container: &Spot, report: &mut Report) {
    let context = container.at("securityContext");
    shared(&context, report);
    context.at("procMount").one_of(report, &["Default", "Unmasked"]);
    let capabilities = context.at("capabilities");
    for list in ["add", "drop"] {
        for capability in capabilities.at(list).items() {
            self::capability(&capability, report);
        }
    }
    let escalation = context.at("allowPrivilegeEscalation");
    if escalation.value != &Value::Bool(false) {
        return;
    }
    if context.at("privileged").is_true() {
        let remedy = "remove it, or privileged: true";
        escalation.fault(report, "cannot be false for a privileged container", remedy);
    }
    for added in capabilities.at("add").items() {
        if added.text() == Some("CAP_SYS_ADMIN") {
            let remedy = "remove it, or the capability";
            escalation.fault(report, "cannot be false beside CAP_SYS_ADMIN", remedy);
        }
    }
}

/// The kernel's capabilities, without their prefix.
const CAPABILITIES: &[&str] = &[
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// Checks the name of a capability: the API takes any text, but the runtime would fail on one it does not know.
fn capability(spot: &Spot, report: &mut Report) {
    let Some(text) = spot.text() else { return };
    let upper = text.to_ascii_uppercase();
    let plain = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if CAPABILITIES.contains(&plain) {
        return;
    }
    let remedy = match nearest(plain, CAPABILITIES.iter().copied()) {
        Some(known) => format!("did you mean {known}?"),
        None => "write a capability such as NET_ADMIN, or ALL".to_owned(),
    };
    if text.is_empty() {
        spot.fault(report, "is empty", remedy);
    } else {
        report.warn(&spot.path, spot.value, "is no capability that podward knows", remedy);
    }
}
