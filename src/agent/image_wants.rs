//! The images that pods want: of containers, of volumes, and of pods that are still to come.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, ImageVolumeSource, PodSpec};
use tracing::warn;

use crate::image::credentials::{Keyring, of_secrets};
use crate::pod::{fault::StartFault, machine::Input, record::PodRecord};
use crate::spec::Objects;

use super::{
    effects::Effects,
    pulls::{PullPolicy, Waiter, Want},
};

impl Effects {
    /// Has the image of a container here.
    pub async fn pull_image(
        self: Arc<Self>,
        record: PodRecord,
        objects: Arc<Objects>,
        container: String,
    ) -> Input {
        let want = record.container(&container).map(|own| {
            let secrets = secrets_of(&record.set.namespace, record.spec(), &objects);
            let waiter = Waiter::Pod(record.uid.clone());
            let known = record.containers.get(&container);
            Want {
                pinned: known.and_then(|known| known.image.clone()),
                ..want(own, secrets, waiter)
            }
        });
        let Some(want) = want else {
            let fault = StartFault::create("the template has no such container");
            return Input::PullFailed { container, fault };
        };
        match self.ensure_image(&want).await {
            Ok(ready) => {
                Input::ImageReady { container, image: ready.image, message: ready.message }
            }
            Err(fault) => Input::PullFailed { container, fault },
        }
    }

    /// The image that a volume of a pod is.
    pub(super) fn want_of_volume(
        record: &PodRecord,
        source: &ImageVolumeSource,
        objects: &Objects,
    ) -> Want {
        let secrets = secrets_of(&record.set.namespace, record.spec(), objects);
        volume_want(source, secrets, Waiter::Pod(record.uid.clone()))
    }
}

/// The credentials that a pod brings along. What is wrong with them is told, and the pull goes on without.
pub(super) fn secrets_of(namespace: &str, spec: &PodSpec, objects: &Objects) -> Vec<Keyring> {
    let names = spec.image_pull_secrets.as_deref().unwrap_or_default();
    let (secrets, problems) = of_secrets(names, namespace, objects);
    for problem in problems {
        warn!(reason = problem, "failed to take credentials from an imagePullSecret");
    }
    secrets
}

/// The image of a container.
pub(super) fn want(container: &Container, secrets: Vec<Keyring>, waiter: Waiter) -> Want {
    Want {
        reference: container.image.clone().unwrap_or_default(),
        policy: PullPolicy::of(container.image_pull_policy.as_deref()),
        pinned: None,
        secrets,
        waiter,
    }
}

/// The image of a volume.
pub(super) fn volume_want(
    source: &ImageVolumeSource,
    secrets: Vec<Keyring>,
    waiter: Waiter,
) -> Want {
    Want {
        reference: source.reference.clone().unwrap_or_default(),
        policy: PullPolicy::of(source.pull_policy.as_deref()),
        pinned: None,
        secrets,
        waiter,
    }
}
