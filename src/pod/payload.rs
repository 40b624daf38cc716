//! What lies in a volume of files: keys of ConfigMaps and Secrets, facts of the pod, or several of these together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, KeyToPath, PodSpec, Volume, VolumeProjection,
};

use crate::spec::ObjectKind;

use super::resources::all_containers;
use super::values::Values;

/// The mode of files for which nobody chose one.
const DEFAULT_MODE: i32 = 0o644;

/// The kinds of volume whose files the agent writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Keys of a ConfigMap.
    ConfigMap,
    /// Keys of a Secret.
    Secret,
    /// Facts of the pod.
    DownwardApi,
    /// Several of these.
    Projected,
}

impl FileKind {
    /// The kind of a volume; `None` when it is no volume of files.
    pub fn of(volume: &Volume) -> Option<Self> {
        if volume.config_map.is_some() {
            Some(Self::ConfigMap)
        } else if volume.secret.is_some() {
            Some(Self::Secret)
        } else if volume.downward_api.is_some() {
            Some(Self::DownwardApi)
        } else {
            volume.projected.as_ref().map(|_| Self::Projected)
        }
    }

    /// The name of the kubelet's plugin for it, which its directory bears.
    pub fn plugin(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap",
            Self::Secret => "secret",
            Self::DownwardApi => "downward-api",
            Self::Projected => "projected",
        }
    }

    /// Whether its files are kept in memory: what may be secret reaches no disk.
    pub fn in_memory(self) -> bool {
        self != Self::ConfigMap
    }
}

/// One file. Its `Debug` does not tell the content.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// The content.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, mode {:04o}", self.bytes.len(), self.mode)
    }
}

/// The files of a volume by their path in it: relative, without `.` and `..`, no file above another.
pub type Payload = BTreeMap<String, File>;

/// Why a volume has no content. It names object and key, and never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PayloadFault(pub String);

/// The files of a volume, all of them or none.
pub fn payload(volume: &Volume, values: &Values<'_>) -> Result<Payload, PayloadFault> {
    let mut files = Files { values, mode: DEFAULT_MODE, found: Payload::new(), faults: Vec::new() };
    if let Some(map) = &volume.config_map {
        files.mode = map.default_mode.unwrap_or(DEFAULT_MODE);
        files.object(ObjectKind::ConfigMap, &map.name, map.items.as_deref(), map.optional);
    } else if let Some(secret) = &volume.secret {
        files.mode = secret.default_mode.unwrap_or(DEFAULT_MODE);
        let name = secret.secret_name.as_deref().unwrap_or_default();
        files.object(ObjectKind::Secret, name, secret.items.as_deref(), secret.optional);
    } else if let Some(api) = &volume.downward_api {
        files.mode = api.default_mode.unwrap_or(DEFAULT_MODE);
        files.downward(api.items.as_deref());
    } else if let Some(projected) = &volume.projected {
        files.mode = projected.default_mode.unwrap_or(DEFAULT_MODE);
        for source in projected.sources.iter().flatten() {
            files.projection(source);
        }
    }
    files.finish()
}

/// Files as they are gathered: a later one at the same path takes an earlier one's place.
struct Files<'a> {
    /// Where contents come from.
    values: &'a Values<'a>,
    /// The mode of files that have none of their own.
    mode: i32,
    /// The files found so far.
    found: Payload,
    /// What is wrong.
    faults: Vec<String>,
}

impl Files<'_> {
    /// Adds one source of a projected volume.
    fn projection(&mut self, source: &VolumeProjection) {
        if let Some(map) = &source.config_map {
            self.object(ObjectKind::ConfigMap, &map.name, map.items.as_deref(), map.optional);
        } else if let Some(secret) = &source.secret {
            self.object(ObjectKind::Secret, &secret.name, secret.items.as_deref(), secret.optional);
        } else if let Some(api) = &source.downward_api {
            self.downward(api.items.as_deref());
        } else {
            // The support table refuses them earlier.
            self.faults.push("this kind of projected source is not supported".into());
        }
    }

    /// Adds every key of an object, or those that items name.
    fn object(
        &mut self,
        kind: ObjectKind,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
    ) {
        let optional = optional == Some(true);
        let object = match self.values.object(kind, name) {
            Ok(object) => object,
            Err(_) if optional => return,
            Err(missing) => return self.faults.push(missing.in_volume()),
        };
        let items = items.unwrap_or_default();
        if items.is_empty() {
            // `data` wins, as it does where a key is asked for.
            for (key, value) in object.binary.iter().chain(&object.data) {
                self.add(key, value, None);
            }
        }
        for item in items {
            match object.value(&item.key) {
                Some(value) => self.add(&item.path, value, item.mode),
                None if optional => {}
                None => {
                    let missing = self.values.without(kind, name, &item.key);
                    self.faults.push(missing.in_volume());
                }
            }
        }
    }

    /// Adds facts of the pod.
    fn downward(&mut self, items: Option<&[DownwardAPIVolumeFile]>) {
        let downward = self.values.downward;
        for item in items.unwrap_or_default() {
            let value = match (&item.field_ref, &item.resource_field_ref) {
                (Some(field), _) => downward.file_field(&field.field_path),
                (None, Some(resource)) => downward.resource(resource, None),
                (None, None) => Err(format!("{}: has no source", item.path)),
            };
            match value {
                Ok(value) => self.add(&item.path, value.as_bytes(), item.mode),
                Err(fault) => self.faults.push(fault),
            }
        }
    }

    /// Adds a file.
    fn add(&mut self, path: &str, bytes: &[u8], mode: Option<i32>) {
        let Some(path) = clean(path) else {
            return self.faults.push(format!(
                "invalid path {path:?}: write a relative path without .. that does not begin with .."
            ));
        };
        let mode = u32::try_from(mode.unwrap_or(self.mode)).unwrap_or(0o644) & 0o777;
        self.found.insert(path, File { bytes: bytes.to_vec(), mode });
    }

    /// The files, unless something is wrong.
    fn finish(mut self) -> Result<Payload, PayloadFault> {
        for path in self.found.keys() {
            let mut above = path.match_indices('/').map(|(at, _)| &path[..at]);
            if let Some(file) = above.find(|above| self.found.contains_key(*above)) {
                self.faults.push(format!("{file:?} is a file, and {path:?} is to lie below it"));
            }
        }
        match self.faults.len() {
            0 => Ok(self.found),
            1 => Err(PayloadFault(self.faults.remove(0))),
            _ => Err(PayloadFault(format!("[{}]", self.faults.join(", ")))),
        }
    }
}

/// A path in normal form; `None` when it would leave the volume, or get in the way of the names that swap its content.
fn clean(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let leaves = path.starts_with('/') || path.contains('\0') || parts.contains(&"..");
    let ours = parts.first().is_none_or(|first| first.starts_with(".."));
    (!leaves && !ours).then(|| parts.join("/"))
}

/// Where other volumes are mounted below this one, relative to it: nobody can make the directories once it is mounted
/// read-only.
pub fn nested_mount_points(spec: &PodSpec, volume: &str) -> BTreeSet<String> {
    all_containers(spec).flat_map(|container| nested_in(container, volume)).collect()
}

/// The same of one container.
fn nested_in(container: &Container, volume: &str) -> Vec<String> {
    let path = |path: &str| clean(path.trim_start_matches('/')).unwrap_or_default();
    let mounts = container.volume_mounts.as_deref().unwrap_or_default();
    let mut all: Vec<String> = mounts.iter().map(|mount| path(&mount.mount_path)).collect();
    all.sort_unstable();
    let mut found: Vec<String> = Vec::new();
    for own in mounts.iter().filter(|mount| mount.name == volume) {
        let own = path(&own.mount_path) + "/";
        let mut last: Option<String> = None;
        for below in all.iter().filter_map(|path| path.strip_prefix(&own)) {
            // What lies below a volume that is nested itself is that one's matter.
            if last.as_ref().is_none_or(|last| !below.starts_with(last.as_str())) {
                last = Some(format!("{below}/"));
                found.push(below.to_owned());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
