//! The images that pods want: of containers, of volumes, and of pods that are still to come.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, ImageVolumeSource, PodSpec};

use crate::image::credentials::Login;
use crate::pod::{machine::Input, record::PodRecord};
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
            let logins = self.logins_of(&record.set.namespace, record.spec(), &objects);
            let waiter = Waiter::Pod(record.uid.clone());
            let known = record.containers.get(&container);
            Want {
                pinned: known.and_then(|known| known.image.clone()),
                ..want(own, logins, waiter)
            }
        });
        let Some(want) = want else {
            let fault = crate::pod::fault::StartFault::create("the template has no such container");
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
        &self,
        record: &PodRecord,
        source: &ImageVolumeSource,
        objects: &Objects,
    ) -> Want {
        let logins = self.logins_of(&record.set.namespace, record.spec(), objects);
        volume_want(source, logins, Waiter::Pod(record.uid.clone()))
    }

    /// The credentials that a pod brings along.
    pub(super) fn logins_of(
        &self,
        _namespace: &str,
        _spec: &PodSpec,
        _objects: &Objects,
    ) -> Vec<Login> {
        Vec::new()
    }
}

/// The image of a container.
pub(super) fn want(container: &Container, logins: Vec<Login>, waiter: Waiter) -> Want {
    Want {
        reference: container.image.clone().unwrap_or_default(),
        policy: PullPolicy::of(container.image_pull_policy.as_deref()),
        pinned: None,
        logins,
        waiter,
    }
}

/// The image of a volume.
pub(super) fn volume_want(source: &ImageVolumeSource, logins: Vec<Login>, waiter: Waiter) -> Want {
    Want {
        reference: source.reference.clone().unwrap_or_default(),
        policy: PullPolicy::of(source.pull_policy.as_deref()),
        pinned: None,
        logins,
        waiter,
    }
}
