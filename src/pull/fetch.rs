//! The layers of one image: several on their way at once, the lowest first, and each unpacked as soon as all below it are.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::Poll,
    time::Duration,
};

use tokio::sync::{Notify, watch};
use tracing::warn;

use crate::base::errors::Chain;
use crate::image::progress::{LayerState, Progress};
use crate::image::reference::Reference;
use crate::runtime::containerd::{
    Blob, Containerd, ContentLease, Error, Failure, Ingest, Labels, Layer,
};

use super::{
    PullError,
    registry::{BlobStream, Registry},
    resolve::broken,
};

/// How long a broken download is left alone, try after try. A byte that comes starts them anew.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(3)];

/// A part of a pull that runs beside others in the same task.
type Part<'a> = Pin<Box<dyn Future<Output = Result<(), PullError>> + Send + 'a>>;

/// The layers of one image on their way.
#[derive(Debug)]
pub(super) struct Layers<'a> {
    /// Where they go.
    containerd: &'a Containerd,
    /// Where they come from.
    registry: &'a Registry,
    /// What holds them.
    lease: &'a ContentLease,
    /// The image.
    reference: &'a Reference,
    /// All of its layers, the lowest first.
    all: &'a [Layer],
    /// How far each is.
    progress: &'a watch::Sender<Progress>,
    /// The next one to fetch.
    next: AtomicUsize,
    /// Tells of each that it is here.
    here: Vec<Notify>,
}

impl<'a> Layers<'a> {
    /// The layers from `first` on are to be brought; those below are unpacked.
    pub(super) fn new(
        containerd: &'a Containerd,
        registry: &'a Registry,
        lease: &'a ContentLease,
        reference: &'a Reference,
        (layers, first): (&'a [Layer], usize),
        progress: &'a watch::Sender<Progress>,
    ) -> Self {
        Self {
            containerd,
            registry,
            lease,
            reference,
            all: layers,
            progress,
            next: AtomicUsize::new(first),
            here: layers.iter().map(|_| Notify::new()).collect(),
        }
    }

    /// Fetches up to `parallel` at once and unpacks them in order.
    pub(super) async fn bring(&self, parallel: usize) -> Result<(), PullError> {
        let first = self.next.load(Ordering::Relaxed);
        let lanes = parallel.clamp(1, self.all.len().saturating_sub(first).max(1));
        let mut parts: Vec<Part<'_>> = vec![Box::pin(self.unpack(first))];
        parts.extend((0..lanes).map(|_| Box::pin(self.lane()) as Part<'_>));
        all(parts).await
    }

    /// Fetches one layer after the other.
    async fn lane(&self) -> Result<(), PullError> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let (Some(layer), Some(here)) = (self.all.get(number), self.here.get(number)) else {
                return Ok(());
            };
            self.fetch(number, layer).await?;
            here.notify_one();
        }
    }

    /// Unpacks one layer after the other as they come.
    async fn unpack(&self, first: usize) -> Result<(), PullError> {
        let mut below = first.checked_sub(1).and_then(|below| self.all.get(below));
        for (number, layer) in self.all.iter().enumerate().skip(first) {
            if let Some(here) = self.here.get(number) {
                here.notified().await;
            }
            self.tell(number, LayerState::Unpacking, None);
            let parent = below.map_or("", |layer| layer.chain_id.as_str());
            match self.containerd.unpack_layer(self.lease, layer, parent).await {
                Ok(()) => {}
                Err(Failure::Call(error)) => return Err(error.into()),
                Err(Failure::Broken(problem)) => return Err(broken(&self.image(), problem)),
            }
            self.tell(number, LayerState::Done, None);
            below = Some(layer);
        }
        Ok(())
    }

    /// Brings one layer into the content store. Bytes that turn out to be wrong are fetched once more: what an earlier
    /// try left may have been spoilt since, and another host may have better ones.
    async fn fetch(&self, number: usize, layer: &Layer) -> Result<(), PullError> {
        let labels = Labels::from([
            ("containerd.io/uncompressed".to_owned(), layer.diff_id.clone()),
            (
                format!("containerd.io/distribution.source.{}", self.reference.registry()),
                self.reference.path().to_owned(),
            ),
        ]);
        let size = u64::try_from(layer.descriptor.size).unwrap_or(0);
        let blob = Blob { digest: layer.descriptor.digest.clone(), size, labels };
        let mut again = true;
        loop {
            let Some(mut ingest) = self.containerd.open_ingest(self.lease, &blob).await? else {
                break;
            };
            self.tell(number, LayerState::Downloading, Some(ingest.offset()));
            let stream = self.download(number, layer, &mut ingest).await?;
            match self.containerd.commit_ingest(self.lease, ingest, &blob).await {
                Ok(()) => break,
                Err(Error::Corrupt { digest, problem }) => {
                    stream.inspect(BlobStream::distrust);
                    if again {
                        again = false;
                        warn!(image = self.image(), error = problem, "a layer is fetched anew");
                        continue;
                    }
                    let (host, what) =
                        (self.reference.registry().to_owned(), format!("layer {digest}"));
                    return Err(PullError::Digest { host, what, problem });
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.tell(number, LayerState::Downloaded, Some(size));
        Ok(())
    }

    /// Downloads what is missing of a layer. A download that breaks off goes on a few times. Returns what the last bytes
    /// came from.
    async fn download(
        &self,
        number: usize,
        layer: &Layer,
        ingest: &mut Ingest,
    ) -> Result<Option<BlobStream>, PullError> {
        let size = u64::try_from(layer.descriptor.size).unwrap_or(0);
        if size > 0 && ingest.offset() == size {
            return Ok(None);
        }
        let (mut tries, mut reached) = (0, ingest.offset());
        loop {
            let error = match self.stream(number, layer, ingest).await {
                Ok(stream) => return Ok(Some(stream)),
                Err(error) => error,
            };
            if ingest.offset() > reached {
                (tries, reached) = (0, ingest.offset());
            }
            let Some(pause) = PAUSES.get(tries).filter(|_| is_passing(&error)) else {
                return Err(error);
            };
            tries += 1;
            let (image, digest) = (self.image(), &layer.descriptor.digest);
            let text = Chain(&error).to_string();
            warn!(image, digest, error = text, "a layer broke off, and is asked for again");
            tokio::time::sleep(*pause).await;
        }
    }

    /// Copies a layer from where it is to its end.
    async fn stream(
        &self,
        number: usize,
        layer: &Layer,
        ingest: &mut Ingest,
    ) -> Result<BlobStream, PullError> {
        let from = ingest.offset();
        let mut stream = self.registry.blob(&layer.descriptor, from).await?;
        // A host that serves no parts begins with what is here.
        let mut known = from.saturating_sub(stream.from);
        while let Some(bytes) = stream.next().await? {
            let known_here = usize::try_from(known).map_or(bytes.len(), |all| all.min(bytes.len()));
            known -= known_here as u64;
            ingest.write(bytes.get(known_here..).unwrap_or_default()).await?;
            self.tell(number, LayerState::Downloading, Some(ingest.offset()));
        }
        Ok(stream)
    }

    /// Tells whoever looks how far a layer is.
    fn tell(&self, number: usize, state: LayerState, here: Option<u64>) {
        self.progress.send_modify(|progress| {
            if let Some(layer) = progress.layers.get_mut(number) {
                layer.state = state;
                layer.here = here.unwrap_or(layer.here);
            }
        });
    }

    /// The image, for messages.
    fn image(&self) -> String {
        self.reference.names().swap_remove(0)
    }
}

/// Whether asking again may help.
fn is_passing(error: &PullError) -> bool {
    matches!(error, PullError::Network { .. } | PullError::Answer { .. } | PullError::Hosts { .. })
}

/// Awaits all parts, or the first that fails.
async fn all(mut parts: Vec<Part<'_>>) -> Result<(), PullError> {
    poll_fn(|context| {
        let mut number = 0;
        while let Some(part) = parts.get_mut(number) {
            match part.as_mut().poll(context) {
                Poll::Ready(Ok(())) => drop(parts.swap_remove(number)),
                Poll::Ready(failed) => return Poll::Ready(failed),
                Poll::Pending => number += 1,
            }
        }
        if parts.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}
