//! What is kept of a pod on disk: enough to go on after the agent, containerd or the host died at any moment.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use serde::{Deserialize, Serialize};

use crate::base::{
    backoff::Backoff,
    ids::{PodUid, SetKey, TemplateHash},
};

use super::{image::ImageConfig, resources::all_containers, sandbox::SandboxFacts};

/// The version of the record's shape that this build writes.
pub const VERSION: u32 = 1;

/// The label that carries the template hash, by Kubernetes' name.
pub const HASH_LABEL: &str = "controller-revision-hash";

/// One pod, durable. Written before the first effect on its behalf and removed after the last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodRecord {
    /// The shape of this record: [`VERSION`].
    pub version: u32,
    /// The pod's identity.
    pub uid: PodUid,
    /// The pod's name: its set's name and five characters.
    pub name: String,
    /// The set that it belongs to.
    pub set: SetKey,
    /// The uid of that set.
    pub set_uid: String,
    /// The template that it was made from.
    pub hash: TemplateHash,
    /// When it was made.
    pub created: Timestamp,
    /// The defaulted template; a later change of the set does not touch a pod that exists.
    pub template: PodTemplateSpec,
    /// What its containers share, once made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxFacts>,
    /// Where each volume is on the host, once made.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, PathBuf>,
    /// When the init containers had done their work in the present sandbox; they do not run again in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initialized: Option<Timestamp>,
    /// Whether the pod is ready, and since when it is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Readiness>,
    /// Set once the pod is to go; never taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<Deletion>,
    /// What each container did so far.
    #[serde(default)]
    pub containers: BTreeMap<String, ContainerRecord>,
}

impl PodRecord {
    /// The pod's spec; validation refuses templates without one.
    pub fn spec(&self) -> &PodSpec {
        static EMPTY: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
        self.template.spec.as_ref().unwrap_or(&EMPTY)
    }

    /// The container or init container of that name in the template.
    pub fn container(&self, name: &str) -> Option<&Container> {
        all_containers(self.spec()).find(|container| container.name == name)
    }

    /// The pod's labels: the template's, and the hash.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let metadata = self.template.metadata.as_ref();
        let mut labels = metadata.and_then(|metadata| metadata.labels.clone()).unwrap_or_default();
        labels.insert(HASH_LABEL.to_owned(), self.hash.to_string());
        labels
    }

    /// The pod's annotations: the template's.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let metadata = self.template.metadata.as_ref();
        metadata.and_then(|metadata| metadata.annotations.clone()).unwrap_or_default()
    }

    /// How long its processes get between the stop signal and the kill.
    pub fn grace(&self) -> Duration {
        let seconds = self.spec().termination_grace_period_seconds.unwrap_or(30);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }
}

/// Whether a pod is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether it is.
    pub ready: bool,
    /// Since when.
    pub since: Timestamp,
}

/// A deletion that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// When.
    pub requested: Timestamp,
    /// The grace that it was given.
    pub grace: Duration,
    /// Why, for the operator.
    pub cause: String,
}

/// One container's history.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// The newest attempt that ran, from 0; it is the restart count as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// When that attempt started, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_since: Option<Timestamp>,
    /// Whether that attempt counts as started: its postStart hook and its startup probe are through.
    #[serde(default, skip_serializing_if = "is_false")]
    pub started: bool,
    /// Whether it was ready when last looked at.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ready: bool,
    /// The attempt whose postStart hook has come to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_start: Option<u32>,
    /// The attempt whose preStop hook has come to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_stop: Option<u32>,
    /// Whether it ended for good: it is not started again in this sandbox.
    #[serde(default, skip_serializing_if = "is_false")]
    pub finished: bool,
    /// How the newest ended attempt ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminated: Option<Terminated>,
    /// The crash-loop back-off earned so far.
    #[serde(default)]
    pub backoff: Backoff,
    /// When the back-off last grew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff_grew: Option<Timestamp>,
    /// The image that the reference meant at the first start; a restart never changes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<PinnedImage>,
}

/// Whether a flag need not be written.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes what it skips by reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// An image as it was resolved for this pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedImage {
    /// The full name of the image.
    pub reference: String,
    /// The manifest's digest.
    pub digest: String,
    /// The snapshot of its topmost layer.
    pub chain_id: String,
    /// Entry point, environment, user and the like.
    pub config: ImageConfig,
}

/// How one run of a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminated {
    /// Which attempt it was.
    pub attempt: u32,
    /// The exit code; 128 when it never ran, 255 when nobody saw the end.
    pub exit_code: u32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, `Unknown`.
    pub reason: String,
    /// More of it, when there is more.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When it started, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Timestamp,
}
