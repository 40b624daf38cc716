//! Facts about this machine: what containers depend on, and what a Node object shows.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::stat::{major, minor};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::sys::statvfs::statvfs;
use serde::Deserialize;

use crate::pod::capabilities::KERNEL;
use crate::pod::sandbox::{Confines, DeviceKind, HostDevice, HostFacts};

use super::confinement;

/// Where control groups are mounted.
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// Directories of `/dev` that a container has of its own, or that are none of its business.
const DEV_SKIPPED: [&str; 7] = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"];

/// What a Node object shows of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// The kernel's host name.
    pub hostname: String,
    /// The operating system as Kubernetes names it.
    pub os: String,
    /// The architecture as Kubernetes names it.
    pub arch: String,
    /// The kernel's version.
    pub kernel: String,
    /// The distribution's name for people.
    pub os_image: String,
    /// This installation's identity.
    pub machine_id: String,
    /// This boot's identity.
    pub boot_id: String,
    /// Memory in bytes.
    pub memory: u64,
    /// Processors.
    pub cpus: u32,
    /// Addresses under which others reach this machine: the one of the default route first.
    pub addresses: Vec<IpAddr>,
}

/// What containers depend on. A fact that cannot be read takes the value that asks least of the kernel.
pub fn host_facts() -> HostFacts {
    let cgroup_v2 =
        statfs(CGROUP_ROOT).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC);
    let capabilities = capabilities();
    HostFacts {
        cgroup_v2,
        swap_accounting: swap_accounting(Path::new(CGROUP_ROOT), cgroup_v2),
        memory_capacity: memory_capacity(),
        recursive_read_only: false,
        confines: Confines {
            arch: std::env::consts::ARCH,
            seccomp: confinement::seccomp_enabled(),
            safe_ptrace: at_least(&text("/proc/sys/kernel/osrelease"), (4, 8)),
            app_armor: confinement::app_armor_enabled(),
        },
        least_oom_score_adj: least_oom_score_adj(&capabilities),
        capabilities,
        devices: devices(),
        thermal_throttle: thermal_throttle(),
    }
}

/// The device nodes of this moment: devices come and go, so a privileged container's are read when it starts.
pub fn devices() -> Vec<HostDevice> {
    let mut found = Vec::new();
    collect_devices(Path::new("/dev"), &mut found);
    found
}

/// Whether mounts can be made read-only all the way down: the kernel must be able to, and the runtime must ask it.
/// Asked of them once, when the first container wants it.
pub fn recursive_read_only() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let asked = || Command::new("runc").arg("features").stdin(Stdio::null()).output();
        // `mount_setattr` came with this kernel.
        at_least(&text("/proc/sys/kernel/osrelease"), (5, 12))
            && asked().is_ok_and(|said| said.status.success() && knows_rro(&said.stdout))
    })
}

/// Whether the features that a runtime lists hold the mount option.
fn knows_rro(features: &[u8]) -> bool {
    /// The one part that matters here.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Features {
        /// The options that mounts may have.
        #[serde(default)]
        mount_options: Vec<String>,
    }
    serde_json::from_slice::<Features>(features)
        .is_ok_and(|features| features.mount_options.iter().any(|option| option == "rro"))
}

/// Whether a kernel's version such as `6.1.0-18-amd64` is this one or a later one.
fn at_least(release: &str, wanted: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= wanted)
}

/// What a Node object shows.
pub fn node_facts() -> NodeFacts {
    let first = |paths: &[&str]| paths.iter().map(text).find(|text| !text.is_empty());
    let release = first(&["/etc/os-release", "/usr/lib/os-release"]).unwrap_or_default();
    NodeFacts {
        hostname: text("/proc/sys/kernel/hostname"),
        os: "linux".into(),
        arch: kubernetes_arch(std::env::consts::ARCH).into(),
        kernel: text("/proc/sys/kernel/osrelease"),
        os_image: pretty_name(&release),
        machine_id: first(&["/etc/machine-id", "/var/lib/dbus/machine-id"]).unwrap_or_default(),
        boot_id: text("/proc/sys/kernel/random/boot_id"),
        memory: memory_capacity(),
        cpus: count_cpus(&text("/sys/devices/system/cpu/online")),
        addresses: addresses(),
    }
}

/// The size of the file system that a path lies on, in bytes; nothing when it cannot be told.
pub fn storage(path: &Path) -> u64 {
    statvfs(path).map_or(0, |found| found.blocks().saturating_mul(found.fragment_size()))
}

/// A small file's text without the space around it; empty when it cannot be read.
fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// The machine's memory in bytes.
fn memory_capacity() -> u64 {
    memory_total(&text("/proc/meminfo"))
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn memory_total(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// How many processors a list such as `0-3,8` names; at least one.
fn count_cpus(online: &str) -> u32 {
    let range = |part: &str| -> Option<u32> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        last.parse::<u32>().ok()?.checked_sub(first.parse().ok()?)?.checked_add(1)
    };
    online.split(',').filter_map(range).sum::<u32>().max(1)
}

/// The capabilities that a container can be given here. What the first process may never have, no runtime has
/// either, and asking for it would make every start fail.
fn capabilities() -> Vec<String> {
    let status = text("/proc/1/status");
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let mask = bounding.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    let last = text("/proc/sys/kernel/cap_last_cap").parse().unwrap_or(KERNEL.len() - 1);
    capability_names(mask.unwrap_or(u64::MAX), last)
}

/// Only with `CAP_SYS_RESOURCE` may a process be protected better than the one that starts it, which has the first
/// process's score unless somebody changed it.
fn least_oom_score_adj(capabilities: &[String]) -> i32 {
    if capabilities.iter().any(|name| name == "CAP_SYS_RESOURCE") {
        return -1000;
    }
    text("/proc/1/oom_score_adj").parse().unwrap_or(0)
}

/// The names of the bits up to the kernel's last.
fn capability_names(mask: u64, last: usize) -> Vec<String> {
    let given = |(bit, _): &(usize, &&str)| *bit <= last && mask >> bit & 1 == 1;
    KERNEL.iter().enumerate().filter(given).map(|(_, name)| format!("CAP_{name}")).collect()
}

/// Whether cgroups count swap. On the unified hierarchy the root has no such file, so a child is asked.
fn swap_accounting(root: &Path, v2: bool) -> bool {
    if !v2 {
        return root.join("memory/memory.memsw.limit_in_bytes").exists();
    }
    fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| entry.path().join("memory.swap.max").exists())
}

/// Walks `/dev` for device nodes. The console stays out: a container has a console of its own.
fn collect_devices(dir: &Path, found: &mut Vec<HostDevice>) {
    let mut entries: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().collect();
    entries.sort_unstable_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, Ok(metadata)) = (entry.path(), entry.metadata()) else {
            continue;
        };
        let kind = metadata.file_type();
        if kind.is_dir() {
            let name = entry.file_name();
            if !DEV_SKIPPED.iter().any(|skipped| name == *skipped) {
                collect_devices(&path, found);
            }
        } else if (kind.is_block_device() || kind.is_char_device())
            && path != Path::new("/dev/console")
        {
            found.extend(device(path, &metadata));
        }
    }
}

/// A device node; `None` where its numbers are beyond the kernel's own.
fn device(path: std::path::PathBuf, metadata: &fs::Metadata) -> Option<HostDevice> {
    let block = metadata.file_type().is_block_device();
    Some(HostDevice {
        path,
        kind: if block { DeviceKind::Block } else { DeviceKind::Character },
        major: u32::try_from(major(metadata.rdev())).ok()?,
        minor: u32::try_from(minor(metadata.rdev())).ok()?,
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
    })
}

/// The processors' `thermal_throttle` directories.
fn thermal_throttle() -> Vec<String> {
    let cpus = fs::read_dir("/sys/devices/system/cpu").into_iter().flatten().flatten();
    let numbered = cpus.filter(|entry| {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("cpu"));
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    });
    let mut paths: Vec<String> = numbered
        .map(|entry| entry.path().join("thermal_throttle"))
        .filter(|path| path.exists())
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    paths.sort_unstable();
    paths
}

/// Rust's name of an architecture as Kubernetes (that is, Go) writes it.
fn kubernetes_arch(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        "loongarch64" => "loong64",
        other => other,
    }
}

/// `PRETTY_NAME` of an os-release file.
fn pretty_name(release: &str) -> String {
    let value = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    value.unwrap_or("Linux").trim_matches(['"', '\'']).to_owned()
}

/// The machine's own addresses, the default route's interface first, IPv4 before IPv6 on each: at most one of a
/// family, as a Node shows them.
pub fn addresses() -> Vec<IpAddr> {
    let default = default_interface(&text("/proc/net/route"));
    let mut found: Vec<(bool, IpAddr)> = getifaddrs()
        .into_iter()
        .flatten()
        .filter(|entry| {
            entry.flags.contains(InterfaceFlags::IFF_UP)
                && !entry.flags.contains(InterfaceFlags::IFF_LOOPBACK)
        })
        .filter_map(|entry| {
            let address = entry.address.as_ref()?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            let ip = v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))?;
            usable(&ip).then_some((Some(&entry.interface_name) != default.as_ref(), ip))
        })
        .collect();
    found.sort_by_key(|(other, ip)| (*other, ip.is_ipv6()));
    let mut chosen: Vec<IpAddr> = Vec::new();
    for (_, ip) in found {
        if !chosen.iter().any(|known| known.is_ipv6() == ip.is_ipv6()) {
            chosen.push(ip);
        }
    }
    chosen
}

/// Whether others can reach an address: not link-local, not unspecified.
fn usable(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => !v4.is_link_local() && *v4 != Ipv4Addr::UNSPECIFIED,
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && !v6.is_loopback(),
    }
}

/// The interface of the default route in `/proc/net/route`, the one with the least metric.
fn default_interface(routes: &str) -> Option<String> {
    let parse = |line: &str| -> Option<(u32, String)> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (name, target, metric, mask) =
            (fields.first()?, fields.get(1)?, fields.get(6)?, fields.get(7)?);
        (*target == "00000000" && *mask == "00000000")
            .then(|| Some((metric.parse().ok()?, (*name).to_owned())))?
    };
    routes.lines().skip(1).filter_map(parse).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        assert_eq!(memory_total("MemTotal:       16302100 kB\nMemFree: 1 kB"), 16_302_100 * 1024);
        assert_eq!(memory_total(""), 0);
        for (online, count) in [("0", 1), ("0-3", 4), ("0-1,4,6-7", 5), ("", 1), ("3-1", 1)] {
            assert_eq!(count_cpus(online), count, "{online}");
        }
        assert_eq!(pretty_name("ID=x\nPRETTY_NAME=\"Debian 12\"\n"), "Debian 12");
        let routes = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
            wlan0\t00000000\t010010AC\t0003\t0\t0\t600\t00000000\t0\n\
            eth0\t00000000\t010010AC\t0003\t0\t0\t100\t00000000\t0\n\
            eth1\t000010AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\n";
        assert_eq!(default_interface(routes).as_deref(), Some("eth0"));
        assert_eq!(default_interface(""), None);
    }

    #[test]
    fn a_runtime_says_whether_it_makes_mounts_read_only_all_the_way_down() {
        assert!(knows_rro(br#"{"ociVersionMin": "1.0.0", "mountOptions": ["ro", "rro"]}"#));
        assert!(!knows_rro(br#"{"mountOptions": ["ro"]}"#));
        assert!(!knows_rro(b"flag provided but not defined"));
    }

    #[test]
    fn versions_of_kernels_are_compared_by_number() {
        for (release, new) in [
            ("6.1.0-18-amd64", true),
            ("4.8", true),
            ("4.10.1", true),
            ("4.4.0-1", false),
            ("3.10.0", false),
            ("", false),
        ] {
            assert_eq!(at_least(release, (4, 8)), new, "{release}");
        }
    }

    #[test]
    fn capability_bits_have_names() {
        assert_eq!(capability_names(0b1, 40), ["CAP_CHOWN"]);
        assert_eq!(capability_names(u64::MAX, 1), ["CAP_CHOWN", "CAP_DAC_OVERRIDE"]);
        assert_eq!(capability_names(u64::MAX, 63).len(), 41);
        assert_eq!(capability_names(1 << 40, 40), ["CAP_CHECKPOINT_RESTORE"]);
    }

    #[test]
    fn this_machine_has_facts() {
        let host = host_facts();
        assert!(host.memory_capacity > 1 << 20);
        assert!(host.capabilities.contains(&"CAP_CHOWN".to_owned()));
        assert!(host.devices.iter().any(|node| node.path == Path::new("/dev/null")
            && (node.kind, node.major, node.minor) == (DeviceKind::Character, 1, 3)));
        assert!(!host.devices.iter().any(|node| node.path.starts_with("/dev/pts")));
        let node = node_facts();
        for fact in [&node.hostname, &node.kernel, &node.boot_id, &node.os_image] {
            assert!(!fact.is_empty(), "{node:?}");
        }
        assert!(node.cpus > 0);
        assert!(node.addresses.iter().all(|ip| !ip.is_loopback()));
    }
}
