//! containerd through its native gRPC API, one file per containerd noun.
//!
//! Everything here but `transfer.rs` works on containerd 1.6, 1.7 and 2.x. Generated types never leave this folder.
//!
//! *Invariant*: a container's record is made before its snapshot. The record names the snapshot's key,
//! and that protects the snapshot from containerd's garbage collector from its first moment on.
//! *Invariant*: a record outlives its task, because containerd reaches a task only by its record.

mod archive;
mod client;
mod containers;
mod content;
mod error;
mod execs;
mod images;
mod import;
mod ingest;
mod introspection;
mod layout;
mod leases;
mod namespaces;
mod platform;
mod remove;
mod snapshots;
mod stored;
mod sweep;
mod tasks;
mod transfer;
mod unpack;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

pub use containers::{ContainerRecord, NewContainer};
pub use content::{Blob, Labels};
pub use error::{Class, Error};
pub use execs::{NewExec, Terminal};
pub use images::{Image, holding_labels, layers_of};
pub use ingest::Ingest;
pub use leases::ContentLease;
pub use snapshots::VolumeSnapshot;
pub use stored::StoredImage;
pub use tasks::{Exit, Stdio, Task, TaskStatus};
pub use transfer::Transfer;
pub use unpack::{Failure, Layer};

use crate::base::ids::ContainerId;
use client::Client;
use unpack::ChainLocks;

/// Which containerd to speak to, and how containers run under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The daemon's socket.
    pub address: PathBuf,
    /// containerd's namespace for all that podward makes.
    pub namespace: String,
    /// The snapshotter, such as `overlayfs`.
    pub snapshotter: String,
    /// The runtime, such as `io.containerd.runc.v2`.
    pub runtime: String,
    /// Whether runc makes cgroups through systemd.
    pub systemd_cgroup: bool,
    /// Where runc keeps its state. The runtime's own default is one directory for all daemons of the
    /// host, where two containers of one namespace and id collide.
    pub runc_root: PathBuf,
}

/// A containerd. Clones share one connection, which is made by the first call and made anew when lost.
#[derive(Clone, Debug)]
pub struct Containerd {
    /// What the clones share.
    shared: Arc<Shared>,
}

/// What the clones of one [`Containerd`] share.
#[derive(Debug)]
struct Shared {
    /// The settings.
    settings: Settings,
    /// The connection.
    client: Client,
    /// Tells this process's leases from those that an earlier one left behind.
    instance: String,
    /// One unpacking per layer chain at a time.
    chains: ChainLocks,
    /// One import at a time: archives are large, and disks gain nothing from two at once.
    importing: tokio::sync::Mutex<()>,
    /// Images read before, by the digest of their top document, which never changes its meaning.
    known: std::sync::Mutex<images::Known>,
    /// The processes of containers in which commands ran, which are what those commands run as.
    processes: std::sync::Mutex<BTreeMap<ContainerId, execs::OwnProcess>>,
}

impl Containerd {
    /// A client of the containerd at the settings' address; nothing is contacted yet. Needs a tokio runtime.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let client = Client::new(&settings)?;
        let instance = uuid::Uuid::new_v4().simple().to_string();
        Ok(Self {
            shared: Arc::new(Shared {
                settings,
                client,
                instance,
                chains: ChainLocks::default(),
                importing: tokio::sync::Mutex::default(),
                known: std::sync::Mutex::default(),
                processes: std::sync::Mutex::default(),
            }),
        })
    }

    /// containerd's namespace for all that podward makes.
    pub fn namespace(&self) -> &str {
        &self.shared.settings.namespace
    }

    /// The settings.
    fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// The connection.
    fn client(&self) -> &Client {
        &self.shared.client
    }
}
