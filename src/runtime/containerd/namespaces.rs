//! containerd's namespace of ours.

use containerd_client::services::v1::{CreateNamespaceRequest, Namespace};

use super::{
    Containerd,
    client::call,
    error::{Class, Error},
};

impl Containerd {
    /// Makes our namespace if it is not there.
    pub async fn ensure_namespace(&self) -> Result<(), Error> {
        let name = &self.settings().namespace;
        let namespace = Namespace { name: name.clone(), ..Namespace::default() };
        let request = CreateNamespaceRequest { namespace: Some(namespace) };
        let mut service = self.client().namespaces();
        let reply =
            call("create namespace", name, service.create(self.client().request(request))).await;
        match reply {
            Ok(_) => Ok(()),
            Err(error) if error.class() == Class::Exists => Ok(()),
            Err(error) => Err(error),
        }
    }
}
