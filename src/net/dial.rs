//! Connections for those who bring their own protocol, as the store brings gRPC: TCP, and TLS that knows whom it believes.

use std::{io, sync::LazyLock, time::Duration};

use super::{
    Error, tcp, tls,
    trust::{self, Trust},
};

pub use super::{connection::Stream, redirect::Place};

/// Connects to a place, by TLS when it says so, offering one protocol (`h2`). The operator's files are read now.
pub async fn dial(
    place: &Place,
    trust: &Trust,
    protocol: &[u8],
    limit: Duration,
) -> Result<Box<dyn Stream>, Error> {
    let config = if place.tls {
        let mut config = (*trust::config(trust, &LazyLock::new(trust::system))?).clone();
        config.alpn_protocols = vec![protocol.to_owned()];
        Some(config)
    } else {
        None
    };
    let stream: Box<dyn Stream> = Box::new(tcp::dial_within(&place.host, place.port, limit).await?);
    match config {
        Some(config) => tls::wrap(stream, &place.host, config.into()).await,
        None => Ok(stream),
    }
}

/// What TLS had against an exchange that broke off, when it was that: with TLS 1.3 a server refuses a client's
/// certificate only after the client believes that all is well.
pub fn refusal(error: &(dyn std::error::Error + 'static), host: &str) -> Option<Error> {
    let mut cause = Some(error);
    while let Some(why) = cause {
        let inner = why.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(refusal) = tls.and_then(|error| tls::refusal(error, host)) {
            return Some(refusal);
        }
        cause = why.source();
    }
    None
}
