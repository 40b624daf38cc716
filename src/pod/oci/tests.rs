//! Tables for the OCI spec, read as the JSON that runtimes read.

use k8s_openapi::api::core::v1::{SecurityContext, VolumeMount};
use serde_json::{Value, json};

use crate::pod::capabilities::{KERNEL, tests::host as host_capabilities};
use crate::pod::environment::tests::own;
use crate::pod::resources::tests::container;

use super::*;

/// A pod with one container and all that surrounds it; tests change what they look at.
pub struct Fixture {
    pub spec: PodSpec,
    pub image: ImageConfig,
    pub user: User,
    pub sandbox: SandboxFacts,
    pub volumes: BTreeMap<String, PathBuf>,
    pub prepared: Prepared,
    pub host: HostFacts,
    pub cgroups_path: String,
}

impl Fixture {
    /// A host-network pod whose container has the given amounts.
    pub fn new(amounts: &[(&str, &str, &str)]) -> Self {
        let mut main = container("main", amounts);
        main.command = Some(vec!["/bin/true".into()]);
        Self {
            spec: PodSpec {
                host_network: Some(true),
                containers: vec![main],
                ..PodSpec::default()
            },
            image: ImageConfig::default(),
            user: User { uid: 0, gid: 0, additional_gids: vec![0, 10] },
            sandbox: SandboxFacts {
                ipc: Some("/run/p/ipc".into()),
                pid: None,
                shm: "/run/p/shm".into(),
                hosts: "/run/p/hosts".into(),
                hostname_file: "/run/p/hostname".into(),
                resolv_conf: "/run/p/resolv.conf".into(),
                hostname: "node-1".into(),
            },
            volumes: BTreeMap::new(),
            prepared: Prepared::default(),
            host: HostFacts {
                least_oom_score_adj: -1000,
                cgroup_v2: true,
                swap_accounting: true,
                memory_capacity: 4 << 30,
                recursive_read_only: false,
                capabilities: host_capabilities(),
                devices: vec![HostDevice {
                    path: "/dev/kvm".into(),
                    kind: DeviceKind::Character,
                    major: 10,
                    minor: 232,
                    mode: 0o660,
                    uid: 0,
                    gid: 104,
                }],
                thermal_throttle: vec!["/sys/devices/system/cpu/cpu0/thermal_throttle".into()],
                ..HostFacts::default()
            },
            cgroups_path: "/podward/podu/c".into(),
        }
    }

    /// Gives the container a volume mount; the volume lies at `/vol/<name>`.
    pub fn mount(&mut self, name: &str, path: &str, read_only: bool, propagation: &str) {
        self.volumes.insert(name.into(), format!("/vol/{name}").into());
        self.spec.containers[0].volume_mounts.get_or_insert_default().push(VolumeMount {
            name: name.into(),
            mount_path: path.into(),
            read_only: Some(read_only),
            mount_propagation: (!propagation.is_empty()).then(|| propagation.into()),
            ..VolumeMount::default()
        });
    }

    /// The container's security context.
    pub fn security(&mut self) -> &mut SecurityContext {
        self.spec.containers[0].security_context.get_or_insert_default()
    }

    /// The spec.
    pub fn make(&self) -> Result<Spec, StartFault> {
        let own = own(&self.spec.containers[0])?;
        oci_spec(&Surroundings {
            namespace: "default",
            pod_name: "pod-x",
            pod_uid: &PodUid::new("u"),
            spec: &self.spec,
            container: &self.spec.containers[0],
            image: &self.image,
            own: &own,
            image_ref: "docker.io/library/busybox:latest",
            user: &self.user,
            sandbox: &self.sandbox,
            volumes: &self.volumes,
            prepared: &self.prepared,
            host: &self.host,
            cgroups_path: &self.cgroups_path,
        })
    }

    /// The spec as JSON.
    pub fn json(&self) -> Value {
        serde_json::to_value(self.make().unwrap()).unwrap()
    }
}

/// The capability list at `set`, sorted.
fn sorted(spec: &Value, set: &str) -> Vec<String> {
    let list = spec["process"]["capabilities"][set].as_array().cloned().unwrap_or_default();
    let mut names: Vec<String> =
        list.iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// The namespaces as `type` or `type=path`.
fn namespace_list(spec: &Value) -> Vec<String> {
    spec["linux"]["namespaces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let kind = entry["type"].as_str().unwrap();
            entry["path"].as_str().map_or(kind.into(), |path| format!("{kind}={path}"))
        })
        .collect()
}

#[test]
fn a_plain_container_has_the_defaults_and_nothing_more() {
    let mut fixture = Fixture::new(&[]);
    fixture.image.working_dir = "/srv".into();
    fixture.image.env = vec!["LANG=C".into()];
    let spec = fixture.json();
    assert_eq!(spec["ociVersion"], "1.0.2");
    assert_eq!(spec["root"], json!({"path": "rootfs", "readonly": false}));
    assert_eq!(spec.get("hostname"), None);
    assert_eq!(spec.get("hooks"), None);
    let process = &spec["process"];
    assert_eq!(process["user"], json!({"uid": 0, "gid": 0, "additionalGids": [0, 10]}));
    assert_eq!(process["args"], json!(["/bin/true"]));
    assert_eq!(process["cwd"], "/srv");
    assert_eq!(process["env"][1], "HOSTNAME=node-1");
    assert_eq!(process["noNewPrivileges"], false);
    assert_eq!(process["oomScoreAdj"], 1000);
    assert_eq!(process.get("rlimits"), None);
    assert_eq!(process.get("terminal"), None);
    for set in ["bounding", "effective", "permitted"] {
        assert_eq!(sorted(&spec, set).len(), 14, "{set}");
    }
    assert_eq!(process["capabilities"].get("inheritable"), None);
    assert_eq!(process["capabilities"].get("ambient"), None);
    let linux = &spec["linux"];
    assert_eq!(linux["cgroupsPath"], "/podward/podu/c");
    for absent in ["devices", "seccomp", "rootfsPropagation", "sysctl", "uidMappings"] {
        assert_eq!(linux.get(absent), None, "{absent}");
    }
    assert_eq!(linux["maskedPaths"].as_array().unwrap().len(), 13);
    assert_eq!(linux["readonlyPaths"].as_array().unwrap().len(), 5);
    let rules = linux["resources"]["devices"].as_array().unwrap();
    assert_eq!(rules[0], json!({"allow": false, "access": "rwm"}));
    assert_eq!(
        rules[1],
        json!({"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"})
    );
    assert_eq!(rules.len(), 10);
}

#[test]
fn annotations_group_the_shim_and_never_name_a_cri_sandbox() {
    let annotations = &Fixture::new(&[]).json()["annotations"];
    assert_eq!(annotations["io.containerd.runc.v2.group"], "u");
    assert_eq!(annotations["io.kubernetes.cri.container-name"], "main");
    assert_eq!(annotations["io.kubernetes.cri.sandbox-uid"], "u");
    assert_eq!(annotations.get("io.kubernetes.cri.sandbox-id"), None);
}

#[test]
fn systemd_gives_a_scope_the_pods_grace_period_when_the_host_goes_down() {
    let mut fixture = Fixture::new(&[]);
    let mut timeout = |path: &str, grace: Option<i64>| {
        fixture.cgroups_path = path.into();
        fixture.spec.termination_grace_period_seconds = grace;
        fixture.json()["annotations"]["org.systemd.property.TimeoutStopUSec"].clone()
    };
    assert_eq!(timeout("/podward/podu/c", Some(5)), Value::Null);
    for (grace, said) in [(Some(5), 5), (None, 30), (Some(0), 1), (Some(3600), 90)] {
        let expected = format!("uint64 {said}000000");
        assert_eq!(timeout("podward-podu.slice:podward:c", grace), expected, "{grace:?}");
    }
}

#[test]
fn limits_reach_the_containers_cgroup() {
    let limited = &[("cpu", "100m", "500m"), ("memory", "64Mi", "64Mi")][..];
    let bytes = 64 << 20;
    let cpu = json!({"shares": 102, "quota": 50000, "period": 100_000});
    let unlimited_cpu = json!({"shares": 2, "period": 100_000});
    for (amounts, v2, swap, cpu, memory, unified) in [
        (&[][..], true, true, unlimited_cpu, Value::Null, Value::Null),
        (
            limited,
            true,
            true,
            cpu.clone(),
            json!({"limit": bytes, "swap": bytes}),
            json!({"memory.oom.group": "1"}),
        ),
        (limited, false, true, cpu.clone(), json!({"limit": bytes, "swap": bytes}), Value::Null),
        (limited, false, false, cpu, json!({"limit": bytes}), Value::Null),
    ] {
        let mut fixture = Fixture::new(amounts);
        (fixture.host.cgroup_v2, fixture.host.swap_accounting) = (v2, swap);
        let resources = &fixture.json()["linux"]["resources"];
        assert_eq!(resources["cpu"], cpu);
        assert_eq!(resources["memory"], memory);
        assert_eq!(resources["unified"], unified);
        assert_eq!(resources["pids"], json!({"limit": -1}));
        assert_eq!(resources.get("hugepageLimits"), None);
    }
}

#[test]
fn namespaces_follow_what_the_pod_shares_with_the_host() {
    for (host_pid, ipc, v2, privileged, expected) in [
        (false, true, false, false, &["mount", "pid", "ipc=/run/p/ipc"][..]),
        (false, true, true, false, &["mount", "pid", "ipc=/run/p/ipc", "cgroup"]),
        (false, true, true, true, &["mount", "pid", "ipc=/run/p/ipc"]),
        (true, true, false, false, &["mount", "ipc=/run/p/ipc"]),
        (true, false, false, false, &["mount"]),
    ] {
        let mut fixture = Fixture::new(&[]);
        fixture.spec.host_pid = Some(host_pid);
        fixture.host.cgroup_v2 = v2;
        fixture.security().privileged = Some(privileged);
        if !ipc {
            fixture.sandbox.ipc = None;
        }
        assert_eq!(namespace_list(&fixture.json()), expected);
    }
}

#[test]
fn a_privileged_container_is_hardly_contained() {
    let mut fixture = Fixture::new(&[]);
    fixture.security().privileged = Some(true);
    let spec = fixture.json();
    assert_eq!(sorted(&spec, "bounding").len(), host_capabilities().len());
    let linux = &spec["linux"];
    assert_eq!(linux["resources"]["devices"], json!([{"allow": true, "access": "rwm"}]));
    assert_eq!(
        linux["devices"],
        json!([{"path": "/dev/kvm", "type": "c", "major": 10, "minor": 232, "fileMode": 0o660,
            "uid": 0, "gid": 104}])
    );
    assert_eq!((&linux["maskedPaths"], &linux["readonlyPaths"]), (&json!([]), &json!([])));
}

#[test]
fn the_security_context_shapes_the_process() {
    let mut fixture = Fixture::new(&[]);
    *fixture.security() = SecurityContext {
        read_only_root_filesystem: Some(true),
        allow_privilege_escalation: Some(false),
        ..SecurityContext::default()
    };
    let spec = fixture.json();
    assert_eq!(spec["root"]["readonly"], true);
    assert_eq!(spec["process"]["noNewPrivileges"], true);
    fixture.security().allow_privilege_escalation = Some(true);
    assert_eq!(fixture.json()["process"]["noNewPrivileges"], false);
}

#[test]
fn every_capability_of_the_kernel_has_a_name_in_the_spec() {
    let mut fixture = Fixture::new(&[]);
    fixture.host.capabilities = KERNEL.iter().map(|name| format!("CAP_{name}")).collect();
    fixture.security().privileged = Some(true);
    let mut expected = fixture.host.capabilities.clone();
    expected.sort();
    assert_eq!(sorted(&fixture.json(), "bounding"), expected);
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    let refused = |change: fn(&mut Fixture)| {
        let mut fixture = Fixture::new(&[]);
        change(&mut fixture);
        let fault = fixture.make().unwrap_err();
        (fault.reason, fault.message)
    };
    let (reason, message) = refused(|f| f.spec.host_network = None);
    assert_eq!(reason, "CreateContainerConfigError");
    assert!(message.contains("hostNetwork"), "{message}");
    let (reason, _) = refused(|f| f.spec.containers[0].command = None);
    assert_eq!(reason, "CreateContainerError");
}
