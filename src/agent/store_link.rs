//! The agent's one connection to the store: it follows what operators write and publishes what this node is.
//!
//! A session is connect, list, register, watch. Whatever breaks ends the session, and another begins after a wait with
//! jitter; until then everything goes on as it was last said. Nothing here stops a pod: it only says what it read.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, mpsc, watch},
    time::{sleep_until, timeout, timeout_at},
};
use tracing::{debug, warn};
use uuid::Uuid;

use crate::base::{
    backoff::{Backoff, Bounds},
    errors::Chain,
    fault::Fault,
    ids::NodeName,
    keyed::keyed,
    time,
};
use crate::source::{merge::FileReading, trust::Trust};
use crate::store::{self, Change, Error, Header, Keys, Kv, Range, Store, Watch};

use super::{
    effects::blocking,
    feeds::{News, stale},
    handle::{Handle, StoreHealth, StoreState},
    sets,
    store_guard::{Guard, Verdict},
    store_publish::{Publisher, Registered},
    store_view::View,
    turn_keeper::Keeper,
};

/// How long the next session waits: half of it for certain, the rest at random, so that a fleet does not come at once.
const RETRY: Bounds = Bounds { initial: Duration::from_millis(500), cap: Duration::from_secs(15) };

/// A session that lasted so long is followed by another at once.
const CALM: Duration = Duration::from_secs(1);

/// How long a change waits for others of the same transaction, which come by other watches.
const SETTLE: Duration = Duration::from_millis(10);

/// How long a key that is gone waits for its tombstone, which comes by another watch.
const TOMBSTONE: Duration = Duration::from_millis(250);

/// What the link is made with.
#[derive(Debug)]
pub struct Settings {
    /// How to reach the store.
    pub store: store::Settings,
    /// The keys' names.
    pub keys: Keys,
    /// This node.
    pub node: NodeName,
    /// The identity of this installation.
    pub install_id: String,
    /// The number of the etcd source among the sources, if it is one.
    pub source: Option<usize>,
    /// How long this node counts as alive without a sign of life.
    pub lease_ttl: Duration,
    /// Whom to believe.
    pub trust: Arc<Trust>,
    /// This boot of the host.
    pub boot_id: String,
    /// Whether turns are taken here: one pass without an agent takes none.
    pub turns: bool,
    /// How often whoever waits for a turn looks again, where that is not the usual.
    pub pace: Option<Duration>,
    /// Wakes whoever is to ask again.
    pub poke: Arc<Notify>,
}

/// The link.
pub(super) struct Link {
    /// Its settings.
    pub(super) settings: Settings,
    /// The way to the reconciler.
    pub(super) handle: Handle,
    /// Where news go.
    news: mpsc::UnboundedSender<News>,
    /// What the keys mean.
    pub(super) view: View,
    /// What is remembered of the store.
    guard: Guard,
    /// What this node publishes.
    pub(super) publisher: Publisher,
    /// What it may disturb.
    pub(super) keeper: Keeper,
    /// The gates' keys.
    pub(super) gates: BTreeMap<String, Kv>,
    /// The endpoint that is asked first.
    first: usize,
    /// How the store was when that was told last.
    told: Option<StoreHealth>,
    /// Why what was read last goes on, as it was told.
    stale: Option<String>,
    /// What was read last, for when the store is away.
    files: BTreeMap<std::path::PathBuf, FileReading>,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Over {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
    /// What is known is to be read again, at once.
    #[error("read again")]
    Again,
}

/// What a session may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Follow and publish.
    Full,
    /// Neither: this is not the store that this host knows, or another host has its name.
    Frozen(StoreState),
}

impl Link {
    /// A link that has not asked anybody.
    pub(super) fn new(
        settings: Settings,
        handle: Handle,
        news: mpsc::UnboundedSender<News>,
        view: View,
        guard: Guard,
    ) -> Self {
        let publisher = Publisher::new(
            settings.keys.clone(),
            settings.node.clone(),
            settings.install_id.clone(),
            settings.lease_ttl,
        );
        let keeper = Keeper::new(&settings, news.clone());
        let first = usize::try_from(random() % 1024).unwrap_or(0);
        Self {
            settings,
            handle,
            news,
            view,
            guard,
            publisher,
            keeper,
            gates: BTreeMap::new(),
            first,
            told: None,
            stale: None,
            files: BTreeMap::new(),
        }
    }

    /// Runs until the agent stops.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            // cancel-safe: what is cut off here is begun anew by the next agent.
            () = Box::pin(self.sessions()) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    /// One session after the other.
    async fn sessions(&mut self) {
        let mut backoff = Backoff::default();
        loop {
            let began = time::now().mono;
            match Box::pin(self.session()).await {
                // Unless this turns in circles, nothing has to wait.
                Ok(()) | Err(Over::Again) if time::now().mono.duration_since(began) > CALM => {
                    backoff.reset();
                    continue;
                }
                // What this node's sign of life hung on is gone; it is registered anew.
                Ok(()) | Err(Over::Again | Over::Store(Error::LeaseGone)) => {}
                Err(Over::Store(Error::Compacted(revision))) => {
                    debug!(revision, "the store forgot what this node missed; reading all of it");
                }
                Err(Over::Store(error)) => {
                    self.first += 1;
                    self.failed(&error);
                    if time::now().mono.duration_since(began) > RETRY.cap {
                        backoff.reset();
                    }
                }
            }
            tokio::time::sleep(jittered(backoff.next(RETRY))).await;
        }
    }

    /// One session; it ends with what ended it.
    async fn session(&mut self) -> Result<(), Over> {
        let store = Store::connect(&self.settings.store, self.first).await?;
        let (header, mode) = self.read(&store).await?;
        let followed = self.followed();
        let mut watch = store.watch(&followed, header.revision + 1).await?;
        match mode {
            Mode::Full => self.follow(&store, &mut watch).await,
            Mode::Frozen(_) => self.wait_for_a_word(&store, &mut watch).await,
        }
    }

    /// What is watched: what operators write, and this node's own record, which may be deleted.
    fn followed(&self) -> Vec<Range> {
        let mut followed = self.settings.keys.followed(&self.settings.node);
        followed.push(Range::key(self.settings.keys.node(&self.settings.node)));
        followed.push(Range::prefix(self.settings.keys.all_gates()));
        followed
    }

    /// Reads everything at one revision and finds out where this node stands with this store.
    async fn read(&mut self, store: &Store) -> Result<(Header, Mode), Over> {
        let (header, kvs) = store.list_all(&self.followed()).await?;
        let own = self.settings.keys.node(&self.settings.node);
        let gates = self.settings.keys.all_gates();
        let (gates, kvs): (Vec<Kv>, Vec<Kv>) =
            kvs.into_iter().partition(|kv| kv.key.starts_with(&gates));
        let (own, spec): (Vec<Kv>, Vec<Kv>) = kvs.into_iter().partition(|kv| kv.key == own);
        let mut seen = self.view.peek_accept(&spec);
        let accepted = self.guard.accepts(seen.as_ref(), header);
        let verdict = if accepted { Verdict::Right } else { self.guard.judge(header) };
        let state = match verdict {
            Verdict::Right => None,
            Verdict::Foreign => Some(StoreState::Foreign),
            Verdict::Regressed => Some(StoreState::Regressed),
        };
        if let Some(state) = state {
            self.freeze(store, state, &self.unlike(state, header));
            return Ok((header, Mode::Frozen(state)));
        }
        match self.publisher.register(store, &self.handle, own.first()).await? {
            Registered::Yes => {}
            Registered::Taken(by) => {
                self.freeze(store, StoreState::NameTaken, &by);
                return Ok((header, Mode::Frozen(StoreState::NameTaken)));
            }
            Registered::Changed => return Err(Over::Again),
        }
        if accepted {
            self.settings.trust.forget(&self.view.root().display().to_string());
            self.view.accept();
        }
        self.view.list(&spec);
        self.learn(header, seen.take()).await;
        self.gates = keyed(gates.into_iter().map(|kv| (kv.key.clone(), kv)));
        self.keeper.begin();
        self.gates_changed(store).await?;
        self.publish_view(store, header);
        Ok((header, Mode::Full))
    }

    /// In what way a store is not the one that this host knows.
    fn unlike(&self, state: StoreState, header: Header) -> String {
        let known = &self.guard.memory;
        let difference = if state == StoreState::Foreign {
            format!(
                "it is cluster {:x}, and this host knows {:x}",
                header.cluster_id, known.cluster_id
            )
        } else {
            format!(
                "it is at revision {}, and this host has seen {}: an older copy was restored",
                header.revision, known.revision
            )
        };
        format!("{difference}; what runs goes on; when it is the right one: `podward store accept`")
    }

    /// Tells that nothing is taken from this store.
    fn freeze(&mut self, store: &Store, state: StoreState, message: &str) {
        self.tell(state, message.to_owned(), store.endpoint());
        self.send_stale(&format!("{}: {message}", state.reason()));
    }

    /// Says that what was read last goes on, and why.
    fn send_stale(&mut self, problem: &str) {
        let Some(index) = self.settings.source else { return };
        // The same again is no news, however often the store is asked.
        if self.stale.as_deref() == Some(problem) {
            return;
        }
        self.stale = Some(problem.to_owned());
        let root = self.view.root();
        let fault = Fault::of_file(root.display().to_string(), problem, "");
        self.send(News::Source(index, stale(root, self.files.clone(), fault)));
    }

    /// Remembers the store as it is now. A disk that refuses stops nothing; the next change tries again.
    async fn learn(&mut self, header: Header, accept: Option<crate::fleet::records::Accept>) {
        let news = self.guard.learn(header, accept.as_ref());
        self.guard.memory.last_good = Some(time::now().wall);
        self.guard.memory.overlay.clone_from(&self.view.overlay);
        if !news {
            return;
        }
        let snapshot = self.guard.snapshot();
        let write = move || {
            let (path, text) = snapshot?;
            sets::write(Path::new(&path), &text)
        };
        if let Err(error) = blocking(write).await {
            warn!(error = %error, "failed to remember the state of the store");
        }
    }

    /// Tells the reconciler what the keys say now.
    fn publish_view(&mut self, store: &Store, header: Header) {
        // What counts as seen from now on is on the disk before it takes effect.
        self.settings.trust.save();
        let mut reading = self.view.reading();
        let state = if self.view.is_empty() { StoreState::Empty } else { StoreState::Ready };
        let message = match self.view.empty_fault() {
            Some(fault) => fault.to_string(),
            None => format!("follows {} at {}", self.settings.keys.root(), store.endpoint()),
        };
        self.tell(state, message, store.endpoint());
        self.send(News::Overlay(self.view.overlay.clone()));
        self.send(News::Faults(self.view.faults().cloned().collect()));
        if !self.view.pods.is_empty() {
            self.send(News::Pods(self.view.pods.clone()));
        }
        debug!(revision = header.revision, "the store's keys were read");
        self.stale = None;
        if let Some(index) = self.settings.source {
            self.files.clone_from(&reading.files);
            reading.awaited = false;
            self.send(News::Source(index, reading));
        }
    }

    /// Follows changes, keeps this node alive and publishes what it is, until something breaks.
    async fn follow(&mut self, store: &Store, watch: &mut Watch) -> Result<(), Over> {
        let mut alive = store.keep_alive(self.publisher.lease()).await?;
        let every = self.settings.lease_ttl / 3;
        let mut renew_at = time::now().mono + every;
        let mut changes = self.handle.changes.clone();
        changes.mark_changed();
        let mut stirred = self.handle.changes.clone();
        stirred.mark_changed();
        let mut pending = false;
        let poke = Arc::clone(&self.settings.poke);
        let mut poked = std::pin::pin!(poke.notified());
        loop {
            let publish_at =
                if pending { self.keeper.entering().max(Some(self.publisher.due())) } else { None };
            let turns = self.settings.turns;
            tokio::select! {
                biased; // Signs of life first; reports last, for they are to say what the others did.
                // cancel-safe: a watch, a channel of counts and sleeps lose nothing.
                () = sleep_until(renew_at.into()) => {
                    alive.renew().await?;
                    renew_at = time::now().mono + every;
                }
                () = &mut poked => return Err(Over::Again),
                news = watch.next() => {
                    let (header, changes) = news?;
                    self.changed(store, watch, header, changes).await?;
                    stirred.mark_changed();
                }
                seen = stirred.changed(), if turns => {
                    if seen.is_err() {
                        return std::future::pending().await;
                    }
                    self.take_turns(store, watch).await?;
                }
                () = until(self.keeper.due()), if turns => {
                    self.keeper.overslept();
                    self.take_turns(store, watch).await?;
                }
                seen = changes.changed(), if !pending => {
                    if seen.is_err() {
                        return std::future::pending().await;
                    }
                    pending = true;
                }
                () = until(publish_at) => {
                    changes.mark_unchanged();
                    if !self.publisher.publish(store, &self.handle).await? {
                        return Err(Over::Again);
                    }
                    pending = self.publisher.owes();
                    // What is a member only now takes part in turns.
                    stirred.mark_changed();
                }
            }
        }
    }

    /// Takes changes, with those that belong to them.
    async fn changed(
        &mut self,
        store: &Store,
        watch: &mut Watch,
        header: Header,
        changes: Vec<Change>,
    ) -> Result<(), Over> {
        let mut header = header;
        let mut changes = self.sorted(changes)?;
        if changes.is_empty() {
            return Ok(());
        }
        let began = time::now().mono;
        // What failed says nothing without the history, which an operator's change moves.
        let gates = self.take_gates(&mut changes);
        let mut anew = gates || !self.gates.is_empty();
        loop {
            self.view.change(&changes);
            let settle = if self.view.has_lost() { TOMBSTONE } else { SETTLE };
            let more = timeout_at((began + settle).into(), watch.next());
            match more.await {
                Ok(more) => {
                    let (later, more) = more?;
                    header.revision = header.revision.max(later.revision);
                    changes = self.sorted(more)?;
                    anew |= self.take_gates(&mut changes);
                }
                Err(_) => break,
            }
        }
        if anew {
            self.gates_changed(store).await?;
        }
        let accept = self.view.accept.clone();
        if self.guard.accepts(accept.as_ref(), header) {
            // What the store has is believed as a whole, which takes a whole list.
            return Err(Over::Again);
        }
        self.publish_view(store, header);
        self.learn(header, accept).await;
        Ok(())
    }

    /// The changes of what operators write. One of this node's own record that others made ends the session: it was deleted, or
    /// another host took the name. What this node waits for the keeper of turns is told.
    fn sorted(&mut self, changes: Vec<Change>) -> Result<Vec<Change>, Over> {
        let own = self.settings.keys.node(&self.settings.node);
        let sets = self.settings.keys.fleet_sets();
        let mut others = Vec::new();
        for change in changes {
            if change.key().starts_with(&sets) {
                self.keeper.stirred(change.key());
                continue;
            }
            let revision = match &change {
                Change::Put(kv) => kv.mod_revision,
                Change::Delete(_, revision) => *revision,
            };
            if change.key() != own {
                others.push(change);
            } else if revision > self.publisher.revision() {
                return Err(Over::Again);
            }
        }
        Ok(others)
    }

    /// Waits beside a store that is not to be followed until something changes there that may make it so.
    async fn wait_for_a_word(&mut self, store: &Store, watch: &mut Watch) -> Result<(), Over> {
        let interesting =
            [self.settings.keys.accept(), self.settings.keys.node(&self.settings.node)];
        loop {
            match timeout(self.settings.lease_ttl / 3, watch.next()).await {
                Ok(news) => {
                    let (_, changes) = news?;
                    let heard = |change: &Change| interesting.iter().any(|key| key == change.key());
                    if changes.iter().any(heard) {
                        return Err(Over::Again);
                    }
                }
                // Nobody keeps a lease here that would tell whether the connection lives.
                Err(_) => {
                    store.get(&interesting[0]).await?;
                }
            }
        }
    }

    /// The store failed: what it said last goes on.
    fn failed(&mut self, error: &Error) {
        let state = match error {
            Error::Denied(_) | Error::Settings(_) => StoreState::Denied,
            _ => StoreState::Unreachable,
        };
        self.tell(state, format!("{}; what runs goes on", Chain(error)), "");
        let since = self.told.as_ref().map(|told| told.since).unwrap_or_default();
        let last = self.guard.memory.last_good;
        let last = last.map_or_else(|| "never".to_owned(), |last| format!("{last:.0}"));
        self.send_stale(&format!("{} since {since:.0}; it last answered: {last}", state.reason()));
    }

    /// Tells how the store is, when that is news.
    fn tell(&mut self, state: StoreState, message: String, endpoint: &str) {
        let same = self.told.as_ref().filter(|told| told.state == state);
        let since = same.map_or_else(|| time::now().wall, |told| told.since);
        let health = StoreHealth { state, since, message, endpoint: endpoint.to_owned() };
        if self.told.as_ref() != Some(&health) {
            self.told = Some(health.clone());
            self.send(News::Store(health));
        }
    }

    /// Sends news; without a reconciler the agent is stopping.
    pub(super) fn send(&self, news: News) {
        let _ = self.news.send(news);
    }
}

/// A random number.
fn random() -> u128 {
    Uuid::new_v4().as_u128() >> 64
}

/// A wait of which the second half is random.
fn jittered(wait: Duration) -> Duration {
    let half = wait / 2;
    let millis = half.as_millis().max(1);
    half + Duration::from_millis(u64::try_from(random() % millis).unwrap_or(0))
}

/// Sleeps until a moment, for ever when there is none.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
