//! Image archives in every form that is taken, made from the host's busybox, and what is said of broken ones.

use std::{fmt::Write as _, fs, io::Write as _, path::PathBuf};

use podward::testing::containerd::{Class, Containerd};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::daemon::{Daemon, daemon};

/// How an archive is compressed.
type Compress = fn(&[u8]) -> Vec<u8>;

/// A tar archive in memory; the same files give the same bytes.
#[derive(Default)]
pub struct Tar(Vec<(String, Vec<u8>, u32)>);

impl Tar {
    pub fn file(mut self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.0.push((path.into(), bytes.into(), 0o755));
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, bytes, mode) in &self.0 {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(*mode);
            builder.append_data(&mut header, path, bytes.as_slice()).unwrap();
        }
        builder.into_inner().unwrap()
    }
}

pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A layer with busybox; `mark` makes it differ from others.
pub fn layer(mark: &str) -> Vec<u8> {
    let busybox = fs::read("/bin/busybox").expect("busybox-static is installed");
    Tar::default()
        .file("bin/busybox", busybox)
        .file("etc/mark", mark)
        .file("etc/passwd", "root:x:0:0:root:/:/bin/sh\n")
        .file("proc/.keep", "")
        .bytes()
}

pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub fn config(layers: &[Vec<u8>]) -> Value {
    let diff_ids: Vec<_> = layers.iter().map(|layer| digest(layer)).collect();
    json!({
        "os": "linux", "architecture": architecture(),
        "config": { "Cmd": ["/bin/busybox", "sh"], "Env": ["A=1"], "User": "0", "WorkingDir": "/" },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    })
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    // Two frames and one to skip, as parallel compressors write them.
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    let mut out = ruzstd::encoding::compress_to_vec(first, level);
    out.extend([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
    out.extend(ruzstd::encoding::compress_to_vec(second, level));
    out
}

/// An OCI layout with an index inside its index, and layers compressed each in its own way.
pub fn oci(name: &str, mark: &str) -> Tar {
    let layers = [layer(mark), Tar::default().file("etc/second", mark).bytes()];
    let stored = [gzip(&layers[0]), layers[1].clone()];
    let types =
        ["application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.layer.v1.tar"];
    let config = config(&layers).to_string();
    let descriptor = |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "digest": digest(bytes), "size": bytes.len() });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes()),
        "layers": [descriptor(types[0], &stored[0]), descriptor(types[1], &stored[1])],
    })
    .to_string();
    let mut here = descriptor("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes());
    here["platform"] = json!({ "os": "linux", "architecture": architecture() });
    let absent = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(b"absent"), "size": 6,
        "platform": { "os": "linux", "architecture": "s390x" },
    });
    let index = json!({ "schemaVersion": 2, "manifests": [absent, here] }).to_string();
    let mut top = descriptor("application/vnd.oci.image.index.v1+json", index.as_bytes());
    top["annotations"] =
        json!({ "io.containerd.image.name": name, "org.opencontainers.image.ref.name": "1" });
    let mut tar = Tar::default()
        .file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)
        .file("index.json", json!({ "schemaVersion": 2, "manifests": [top] }).to_string());
    for bytes in [&stored[0], &stored[1], config.as_bytes(), manifest.as_bytes(), index.as_bytes()]
    {
        tar = tar.file(&format!("blobs/{}", digest(bytes).replace(':', "/")), bytes);
    }
    tar
}

/// What older dockers save.
pub fn docker(names: &[&str], mark: &str) -> Tar {
    let layer = layer(mark);
    let manifest = json!([{ "Config": "abc.json", "RepoTags": names, "Layers": ["x/layer.tar"] }]);
    Tar::default()
        .file("x/layer.tar", layer.clone())
        .file("./abc.json", config(&[layer]).to_string())
        .file("manifest.json", manifest.to_string())
}

fn write(daemon: &Daemon, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = daemon.path(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// Imports the busybox image and returns its top snapshot.
pub async fn busybox(daemon: &Daemon, client: &Containerd) -> String {
    let path = write(daemon, "busybox.tar", oci("docker.io/library/it:1", "plain").bytes());
    assert_eq!(client.import(&path).await.unwrap(), ["docker.io/library/it:1"]);
    client.image("it:1").await.unwrap().unwrap().chain_id
}

#[tokio::test]
async fn archives_of_every_form_are_imported_and_outlive_the_garbage_collector() {
    let Some(daemon) = daemon().await else { return };
    let client = daemon.ready().await;
    let forms: [(&str, Compress); 3] = [("plain", <[u8]>::to_vec), ("gzip", gzip), ("zstd", zstd)];
    for (form, compress) in forms {
        let name = format!("docker.io/library/oci-{form}:1");
        let path = write(&daemon, "oci", compress(&oci(&name, &format!("oci {form}")).bytes()));
        assert_eq!(client.import(&path).await.unwrap(), [name]);
        let names = [format!("docker-{form}:1"), format!("localhost:5000/team/docker-{form}:2")];
        let names = [names[0].as_str(), names[1].as_str()];
        let path =
            write(&daemon, "docker", compress(&docker(&names, &format!("docker {form}")).bytes()));
        let imported = client.import(&path).await.unwrap();
        assert_eq!(imported, [format!("docker.io/library/{}", names[0]), names[1].to_owned()]);
    }
    daemon.collect_garbage();
    for (reference, digest) in daemon.images() {
        let found = client.image(&reference).await.unwrap().unwrap();
        assert_eq!(found.config.cmd, ["/bin/busybox", "sh"]);
        assert_eq!(found.config.env, ["A=1"]);
        let snapshots = daemon.ctr(&["snapshots", "info", &found.chain_id]);
        assert!(snapshots.contains("Committed"), "{snapshots}");
        // Every blob is still there.
        let by_digest = client.image(&format!("{reference}@{digest}")).await.unwrap();
        assert!(by_digest.is_some(), "{reference}");
    }
    assert_eq!(daemon.ctr(&["images", "check", "-q"]).lines().count(), 9);
    assert_eq!(
        client.image("docker-zstd:1").await.unwrap().unwrap().reference,
        "docker.io/library/docker-zstd:1"
    );
    assert_eq!(client.image("nothing").await.unwrap(), None);
    daemon.assert_empty();
}

#[tokio::test]
async fn a_name_moves_to_the_image_that_was_imported_last() {
    let Some(daemon) = daemon().await else { return };
    let client = daemon.ready().await;
    let mut digests = Vec::new();
    for mark in ["old", "new"] {
        let path = write(&daemon, mark, docker(&["app:1"], mark).bytes());
        client.import(&path).await.unwrap();
        digests.push(client.image("app:1").await.unwrap().unwrap().digest);
    }
    assert_ne!(digests[0], digests[1]);
    daemon.collect_garbage();
    assert_eq!(client.image("app:1").await.unwrap().unwrap().digest, digests[1]);
    daemon.assert_empty();
}

#[tokio::test]
async fn a_broken_archive_is_refused_by_name_and_cause_and_leaves_nothing() {
    let Some(daemon) = daemon().await else { return };
    let client = daemon.ready().await;
    let good = oci("docker.io/library/broken:1", "broken").bytes();
    let mut flipped = good.clone();
    let place = flipped.windows(6).rposition(|bytes| bytes == b"s390x\"").unwrap();
    flipped[place] = b'S';
    let nameless = docker(&[], "nameless").bytes();
    let missing = Tar::default()
        .file("manifest.json", r#"[{"Config":"c.json","RepoTags":["a:1"],"Layers":["l.tar"]}]"#);
    let foreign = Tar::default()
        .file("c.json", r#"{"os":"linux","architecture":"mips"}"#)
        .file("manifest.json", r#"[{"Config":"c.json","RepoTags":["a:1"],"Layers":[]}]"#);
    let garbled = Tar::default().file("index.json", "{").bytes();
    for (name, bytes, cause) in [
        ("truncated.tar", good[..good.len() / 3].to_vec(), "cannot be read as a tar archive"),
        ("truncated.tar.gz", gzip(&good)[..9000].to_vec(), "cannot be read as a tar archive"),
        ("truncated.tar.zst", zstd(&good)[..9000].to_vec(), "cannot be read as a tar archive"),
        ("text.tar", b"this is no archive".repeat(100), "cannot be read as a tar archive"),
        ("empty.tar", Vec::new(), "is no image archive"),
        ("flipped.tar", flipped, "the archive is corrupt"),
        ("nameless.tar", nameless, "names no image"),
        ("missing.tar", missing.bytes(), "c.json is missing"),
        ("foreign.tar", foreign.bytes(), "is for linux/mips"),
        ("garbled.tar", garbled, "index.json cannot be read"),
    ] {
        let path = write(&daemon, name, bytes);
        let error = client.import(&path).await.expect_err(name).to_string();
        assert!(error.contains(path.to_str().unwrap()) && error.contains(cause), "{name}: {error}");
    }
    let error = client.import(&daemon.path("absent.tar")).await.unwrap_err().to_string();
    assert!(error.contains("absent.tar: cannot be opened"), "{error}");
    assert_eq!(daemon.images(), []);
    daemon.assert_empty();
}

#[tokio::test]
async fn an_image_of_another_client_is_unpacked_once_for_all_who_ask() {
    let Some(daemon) = daemon().await else { return };
    let client = daemon.ready().await;
    let path = write(&daemon, "a.tar", oci("docker.io/library/other:1", "other").bytes());
    daemon.ctr(&["images", "import", "--no-unpack", path.to_str().unwrap()]);
    // Another connection, which shares no lock with the first.
    let stranger = daemon.client();
    let (a, b, c, d) = tokio::join!(
        client.image("other:1"),
        client.image("docker.io/library/other:1"),
        client.image("other:1"),
        stranger.image("other:1"),
    );
    let images = [a, b, c, d].map(|image| image.unwrap().unwrap());
    assert!(images.iter().all(|image| image.chain_id == images[0].chain_id));
    daemon.collect_garbage();
    let snapshots = daemon.ctr(&["snapshots", "list"]);
    assert_eq!(snapshots.lines().count(), 3, "{snapshots}");
    daemon.assert_empty();
}

#[tokio::test]
async fn an_image_that_lost_a_part_is_broken_and_a_wrong_name_is_invalid() {
    let Some(daemon) = daemon().await else { return };
    let client = daemon.ready().await;
    let path = write(&daemon, "a.tar", docker(&["app:1"], "app").bytes());
    client.import(&path).await.unwrap();
    let image = client.image("app:1").await.unwrap().unwrap();
    daemon.ctr(&["content", "rm", &image.digest]);
    let error = daemon.client().image("app:1").await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("app:1") && text.contains(&image.digest), "{text}");
    assert_eq!(error.class(), Class::Other);
    for name in ["", "App", "a b", "app:"] {
        assert_eq!(client.image(name).await.unwrap_err().class(), Class::Invalid, "{name}");
    }
}
