//! What the control socket may ask of the agent.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use crate::base::ids::{PodUid, SetKey};
use crate::image::progress::Progress;
use crate::rollout::{protocol::Local, turn::Turn};

pub use crate::runtime::containerd::Terminal;

/// The way to the agent from the floors above it.
#[derive(Debug, Clone)]
pub struct Handle {
    /// Where commands go; the agent answers each through its `reply`.
    pub commands: mpsc::Sender<Command>,
    /// Counts every change that an operator could see.
    pub changes: watch::Receiver<u64>,
    /// Where commands for containers go.
    pub execs: mpsc::Sender<ExecOrder>,
}

/// A command that a person runs in a container. It ends with whoever holds the other end of `output`.
#[derive(Debug)]
pub struct ExecOrder {
    /// The pod.
    pub pod: PodUid,
    /// The container.
    pub container: String,
    /// Which run of it.
    pub attempt: u32,
    /// The argument vector.
    pub command: Vec<String>,
    /// Whether it reads `input`.
    pub stdin: bool,
    /// Its terminal, if it gets one.
    pub terminal: Option<Terminal>,
    /// What the person says; its end is the end of the command's input.
    pub input: mpsc::Receiver<ExecInput>,
    /// What the command says. The channel's bound is all that is kept for a slow reader.
    pub output: mpsc::Sender<ExecOutput>,
}

/// What a person says to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecInput {
    /// A piece of its input.
    Data(Vec<u8>),
    /// The new size of its terminal: columns and rows.
    Resize(u16, u16),
}

/// What a command says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecOutput {
    /// A piece of its output.
    Stdout(Vec<u8>),
    /// A piece of its errors.
    Stderr(Vec<u8>),
    /// The end: its exit code, and why it did not come to its own end when it did not.
    Ended(u32, String),
}

/// Something that a person asks of images. It ends with whoever holds the other end of `output`.
#[derive(Debug)]
pub struct ImageOrder {
    /// What is asked.
    pub task: ImageTask,
    /// Where the answers go; without [`ImageSaid::Over`] or [`ImageSaid::Failed`] at the end the agent is stopping.
    pub output: mpsc::Sender<ImageSaid>,
}

/// What may be asked of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageTask {
    /// Every image.
    List,
    /// Fetches an image from its registry.
    Pull(String),
    /// Takes the images of an archive.
    Import(PathBuf),
    /// Removes every image that nothing needs.
    Prune {
        /// Only says which ones.
        dry_run: bool,
    },
}

/// An answer to what is asked of images.
#[derive(Debug, Clone, PartialEq)]
pub enum ImageSaid {
    /// An image, or what became of one, as JSON.
    Item(Value),
    /// How far a pull is.
    Progress(Progress),
    /// It could not be done.
    Failed(String),
    /// That was all.
    Over,
}

/// One question or order. A `reply` that is dropped unanswered says that the agent is stopping.
#[derive(Debug)]
pub enum Command {
    /// Every object of one kind, Kubernetes-shaped.
    List {
        /// The kind.
        kind: Kind,
        /// Only of this namespace.
        namespace: Option<String>,
        /// Only of this name.
        name: Option<String>,
        /// The objects.
        reply: oneshot::Sender<Vec<Value>>,
    },
    /// Stops one pod; its set decides whether another takes its place.
    DeletePod {
        /// The pod's namespace.
        namespace: String,
        /// The pod's name.
        name: String,
        /// Instead of the pod's own grace period.
        grace: Option<Duration>,
        /// Why it could not be done; otherwise it has begun.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// Explains where a set stands on this node.
    Why {
        /// The set.
        set: SetKey,
        /// The explanation as `podward why -o json` prints it.
        reply: oneshot::Sender<Result<Value, String>>,
    },
    /// Reads the sources again and brings the node to what they say.
    Sync {
        /// Only says what would be done.
        dry_run: bool,
        /// What was, or would be, done.
        reply: oneshot::Sender<SyncReport>,
    },
    /// Works on images.
    Images(ImageOrder),
    /// Everything that the rest of the fleet is told of this node.
    Report {
        /// The answer.
        reply: oneshot::Sender<FleetReport>,
    },
    /// What the keeper of turns holds, against what it has to know; `None` before the pods that are here were taken up.
    Turns {
        /// What it holds.
        told: TurnsTold,
        /// The answer.
        reply: oneshot::Sender<Option<TurnsAnswer>>,
    },
    /// Counts what there is.
    Metrics {
        /// The answer.
        reply: oneshot::Sender<MetricsReport>,
    },
    /// Names the builds at work.
    Version {
        /// The answer.
        reply: oneshot::Sender<VersionReport>,
    },
}

/// The kinds that can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `apps/v1` DaemonSet.
    DaemonSet,
    /// `v1` Pod.
    Pod,
    /// `v1` Node.
    Node,
    /// `v1` Event.
    Event,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::DaemonSet, Self::Pod, Self::Node, Self::Event];

    /// The kind as Kubernetes and the wire write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DaemonSet => "DaemonSet",
            Self::Pod => "Pod",
            Self::Node => "Node",
            Self::Event => "Event",
        }
    }

    /// The kind that the wire names.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What the rest of the fleet is told of a node, as JSON that is ready to be written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FleetReport {
    /// The node.
    pub node: Value,
    /// What it says of each set that it should run.
    pub members: BTreeMap<SetKey, Value>,
    /// Its pods, without what only this host needs.
    pub pods: Vec<Value>,
    /// Its events.
    pub events: Vec<Value>,
}

/// A turn that the keeper of turns holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldTurn {
    /// The turn.
    pub turn: Turn,
    /// Whether the leave to disturb the pod is taken back: the turn is about to be given back.
    pub revoked: bool,
}

/// All that the keeper of turns knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TurnsTold {
    /// The sets that this node is a member of: it holds a turn of no other.
    pub members: BTreeSet<SetKey>,
    /// Those of them of which it knows whether it holds a turn.
    pub known: BTreeSet<SetKey>,
    /// The turns that it holds.
    pub held: BTreeMap<SetKey, HeldTurn>,
    /// Why it holds none for the others, in a word and in a sentence.
    pub waits: BTreeMap<SetKey, (&'static str, String)>,
}

/// What the keeper of turns has to know.
#[derive(Debug, Clone, Default)]
pub struct TurnsAnswer {
    /// Of each set that takes turns.
    pub locals: BTreeMap<SetKey, Local>,
    /// When it changes by itself.
    pub wake: Option<Duration>,
}

/// How the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreHealth {
    /// In a word.
    pub state: StoreState,
    /// Since when.
    pub since: Timestamp,
    /// In a sentence.
    pub message: String,
    /// The member that answers.
    pub endpoint: String,
}

/// How the store is, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreState {
    /// Nobody was asked yet.
    Connecting,
    /// It answers and is the right one.
    Ready,
    /// It cannot be reached.
    Unreachable,
    /// It does not let this node in.
    Denied,
    /// It is older than what was seen.
    Regressed,
    /// It is another cluster.
    Foreign,
    /// It has nothing any more.
    Empty,
    /// Another host has this node's name.
    NameTaken,
}

impl StoreState {
    /// The word in conditions and events.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Connecting => "StoreConnecting",
            Self::Ready => "StoreReady",
            Self::Unreachable => "StoreUnreachable",
            Self::Denied => "StoreDenied",
            Self::Regressed => "StoreRegressed",
            Self::Foreign => "StoreForeign",
            Self::Empty => "SourceEmpty",
            Self::NameTaken => "NodeNameTaken",
        }
    }
}

/// How a source that is not a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceHealth {
    /// Its address.
    pub name: String,
    /// When it last answered well.
    pub last_good: Option<Timestamp>,
    /// What is wrong with it; empty for nothing.
    pub fault: String,
}

/// What is counted on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsReport {
    /// Its name.
    pub node: String,
    /// When the agent started.
    pub started: Timestamp,
    /// Whether containerd answers.
    pub containerd: bool,
    /// Faults of sources and objects.
    pub faults: u64,
    /// Pods by phase.
    pub pods: BTreeMap<&'static str, u64>,
    /// Sets by how they stand here.
    pub sets: BTreeMap<&'static str, u64>,
    /// How often containers were started again since the agent started, and before that of pods that are still here.
    pub restarts: u64,
    /// How each source is.
    pub sources: Vec<SourceHealth>,
    /// How the store is; `None` without one.
    pub store: Option<StoreHealth>,
}

/// What one pass over the node did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// One line for each step, fault or hold.
    pub lines: Vec<String>,
    /// Whether the node is now as the sources want it.
    pub converged: bool,
}

/// The builds at work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionReport {
    /// The agent's.
    pub version: String,
    /// This node's name.
    pub node: String,
    /// containerd's; empty while it is away.
    pub containerd: String,
}
