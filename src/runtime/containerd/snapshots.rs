//! Snapshots: a container's writable root.

use containerd_client::{
    services::v1::snapshots::{
        Info, ListSnapshotsRequest, MountsRequest, PrepareSnapshotRequest, RemoveSnapshotRequest,
        StatSnapshotRequest,
    },
    types::Mount,
};

use super::{
    Containerd,
    client::{call, refused},
    error::{Class, Error},
};
use crate::base::ids::ContainerId;
use crate::pod::image::MountPoint;

/// The label of our containers' snapshots.
const OURS: &str = "podward.dev/container";

impl Containerd {
    /// Makes a container's snapshot on top of an image's layers and says how to mount it. One that an
    /// earlier try has made is used again.
    pub async fn prepare_snapshot(
        &self,
        id: &ContainerId,
        parent: &str,
    ) -> Result<Vec<MountPoint>, Error> {
        let request = PrepareSnapshotRequest {
            snapshotter: self.settings().snapshotter.clone(),
            key: id.as_str().to_owned(),
            parent: parent.to_owned(),
            labels: [(OURS.to_owned(), "root".to_owned())].into(),
        };
        let mut service = self.client().snapshots();
        let reply =
            call("prepare snapshot", id.as_str(), service.prepare(self.client().request(request)));
        match reply.await {
            Ok(reply) => Ok(reply.mounts.into_iter().map(mount_point).collect()),
            Err(error) if error.class() == Class::Exists => self.snapshot_mounts(id).await,
            Err(error) => Err(error),
        }
    }

    /// How to mount a container's snapshot.
    pub async fn snapshot_mounts(&self, id: &ContainerId) -> Result<Vec<MountPoint>, Error> {
        let request = MountsRequest {
            snapshotter: self.settings().snapshotter.clone(),
            key: id.as_str().to_owned(),
        };
        let mut service = self.client().snapshots();
        let reply =
            call("read snapshot", id.as_str(), service.mounts(self.client().request(request)));
        Ok(reply.await?.mounts.into_iter().map(mount_point).collect())
    }

    /// Removes a snapshot; a missing one is success, as the garbage collector may have been faster.
    pub(super) async fn remove_snapshot(&self, key: &str) -> Result<(), Error> {
        let request = RemoveSnapshotRequest {
            snapshotter: self.settings().snapshotter.clone(),
            key: key.to_owned(),
        };
        let mut service = self.client().snapshots();
        match call("remove snapshot", key, service.remove(self.client().request(request))).await {
            Err(error) if error.class() != Class::Missing => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether a snapshot is there.
    pub(super) async fn has_snapshot(&self, key: &str) -> Result<bool, Error> {
        let request = StatSnapshotRequest {
            snapshotter: self.settings().snapshotter.clone(),
            key: key.to_owned(),
        };
        let mut service = self.client().snapshots();
        match call("find snapshot", key, service.stat(self.client().request(request))).await {
            Ok(_) => Ok(true),
            Err(error) if error.class() == Class::Missing => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The keys of all our containers' snapshots.
    pub(super) async fn container_snapshots(&self) -> Result<Vec<ContainerId>, Error> {
        let request = ListSnapshotsRequest {
            snapshotter: self.settings().snapshotter.clone(),
            filters: vec![format!("labels.\"{OURS}\"")],
        };
        let mut service = self.client().snapshots();
        let reply = call("list", "snapshots", service.list(self.client().request(request)));
        let mut pages = reply.await?;
        let mut keys = Vec::new();
        while let Some(page) =
            pages.message().await.map_err(|status| refused("list", "snapshots", &status))?
        {
            keys.extend(page.info.into_iter().map(|info: Info| ContainerId::new(info.name)));
        }
        Ok(keys)
    }
}

/// containerd's mount as ours.
pub(super) fn mount_point(mount: Mount) -> MountPoint {
    let Mount { r#type: kind, source, target, options } = mount;
    MountPoint { kind, source, target, options }
}

/// Our mount as containerd's.
pub(super) fn wire_mount(mount: MountPoint) -> Mount {
    let MountPoint { kind, source, target, options } = mount;
    Mount { r#type: kind, source, target, options }
}
