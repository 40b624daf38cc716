//! Blobs that come in parts, leases that outlive their maker, and a pull's steps as containerd keeps them.

use std::time::Duration;

use podward::testing::{
    containerd::{Blob, Class, Containerd, Error, Labels, holding_labels, layers_of},
    documents::{CONFIG, Configuration, Descriptor, LAYER, MANIFEST, Manifest},
};
use serde_json::json;

use super::{
    daemon::{Daemon, daemon},
    images::{Tar, config, digest, gzip, layer},
};

/// The name of the image that is pulled.
const NAME: &str = "registry.local/team/app:1";

/// Bytes that do not compress and differ by `seed`.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

fn blob(bytes: &[u8]) -> Blob {
    let labels = Labels::from([("podward.dev/test".to_owned(), "yes".to_owned())]);
    Blob { digest: digest(bytes), size: bytes.len() as u64, labels }
}

/// What `ctr content ls` shows of a blob.
pub fn stored(daemon: &Daemon, digest: &str) -> Option<String> {
    let list = daemon.ctr(&["content", "ls"]);
    list.lines().find(|line| line.starts_with(digest)).map(str::to_owned)
}

/// The ingests that are not finished.
pub fn unfinished(daemon: &Daemon) -> usize {
    daemon.ctr(&["content", "active"]).lines().skip(1).count()
}

/// Waits until containerd shows this many bytes of the one unfinished ingest.
async fn stored_part(daemon: &Daemon, bytes: &str) {
    for _ in 0..400 {
        if daemon.ctr(&["content", "active"]).contains(bytes) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("no {bytes} in {}", daemon.ctr(&["content", "active"]));
}

#[tokio::test]
async fn a_blob_goes_on_where_a_lost_writer_stopped_also_in_another_process() {
    let Some(mut daemon) = daemon().await else { return };
    let bytes = noise(1, 5 << 20);
    let blob = blob(&bytes);
    let mut offset = 0;
    for (place, shown) in [(1 << 20, "1.049MB"), (3 << 20, "3.146MB")] {
        let client = daemon.ready().await;
        let lease = client.pull_lease(NAME).await.unwrap();
        let mut ingest = client.open_ingest(&lease, &blob).await.unwrap().unwrap();
        assert_eq!(ingest.offset(), offset);
        // In pieces of no round size.
        for piece in bytes[usize::try_from(offset).unwrap()..place].chunks(10_007) {
            ingest.write(piece).await.unwrap();
        }
        stored_part(&daemon, shown).await;
        drop(ingest);
        offset = place as u64;
        daemon.collect_garbage();
    }
    // And after the daemon's death.
    daemon.kill();
    daemon.revive().await;
    let client = daemon.ready().await;
    let lease = client.pull_lease(NAME).await.unwrap();
    let mut ingest = client.open_ingest(&lease, &blob).await.unwrap().unwrap();
    assert_eq!(ingest.offset(), offset);
    ingest.write(&bytes[3 << 20..]).await.unwrap();
    client.commit_ingest(&lease, ingest, &blob).await.unwrap();
    assert_eq!(unfinished(&daemon), 0);
    let line = stored(&daemon, &blob.digest).unwrap();
    assert!(line.contains("podward.dev/test=yes"), "{line}");
    assert!(client.open_ingest(&lease, &blob).await.unwrap().is_none());
    // What nothing names goes with the lease.
    daemon.collect_garbage();
    assert!(stored(&daemon, &blob.digest).is_some());
    client.end_pull_lease(NAME, true).await.unwrap();
    assert_eq!(stored(&daemon, &blob.digest), None);
    daemon.assert_empty();
}

#[tokio::test]
async fn bytes_that_are_not_the_digests_are_thrown_away() {
    let Some(daemon) = daemon().await else { return };
    let client = daemon.ready().await;
    let lease = client.pull_lease(NAME).await.unwrap();
    let bytes = noise(2, 300_000);
    let blob = blob(&bytes);
    let mut other = bytes.clone();
    other[100] ^= 1;
    for (wrong, what) in [(&other[..], "digest"), (&bytes[..200_000], "size")] {
        let mut ingest = client.open_ingest(&lease, &blob).await.unwrap().unwrap();
        assert_eq!(ingest.offset(), 0);
        ingest.write(wrong).await.unwrap();
        let error = client.commit_ingest(&lease, ingest, &blob).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Corrupt { .. }), "{text}");
        assert!(text.contains(&blob.digest) && text.contains(what), "{text}");
        assert_eq!(unfinished(&daemon), 0);
    }
    let mut ingest = client.open_ingest(&lease, &blob).await.unwrap().unwrap();
    ingest.write(&bytes).await.unwrap();
    assert!(matches!(ingest.write(b"x").await, Err(Error::Corrupt { .. })));
    client.commit_ingest(&lease, ingest, &blob).await.unwrap();
    client.end_pull_lease(NAME, true).await.unwrap();
}

#[tokio::test]
async fn of_two_writers_of_one_blob_the_second_waits_and_writes_nothing() {
    let Some(daemon) = daemon().await else { return };
    let (client, stranger) = (daemon.ready().await, daemon.client());
    let bytes = noise(3, 1 << 20);
    let blob = blob(&bytes);
    let lease = client.pull_lease(NAME).await.unwrap();
    let other = stranger.pull_lease("registry.local/team/app:2").await.unwrap();
    let mut ingest = client.open_ingest(&lease, &blob).await.unwrap().unwrap();
    let (first, second) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            ingest.write(&bytes).await.unwrap();
            client.commit_ingest(&lease, ingest, &blob).await
        },
        stranger.open_ingest(&other, &blob),
    );
    first.unwrap();
    assert!(second.unwrap().is_none());
    // Each lease holds it.
    client.end_pull_lease(NAME, true).await.unwrap();
    assert!(stored(&daemon, &blob.digest).is_some());
    client.end_pull_lease("registry.local/team/app:2", true).await.unwrap();
    assert_eq!(stored(&daemon, &blob.digest), None);
}

#[tokio::test]
async fn what_another_namespace_has_is_not_sent_again() {
    let Some(daemon) = daemon().await else { return };
    let bytes = noise(4, 1 << 20);
    let blob = blob(&bytes);
    let mut settings = daemon.settings();
    settings.namespace = "k8s.io".into();
    let neighbour = Containerd::new(settings).unwrap();
    neighbour.ensure_namespace().await.unwrap();
    let lease = neighbour.pull_lease(NAME).await.unwrap();
    neighbour.write_bytes(&lease, &blob, &bytes).await.unwrap();
    let client = daemon.ready().await;
    let lease = client.pull_lease(NAME).await.unwrap();
    let ingest = client.open_ingest(&lease, &blob).await.unwrap().unwrap();
    assert_eq!(ingest.offset(), blob.size);
    client.commit_ingest(&lease, ingest, &blob).await.unwrap();
    assert!(stored(&daemon, &blob.digest).unwrap().contains("podward.dev/test=yes"));
}

/// An image of two layers, as a registry would hand it out.
pub struct Remote {
    pub manifest: Vec<u8>,
    pub config: Vec<u8>,
    pub layers: Vec<Vec<u8>>,
}

impl Remote {
    fn new(mark: &str) -> Self {
        Self::of(&[layer("shared"), Tar::default().file("etc/second", mark).bytes()])
    }

    /// An image of these layers.
    pub fn of(tars: &[Vec<u8>]) -> Self {
        let config = config(tars).to_string().into_bytes();
        let layers: Vec<Vec<u8>> = tars.iter().map(|tar| gzip(tar)).collect();
        let descriptor = |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "digest": digest(bytes), "size": bytes.len() });
        let gzipped = format!("{LAYER}+gzip");
        let parts: Vec<_> = layers.iter().map(|bytes| descriptor(&gzipped, bytes)).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, &config),
            "layers": parts,
        });
        Self { manifest: manifest.to_string().into_bytes(), config, layers }
    }

    /// Pulls it by hand; returns how many layers had to be unpacked.
    async fn pull(&self, client: &Containerd, names: &[String]) -> usize {
        let lease = client.pull_lease(&names[0]).await.unwrap();
        let manifest: Manifest = serde_json::from_slice(&self.manifest).unwrap();
        let configuration: Configuration = serde_json::from_slice(&self.config).unwrap();
        let layers = layers_of(&manifest, &configuration).unwrap();
        let here = client.unpacked_layers(&lease, &layers).await.unwrap();
        let mut below = "";
        for (number, layer) in layers.iter().enumerate() {
            if number >= here {
                let blob = blob(&self.layers[number]);
                client.write_bytes(&lease, &blob, &self.layers[number]).await.unwrap();
                client.unpack_layer(&lease, layer, below).await.unwrap();
            }
            below = &layer.chain_id;
        }
        let mut document = blob(&self.config);
        document.labels.extend([client.snapshot_label(layers.last().unwrap())]);
        client.write_bytes(&lease, &document, &self.config).await.unwrap();
        let mut document = blob(&self.manifest);
        let layers = manifest.layers.iter().enumerate().map(|(n, layer)| (format!("l.{n}"), layer));
        document.labels = holding_labels(layers.chain([("config".to_owned(), &manifest.config)]));
        client.write_bytes(&lease, &document, &self.manifest).await.unwrap();
        let mut target = Descriptor::of(&document.digest);
        target.size = i64::try_from(document.size).unwrap();
        for name in names {
            client.name_image(name, &target).await.unwrap();
        }
        client.end_pull_lease(&names[0], false).await.unwrap();
        configuration.rootfs.diff_ids.len() - here
    }

    fn names(&self, tag: &str) -> [String; 2] {
        let by_digest = format!("registry.local/team/app@{}", digest(&self.manifest));
        [format!("registry.local/team/app:{tag}"), by_digest]
    }
}

#[tokio::test]
async fn images_share_layers_outlive_a_moved_tag_and_go_without_a_trace() {
    let Some(daemon) = daemon().await else { return };
    let client = daemon.ready().await;
    let (old, new) = (Remote::new("old"), Remote::new("new"));
    assert_eq!(old.pull(&client, &old.names("1")).await, 2);
    daemon.collect_garbage();
    assert_eq!(new.pull(&client, &new.names("1")).await, 1);
    daemon.collect_garbage();
    daemon.assert_empty();

    // The tag has moved; the old image keeps its other name.
    let image = client.image(NAME).await.unwrap().unwrap();
    assert_eq!(image.digest, digest(&new.manifest));
    let pinned = digest(&old.manifest);
    let kept = client.image_by_manifest(NAME, &pinned).await.unwrap().unwrap();
    assert_eq!((kept.digest.as_str(), kept.config.cmd[1].as_str()), (pinned.as_str(), "sh"));
    assert!(client.has_layers(&kept.chain_id).await.unwrap());
    assert_ne!(kept.chain_id, image.chain_id);

    client.label_image(&old.names("1")[1], "podward.dev/verified", "key").await.unwrap();
    let images = client.stored_images().await.unwrap();
    let size = |remote: &Remote| {
        (remote.config.len() + remote.layers.iter().map(Vec::len).sum::<usize>()) as u64
    };
    for (remote, names) in [(&old, &old.names("1")[1..]), (&new, &new.names("1")[..])] {
        let found = images.iter().find(|image| image.target == digest(&remote.manifest)).unwrap();
        assert_eq!(found.names, names);
        assert_eq!((&found.manifest, found.size), (&found.target, size(remote)));
        assert!(found.created <= found.updated && !found.pinned);
        let verified = found.labels.get("podward.dev/verified").map(String::as_str);
        assert_eq!(verified, (names.len() == 1).then_some("key"));
    }

    client.remove_image(&old.names("1")[1..], true).await.unwrap();
    assert_eq!(client.image_by_manifest(NAME, &pinned).await.unwrap(), None);
    assert!(!client.has_layers(&kept.chain_id).await.unwrap());
    assert!(client.image(NAME).await.unwrap().is_some());
    client.remove_image(&new.names("1"), true).await.unwrap();
    client.remove_image(&new.names("1"), true).await.unwrap();
    assert_eq!(daemon.ctr(&["content", "ls", "-q"]), "");
    assert_eq!(daemon.ctr(&["snapshots", "list"]).lines().count(), 1);
}

#[tokio::test]
async fn the_lease_of_a_pull_outlives_the_agent_until_the_image_has_its_name() {
    let Some(daemon) = daemon().await else { return };
    let client = daemon.ready().await;
    let lease = client.pull_lease(NAME).await.unwrap();
    let bytes = noise(5, 100_000);
    client.write_bytes(&lease, &blob(&bytes), &bytes).await.unwrap();

    let next = daemon.client();
    assert_eq!(next.sweep(&[].into()).await.unwrap(), Vec::<String>::new());
    daemon.collect_garbage();
    assert!(stored(&daemon, &digest(&bytes)).is_some());

    // Dead between the name and the end of the lease.
    let remote = Remote::new("named");
    remote.pull(&client, &["registry.local/team/elsewhere:1".to_owned()]).await;
    let mut target = Descriptor::of(&digest(&remote.manifest));
    target.size = i64::try_from(remote.manifest.len()).unwrap();
    client.name_image(NAME, &target).await.unwrap();
    let swept = daemon.client().sweep(&[].into()).await.unwrap();
    assert_eq!(swept.len(), 1, "{swept:?}");
    daemon.collect_garbage();
    assert_eq!(stored(&daemon, &digest(&bytes)), None);
    daemon.assert_empty();
}

#[tokio::test]
async fn a_layer_that_unpacks_to_something_else_is_named_and_leaves_no_snapshot() {
    let Some(daemon) = daemon().await else { return };
    let client = daemon.ready().await;
    let lease = client.pull_lease(NAME).await.unwrap();
    let remote = Remote::new("wrong");
    let manifest: Manifest = serde_json::from_slice(&remote.manifest).unwrap();
    let configuration: Configuration = serde_json::from_slice(&remote.config).unwrap();
    let mut layers = layers_of(&manifest, &configuration).unwrap();
    layers[0].diff_id = digest(b"something else");
    client.write_bytes(&lease, &blob(&remote.layers[0]), &remote.layers[0]).await.unwrap();
    let failure = format!("{:?}", client.unpack_layer(&lease, &layers[0], "").await.unwrap_err());
    assert!(failure.contains(&digest(b"something else")), "{failure}");
    assert!(failure.contains(&layers[0].descriptor.digest), "{failure}");
    assert_eq!(daemon.ctr(&["snapshots", "list"]).lines().count(), 1);
    let missing = client.unpack_layer(&lease, &layers[1], "").await.unwrap_err();
    assert!(
        matches!(missing, podward::testing::containerd::Failure::Call(error) if error.class() == Class::Missing)
    );
    client.end_pull_lease(NAME, true).await.unwrap();
    daemon.assert_empty();
}
