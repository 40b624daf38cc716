//! The Transfer service of containerd 2.x: the daemon pulls by itself, and its image verifiers are asked first.
//!
//! The daemon calls back on two streams that we open before: one tells how far it is, on the other it asks for
//! credentials, which thus never stand in a request or on a disk.

use std::{convert::Infallible, error::Error as _, fmt, future::pending, path::Path};

use containerd_client::{
    services::v1::{StreamInit, TransferOptions, TransferRequest},
    to_any,
    types::{
        self,
        transfer::{
            AuthRequest, AuthResponse, AuthType, ImageStore, OciRegistry, Progress as Event,
            RegistryResolver, UnpackConfiguration,
        },
    },
};
use prost::Message as _;
use prost_types::Any;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Response, Status, Streaming};

use super::{
    Containerd, Image,
    client::{call, long_call},
    error::Error,
};
use crate::image::{
    credentials::Login,
    documents::{Descriptor, Manifest, Platform},
    progress::{LayerProgress, LayerState, Progress},
    reference::Reference,
};

/// The first release whose Transfer service reads `hosts.toml`: to 1.7 that field of the request means nothing,
/// and it would ask other hosts than the operator named.
const FIRST: u32 = 2;

/// What the daemon is to pull.
#[derive(Clone, Copy)]
pub struct Transfer<'a> {
    /// The image.
    pub reference: &'a Reference,
    /// The digest that it must have, where that is known already.
    pub digest: Option<&'a str>,
    /// The directory of `hosts.toml` files, which the daemon reads.
    pub hosts_dir: &'a Path,
    /// What is shown to a host that asks for it; it is asked with the host's name and port.
    pub login: &'a (dyn Fn(&str) -> Option<Login> + Sync),
}

impl fmt::Debug for Transfer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transfer({:?} by {})", self.reference, self.hosts_dir.display())
    }
}

/// What the daemon pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transferred {
    /// The image, unpacked.
    pub image: Image,
    /// The bytes of its configuration and layers as they travel.
    pub size: u64,
}

impl Containerd {
    /// Has the daemon pull an image. Dropping the future ends the daemon's work too; what it had fetched by then
    /// is garbage to it.
    pub async fn transfer(
        &self,
        wanted: Transfer<'_>,
        progress: &watch::Sender<Progress>,
    ) -> Result<Transferred, Error> {
        self.must_transfer().await?;
        progress.send_replace(Progress::default());
        let name = &name_of(wanted.reference);
        let news = self.open_stream("progress").await?;
        let questions = self.open_stream("credentials").await?;
        let source = match wanted.digest {
            Some(digest) => format!("{}@{digest}", wanted.reference.repository),
            None => name.clone(),
        };
        let streams = (questions.id.as_str(), news.id.as_str());
        let request = self.transfer_request(source, name, wanted.hosts_dir, streams);
        let mut service = self.client().transfers();
        let transfer = async {
            let answer = service.transfer(self.client().request(request)).await;
            answer.map_err(of_registry)
        };
        let transfer = long_call("pull", name, transfer);
        let mut course = Course { progress, touched: Vec::new() };
        tokio::select! {
            ended = transfer => ended?,
            never = self.follow(news, &mut course) => match never {},
            never = answer(questions, wanted.login) => match never {},
        };
        self.take_in(wanted.reference, name, course).await
    }

    /// Refuses a daemon that cannot do what `containerd.pull: transfer` promises. It is asked each time: the
    /// answer takes a tenth of a millisecond, and a daemon may be replaced while we live.
    async fn must_transfer(&self) -> Result<(), Error> {
        let version = self.version().await?;
        if major(&version).is_some_and(|major| major < FIRST) {
            return Err(Error::TransferAbsent { version });
        }
        Ok(())
    }

    /// The request, with the names of the streams on which the daemon calls back.
    fn transfer_request(
        &self,
        reference: String,
        name: &str,
        hosts_dir: &Path,
        (credentials, progress): (&str, &str),
    ) -> TransferRequest {
        let host = Platform::of_host();
        let source = OciRegistry {
            reference,
            resolver: Some(RegistryResolver {
                auth_stream: credentials.to_owned(),
                host_dir: hosts_dir.display().to_string(),
                // Or else the daemon would speak plain HTTP with its own host, where nothing says so.
                default_scheme: "https".to_owned(),
                ..RegistryResolver::default()
            }),
        };
        let destination = ImageStore {
            name: name.to_owned(),
            platforms: platforms(&host),
            // One image, the best; and an error, instead of an empty image, when none fits.
            manifest_limit: 1,
            unpacks: vec![UnpackConfiguration {
                platform: Some(wire_platform(&host)),
                snapshotter: self.settings().snapshotter.clone(),
            }],
            ..ImageStore::default()
        };
        TransferRequest {
            source: Some(to_any(&source)),
            destination: Some(to_any(&destination)),
            options: Some(TransferOptions { progress_stream: progress.to_owned() }),
        }
    }

    /// Opens a stream on which the daemon calls back. It is registered once the daemon has answered: a transfer
    /// that named it before would not find it.
    async fn open_stream(&self, purpose: &str) -> Result<Callback, Error> {
        let id = format!("podward-{purpose}-{}", uuid::Uuid::new_v4().simple());
        let (sender, receiver) = mpsc::channel(4);
        sender
            .try_send(to_any(&StreamInit { id: id.clone() }))
            .expect("the channel is new and has room");
        let mut service = self.client().streams();
        let request = self.client().request(ReceiverStream::new(receiver));
        let mut messages = call("open stream", &id, service.stream(request)).await?;
        call("open stream", &id, async { messages.message().await.map(Response::new) }).await?;
        Ok(Callback { id, sender, messages })
    }

    /// Takes in the daemon's news for as long as it is awaited.
    async fn follow(&self, mut news: Callback, course: &mut Course<'_>) -> Infallible {
        while let Ok(Some(message)) = news.messages.message().await {
            let Ok(event) = Event::decode(message.value.as_slice()) else { continue };
            if let Some(digest) = event.name.strip_prefix("layer-") {
                if course.is_new()
                    && let Some(manifest) = self.manifest_of(&event.parents).await
                {
                    course.begin(&manifest);
                }
                course.advance(digest, &event);
            }
        }
        pending().await
    }

    /// The manifest that a layer's event names as its parent.
    async fn manifest_of(&self, parents: &[String]) -> Option<Manifest> {
        let digest = parents.iter().find_map(|parent| parent.strip_prefix("manifest-"))?;
        self.manifest(digest).await.ok().flatten()
    }

    /// A manifest out of the content store.
    async fn manifest(&self, digest: &str) -> Result<Option<Manifest>, Error> {
        let document = self.read_document(digest).await?;
        Ok(document.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Makes the second name of an image that the daemon has pulled, which holds it when the first one moves on,
    /// and reads it. A snapshotter that the daemon's transfers do not know was passed over: then we unpack.
    async fn take_in(
        &self,
        reference: &Reference,
        name: &str,
        mut course: Course<'_>,
    ) -> Result<Transferred, Error> {
        let gone = || Error::BrokenImage {
            reference: name.to_owned(),
            problem: "removed while it was pulled; pull it again".to_owned(),
        };
        let target = self.record_named(name).await?.and_then(|record| record.target);
        let target = read_descriptor(target.ok_or_else(gone)?);
        let second = format!("{}@{}", reference.repository, target.digest);
        if second != name {
            self.name_image(&second, &target).await?;
        }
        let image = self.image(name).await?.ok_or_else(gone)?;
        let manifest = self.manifest(&image.digest).await?.ok_or_else(gone)?;
        course.end(&manifest);
        let parts = manifest.layers.iter().chain([&manifest.config]);
        let size = parts.map(|part| u64::try_from(part.size).unwrap_or(0)).sum();
        Ok(Transferred { image, size })
    }
}

/// The name that an image is given: by tag what is asked for by tag, by digest what is asked for by digest.
fn name_of(reference: &Reference) -> String {
    let Reference { repository, tag, digest } = reference;
    match digest {
        Some(digest) => format!("{repository}@{digest}"),
        None => format!("{repository}:{}", tag.as_deref().unwrap_or("latest")),
    }
}

/// A status of the daemon's in which a registry's silence does not look like the daemon's own.
fn of_registry(status: Status) -> Status {
    match status.code() {
        // With a cause it was made on this side of the socket.
        Code::Unavailable | Code::DeadlineExceeded if status.source().is_none() => {
            Status::unknown(status.message())
        }
        _ => status,
    }
}

/// Answers the daemon's questions for credentials for as long as it is awaited. Each gets an answer: the daemon
/// waits for it without end.
async fn answer(
    mut questions: Callback,
    login: &(dyn Fn(&str) -> Option<Login> + Sync),
) -> Infallible {
    while let Ok(Some(message)) = questions.messages.message().await {
        let question = AuthRequest::decode(message.value.as_slice()).unwrap_or_default();
        let response = auth_response(login(&question.host));
        if questions.sender.send(to_any(&response)).await.is_err() {
            break;
        }
    }
    pending().await
}

/// A stream on which the daemon calls back.
struct Callback {
    /// Its name in the request.
    id: String,
    /// What we say; dropping it ends the stream.
    sender: mpsc::Sender<Any>,
    /// What the daemon says.
    messages: Streaming<Any>,
}

/// How far the daemon is, from its events.
struct Course<'a> {
    /// Who wants to know.
    progress: &'a watch::Sender<Progress>,
    /// The layers that the daemon has spoken of: it is silent about those whose snapshots are there.
    touched: Vec<String>,
}

impl Course<'_> {
    /// Whether no layer is known yet.
    fn is_new(&self) -> bool {
        self.progress.borrow().layers.is_empty()
    }

    /// Takes the layers from the manifest.
    fn begin(&self, manifest: &Manifest) {
        let layers = manifest.layers.iter().map(|layer| LayerProgress {
            digest: layer.digest.clone(),
            size: u64::try_from(layer.size).unwrap_or(0),
            here: 0,
            state: LayerState::Waiting,
        });
        self.progress.send_modify(|progress| progress.layers = layers.collect());
    }

    /// Takes in an event about a layer.
    fn advance(&mut self, digest: &str, event: &Event) {
        let bytes = |number: i64| u64::try_from(number).unwrap_or(0);
        if !self.touched.iter().any(|known| known == digest) {
            self.touched.push(digest.to_owned());
        }
        self.progress.send_modify(|progress| {
            // One layer may stand in an image twice.
            for layer in progress.layers.iter_mut().filter(|layer| layer.digest == digest) {
                match event.event.as_str() {
                    "downloading" => {
                        layer.state = LayerState::Downloading;
                        layer.here = bytes(event.progress).min(layer.size);
                    }
                    "complete" if layer.state != LayerState::Unpacking => {
                        layer.state = LayerState::Downloaded;
                        layer.here = layer.size;
                    }
                    "already exists" => {
                        layer.state = LayerState::Present;
                        layer.here = layer.size;
                    }
                    "extracting" => {
                        layer.state = LayerState::Unpacking;
                        layer.here = layer.size;
                    }
                    "extracted" => layer.state = LayerState::Done,
                    _ => {}
                }
            }
        });
    }

    /// Takes in that all is done: the last events may not have come.
    fn end(&mut self, manifest: &Manifest) {
        if self.is_new() {
            self.begin(manifest);
        }
        let touched = std::mem::take(&mut self.touched);
        self.progress.send_modify(|progress| {
            for layer in &mut progress.layers {
                layer.here = layer.size;
                layer.state = match layer.state {
                    LayerState::Waiting if !touched.contains(&layer.digest) => LayerState::Present,
                    LayerState::Present => LayerState::Present,
                    _ => LayerState::Done,
                };
            }
        });
    }
}

/// A login as the daemon takes it. The token of [`Login::Registry`] has a form of its own there, which 2.1 reads
/// as no credentials.
fn auth_response(login: Option<Login>) -> AuthResponse {
    let (kind, username, secret) = match login {
        None => (AuthType::None, String::new(), String::new()),
        Some(Login::Password { user, password }) => (AuthType::Credentials, user, password),
        Some(Login::Identity(token)) => (AuthType::Refresh, String::new(), token),
        Some(Login::Registry(token)) => {
            (AuthType::Header, String::new(), format!("Bearer {token}"))
        }
    };
    AuthResponse { auth_type: kind.into(), username, secret, expire_at: None }
}

/// What runs on a host, the best first: the daemon takes these as they stand, without our knowledge that an older
/// kind of ARM runs on a newer one.
fn platforms(host: &Platform) -> Vec<types::Platform> {
    let mut found = vec![wire_platform(host)];
    if host.architecture == "arm" {
        for variant in ["v6", "v5"] {
            let older = Platform { variant: variant.to_owned(), ..host.clone() };
            found.push(wire_platform(&older));
        }
    }
    found
}

/// containerd's descriptor as ours.
fn read_descriptor(descriptor: types::Descriptor) -> Descriptor {
    Descriptor {
        media_type: descriptor.media_type,
        digest: descriptor.digest,
        size: descriptor.size,
        annotations: descriptor.annotations.into_iter().collect(),
        platform: None,
    }
}

/// A platform as containerd's.
fn wire_platform(platform: &Platform) -> types::Platform {
    types::Platform {
        os: platform.os.clone(),
        architecture: platform.architecture.clone(),
        variant: platform.variant.clone(),
        ..types::Platform::default()
    }
}

/// The first number of a version such as `v2.1.9~ds1`.
fn major(version: &str) -> Option<u32> {
    version.trim_start_matches('v').split('.').next()?.parse().ok()
}
