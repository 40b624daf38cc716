//! HTTP for pulls: connections kept between requests, certificates verified, proxies and redirects followed.
//!
//! A client lives as long as a pull. What it has read (authorities, keys) and whom it is connected with goes with it,
//! so that nothing is held open between pulls and a file that changed counts for the next one.

use std::{
    fmt,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

use super::{
    Error,
    connection::{Connection, Stream},
    dial,
    proxy::Proxies,
    redirect::{self, Place},
    tcp, tls,
    trust::{self, Trust},
};

/// How many redirects are followed.
const REDIRECTS: usize = 10;

/// How much of an unwanted body is read so that its connection can be kept.
const UNWANTED: usize = 16 << 10;

/// How long we wait. A whole body may take as long as it likes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For TLS, and for what a proxy says.
    pub handshake: Duration,
    /// For an answer's headers.
    pub answer: Duration,
    /// For the next byte of a body.
    pub stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(30),
            answer: Duration::from_mins(1),
            stall: Duration::from_mins(1),
        }
    }
}

/// A request. Its `Debug` shows only where it goes.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// Where to.
    pub place: &'a Place,
    /// Whom to believe there, and where it redirects to.
    pub trust: &'a Trust,
    /// How long a connection may take.
    pub dial: Duration,
    /// Headers for whoever answers.
    pub headers: &'a [(String, String)],
    /// Headers for this host alone: what it knows us by.
    pub secrets: &'a [(String, String)],
    /// A form to post; without one something is got.
    pub form: Option<&'a str>,
}

impl fmt::Debug for Ask<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ask").field("to", &self.place.origin()).finish_non_exhaustive()
    }
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// Who gave it, after redirects.
    pub place: Place,
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// What follows.
    pub body: Body,
}

impl Reply {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Where a connection leads, and by which settings it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    /// The host; its path is empty.
    place: Place,
    /// The settings.
    trust: Trust,
}

/// Asks hosts.
#[derive(Debug)]
pub struct Client {
    /// What to call ourselves.
    agent: String,
    /// By whom.
    proxies: Proxies,
    /// How long.
    limits: Limits,
    /// The system's authorities, read when the first host is asked by TLS.
    system: LazyLock<RootCertStore>,
    /// Settings that are made.
    configs: Mutex<Vec<(Trust, Arc<ClientConfig>)>>,
    /// Connections that wait for another request.
    idle: Mutex<Vec<(Key, Connection)>>,
}

impl Client {
    /// Nothing is read and nobody contacted yet.
    pub fn new(agent: String, proxies: Proxies, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            agent,
            proxies,
            limits,
            system: LazyLock::new(trust::system),
            configs: Mutex::default(),
            idle: Mutex::default(),
        })
    }

    /// The client of one pull, with the proxies of this process.
    pub fn of_process() -> Arc<Self> {
        let agent = concat!("podward/", env!("CARGO_PKG_VERSION")).to_owned();
        let proxies = Proxies::of(|name| std::env::var(name).ok());
        Self::new(agent, proxies, Limits::default())
    }

    /// Asks, and follows redirects. No status is an error.
    pub async fn send(self: &Arc<Self>, ask: Ask<'_>) -> Result<Reply, Error> {
        let mut place = ask.place.clone();
        for _ in 0..=REDIRECTS {
            let (response, connection, key) = Box::pin(self.one(ask, &place)).await?;
            let location = redirect::location(&response).filter(|_| ask.form.is_none());
            let (head, incoming) = response.into_parts();
            let body =
                Body { incoming, connection: Some((connection, key)), client: Arc::clone(self) };
            let Some(location) = location else {
                return Ok(Reply {
                    place,
                    status: head.status.as_u16(),
                    headers: head.headers,
                    body,
                });
            };
            body.skip().await;
            // Behind a question mark stands what opens blob storage.
            let shown = || location.split('?').next().unwrap_or_default().to_owned();
            let next = place.follow(&location).ok_or_else(|| Error::Location { location: shown() });
            let (next, _) = next?;
            if place.tls && !next.tls {
                return Err(Error::Downgrade { from: place.origin(), to: next.origin() });
            }
            place = next;
        }
        Err(Error::Redirects)
    }

    /// One exchange, over a connection that is there or a new one.
    async fn one(
        &self,
        ask: Ask<'_>,
        place: &Place,
    ) -> Result<(Response<Incoming>, Connection, Key), Error> {
        let origin = Place { path: String::new(), ..place.clone() };
        let key = Key { place: origin, trust: ask.trust.clone() };
        while let Some(mut connection) = self.kept(&key).await {
            match self.exchange(&mut connection, self.request(ask, place)?, place).await {
                // It was hung up just now; another one will tell whether that means anything.
                Err(Error::Exchange(_)) => {}
                response => return Ok((response?, connection, key)),
            }
        }
        let mut connection = self.connect(ask, place).await?;
        let response = self.exchange(&mut connection, self.request(ask, place)?, place).await?;
        Ok((response, connection, key))
    }

    /// A connection from an earlier request that is still usable.
    async fn kept(&self, key: &Key) -> Option<Connection> {
        loop {
            let mut connection = {
                let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                let at = idle.iter().rposition(|(kept, _)| kept == key)?;
                idle.swap_remove(at).1
            };
            if connection.usable().await {
                return Some(connection);
            }
        }
    }

    /// Sends a request and waits for the answer's headers.
    async fn exchange(
        &self,
        connection: &mut Connection,
        request: Request<String>,
        place: &Place,
    ) -> Result<Response<Incoming>, Error> {
        match timeout(self.limits.answer, connection.exchange(request)).await {
            Ok(answer) => answer.map_err(|error| broken(error, place)),
            Err(_) => Err(Error::Silent { limit: self.limits.answer }),
        }
    }

    /// A request with its headers.
    fn request(&self, ask: Ask<'_>, place: &Place) -> Result<Request<String>, Error> {
        let proxied = !place.tls && self.proxies.proxy(place)?.is_some();
        let uri = if proxied { place.to_string() } else { place.path.clone() };
        let mut request = Request::builder()
            .method(if ask.form.is_some() { "POST" } else { "GET" })
            .uri(uri)
            .body(ask.form.unwrap_or_default().to_owned())
            .map_err(|error| {
                Error::Request(format!("invalid path at {}: {error}", place.origin()))
            })?;
        let headers = request.headers_mut();
        let own = [
            (header::HOST, place.header()),
            (header::USER_AGENT, self.agent.clone()),
            (header::CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned()),
        ];
        for (name, value) in own.into_iter().take(if ask.form.is_some() { 3 } else { 2 }) {
            headers.insert(name, value_of(&value)?);
        }
        let known = if place.is_known_by(ask.place) { ask.secrets } else { &[] };
        for (name, value) in ask.headers.iter().chain(known) {
            let wrong = || Error::Request(format!("invalid header field name {name:?}"));
            let name: HeaderName = name.parse().map_err(|_| wrong())?;
            if name != header::HOST {
                headers.append(name, value_of(value)?);
            }
        }
        if proxied
            && let Some(proxy) = self.proxies.proxy(place)?
            && let Some(shown) = &proxy.authorization
        {
            headers.insert(header::PROXY_AUTHORIZATION, value_of(shown)?);
        }
        Ok(request)
    }

    /// A new connection.
    async fn connect(&self, ask: Ask<'_>, place: &Place) -> Result<Connection, Error> {
        let proxy = self.proxies.proxy(place)?;
        let peer = proxy.map_or(place, |proxy| &proxy.place);
        let stream = tcp::dial_within(&peer.host, peer.port, ask.dial).await?;
        let mut stream: Box<dyn Stream> = Box::new(stream);
        if place.tls {
            let config = self.config(ask.trust)?;
            let secured = async {
                if let Some(proxy) = proxy {
                    proxy.connect(&mut *stream, place).await?;
                }
                tls::wrap(stream, &place.host, config).await
            };
            let secured = timeout(self.limits.handshake, secured).await;
            let late = |_| Error::Silent { limit: self.limits.handshake };
            stream = secured.map_err(late)?.map_err(|error| match error {
                Error::NotTls => Error::PlainHttp { place: place.header() },
                error => error,
            })?;
        }
        Connection::over(stream).await.map_err(|error| broken(error, place))
    }

    /// The settings of TLS, made once.
    fn config(&self, trust: &Trust) -> Result<Arc<ClientConfig>, Error> {
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, config)) = configs.iter().find(|(known, _)| known == trust) {
            return Ok(Arc::clone(config));
        }
        let config = trust::config(trust, &self.system)?;
        configs.push((trust.clone(), Arc::clone(&config)));
        Ok(config)
    }
}

/// A header's value, which no `Debug` shows.
fn value_of(text: &str) -> Result<HeaderValue, Error> {
    let value = HeaderValue::from_str(text);
    let mut value = value.map_err(|_| Error::Request("invalid header field value".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Why an exchange broke off; TLS may say only now that it does not want us.
fn broken(error: hyper::Error, place: &Place) -> Error {
    dial::refusal(&error, &place.host).unwrap_or(Error::Exchange(error))
}

/// The body of an answer, on its way.
#[derive(Debug)]
pub struct Body {
    /// What hyper knows of it.
    incoming: Incoming,
    /// The connection that it comes by, until its end.
    connection: Option<(Connection, Key)>,
    /// Who keeps the connection afterwards.
    client: Arc<Client>,
}

impl Body {
    /// The next bytes; `None` at the end. Fewer than were announced are an error, and so is a minute without any.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let Some((mut connection, key)) = self.connection.take() else { return Ok(None) };
        let limit = self.client.limits.stall;
        let bytes = match timeout(limit, connection.bytes(&mut self.incoming)).await {
            Ok(bytes) => bytes.map_err(|error| broken(error, &key.place))?,
            Err(_) => return Err(Error::Stalled { limit }),
        };
        if bytes.is_some() {
            self.connection = Some((connection, key));
        } else {
            let mut idle = self.client.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push((key, connection));
        }
        Ok(bytes)
    }

    /// The whole body, when it is no longer than `limit`; else its beginning, and `false`.
    pub async fn all(mut self, limit: usize) -> Result<(Vec<u8>, bool), Error> {
        let mut whole = Vec::new();
        while let Some(bytes) = self.next().await? {
            let room = limit - whole.len();
            if bytes.len() > room {
                whole.extend_from_slice(&bytes[..room]);
                return Ok((whole, false));
            }
            whole.extend_from_slice(&bytes);
        }
        Ok((whole, true))
    }

    /// Reads a short body to its end, so that its connection is kept; a long one ends with its connection.
    pub async fn skip(self) {
        // Whatever goes wrong here, the next request finds out.
        let _ = self.all(UNWANTED).await;
    }
}
