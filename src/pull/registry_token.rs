//! What opens a registry: a user and a password, or a token from its token server.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::image::{challenge::Challenge, credentials::Login};
use crate::net::{client::Ask, redirect::Place};

use super::{
    PullError,
    registry_host::{Host, said},
};

/// The longest answer of a token server.
const ANSWER_LIMIT: usize = 1 << 20;

/// What a login gets.
pub(super) enum Entry {
    /// What to send as `Authorization`.
    Header(String),
    /// Nothing: the token server does not take it.
    Refused(String),
    /// Nothing: it is not of the kind that is asked for.
    Unsuitable,
}

impl Host {
    /// What a login gets for the challenges of a host; no login stands for nobody, who may get a token as well.
    pub async fn entry(
        &self,
        what: &str,
        wanted: &[Challenge],
        login: Option<&Login>,
    ) -> Result<Entry, PullError> {
        for challenge in wanted {
            match (challenge, login) {
                (Challenge::Bearer { .. }, Some(Login::Registry(token))) => {
                    return Ok(Entry::Header(format!("Bearer {token}")));
                }
                (Challenge::Bearer { realm, service, scope }, login) => {
                    let default = format!("repository:{}:pull", self.repository);
                    let mut asked = String::new();
                    if let Some(service) = service {
                        let _ = write!(asked, "service={}&", escaped(service));
                    }
                    let _ = write!(asked, "scope={}", escaped(scope.as_ref().unwrap_or(&default)));
                    return Box::pin(self.token(what, realm, asked, login)).await;
                }
                (Challenge::Basic, Some(Login::Password { user, password })) => {
                    return Ok(Entry::Header(basic(user, password)));
                }
                (Challenge::Basic, _) => {}
            }
        }
        Ok(Entry::Unsuitable)
    }

    /// Puts together what a token server is asked.
    async fn token(
        &self,
        what: &str,
        realm: &str,
        mut asked: String,
        login: Option<&Login>,
    ) -> Result<Entry, PullError> {
        let odd =
            |problem| Err(PullError::Answer { host: self.name(), what: what.to_owned(), problem });
        let Some(mut place) = Place::parse(realm) else {
            return odd(format!("it names no token server: {realm:?}"));
        };
        let server = place.origin();
        if login.is_some() && self.endpoint.tls && !place.tls {
            return odd(format!(
                "its token server {server} does without TLS; no credentials for it"
            ));
        }
        let same = place.is_known_by(&self.base);
        let mut form = None;
        let mut shown = None;
        if let Some(Login::Identity(token)) = login {
            let _ = write!(
                asked,
                "&grant_type=refresh_token&client_id=podward&refresh_token={}",
                escaped(token)
            );
            form = Some(asked);
        } else {
            let joint = if place.path.contains('?') { '&' } else { '?' };
            let _ = write!(place.path, "{joint}{asked}");
            if let Some(Login::Password { user, password }) = login {
                shown = Some(basic(user, password));
            }
        }
        let secrets = if same {
            self.secrets(shown.as_deref())
        } else {
            shown.map(|shown| ("authorization".to_owned(), shown)).into_iter().collect()
        };
        let ask = Ask {
            place: &place,
            trust: &self.trust,
            dial: self.endpoint.dial,
            headers: &[],
            secrets: &secrets,
            form: form.as_deref(),
        };
        self.ask_token_server(what, &server, ask, login.is_some()).await
    }

    /// Asks a token server what was put together for it.
    async fn ask_token_server(
        &self,
        what: &str,
        server: &str,
        ask: Ask<'_>,
        known: bool,
    ) -> Result<Entry, PullError> {
        let odd =
            |problem| Err(PullError::Answer { host: self.name(), what: what.to_owned(), problem });
        let failed = |source| PullError::Network {
            host: self.name(),
            what: format!("token of {server} for {what}"),
            source,
        };
        let identity = ask.form.is_some();
        let reply = self.client.send(ask).await.map_err(failed)?;
        match reply.status {
            200..=299 => {}
            400..=499 if reply.status != 429 && known || reply.status == 401 => {
                let hint = if identity && matches!(reply.status, 404 | 405) {
                    "; it takes no identity tokens"
                } else {
                    ""
                };
                return Ok(Entry::Refused(format!(
                    "its token server {server} answers {}{hint}",
                    said(reply).await
                )));
            }
            _ => return odd(format!("its token server {server} answers {}", said(reply).await)),
        }
        let (bytes, _) = reply.body.all(ANSWER_LIMIT).await.map_err(failed)?;
        // What it says is not repeated: there may be a token in it.
        let answer: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let token = ["token", "access_token"]
            .iter()
            .find_map(|name| answer[*name].as_str().filter(|token| !token.is_empty()));
        match token {
            Some(token) => Ok(Entry::Header(format!("Bearer {token}"))),
            None => odd(format!("its token server {server} answers without a token")),
        }
    }
}

/// A user and a password, as they are sent.
fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// A text as it may stand in a query.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}
