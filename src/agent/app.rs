//! The agent's composition: settings become clients, watches and the reconciler; then it runs until told to stop.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use nix::fcntl::{Flock, FlockArg};
use sd_notify::NotifyState;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};
use tracing::{error, info, warn};

use crate::base::{backoff::Backoff, errors::Chain, fault::Fault, time};
use crate::config::{CgroupDriver, PullBy, Settings};
use crate::fleet::events::EventLog;
use crate::host::{
    cgroup::{CgroupError, Cgroups, Driver, DriverWish},
    facts,
};
use crate::plan::{eviction::Timers, renewal::Renewals};
use crate::pod::sandbox::HostFacts;
use crate::pull::{self, LoginSettings, Puller};
use crate::runtime::containerd::{self, Containerd};
use crate::source::{
    trust::Trust,
    watch::{WatchError, Watcher},
};

use super::{
    configs::OwnObjects,
    daemon::Daemon,
    disk_watch::DiskWatch,
    effects::{Effects, Logging, Paths},
    feeding::{self, Feeder},
    feeds::Feeds,
    handle::{Command, ExecOrder, Handle, SyncReport},
    image_gc::ImageGc,
    images::ImageKeeper,
    objects::node_of,
    prefetch::Prefetches,
    pulls::{PullNews, Pulls},
    reconciler::{Inputs, Reconciler},
    records::{RecordError, Records},
    recovery::RecoveryError,
    resize::Resizes,
    sessions,
    sets::Sets,
    sources::source_paths,
    store_guard::Guard,
    turn_records::Turns,
    works::Works,
};

/// Reads the configuration again.
pub type Reload = Arc<dyn Fn() -> Result<Settings, Vec<Fault>> + Send + Sync>;

/// The control socket at work; it ends when the agent stops.
pub type Serving = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Binds the control socket. It lives on the floor above and is handed down by the composition root.
pub type Serve = fn(&Settings, Handle, watch::Receiver<bool>) -> Result<Serving, String>;

/// What the agent is started with.
pub struct Launch {
    /// The settings in force.
    pub settings: Settings,
    /// Reads them again.
    pub reload: Reload,
    /// The configuration file, there or not.
    pub config: PathBuf,
}

impl std::fmt::Debug for Launch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Launch").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Why the agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Another agent works with this state.
    #[error("another agent works with {}; stop it, or give this one its own paths.state", path.display())]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// A directory cannot be prepared.
    #[error("prepare {}", path.display())]
    Prepare {
        /// Which one.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The cgroups cannot be used.
    #[error(transparent)]
    Cgroups(#[from] CgroupError),
    /// containerd's settings cannot be used.
    #[error(transparent)]
    Containerd(#[from] containerd::Error),
    /// The records cannot be used.
    #[error(transparent)]
    Records(#[from] RecordError),
    /// Files cannot be watched.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// What earlier agents left cannot be taken up.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The control socket cannot be served.
    #[error("{0}")]
    Serve(String),
    /// Something of the process itself failed.
    #[error("{step}")]
    Process {
        /// What was tried.
        step: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Runs the agent until it gets SIGTERM or SIGINT. Pods outlive it.
pub async fn run(launch: Launch, serve: Serve) -> Result<(), AppError> {
    let (stop, stopped) = watch::channel(false);
    let Parts { reconciler, inputs, handle, execs, feeders, lock: _lock } =
        build(&launch, stopped.clone(), true)?;
    let mut tasks = JoinSet::new();
    for feeder in feeders {
        tasks.spawn(async move {
            feeder.await;
            Ok(())
        });
    }
    let sessions = sessions::run(Arc::clone(&reconciler.effects), execs, stopped.clone());
    tasks.spawn(async move {
        sessions.await;
        Ok(())
    });
    tasks.spawn(async move { reconciler.run(inputs).await.map_err(AppError::from) });
    let serving = serve(&launch.settings, handle, stopped).map_err(AppError::Serve)?;
    tasks.spawn(async move { serving.await.map_err(AppError::Serve) });
    let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status("running")]);
    let ended = tokio::select! {
        // cancel-safe: a join set and signal streams lose nothing.
        ended = tasks.join_next() => ended,
        () = terminated() => None,
    };
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    stop.send_replace(true);
    let mut result = ended.map_or(Ok(()), flatten);
    while let Some(ended) = tasks.join_next().await {
        result = result.and(flatten(ended));
    }
    result
}

/// One pass without an agent: brings the node to what the sources say, then leaves the pods alone.
pub async fn sync(launch: Launch, dry_run: bool) -> Result<SyncReport, AppError> {
    let (stop, stopped) = watch::channel(false);
    let Parts { mut reconciler, inputs, handle, feeders, lock: _lock, .. } =
        build(&launch, stopped, false)?;
    if dry_run {
        return Ok(reconciler.dry_run_alone()?);
    }
    let feeders: Vec<_> = feeders.into_iter().map(tokio::spawn).collect();
    let running = tokio::spawn(reconciler.run(inputs));
    let (reply, answer) = oneshot::channel();
    let asked = handle.commands.send(Command::Sync { dry_run: false, reply }).await;
    let report = match asked {
        Ok(()) => answer.await.unwrap_or_default(),
        Err(_) => SyncReport::default(),
    };
    stop.send_replace(true);
    flatten(running.await.map(|ended| ended.map_err(AppError::from)))?;
    for feeder in feeders {
        flatten(feeder.await.map(Ok))?;
    }
    Ok(report)
}

/// What `build` makes.
struct Parts {
    /// The reconciler.
    reconciler: Reconciler,
    /// Its inputs.
    inputs: Inputs,
    /// The way to it.
    handle: Handle,
    /// Commands that people want to run in containers.
    execs: mpsc::Receiver<ExecOrder>,
    /// What brings news from afar.
    feeders: Vec<Feeder>,
    /// Held for as long as this process works with the state.
    lock: Flock<File>,
}

/// Makes everything; nothing runs yet. What operators laid over this node holds from the start, whether the store answers
/// or not. One pass without an agent keeps no turns.
fn build(launch: &Launch, stop: watch::Receiver<bool>, keeps: bool) -> Result<Parts, AppError> {
    let settings = launch.settings.clone();
    let lock = lock(&settings.paths.state)?;
    let (news, pulls) = mpsc::unbounded_channel();
    let effects = Arc::new(effects(&settings, news)?);
    let images = image_keeper(&settings.paths.state)?;
    let own = [images.dir(), &launch.config, &settings.objects_dir];
    let (watcher, touched) = watch_all(&settings, &own)?;
    let (sets, guard, turns) = remembered(&settings.paths.state, &effects, keeps);
    let node = node_of(&settings, &effects.facts);
    info!(node = %node.name, version = env!("CARGO_PKG_VERSION"), "starting");
    let (handle, orders, execs, changes) = handle();
    let mut reconciler = Reconciler {
        events: EventLog::new(node.name.clone()),
        reload: Arc::clone(&launch.reload),
        config: launch.config.clone(),
        images_dir: images.dir().to_owned(),
        images: Some(images),
        own_objects: OwnObjects::new(settings.objects_dir.clone()),
        lagging: BTreeSet::new(),
        refreshing: BTreeSet::new(),
        feeds: Feeds::new(&settings, guard.memory.overlay.clone()),
        install_id: feeding::install_id(&settings.paths.state)?,
        trust: Arc::new(Trust::load(&settings.trusted_keys, &settings.paths.state)),
        settings,
        effects,
        node,
        objects: Arc::new(sets.objects()),
        sets,
        saving: false,
        unsaved: None,
        watcher,
        changes,
        standings: BTreeMap::new(),
        holds: BTreeMap::new(),
        pods: BTreeMap::new(),
        evictions: Timers::default(),
        source_faults: Vec::new(),
        disk: DiskWatch::default(),
        image_gc: ImageGc::default(),
        renewals: Renewals::default(),
        faults: Vec::new(),
        readings: Some(Vec::new()),
        missing: BTreeMap::new(),
        missing_objects: BTreeMap::new(),
        changed: BTreeSet::new(),
        import_again: false,
        import_retry: (None, Backoff::default()),
        configuring: 0,
        recovered: false,
        resizes: Resizes::default(),
        work: Works::default(),
        watches: Works::default(),
        actions: Works::default(),
        pulling: Works::default(),
        prefetches: Prefetches::default(),
        turns,
        wake: None,
        past_restarts: 0,
        syncs: Vec::new(),
        started: time::now().wall,
        containerd_version: String::new(),
        watchdog: watchdog(),
    };
    reconciler.begin();
    let (news, feeds) = mpsc::unbounded_channel();
    let feeders = feeding::feeders(&reconciler, guard, &handle, &news, &stop);
    let inputs = Inputs { commands: orders, touched, pulls, feeds, stop };
    Ok(Parts { reconciler, inputs, handle, execs, feeders, lock })
}

/// The way to the agent, and its other ends: orders, commands for containers, the count of changes.
fn handle() -> (Handle, mpsc::Receiver<Command>, mpsc::Receiver<ExecOrder>, watch::Sender<u64>) {
    let (commands, orders) = mpsc::channel(16);
    let (sender, execs) = mpsc::channel(16);
    let (changes, seen) = watch::channel(0);
    (Handle { commands, changes: seen, execs: sender }, orders, execs, changes)
}

/// What this host knew last: its sets, the store that it follows, and the turns that it holds.
fn remembered(state: &Path, effects: &Effects, keeps: bool) -> (Sets, Guard, Turns) {
    let (sets, trouble) = Sets::load(state.join("snapshot.json"));
    let (guard, more_trouble) = Guard::load(state);
    for trouble in [trouble, more_trouble].into_iter().flatten() {
        warn!("{trouble}");
    }
    (sets, guard, Turns::load(state, &effects.facts.boot_id, keeps))
}

/// Opens the directory of archives.
fn image_keeper(state: &Path) -> Result<ImageKeeper, AppError> {
    ImageKeeper::open(state).map_err(|source| AppError::Prepare { path: state.to_owned(), source })
}

/// Watches the sources, and these; what changed comes out of the channel.
fn watch_all(
    settings: &Settings,
    own: &[&Path],
) -> Result<(Watcher, mpsc::UnboundedReceiver<PathBuf>), WatchError> {
    let (settled, touched) = mpsc::unbounded_channel();
    let mut watcher = Watcher::new(settled)?;
    for path in source_paths(settings).iter().chain(&settings.trusted_keys) {
        watcher.add(path);
    }
    for path in own {
        watcher.add(path);
    }
    Ok((watcher, touched))
}

/// Makes the clients and finds out about the host.
fn effects(
    settings: &Settings,
    news: mpsc::UnboundedSender<PullNews>,
) -> Result<Effects, AppError> {
    let wish = match settings.containerd.cgroup_driver {
        CgroupDriver::Auto => DriverWish::Auto,
        CgroupDriver::Cgroupfs => DriverWish::Cgroupfs,
        CgroupDriver::Systemd => DriverWish::Systemd,
    };
    let parent = settings.cgroup_parent.as_deref().unwrap_or("/podward");
    let cgroups = Cgroups::detect(wish, parent)?;
    let run = &settings.paths.run;
    let client = Containerd::new(containerd::Settings {
        address: settings.containerd.address.clone(),
        namespace: settings.containerd.namespace.clone(),
        snapshotter: settings.containerd.snapshotter.clone(),
        runtime: settings.containerd.runtime.clone(),
        systemd_cgroup: cgroups.driver() == Driver::Systemd,
        runc_root: run.join("runc"),
    })?;
    let facts = facts::node_facts();
    Ok(Effects {
        pulls: Pulls::new(
            puller(settings, &client),
            settings.images.max_parallel_pulls,
            settings.images.policy.clone(),
            news,
        ),
        daemon: Daemon::new(client),
        cgroups,
        records: Records::open(&settings.paths.state)?,
        paths: Paths {
            sandboxes: run.join("pods"),
            pod_logs: settings.paths.pod_logs.clone(),
            container_logs: settings.paths.container_logs.clone(),
            seccomp: settings.paths.state.join("seccomp"),
            cdi: settings.cdi_dirs.clone(),
        },
        logging: Logging {
            exe: own_binary()?,
            max_size: settings.logs.max_size,
            max_files: settings.logs.max_files,
        },
        host: HostFacts { devices: Vec::new(), ..facts::host_facts() },
        node: node_of(settings, &facts).name,
        facts,
        accounts: Mutex::default(),
        objects: Mutex::default(),
    })
}

/// What pulls images.
fn puller(settings: &Settings, client: &Containerd) -> Puller {
    let images = &settings.images;
    let settings = pull::Settings {
        transfer: settings.containerd.pull == PullBy::Transfer,
        hosts_dir: images.hosts_dir.clone(),
        logins: LoginSettings {
            auth_file: images.auth_file.clone(),
            provider_config: images.credential_provider_config.clone(),
            provider_dir: images.credential_provider_bin_dir.clone(),
        },
        parallel_layers: images.max_parallel_layers,
    };
    Puller::new(client.clone(), settings)
}

/// The binary that containerd's shims start as logger: this one, by the name that an upgrade keeps.
fn own_binary() -> Result<PathBuf, AppError> {
    let source = |source| AppError::Process { step: "find the path of the own binary", source };
    let exe = std::env::current_exe().map_err(source)?;
    let text = exe.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or_else(|| exe.clone(), PathBuf::from))
}

/// Makes sure that no other agent works with this state.
fn lock(state: &Path) -> Result<Flock<File>, AppError> {
    let path = state.join("lock");
    let prepare = |source| AppError::Prepare { path: path.clone(), source };
    fs::create_dir_all(state).map_err(prepare)?;
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(prepare)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| AppError::Locked { path: path.clone() })
}

/// How often systemd wants a sign of life: half of what it allows.
fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|allowed| allowed / 2)
}

/// Returns on SIGTERM or SIGINT.
async fn terminated() {
    let streams = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = streams else {
        error!("signals cannot be caught; only SIGKILL ends this agent");
        return std::future::pending().await;
    };
    tokio::select! {
        // cancel-safe: a signal stream loses nothing.
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// A task's own result, or its panic as an error.
fn flatten(ended: Result<Result<(), AppError>, tokio::task::JoinError>) -> Result<(), AppError> {
    let failed = |error| AppError::Process {
        step: "run a task of the agent",
        source: io::Error::other(error),
    };
    let result = ended.map_err(failed).and_then(|result| result);
    if let Err(error) = &result {
        error!(error = %Chain(error), "the agent cannot go on");
    }
    result
}
