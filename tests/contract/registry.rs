//! Debian's docker-registry with what a test pushes into it.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Who may come in where a registry wants to know.
pub const USER: &str = "someone";
pub const PASSWORD: &str = "open-sesame-17";

/// A registry on a port of its own, by plain HTTP. Dropping it ends it.
pub struct Registry {
    dir: TempDir,
    child: Child,
    /// Where it listens.
    pub host: String,
}

/// Whether the tools are there; says loudly what is missing, which in CI is a failure.
pub fn tools() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |tool: &&str| std::env::split_paths(&path).any(|place| place.join(tool).exists());
    let tools = ["docker-registry", "skopeo", "htpasswd"];
    let missing: Vec<&str> = tools.into_iter().filter(|tool| !there(tool)).collect();
    if missing.is_empty() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "this test needs {missing:?}, and CI must have it");
    eprintln!("\n*** SKIPPED: this test needs {missing:?} ***\n");
    false
}

impl Registry {
    /// A registry for everybody.
    pub fn open() -> Self {
        Self::start(None)
    }

    /// A registry for [`USER`] with [`PASSWORD`].
    pub fn closed() -> Self {
        let output = Command::new("htpasswd").args(["-Bbn", USER, PASSWORD]).output().unwrap();
        Self::start(Some(output.stdout))
    }

    fn start(passwords: Option<Vec<u8>>) -> Self {
        let dir = tempfile::Builder::new().prefix("podward-registry-").tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        let mut settings = json!({
            "version": "0.1",
            "log": { "level": "info" },
            "storage": { "filesystem": { "rootdirectory": place("files") } },
            "http": { "addr": "127.0.0.1:0", "secret": "of-this-test" },
        });
        if let Some(passwords) = passwords {
            fs::write(place("passwords"), passwords).unwrap();
            settings["auth"] =
                json!({ "htpasswd": { "realm": "tests", "path": place("passwords") } });
        }
        // JSON is YAML.
        fs::write(place("settings.yml"), settings.to_string()).unwrap();
        let log = fs::File::create(place("log")).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(place("settings.yml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut registry = Self { dir, child, host: String::new() };
        registry.host = registry.listening();
        registry
    }

    /// Where it says that it listens.
    fn listening(&self) -> String {
        for _ in 0..800 {
            let said = self.log();
            if let Some((_, rest)) = said.split_once("listening on ") {
                return rest.split('"').next().unwrap().to_owned();
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("the registry does not listen: {}", self.log());
    }

    /// What it has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Ends it.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Pushes all images of an OCI layout under a name such as `team/app:1`.
    pub fn push(&self, layout: &Path, name: &str) {
        let output: Output = Command::new("skopeo")
            .args(["--insecure-policy", "copy", "--all", "--preserve-digests", "--quiet"])
            .args(["--dest-tls-verify=false", "--dest-creds", &format!("{USER}:{PASSWORD}")])
            .arg(format!("oci:{}", layout.display()))
            .arg(format!("docker://{}/{name}", self.host))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Says in a directory of `hosts.toml` files that it speaks plain HTTP.
    pub fn hosts_toml(&self, hosts_dir: &Path) {
        let dir = hosts_dir.join(&self.host);
        fs::create_dir_all(&dir).unwrap();
        let host = &self.host;
        fs::write(dir.join("hosts.toml"), format!("server = \"http://{host}\"\n")).unwrap();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Writes an OCI layout with one index of an image for each of the platforms; returns the index's digest.
pub fn layout(dir: &Path, architectures: &[&str], mark: &str) -> String {
    use super::images::{config, digest, gzip, layer};
    let blob = |bytes: &[u8], kind: &str| -> Value {
        let digest = digest(bytes);
        let path = dir.join("blobs").join(digest.replace(':', "/"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        let media_type = format!("application/vnd.oci.image.{kind}");
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    };
    let layers = [layer(mark), super::images::Tar::default().file("etc/second", mark).bytes()];
    let stored = layers.each_ref().map(|layer| blob(&gzip(layer), "layer.v1.tar+gzip"));
    let images = architectures.iter().map(|architecture| {
        let mut config = config(&layers);
        config["architecture"] = json!(architecture);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": blob(config.to_string().as_bytes(), "config.v1+json"), "layers": stored,
        });
        let mut here = blob(manifest.to_string().as_bytes(), "manifest.v1+json");
        here["platform"] = json!({ "os": "linux", "architecture": architecture });
        here
    });
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": images.collect::<Vec<_>>(),
    });
    let top = blob(index.to_string().as_bytes(), "index.v1+json");
    let outer = json!({ "schemaVersion": 2, "manifests": [top] }).to_string();
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    fs::write(dir.join("index.json"), outer).unwrap();
    top["digest"].as_str().unwrap().to_owned()
}
