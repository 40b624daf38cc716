//! Debian's docker-registry on a port of its own, and an image pushed to it by plain HTTP.

use std::cell::Cell;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::support::wait::patiently;

/// A registry.
#[derive(Debug)]
pub(crate) struct Registry {
    /// The process.
    child: Child,
    /// Its host and port.
    pub(crate) host: String,
    /// The bytes of the layers that were pushed.
    pub(crate) size: Cell<u64>,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    /// Starts it below a directory.
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let host = format!("127.0.0.1:{port}");
        let config = json!({
            "version": 0.1,
            "log": { "level": "error", "accesslog": { "disabled": true } },
            "storage": { "filesystem": { "rootdirectory": dir.join("data") } },
            "http": { "addr": host },
        });
        let file = dir.join("config.yml");
        fs::write(&file, config.to_string())?;
        let log = fs::File::create(dir.join("log"))?;
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("docker-registry")?;
        let registry = Self { child, host, size: Cell::new(0) };
        patiently("the registry to answer", Duration::from_secs(20), || {
            Ok(TcpStream::connect(&registry.host).is_ok().then_some(()))
        })?;
        Ok(registry)
    }

    /// Pushes an image of so many layers, each of about so many bytes as it travels; returns its name.
    pub(crate) fn push(&self, repository: &str, layers: u64, size: usize) -> Result<String> {
        let (mut parts, mut diff_ids) = (vec![], vec![]);
        for number in 0..layers {
            let tar = layer(number, size)?;
            diff_ids.push(digest(&tar));
            let mut encoder = GzEncoder::new(vec![], Compression::fast());
            encoder.write_all(&tar)?;
            let blob = encoder.finish()?;
            self.size.set(self.size.get() + blob.len() as u64);
            parts.push(self.blob(
                repository,
                "application/vnd.oci.image.layer.v1.tar+gzip",
                &blob,
            )?);
        }
        let config = json!({
            "os": "linux", "architecture": "amd64", "config": {},
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = config.to_string();
        let config =
            self.blob(repository, "application/vnd.oci.image.config.v1+json", config.as_bytes())?;
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": parts });
        self.ask(
            "PUT",
            &format!("/v2/{repository}/manifests/1"),
            kind,
            manifest.to_string().as_bytes(),
        )?;
        Ok(format!("{}/{repository}:1", self.host))
    }

    /// Pushes a blob; returns its descriptor.
    fn blob(&self, repository: &str, kind: &str, bytes: &[u8]) -> Result<Value> {
        let place = self.ask("POST", &format!("/v2/{repository}/blobs/uploads/"), "", b"")?;
        let digest = digest(bytes);
        let place = place.trim_start_matches(&format!("http://{}", self.host));
        let joint = if place.contains('?') { '&' } else { '?' };
        self.ask(
            "PUT",
            &format!("{place}{joint}digest={digest}"),
            "application/octet-stream",
            bytes,
        )?;
        Ok(json!({ "mediaType": kind, "digest": digest, "size": bytes.len() }))
    }

    /// Asks for something; returns where the answer points to.
    fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<String> {
        let mut stream = TcpStream::connect(&self.host)?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            self.host,
            body.len()
        )?;
        stream.write_all(body)?;
        let mut reader = BufReader::new(stream);
        let (mut line, mut location) = (String::new(), String::new());
        reader.read_line(&mut line)?;
        let status = line.clone();
        while line.trim() != "" {
            if let Some(value) = line.strip_prefix("Location: ") {
                value.trim().clone_into(&mut location);
            }
            line.clear();
            reader.read_line(&mut line)?;
        }
        let mut rest = String::new();
        reader.read_to_string(&mut rest)?;
        let fine = status.split(' ').nth(1).is_some_and(|code| code.starts_with('2'));
        ensure!(fine, "{method} {path}: {status}{rest}");
        Ok(location)
    }
}

/// A layer whose files compress to about a half, as binaries do.
fn layer(number: u64, size: usize) -> Result<Vec<u8>> {
    /// The bytes of one file.
    const FILE: usize = 1 << 20;
    let mut tar = tar::Builder::new(vec![]);
    let mut state = number + 1;
    // Of each sixteen bytes eight are noise.
    for file in 0..(2 * size / FILE) {
        let mut bytes = Vec::with_capacity(FILE);
        while bytes.len() < FILE {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            bytes.extend_from_slice(&(state ^ (state >> 29)).to_le_bytes());
            bytes.extend_from_slice(b"\x48\x89\xe5\0\0\0\0\0");
        }
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("opt/layer-{number}/file-{file}"), bytes.as_slice())?;
    }
    Ok(tar.into_inner()?)
}

/// The digest of some bytes.
fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
