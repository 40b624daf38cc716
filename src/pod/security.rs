//! What a container may not see, may not change, and which devices it may use.

use k8s_openapi::api::core::v1::Container;

use super::sandbox::{DeviceKind, HostDevice, HostFacts};

/// Paths that Kubernetes hides from a container that is not privileged.
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Paths that such a container may only read.
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The character devices that every container has: null, random, full, tty, zero, urandom, console, the
/// pseudo terminals (any minor) and their multiplexer.
const STANDARD_DEVICES: [(u32, Option<u32>); 9] = [
    (1, Some(3)),
    (1, Some(8)),
    (1, Some(7)),
    (5, Some(0)),
    (1, Some(5)),
    (1, Some(9)),
    (5, Some(1)),
    (136, None),
    (5, Some(2)),
];

/// One rule of the device controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Whether it allows or denies.
    pub allow: bool,
    /// The kind; `None` is both.
    pub kind: Option<DeviceKind>,
    /// The major number; `None` is any.
    pub major: Option<u32>,
    /// The minor number; `None` is any.
    pub minor: Option<u32>,
}

/// Whether the container is privileged.
pub fn privileged(container: &Container) -> bool {
    container.security_context.as_ref().and_then(|context| context.privileged) == Some(true)
}

/// Whether the root file system is read-only.
pub fn read_only_root(container: &Container) -> bool {
    let context = container.security_context.as_ref();
    context.and_then(|context| context.read_only_root_filesystem) == Some(true)
}

/// Whether programs may not gain privileges: only where `allowPrivilegeEscalation` is `false` outright.
pub fn no_new_privileges(container: &Container) -> bool {
    let context = container.security_context.as_ref();
    context.and_then(|context| context.allow_privilege_escalation) == Some(false)
}

/// The paths to hide.
pub fn masked_paths(container: &Container, host: &HostFacts) -> Vec<String> {
    if privileged(container) {
        return Vec::new();
    }
    let fixed = MASKED.iter().map(|path| (*path).to_owned());
    fixed.chain(host.thermal_throttle.iter().cloned()).collect()
}

/// The paths to make read-only.
pub fn read_only_paths(container: &Container) -> Vec<String> {
    if privileged(container) {
        return Vec::new();
    }
    READ_ONLY.iter().map(|path| (*path).to_owned()).collect()
}

/// The device controller's rules, in order.
pub fn device_rules(container: &Container) -> Vec<DeviceRule> {
    if privileged(container) {
        return vec![DeviceRule { allow: true, kind: None, major: None, minor: None }];
    }
    let standard = STANDARD_DEVICES.iter().map(|(major, minor)| DeviceRule {
        allow: true,
        kind: Some(DeviceKind::Character),
        major: Some(*major),
        minor: *minor,
    });
    let deny = DeviceRule { allow: false, kind: None, major: None, minor: None };
    std::iter::once(deny).chain(standard).collect()
}

/// The device nodes to make: the host's, for a privileged container.
pub fn devices<'a>(container: &Container, host: &'a HostFacts) -> &'a [HostDevice] {
    if privileged(container) { &host.devices } else { &[] }
}
