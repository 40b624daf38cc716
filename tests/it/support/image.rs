//! Images as OCI layouts in a tar: this machine's static busybox, and whatever else a test puts beside it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// The name under which every test finds it.
pub(crate) const IMAGE: &str = "docker.io/library/busybox:it";
/// The busybox that is packed.
pub(crate) const BUSYBOX: &str = "/bin/busybox";

/// A file of an image: where it lies there, its mode, and what it holds.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// The path in the image.
    pub(crate) path: String,
    /// The mode.
    pub(crate) mode: u32,
    /// The content.
    pub(crate) bytes: Vec<u8>,
}

/// Writes an image of busybox; the rename at the end shows it whole or not at all.
pub(crate) fn write(archive: &Path, reference: &str) -> Result<()> {
    let config =
        json!({"Env": ["PATH=/bin", "FROM_IMAGE=yes"], "Cmd": ["sh"], "WorkingDir": "/srv"});
    pack(archive, &[reference], &config, &[])
}

/// Writes an image of busybox and other files, which runs as its configuration says and has all of these names.
pub(crate) fn pack(
    archive: &Path,
    references: &[&str],
    config: &Value,
    files: &[File],
) -> Result<()> {
    let mut image = Builder::new(vec![]);
    let layer = root_layer(files)?;
    let layer_digest = digest(&layer);
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
    });
    let layer = blob(&mut image, "application/vnd.oci.image.layer.v1.tar", &layer)?;
    let config = blob(
        &mut image,
        "application/vnd.oci.image.config.v1+json",
        config.to_string().as_bytes(),
    )?;
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let body =
        json!({"schemaVersion": 2, "mediaType": manifest, "config": config, "layers": [layer]});
    let mut descriptor = blob(&mut image, manifest, body.to_string().as_bytes())?;
    descriptor["platform"] = json!({"architecture": architecture(), "os": "linux"});
    let named = references.iter().map(|reference| {
        let mut named = descriptor.clone();
        named["annotations"] = json!({"io.containerd.image.name": reference});
        named
    });
    let index = json!({"schemaVersion": 2, "manifests": named.collect::<Vec<_>>()});
    add(&mut image, "index.json", index.to_string().as_bytes())?;
    add(&mut image, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let partial = archive.with_extension("partial");
    fs::write(&partial, image.into_inner()?)?;
    fs::rename(&partial, archive)?;
    Ok(())
}

/// The root file system: busybox under all its names, the files in which users are looked up, and the others.
pub(super) fn root_layer(files: &[File]) -> Result<Vec<u8>> {
    let mut layer = Builder::new(vec![]);
    for folder in ["bin/", "etc/", "srv/", "tmp/", "root/"] {
        let mut header =
            header(EntryType::Directory, 0, if folder == "tmp/" { 0o1777 } else { 0o755 });
        layer.append_data(&mut header, folder, &[][..])?;
    }
    let busybox = fs::read(BUSYBOX).context(BUSYBOX)?;
    let mut file = header(EntryType::Regular, busybox.len() as u64, 0o755);
    layer.append_data(&mut file, "bin/busybox", &busybox[..])?;
    let names = Command::new(BUSYBOX).arg("--list").output()?;
    ensure!(names.status.success(), "busybox --list failed");
    for name in String::from_utf8(names.stdout)?.lines().filter(|name| *name != "busybox") {
        let mut link = header(EntryType::Symlink, 0, 0o777);
        layer.append_link(&mut link, format!("bin/{name}"), "busybox")?;
    }
    add(
        &mut layer,
        "etc/passwd",
        b"root:x:0:0::/root:/bin/sh\nworker:x:1000:1000::/srv:/bin/sh\n",
    )?;
    add(&mut layer, "etc/group", b"root:x:0:\nworker:x:1000:\naudio:x:63:worker\n")?;
    add_all(&mut layer, files)?;
    Ok(layer.into_inner()?)
}

/// A layer of files alone.
pub(super) fn files_layer(files: &[File]) -> Result<Vec<u8>> {
    let mut layer = Builder::new(vec![]);
    add_all(&mut layer, files)?;
    Ok(layer.into_inner()?)
}

/// Adds files with their modes.
fn add_all(layer: &mut Builder<Vec<u8>>, files: &[File]) -> Result<()> {
    for file in files {
        let mut entry = header(EntryType::Regular, file.bytes.len() as u64, file.mode);
        let path = file.path.trim_start_matches('/');
        layer.append_data(&mut entry, path, &file.bytes[..]).context(file.path.clone())?;
    }
    Ok(())
}

/// An entry's header with root as the owner and no time of its own.
fn header(kind: EntryType, size: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// Adds a small file.
fn add(archive: &mut Builder<Vec<u8>>, path: &str, bytes: &[u8]) -> Result<()> {
    let mut header = header(EntryType::Regular, bytes.len() as u64, 0o644);
    archive.append_data(&mut header, path, bytes).context(path.to_owned())
}

/// Adds a blob under its digest and returns its descriptor.
fn blob(archive: &mut Builder<Vec<u8>>, media_type: &str, bytes: &[u8]) -> Result<Value> {
    let digest = digest(bytes);
    add(archive, &format!("blobs/{}", digest.replace(':', "/")), bytes)?;
    Ok(json!({"mediaType": media_type, "digest": digest, "size": bytes.len()}))
}

/// `sha256:` and the hexadecimal digits.
pub(super) fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// This machine's architecture in the words of OCI.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
