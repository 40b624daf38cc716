//! gRPC's health service as a client asks it, without TLS.

use std::time::Duration;

use hyper_util::rt::TokioIo;
use tonic::{Code, transport::Endpoint};

use crate::base::errors::Chain;

use super::{authority, limited, tcp};
use wire::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

/// The generated messages and client of `proto/health.proto`.
#[allow(
    clippy::pedantic,
    clippy::missing_docs_in_private_items,
    missing_debug_implementations,
    unused_qualifications,
    dead_code,
    reason = "generated code"
)]
pub(super) mod wire {
    tonic::include_proto!("grpc.health.v1");
}

/// Whether a service serves; otherwise why not, in the kubelet's words. An empty name asks for the server itself.
pub async fn check(
    host: &str,
    port: u16,
    service: &str,
    agent: &str,
    limit: Option<Duration>,
) -> Result<(), String> {
    let address = authority(host, port);
    let within = |limit: Option<Duration>| format!("{:?}", limit.unwrap_or_default());
    let refused = |error: &dyn std::fmt::Display| {
        format!("error: failed to connect service at {address:?}: {error}")
    };
    let target = (host.to_owned(), port);
    let connector = tower::service_fn(move |_| {
        let (host, port) = target.clone();
        async move { tcp::dial(&host, port).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .and_then(|endpoint| endpoint.user_agent(agent.to_owned()))
        .map_err(|error| refused(&Chain(&error)))?;
    let mut connected = false;
    let asked = limited(limit, async {
        let channel = endpoint.connect_with_connector(connector).await;
        let channel = channel.map_err(|error| refused(&Chain(&error)))?;
        connected = true;
        let request = HealthCheckRequest { service: service.to_owned() };
        HealthClient::new(channel).check(request).await.map_err(|status| match status.code() {
            Code::Unimplemented => format!(
                "error: this server does not implement the grpc health protocol \
                 (grpc.health.v1.Health): {}",
                status.message()
            ),
            code => {
                let message = status.message();
                format!(
                    "error: health rpc probe failed: rpc error: code = {code:?} desc = {message}"
                )
            }
        })
    });
    let asked = asked.await;
    let Some(answer) = asked else {
        return Err(if connected {
            format!("timeout: health rpc did not complete within {}", within(limit))
        } else {
            format!("timeout: failed to connect service {address:?} within {}", within(limit))
        });
    };
    match answer?.into_inner().status() {
        ServingStatus::Serving => Ok(()),
        other => Err(format!("service unhealthy (responded with {:?})", other.as_str_name())),
    }
}
