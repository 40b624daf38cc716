//! Debian's docker-registry with what a test pushes into it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Who may come in where a registry wants to know.
pub const USER: &str = "someone";
pub const PASSWORD: &str = "open-sesame-17";
/// That password as `htpasswd -B` writes it.
const HASH: &str = "$2y$05$JrTpsNZTcOiN/doj2wdzleqteAIVBk0mKmrt9b9eT04Y7/JeXcfrK";

/// A registry on a port of its own, by plain HTTP. Dropping it ends it.
pub struct Registry {
    dir: TempDir,
    child: Child,
    /// Where it listens.
    pub host: String,
}

/// Debian's registry, from the search path or as `scripts/setup` unpacks it.
fn binary() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let target = Path::new(env!("CARGO_BIN_EXE_podward")).parent()?.parent()?;
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    places.push(target.join("vendors/docker-registry/usr/bin"));
    places.into_iter().map(|place| place.join("docker-registry")).find(|path| path.exists())
}

/// Whether there is a registry; says loudly when not, which in CI is a failure.
pub fn is_there() -> bool {
    let there = binary().is_some();
    assert!(there || std::env::var_os("CI").is_none(), "CI must have docker-registry");
    if !there {
        eprintln!("\n*** SKIPPED: this test needs docker-registry ***\n");
    }
    there
}

impl Registry {
    /// A registry for everybody.
    pub fn open() -> Self {
        Self::start(None)
    }

    /// A registry for [`USER`] with [`PASSWORD`].
    pub fn closed() -> Self {
        Self::start(Some(format!("{USER}:{HASH}\n")))
    }

    fn start(passwords: Option<String>) -> Self {
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
        let child = Command::new(binary().unwrap())
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

    /// Puts all that an OCI layout holds where the registry keeps it, under a name such as `team/app:1`.
    pub fn push(&self, layout: &Path, name: &str) {
        let root = self.dir.path().join("files/docker/registry/v2");
        let (repository, tag) = name.split_once(':').unwrap();
        let repository = root.join("repositories").join(repository);
        let write = |path: PathBuf, bytes: &[u8]| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        for entry in fs::read_dir(layout.join("blobs/sha256")).unwrap() {
            let entry = entry.unwrap();
            let hex = entry.file_name().into_string().unwrap();
            let bytes = fs::read(entry.path()).unwrap();
            write(root.join("blobs/sha256").join(&hex[..2]).join(&hex).join("data"), &bytes);
            // Whether it is a layer or a manifest is known to who asks for it.
            for kind in ["_layers", "_manifests/revisions"] {
                let link = repository.join(kind).join("sha256").join(&hex).join("link");
                write(link, format!("sha256:{hex}").as_bytes());
            }
        }
        let index = fs::read(layout.join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        let top = index["manifests"][0]["digest"].as_str().unwrap();
        let tag = repository.join("_manifests/tags").join(tag);
        write(tag.join("current/link"), top.as_bytes());
        write(tag.join("index/sha256").join(&top[7..]).join("link"), top.as_bytes());
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
