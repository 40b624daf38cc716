//! Content leases: what keeps half-made images from containerd's garbage collector.

use std::time::Duration;

use containerd_client::services::v1::{
    AddResourceRequest, CreateRequest, DeleteRequest, Lease, ListRequest, Resource,
};
use tonic::metadata::{Ascii, MetadataValue};

use super::{
    Containerd,
    client::call,
    error::{Class, Error},
};
use crate::base::time;

/// The label that tells our leases from others'; its value is the process that made it.
const OWNER: &str = "podward.dev/instance";

/// How long containerd keeps what a lease holds if nobody deletes the lease: longer than any import.
const EXPIRY: Duration = Duration::from_hours(24);

/// A content lease.
#[derive(Debug, Clone)]
pub(super) struct ContentLease {
    /// Its id.
    id: String,
    /// The id as the value of the header `containerd-lease`.
    pub(super) header: MetadataValue<Ascii>,
}

impl Containerd {
    /// Makes a content lease that ends by itself if we die.
    pub(super) async fn content_lease(&self) -> Result<ContentLease, Error> {
        let id = format!("podward-{}", uuid::Uuid::new_v4().simple());
        let header = MetadataValue::try_from(&id).expect("letters, digits and dashes are ASCII");
        let expiry = time::now().wall + EXPIRY;
        let labels = [
            ("containerd.io/gc.expire".to_owned(), expiry.to_string()),
            (OWNER.to_owned(), self.shared.instance.clone()),
        ];
        let request = CreateRequest { id: id.clone(), labels: labels.into() };
        let mut service = self.client().leases();
        call("create lease", &id, service.create(self.client().request(request))).await?;
        Ok(ContentLease { id, header })
    }

    /// Ends a lease. What it alone held becomes garbage; with `sync`, containerd collects before it answers.
    pub(super) async fn end_lease(&self, id: &str, sync: bool) -> Result<(), Error> {
        let request = DeleteRequest { id: id.to_owned(), sync };
        let mut service = self.client().leases();
        match call("delete lease", id, service.delete(self.client().request(request))).await {
            Err(error) if error.class() != Class::Missing => Err(error),
            _ => Ok(()),
        }
    }

    /// Ends a lease after the work done under it. The work's own failure is the one worth reporting:
    /// a lease that stays behind ends at its expiry.
    pub(super) async fn finish_lease<T>(
        &self,
        lease: &ContentLease,
        outcome: Result<T, Error>,
    ) -> Result<T, Error> {
        let ended = self.end_lease(&lease.id, false).await;
        let value = outcome?;
        ended.map(|()| value)
    }

    /// Lets a lease hold a blob that was there before.
    pub(super) async fn hold_blob(&self, lease: &ContentLease, digest: &str) -> Result<(), Error> {
        let resource = Resource { id: digest.to_owned(), r#type: "content".to_owned() };
        let request = AddResourceRequest { id: lease.id.clone(), resource: Some(resource) };
        let mut service = self.client().leases();
        call("lease content", digest, service.add_resource(self.client().request(request))).await
    }

    /// The leases that earlier processes of podward left behind.
    pub(super) async fn leftover_leases(&self) -> Result<Vec<String>, Error> {
        let filters = vec![format!("labels.\"{OWNER}\"")];
        let request = ListRequest { filters };
        let mut service = self.client().leases();
        let reply = call("list", "leases", service.list(self.client().request(request))).await?;
        let others = |lease: &Lease| {
            lease.labels.get(OWNER).is_some_and(|owner| *owner != self.shared.instance)
        };
        Ok(reply.leases.into_iter().filter(others).map(|lease| lease.id).collect())
    }
}
