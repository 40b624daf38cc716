//! The reconciler: the one owner of sets, pods and events on this node.
//!
//! It waits for something to happen (a file, a command, the end of an effect, a deadline), tells it to the pod
//! that it concerns, plans, and starts effects. Whatever takes time runs beside it and comes back as [`Done`].

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{sleep_until, timeout},
};
use tracing::{error, info};

use crate::base::{
    backoff::Backoff,
    errors::Chain,
    fault::Fault,
    ids::{PodUid, SetKey},
    time::{self, Now},
};
use crate::config::Settings;
use crate::fleet::events::EventLog;
use crate::node::Node;
use crate::plan::{eviction::Timers, renewal::Renewals, steps::Hold};
use crate::pod::{
    machine::{Effect, Input, Pod, PodEvent, Policy},
    record::Deletion,
};
use crate::source::{merge::SourceReading, objects_dir::DirReading, trust::Trust, watch::Watcher};
use crate::spec::{ObjectKey, Objects};

use super::{
    configs::OwnObjects,
    desire::Standing,
    disk_watch::{DiskWatch, Look},
    effects::Effects,
    feeds::{Feeds, NewsOf},
    handle::{Command, SyncReport},
    image_gc::{ImageGc, ImageWork},
    images::{ImageKeeper, Import},
    prefetch::{Prefetched, Prefetches},
    pulls::PullNews,
    recovery::{Recovered, RecoveryError},
    sets::Sets,
    turn_records::Turns,
    works::Works,
};

/// How long effects that are under way may take to end when the agent stops.
const DRAIN: Duration = Duration::from_secs(10);

/// How long a step that the disk refused waits for its next try.
const DISK_RETRY: Duration = Duration::from_secs(5);

/// Something that took time is done.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one")]
pub(super) enum Done {
    /// An effect of a pod, with its answer if it has one.
    Pod(PodUid, Option<Input>),
    /// The limits of a pod were changed, or could not be.
    Resized(PodUid, Result<(), String>),
    /// What pods share was put away.
    TidiedUp,
    /// The stock-taking at the start.
    Recovered(Result<Recovered, RecoveryError>),
    /// The sources were read.
    Read(Vec<SourceReading>),
    /// The operator's own objects were read.
    ReadObjects(DirReading),
    /// A pod's volumes are up to date, as far as they can be.
    Refreshed(PodUid),
    /// The snapshot of the sets was written, or not.
    Saved(std::io::Result<()>),
    /// New archives were imported.
    Imported(ImageKeeper, Vec<Import>),
    /// The images of a set's next revision are here, or not.
    Prefetched(SetKey, Box<Prefetched>),
    /// The use of the disk was looked at.
    Looked(Look),
    /// Something with images is done.
    Images(Box<ImageWork>),
    /// The configuration was read again.
    Configured(Box<Result<Settings, Vec<Fault>>>),
}

/// Where inputs come from.
#[derive(Debug)]
pub(super) struct Inputs {
    /// Questions and orders from the control socket.
    pub commands: mpsc::Receiver<Command>,
    /// Paths that changed.
    pub touched: mpsc::UnboundedReceiver<PathBuf>,
    /// News from afar.
    pub feeds: NewsOf,
    /// News of pulls.
    pub pulls: mpsc::UnboundedReceiver<PullNews>,
    /// Turns true when the agent is to stop.
    pub stop: watch::Receiver<bool>,
}

/// A `podward sync` that waits for the pass to end.
#[derive(Debug)]
pub(super) struct WaitingSync {
    /// What was done since it was asked.
    pub lines: Vec<String>,
    /// Whom to tell.
    pub reply: oneshot::Sender<SyncReport>,
}

/// Everything that the agent knows.
pub(super) struct Reconciler {
    /// The settings in force.
    pub settings: Settings,
    /// Reads them again.
    pub reload: super::app::Reload,
    /// The configuration file, to know its changes from others.
    pub config: PathBuf,
    /// Effects on containerd and the host.
    pub effects: Arc<Effects>,
    /// The node by its labels and taints.
    pub node: Node,
    /// The identity of this installation: one state directory, one id.
    pub install_id: String,
    /// Whose specs are followed.
    pub trust: Arc<Trust>,
    /// The sets that are wanted.
    pub sets: Sets,
    /// The ConfigMaps and Secrets that pods may take from.
    pub objects: Arc<Objects>,
    /// Those of the operator's own directory.
    pub own_objects: OwnObjects,
    /// Pods whose volumes may lag behind the objects.
    pub lagging: BTreeSet<PodUid>,
    /// Pods whose volumes are being brought up to date: one write at a time.
    pub refreshing: BTreeSet<PodUid>,
    /// Whether their snapshot is being written.
    pub saving: bool,
    /// When a snapshot that is due is written at the latest.
    pub unsaved: Option<Instant>,
    /// How each set stands on this node: the verdict in short.
    pub standings: BTreeMap<SetKey, Standing>,
    /// Why something wanted is not done, by set.
    pub holds: BTreeMap<SetKey, Hold>,
    /// The pods.
    pub pods: BTreeMap<PodUid, Pod>,
    /// NoExecute countdowns.
    pub evictions: Timers,
    /// Looks at how much of the disk volumes take.
    pub disk: DiskWatch,
    /// Makes room for images.
    pub image_gc: ImageGc,
    /// How soon pods that ended are followed by others.
    pub renewals: Renewals,
    /// What operators see of the past.
    pub events: EventLog,
    /// What came in from afar.
    pub feeds: Feeds,
    /// What is wrong with the sources.
    pub source_faults: Vec<Fault>,
    /// Everything wrong with sources and objects, one line each.
    pub faults: Vec<String>,
    /// The file sources as read; `None` while they are being read.
    pub readings: Option<Vec<SourceReading>>,
    /// Sets that the sources no longer name, and since when: see [`Reconciler::spare`].
    pub missing: BTreeMap<SetKey, Instant>,
    /// ConfigMaps and Secrets, likewise.
    pub missing_objects: BTreeMap<ObjectKey, Instant>,
    /// Paths that changed while the sources were being read.
    pub changed: BTreeSet<PathBuf>,
    /// Watches of manifests, images and configuration.
    pub watcher: Watcher,
    /// Imports archives; `None` while it is at work.
    pub images: Option<ImageKeeper>,
    /// The images' directory.
    pub images_dir: PathBuf,
    /// Whether archives changed during an import.
    pub import_again: bool,
    /// When archives that could not be imported are tried again, and the back-off earned so far.
    pub import_retry: (Option<Instant>, Backoff),
    /// How many reads of the configuration are under way: no pod is made under a configuration that is outdated.
    pub configuring: u32,
    /// Whether the stock-taking is over.
    pub recovered: bool,
    /// Pods that are given new limits.
    pub resizes: super::resize::Resizes,
    /// Effects under way.
    pub work: Works,
    /// Waits for the ends of containers.
    pub watches: Works,
    /// Probes and hooks under way: nothing waits for them, and the next agent runs them again.
    pub actions: Works,
    /// Images that pods and sets wait for: what is cut off is gone on with by the next agent.
    pub pulling: Works,
    /// The images of revisions that are still to come.
    pub prefetches: Prefetches,
    /// Which pods may be disturbed.
    pub turns: Turns,
    /// When to plan again although nothing happens.
    pub wake: Option<Instant>,
    /// How often containers of pods that are gone were started again.
    pub past_restarts: u64,
    /// Syncs that wait.
    pub syncs: Vec<WaitingSync>,
    /// Counts what operators could see.
    pub changes: watch::Sender<u64>,
    /// When this agent started.
    pub started: jiff::Timestamp,
    /// What containerd called itself when its stock was taken.
    pub containerd_version: String,
    /// How often systemd wants to hear that the agent is alive.
    pub watchdog: Option<Duration>,
}

impl std::fmt::Debug for Reconciler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reconciler").field("pods", &self.pods.len()).finish_non_exhaustive()
    }
}

impl Reconciler {
    /// Runs until it is told to stop, or until it cannot go on.
    pub async fn run(mut self, mut inputs: Inputs) -> Result<(), RecoveryError> {
        let recovery = Arc::clone(&self.effects);
        self.work.spawn(async move { Done::Recovered(recovery.recover().await) });
        self.read_own_objects();
        self.read_sources();
        self.import_images();
        let mut alive_at = self.watchdog.map(|every| time::now().mono + every);
        loop {
            let deadline = [self.deadline(), alive_at].into_iter().flatten().min();
            // Every arm is cancel-safe: receiving from a channel or a join set and sleeping lose nothing.
            tokio::select! {
                Some(done) = self.work.join_next() => self.take(done)?,
                Some(done) = self.watches.join_next() => self.take(done)?,
                Some(done) = self.pulling.join_next() => self.take(done)?,
                Some(news) = inputs.pulls.recv() => self.pull_news(news),
                Some(news) = inputs.feeds.recv() => self.feed_news(news),
                Some(done) = self.actions.join_next() => {
                    if !self.take_answer(done) {
                        continue;
                    }
                }
                Some(path) = inputs.touched.recv() => self.touched(path),
                Some(command) = inputs.commands.recv() => self.answer(command),
                () = until(deadline) => {
                    let now = time::now().mono;
                    if alive_at.is_some_and(|at| at <= now) {
                        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
                        alive_at = self.watchdog.map(|every| now + every);
                    }
                    if !self.deadlines() {
                        continue;
                    }
                }
                _ = inputs.stop.wait_for(|stop| *stop) => break,
            }
            self.reconcile();
        }
        self.drain().await;
        Ok(())
    }

    /// Lets effects that are under way come to their end: one that is cut off in containerd leaves rests.
    async fn drain(mut self) {
        self.watches.abort_all();
        self.actions.abort_all();
        self.pulling.abort_all();
        self.unsaved = self.unsaved.map(|_| time::now().mono);
        self.save_if_due();
        info!(count = self.work.len(), "stopping; pods run on");
        let drained = timeout(DRAIN, async {
            while let Some(Ok(done)) = self.work.join_next().await {
                if let Done::Pod(uid, Some(input)) = done
                    && let Some(pod) = self.pods.get_mut(&uid)
                {
                    let effects = pod.step(time::now(), input);
                    if effects.contains(&Effect::Save)
                        && let Err(error) = self.effects.records.save(&pod.record)
                    {
                        error!(pod = %uid, error = %Chain(&error), "failed to save a record");
                    }
                }
            }
        });
        let _ = drained.await;
    }

    /// Takes what an effect, a watch or a read brought back.
    fn take(&mut self, done: Result<Done, tokio::task::JoinError>) -> Result<(), RecoveryError> {
        let done = match done {
            Ok(done) => done,
            // A prefetch that nobody wants any more.
            Err(error) if error.is_cancelled() => return Ok(()),
            Err(error) => {
                error!(error = %error, "a task of the agent ended unexpectedly");
                return Ok(());
            }
        };
        match done {
            Done::Pod(_, None) | Done::TidiedUp => {}
            Done::Pod(uid, Some(input)) => {
                self.tell(&uid, input);
            }
            Done::Resized(uid, outcome) => self.resized(&uid, outcome),
            Done::Recovered(recovered) => self.adopt(recovered?),
            Done::Read(readings) => self.sources_read(readings),
            Done::ReadObjects(reading) => self.own_objects_read(reading),
            Done::Refreshed(uid) => {
                self.refreshing.remove(&uid);
            }
            Done::Saved(saved) => self.sets_saved(saved),
            Done::Imported(keeper, imports) => self.images_imported(keeper, imports),
            Done::Prefetched(key, prefetched) => self.prefetched(&key, *prefetched),
            Done::Looked(look) => self.disk_looked(look),
            Done::Images(work) => self.image_work_done(*work),
            Done::Configured(settings) => self.configured(*settings),
        }
        Ok(())
    }

    /// Takes the answer of a probe or a hook; `false` when it changed nothing, as most answers of probes do.
    fn take_answer(&mut self, done: Result<Done, tokio::task::JoinError>) -> bool {
        match done {
            Ok(Done::Pod(uid, Some(input))) => self.tell(&uid, input),
            Ok(_) => false,
            Err(error) => {
                error!(error = %error, "a probe or hook ended unexpectedly");
                true
            }
        }
    }

    /// Takes up the pods that were there before this agent.
    fn adopt(&mut self, recovered: Recovered) {
        let now = time::now();
        info!(count = recovered.pods.len(), "took up the pods that were here");
        self.containerd_version = recovered.containerd;
        self.recovered = true;
        for (mut record, observed) in recovered.pods {
            let uid = record.uid.clone();
            if self.barred(&record) && record.deletion.is_none() {
                // To start it once more, only to stop it, could take the host down once more.
                record.deletion = Some(Deletion {
                    requested: now.wall,
                    grace: record.grace(),
                    cause: "its template failed on this host".into(),
                });
            }
            let (pod, effects) = Pod::adopt(now, record, &observed, self.policy());
            self.pods.insert(uid.clone(), pod);
            // What changed while no agent ran is not known.
            self.lagging.insert(uid.clone());
            self.dispatch(now, &uid, effects);
            if observed.sandbox {
                self.watch_holder(&uid);
            }
        }
        self.changed();
    }

    /// The paces of retries under the present settings.
    pub(super) fn policy(&self) -> Policy {
        let mut policy = Policy::default();
        let cap = self.settings.max_container_restart_period;
        policy.crash.cap = cap;
        policy.crash.initial = policy.crash.initial.min(cap);
        policy
    }

    /// Tells a pod what happened, and does what it asks for. `false` when it was no news: an answer of a probe like the
    /// last one. Thousands of these come in a minute, and neither a plan nor anybody who watches is to be bothered.
    pub(super) fn tell(&mut self, uid: &PodUid, input: Input) -> bool {
        let now = time::now();
        let Some(pod) = self.pods.get_mut(uid) else { return false };
        let routine = matches!(input, Input::Probed { .. } | Input::Deadline);
        let sandbox = matches!(input, Input::SandboxReady { .. });
        let effects = pod.step(now, input);
        let gone = pod.gone();
        let probes_only = effects.iter().all(|effect| matches!(effect, Effect::Probe { .. }));
        self.dispatch(now, uid, effects);
        if sandbox {
            self.watch_holder(uid);
        }
        if routine && probes_only && !gone {
            return false;
        }
        if self.pods.get(uid).is_some_and(Pod::stopping) {
            self.effects.pulls.leave(uid);
        }
        if gone && let Some(pod) = self.pods.remove(uid) {
            self.effects.pulls.forget(uid);
            self.past_restarts += super::metrics::restarts(&pod);
            info!(pod = %pod.record.name, set = %pod.record.set, "pod is gone");
            self.tidy_up();
            self.look_at_images_soon();
        }
        self.changed();
        true
    }

    /// Wakes whatever's time has come; `false` when nothing came of it but that probes run.
    fn deadlines(&mut self) -> bool {
        let now = time::now().mono;
        let own = [
            self.wake,
            self.evictions.next(now),
            self.missing_until(),
            self.unsaved,
            self.prefetches.due(),
        ];
        // An eviction that is due is no longer the next one: the plan alone knows it.
        let mut news = own.into_iter().flatten().any(|at| at <= now) || self.evictions.due(now);
        let due: Vec<PodUid> = self
            .pods
            .iter()
            .filter(|(_, pod)| pod.deadline().is_some_and(|at| at <= now))
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in due {
            news |= self.tell(&uid, Input::Deadline);
        }
        self.look_at_disk();
        self.look_at_images();
        if self.import_retry.0.is_some_and(|at| at <= now) {
            self.import_retry.0 = None;
            self.import_images();
        }
        if self.missing_until().is_some_and(|at| at <= now) && self.readings.is_some() {
            self.read_sources();
        }
        news
    }

    /// The next moment at which something is due.
    fn deadline(&self) -> Option<Instant> {
        let now = time::now().mono;
        let pods = self.pods.values().filter_map(Pod::deadline).min();
        let unsaved = self.unsaved.filter(|_| !self.saving);
        let own = [
            self.evictions.next(now),
            self.prefetches.due(),
            self.wake,
            self.missing_until(),
            unsaved,
            self.import_retry.0,
            self.disk.due(),
            self.image_gc.due(),
        ];
        own.into_iter().flatten().chain(pods).min()
    }

    /// Starts what a pod asks for, in its order.
    pub(super) fn dispatch(&mut self, now: Now, uid: &PodUid, effects: Vec<Effect>) {
        for effect in effects {
            let Some(pod) = self.pods.get(uid) else { return };
            let record = &pod.record;
            let on = Arc::clone(&self.effects);
            match effect {
                Effect::Save => self.save(now, uid),
                Effect::Record(event) => self.note_pod(now, uid, event),
                Effect::CreateSandbox => {
                    let objects = Arc::clone(&self.objects);
                    self.spawn(uid, on.create_sandbox(record.clone(), objects));
                }
                Effect::PullImage { container } => {
                    let objects = Arc::clone(&self.objects);
                    let pulled = on.pull_image(record.clone(), objects, container);
                    let (pulled, uid) = (Box::pin(pulled), uid.clone());
                    self.pulling.spawn(async move { Done::Pod(uid, Some(pulled.await)) });
                }
                Effect::StartContainer { container, attempt, remove_first } => {
                    let (record, objects) = (record.clone(), Arc::clone(&self.objects));
                    let started =
                        on.start_container(record, objects, container, attempt, remove_first);
                    self.spawn(uid, started);
                }
                Effect::Watch { container, attempt } => {
                    let (watched, uid) = (on.watch(record, container, attempt), uid.clone());
                    self.watches.spawn(async move { Done::Pod(uid, Some(watched.await)) });
                }
                Effect::Probe { container, attempt, kind } => {
                    let (probed, uid) =
                        (on.probe(record.clone(), container, attempt, kind), uid.clone());
                    self.actions.spawn(async move { Done::Pod(uid, Some(probed.await)) });
                }
                Effect::RunHook { container, attempt, hook, timeout } => {
                    let hooked = on.hook(record.clone(), container, attempt, hook, timeout);
                    let (hooked, uid) = (Box::pin(hooked), uid.clone());
                    self.actions.spawn(async move { Done::Pod(uid, Some(hooked.await)) });
                }
                Effect::Signal { container, attempt, signal } => {
                    let sent = on.signal(record.clone(), container, attempt, signal);
                    self.spawn_silent(uid, sent);
                }
                Effect::RemoveContainer { container, attempt } => {
                    let record = record.clone();
                    self.spawn_silent(uid, on.remove_container(record, container, attempt));
                }
                Effect::KillPod => self.spawn_silent(uid, on.kill_pod(uid.clone())),
                Effect::ResetPod => self.spawn(uid, on.reset_pod(record.clone())),
                Effect::RemovePod => self.spawn(uid, on.remove_pod(record.clone())),
            }
        }
    }

    /// Runs an effect that answers.
    fn spawn(&mut self, uid: &PodUid, effect: impl Future<Output = Input> + Send + 'static) {
        let uid = uid.clone();
        let effect = Box::pin(effect);
        self.work.spawn(async move { Done::Pod(uid, Some(effect.await)) });
    }

    /// Runs an effect that does not answer.
    pub(super) fn spawn_silent(
        &mut self,
        uid: &PodUid,
        effect: impl Future<Output = ()> + Send + 'static,
    ) {
        let uid = uid.clone();
        let effect = Box::pin(effect);
        self.work.spawn(async move {
            effect.await;
            Done::Pod(uid, None)
        });
    }

    /// Writes a pod's record. A disk that refuses stops nothing that runs.
    fn save(&mut self, now: Now, uid: &PodUid) {
        let Some(pod) = self.pods.get(uid) else { return };
        if let Err(error) = self.effects.records.save(&pod.record) {
            let message = Chain(&error).to_string();
            error!(pod = %pod.record.name, error = %message, "failed to save a record");
            let event = PodEvent { warning: true, reason: "FailedSaveRecord", message };
            self.note_pod(now, uid, event);
        }
    }

    /// Something that an operator could see has changed.
    pub(super) fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Tries again after the disk refused.
    pub(super) fn retry_later(&mut self) {
        let at = time::now().mono + DISK_RETRY;
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// Tells the syncs that wait once nothing is under way any more.
    pub(super) fn settle_syncs(&mut self, settled: bool) {
        let reading = self.readings.is_none() || self.missing_until().is_some();
        let saving = self.saving || self.unsaved.is_some();
        let fetching = self.prefetches.busy() || self.feeds.awaited();
        let busy = !self.work.is_empty() || reading || saving || fetching || !self.recovered;
        if self.syncs.is_empty()
            || busy
            || !settled
            || self.pods.values().any(|pod| pod.stopping() || pod.coming_up())
        {
            return;
        }
        let (more, converged) = self.state_lines();
        for sync in mem::take(&mut self.syncs) {
            let lines = sync.lines.into_iter().chain(more.iter().cloned()).collect();
            let _ = sync.reply.send(SyncReport { lines, converged });
        }
    }
}

/// Sleeps until a moment, for ever when there is none.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
