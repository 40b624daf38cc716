//! A pod's content made by this floor and floor 3, run by a real runc, and looked at from inside.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EnvVar, HostPathVolumeSource, PodSpec, ResourceRequirements,
    SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::base::ids::{ContainerId, PodUid};
use crate::host::cgroup::{Cgroups, DriverWish};
use crate::host::facts::host_facts;
use crate::host::mounts::table;
use crate::host::sandbox::{SandboxPlan, create};
use crate::host::users::read_accounts;
use crate::host::{removal, volumes};
use crate::pod::environment::tests::own;
use crate::pod::image::{ImageConfig, MountPoint};
use crate::pod::mounts::Prepared;
use crate::pod::oci::{Surroundings, oci_spec};
use crate::pod::payload::Payload;
use crate::pod::resources::pod_resources;
use crate::pod::user::{resolve_user, user_request};

use super::{as_root, skip};

/// What the container tells of itself, as `name=value` lines. (It is a template: `$$$$` reaches the shell as `$$`.)
const SCRIPT: &str = r#"
echo "id=$(id -u) $(id -g) $(id -G)"
echo "cwd=$(pwd)"
echo "env=$GREETING|$EXPANDED|$LANG|$HOSTNAME"
echo "args=$*"
echo "hostname=$(hostname)"
echo "oom=$(cat /proc/self/oom_score_adj)"
echo "pid=$$$$"
grep -E '^(CapBnd|CapEff|CapAmb|CapInh|NoNewPrivs):' /proc/self/status | tr -d '\t ' | tr ':' '='
echo "ipc=$(readlink /proc/self/ns/ipc)"
echo "net=$(readlink /proc/self/ns/net)"
echo "keys=$(cat /proc/keys 2>/dev/null | wc -l)"
echo "sysctl=$(echo x > /proc/sys/kernel/domainname 2>/dev/null && echo rw || echo ro)"
echo "root=$(echo x 2>/dev/null > /new && echo rw || echo ro)"
echo "data=$(cat /data/file)-$(echo x 2>/dev/null > /data/new && echo rw || echo ro)"
echo "scratch=$(echo x 2>/dev/null > /scratch/new && echo rw || echo ro)"
echo "shm=$(echo x 2>/dev/null > /dev/shm/new && echo rw || echo ro)"
echo "hosts=$(head -n 1 /etc/hosts)"
echo "etc=$(cat /etc/hostname)"
echo "null=$(echo x > /dev/null && echo works)"
echo "memory=$(cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max 2>/dev/null)"
echo "devices=$(test -e /dev/kmsg && echo host || echo few)"
grep -E ' (/proc|/sys|/dev/shm|/sys/fs/cgroup) ' /proc/mounts | while read -r _ point kind options _; do
  echo "mount $point=$kind ${options%%,*}"
done
"#;

/// A pod on this machine, with everything in one directory.
struct Pod {
    dir: tempfile::TempDir,
    uid: PodUid,
    cgroups: Cgroups,
    spec: PodSpec,
}

impl Pod {
    fn new(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let parent = format!("/podward-runc-{}-{name}", std::process::id());
        let rootfs = dir.path().join("bundle/rootfs");
        for sub in ["bin", "etc", "proc", "sys", "dev", "work"] {
            fs::create_dir_all(rootfs.join(sub)).unwrap();
        }
        fs::copy("/bin/busybox", rootfs.join("bin/busybox")).unwrap();
        for applet in
            ["sh", "cat", "id", "hostname", "readlink", "grep", "tr", "wc", "head", "pwd", "test"]
        {
            symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
        }
        fs::write(rootfs.join("etc/passwd"), "root:x:0:0::/:/bin/sh\napp:x:1000:1001::/:/bin/sh\n")
            .unwrap();
        fs::write(rootfs.join("etc/group"), "root:x:0:\nwheel:x:10:root,app\n").unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        fs::write(dir.path().join("data/file"), "content").unwrap();
        let spec = pod_spec(&dir.path().join("data"));
        let cgroups = Cgroups::detect(DriverWish::Cgroupfs, &parent).unwrap();
        Self { dir, uid: PodUid::new("6f3a-11"), cgroups, spec }
    }

    fn security(&mut self) -> &mut SecurityContext {
        self.spec.containers[0].security_context.get_or_insert_default()
    }

    /// Runs the container and reads what it told.
    fn run(&self) -> BTreeMap<String, String> {
        let bundle = self.dir.path().join("bundle");
        let container = ContainerId::of(&self.uid, "main", 0);
        self.write_spec(&bundle, &container);
        let output = Command::new("runc")
            .arg("--root")
            .arg(self.dir.path().join("runc"))
            .args(["run", "--bundle"])
            .arg(&bundle)
            .arg(container.as_str())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}\n{told}");
        told.lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// Prepares everything and writes the bundle's `config.json`.
    fn write_spec(&self, bundle: &Path, id: &ContainerId) {
        let container = &self.spec.containers[0];
        let image = ImageConfig {
            env: vec!["LANG=C".into(), "PATH=/bin".into()],
            working_dir: "/work".into(),
            ..ImageConfig::default()
        };
        let root = MountPoint {
            kind: "bind".into(),
            source: bundle.join("rootfs").display().to_string(),
            ..MountPoint::default()
        };
        let (passwd, group) = read_accounts(&[root]).unwrap();
        let request = user_request(&self.spec, container, &image).unwrap();
        let sandbox = create(&SandboxPlan {
            spec: &self.spec,
            run_dir: &self.dir.path().join("run"),
            node_hostname: "node-1",
            host_etc: Path::new("/etc"),
        });
        self.cgroups.create_pod(&self.uid, &pod_resources(&self.spec)).unwrap();
        let spec = oci_spec(&Surroundings {
            namespace: "default",
            pod_name: "pod",
            pod_uid: &self.uid,
            spec: &self.spec,
            container,
            image: &image,
            own: &own(container).unwrap(),
            image_ref: "busybox",
            user: &resolve_user(&request, &passwd, &group).unwrap(),
            sandbox: &sandbox.unwrap(),
            volumes: &volumes::prepare(&self.spec, &self.pod_dir(), &|_| Ok(Payload::new()))
                .unwrap(),
            prepared: &Prepared::default(),
            host: &host_facts(),
            cgroups_path: &self.cgroups.container_path(&self.uid, id),
        });
        let json = serde_json::to_vec(&spec.unwrap()).unwrap();
        fs::write(bundle.join("config.json"), json).unwrap();
    }

    fn pod_dir(&self) -> PathBuf {
        self.dir.path().join("pod")
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.cgroups.kill_pod(&self.uid);
        let _ = self.cgroups.remove_pod(&self.uid);
        self.cgroups.remove_parent();
        for sub in ["run", "pod"] {
            let _ = removal::remove_tree(&self.dir.path().join(sub));
        }
    }
}

/// A pod with volumes, limits and variables.
fn pod_spec(data: &Path) -> PodSpec {
    let volume = |name: &str, path: &str, read_only| VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        read_only: Some(read_only),
        ..VolumeMount::default()
    };
    let variable = |name: &str, value: &str| EnvVar {
        name: name.into(),
        value: Some(value.into()),
        value_from: None,
    };
    PodSpec {
        host_network: Some(true),
        containers: vec![Container {
            name: "main".into(),
            command: Some(["/bin/sh", "-c", SCRIPT, "sh"].map(Into::into).into()),
            args: Some(vec!["$(GREETING)".into(), "$$(GREETING)".into()]),
            env: Some(vec![variable("GREETING", "hi"), variable("EXPANDED", "$(GREETING)!")]),
            resources: Some(ResourceRequirements {
                requests: Some([("cpu".to_owned(), Quantity("100m".into()))].into()),
                limits: Some([("memory".to_owned(), Quantity("64Mi".into()))].into()),
                claims: None,
            }),
            volume_mounts: Some(vec![
                volume("scratch", "/scratch", false),
                volume("data", "/data", true),
            ]),
            ..Container::default()
        }],
        volumes: Some(vec![
            Volume {
                name: "data".into(),
                host_path: Some(HostPathVolumeSource {
                    path: data.display().to_string(),
                    type_: None,
                }),
                ..Volume::default()
            },
            Volume { name: "scratch".into(), ..Volume::default() },
        ]),
        ..PodSpec::default()
    }
}

/// Whether the tools are there.
fn ready(test: &str) -> bool {
    let tools = ["/usr/sbin/runc", "/usr/bin/runc"].iter().any(|path| Path::new(path).exists())
        && Path::new("/bin/busybox").exists();
    if !tools {
        skip(test, "runc and a static /bin/busybox");
    }
    tools && as_root(test)
}

/// Compares what a container told with what it should have told.
fn check(told: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(told.get(*name).map(String::as_str), Some(*value), "{name} in {told:#?}");
    }
}

/// The kernel's view of a set of capabilities, as far as this machine has them.
fn mask(bits: u64) -> String {
    let status = fs::read_to_string("/proc/1/status").unwrap();
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap().trim();
    format!("{:016x}", bits & u64::from_str_radix(bounding, 16).unwrap())
}

#[test]
fn a_plain_container_finds_what_kubernetes_promises() {
    if !ready("a_plain_container_finds_what_kubernetes_promises") {
        return;
    }
    let pod = Pod::new("plain");
    let told = pod.run();
    let default = mask(0xa804_25fb);
    let ipc = fs::metadata(pod.dir.path().join("run/ipc")).unwrap().ino();
    let net = fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    check(
        &told,
        &[
            ("id", "0 0 0 10"),
            ("cwd", "/work"),
            ("env", "hi|hi!|C|node-1"),
            ("args", "hi $(GREETING)"),
            ("hostname", name.trim()),
            ("pid", "1"),
            ("CapBnd", &default),
            ("CapEff", &default),
            ("CapAmb", "0000000000000000"),
            ("CapInh", "0000000000000000"),
            ("NoNewPrivs", "0"),
            ("ipc", &format!("ipc:[{ipc}]")),
            ("net", &net),
            ("keys", "0"),
            ("sysctl", "ro"),
            ("root", "rw"),
            ("data", "content-ro"),
            ("scratch", "rw"),
            ("shm", "rw"),
            ("hosts", "# Kubernetes-managed hosts file (host network)."),
            ("etc", "node-1"),
            ("null", "works"),
            ("memory", "67108864"),
            ("devices", "few"),
            ("mount /proc", "proc rw"),
            ("mount /sys", "sysfs ro"),
            ("mount /dev/shm", "tmpfs rw"),
        ],
    );
    let score: i32 = told["oom"].parse().unwrap();
    assert!((900..1000).contains(&score), "{score}");
    assert!(!pod.dir.path().join("data/new").exists());
}

#[test]
fn a_restricted_user_cannot_write_or_gain_anything() {
    if !ready("a_restricted_user_cannot_write_or_gain_anything") {
        return;
    }
    let mut pod = Pod::new("restricted");
    *pod.security() = SecurityContext {
        run_as_user: Some(1000),
        read_only_root_filesystem: Some(true),
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            add: Some(vec!["NET_BIND_SERVICE".into()]),
            drop: Some(vec!["ALL".into()]),
        }),
        ..SecurityContext::default()
    };
    check(
        &pod.run(),
        &[
            ("id", "1000 1001 1001 10"),
            ("CapBnd", &mask(1 << 10)),
            ("CapEff", "0000000000000000"),
            ("NoNewPrivs", "1"),
            ("root", "ro"),
            ("scratch", "rw"),
            ("shm", "rw"),
        ],
    );
}

#[test]
fn a_privileged_container_on_the_hosts_namespaces_sees_the_host() {
    if !ready("a_privileged_container_on_the_hosts_namespaces_sees_the_host") {
        return;
    }
    let mut pod = Pod::new("privileged");
    pod.security().privileged = Some(true);
    pod.spec.host_pid = Some(true);
    pod.spec.host_ipc = Some(true);
    // Writing here would rename the host's domain, which this container may do.
    let script = SCRIPT.replace("echo x > /proc/sys/kernel/domainname", "test -w /proc/sys/kernel");
    let script = script.replace("echo x 2>/dev/null > /dev/shm/new", "test -w /dev/shm");
    pod.spec.containers[0].command.as_mut().unwrap()[2] = script;
    let told = pod.run();
    let ipc = fs::read_link("/proc/self/ns/ipc").unwrap().display().to_string();
    check(
        &told,
        &[
            ("CapEff", &mask(u64::MAX)),
            ("ipc", &ipc),
            ("devices", "host"),
            ("mount /sys", "sysfs rw"),
            ("shm", "rw"),
        ],
    );
    assert_ne!(told["pid"], "1");
    let dir = pod.dir.path().to_owned();
    drop(pod);
    assert!(!dir.exists());
    assert!(!table().unwrap().iter().any(|entry| entry.point.starts_with(&dir)));
}
