//! Whole pulls into a real containerd, from a registry that breaks off, lies, or serves no parts.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use podward::testing::{
    LoginSettings, PullError, PullSettings, Puller, Request,
    containerd::Containerd,
    documents::{INDEX, MANIFEST},
    progress::{LayerState, Progress},
    reference::Reference,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::{
    daemon::{Daemon, daemon},
    images::{Tar, digest, layer},
    ingest::{Remote, noise, stored, unfinished},
};

/// What a registry of one repository serves, and how it fails.
#[derive(Default)]
struct Shelf {
    /// Bodies with their types, by the end of their paths.
    bodies: BTreeMap<String, (String, Vec<u8>)>,
    /// After how many bytes of which body the connection breaks; each once.
    breaks: Vec<(String, usize)>,
    /// Whether parts are served.
    parts: bool,
    /// What was asked for, with the byte from which on.
    asked: Vec<(String, usize)>,
}

/// A registry of a few lines.
#[derive(Clone)]
struct Registry {
    shelf: Arc<Mutex<Shelf>>,
    host: String,
}

impl Registry {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let registry =
            Self { shelf: Arc::new(Mutex::new(Shelf { parts: true, ..Shelf::default() })), host };
        let serving = registry.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(stream).await });
            }
        });
        registry
    }

    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.ok()?);
            }
            let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
            let path = head.split(' ').nth(1)?.rsplit('/').next()?.to_owned();
            let from = head.split_once("range: bytes=");
            let from = from.and_then(|(_, rest)| rest.split('-').next()?.parse().ok());
            let (answer, body) = self.answer(&path, from);
            stream.write_all(answer.as_bytes()).await.ok()?;
            let end = {
                let mut here = self.shelf.lock().unwrap();
                let place = here.breaks.iter().position(|(of, _)| *of == path);
                place.map(|place| here.breaks.remove(place).1)
            };
            stream.write_all(&body[..end.unwrap_or(body.len()).min(body.len())]).await.ok()?;
            if end.is_some() {
                return None;
            }
        }
    }

    fn answer(&self, path: &str, from: Option<usize>) -> (String, Vec<u8>) {
        let mut here = self.shelf.lock().unwrap();
        here.asked.push((path.to_owned(), from.unwrap_or(0)));
        let Some((kind, body)) = here.bodies.get(path) else {
            return ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".into(), Vec::new());
        };
        let all = body.len();
        let (status, from) = match from.filter(|_| here.parts) {
            Some(from) => (
                format!("206 Partial Content\r\ncontent-range: bytes {from}-{}/{all}", all - 1),
                from,
            ),
            None => ("200 OK".to_owned(), 0),
        };
        let left = all - from;
        (
            format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {left}\r\n\r\n"),
            body[from..].to_vec(),
        )
    }

    /// Offers an image under a tag, by way of an index.
    fn offer(&self, tag: &str, image: &Remote) -> String {
        let index = json!({
            "schemaVersion": 2, "mediaType": INDEX,
            "manifests": [{ "mediaType": MANIFEST, "digest": digest(&image.manifest), "size": image.manifest.len() }],
        });
        let index = index.to_string().into_bytes();
        let top = digest(&index);
        let mut here = self.shelf.lock().unwrap();
        for (name, kind, body) in [
            (tag.to_owned(), INDEX, &index),
            (top.clone(), INDEX, &index),
            (digest(&image.manifest), MANIFEST, &image.manifest),
            (digest(&image.config), "application/octet-stream", &image.config),
        ] {
            here.bodies.insert(name, (kind.to_owned(), body.clone()));
        }
        for layer in &image.layers {
            let body = ("application/octet-stream".to_owned(), layer.clone());
            here.bodies.insert(digest(layer), body);
        }
        top
    }

    fn reference(&self, tag: &str) -> Reference {
        Reference::parse(&format!("{}/team/app:{tag}", self.host)).unwrap()
    }

    fn asked(&self) -> Vec<(String, usize)> {
        std::mem::take(&mut self.shelf.lock().unwrap().asked)
    }

    fn change(&self, change: impl FnOnce(&mut Shelf)) {
        change(&mut self.shelf.lock().unwrap());
    }
}

/// What pulls from it.
fn puller(daemon: &Daemon, client: &Containerd, registry: &Registry) -> Puller {
    let hosts = daemon.path("certs.d").join(&registry.host);
    fs::create_dir_all(&hosts).unwrap();
    fs::write(hosts.join("hosts.toml"), format!("server = \"http://{}\"\n", registry.host))
        .unwrap();
    let logins = LoginSettings {
        auth_file: daemon.path("auth.json"),
        provider_config: None,
        provider_dir: daemon.path("providers"),
    };
    fs::write(&logins.auth_file, "{}").unwrap();
    let hosts_dir = daemon.path("certs.d");
    Puller::new(
        client.clone(),
        PullSettings { transfer: false, hosts_dir, logins, parallel_layers: 3 },
    )
}

async fn pull(
    puller: &Puller,
    reference: &Reference,
) -> Result<(String, String, Progress), PullError> {
    let progress = watch::Sender::new(Progress::default());
    let request = Request { reference, secrets: &[], signatures: None };
    let image = puller.pull(request, &progress).await?.image;
    let progress = progress.borrow().clone();
    Ok((image.digest, image.chain_id, progress))
}

/// An image whose second layer is large.
fn large(mark: &str) -> Remote {
    let second = Tar::default().file("data", noise(9, 3 << 20)).file("mark", mark).bytes();
    Remote::of(&[layer("shared"), second, Tar::default().file("top", mark).bytes()])
}

#[tokio::test]
async fn an_image_comes_by_tag_through_breaks_and_outlives_the_garbage_collector() {
    let Some(daemon) = daemon().await else { return };
    let client = daemon.ready().await;
    let registry = Registry::open().await;
    let image = large("one");
    let top = registry.offer("1", &image);
    let big = digest(&image.layers[1]);
    registry.change(|shelf| shelf.breaks = vec![(big.clone(), 1 << 20), (big.clone(), 1 << 20)]);
    let puller = puller(&daemon, &client, &registry);
    let (manifest, chain, progress) = pull(&puller, &registry.reference("1")).await.unwrap();
    assert_eq!(manifest, digest(&image.manifest));
    assert!(client.has_layers(&chain).await.unwrap());
    assert!(
        progress
            .layers
            .iter()
            .all(|layer| layer.state == LayerState::Done && layer.here == layer.size)
    );
    let asked = registry.asked();
    let parts: Vec<usize> =
        asked.iter().filter(|(path, _)| *path == big).map(|(_, from)| *from).collect();
    assert_eq!(parts, [0, 1 << 20, 2 << 20]);

    daemon.collect_garbage();
    daemon.assert_empty();
    assert_eq!(unfinished(&daemon), 0);
    assert_eq!(daemon.ctr(&["images", "check", "-q"]).lines().count(), 2);
    let found = client.image(&format!("{}/team/app@{top}", registry.host)).await.unwrap().unwrap();
    assert_eq!((found.digest, found.chain_id), (manifest, chain));

    // Again: nothing but the tag is asked for. Another image: only what is new.
    pull(&puller, &registry.reference("1")).await.unwrap();
    assert_eq!(registry.asked(), [("1".to_owned(), 0)]);
    let other = large("two");
    registry.offer("1", &other);
    let (_, _, progress) = pull(&puller, &registry.reference("1")).await.unwrap();
    assert_eq!(progress.layers[0].state, LayerState::Present);
    let asked = registry.asked();
    assert!(!asked.iter().any(|(path, _)| *path == digest(&other.layers[0])), "{asked:?}");
    daemon.collect_garbage();
    daemon.assert_empty();
}

#[tokio::test]
async fn a_pull_that_was_cut_off_goes_on_in_another_process_or_is_forgotten() {
    let Some(daemon) = daemon().await else { return };
    let registry = Registry::open().await;
    let image = large("cut");
    registry.offer("1", &image);
    let big = digest(&image.layers[1]);
    let reference = registry.reference("1");
    // More breaks in one place than a pull has patience for.
    registry.change(|shelf| {
        shelf.breaks = vec![(big.clone(), 2 << 20)];
        shelf.breaks.extend((0..4).map(|_| (big.clone(), 0)));
    });
    let client = daemon.ready().await;
    let error = pull(&puller(&daemon, &client, &registry), &reference).await.unwrap_err();
    assert!(matches!(error, PullError::Network { .. } | PullError::Answer { .. }), "{error:?}");
    assert!(client.image(&reference.names()[0]).await.unwrap().is_none());
    daemon.collect_garbage();
    registry.asked();

    let client = daemon.ready().await;
    let next = puller(&daemon, &client, &registry);
    pull(&next, &reference).await.unwrap();
    let asked = registry.asked();
    assert!(
        asked.contains(&(big.clone(), 2 << 20)) && !asked.contains(&(big.clone(), 0)),
        "{asked:?}"
    );
    daemon.collect_garbage();
    daemon.assert_empty();

    let lost = large("lost");
    registry.offer("2", &lost);
    let big = digest(&lost.layers[1]);
    registry.change(|shelf| shelf.breaks = (0..4).map(|_| (big.clone(), 0)).collect());
    let reference = registry.reference("2");
    pull(&next, &reference).await.unwrap_err();
    next.forget(&reference).await.unwrap();
    assert_eq!(unfinished(&daemon), 0);
    assert_eq!(stored(&daemon, &digest(&lost.config)), None);
    daemon.assert_empty();
}

#[tokio::test]
async fn wrong_bytes_are_named_and_a_host_without_parts_begins_anew() {
    let Some(daemon) = daemon().await else { return };
    let client = daemon.ready().await;
    let registry = Registry::open().await;
    let puller = puller(&daemon, &client, &registry);
    let image = large("wrong");
    registry.offer("1", &image);
    let big = digest(&image.layers[1]);
    let reference = registry.reference("1");
    registry.change(|shelf| shelf.bodies.get_mut(&big).unwrap().1[1000] ^= 1);
    let error = pull(&puller, &reference).await.unwrap_err();
    assert!(matches!(error, PullError::Digest { .. }), "{error:?}");
    assert!(error.to_string().contains(&big), "{error}");

    registry.change(|shelf| {
        shelf.bodies.get_mut(&big).unwrap().1[1000] ^= 1;
        shelf.breaks = vec![(big.clone(), 2 << 20)];
        shelf.parts = false;
    });
    tokio::time::timeout(Duration::from_mins(1), pull(&puller, &reference)).await.unwrap().unwrap();
    daemon.collect_garbage();
    daemon.assert_empty();

    let mut foreign = large("foreign");
    let manifest = String::from_utf8(foreign.manifest).unwrap();
    foreign.manifest = manifest.replacen("layer.v1", "layer.nondistributable.v1", 1).into_bytes();
    registry.offer("3", &foreign);
    let error = pull(&puller, &registry.reference("3")).await.unwrap_err().to_string();
    assert!(error.contains("nondistributable"), "{error}");
    let missing = pull(&puller, &registry.reference("4")).await.unwrap_err();
    assert!(matches!(missing, PullError::Missing { .. }), "{missing:?}");
}
