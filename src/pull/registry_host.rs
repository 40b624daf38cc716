//! One host of a registry: asked again when it is busy, let in where it wants to know who asks.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::StatusCode;
use tokio::{sync::Mutex, time::sleep};

use crate::image::{challenge, credentials::Login, hosts::Endpoint};
use crate::net::{
    self,
    client::{Ask, Client, Reply},
    redirect::Place,
    trust::Trust,
};

use super::{
    PullError,
    registry_token::{Entry, escaped},
};

/// The first pause before a busy host is asked again; each further one is twice as long.
const PAUSE: Duration =
    if cfg!(test) { Duration::from_millis(1) } else { Duration::from_millis(500) };

/// How often a busy host is asked again.
const AGAIN: u32 = 3;

/// The longest pause that a host may wish for; one that wants more is left to the next pull.
const PATIENCE: Duration =
    if cfg!(test) { Duration::from_millis(1500) } else { Duration::from_secs(30) };

/// How much of a refusal is read.
const REFUSAL: usize = 4 << 10;

/// One host of a registry.
pub(super) struct Host {
    /// How it is asked.
    pub endpoint: Endpoint,
    /// By whom.
    pub client: Arc<Client>,
    /// Where it is, with the path before the repository.
    pub base: Place,
    /// Whom to believe there.
    pub trust: Trust,
    /// The repository.
    pub repository: String,
    /// What follows the path: which registry is meant.
    query: String,
    /// What it may be shown.
    logins: Vec<Login>,
    /// What it was shown and took, as the header `Authorization`.
    shown: Mutex<Option<String>>,
    /// Whether it failed when it was asked last.
    failed: AtomicBool,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Host {
    /// Nothing is contacted yet.
    pub fn new(
        client: Arc<Client>,
        endpoint: Endpoint,
        logins: Vec<Login>,
        registry: &str,
        repository: &str,
    ) -> Self {
        let Endpoint { tls, host, port, path, .. } = endpoint.clone();
        let query = if endpoint.own { String::new() } else { format!("?ns={}", escaped(registry)) };
        Self {
            base: Place { tls, host, port, path },
            trust: Trust {
                ca: endpoint.ca.clone(),
                client: endpoint.client.clone(),
                skip_verify: endpoint.skip_verify,
            },
            repository: repository.to_owned(),
            query,
            logins,
            shown: Mutex::default(),
            failed: AtomicBool::new(false),
            client,
            endpoint,
        }
    }

    /// Its name, for errors.
    pub fn name(&self) -> String {
        self.endpoint.name()
    }

    /// Whether it failed when it was asked last.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Notes that it does not work at the moment.
    pub fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Notes an error: a host that does not work is asked after the others from now on. One that merely lacks something
    /// does work.
    pub fn note(&self, error: PullError) -> PullError {
        if !matches!(error, PullError::Missing { .. }) {
            self.fail();
        }
        error
    }

    /// An error of the network.
    pub fn broken(&self, what: &str, source: net::Error) -> PullError {
        PullError::Network { host: self.name(), what: what.to_owned(), source }
    }

    /// Asks for something of the repository, and shows credentials where they are wanted.
    pub async fn ask(
        &self,
        what: &str,
        path: &str,
        headers: &[(String, String)],
    ) -> Result<Reply, PullError> {
        let place = Place {
            path: format!("{}/{}/{path}{}", self.base.path, self.repository, self.query),
            ..self.base.clone()
        };
        let before = self.shown.lock().await.clone();
        let mut reply = self.patiently(what, &place, headers, before.as_deref()).await?;
        if reply.status == 401 && reply.place.is_known_by(&place) {
            let mut shown = self.shown.lock().await;
            // Another request of ours may have been let in meanwhile.
            if *shown != before && shown.is_some() {
                reply.body.skip().await;
                reply = self.patiently(what, &place, headers, shown.as_deref()).await?;
            }
            if reply.status == 401 {
                let (header, answer) = self.enter(what, &place, headers, reply).await?;
                *shown = Some(header);
                reply = answer;
            }
        }
        if reply.status < 400 {
            self.failed.store(false, Ordering::Relaxed);
        }
        Ok(reply)
    }

    /// Asks with each login until one is let in; gives what it was let in by.
    async fn enter(
        &self,
        what: &str,
        place: &Place,
        headers: &[(String, String)],
        reply: Reply,
    ) -> Result<(String, Reply), PullError> {
        let wanted = reply.headers.get_all("www-authenticate");
        let wanted = challenge::challenges(wanted.iter().filter_map(|value| value.to_str().ok()));
        let mut why = said(reply).await;
        if wanted.is_empty() {
            why.push_str(" without a challenge that is known here");
        }
        let anonymous = self.logins.is_empty().then_some(None);
        let mut refused = false;
        for login in self.logins.iter().map(Some).chain(anonymous) {
            match self.entry(what, &wanted, login).await? {
                Entry::Unsuitable => {}
                Entry::Refused(problem) => {
                    refused |= login.is_some();
                    why = problem;
                }
                Entry::Header(header) => {
                    let reply = self.patiently(what, place, headers, Some(&header)).await?;
                    if !matches!(reply.status, 401 | 403) {
                        return Ok((header, reply));
                    }
                    refused |= login.is_some();
                    why = said(reply).await;
                }
            }
        }
        Err(self.unauthorized(what, &why, refused))
    }

    /// The error of a host that does not let us in.
    fn unauthorized(&self, what: &str, why: &str, shown: bool) -> PullError {
        let shown = match (shown, self.logins.len()) {
            (true, 1) => "the credentials that were shown do not open it",
            (true, _) => "none of the credentials that were shown opens it",
            (false, 0) => "no credentials are known for it",
            (false, _) => "none of the credentials known for it suits what it asks for",
        };
        let status = format!("{why}; {shown}");
        PullError::Unauthorized { host: self.name(), what: what.to_owned(), status }
    }

    /// Asks, and asks again after a pause while the host is busy.
    async fn patiently(
        &self,
        what: &str,
        place: &Place,
        headers: &[(String, String)],
        shown: Option<&str>,
    ) -> Result<Reply, PullError> {
        let secrets = self.secrets(shown);
        let ask = Ask {
            place,
            trust: &self.trust,
            dial: self.endpoint.dial,
            headers,
            secrets: &secrets,
            form: None,
        };
        let mut tries = 0;
        loop {
            let answer = self.client.send(ask).await;
            let wish = match &answer {
                Ok(reply) if matches!(reply.status, 408 | 429 | 500 | 502..=504) => {
                    let wish = reply.header("retry-after").and_then(|wish| wish.parse().ok());
                    Duration::from_secs(wish.unwrap_or_default())
                }
                // It hung up in the middle.
                Err(net::Error::Exchange(_)) => Duration::ZERO,
                _ => return answer.map_err(|source| self.broken(what, source)),
            };
            let pause = (PAUSE * 2_u32.pow(tries)).max(wish);
            if tries == AGAIN || pause > PATIENCE {
                return answer.map_err(|source| self.broken(what, source));
            }
            if let Ok(reply) = answer {
                reply.body.skip().await;
            }
            sleep(pause).await;
            tries += 1;
        }
    }

    /// The headers for this host alone.
    pub fn secrets(&self, shown: Option<&str>) -> Vec<(String, String)> {
        let mut secrets = self.endpoint.headers.clone();
        if let Some(shown) = shown {
            secrets.retain(|(name, _)| name != "authorization");
            secrets.push(("authorization".to_owned(), shown.to_owned()));
        }
        secrets
    }

    /// The error that an answer is.
    pub async fn refusal(&self, what: &str, reply: Reply) -> PullError {
        let (host, what) = (self.name(), what.to_owned());
        let elsewhere = !reply.place.is_known_by(&self.base);
        let (status, origin) = (reply.status, reply.place.origin());
        let wish = reply.header("retry-after").map(str::to_owned);
        let said = said(reply).await;
        let wish = wish.map(|wish| format!(" (retry after {wish:?})")).unwrap_or_default();
        match status {
            404 => PullError::Missing { host, what },
            _ if elsewhere => {
                PullError::Answer { host, what, problem: format!("{origin} answers {said}{wish}") }
            }
            401 | 403 => {
                let shown = self.shown.lock().await.is_some() && !self.logins.is_empty();
                self.unauthorized(&what, &said, shown)
            }
            _ => PullError::Answer { host, what, problem: format!("it answers {said}{wish}") },
        }
    }
}

/// What an answer says, in one line: its status, and the first error of the distribution protocol.
pub(super) async fn said(reply: Reply) -> String {
    let code = StatusCode::from_u16(reply.status).ok();
    let reason = code.and_then(|code| code.canonical_reason()).unwrap_or("unknown status");
    let status = format!("{} {reason}", reply.status);
    let body = reply.body.all(REFUSAL).await.map(|(body, _)| body).unwrap_or_default();
    let message = match serde_json::from_slice::<serde_json::Value>(&body) {
        Ok(value) => {
            let error = &value["errors"][0];
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let parts = [text(&error["code"]), text(&error["message"]), text(&value["error"])];
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
        }
        // A page for people: its beginning may still say what is wrong.
        Err(_) => String::from_utf8_lossy(&body).chars().take(120).collect(),
    };
    let message: Vec<&str> = message.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let message: Vec<&str> = message.into_iter().filter(|word| !word.is_empty()).collect();
    if message.is_empty() { status } else { format!("{status} ({})", message.join(" ")) }
}
