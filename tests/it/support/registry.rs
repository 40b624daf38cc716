//! Debian's docker-registry as a real peer: plain or by TLS, open or with passwords or tokens, on files of its own.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::wait::patiently;

/// How a registry lets people in. The default is plain HTTP for everybody.
#[derive(Debug, Clone, Default)]
pub(crate) struct Door {
    /// Certificate and key, for TLS.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    /// The authority whose certificates clients must show.
    pub(crate) clients: Option<PathBuf>,
    /// A user and a password.
    pub(crate) login: Option<(String, String)>,
    /// Where tokens are given out, and the certificate that they are checked by.
    pub(crate) tokens: Option<(String, PathBuf)>,
}

/// A running (or, between [`Registry::kill`] and [`Registry::start`], dead) registry.
#[derive(Debug)]
pub(crate) struct Registry {
    /// Where all of it lies.
    dir: PathBuf,
    /// How it lets people in.
    door: Door,
    /// The process.
    child: Option<Child>,
    /// Where it listens now; another port after each start.
    pub(crate) address: SocketAddr,
}

/// What the registry tests need beside what every test needs; says loudly what is missing, and fails where everything must be there.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
pub(crate) fn able() -> Result<bool> {
    let tools = ["openssl", "htpasswd", "zstd"];
    let mut missing: Vec<&str> = tools.into_iter().filter(|tool| !in_path(tool)).collect();
    if binary().is_none() {
        missing.push("docker-registry");
    }
    if missing.is_empty() {
        return Ok(true);
    }
    let missing = missing.join(", ");
    ensure!(
        std::env::var_os("CI").is_none(),
        "this machine lacks {missing}, and CI may skip nothing: run `make setup`"
    );
    eprintln!(
        "SKIPPED: this machine lacks {missing}; `make setup` brings the registry's tests back"
    );
    Ok(false)
}

/// Whether a program is in the search path.
fn in_path(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|place| place.join(tool).exists())
}

/// Debian's docker-registry: the installed one, or the one that `scripts/setup` unpacks.
fn binary() -> Option<PathBuf> {
    if in_path("docker-registry") {
        return Some("docker-registry".into());
    }
    let target = Path::new(env!("CARGO_BIN_EXE_podward")).parent()?.parent()?;
    let unpacked = target.join("vendors/docker-registry/usr/bin/docker-registry");
    unpacked.exists().then_some(unpacked)
}

impl Registry {
    /// A plain registry that holds nothing yet.
    pub(crate) fn new(dir: &Path) -> Result<Self> {
        Self::with(dir, Door::default())
    }

    /// A registry on the files below `dir`, which another one may have filled.
    pub(crate) fn with(dir: &Path, door: Door) -> Result<Self> {
        fs::create_dir_all(dir.join("files"))?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut registry = Self { dir: dir.into(), door, child: None, address: nowhere };
        registry.start()?;
        Ok(registry)
    }

    /// Starts the same files behind another door.
    pub(crate) fn behind(mut self, door: Door) -> Result<Self> {
        self.kill()?;
        self.door = door;
        self.start()?;
        Ok(self)
    }

    /// Starts it at a free port and waits until it listens there.
    pub(crate) fn start(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "the registry runs already");
        let (settings, log) = (self.dir.join("settings.json"), self.dir.join("log"));
        fs::write(&settings, self.settings()?.to_string())?;
        let file = fs::File::create(&log)?;
        let child = Command::new(binary().context("docker-registry")?)
            .arg("serve")
            .arg(settings)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .context("docker-registry")?;
        let child = self.child.insert(child);
        // It says which port the kernel gave it.
        self.address = patiently("the registry to listen", Duration::from_secs(20), || {
            let said = fs::read_to_string(&log)?;
            if let Some(status) = child.try_wait()? {
                bail!("docker-registry ended with {status}: {said}");
            }
            let rest = said.split_once("listening on ").map(|(_, rest)| rest);
            let address = rest.and_then(|rest| rest.split(['"', ',', ' ']).next()?.parse().ok());
            Ok(address.filter(|address| TcpStream::connect(address).is_ok()))
        })?;
        Ok(())
    }

    /// Ends it by SIGKILL; its files stay.
    pub(crate) fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the registry does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Where a blob lies on the disk.
    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let blobs = self.dir.join("files/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }

    /// Its settings; JSON is YAML.
    fn settings(&self) -> Result<Value> {
        let mut settings = json!({
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": true}},
            "storage": {
                "filesystem": {"rootdirectory": self.dir.join("files")},
                "maintenance": {"uploadpurging": {"enabled": false}},
            },
            "http": {"addr": "127.0.0.1:0", "secret": "of-this-test"},
        });
        if let Some((certificate, key)) = &self.door.tls {
            settings["http"]["tls"] = json!({"certificate": certificate, "key": key});
        }
        if let Some(authority) = &self.door.clients {
            settings["http"]["tls"]["clientcas"] = json!([authority]);
        }
        if let Some((user, password)) = &self.door.login {
            let file = self.dir.join("passwords");
            let made =
                Command::new("htpasswd").args(["-nbB", "-C", "4", user, password]).output()?;
            ensure!(made.status.success(), "htpasswd: {}", String::from_utf8_lossy(&made.stderr));
            fs::write(&file, made.stdout)?;
            settings["auth"] = json!({"htpasswd": {"realm": "the test's", "path": file}});
        }
        if let Some((realm, certificate)) = &self.door.tokens {
            settings["auth"] = json!({"token": {
                "realm": realm,
                "service": super::tokens::SERVICE,
                "issuer": super::tokens::ISSUER,
                "rootcertbundle": certificate,
            }});
        }
        Ok(settings)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
