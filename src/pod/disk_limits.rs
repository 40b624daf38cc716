//! Which of a pod's emptyDir volumes may take only so much of the disk.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::{PodSpec, Volume};

use crate::base::quantity::Amount;

use super::record::PodRecord;

/// A volume whose use of the disk is limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskLimit {
    /// The volume.
    pub volume: String,
    /// Where it lies.
    pub path: PathBuf,
    /// What it may take.
    pub bytes: u64,
    /// The same as it was written.
    written: String,
}

impl DiskLimit {
    /// Why a pod goes whose volume takes more, in the kubelet's words.
    pub fn message(&self) -> String {
        format!("Usage of EmptyDir volume {:?} exceeds the limit {:?}.", self.volume, self.written)
    }
}

/// Whether any volume of the pod has a limit. A volume in memory is limited by the kernel.
pub fn any(spec: &PodSpec) -> bool {
    spec.volumes.iter().flatten().any(|volume| limit(volume).is_some())
}

/// The limited volumes that are there.
pub fn limits(record: &PodRecord) -> Vec<DiskLimit> {
    let volumes = record.spec().volumes.iter().flatten();
    volumes
        .filter_map(|volume| {
            let (bytes, written) = limit(volume)?;
            let path = record.volumes.get(&volume.name)?.clone();
            Some(DiskLimit { volume: volume.name.clone(), path, bytes, written: written.into() })
        })
        .collect()
}

/// A volume's limit on disk; zero is none.
fn limit(volume: &Volume) -> Option<(u64, &str)> {
    let source = volume.empty_dir.as_ref()?;
    if source.medium.as_deref().is_some_and(|medium| !medium.is_empty()) {
        return None;
    }
    let written = source.size_limit.as_ref()?.0.as_str();
    let bytes = u64::try_from(Amount::parse(written).ok()?.value()).ok()?;
    (bytes > 0).then_some((bytes, written))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::EmptyDirVolumeSource;
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

    use super::*;

    #[test]
    fn only_volumes_on_disk_with_a_limit_are_looked_at() {
        let volume = |medium: &str, limit: &str| Volume {
            name: "v".into(),
            empty_dir: Some(EmptyDirVolumeSource {
                medium: Some(medium.into()),
                size_limit: (!limit.is_empty()).then(|| Quantity(limit.into())),
            }),
            ..Volume::default()
        };
        for (medium, size, expected) in [
            ("", "1Mi", Some((1 << 20, "1Mi"))),
            ("", "0", None),
            ("", "", None),
            ("Memory", "1Mi", None),
        ] {
            let volume = volume(medium, size);
            assert_eq!(limit(&volume), expected, "{medium:?} {size:?}");
            let spec = PodSpec { volumes: Some(vec![volume]), ..PodSpec::default() };
            assert_eq!(any(&spec), expected.is_some());
        }
        assert_eq!(limit(&Volume::default()), None);
    }

    #[test]
    fn the_reason_is_the_kubelets() {
        let limit = DiskLimit {
            volume: "cache".into(),
            path: PathBuf::new(),
            bytes: 1 << 20,
            written: "1Mi".into(),
        };
        let message = "Usage of EmptyDir volume \"cache\" exceeds the limit \"1Mi\".";
        assert_eq!(limit.message(), message);
    }
}
