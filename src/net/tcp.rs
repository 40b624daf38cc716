//! Connecting, by which a tcpSocket probe judges.

use std::{io, time::Duration};

use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

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

/// A connection to one of a name's addresses; one that leads nowhere does not take the others' time.
pub(super) async fn dial_within(
    host: &str,
    port: u16,
    limit: Duration,
) -> Result<TcpStream, Error> {
    let failed = |reason: String| Error::Dial { address: authority(host, port), reason };
    let late = || failed("i/o timeout".into());
    let found = timeout(limit, lookup_host((host, port))).await.map_err(|_| late())?;
    let found: Vec<_> = found.map_err(|error| failed(words(&error)))?.collect();
    let share = limit / u32::try_from(found.len()).unwrap_or(1).max(1);
    let mut last = failed("it has no address".into());
    for address in found {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Requests are small and waited for. Without the option they only come later.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = failed(words(&error)),
            Err(_) => last = late(),
        }
    }
    Err(last)
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
