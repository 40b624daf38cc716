//! Snapshots: a container's writable root, and views of images that are volumes.

use containerd_client::{
    services::v1::snapshots::{
        Info, ListSnapshotsRequest, MountsRequest, PrepareSnapshotRequest, RemoveSnapshotRequest,
        StatSnapshotRequest, ViewSnapshotRequest,
    },
    types::Mount,
};

use super::{
    Containerd,
    client::{call, refused},
    error::{Class, Error},
};
use crate::base::{
    ids::{ContainerId, PodUid},
    time,
};
use crate::pod::image::MountPoint;

/// The label of our containers' snapshots.
const OURS: &str = "podward.dev/container";

/// The label of the views that volumes stand on: whose they are.
const VOLUME_OF: &str = "podward.dev/volume-of";

/// containerd's label for what its garbage collector leaves alone; any value does, a time is asked for.
const GC_ROOT: &str = "containerd.io/gc.root";

/// A read-only view of an image that is a volume of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSnapshot {
    /// Its key.
    key: String,
    /// The pod.
    pub pod: PodUid,
}

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
        self.mounts_of(id.as_str()).await
    }

    /// How to mount a snapshot.
    async fn mounts_of(&self, key: &str) -> Result<Vec<MountPoint>, Error> {
        let request =
            MountsRequest { snapshotter: self.settings().snapshotter.clone(), key: key.to_owned() };
        let mut service = self.client().snapshots();
        let reply = call("read snapshot", key, service.mounts(self.client().request(request)));
        Ok(reply.await?.mounts.into_iter().map(mount_point).collect())
    }

    /// Makes a read-only view of an image's layers for a volume of a pod, and says how to mount it. One that an earlier
    /// try has made is used again.
    pub async fn view_for_volume(
        &self,
        key: &str,
        parent: &str,
        pod: &PodUid,
    ) -> Result<Vec<MountPoint>, Error> {
        let labels = [
            (VOLUME_OF.to_owned(), pod.to_string()),
            // No record refers to it.
            (GC_ROOT.to_owned(), time::now().wall.to_string()),
        ];
        let request = ViewSnapshotRequest {
            snapshotter: self.settings().snapshotter.clone(),
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels: labels.into(),
        };
        let mut service = self.client().snapshots();
        match call("view snapshot", key, service.view(self.client().request(request))).await {
            Ok(reply) => Ok(reply.mounts.into_iter().map(mount_point).collect()),
            Err(error) if error.class() == Class::Exists => self.mounts_of(key).await,
            Err(error) => Err(error),
        }
    }

    /// How to mount the view of a volume that was made before, if it was.
    pub async fn volume_mounts(&self, key: &str) -> Result<Option<Vec<MountPoint>>, Error> {
        match self.mounts_of(key).await {
            Err(error) if error.class() == Class::Missing => Ok(None),
            mounts => mounts.map(Some),
        }
    }

    /// The views that volumes of pods stand on.
    pub async fn volume_snapshots(&self) -> Result<Vec<VolumeSnapshot>, Error> {
        let infos = self.labelled(VOLUME_OF).await?;
        let view = |info: Info| {
            let pod = PodUid::new(info.labels.get(VOLUME_OF).cloned().unwrap_or_default());
            VolumeSnapshot { key: info.name, pod }
        };
        Ok(infos.into_iter().map(view).collect())
    }

    /// Removes the view of a volume; it must not be mounted any more.
    pub async fn remove_volume_snapshot(&self, view: &VolumeSnapshot) -> Result<(), Error> {
        self.remove_snapshot(&view.key).await
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

    /// Whether the layers of an image are there, given the topmost; an image without layers has them.
    pub async fn has_layers(&self, chain_id: &str) -> Result<bool, Error> {
        Ok(chain_id.is_empty() || self.has_snapshot(chain_id).await?)
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
        let infos = self.labelled(OURS).await?;
        Ok(infos.into_iter().map(|info| ContainerId::new(info.name)).collect())
    }

    /// All snapshots with a label.
    async fn labelled(&self, label: &str) -> Result<Vec<Info>, Error> {
        let request = ListSnapshotsRequest {
            snapshotter: self.settings().snapshotter.clone(),
            filters: vec![format!("labels.\"{label}\"")],
        };
        let mut service = self.client().snapshots();
        let reply = call("list", "snapshots", service.list(self.client().request(request)));
        let mut pages = reply.await?;
        let mut infos = Vec::new();
        while let Some(page) =
            pages.message().await.map_err(|status| refused("list", "snapshots", &status))?
        {
            infos.extend(page.info);
        }
        Ok(infos)
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
