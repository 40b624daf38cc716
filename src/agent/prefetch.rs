//! The images of a set's next revision are brought here while its pod still runs: a pod is not given up for one that
//! would first have to wait for a registry, or in vain.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use tokio::task::AbortHandle;

use crate::base::{
    backoff::Backoff,
    ids::{SetKey, TemplateHash},
    time,
};
use crate::fleet::events::EventType;
use crate::image::reference::Reference;
use crate::plan::steps::Images;
use crate::pod::{
    fault::StartFault,
    machine::PodEvent,
    record::{ContainerRecord, PinnedImage},
    resources::all_containers,
};

use super::{
    image_wants::{secrets_of, volume_want, want},
    pulls::{PullNews, Waiter},
    reconciler::{Done, Reconciler},
};

/// The images of revisions that are still to come, by set.
#[derive(Debug, Default)]
pub(super) struct Prefetches(BTreeMap<SetKey, Prefetch>);

/// The images of one revision.
#[derive(Debug)]
struct Prefetch {
    /// The revision.
    hash: TemplateHash,
    /// How far they are.
    stage: Stage,
    /// The back-off earned so far.
    backoff: Backoff,
}

/// How far the images of a revision are.
#[derive(Debug)]
enum Stage {
    /// They are brought here.
    Pulling(AbortHandle),
    /// They are here: what each container will run.
    Ready(BTreeMap<String, PinnedImage>),
    /// They could not be had, or are here but the pod could not start.
    Failed(Why, Instant),
}

/// Why a pod could not start.
#[derive(Debug, Clone)]
enum Why {
    /// For want of images.
    Images(String),
    /// For another reason.
    Preflight(String),
}

/// What came of a prefetch: the images by container, and how they came here.
#[derive(Debug)]
pub(super) struct Prefetched {
    /// The revision.
    hash: TemplateHash,
    /// The outcome.
    outcome: Result<Brought, StartFault>,
}

/// The images of a revision, with a line for the operator for each.
#[derive(Debug, Default)]
struct Brought {
    /// By container.
    images: BTreeMap<String, PinnedImage>,
    /// How they came here.
    messages: Vec<String>,
    /// Why the pod could not start all the same.
    refusal: Option<String>,
}

impl Prefetches {
    /// Whether the images of a revision are here.
    pub(super) fn images(&self, key: &SetKey, hash: &TemplateHash) -> Images {
        let Some(prefetch) = self.0.get(key).filter(|prefetch| prefetch.hash == *hash) else {
            return Images::Unknown;
        };
        match &prefetch.stage {
            Stage::Pulling(_) => Images::Pending("they are being pulled".into()),
            Stage::Ready(_) => Images::Ready,
            Stage::Failed(_, retry_at) if *retry_at <= time::now().mono => Images::Unknown,
            Stage::Failed(Why::Images(why), _) => Images::Pending(why.clone()),
            Stage::Failed(Why::Preflight(why), _) => Images::Refused(why.clone()),
        }
    }

    /// Whether any are on their way.
    pub(super) fn busy(&self) -> bool {
        self.0.values().any(|prefetch| matches!(prefetch.stage, Stage::Pulling(_)))
    }

    /// When the next that could not be had are tried again.
    pub(super) fn due(&self) -> Option<Instant> {
        let due = |prefetch: &Prefetch| match prefetch.stage {
            Stage::Failed(_, retry_at) => Some(retry_at),
            Stage::Pulling(_) | Stage::Ready(_) => None,
        };
        self.0.values().filter_map(due).min()
    }

    /// Lets those that could not be had be tried again at once: images have arrived.
    pub(super) fn retry(&mut self) {
        for prefetch in self.0.values_mut() {
            if let Stage::Failed(_, retry_at) = &mut prefetch.stage {
                *retry_at = time::now().mono;
            }
        }
    }

    /// Forgets those whose next try is due and that the plan just made did not ask for: they would wake the agent for nothing,
    /// again and again.
    pub(super) fn drop_due(&mut self) {
        let now = time::now().mono;
        self.0.retain(
            |_, prefetch| !matches!(prefetch.stage, Stage::Failed(_, retry_at) if retry_at <= now),
        );
    }

    /// Gives up those that nobody wants any more.
    pub(super) fn retain(&mut self, wanted: impl Fn(&SetKey, &TemplateHash) -> bool) {
        self.0.retain(|key, prefetch| {
            let wanted = wanted(key, &prefetch.hash);
            if let (false, Stage::Pulling(pull)) = (wanted, &prefetch.stage) {
                pull.abort();
            }
            wanted
        });
    }

    /// What the containers of a new pod are known to run before they start. A pod that came late, after `OnDelete`, asks
    /// anew what its images are.
    pub(super) fn take(
        &mut self,
        key: &SetKey,
        hash: &TemplateHash,
        late: bool,
    ) -> BTreeMap<String, ContainerRecord> {
        let ready = |prefetch: &Prefetch| {
            prefetch.hash == *hash && matches!(prefetch.stage, Stage::Ready(_))
        };
        if !self.0.get(key).is_some_and(ready) {
            return BTreeMap::new();
        }
        match self.0.remove(key).map(|prefetch| prefetch.stage) {
            Some(Stage::Ready(images)) if !late => images
                .into_iter()
                .map(|(name, image)| {
                    (name, ContainerRecord { image: Some(image), ..ContainerRecord::default() })
                })
                .collect(),
            _ => BTreeMap::new(),
        }
    }

    /// The images that are here for pods that are not.
    pub(super) fn pinned(&self) -> impl Iterator<Item = (&SetKey, &PinnedImage)> {
        self.0.iter().flat_map(|(key, prefetch)| {
            let images = match &prefetch.stage {
                Stage::Ready(images) => Some(images.values()),
                Stage::Pulling(_) | Stage::Failed(..) => None,
            };
            images.into_iter().flatten().map(move |image| (key, image))
        })
    }
}

impl Reconciler {
    /// Brings the images of a set's present revision here.
    pub(super) fn prefetch(&mut self, key: &SetKey) {
        let (Some(entry), Some(standing)) = (self.sets.entries().get(key), self.standings.get(key))
        else {
            return;
        };
        let Some(spec) = entry.run().template().spec.as_ref() else { return };
        let secrets = secrets_of(&key.namespace, spec, &self.objects);
        let waiter = || Waiter::Set(key.clone());
        let containers = all_containers(spec)
            .map(|own| (Some(own.name.clone()), want(own, secrets.clone(), waiter())));
        let volumes = spec.volumes.iter().flatten().filter_map(|volume| {
            let source = volume.image.as_ref()?;
            Some((None, volume_want(source, secrets.clone(), waiter())))
        });
        let wants: Vec<_> = containers.chain(volumes).collect();
        let (on, hash) = (Arc::clone(&self.effects), standing.hash.clone());
        let (set, revision, candidate) = (key.clone(), hash.clone(), self.candidate(entry));
        let pull = self.pulling.spawn(async move {
            let brought = async {
                let mut brought = Brought::default();
                for (container, want) in wants {
                    let ready = on.ensure_image(&want).await?;
                    brought.messages.push(ready.message);
                    brought.images.extend(container.map(|name| (name, ready.image)));
                }
                brought.refusal = Box::pin(on.preflight(candidate, &brought.images)).await.err();
                Ok(brought)
            };
            let prefetched = Prefetched { hash: revision, outcome: brought.await };
            Done::Prefetched(set, Box::new(prefetched))
        });
        let last = self.prefetches.0.remove(key).filter(|last| last.hash == hash);
        let backoff = last.map(|last| last.backoff).unwrap_or_default();
        let fresh = Prefetch { hash, stage: Stage::Pulling(pull), backoff };
        self.prefetches.0.insert(key.clone(), fresh);
    }

    /// Takes what came of a prefetch.
    pub(super) fn prefetched(&mut self, key: &SetKey, prefetched: Prefetched) {
        let pace = self.policy().image;
        let Some(prefetch) =
            self.prefetches.0.get_mut(key).filter(|prefetch| prefetch.hash == prefetched.hash)
        else {
            return;
        };
        match prefetched.outcome {
            Ok(Brought { images, messages, refusal }) => {
                prefetch.stage = match &refusal {
                    None => Stage::Ready(images),
                    Some(why) => {
                        let retry_at = time::now().mono + prefetch.backoff.next(pace);
                        Stage::Failed(Why::Preflight(why.clone()), retry_at)
                    }
                };
                if let Some(why) = refusal {
                    self.note_set(key, EventType::Warning, "FailedPreflight", why);
                }
                for message in messages {
                    self.note_set(key, EventType::Normal, "Pulled", message);
                }
            }
            Err(fault) => {
                let retry_at = time::now().mono + prefetch.backoff.next(pace);
                let why = format!("{}: {}", fault.reason, fault.message);
                prefetch.stage = Stage::Failed(Why::Images(why), retry_at);
                self.note_set(key, EventType::Warning, "Failed", fault.message);
            }
        }
    }

    /// Takes news of pulls.
    pub(super) fn pull_news(&mut self, news: PullNews) {
        match news {
            PullNews::Begun { waiter, reference } => {
                let message = format!("Pulling image {reference:?}");
                match waiter {
                    Waiter::Pod(uid) => {
                        let event = PodEvent { warning: false, reason: "Pulling", message };
                        self.note_pod(time::now(), &uid, event);
                    }
                    Waiter::Set(key) => self.note_set(&key, EventType::Normal, "Pulling", message),
                    Waiter::Operator => self.note_node(EventType::Normal, "Pulling", message),
                }
            }
            PullNews::Ended => self.look_at_images_soon(),
        }
        self.changed();
    }

    /// How far the pulls are that pods wait for, by the image as containers name it.
    pub(super) fn pulls_shown(&self) -> BTreeMap<String, String> {
        let under_way = self.effects.pulls.under_way();
        if under_way.is_empty() {
            return BTreeMap::new();
        }
        let pods = self.pods.values();
        let images = pods.flat_map(|pod| all_containers(pod.record.spec())).filter_map(|own| {
            let image = own.image.as_ref()?;
            let name = Reference::parse(image).ok()?.names().swap_remove(0);
            let pull = under_way.get(&name)?;
            let progress = pull.progress.borrow().clone();
            let pace = progress.pace(pull.since, time::now().mono);
            Some((image.clone(), format!("pulling {image}: {progress}{pace}")))
        });
        images.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_that_is_due_and_that_nobody_asks_for_wakes_the_agent_once() {
        let key = SetKey::new("default", "web");
        let stage = Stage::Failed(Why::Images("no route".into()), time::now().mono);
        let failed = Prefetch { hash: TemplateHash::new("h"), stage, backoff: Backoff::default() };
        let mut prefetches = Prefetches([(key.clone(), failed)].into());
        assert!(prefetches.due().is_some_and(|at| at <= time::now().mono));
        prefetches.drop_due();
        assert_eq!(prefetches.due(), None);
        assert_eq!(prefetches.images(&key, &TemplateHash::new("h")), Images::Unknown);
    }
}
