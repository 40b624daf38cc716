//! Content leases: what keeps half-made images from containerd's garbage collector.

use std::time::Duration;

use containerd_client::services::v1::{
    AddResourceRequest, CreateRequest, DeleteRequest, Lease, ListRequest, ListResourcesRequest,
    Resource,
};
use jiff::Timestamp;
use tonic::metadata::{Ascii, MetadataValue};

use super::{
    Containerd,
    client::call,
    error::{Class, Error},
    unpack::EXTRACT,
};
use crate::base::time;
use crate::image::documents::digest_of;

/// The label that tells our leases from others'; its value is the process that made it.
const OWNER: &str = "podward.dev/instance";

/// The label of pulls' leases; its value is the name that the image will have. These outlive the agent, so that a pull
/// which was cut off goes on where it was.
const PULL: &str = "podward.dev/pull";

/// containerd's label of a lease that ends by itself.
const EXPIRES: &str = "containerd.io/gc.expire";

/// How long containerd keeps what a lease holds if nobody deletes the lease: longer than any import.
const EXPIRY: Duration = Duration::from_hours(24);

/// A pull's lease that ends sooner than this is replaced: a pull must end before its lease does.
const ENOUGH: Duration = Duration::from_hours(12);

/// A content lease.
#[derive(Debug, Clone)]
pub struct ContentLease {
    /// Its id.
    id: String,
    /// The id as the value of the header `containerd-lease`.
    pub(super) header: MetadataValue<Ascii>,
}

impl Containerd {
    /// Makes a content lease that ends by itself if we die.
    pub(super) async fn content_lease(&self) -> Result<ContentLease, Error> {
        let id = format!("podward-{}", uuid::Uuid::new_v4().simple());
        self.create_lease(id, OWNER, &self.shared.instance).await
    }

    /// The lease of the pull that will name an image `name`: an earlier try's, with all that it holds, or a new one.
    pub async fn pull_lease(&self, name: &str) -> Result<ContentLease, Error> {
        let id = pull_id(name);
        if let Some(lease) = self.leases(format!("id=={id}")).await?.pop() {
            if expires_after(&lease, time::now().wall + ENOUGH) {
                self.clear_extracts(&id).await?;
                return Ok(ContentLease::of(id));
            }
            self.end_lease(&id, false).await?;
        }
        self.create_lease(id, PULL, name).await
    }

    /// Ends the lease of a pull. What the pull has not finished becomes garbage; with `sync`, containerd collects it
    /// before it answers.
    pub async fn end_pull_lease(&self, name: &str, sync: bool) -> Result<(), Error> {
        self.end_lease(&pull_id(name), sync).await
    }

    /// Makes a lease. One that somebody else has made meanwhile is as good.
    async fn create_lease(
        &self,
        id: String,
        label: &str,
        value: &str,
    ) -> Result<ContentLease, Error> {
        let labels = [
            (EXPIRES.to_owned(), (time::now().wall + EXPIRY).to_string()),
            (label.to_owned(), value.to_owned()),
        ];
        let request = CreateRequest { id: id.clone(), labels: labels.into() };
        let mut service = self.client().leases();
        match call("create lease", &id, service.create(self.client().request(request))).await {
            Err(error) if error.class() != Class::Exists => Err(error),
            _ => Ok(ContentLease::of(id)),
        }
    }

    /// Removes the half-unpacked layers of a pull that was cut off. Nobody goes on with them, and on a disk each takes
    /// the room of a layer.
    async fn clear_extracts(&self, id: &str) -> Result<(), Error> {
        let request = ListResourcesRequest { id: id.to_owned() };
        let mut service = self.client().leases();
        let reply = call("list lease", id, service.list_resources(self.client().request(request)));
        for resource in reply.await?.resources {
            if resource.r#type.starts_with("snapshots/") && resource.id.starts_with(EXTRACT) {
                self.remove_snapshot(&resource.id).await?;
            }
        }
        Ok(())
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
        self.hold(lease, "content".to_owned(), digest).await
    }

    /// Lets a lease hold a snapshot that was there before, and all below it.
    pub(super) async fn hold_snapshot(&self, lease: &ContentLease, key: &str) -> Result<(), Error> {
        self.hold(lease, format!("snapshots/{}", self.settings().snapshotter), key).await
    }

    /// Lets a lease hold something.
    async fn hold(&self, lease: &ContentLease, kind: String, id: &str) -> Result<(), Error> {
        let resource = Resource { id: id.to_owned(), r#type: kind };
        let request = AddResourceRequest { id: lease.id.clone(), resource: Some(resource) };
        let mut service = self.client().leases();
        call("lease content", id, service.add_resource(self.client().request(request))).await
    }

    /// The leases that earlier processes of podward left behind and nobody goes on with: those of imports, and those of
    /// pulls that have named their image since.
    pub(super) async fn leftover_leases(&self) -> Result<Vec<String>, Error> {
        let mut leftover = Vec::new();
        for lease in self.leases(format!("labels.\"{OWNER}\"")).await? {
            if lease.labels.get(OWNER).is_some_and(|owner| *owner != self.shared.instance) {
                leftover.push(lease.id);
            }
        }
        for lease in self.leases(format!("labels.\"{PULL}\"")).await? {
            let name = lease.labels.get(PULL).map(String::as_str).unwrap_or_default();
            let named = self.named_at(name).await?;
            if named.is_some_and(|named| named >= moment(lease.created_at)) {
                leftover.push(lease.id);
            }
        }
        Ok(leftover)
    }

    /// The leases that pass a filter.
    async fn leases(&self, filter: String) -> Result<Vec<Lease>, Error> {
        let request = ListRequest { filters: vec![filter] };
        let mut service = self.client().leases();
        let reply = call("list", "leases", service.list(self.client().request(request))).await?;
        Ok(reply.leases)
    }
}

impl ContentLease {
    /// The lease of an id.
    fn of(id: String) -> Self {
        let header = MetadataValue::try_from(&id).expect("letters, digits and dashes are ASCII");
        Self { id, header }
    }
}

/// The id of a pull's lease: the same for every try.
fn pull_id(name: &str) -> String {
    let digest = digest_of(name.as_bytes());
    let hex = digest.trim_start_matches("sha256:");
    format!("podward-pull-{}", hex.get(..32).unwrap_or(hex))
}

/// Whether containerd keeps a lease until then.
fn expires_after(lease: &Lease, then: Timestamp) -> bool {
    let expiry = lease.labels.get(EXPIRES).and_then(|text| text.parse::<Timestamp>().ok());
    expiry.is_none_or(|expiry| expiry > then)
}

/// containerd's time as ours.
pub(super) fn moment(time: Option<prost_types::Timestamp>) -> Timestamp {
    let time = time.unwrap_or_default();
    Timestamp::new(time.seconds, time.nanos).unwrap_or(Timestamp::MIN)
}
