//! Images as starts need them: taken from containerd where they are there, out of a registry where they are not.
//!
//! One pull per image at a time, however many want it, and a limited number of them beside each other. A pull belongs to
//! the first who waits for it; when that one leaves, the next goes on where it stopped.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Instant,
};

use tokio::sync::{Semaphore, mpsc, watch};
use tracing::{info, warn};

use crate::base::{
    errors::Chain,
    ids::{PodUid, SetKey},
    time::{self, go_millis},
};
use crate::image::{
    credentials::Keyring,
    policy::Policy,
    progress::Progress,
    reference::{Reference, ReferenceError},
};
use crate::pod::{
    fault::{PULL_ERROR, StartFault},
    record::PinnedImage,
};
use crate::pull::{self, PullError, Pulled, Puller, Request};
use crate::runtime::containerd::{Class, Error, Image};

use super::effects::Effects;

/// When an image is asked of its registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    /// Before every new pod.
    Always,
    /// When it is not here.
    IfNotPresent,
    /// Not at all.
    Never,
}

impl PullPolicy {
    /// The policy that a template names; defaulting has made sure that there is one.
    pub fn of(name: Option<&str>) -> Self {
        match name {
            Some("Always") => Self::Always,
            Some("Never") => Self::Never,
            _ => Self::IfNotPresent,
        }
    }
}

/// Who waits for an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiter {
    /// A pod.
    Pod(PodUid),
    /// A set whose next revision needs it.
    Set(SetKey),
    /// A person.
    Operator,
}

/// An image that somebody wants.
#[derive(Debug, Clone)]
pub struct Want {
    /// As the template writes it.
    pub reference: String,
    /// When its registry is asked.
    pub policy: PullPolicy,
    /// What it was when the pod first used it: no other will do.
    pub pinned: Option<PinnedImage>,
    /// The credentials of the pod.
    pub secrets: Vec<Keyring>,
    /// Who waits for it.
    pub waiter: Waiter,
}

/// An image that is here and unpacked.
#[derive(Debug, Clone, PartialEq)]
pub struct Ready {
    /// The image.
    pub image: PinnedImage,
    /// How it came, as Kubernetes says it.
    pub message: String,
}

/// What others may want to know of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullNews {
    /// It began.
    Begun {
        /// The first who waits for it.
        waiter: Waiter,
        /// The image as that one writes it.
        reference: String,
    },
    /// It ended, well or not.
    Ended,
}

/// A pull that is under way.
#[derive(Debug, Clone)]
pub struct UnderWay {
    /// How far it is.
    pub progress: watch::Receiver<Progress>,
    /// Since when.
    pub since: Instant,
}

/// The last pull of an image: when it ended and what came of it. Whoever asked before then takes the answer.
type LastPull = Option<(Instant, Result<PinnedImage, StartFault>)>;

/// Whose turn it is to pull one image.
type Turn = Arc<tokio::sync::Mutex<LastPull>>;

/// The pulls of this host.
#[derive(Debug)]
pub struct Pulls {
    /// What pulls.
    puller: Puller,
    /// How many may be under way.
    slots: Semaphore,
    /// Whose turn it is, by the image's full name.
    turns: Mutex<BTreeMap<String, Weak<tokio::sync::Mutex<LastPull>>>>,
    /// What is under way, by the image's full name.
    under_way: Mutex<BTreeMap<String, UnderWay>>,
    /// Pods that stop, and wait for no image any more.
    leaving: watch::Sender<BTreeSet<PodUid>>,
    /// Whether archives are being imported.
    importing: watch::Sender<bool>,
    /// What images must be like.
    policy: Mutex<Policy>,
    /// Where news go.
    news: mpsc::UnboundedSender<PullNews>,
}

impl Pulls {
    /// Nothing is contacted yet.
    pub fn new(
        puller: Puller,
        parallel: usize,
        policy: Policy,
        news: mpsc::UnboundedSender<PullNews>,
    ) -> Self {
        Self {
            puller,
            slots: Semaphore::new(parallel),
            turns: Mutex::default(),
            under_way: Mutex::default(),
            leaving: watch::Sender::default(),
            importing: watch::Sender::default(),
            policy: Mutex::new(policy),
            news,
        }
    }

    /// What is under way, by the image's full name.
    pub fn under_way(&self) -> BTreeMap<String, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps whether archives are being imported: what they may bring is not asked of a registry.
    pub fn set_importing(&self, importing: bool) {
        self.importing.send_replace(importing);
    }

    /// Sets what images must be like from now on.
    pub fn set_policy(&self, policy: Policy) {
        *self.policy.lock().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    /// What images must be like.
    fn policy(&self) -> Policy {
        self.policy.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets a pod wait for nothing any more.
    pub fn leave(&self, pod: &PodUid) {
        self.leaving.send_if_modified(|leaving| leaving.insert(pod.clone()));
    }

    /// Forgets a pod that is gone.
    pub fn forget(&self, pod: &PodUid) {
        self.leaving.send_if_modified(|leaving| leaving.remove(pod));
    }

    /// Returns once the waiter waits no more.
    async fn left(&self, waiter: &Waiter) {
        let Waiter::Pod(pod) = waiter else { return std::future::pending().await };
        let mut leaving = self.leaving.subscribe();
        if leaving.wait_for(|leaving| leaving.contains(pod)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The turn of one image.
    fn turn(&self, name: &str) -> Turn {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(name).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Turn::default();
        turns.insert(name.to_owned(), Arc::downgrade(&turn));
        turn
    }

    /// Shows a pull for as long as the answer lives.
    fn show(&self, name: &str, progress: watch::Receiver<Progress>) -> Shown<'_> {
        let under_way = UnderWay { progress, since: time::now().mono };
        let mut all = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(name.to_owned(), under_way);
        Shown { pulls: self, name: name.to_owned() }
    }

    /// Tells of something; at its end the agent listens no more.
    fn tell(&self, news: PullNews) {
        let _ = self.news.send(news);
    }
}

/// A pull that can be seen.
struct Shown<'a> {
    /// The pulls.
    pulls: &'a Pulls,
    /// The image.
    name: String,
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        let mut all = self.pulls.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&self.name);
    }
}

impl Effects {
    /// Has an image here and unpacked. Whoever stops waiting for it drops the answer, or leaves.
    pub async fn ensure_image(&self, want: &Want) -> Result<Ready, StartFault> {
        let asked = time::now().mono;
        self.allow(want)?;
        let mut importing = self.pulls.importing.subscribe();
        if let Some(ready) = self.present(want).await? {
            return Ok(ready);
        }
        if want.policy != PullPolicy::Always && *importing.borrow_and_update() {
            let _ = importing.wait_for(|importing| !importing).await;
            if let Some(ready) = self.present(want).await? {
                return Ok(ready);
            }
        }
        let reference = wanted(want).map_err(|error| StartFault {
            reason: "InvalidImageName",
            message: format!("Failed to apply default image tag {:?}: {error}", want.reference),
        })?;
        let turn = self.pulls.turn(&reference.names()[0]);
        let mut pull = Box::pin(self.pull_in_turn(want, &reference, &turn, asked));
        let mut left = pin!(self.pulls.left(&want.waiter));
        loop {
            // cancel-safe: both are polled on where they were, and a watch keeps its last value.
            tokio::select! {
                ready = &mut pull => return ready,
                () = &mut left => break,
                Ok(()) = importing.changed(), if want.policy != PullPolicy::Always => {
                    // An archive may have brought it while its registry does not answer.
                    if let Some(ready) = self.present(want).await? {
                        return Ok(ready);
                    }
                }
            }
        }
        drop(pull);
        if Arc::strong_count(&turn) == 1
            && let Err(error) = self.pulls.puller.forget(&reference).await
        {
            warn!(image = want.reference, error = %Chain(&error), "failed to give up a pull");
        }
        Err(failed(want, "nobody waits for it any more"))
    }

    /// Refuses an image that the operator does not allow, wherever it is. What a pod runs already was allowed when it began.
    fn allow(&self, want: &Want) -> Result<(), StartFault> {
        let Ok(reference) = Reference::parse(&want.reference) else { return Ok(()) };
        if want.pinned.is_some() {
            return Ok(());
        }
        self.pulls.policy().allows(&reference).map_err(|why| {
            let image = want.reference.clone();
            fault_of(want, &PullError::Refused { image, why })
        })
    }

    /// The image if it is here and may be used as it is.
    async fn present(&self, want: &Want) -> Result<Option<Ready>, StartFault> {
        let here = |image| Ready {
            image,
            message: format!("Container image {:?} already present on machine", want.reference),
        };
        let client = &self.daemon.client;
        if let Some(pinned) = &want.pinned {
            let there = self.daemon.call(|| client.has_layers(&pinned.chain_id)).await;
            if there.map_err(|error| unreadable(want, &error))? {
                return Ok(Some(here(pinned.clone())));
            }
            // Its blobs may still be here to be unpacked once more.
            let (reference, digest) = (&pinned.reference, &pinned.digest);
            let image = self.daemon.call(|| client.image_by_manifest(reference, digest)).await;
            let image = image.map_err(|error| unreadable(want, &error))?;
            return Ok(image.map(|image| here(pin(image))));
        }
        if want.policy == PullPolicy::Always || !self.vouched_for(want).await? {
            return Ok(None);
        }
        let never = want.policy == PullPolicy::Never;
        match self.daemon.call(|| client.image(&want.reference)).await {
            Ok(Some(image)) => Ok(Some(here(pin(image)))),
            Ok(None) if never => Err(StartFault {
                reason: "ErrImageNeverPull",
                message: format!(
                    "Container image {:?} is not present with pull policy of Never",
                    want.reference
                ),
            }),
            Ok(None) => Ok(None),
            // What is there of it is of no use: its registry has it whole.
            Err(Error::BrokenImage { .. }) if !never => Ok(None),
            Err(error) => Err(unreadable(want, &error)),
        }
    }

    /// Whether nobody's signature is asked for, or an image that is here was found to bear it.
    async fn vouched_for(&self, want: &Want) -> Result<bool, StartFault> {
        let Ok(reference) = Reference::parse(&want.reference) else { return Ok(true) };
        let policy = self.pulls.policy();
        let Some(rule) = policy.signatures_of(&reference.repository) else { return Ok(true) };
        let label = || self.daemon.client.image_label(&want.reference, pull::SIGNED);
        let label = self.daemon.call(label).await.map_err(|error| unreadable(want, &error))?;
        let Some((digest, label)) = label else { return Ok(true) };
        if label == pull::mark(rule, &digest).map_err(|error| fault_of(want, &error))? {
            return Ok(true);
        }
        if want.policy != PullPolicy::Never {
            return Ok(false);
        }
        let why = "its signature is asked for by images.policy.signatures and was never looked at, and with the pull \
                   policy Never it cannot be; pull it with another policy first";
        Err(StartFault { reason: "SignatureValidationFailed", ..failed(want, why) })
    }

    /// Pulls an image when nobody else does, or takes what somebody else's pull brought meanwhile.
    async fn pull_in_turn(
        &self,
        want: &Want,
        reference: &Reference,
        turn: &Turn,
        asked: Instant,
    ) -> Result<Ready, StartFault> {
        let mut last = turn.lock().await;
        if let Some((at, outcome)) = &*last
            && *at >= asked
            // Another's credentials may have been worse than ours.
            && (outcome.is_ok() || want.secrets.is_empty())
        {
            let message =
                format!("Container image {:?} already present on machine", want.reference);
            return outcome.clone().map(|image| Ready { image, message });
        }
        let _slot = self.pulls.slots.acquire().await;
        let name = reference.names().swap_remove(0);
        let (progress, seen) = watch::channel(Progress::default());
        let _shown = self.pulls.show(&name, seen);
        let (waiter, text) = (want.waiter.clone(), want.reference.clone());
        self.pulls.tell(PullNews::Begun { waiter, reference: text });
        let begun = time::now().mono;
        let outcome = self.pull_patiently(want, reference, &progress).await;
        let ended = time::now().mono;
        self.pulls.tell(PullNews::Ended);
        let took = ended.saturating_duration_since(begun);
        let in_all = ended.saturating_duration_since(asked);
        let ready = outcome.map_err(|error| fault_of(want, &error)).map(|pulled| {
            info!(image = want.reference, digest = pulled.image.digest, bytes = pulled.size,
                elapsed_ms = took.as_millis(), "pulled an image");
            let message = format!(
                "Successfully pulled image {:?} in {} ({} including waiting). Image size: {} bytes.",
                want.reference,
                go_millis(took),
                go_millis(in_all),
                pulled.size
            );
            Ready { image: pin(pulled.image), message }
        });
        *last = Some((ended, ready.clone().map(|ready| ready.image)));
        ready
    }

    /// Pulls an image; while containerd is away the pull waits for its return.
    async fn pull_patiently(
        &self,
        want: &Want,
        reference: &Reference,
        progress: &watch::Sender<Progress>,
    ) -> Result<Pulled, PullError> {
        let policy = self.pulls.policy();
        // What a pod is bound to was verified before it was bound, under the digest of its index.
        let signatures =
            policy.signatures_of(&reference.repository).filter(|_| want.pinned.is_none());
        let pull = || async {
            let request = Request { reference, secrets: &want.secrets, signatures };
            match self.pulls.puller.pull(request, progress).await {
                Err(PullError::Containerd(error)) if error.class() == Class::Unavailable => {
                    Err(error)
                }
                outcome => Ok(outcome),
            }
        };
        self.daemon.call(pull).await.unwrap_or_else(|error| Err(PullError::Containerd(error)))
    }
}

/// The reference to pull by: the digest that a pod is bound to, or what its template says.
fn wanted(want: &Want) -> Result<Reference, ReferenceError> {
    let mut reference = Reference::parse(&want.reference)?;
    if let Some(pinned) = &want.pinned {
        reference.tag = None;
        reference.digest = Some(pinned.digest.clone());
    }
    Ok(reference)
}

/// An image as a record keeps it.
fn pin(image: Image) -> PinnedImage {
    let Image { reference, digest, chain_id, config } = image;
    PinnedImage { reference, digest, chain_id, config }
}

/// The fault of a pull that failed.
fn fault_of(want: &Want, error: &PullError) -> StartFault {
    StartFault { reason: error.reason(), ..failed(want, &Chain(error).to_string()) }
}

/// A pull that failed.
fn failed(want: &Want, why: &str) -> StartFault {
    let message = format!("Failed to pull image {:?}: {why}", want.reference);
    StartFault { reason: PULL_ERROR, message }
}

/// The fault of an image that containerd cannot give.
fn unreadable(want: &Want, error: &Error) -> StartFault {
    StartFault {
        reason: match error.class() {
            Class::Invalid => "InvalidImageName",
            _ => "ImageInspectError",
        },
        message: format!("Failed to inspect image {:?}: {}", want.reference, Chain(error)),
    }
}
