//! The devices that a pod's annotations name, as the files of this moment describe them.

use std::{path::Path, sync::Arc};

use crate::host::cdi;
use crate::pod::{
    cdi::{Devices, edits, wanted},
    fault::StartFault,
    record::PodRecord,
};

use super::effects::{Effects, blocking};

impl Effects {
    /// What the pod's devices change in each of its containers.
    pub(super) async fn devices(
        self: &Arc<Self>,
        record: &PodRecord,
    ) -> Result<Devices, StartFault> {
        let metadata = record.template.metadata.as_ref();
        let wanted = wanted(metadata.and_then(|metadata| metadata.annotations.as_ref()));
        if wanted.is_empty() {
            return Ok(Devices::default());
        }
        let effects = Arc::clone(self);
        blocking(move || effects.described(&wanted)).await
    }

    /// The same, read from the files.
    fn described(&self, wanted: &[String]) -> Result<Devices, StartFault> {
        let dirs = &self.paths.cdi;
        let (files, faults) = cdi::files(dirs);
        let edits = edits(wanted, &files).map_err(|device| {
            let dirs: Vec<_> = dirs.iter().map(|dir| Path::display(dir).to_string()).collect();
            let places = dirs.join(", ");
            let broken = if faults.is_empty() {
                String::new()
            } else {
                format!("; left out: {}", faults.join("; "))
            };
            StartFault::create(format!(
                "unresolvable CDI devices {device}: no file in {places} describes it{broken}"
            ))
        })?;
        let nodes = cdi::nodes(&edits);
        Ok(Devices { edits, nodes })
    }
}
