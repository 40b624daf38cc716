//! Sandboxes on the real kernel.

use k8s_openapi::api::core::v1::HostAlias;
use nix::sys::statvfs::{FsFlags, statvfs};

use crate::host::mounts::table;
use crate::host::tests::as_root;

use super::*;

/// A directory with an `etc` of the host's and room for a sandbox.
struct Host {
    dir: tempfile::TempDir,
    spec: PodSpec,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
        fs::write(dir.path().join("etc/resolv.conf"), "nameserver 10.0.0.1 \n").unwrap();
        Self { dir, spec: PodSpec { host_network: Some(true), ..PodSpec::default() } }
    }

    fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run/pods/u")
    }

    fn create(&self) -> Result<SandboxFacts, SandboxError> {
        create(&SandboxPlan {
            spec: &self.spec,
            run_dir: &self.run_dir(),
            node_hostname: "node-1",
            host_etc: &self.dir.path().join("etc"),
        })
    }

    fn intact(&self) -> bool {
        intact(&self.run_dir(), &self.spec)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = remove(&self.run_dir());
    }
}

#[test]
fn a_sandbox_is_made_once_and_removed_without_a_trace() {
    if !as_root("a_sandbox_is_made_once_and_removed_without_a_trace") {
        return;
    }
    let host = Host::new();
    assert!(!host.intact());
    let facts = host.create().unwrap();
    assert!(host.intact());
    let ipc = facts.ipc.clone().unwrap();
    let identity = fs::metadata(&ipc).unwrap().ino();
    assert_ne!(identity, fs::metadata("/proc/self/ns/ipc").unwrap().ino());
    fs::write(facts.shm.join("segment"), "x").unwrap();
    assert_eq!(fs::metadata(&facts.shm).unwrap().mode() & 0o7777, 0o1777);
    let shm = statvfs(&facts.shm).unwrap();
    assert_eq!(shm.blocks() * shm.fragment_size(), 64 << 20);
    assert!(shm.flags().contains(FsFlags::ST_NOSUID | FsFlags::ST_NODEV | FsFlags::ST_NOEXEC));

    assert_eq!(host.create().unwrap(), facts);
    assert_eq!(fs::metadata(&ipc).unwrap().ino(), identity);
    assert!(facts.shm.join("segment").exists());

    remove(&host.run_dir()).unwrap();
    assert!(!host.run_dir().exists() && !host.intact());
    let left = table().unwrap();
    assert!(!left.iter().any(|entry| entry.point.starts_with(host.dir.path())), "{left:?}");
    remove(&host.run_dir()).unwrap();
}

#[test]
fn a_sandbox_that_was_wiped_or_half_made_is_seen_and_finished() {
    if !as_root("a_sandbox_that_was_wiped_or_half_made_is_seen_and_finished") {
        return;
    }
    let host = Host::new();
    let facts = host.create().unwrap();
    let ipc = facts.ipc.clone().unwrap();
    for break_it in [
        &|| nix::mount::umount(&ipc).unwrap() as (),
        &|| nix::mount::umount(&facts.shm).unwrap(),
        &|| fs::remove_file(&facts.hosts).unwrap(),
        &|| fs::remove_file(&facts.resolv_conf).unwrap(),
    ] as [&dyn Fn(); 4]
    {
        break_it();
        assert!(!host.intact());
        assert_eq!(host.create().unwrap(), facts);
        assert!(host.intact());
    }
}

#[test]
fn files_say_what_the_kubelet_would_say() {
    if !as_root("files_say_what_the_kubelet_would_say") {
        return;
    }
    let mut host = Host::new();
    host.spec.host_aliases = Some(vec![HostAlias {
        ip: "10.1.2.3".into(),
        hostnames: Some(vec!["a".into(), "b".into()]),
    }]);
    let facts = host.create().unwrap();
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    assert_eq!(
        read(&facts.hosts),
        "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n\n\
         # Entries added by HostAliases.\n10.1.2.3\ta\tb\n"
    );
    assert_eq!(read(&facts.hostname_file), "node-1\n");
    assert_eq!(read(&facts.resolv_conf), "nameserver 10.0.0.1\n");
    assert_eq!(fs::metadata(&facts.hosts).unwrap().mode() & 0o7777, 0o644);
    fs::write(host.dir.path().join("etc/hosts"), "127.0.0.1 changed\n").unwrap();
    host.create().unwrap();
    assert!(read(&facts.hosts).contains("changed"));
}

#[test]
fn a_pod_that_shares_the_hosts_ipc_needs_no_mounts() {
    let mut host = Host::new();
    host.spec.host_ipc = Some(true);
    let facts = host.create().unwrap();
    assert_eq!((facts.ipc, facts.shm.as_path()), (None, Path::new("/dev/shm")));
    assert!(host.intact());
    assert!(!host.run_dir().join("shm").exists());
}

#[test]
fn a_pod_with_a_network_of_its_own_is_refused() {
    let mut host = Host::new();
    host.spec.host_network = None;
    assert!(matches!(host.create(), Err(SandboxError::NetworkNotReady)));
    assert!(!host.run_dir().exists());
}
