//! Unpacking: an image's layers become a chain of snapshots.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use containerd_client::{
    services::v1::{
        ApplyRequest,
        snapshots::{CommitSnapshotRequest, PrepareSnapshotRequest},
    },
    types,
};

use super::{
    Containerd,
    client::{call, long_call},
    error::{Class, Error},
    leases::ContentLease,
};
use crate::image::documents::Descriptor;

/// What the keys of half-unpacked layers begin with, here and in containerd's own client.
pub(super) const EXTRACT: &str = "extract-";

/// One lock per chain of layers, so that two users of one image do not unpack it twice.
#[derive(Debug, Default)]
pub(super) struct ChainLocks(Mutex<BTreeMap<String, Weak<tokio::sync::Mutex<()>>>>);

impl ChainLocks {
    /// The lock of one chain.
    fn of(&self, chain_id: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = locks.get(chain_id).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        locks.insert(chain_id.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

/// A layer on its way to a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The blob.
    pub descriptor: Descriptor,
    /// The digest of the layer's uncompressed form.
    pub diff_id: String,
    /// The snapshot's name: the digest of this layer and all below.
    pub chain_id: String,
}

/// Why a layer did not become a snapshot.
#[derive(Debug)]
pub enum Failure {
    /// A call failed.
    Call(Error),
    /// The layer is not what the image says.
    Broken(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Call(error)
    }
}

impl Containerd {
    /// Sees to it that all layers are unpacked, and that the image's configuration holds the snapshots:
    /// its label is what the garbage collector follows.
    pub(super) async fn unpack(&self, config: &str, layers: &[Layer]) -> Result<(), Failure> {
        let Some(top) = layers.last() else {
            return Ok(());
        };
        let (label, chain) = self.snapshot_label(top);
        if self.has_snapshot(&top.chain_id).await? {
            let info = self.blob_info(config).await?;
            if info.is_some_and(|info| info.labels.get(&label) == Some(&chain)) {
                return Ok(());
            }
        }
        let lease = self.content_lease().await?;
        let outcome = self.unpack_under(&lease, layers).await;
        let outcome = match outcome {
            Ok(()) => {
                let labels = [(label, chain)].into();
                self.label_blob(config, &labels).await.map_err(Failure::from)
            }
            failed => failed,
        };
        self.finish_lease(&lease, Ok(())).await?;
        outcome
    }

    /// The label by which an image's configuration holds its top layer's snapshot.
    pub fn snapshot_label(&self, top: &Layer) -> (String, String) {
        let snapshotter = &self.settings().snapshotter;
        (format!("containerd.io/gc.ref.snapshot.{snapshotter}"), top.chain_id.clone())
    }

    /// Unpacks what is not unpacked, from below.
    async fn unpack_under(&self, lease: &ContentLease, layers: &[Layer]) -> Result<(), Failure> {
        let mut parent = "";
        for layer in layers {
            self.unpack_layer(lease, layer, parent).await?;
            parent = &layer.chain_id;
        }
        Ok(())
    }

    /// How many layers, from below, are unpacked already. The lease holds them from now on.
    pub async fn unpacked_layers(
        &self,
        lease: &ContentLease,
        layers: &[Layer],
    ) -> Result<usize, Error> {
        for (below, layer) in layers.iter().enumerate().rev() {
            if self.has_snapshot(&layer.chain_id).await? {
                self.hold_snapshot(lease, &layer.chain_id).await?;
                // It may have been collected in between.
                if self.has_snapshot(&layer.chain_id).await? {
                    return Ok(below + 1);
                }
            }
        }
        Ok(0)
    }

    /// Unpacks one layer on top of `parent`, unless it is unpacked.
    pub async fn unpack_layer(
        &self,
        lease: &ContentLease,
        layer: &Layer,
        parent: &str,
    ) -> Result<(), Failure> {
        let lock = self.shared.chains.of(&layer.chain_id);
        let _turn = lock.lock().await;
        if self.has_snapshot(&layer.chain_id).await? {
            return self.hold_snapshot(lease, &layer.chain_id).await.map_err(Failure::from);
        }
        let key = format!("{EXTRACT}{} {}", uuid::Uuid::new_v4().simple(), layer.chain_id);
        let outcome = self.extract(lease, layer, parent, &key).await;
        if outcome.is_err() {
            // What is left is garbage once the lease ends; removing it now only spares the disk.
            let _ = self.remove_snapshot(&key).await;
        }
        outcome
    }

    /// Prepares, applies, checks and commits one layer.
    async fn extract(
        &self,
        lease: &ContentLease,
        layer: &Layer,
        parent: &str,
        key: &str,
    ) -> Result<(), Failure> {
        let snapshotter = &self.settings().snapshotter;
        let chain_id = &layer.chain_id;
        let mut service = self.client().snapshots();
        let prepare = PrepareSnapshotRequest {
            snapshotter: snapshotter.clone(),
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels: [("containerd.io/snapshot.ref".to_owned(), chain_id.clone())].into(),
        };
        let prepare = service.prepare(self.client().leased(&lease.header, prepare));
        let mounts = match call("prepare snapshot", key, prepare).await {
            // A snapshotter that finds the layer elsewhere has it ready.
            Err(error) if error.class() == Class::Exists => return Ok(()),
            reply => reply?.mounts,
        };
        let apply = ApplyRequest {
            diff: Some(wire_descriptor(&layer.descriptor)),
            mounts,
            ..ApplyRequest::default()
        };
        let mut diff = self.client().diff();
        let apply = diff.apply(self.client().leased(&lease.header, apply));
        let applied = long_call("unpack layer", &layer.descriptor.digest, apply).await?.applied;
        let found = applied.map(|descriptor| descriptor.digest).unwrap_or_default();
        if found != layer.diff_id {
            let Descriptor { digest, .. } = &layer.descriptor;
            return Err(Failure::Broken(format!(
                "layer {digest} unpacks to {found}, but the configuration says {}",
                layer.diff_id
            )));
        }
        let commit = CommitSnapshotRequest {
            snapshotter: snapshotter.clone(),
            name: chain_id.clone(),
            key: key.to_owned(),
            ..CommitSnapshotRequest::default()
        };
        let commit = service.commit(self.client().leased(&lease.header, commit));
        match call("commit snapshot", chain_id, commit).await {
            // Somebody else was faster.
            Err(error) if error.class() == Class::Exists => {
                self.remove_snapshot(key).await.map_err(Failure::from)
            }
            reply => reply.map_err(Failure::from),
        }
    }
}

/// A descriptor as containerd's.
pub(super) fn wire_descriptor(descriptor: &Descriptor) -> types::Descriptor {
    types::Descriptor {
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest.clone(),
        size: descriptor.size,
        annotations: descriptor.annotations.clone().into_iter().collect(),
    }
}
