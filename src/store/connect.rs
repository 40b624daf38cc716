//! Connecting: one endpoint after the other, by TLS where it says so, as the user of the settings.
//!
//! Certificates, keys and passwords are read anew for each connection, so that renewed ones count without a restart.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use etcd_client as etcd;
use hyper_util::rt::TokioIo;

use crate::base::errors::Chain;
use crate::net::{
    self,
    dial::{self, Place},
    trust::Trust,
};

use super::{
    client::Store,
    error::Error,
    noting::{self, Note, Noting},
    refusal::of,
};

/// After how much silence on a connection, on which something is awaited, etcd is asked for a sign of life. A node's
/// lease is kept more often than that, so its connection never carries such a question; a watch of a command line does.
const SILENCE: Duration = Duration::from_secs(30);

/// How to reach the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The members: `http://host:port` or `https://host:port`.
    pub endpoints: Vec<String>,
    /// The authority of the members' certificates, beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate.
    pub cert_file: Option<PathBuf>,
    /// Its key; the certificate's file when it is not named.
    pub key_file: Option<PathBuf>,
    /// Who we are, where that is not by certificate.
    pub username: Option<String>,
    /// The file with the password.
    pub password_file: Option<PathBuf>,
    /// How long an answer may take.
    pub timeout: Duration,
}

impl Store {
    /// Connects to the first endpoint that answers, beginning with number `first` (modulo their count). What failed at
    /// each is in the error; settings that cannot be used, and a refusal of who we are, end the search: no other member
    /// would see that otherwise.
    pub async fn connect(settings: &Settings, first: usize) -> Result<Self, Error> {
        let count = settings.endpoints.len();
        let mut failures: Vec<String> = Vec::new();
        for offset in 0..count {
            let endpoint = &settings.endpoints[first.wrapping_add(offset) % count];
            match Self::connect_to(settings, endpoint).await {
                Err(Error::Unreachable(failure)) => failures.push(failure),
                outcome => return outcome,
            }
        }
        Err(if failures.is_empty() {
            Error::Settings("etcd.endpoints names no endpoint".into())
        } else {
            Error::Unreachable(failures.join("; "))
        })
    }

    /// Connects to one endpoint and has it answer once, within the time of one answer.
    pub async fn connect_to(settings: &Settings, endpoint: &str) -> Result<Self, Error> {
        let late = |_| {
            let limit = settings.timeout;
            Error::Unreachable(format!("{endpoint}: no answer within {limit:?}"))
        };
        let connected = Box::pin(connect(settings, endpoint));
        tokio::time::timeout(settings.timeout, connected).await.map_err(late)?
    }
}

/// Connects to one endpoint.
async fn connect(settings: &Settings, endpoint: &str) -> Result<Store, Error> {
    let place = place(endpoint)?;
    let user = user(settings)?;
    let (channel, note) = channel(settings, endpoint, &place).await?;
    let noted = |error| match (error, note.get()) {
        (Error::Unreachable(_), Some(why)) => Error::Unreachable(format!("{endpoint}: {why}")),
        (error, _) => error,
    };
    let options = || etcd::ConnectOptions::new().with_require_leader(true);
    let known = match &user {
        Some((name, password)) => {
            options().with_user(name.as_str(), password.as_str()).with_auto_token_refresh(true)
        }
        None => options(),
    };
    let by = |options| etcd::Client::from_channel(etcd::Channel::Tonic(channel.clone()), options);
    let mut authenticated = user.is_some();
    let client = match by(Some(known)).await {
        // Hosts may know their password before the store asks for it.
        Err(etcd::Error::GRpcStatus(status)) if status.message().contains("not enabled") => {
            authenticated = false;
            by(Some(options())).await
        }
        client => client,
    };
    let client = client.map_err(|error| noted(of(error, endpoint)))?;
    let store = Store::new(client, endpoint, settings.timeout, authenticated);
    store.ping().await.map_err(noted)?;
    Ok(store)
}

/// The place that an endpoint names.
fn place(endpoint: &str) -> Result<Place, Error> {
    Place::parse(endpoint).filter(|place| place.path == "/").ok_or_else(|| {
        Error::Settings(format!(
            "etcd.endpoints: {endpoint:?} is none; write http://HOST:PORT or https://HOST:PORT"
        ))
    })
}

/// A channel over one connection. It never connects again by itself: that is for whoever holds the store, to another
/// endpoint and with what the files hold then.
async fn channel(
    settings: &Settings,
    endpoint: &str,
    place: &Place,
) -> Result<(tonic::transport::Channel, Note), Error> {
    let mut trust = Trust { ca: settings.ca_file.iter().cloned().collect(), ..Trust::default() };
    if let Some(certificate) = &settings.cert_file {
        let key = settings.key_file.as_ref().unwrap_or(certificate);
        trust.client.push((certificate.clone(), key.clone()));
    }
    let stream = dial::dial(place, &trust, b"h2", settings.timeout).await;
    let stream = stream.map_err(|error| match noting::remedied(error) {
        error @ net::Error::File { .. } => Error::Settings(format!("etcd: {error}")),
        error => Error::Unreachable(format!("{endpoint}: {}", Chain(&error))),
    })?;
    let (stream, note) = Noting::over(stream, &place.host);
    let stream = Mutex::new(Some(TokioIo::new(stream)));
    let known = Arc::clone(&note);
    let connector = tower::service_fn(move |_| {
        let stream = stream.lock().ok().and_then(|mut stream| stream.take());
        let ended = || known.get().map_or("the connection has ended", String::as_str).to_owned();
        std::future::ready(stream.ok_or_else(|| io::Error::other(ended())))
    });
    let wrong = |error| Error::Settings(format!("etcd.endpoints: {endpoint}: {}", Chain(&error)));
    let channel = tonic::transport::Endpoint::from_shared(place.origin())
        .map_err(wrong)?
        .http2_keep_alive_interval(SILENCE)
        .keep_alive_timeout(settings.timeout)
        .keep_alive_while_idle(false)
        .connect_with_connector(connector)
        .await
        .map_err(|error| Error::Unreachable(format!("{endpoint}: {}", Chain(&error))))?;
    Ok((channel, note))
}

/// The user and the password, when the settings name one.
fn user(settings: &Settings) -> Result<Option<(String, String)>, Error> {
    let Some(name) = &settings.username else { return Ok(None) };
    let Some(path) = &settings.password_file else {
        return Err(Error::Settings("etcd.username is set; name etcd.passwordFile too".into()));
    };
    Ok(Some((name.clone(), password(path)?)))
}

/// Reads a password: the file's only line.
pub fn password(path: &Path) -> Result<String, Error> {
    let wrong = |problem: &str| Error::Settings(format!("{}: {problem}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| wrong(&error.to_string()))?;
    match text.trim_end_matches(['\n', '\r']) {
        "" => Err(wrong("holds no password")),
        text if text.contains('\n') => Err(wrong("holds more than one line; a password is one")),
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_scheme_a_host_and_a_port() {
        for good in ["http://127.0.0.1:2379", "https://etcd.example/", "http://[::1]:2379"] {
            assert!(place(good).is_ok(), "{good}");
        }
        for bad in ["127.0.0.1:2379", "ftp://a:1", "http://", "http://a:1/path", ""] {
            let error = place(bad).unwrap_err().to_string();
            assert!(error.starts_with("etcd.endpoints: "), "{error}");
        }
    }

    #[test]
    fn a_password_is_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        for (text, read) in [("a b\n", Some("a b")), ("\n", None), ("a\nb\n", None)] {
            fs::write(&file, text).unwrap();
            assert_eq!(password(&file).ok().as_deref(), read);
        }
    }
}
