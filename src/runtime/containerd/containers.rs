//! Container records: containerd's memory of what we made, and the labels by which we find it again.

use std::collections::BTreeMap;

use containerd_client::services::v1::{
    Container, CreateContainerRequest, DeleteContainerRequest, GetContainerRequest,
    ListContainersRequest, UpdateContainerRequest, container::Runtime,
};
use jiff::Timestamp;
use prost::Message as _;
use prost_types::{Any, FieldMask};

use super::{
    Containerd,
    client::call,
    error::{Class, Error},
    tasks::timestamp,
};
use crate::base::ids::ContainerId;

/// The label that every container of ours carries.
const OURS: &str = "podward.dev/pod-uid";

/// containerd compares type URLs by their bare name, without a host in front.
const SPEC_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
/// The type of the runc shim's options.
const OPTIONS_TYPE: &str = "containerd.runc.v1.Options";

/// The runc shim's options, generated from `proto/runc.proto`.
mod runc {
    tonic::include_proto!("containerd.runc.v1");
}

/// A container to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewContainer {
    /// Its id, which is also its snapshot's key.
    pub id: ContainerId,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The image's name, for people who look.
    pub image_ref: String,
    /// The top layer that its snapshot will stand on. containerd does not ask for it here.
    pub parent_chain_id: String,
    /// The OCI runtime spec as JSON.
    pub spec_json: Vec<u8>,
}

/// A container as containerd remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRecord {
    /// Its id.
    pub id: ContainerId,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The image's name.
    pub image: String,
    /// When the record was made.
    pub created: Timestamp,
}

impl Containerd {
    /// Records a container. Its snapshot may come later and is protected from its first moment on.
    pub async fn create_container(&self, new: &NewContainer) -> Result<(), Error> {
        let container = Container {
            labels: new.labels.clone().into_iter().collect(),
            image: new.image_ref.clone(),
            spec: Some(spec_any(new.spec_json.clone())),
            ..self.blank(&new.id)
        };
        self.record(container).await
    }

    /// Records a container that brings its root along: it has neither image nor snapshot.
    pub async fn create_rootless(
        &self,
        id: &ContainerId,
        labels: BTreeMap<String, String>,
        spec_json: Vec<u8>,
    ) -> Result<(), Error> {
        let container = Container {
            labels: labels.into_iter().collect(),
            spec: Some(spec_any(spec_json)),
            snapshotter: String::new(),
            snapshot_key: String::new(),
            ..self.blank(id)
        };
        self.record(container).await
    }

    /// Replaces a container's runtime spec; a task made afterwards uses it.
    pub async fn update_spec(&self, id: &ContainerId, spec_json: Vec<u8>) -> Result<(), Error> {
        let container = Container {
            id: id.as_str().to_owned(),
            spec: Some(spec_any(spec_json)),
            ..Container::default()
        };
        let request = UpdateContainerRequest {
            container: Some(container),
            update_mask: Some(FieldMask { paths: vec!["spec".to_owned()] }),
        };
        let mut service = self.client().containers();
        call("update container", id.as_str(), service.update(self.client().request(request)))
            .await
            .map(|_| ())
    }

    /// Every container of ours.
    pub async fn list_containers(&self) -> Result<Vec<ContainerRecord>, Error> {
        let ours = format!("labels.\"{OURS}\"");
        let containers = self.containers_where(vec![ours]).await?;
        Ok(containers.into_iter().map(ContainerRecord::of).collect())
    }

    /// The ids of all containers of our namespace, whoever made them.
    pub(super) async fn container_ids(&self) -> Result<Vec<ContainerId>, Error> {
        let containers = self.containers_where(Vec::new()).await?;
        Ok(containers.into_iter().map(|container| ContainerId::new(container.id)).collect())
    }

    /// Makes a record without image or spec, by which a task without one can be reached again.
    pub(super) async fn record_stray(&self, id: &ContainerId) -> Result<(), Error> {
        let container = Container {
            // containerd keeps no label without a value.
            labels: [(OURS.to_owned(), "stray".to_owned())].into(),
            spec: Some(spec_any(b"{}".to_vec())),
            ..self.blank(id)
        };
        self.record(container).await
    }

    /// Forgets a container; a missing one is success.
    pub(super) async fn forget_container(&self, id: &ContainerId) -> Result<(), Error> {
        let request = DeleteContainerRequest { id: id.as_str().to_owned() };
        let mut service = self.client().containers();
        let reply =
            call("delete container", id.as_str(), service.delete(self.client().request(request)));
        match reply.await {
            Err(error) if error.class() != Class::Missing => Err(error),
            _ => Ok(()),
        }
    }

    /// A container's runtime spec; `None` when the record is missing.
    pub(super) async fn spec_json(&self, id: &ContainerId) -> Result<Option<Vec<u8>>, Error> {
        let request = GetContainerRequest { id: id.as_str().to_owned() };
        let mut service = self.client().containers();
        let reply =
            call("read container", id.as_str(), service.get(self.client().request(request)));
        match reply.await {
            Ok(reply) => {
                Ok(reply.container.and_then(|container| container.spec).map(|spec| spec.value))
            }
            Err(error) if error.class() == Class::Missing => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A record with what all our containers share.
    fn blank(&self, id: &ContainerId) -> Container {
        let settings = self.settings();
        let options = runc::Options {
            root: settings.runc_root.to_string_lossy().into_owned(),
            systemd_cgroup: settings.systemd_cgroup,
            ..runc::Options::default()
        };
        let options = Any { type_url: OPTIONS_TYPE.to_owned(), value: options.encode_to_vec() };
        Container {
            id: id.as_str().to_owned(),
            runtime: Some(Runtime { name: settings.runtime.clone(), options: Some(options) }),
            snapshotter: settings.snapshotter.clone(),
            snapshot_key: id.as_str().to_owned(),
            ..Container::default()
        }
    }

    /// Writes a record.
    async fn record(&self, container: Container) -> Result<(), Error> {
        let id = container.id.clone();
        let request = CreateContainerRequest { container: Some(container) };
        let mut service = self.client().containers();
        call("create container", &id, service.create(self.client().request(request)))
            .await
            .map(|_| ())
    }

    /// The containers that pass any of the filters.
    async fn containers_where(&self, filters: Vec<String>) -> Result<Vec<Container>, Error> {
        let request = ListContainersRequest { filters };
        let mut service = self.client().containers();
        let reply = call("list", "containers", service.list(self.client().request(request)));
        Ok(reply.await?.containers)
    }
}

impl ContainerRecord {
    /// Reads containerd's record.
    fn of(container: Container) -> Self {
        Self {
            id: ContainerId::new(container.id),
            labels: container.labels.into_iter().collect(),
            image: container.image,
            created: timestamp(container.created_at),
        }
    }
}

/// A runtime spec as containerd keeps it.
fn spec_any(json: Vec<u8>) -> Any {
    Any { type_url: SPEC_TYPE.to_owned(), value: json }
}
