//! The connection: one lazy HTTP/2 channel over the daemon's socket, and the headers of every call.

use std::{future::Future, time::Duration};

use containerd_client::services::v1::{
    containers_client::ContainersClient, content_client::ContentClient, diff_client::DiffClient,
    images_client::ImagesClient, introspection_client::IntrospectionClient,
    leases_client::LeasesClient, namespaces_client::NamespacesClient,
    snapshots::snapshots_client::SnapshotsClient, streaming_client::StreamingClient,
    tasks_client::TasksClient, transfer_client::TransferClient, version_client::VersionClient,
};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint, Uri},
};

use super::{
    Containerd, Settings,
    error::{Error, Refusal},
};

/// containerd's own limit for one message; tonic's is a quarter of it, too little for a long list.
const MESSAGE_LIMIT: usize = 16 << 20;

/// How long a call may take that containerd answers out of its own database.
const SHORT: Duration = Duration::from_mins(1);

/// The connection and its headers.
#[derive(Debug)]
pub(super) struct Client {
    /// The channel; it connects on the first call and again after each loss.
    channel: Channel,
    /// The value of the header `containerd-namespace`.
    namespace: MetadataValue<Ascii>,
}

impl Client {
    /// A client that has not connected yet.
    pub(super) fn new(settings: &Settings) -> Result<Self, Error> {
        let namespace = settings.namespace.parse().map_err(|_| Error::Setting {
            field: "namespace",
            value: settings.namespace.clone(),
            problem: "not a name; use letters, digits, '-', '_' and '.'",
        })?;
        let address = settings.address.clone();
        let connector = tower::service_fn(move |_: Uri| {
            let address = address.clone();
            async move { UnixStream::connect(address).await.map(TokioIo::new) }
        });
        // The URI is never looked at: the connector knows the socket.
        let channel = Endpoint::from_static("http://containerd")
            .connect_timeout(Duration::from_secs(10))
            .connect_with_connector_lazy(connector);
        Ok(Self { channel, namespace })
    }

    /// A request with our namespace. Even calls about namespaces want the header on containerd 1.6.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("containerd-namespace", self.namespace.clone());
        request
    }

    /// A request whose results belong to a content lease.
    pub(super) fn leased<T>(&self, lease: &MetadataValue<Ascii>, message: T) -> Request<T> {
        let mut request = self.request(message);
        request.metadata_mut().insert("containerd-lease", lease.clone());
        request
    }

    /// The containers service.
    pub(super) fn containers(&self) -> ContainersClient<Channel> {
        ContainersClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_LIMIT)
    }

    /// The tasks service.
    pub(super) fn tasks(&self) -> TasksClient<Channel> {
        TasksClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_LIMIT)
    }

    /// The images service.
    pub(super) fn images(&self) -> ImagesClient<Channel> {
        ImagesClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_LIMIT)
    }

    /// The content service.
    pub(super) fn content(&self) -> ContentClient<Channel> {
        ContentClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_LIMIT)
    }

    /// The snapshots service.
    pub(super) fn snapshots(&self) -> SnapshotsClient<Channel> {
        SnapshotsClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_LIMIT)
    }

    /// The service that applies layers.
    pub(super) fn diff(&self) -> DiffClient<Channel> {
        DiffClient::new(self.channel.clone())
    }

    /// The leases service.
    pub(super) fn leases(&self) -> LeasesClient<Channel> {
        LeasesClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_LIMIT)
    }

    /// The namespaces service.
    pub(super) fn namespaces(&self) -> NamespacesClient<Channel> {
        NamespacesClient::new(self.channel.clone())
    }

    /// The service that tells of the daemon's parts.
    pub(super) fn introspection(&self) -> IntrospectionClient<Channel> {
        IntrospectionClient::new(self.channel.clone())
    }

    /// The service by which the daemon itself moves images.
    pub(super) fn transfers(&self) -> TransferClient<Channel> {
        TransferClient::new(self.channel.clone())
    }

    /// The service of the streams on which the daemon calls back.
    pub(super) fn streams(&self) -> StreamingClient<Channel> {
        StreamingClient::new(self.channel.clone())
    }

    /// The version service.
    fn version(&self) -> VersionClient<Channel> {
        VersionClient::new(self.channel.clone())
    }
}

impl Containerd {
    /// The daemon's version; also the way to ask whether it is there.
    pub async fn version(&self) -> Result<String, Error> {
        let mut service = self.client().version();
        let reply = within(SHORT, "ask", "for its version", async {
            service.version(self.client().request(())).await
        });
        Ok(reply.await?.version)
    }
}

/// Awaits a call that containerd answers out of its own database.
pub(super) async fn call<T>(
    operation: &'static str,
    subject: &str,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Error> {
    within(SHORT, operation, subject, call).await
}

/// Awaits a call that may take as long as the work behind it: only its own end or the connection's ends it.
pub(super) async fn long_call<T>(
    operation: &'static str,
    subject: &str,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Error> {
    call.await.map(Response::into_inner).map_err(|status| refused(operation, subject, &status))
}

/// Awaits a call for no longer than `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    operation: &'static str,
    subject: &str,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(refused(operation, subject, &status)),
        Err(_) => Err(Error::Silent { operation, subject: subject.to_owned(), within: limit }),
    }
}

/// An answer as our error.
pub(super) fn refused(operation: &'static str, subject: &str, status: &Status) -> Error {
    Error::Call { operation, subject: subject.to_owned(), source: Refusal::of(status) }
}
