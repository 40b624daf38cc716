//! Volumes of files and what fills them: ConfigMaps, Secrets, and facts of the pod.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, PoisonError},
};

use k8s_openapi::api::core::v1::Volume;
use tracing::{info, warn};

use crate::base::errors::Chain;
use crate::host::{
    payload_volume,
    volumes::{self, VolumeError},
};
use crate::pod::{
    downward::Downward,
    payload::{FileKind, Payload, PayloadFault, payload},
    record::PodRecord,
    values::Values,
};
use crate::spec::Objects;

use super::effects::{Effects, blocking};

impl Effects {
    /// Remembers the newest objects. It is called where an effect is ordered, not where it runs.
    pub(super) fn know(&self, objects: Arc<Objects>) {
        *self.objects.lock().unwrap_or_else(PoisonError::into_inner) = objects;
    }

    /// Makes a pod's volumes.
    pub(super) fn prepare_volumes(
        &self,
        record: &PodRecord,
    ) -> Result<BTreeMap<String, PathBuf>, VolumeError> {
        let contents = |volume: &Volume| self.contents(record, volume);
        volumes::prepare(record.spec(), &self.records.pod_dir(&record.uid), &contents)
    }

    /// Writes the files of a pod's volumes anew where their content changed. What is missing by now leaves the files
    /// as they are; a pod that is not made yet finds the new ones when it is.
    pub fn refresh_volumes(
        self: Arc<Self>,
        record: PodRecord,
        objects: Arc<Objects>,
    ) -> impl Future<Output = ()> + Send + 'static {
        self.know(objects);
        blocking(move || self.rewrite_volumes(&record))
    }

    /// The same, in one piece.
    fn rewrite_volumes(&self, record: &PodRecord) {
        let pod_dir = self.records.pod_dir(&record.uid);
        let contents = |volume: &Volume| self.contents(record, volume);
        for volume in record.spec().volumes.iter().flatten() {
            let Some(kind) = FileKind::of(volume) else { continue };
            let (pod, name) = (&record.name, &volume.name);
            match payload_volume::refresh(volume, kind, &pod_dir, &contents) {
                Ok(true) => info!(pod = %pod, "the files of volume {name} changed"),
                Ok(false) => {}
                Err(error) => warn!(
                    pod = %pod, error = %Chain(&error), "a volume keeps its old files"
                ),
            }
        }
    }

    /// What is to lie in a volume, by the newest objects.
    fn contents(&self, record: &PodRecord, volume: &Volume) -> Result<Payload, PayloadFault> {
        let objects = Arc::clone(&self.objects.lock().unwrap_or_else(PoisonError::into_inner));
        let node = self.node_view();
        let downward = Downward { record, node: &node };
        payload(volume, &Values { objects: &objects, downward })
    }
}
