//! A private containerd per test, and what is needed to put it away without a trace.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use containerd_client::services::v1::{
    DeleteContainerRequest, containers_client::ContainersClient,
};
use podward::testing::{
    ContainerId,
    containerd::{self, Containerd, NewContainer, Settings},
    logger::{LogTarget, uri},
};
use tempfile::TempDir;

/// A containerd of its own root, state and socket. Dropping it kills whatever still runs under it.
pub struct Daemon {
    pub dir: TempDir,
    child: Child,
}

/// Starts a daemon, or says loudly why the test is skipped; in CI that is a failure.
pub async fn daemon() -> Option<Daemon> {
    let missing = if !nix::unistd::geteuid().is_root() {
        "root rights"
    } else if Command::new("containerd").arg("--version").output().is_err() {
        "containerd"
    } else if Command::new("runc").arg("--version").output().is_err() {
        "runc"
    } else {
        let daemon = Daemon::start();
        daemon.answer().await;
        return Some(daemon);
    };
    assert!(std::env::var_os("CI").is_none(), "this test needs {missing}, and CI must have it");
    eprintln!("\n*** SKIPPED: this test needs {missing} ***\n");
    None
}

impl Daemon {
    fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("podward-it-").tempdir().unwrap();
        let path = dir.path().display();
        let config = format!(
            "version = 2\nroot = \"{path}/root\"\nstate = \"{path}/state\"\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = \"{path}/containerd.sock\"\n\
             [plugins.\"io.containerd.internal.v1.opt\"]\npath = \"{path}/opt\"\n\
             [plugins.\"io.containerd.image-verifier.v1.bindir\"]\nbin_dir = \"{path}/verifiers\"\n"
        );
        fs::write(dir.path().join("config.toml"), config).unwrap();
        let child = spawn(dir.path());
        Self { dir, child }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn settings(&self) -> Settings {
        Settings {
            address: self.path("containerd.sock"),
            namespace: "podward".into(),
            snapshotter: "overlayfs".into(),
            runtime: "io.containerd.runc.v2".into(),
            systemd_cgroup: false,
            runc_root: self.path("runc"),
        }
    }

    pub fn client(&self) -> Containerd {
        Containerd::new(self.settings()).unwrap()
    }

    /// A client whose namespace exists.
    pub async fn ready(&self) -> Containerd {
        let client = self.client();
        client.ensure_namespace().await.unwrap();
        client
    }

    /// Waits until the daemon answers.
    pub async fn answer(&self) {
        let client = self.client();
        for _ in 0..600 {
            if client.version().await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("containerd does not answer: {}", fs::read_to_string(self.path("log")).unwrap());
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub async fn revive(&mut self) {
        self.child = spawn(self.dir.path());
        self.answer().await;
    }

    /// What `ctr` prints.
    pub fn ctr(&self, arguments: &[&str]) -> String {
        let output = Command::new("ctr")
            .args(["--address", self.path("containerd.sock").to_str().unwrap()])
            .args(["--namespace", "podward"])
            .args(arguments)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ctr {arguments:?}: {text}{errors}");
        text
    }

    /// Has containerd collect its garbage, which the end of a lease can ask for.
    pub fn collect_garbage(&self) {
        self.ctr(&["leases", "create", "--id", "garbage"]);
        self.ctr(&["leases", "delete", "--sync", "garbage"]);
    }

    /// The names and digests of its images.
    pub fn images(&self) -> Vec<(String, String)> {
        let list = self.ctr(&["images", "list"]);
        let rows = list.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.map(|row| (row[0].to_owned(), row[2].to_owned())).collect()
    }

    /// Deletes a container's record under its running task, which `ctr` would refuse.
    pub async fn forget(&self, id: &ContainerId) {
        let channel = containerd_client::connect(self.path("containerd.sock")).await.unwrap();
        let request = DeleteContainerRequest { id: id.as_str().into() };
        let mut request = tonic::Request::new(request);
        request.metadata_mut().insert("containerd-namespace", "podward".parse().unwrap());
        ContainersClient::new(channel).delete(request).await.unwrap();
    }

    /// An id that no other test and no other run of this one has.
    pub fn id(&self, name: &str) -> ContainerId {
        let unique = self.dir.path().file_name().unwrap().to_str().unwrap().replace(['.', '_'], "");
        ContainerId::new(format!("{unique}-{name}"))
    }

    /// Nothing of a container is left in containerd.
    pub fn assert_empty(&self) {
        assert_eq!(self.ctr(&["containers", "list", "-q"]), "");
        assert_eq!(self.ctr(&["tasks", "list", "-q"]), "");
        assert_eq!(self.ctr(&["leases", "list", "-q"]), "");
        let snapshots = self.ctr(&["snapshots", "list"]);
        assert!(!snapshots.contains("Active"), "{snapshots}");
        assert_eq!(self.shims(), Vec::<i32>::new());
    }

    /// Removes the socket of a killed shim: containerd forgets it, and its directory is every daemon's.
    pub fn remove_socket(&self, id: &ContainerId) {
        let name = format!("{}/podward/{id}", self.path("containerd.sock").display());
        let name = super::images::digest(name.as_bytes()).replace("sha256:", "/run/containerd/s/");
        fs::remove_file(name).unwrap();
    }

    /// The shims of this daemon.
    pub fn shims(&self) -> Vec<i32> {
        let address = self.path("containerd.sock");
        let address = address.to_str().unwrap();
        processes()
            .filter(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line).into_owned();
                line.contains("containerd-shim") && line.contains(address)
            })
            .collect()
    }

    /// Ends what a failed test left behind.
    fn clean(&mut self) {
        let shims = self.shims();
        let children: Vec<i32> = processes()
            .filter(|pid| parent(*pid).is_some_and(|ppid| shims.contains(&ppid)))
            .collect();
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in shims.into_iter().chain(children) {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        let root = self.dir.path().to_str().unwrap();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let below = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        let below: Vec<&str> = below.filter(|path| path.starts_with(root)).collect();
        for path in below.into_iter().rev() {
            let _ = nix::mount::umount2(path, nix::mount::MntFlags::MNT_DETACH);
        }
        let prefix = self.id("").as_str().to_owned();
        for controller in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            for group in fs::read_dir(controller.path()).into_iter().flatten().flatten() {
                if group.file_name().to_string_lossy().starts_with(&prefix) {
                    // What was killed above may still be dying in it.
                    let gone = || fs::remove_dir(group.path()).is_ok() || !group.path().exists();
                    (0..100).any(|_| {
                        gone() || {
                            std::thread::sleep(Duration::from_millis(20));
                            false
                        }
                    });
                }
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.clean();
    }
}

/// A container that runs a shell command in the test's busybox.
pub fn shell(id: &ContainerId, chain_id: &str, command: &str) -> NewContainer {
    NewContainer {
        id: id.clone(),
        labels: [("podward.dev/pod-uid".to_owned(), "uid".to_owned())].into(),
        image_ref: "docker.io/library/it:1".into(),
        parent_chain_id: chain_id.into(),
        spec_json: spec(command, &[]).to_string().into_bytes(),
    }
}

/// A runtime spec that is just enough; `without` names namespaces to leave out.
pub fn spec(command: &str, without: &[&str]) -> serde_json::Value {
    let namespaces: Vec<_> = ["pid", "mount", "ipc", "uts"]
        .into_iter()
        .filter(|kind| !without.contains(kind))
        .map(|kind| serde_json::json!({ "type": kind }))
        .collect();
    serde_json::json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": ["/bin/busybox", "sh", "-c", command],
            "env": ["PATH=/bin"],
            "cwd": "/",
            "oomScoreAdj": 500,
        },
        "root": { "path": "rootfs" },
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "linux": { "namespaces": namespaces, "resources": {} },
    })
}

fn spawn(dir: &Path) -> Child {
    let log = fs::File::options().append(true).create(true).open(dir.join("log")).unwrap();
    Command::new("containerd")
        .arg("--config")
        .arg(dir.join("config.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Output that our logger writes to a container's log.
pub fn logged(log: &Path) -> containerd::Stdio {
    let target =
        LogTarget { path: log.to_owned(), max_size: 10 << 20, max_files: 5, terminal: false };
    let logger = uri(Path::new(env!("CARGO_BIN_EXE_podward")), &target);
    containerd::Stdio { logger, terminal: false }
}

/// The processes in a container's cgroup.
pub fn processes_of(id: &ContainerId) -> Vec<i32> {
    let here = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/cgroup"))
            .is_ok_and(|groups| groups.contains(id.as_str()))
    };
    processes().filter(here).collect()
}

/// The parent of a process.
pub fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
