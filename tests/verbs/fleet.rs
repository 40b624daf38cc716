//! A fleet whose hosts are records only, and the command line of one of its operators.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::etcd::{self, Etcd};

/// What all keys begin with.
pub const ROOT: &str = "/podward/test";

/// The store, and where an operator's files lie.
pub struct Fleet {
    /// The store.
    pub etcd: Etcd,
    /// The operator's files.
    dir: tempfile::TempDir,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Said {
    /// The output of a command that succeeded.
    #[track_caller]
    pub fn fine(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// The complaints of a command that failed.
    #[track_caller]
    pub fn refused(self) -> String {
        assert_eq!(self.code, 1, "{self:?}");
        self.err
    }
}

impl Fleet {
    /// A fleet without hosts; `None` where there is no etcd.
    pub fn start() -> Option<Self> {
        if !etcd::is_there() {
            return None;
        }
        let fleet = Self { etcd: Etcd::start(1).unwrap(), dir: tempfile::tempdir().unwrap() };
        let endpoints = fleet.etcd.endpoints_text();
        fleet.file("config.yaml", &format!("cluster: test\netcd:\n  endpoints: [{endpoints}]\n"));
        Some(fleet)
    }

    /// Writes a file of the operator's and says where it is.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A command line of podward's; words in `{}` are files of the operator's.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_podward"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("TMPDIR", self.dir.path());
        command.arg("--config").arg(self.dir.path().join("config.yaml"));
        command.arg("--socket").arg(self.dir.path().join("no-agent.sock"));
        for word in line.split_whitespace() {
            match word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) {
                Some(file) => command.arg(self.dir.path().join(file)),
                None => command.arg(word),
            };
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command line to its end.
    pub fn run(&self, line: &str) -> Said {
        said(self.command(line).spawn().unwrap())
    }

    /// Runs a command line that reads its standard input.
    pub fn feed(&self, line: &str, text: &str) -> Said {
        let mut child = self.command(line).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        said(child)
    }

    /// Writes a key as a host would.
    pub fn put(&self, key: &str, value: &Value) {
        self.etcd.ctl(&["put", &format!("{ROOT}/{key}"), &value.to_string()]).unwrap();
    }

    /// Removes a key.
    pub fn remove(&self, key: &str) {
        self.etcd.ctl(&["del", &format!("{ROOT}/{key}")]).unwrap();
    }

    /// A key's value; null without.
    pub fn value(&self, key: &str) -> Value {
        let text = self.etcd.ctl(&["get", "--print-value-only", &format!("{ROOT}/{key}")]).unwrap();
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// The keys below a prefix, without what all keys begin with.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let below = format!("{ROOT}/{prefix}");
        let text = self.etcd.ctl(&["get", "--prefix", "--keys-only", &below]).unwrap();
        let keys = text.lines().filter_map(|line| line.strip_prefix(&format!("{ROOT}/")));
        keys.map(str::to_owned).collect()
    }

    /// The identity of the template that a set in the namespace x had in a revision.
    pub fn hash(&self, set: &str, revision: u32) -> String {
        let entry = self.value(&format!("spec/revisions/x/{set}/{revision:010}"));
        let hash = entry["metadata"]["labels"]["controller-revision-hash"].as_str();
        hash.unwrap_or("h").to_owned()
    }

    /// A host's record and sign of life.
    pub fn node(&self, name: &str, labels: &Value, protected: &str) {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {"podward.dev/protected": protected}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        });
        self.put(&format!("fleet/nodes/{name}"), &node);
        self.put(&format!("fleet/alive/{name}"), &json!({}));
    }

    /// A host's pod of a set in the namespace x, and that it should run the set.
    pub fn pod(&self, node: &str, set: &str, pod: &str) {
        let uid = self.value(&format!("spec/daemonsets/x/{set}"))["metadata"]["uid"].clone();
        let uid = uid.as_str().unwrap_or("u");
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": pod, "namespace": "x", "uid": format!("uid-of-{pod}"),
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": set, "uid": uid,
                    "controller": true}]},
            "spec": {"nodeName": node, "containers": [{"name": "main", "image": "r.io/a:1"}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "main", "ready": true, "restartCount": 0, "image": "r.io/a:1",
                    "imageID": "", "state": {"running": {}}}]},
        });
        self.put(&format!("fleet/pods/{node}/x/{pod}"), &object);
        let hash = self.hash(set, 1);
        let member = json!({"uid": uid, "hash": hash, "wanted": hash, "status": {
            "desiredNumberScheduled": 1, "currentNumberScheduled": 1, "numberReady": 1, "numberAvailable": 1,
            "numberUnavailable": 0, "updatedNumberScheduled": 1, "numberMisscheduled": 0, "observedGeneration": 1}});
        self.put(&format!("fleet/sets/x/{set}/member/{node}"), &member);
    }
}

/// What a command says until its end.
pub fn said(child: Child) -> Said {
    let done = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: done.status.code().unwrap_or(-1), out: text(done.stdout), err: text(done.stderr) }
}

/// A set in the namespace x.
pub fn set(name: &str, image: &str, more: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: DaemonSet\nmetadata:\n  name: {name}\n  namespace: x\n{more}spec:\n  selector:\n    \
         matchLabels: {{app: {name}}}\n  template:\n    metadata:\n      labels: {{app: {name}}}\n    spec:\n      \
         hostNetwork: true\n      containers:\n      - name: main\n        image: {image}\n"
    )
}
