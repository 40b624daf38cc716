//! Volumes whose content is an image's: a read-only view of its layers, mounted below the pod's directory.
//!
//! The view carries the pod's uid as a label, by which a later agent knows whose it is, and containerd's own label for
//! what its garbage collector must leave alone: there is no container record that would refer to it.

use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
};

use k8s_openapi::api::core::v1::PodSpec;
use tracing::warn;

use crate::base::{errors::Chain, ids::PodUid};
use crate::host::{snapshot, volumes};
use crate::pod::{fault::StartFault, image::MountPoint, record::PodRecord};
use crate::runtime::containerd::{Error, VolumeSnapshot};
use crate::spec::Objects;

use super::effects::{Effects, blocking};

/// Whether a pod has such volumes.
pub(super) fn any(spec: &PodSpec) -> bool {
    spec.volumes.iter().flatten().any(|volume| volume.image.is_some())
}

impl Effects {
    /// Mounts the images that are volumes of a pod. Once a volume was made it stays what it is for the pod's life.
    pub(super) async fn mount_images(
        &self,
        record: &PodRecord,
        objects: &Objects,
    ) -> Result<(), StartFault> {
        for volume in record.spec().volumes.iter().flatten() {
            let Some(source) = &volume.image else { continue };
            let key = format!("podward-volume-{}-{}", record.uid, volume.name);
            let failed = |error: &(dyn std::error::Error + 'static)| StartFault {
                reason: "FailedMount",
                message: format!(
                    "MountVolume.SetUp failed for volume \"{}\" : {}",
                    volume.name,
                    Chain(error)
                ),
            };
            let known = self.daemon.call(|| self.daemon.client.volume_mounts(&key)).await;
            let mounts = if let Some(mounts) = known.map_err(|error| failed(&error))? {
                mounts
            } else {
                let want = Self::want_of_volume(record, source, objects);
                let parent = self.ensure_image(&want).await?.image.chain_id;
                let view = || self.daemon.client.view_for_volume(&key, &parent, &record.uid);
                self.daemon.call(view).await.map_err(|error| failed(&error))?
            };
            let place = volumes::image_dir(&self.records.pod_dir(&record.uid), &volume.name);
            let mounted = blocking(move || mount(&mounts, place)).await;
            mounted.map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    /// Removes a pod's views, which must be unmounted by now.
    pub(super) async fn remove_views(&self, uid: &PodUid) -> Result<(), Error> {
        for view in self.daemon.call(|| self.daemon.client.volume_snapshots()).await? {
            if view.pod == *uid {
                self.daemon.call(|| self.daemon.client.remove_volume_snapshot(&view)).await?;
            }
        }
        Ok(())
    }

    /// Every view of ours; none where containerd does not tell.
    pub(super) async fn views(&self) -> Vec<VolumeSnapshot> {
        let listed = self.daemon.call(|| self.daemon.client.volume_snapshots()).await;
        listed.unwrap_or_else(|error| {
            warn!(error = %Chain(&error), "failed to list the views of images");
            Vec::new()
        })
    }

    /// Removes the views of pods that are no more. One that may still be mounted waits for the next agent.
    pub(super) async fn clear_views(
        &self,
        views: Vec<VolumeSnapshot>,
        keep: &BTreeSet<PodUid>,
        stuck: &HashSet<PodUid>,
    ) {
        for view in views {
            if keep.contains(&view.pod) || stuck.contains(&view.pod) {
                continue;
            }
            let removed =
                self.daemon.call(|| self.daemon.client.remove_volume_snapshot(&view)).await;
            if let Err(error) = removed {
                warn!(uid = %view.pod, error = %Chain(&error), "failed to remove the view of an image");
            }
        }
    }
}

/// Mounts a view at its place, which is made if it is missing.
fn mount(mounts: &[MountPoint], place: PathBuf) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o750).create(&place)?;
    snapshot::mount_at(mounts, &fs::canonicalize(place)?)
}
