//! Connecting, by which a tcpSocket probe judges.

use std::{io, time::Duration};

use tokio::net::TcpStream;

use super::{Error, authority, limited};

/// Connects and hangs up.
pub async fn connect(host: &str, port: u16, limit: Option<Duration>) -> Result<(), Error> {
    let connected = limited(limit, dial(host, port)).await;
    let late = || Error::Dial { address: authority(host, port), reason: "i/o timeout".into() };
    connected.ok_or_else(late)?.map(drop)
}

/// A connection. An address needs no thread; only a name is looked up in one.
pub(super) async fn dial(host: &str, port: u16) -> Result<TcpStream, Error> {
    let connected = TcpStream::connect((host, port)).await;
    connected.map_err(|error| Error::Dial { address: authority(host, port), reason: words(&error) })
}

/// Go's words for a connection that did not come about.
fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".into(),
        io::ErrorKind::ConnectionReset => "connect: connection reset by peer".into(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".into(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".into(),
        io::ErrorKind::TimedOut => "connect: connection timed out".into(),
        _ => error.to_string(),
    }
}
