//! The OCI runtime spec of one container, as the kubelet and containerd's CRI would make it together.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use oci_spec::runtime::{
    Capabilities, Capability, Linux, LinuxCapabilities, LinuxCpu, LinuxDevice, LinuxDeviceCgroup,
    LinuxDeviceType, LinuxMemory, LinuxNamespace, LinuxNamespaceType, LinuxPids, LinuxResources,
    Process, Root, Spec, User as OciUser,
};

use crate::base::ids::PodUid;

use super::capabilities::capabilities;
use super::command::{argv, working_dir};
use super::environment::{Environment, environment};
use super::fault::StartFault;
use super::holder::shares_processes;
use super::image::ImageConfig;
use super::mounts::{Mounts, Prepared, mounts};
use super::qos::oom_score_adj;
use super::resources::container_resources;
use super::sandbox::{DeviceKind, HostDevice, HostFacts, SandboxFacts};
use super::security::{
    DeviceRule, device_rules, devices, masked_paths, no_new_privileges, privileged,
    read_only_paths, read_only_root,
};
use super::user::User;

/// The version of the runtime spec that every supported runtime reads.
pub const OCI_VERSION: &str = "1.0.2";

/// Containers that carry the same value share one shim process. (The CRI's `sandbox-id` would do the same, but
/// it would also make containerd look for a sandbox that does not exist.)
pub const SHIM_GROUP: &str = "io.containerd.runc.v2.group";

/// Everything around a container that its spec is made from.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The pod's namespace.
    pub namespace: &'a str,
    /// The pod's name.
    pub pod_name: &'a str,
    /// The pod's uid.
    pub pod_uid: &'a PodUid,
    /// The pod.
    pub spec: &'a PodSpec,
    /// The container among the pod's.
    pub container: &'a Container,
    /// What the image says.
    pub image: &'a ImageConfig,
    /// The container's own environment, every value found.
    pub own: &'a Environment,
    /// The image's reference.
    pub image_ref: &'a str,
    /// The process's user.
    pub user: &'a User,
    /// What the pod's containers share.
    pub sandbox: &'a SandboxFacts,
    /// Where each volume is on the host.
    pub volumes: &'a BTreeMap<String, PathBuf>,
    /// What was made for this start alone.
    pub prepared: &'a Prepared,
    /// The host.
    pub host: &'a HostFacts,
    /// The cgroup, in the form that the cgroup driver reads.
    pub cgroups_path: &'a str,
}

/// The OCI spec, or why there is none.
pub fn oci_spec(of: &Surroundings<'_>) -> Result<Spec, StartFault> {
    refuse_unsupported(of)?;
    let mounts = mounts(of)?;
    let mut root = Root::default();
    root.set_path("rootfs".into()).set_readonly(Some(read_only_root(of.container)));
    let mut spec = Spec::default();
    spec.set_version(OCI_VERSION.into())
        .set_root(Some(root))
        .set_process(Some(process(of)?))
        // The host's UTS namespace is shared: a name here would rename the host.
        .set_hostname(None)
        .set_annotations(Some(annotations(of)))
        .set_linux(Some(linux(of, &mounts)))
        .set_mounts(Some(mounts.list));
    Ok(spec)
}

/// What would be left out silently is refused by name; validation refuses it earlier.
fn refuse_unsupported(of: &Surroundings<'_>) -> Result<(), StartFault> {
    if of.spec.host_network != Some(true) {
        return Err(StartFault::config(
            "the pod network is not ready: this agent runs pods with hostNetwork: true only",
        ));
    }
    if shares_processes(of.spec) && of.sandbox.pid.is_none() {
        return Err(StartFault::create("the pod's shared process namespace is not there"));
    }
    Ok(())
}

/// The process: what runs, as whom, with which rights.
fn process(of: &Surroundings<'_>) -> Result<Process, StartFault> {
    let args = argv(of.container, of.image, of.own)?;
    let env = environment(of.container, of.own, &of.image.env, &of.sandbox.hostname)
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mut user = OciUser::default();
    user.set_uid(of.user.uid)
        .set_gid(of.user.gid)
        .set_additional_gids(Some(of.user.additional_gids.clone()));
    let score = oom_score_adj(of.spec, of.container, of.host.memory_capacity);
    let mut process = Process::default();
    process
        .set_terminal((of.container.tty == Some(true)).then_some(true))
        .set_user(user)
        .set_args(Some(args))
        .set_env(Some(env))
        .set_cwd(working_dir(of.container, of.image).into())
        .set_capabilities(Some(process_capabilities(of)))
        // containerd's own limits are inherited.
        .set_rlimits(None)
        .set_no_new_privileges(Some(no_new_privileges(of.container)))
        .set_oom_score_adj(Some(score.max(of.host.least_oom_score_adj)));
    Ok(process)
}

/// The capability sets: added capabilities reach no process of another user than root, as in Kubernetes.
fn process_capabilities(of: &Surroundings<'_>) -> LinuxCapabilities {
    let context = of.container.security_context.as_ref();
    let set: Capabilities =
        capabilities(context, &of.host.capabilities).iter().filter_map(|n| capability(n)).collect();
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(Some(set.clone()))
        .set_effective(Some(set.clone()))
        .set_permitted(Some(set))
        .set_inheritable(None)
        .set_ambient(None);
    sets
}

/// A capability by its kernel name; one that is newer than this program is left out.
fn capability(name: &str) -> Option<Capability> {
    name.strip_prefix("CAP_")?.parse().ok()
}

/// What the runtime and people find beside the container.
fn annotations(of: &Surroundings<'_>) -> HashMap<String, String> {
    [
        (SHIM_GROUP, of.pod_uid.as_str()),
        ("io.kubernetes.cri.container-type", "container"),
        ("io.kubernetes.cri.container-name", &of.container.name),
        ("io.kubernetes.cri.image-name", of.image_ref),
        ("io.kubernetes.cri.sandbox-name", of.pod_name),
        ("io.kubernetes.cri.sandbox-namespace", of.namespace),
        ("io.kubernetes.cri.sandbox-uid", of.pod_uid.as_str()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .chain(scope_timeout(of.spec, of.cgroups_path, 0))
    .collect()
}

/// How long systemd waits for the container's scope when the host goes down: its grace period, as for any other end, but
/// not more than systemd's own 90 seconds. Without it a process that ignores SIGTERM holds the host up that long.
/// `more` seconds are for what goes last.
pub fn scope_timeout(spec: &PodSpec, cgroups_path: &str, more: i64) -> Option<(String, String)> {
    /// systemd's default, in seconds.
    const LONGEST: i64 = 90;
    // A path is cgroupfs' word, `slice:prefix:name` systemd's.
    (!cgroups_path.starts_with('/')).then(|| {
        // Zero would mean for ever.
        let grace = spec.termination_grace_period_seconds.unwrap_or(30).clamp(1, LONGEST);
        let seconds = grace + more;
        let key = "org.systemd.property.TimeoutStopUSec";
        (key.to_owned(), format!("uint64 {}", seconds * 1_000_000))
    })
}

/// The Linux part: isolation and limits.
fn linux(of: &Surroundings<'_>, mounts: &Mounts) -> Linux {
    let nodes = devices(of.container, of.host);
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces(of)))
        .set_resources(Some(resources(of)))
        .set_cgroups_path(Some(of.cgroups_path.into()))
        .set_devices((!nodes.is_empty()).then(|| nodes.iter().map(device).collect()))
        .set_rootfs_propagation(mounts.root_propagation.map(Into::into))
        .set_masked_paths(Some(masked_paths(of.container, of.host)))
        .set_readonly_paths(Some(read_only_paths(of.container)));
    linux
}

/// The namespaces to make or to join; one that is left out is the host's.
fn namespaces(of: &Surroundings<'_>) -> Vec<LinuxNamespace> {
    let entry = |kind, path: Option<&PathBuf>| {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(kind).set_path(path.cloned());
        namespace
    };
    let mut list = vec![entry(LinuxNamespaceType::Mount, None)];
    if of.spec.host_pid != Some(true) {
        list.push(entry(LinuxNamespaceType::Pid, of.sandbox.pid.as_ref()));
    }
    if of.sandbox.ipc.is_some() {
        list.push(entry(LinuxNamespaceType::Ipc, of.sandbox.ipc.as_ref()));
    }
    if of.host.cgroup_v2 && !privileged(of.container) {
        list.push(entry(LinuxNamespaceType::Cgroup, None));
    }
    list
}

/// The container's own cgroup.
fn resources(of: &Surroundings<'_>) -> LinuxResources {
    let mut resources = limits(of.container, of.host);
    resources.set_devices(Some(device_rules(of.container).iter().map(device_rule).collect()));
    resources
}

/// The limits of the container's cgroup, which can change while it runs.
pub fn limits(container: &Container, host: &HostFacts) -> LinuxResources {
    let wanted = container_resources(container);
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(Some(wanted.cpu_shares))
        .set_quota(wanted.cpu_quota)
        .set_period(Some(wanted.cpu_period));
    // Said aloud: where it is left out, systemd sets a limit of its own.
    let mut pids = LinuxPids::default();
    pids.set_limit(-1);
    let mut resources = LinuxResources::default();
    resources.set_devices(None).set_cpu(Some(cpu)).set_pids(Some(pids));
    if let Some(limit) = wanted.memory_limit {
        let mut memory = LinuxMemory::default();
        // Memory and swap together may not exceed the memory: no swap.
        memory.set_limit(Some(limit)).set_swap(host.swap_accounting.then_some(limit));
        resources.set_memory(Some(memory));
        if host.cgroup_v2 {
            // Out of memory ends the container as a whole, not whichever process is the largest.
            let group = ("memory.oom.group".to_owned(), "1".to_owned());
            resources.set_unified(Some([group].into()));
        }
    }
    resources
}

/// The OCI form of a device's kind.
fn device_type(kind: DeviceKind) -> LinuxDeviceType {
    match kind {
        DeviceKind::Block => LinuxDeviceType::B,
        DeviceKind::Character => LinuxDeviceType::C,
    }
}

/// A rule as the runtime takes it.
pub fn device_rule(rule: &DeviceRule) -> LinuxDeviceCgroup {
    let mut entry = LinuxDeviceCgroup::default();
    entry
        .set_allow(rule.allow)
        .set_typ(rule.kind.map(device_type))
        .set_major(rule.major.map(i64::from))
        .set_minor(rule.minor.map(i64::from))
        .set_access(Some("rwm".into()));
    entry
}

/// A device node as the runtime takes it.
fn device(node: &HostDevice) -> LinuxDevice {
    let mut entry = LinuxDevice::default();
    entry
        .set_path(node.path.clone())
        .set_typ(device_type(node.kind))
        .set_major(node.major.into())
        .set_minor(node.minor.into())
        .set_file_mode(Some(node.mode))
        .set_uid(Some(node.uid))
        .set_gid(Some(node.gid));
    entry
}

#[cfg(test)]
pub mod tests;
