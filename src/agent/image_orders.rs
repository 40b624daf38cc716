//! What people ask of images: list, pull, import, prune. It all takes time, so it runs beside the reconciler, and it ends
//! with its caller; only an import that has begun goes on to its end.

use std::{convert::Infallible, path::Path, pin::Pin, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tracing::{info, warn};

use crate::base::{errors::Chain, time};
use crate::fleet::events::EventType;
use crate::image::{
    collect::{Need, Stored, users},
    progress::Progress,
    reference::Reference,
};
use crate::pod::machine::Input;

use super::{
    effects::Effects,
    handle::{ImageOrder, ImageSaid, ImageTask},
    image_gc::ImageWork,
    image_store::Listing,
    pulls::{PullPolicy, Waiter, Want},
    reconciler::Reconciler,
};

/// How often a person sees how far a pull is.
const SHOWN: Duration = Duration::from_millis(200);

/// A person's wish to remove what nothing needs, on its way.
#[derive(Debug)]
pub(super) struct Prune {
    /// What is left to look at.
    listing: Listing,
    /// Whether it is only said what would go.
    dry_run: bool,
    /// Who asked.
    output: mpsc::Sender<ImageSaid>,
}

impl Reconciler {
    /// Begins what a person asks for.
    pub(super) fn order_images(&mut self, order: ImageOrder) {
        let ImageOrder { task, output } = order;
        let effects = Arc::clone(&self.effects);
        let state = self.settings.paths.state.clone();
        match task {
            ImageTask::List => {
                let needs = self.images_in_use();
                self.work_on_images(async move {
                    let listing = effects.image_listing(&state).await;
                    let items = listing.map(|listing| objects(&listing, &needs));
                    tell_all(&output, items).await;
                    ImageWork::Over
                });
            }
            ImageTask::Pull(reference) => self.work_on_images(async move {
                // cancel-safe: a pull that nobody waits for ends, and is gone on with by whoever wants it next.
                let outcome = tokio::select! {
                    outcome = effects.pull_for_person(reference, &output) => outcome,
                    () = output.closed() => return ImageWork::Over,
                };
                let came = outcome.is_ok();
                tell_all(&output, outcome).await;
                if came { ImageWork::Pulled } else { ImageWork::Over }
            }),
            ImageTask::Import(archive) => self.work_on_images(async move {
                let imported = effects.daemon.call(|| effects.daemon.client.import(&archive)).await;
                let imported = imported.map_err(|error| Chain(&error).to_string());
                let names = imported.clone().unwrap_or_default();
                tell_all(&output, imported.map(|names| vec![json!({ "names": names })])).await;
                ImageWork::Imported(archive, names)
            }),
            // Nobody knows yet which pods are here.
            ImageTask::Prune { .. } if !self.recovered => self.work_on_images(async move {
                let why = "the agent still takes stock of what is here; try again in a moment";
                tell_all(&output, Err(why.to_owned())).await;
                ImageWork::Over
            }),
            ImageTask::Prune { dry_run } => self.work_on_images(async move {
                match effects.image_listing(&state).await {
                    Ok(listing) => ImageWork::Prune(Prune { listing, dry_run, output }),
                    Err(error) => {
                        tell_all(&output, Err(error)).await;
                        ImageWork::Over
                    }
                }
            }),
        }
    }

    /// Runs beside everything else.
    fn work_on_images(&mut self, work: impl Future<Output = ImageWork> + Send + 'static) {
        let work: Pin<Box<dyn Future<Output = ImageWork> + Send>> = Box::pin(work);
        self.watches.spawn(async move { work.await.done() });
    }

    /// Removes the next image that nothing needs now, for as long as somebody listens.
    pub(super) fn prune_next(&mut self, mut prune: Prune) {
        if prune.output.is_closed() {
            return;
        }
        let needs = self.images_in_use();
        let rules = self.rules(&needs, &prune.listing.archived);
        let next =
            rules.removable(time::now().wall, &prune.listing.images).first().copied().cloned();
        let effects = Arc::clone(&self.effects);
        let (places, state) = (self.image_places(), self.settings.paths.state.clone());
        self.work_on_images(async move {
            let Some(image) = next else {
                tell_all(&prune.output, Ok(Vec::new())).await;
                return ImageWork::Over;
            };
            prune.listing.images.retain(|other| *other != image);
            let freed = if prune.dry_run {
                Ok(0)
            } else {
                info!(image = ?image.titles(), "removing an image for an operator");
                effects.free_image(&image, &places, &state).await
            };
            let said = match freed {
                Ok(freed) => {
                    let mut item = object(&image, false, &[]);
                    item["freed"] = json!(freed);
                    ImageSaid::Item(item)
                }
                Err(error) => ImageSaid::Failed(error),
            };
            let failed = matches!(said, ImageSaid::Failed(_));
            if prune.output.send(said).await.is_err() || failed {
                return ImageWork::Over;
            }
            ImageWork::Prune(prune)
        });
    }

    /// A person's archive was imported, or could not be.
    pub(super) fn images_arrived(&mut self, archive: &Path, names: &[String]) {
        if names.is_empty() {
            return self.look_at_images_soon();
        }
        info!(image = ?names, archive = %archive.display(), "imported an archive for an operator");
        let message = format!("Imported {} from {}", names.join(", "), archive.display());
        self.note_node(EventType::Normal, "ImageImported", message);
        self.images_came();
        self.changed();
    }

    /// Images came by archives: pods and sets that wait for one try again.
    pub(super) fn images_came(&mut self) {
        self.look_at_images_soon();
        self.prefetches.retry();
        for uid in self.pods.keys().cloned().collect::<Vec<_>>() {
            self.tell(&uid, Input::ImagesChanged);
        }
    }
}

impl Effects {
    /// Pulls an image with the host's own credentials and says how far that is.
    async fn pull_for_person(
        &self,
        text: String,
        output: &mpsc::Sender<ImageSaid>,
    ) -> Result<Vec<Value>, String> {
        let reference = Reference::parse(&text).map_err(|error| error.to_string())?;
        let name = reference.names().swap_remove(0);
        let want = Want {
            reference: text,
            policy: PullPolicy::Always,
            pinned: None,
            secrets: Vec::new(),
            waiter: Waiter::Operator,
        };
        // cancel-safe: showing has nothing to lose.
        let ready = tokio::select! {
            ready = Box::pin(self.ensure_image(&want)) => ready,
            never = self.show_pull(&name, output) => match never {},
        };
        let ready = ready.map_err(|fault| fault.message)?;
        Ok(vec![json!({ "names": [name], "digest": ready.image.digest, "message": ready.message })])
    }

    /// Says how far a pull is whenever that has changed.
    async fn show_pull(&self, name: &str, output: &mpsc::Sender<ImageSaid>) -> Infallible {
        let mut ticks = interval(SHOWN);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut shown = Progress::default();
        loop {
            ticks.tick().await;
            let pulls = self.pulls.under_way();
            let Some(pull) = pulls.get(name) else { continue };
            let now = pull.progress.borrow().clone();
            if now != shown {
                shown = now.clone();
                // A reader that is slow misses a look.
                let _ = output.try_send(ImageSaid::Progress(now));
            }
        }
    }
}

/// Says everything, then that this was all; or what went wrong.
async fn tell_all(output: &mpsc::Sender<ImageSaid>, outcome: Result<Vec<Value>, String>) {
    let items = match outcome {
        Ok(items) => items,
        Err(error) => {
            warn!(error = %error, "what an operator asked of images failed");
            let _ = output.send(ImageSaid::Failed(error)).await;
            return;
        }
    };
    for item in items {
        if output.send(ImageSaid::Item(item)).await.is_err() {
            return;
        }
    }
    let _ = output.send(ImageSaid::Over).await;
}

/// The images as objects.
fn objects(listing: &Listing, needs: &[Need]) -> Vec<Value> {
    let archived = |image: &Stored| image.names.iter().any(|name| listing.archived.contains(name));
    listing.images.iter().map(|image| object(image, archived(image), needs)).collect()
}

/// One image in the shape of a Kubernetes object.
fn object(image: &Stored, archived: bool, needs: &[Need]) -> Value {
    json!({
        "apiVersion": "podward.dev/v1",
        "kind": "Image",
        "metadata": {"name": image.digest, "creationTimestamp": image.created},
        "names": image.names,
        "digest": image.digest,
        "manifest": image.manifest,
        "size": image.size,
        "pinned": image.pinned,
        "archived": archived,
        "usedBy": users(image, needs),
    })
}
