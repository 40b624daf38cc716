//! The container without an image that holds the process namespace of a pod: who it is, and its OCI spec.
//!
//! It is as bare as can be, because through `/proc/1/root` the pod's containers may look into it.

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, PodSpec};
use oci_spec::runtime::{
    LinuxCapabilities, LinuxCpu, LinuxNamespace, LinuxNamespaceType, LinuxPids, LinuxResources,
    Process, Root, Spec, User,
};

use crate::base::ids::{ContainerId, PodUid};

use super::mounts::mount;
use super::oci::{OCI_VERSION, SHIM_GROUP, device_rule, scope_timeout};
use super::sandbox::{HostFacts, SandboxFacts};
use super::security::{device_rules, masked_paths, read_only_paths};

/// The user that Kubernetes' own holder runs as: nobody's.
const NOBODY: u32 = 65535;

/// Better protected than any container of the pod, as in Kubernetes.
const OOM_SCORE_ADJ: i32 = -998;

/// How many seconds longer than a container systemd waits for the holder, which goes last.
const LAST: i64 = 5;

/// A program that runs without a root file system of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its files: where they are on the host, and where the program finds them.
    pub files: Vec<(PathBuf, PathBuf)>,
    /// Its command.
    pub args: Vec<String>,
}

impl Program {
    /// Where the program itself is found.
    pub const PATH: &'static str = "/podward";
}

/// Whether the pod's containers share their processes, and so need a holder.
pub fn shares_processes(spec: &PodSpec) -> bool {
    spec.share_process_namespace == Some(true) && spec.host_pid != Some(true)
}

/// containerd's id of a pod's holder. No container can have this name.
pub fn holder_id(pod: &PodUid) -> ContainerId {
    ContainerId::of(pod, "/hold", 0)
}

/// What the holder's spec is made from.
#[derive(Clone, Copy, Debug)]
pub struct HolderPlan<'a> {
    /// The pod's uid.
    pub pod: &'a PodUid,
    /// The pod.
    pub spec: &'a PodSpec,
    /// An empty directory of the pod's.
    pub root: &'a Path,
    /// What it runs.
    pub program: &'a Program,
    /// What the pod's containers share besides.
    pub sandbox: &'a SandboxFacts,
    /// The host.
    pub host: &'a HostFacts,
    /// Its cgroup, in the form that the cgroup driver reads.
    pub cgroups_path: &'a str,
}

/// The holder's OCI spec: its own processes and mounts, no rights, and nothing to see.
pub fn holder_spec(of: &HolderPlan<'_>) -> Spec {
    let mut root = Root::default();
    root.set_path(of.root.into()).set_readonly(Some(true));
    let quiet = ["nosuid", "noexec", "nodev"];
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &quiet),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "mode=755", "size=64k"]),
    ];
    let options = ["bind", "ro", "nosuid", "nodev", "rprivate"];
    mounts.extend(
        of.program
            .files
            .iter()
            .map(|(host, inside)| mount(&inside.to_string_lossy(), "bind", host, &options)),
    );
    let mut spec = Spec::default();
    spec.set_version(OCI_VERSION.into())
        .set_root(Some(root))
        .set_process(Some(process(of)))
        .set_hostname(None)
        .set_annotations(Some(
            std::iter::once((SHIM_GROUP.to_owned(), of.pod.to_string()))
                .chain(scope_timeout(of.spec, of.cgroups_path, LAST))
                .collect(),
        ))
        .set_mounts(Some(mounts));
    if let Some(linux) = spec.linux_mut() {
        // What an ordinary container may not see or use, this one may not either.
        let ordinary = Container::default();
        linux
            .set_namespaces(Some(namespaces(of)))
            .set_resources(Some(resources(&ordinary)))
            .set_cgroups_path(Some(of.cgroups_path.into()))
            .set_devices(None)
            .set_masked_paths(Some(masked_paths(&ordinary, of.host)))
            .set_readonly_paths(Some(read_only_paths(&ordinary)));
    }
    spec
}

/// The process: nobody, with no rights at all.
fn process(of: &HolderPlan<'_>) -> Process {
    let mut user = User::default();
    user.set_uid(NOBODY).set_gid(NOBODY).set_additional_gids(None);
    let mut none = LinuxCapabilities::default();
    none.set_bounding(None)
        .set_effective(None)
        .set_permitted(None)
        .set_inheritable(None)
        .set_ambient(None);
    let mut process = Process::default();
    process
        .set_user(user)
        .set_args(Some(of.program.args.clone()))
        .set_env(None)
        .set_cwd("/".into())
        .set_capabilities(Some(none))
        .set_rlimits(None)
        .set_no_new_privileges(Some(true))
        .set_oom_score_adj(Some(OOM_SCORE_ADJ.max(of.host.least_oom_score_adj)));
    process
}

/// Its namespaces: that of processes is the one that the containers join.
fn namespaces(of: &HolderPlan<'_>) -> Vec<LinuxNamespace> {
    let entry = |kind, path: Option<&PathBuf>| {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(kind).set_path(path.cloned());
        namespace
    };
    let own = [LinuxNamespaceType::Mount, LinuxNamespaceType::Pid];
    let mut list: Vec<_> = own.into_iter().map(|kind| entry(kind, None)).collect();
    if of.sandbox.ipc.is_some() {
        list.push(entry(LinuxNamespaceType::Ipc, of.sandbox.ipc.as_ref()));
    }
    if of.host.cgroup_v2 {
        list.push(entry(LinuxNamespaceType::Cgroup, None));
    }
    list
}

/// Its cgroup: the least share, and no limits beside the pod's.
fn resources(ordinary: &Container) -> LinuxResources {
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(Some(2));
    let mut pids = LinuxPids::default();
    pids.set_limit(-1);
    let mut resources = LinuxResources::default();
    resources
        .set_devices(Some(device_rules(ordinary).iter().map(device_rule).collect()))
        .set_cpu(Some(cpu))
        .set_pids(Some(pids));
    resources
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_has_no_rights_and_shows_nothing_of_the_host() {
        let program = Program {
            files: vec![("/usr/bin/podward".into(), Program::PATH.into())],
            args: vec![Program::PATH.into(), "hold".into()],
        };
        let (pod, spec) = (PodUid::new("u"), PodSpec::default());
        let made = holder_spec(&HolderPlan {
            pod: &pod,
            spec: &spec,
            root: Path::new("/run/p/u/holder"),
            program: &program,
            sandbox: &SandboxFacts { ipc: Some("/run/p/u/ipc".into()), ..SandboxFacts::default() },
            host: &HostFacts { least_oom_score_adj: -1000, ..HostFacts::default() },
            cgroups_path: "podward-u.slice:podward:h",
        });
        let json = serde_json::to_value(&made).unwrap();
        assert_eq!(json["root"]["readonly"], true);
        assert_eq!(json["process"]["user"]["uid"], 65535);
        assert_eq!(json["process"]["noNewPrivileges"], true);
        assert_eq!(json["process"]["oomScoreAdj"], -998);
        for set in ["bounding", "effective", "permitted"] {
            assert!(json["process"]["capabilities"][set].as_array().is_none_or(Vec::is_empty));
        }
        let sources: Vec<_> =
            json["mounts"].as_array().unwrap().iter().map(|m| &m["source"]).collect();
        assert_eq!(sources, ["proc", "tmpfs", "/usr/bin/podward"]);
        let pid =
            json["linux"]["namespaces"].as_array().unwrap().iter().find(|n| n["type"] == "pid");
        assert_eq!(pid.unwrap().get("path"), None, "a namespace of its own");
        assert_eq!(json["annotations"]["org.systemd.property.TimeoutStopUSec"], "uint64 35000000");
        assert_eq!(json["annotations"]["io.containerd.runc.v2.group"], "u");
    }

    #[test]
    fn no_container_has_the_holders_id() {
        let pod = PodUid::new("u");
        assert_ne!(holder_id(&pod), ContainerId::of(&pod, "hold", 0));
    }
}
