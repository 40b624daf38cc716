//! Images as registries hold them: layers in each compression, manifests in OCI's and docker's words, indexes, signatures.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::certs::Pair;
use super::http::ask;
use super::image::{File, architecture, digest, files_layer, root_layer};

/// How a layer travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// As it is.
    Plain,
    /// By gzip.
    Gzip,
    /// By zstd.
    Zstd,
}

/// A layer, packed.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    /// The digest of its plain form.
    diff_id: String,
    /// How it travels.
    packing: Packing,
    /// Its bytes as they travel.
    pub(crate) bytes: Vec<u8>,
    /// The digest of these.
    pub(crate) digest: String,
}

impl Layer {
    /// The root file system of busybox.
    pub(crate) fn root(packing: Packing) -> Result<Self> {
        Self::of(root_layer(&[])?, packing)
    }

    /// One file with so many bytes that no packing makes smaller; other names give other bytes.
    pub(crate) fn filler(name: &str, size: usize, packing: Packing) -> Result<Self> {
        let mut state = name.bytes().fold(0x9e37_79b9_7f4a_7c15_u64, |sum, byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut bytes = Vec::with_capacity(size + 8);
        while bytes.len() < size {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend(state.to_le_bytes());
        }
        bytes.truncate(size);
        Self::file(&format!("filler/{name}"), &bytes, packing)
    }

    /// One file.
    pub(crate) fn file(path: &str, bytes: &[u8], packing: Packing) -> Result<Self> {
        let file = File { path: path.into(), mode: 0o644, bytes: bytes.to_vec() };
        Self::of(files_layer(&[file])?, packing)
    }

    /// Packs a tar.
    fn of(tar: Vec<u8>, packing: Packing) -> Result<Self> {
        let diff_id = digest(&tar);
        let bytes = match packing {
            Packing::Plain => tar,
            Packing::Gzip => {
                let mut encoder = GzEncoder::new(vec![], Compression::fast());
                encoder.write_all(&tar)?;
                encoder.finish()?
            }
            Packing::Zstd => zstd(&tar)?,
        };
        Ok(Self { diff_id, packing, digest: digest(&bytes), bytes })
    }
}

/// Packs by the zstd program.
fn zstd(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut child = Command::new("zstd")
        .args(["-q", "-c", "-1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("zstd")?;
    let mut input = child.stdin.take().context("its input is piped")?;
    let output = std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(bytes));
        child.wait_with_output()
    })?;
    ensure!(output.status.success(), "zstd: {}", output.status);
    Ok(output.stdout)
}

/// In whose words an image is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    /// OCI's.
    Oci,
    /// Docker's, version 2 of schema 2.
    Docker,
}

impl Words {
    /// The type of a manifest.
    fn manifest(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.manifest.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.v2+json",
        }
    }

    /// The type of an index.
    fn index(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.index.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    /// The type of a configuration.
    fn config(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.config.v1+json",
            Self::Docker => "application/vnd.docker.container.image.v1+json",
        }
    }

    /// The type of a layer.
    fn layer(self, packing: Packing) -> &'static str {
        match (self, packing) {
            (Self::Oci, Packing::Plain) => "application/vnd.oci.image.layer.v1.tar",
            (Self::Oci, Packing::Gzip) => "application/vnd.oci.image.layer.v1.tar+gzip",
            (Self::Oci, Packing::Zstd) => "application/vnd.oci.image.layer.v1.tar+zstd",
            (Self::Docker, Packing::Plain) => "application/vnd.docker.image.rootfs.diff.tar",
            (Self::Docker, _) => "application/vnd.docker.image.rootfs.diff.tar.gzip",
        }
    }
}

/// A manifest or an index, with every blob that belongs to it.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// What it is.
    media_type: String,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// The digest of these.
    pub(crate) digest: String,
    /// Configuration and layers, each with its digest.
    pub(crate) blobs: Vec<(String, Vec<u8>)>,
    /// The images of an index.
    children: Vec<Image>,
}

impl Image {
    /// An image for this machine which says what it is in its environment.
    pub(crate) fn new(words: Words, says: &str, layers: &[Layer]) -> Self {
        Self::of(words, architecture(), says, layers)
    }

    /// The usual: busybox in one layer, and what it says in another.
    pub(crate) fn busybox(says: &str) -> Result<Self> {
        Self::with(says, &[])
    }

    /// Busybox with more layers on top.
    pub(crate) fn with(says: &str, more: &[Layer]) -> Result<Self> {
        let word = Layer::file("etc/says", format!("{says}\n").as_bytes(), Packing::Gzip)?;
        let mut layers = vec![Layer::root(Packing::Gzip)?, word];
        layers.extend_from_slice(more);
        Ok(Self::new(Words::Oci, says, &layers))
    }

    /// An image for some processor.
    pub(crate) fn of(words: Words, architecture: &str, says: &str, layers: &[Layer]) -> Self {
        let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {"Env": ["PATH=/bin", format!("SAYS={says}")], "Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = config.to_string().into_bytes();
        let mut blobs = vec![(digest(&config), config)];
        let described = describe(words.config(), &blobs[0].1);
        let mut list = vec![];
        for layer in layers {
            list.push(describe(words.layer(layer.packing), &layer.bytes));
            blobs.push((layer.digest.clone(), layer.bytes.clone()));
        }
        let body = json!({
            "schemaVersion": 2, "mediaType": words.manifest(), "config": described, "layers": list,
        });
        Self::named(words.manifest(), &body, blobs, vec![])
    }

    /// An index of images, each for its processor.
    pub(crate) fn index(words: Words, images: Vec<(&str, Image)>) -> Self {
        let mut list = vec![];
        for (architecture, image) in &images {
            let mut entry = describe(&image.media_type, &image.bytes);
            entry["platform"] = json!({"os": "linux", "architecture": architecture});
            list.push(entry);
        }
        let body = json!({"schemaVersion": 2, "mediaType": words.index(), "manifests": list});
        let children = images.into_iter().map(|(_, image)| image).collect();
        Self::named(words.index(), &body, vec![], children)
    }

    /// Cosign's signature of a manifest, as `cosign sign --key` pushes it.
    pub(crate) fn signature(key: &Pair, repository: &str, of: &str) -> Result<Self> {
        let payload = json!({
            "critical": {
                "identity": {"docker-reference": repository},
                "image": {"docker-manifest-digest": of},
                "type": "cosign container image signature",
            },
            "optional": null,
        });
        let payload = payload.to_string().into_bytes();
        let mut layer = describe("application/vnd.dev.cosign.simplesigning.v1+json", &payload);
        let signature = STANDARD.encode(key.sign(&payload)?);
        layer["annotations"] = json!({"dev.cosignproject.cosign/signature": signature});
        let config = json!({
            "architecture": "", "os": "", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest(&payload)]},
        });
        let config = config.to_string().into_bytes();
        let body = json!({
            "schemaVersion": 2, "mediaType": Words::Oci.manifest(),
            "config": describe(Words::Oci.config(), &config), "layers": [layer],
        });
        let blobs = vec![(digest(&config), config), (digest(&payload), payload)];
        Ok(Self::named(Words::Oci.manifest(), &body, blobs, vec![]))
    }

    /// The tag under which cosign looks for signatures of a digest.
    pub(crate) fn signature_tag(digest: &str) -> String {
        format!("{}.sig", digest.replace(':', "-"))
    }

    /// A document with its digest.
    fn named(
        media_type: &str,
        body: &Value,
        blobs: Vec<(String, Vec<u8>)>,
        children: Vec<Image>,
    ) -> Self {
        let bytes = body.to_string().into_bytes();
        Self { media_type: media_type.into(), digest: digest(&bytes), bytes, blobs, children }
    }

    /// The digests of the layers, the lowest first.
    pub(crate) fn layers(&self) -> Vec<&str> {
        self.blobs.iter().skip(1).map(|(digest, _)| digest.as_str()).collect()
    }

    /// How many bytes configuration and layers have.
    pub(crate) fn size(&self) -> usize {
        self.blobs.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// Pushes it to a plain registry, whose door is open.
    pub(crate) fn push(&self, to: SocketAddr, repository: &str, tag: &str) -> Result<()> {
        for (digest, bytes) in &self.blobs {
            let begun = ask(to, &format!("POST /v2/{repository}/blobs/uploads/"), &[], &[])?;
            ensure!(begun.head.status() == 202, "an upload was refused: {}", begun.head.first);
            let place = begun.head.header("location").context("an upload has a place")?;
            let path = place
                .split_once("://")
                .map_or(place, |(_, rest)| rest.find('/').map_or("/", |slash| &rest[slash..]));
            let join = if path.contains('?') { '&' } else { '?' };
            let kind = [("Content-Type", "application/octet-stream")];
            let done = ask(to, &format!("PUT {path}{join}digest={digest}"), &kind, bytes)?;
            ensure!(
                done.head.status() == 201,
                "a blob was refused: {}: {}",
                done.head.first,
                String::from_utf8_lossy(&done.body)
            );
        }
        for child in &self.children {
            child.push(to, repository, &child.digest)?;
        }
        let kind = [("Content-Type", self.media_type.as_str())];
        let request = format!("PUT /v2/{repository}/manifests/{tag}");
        let done = ask(to, &request, &kind, &self.bytes)?;
        ensure!(
            done.head.status() == 201,
            "a manifest was refused: {}: {}",
            done.head.first,
            String::from_utf8_lossy(&done.body)
        );
        Ok(())
    }
}

/// A blob's descriptor.
fn describe(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()})
}
