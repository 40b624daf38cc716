//! Which capabilities a container's process has.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::SecurityContext;

/// The kernel's capabilities by number.
pub const KERNEL: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What a container has when its spec says nothing.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// The capabilities, as `CAP_…`: `ALL` in `add` counts first, then `ALL` in `drop`, then single additions, then
/// single drops. A privileged container has all that this host can give, whatever else is written.
///
/// Additions that the host does not know are left out, as runc leaves them out: Kubernetes' names carry
/// no `CAP_`, so `CAP_NET_ADMIN` adds nothing. A drop is honoured in either spelling: it only restricts.
pub fn capabilities(context: Option<&SecurityContext>, host: &[String]) -> BTreeSet<String> {
    let all = || host.iter().cloned().collect();
    if context.and_then(|c| c.privileged) == Some(true) {
        return all();
    }
    let lists = context.and_then(|c| c.capabilities.as_ref());
    let names = |list: Option<&Vec<String>>| -> Vec<String> {
        list.into_iter().flatten().map(|name| name.to_ascii_uppercase()).collect()
    };
    let add = names(lists.and_then(|lists| lists.add.as_ref()));
    let drop = names(lists.and_then(|lists| lists.drop.as_ref()));
    let is_all = |name: &String| name == "ALL";
    let mut set: BTreeSet<String> = if drop.iter().any(is_all) {
        BTreeSet::new()
    } else if add.iter().any(is_all) {
        all()
    } else {
        DEFAULT.iter().map(|name| format!("CAP_{name}")).collect()
    };
    set.extend(add.iter().map(|name| format!("CAP_{name}")).filter(|name| host.contains(name)));
    for name in drop {
        set.remove(&format!("CAP_{}", name.strip_prefix("CAP_").unwrap_or(&name)));
    }
    // A host that lacks one of the defaults (a container, a hardened machine) cannot give it: runc would fail.
    set.retain(|name| host.contains(name));
    set
}

#[cfg(test)]
pub mod tests {
    use k8s_openapi::api::core::v1::Capabilities;

    use super::*;

    /// A host's capabilities: the defaults and a few more.
    pub fn host() -> Vec<String> {
        DEFAULT
            .iter()
            .chain(&["SYS_ADMIN", "NET_ADMIN", "SYS_TIME"])
            .map(|name| format!("CAP_{name}"))
            .collect()
    }

    fn context(add: &[&str], drop: &[&str]) -> SecurityContext {
        let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        SecurityContext {
            capabilities: Some(Capabilities { add: list(add), drop: list(drop) }),
            ..SecurityContext::default()
        }
    }

    fn of(add: &[&str], drop: &[&str]) -> BTreeSet<String> {
        capabilities(Some(&context(add, drop)), &host())
    }

    fn default_but(without: &[&str], with: &[&str]) -> BTreeSet<String> {
        DEFAULT
            .iter()
            .filter(|name| !without.contains(name))
            .chain(with)
            .map(|name| format!("CAP_{name}"))
            .collect()
    }

    #[test]
    fn additions_and_drops_follow_kubernetes_order() {
        let every: BTreeSet<String> = host().into_iter().collect();
        let every_but = |name: &str| {
            every.iter().filter(|known| *known != name).cloned().collect::<BTreeSet<_>>()
        };
        for (add, drop, expected) in [
            (&[][..], &[][..], default_but(&[], &[])),
            (&["NET_ADMIN"], &[], default_but(&[], &["NET_ADMIN"])),
            (&["net_admin"], &["chown"], default_but(&["CHOWN"], &["NET_ADMIN"])),
            (&["ALL"], &[], every.clone()),
            (&["all"], &["CHOWN"], every_but("CAP_CHOWN")),
            (&[], &["ALL"], BTreeSet::new()),
            (&["NET_ADMIN"], &["ALL"], ["CAP_NET_ADMIN".to_owned()].into()),
            (&["ALL", "SYS_TIME"], &["ALL"], ["CAP_SYS_TIME".to_owned()].into()),
            (&["SYS_TIME"], &["SYS_TIME"], default_but(&[], &[])),
            (&["CAP_SYS_TIME"], &[], default_but(&[], &[])),
            (&[], &["CAP_NET_RAW"], default_but(&["NET_RAW"], &[])),
            (&["BOGUS"], &["BOGUS2"], default_but(&[], &[])),
        ] {
            assert_eq!(of(add, drop), expected, "add {add:?} drop {drop:?}");
        }
    }

    #[test]
    fn a_privileged_container_has_all_and_nothing_said_means_the_fourteen() {
        let mut privileged = context(&[], &["ALL"]);
        privileged.privileged = Some(true);
        assert_eq!(capabilities(Some(&privileged), &host()).len(), host().len());
        assert_eq!(capabilities(None, &host()).len(), 14);
    }

    #[test]
    fn what_the_host_lacks_is_left_out() {
        assert_eq!(capabilities(None, &["CAP_KILL".into()]), ["CAP_KILL".to_owned()].into());
    }
}
