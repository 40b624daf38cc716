//! What one start of a container mounts beside its pod's volumes, made before its runtime spec: the file for its last
//! words, parts of volumes, anonymous volumes of its image.

use std::{fs, path::Path, sync::Arc};

use k8s_openapi::api::core::v1::Container;

use crate::base::errors::Chain;
use crate::host::{attempt_dir::AttemptDir, copy_up, facts, sub_path};
use crate::pod::{
    environment::Environment,
    fault::StartFault,
    image::{ImageConfig, MountPoint},
    mounts::{Prepared, anonymous_volumes, asks_recursive},
    record::PodRecord,
    sub_paths::{SubPath, sub_paths},
};

use super::effects::{Effects, blocking};

impl Effects {
    /// Makes it. A try that failed half-way is made good by the next one, which begins anew.
    pub(super) async fn prepare_start(
        self: &Arc<Self>,
        record: &PodRecord,
        container: &Container,
        number: u32,
        image: &ImageConfig,
        own: &Environment,
    ) -> Result<Prepared, StartFault> {
        let parts = sub_paths(container, own)?;
        let anonymous = anonymous_volumes(container, image);
        let pod_dir = self.records.pod_dir(&record.uid);
        let dir = AttemptDir::of(&pod_dir, &container.name, number);
        let recursive = asks_recursive(container);
        let (volumes, name) = (record.volumes.clone(), container.name.clone());
        blocking(move || {
            if recursive {
                // Asks the runtime once; whoever makes the spec finds the answer.
                facts::recursive_read_only();
            }
            let mut prepared = make_own(&dir, anonymous)?;
            for part in parts {
                let volume = volumes.get(&part.volume).ok_or_else(|| lost(&part, &name))?;
                let target = sub_path::target(&pod_dir, &part.volume, &name, part.index);
                bind(&part, &name, volume, &target)?;
                prepared.sub_paths.insert(part.index, target);
            }
            Ok(prepared)
        })
        .await
    }

    /// Gives the image's anonymous volumes what the image has at their paths.
    pub(super) async fn fill_volumes(
        &self,
        prepared: &Prepared,
        mounts: &[MountPoint],
    ) -> Result<(), StartFault> {
        if prepared.image_volumes.is_empty() {
            return Ok(());
        }
        let (mounts, volumes) = (mounts.to_vec(), prepared.image_volumes.clone());
        let filled = blocking(move || copy_up::copy_up(&mounts, volumes.into_iter().collect()));
        filled.await.map_err(|error| {
            StartFault::create(format!("copy what the image has at its VOLUME {}", Chain(&error)))
        })
    }
}

/// Makes the run's own directory with all that belongs in it.
fn make_own(dir: &AttemptDir, anonymous: Vec<String>) -> Result<Prepared, StartFault> {
    let failed = |error: std::io::Error| {
        StartFault::create(format!("make the container's own directory: {error}"))
    };
    dir.create().map_err(failed)?;
    let mut prepared = Prepared { message: Some(dir.message_file()), ..Prepared::default() };
    for (number, path) in anonymous.into_iter().enumerate() {
        let volume = dir.volume(number);
        fs::create_dir_all(&volume).map_err(failed)?;
        prepared.image_volumes.insert(path, volume);
    }
    Ok(prepared)
}

/// Mounts one part of a volume where the runtime takes it from.
fn bind(part: &SubPath, container: &str, volume: &Path, target: &Path) -> Result<(), StartFault> {
    let SubPath { field, volume: name, path, propagation, .. } = part;
    let wanted = sub_path::Part { volume, path, target, propagation: *propagation };
    sub_path::bind(&wanted).map_err(|error| {
        StartFault::config(format!(
            "failed to prepare subPath for volumeMount {name:?} of container {container:?}: \
             {field}: {}",
            Chain(&error)
        ))
    })
}

/// The fault of a part of a volume that the pod has not.
fn lost(part: &SubPath, container: &str) -> StartFault {
    StartFault::config(format!(
        "cannot find volume {:?} to mount into container {container:?}",
        part.volume
    ))
}
