//! A token server by docker's protocol: who shows the password gets a signed token for what was asked for.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::certs::Pair;
use super::http::{After, Request, Server, reply};
use super::registry::Door;

/// What the registry calls itself.
pub(crate) const SERVICE: &str = "registry of the test";
/// Who signs the tokens.
pub(crate) const ISSUER: &str = "issuer of the test";

/// A token server; it ends with this value.
#[derive(Debug)]
pub(crate) struct Tokens {
    /// What answers.
    server: Server,
    /// What the tokens are checked by.
    certificate: PathBuf,
    /// The requests, and whether each was granted.
    asked: Arc<Mutex<Vec<(Request, bool)>>>,
}

/// Who gets a token.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// Everybody.
    Nothing,
    /// Who shows a user and a password.
    Password(String, String),
    /// Who shows an identity token.
    Identity(String),
}

impl Tokens {
    /// A server that gives tokens to whom it likes.
    pub(crate) fn start(dir: &std::path::Path, wanted: Wanted) -> Result<Self> {
        let pair = Pair::authority(dir, "tokens")?;
        let (certificate, asked) = (pair.certificate.clone(), Arc::new(Mutex::new(vec![])));
        let seen = Arc::clone(&asked);
        let server = Server::start(move |request, stream| {
            let granted = grants(&wanted, request);
            seen.lock()
                .expect("nothing panics while it holds this")
                .push((request.clone(), granted));
            answer(&pair, request, granted, stream)
        })?;
        Ok(Self { server, certificate, asked })
    }

    /// The door of a registry that wants this server's tokens.
    pub(crate) fn door(&self) -> Door {
        let realm = format!("http://{}/token", self.server.address);
        Door { tokens: Some((realm, self.certificate.clone())), ..Door::default() }
    }

    /// The requests so far, and whether each was granted.
    pub(crate) fn asked(&self) -> Vec<(Request, bool)> {
        self.asked.lock().expect("nothing panics while it holds this").clone()
    }
}

/// Whether a request shows what is wanted.
fn grants(wanted: &Wanted, request: &Request) -> bool {
    match wanted {
        Wanted::Nothing => true,
        Wanted::Password(user, password) => {
            let shown = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
            request.head.header("authorization") == Some(&shown)
                || parameters(request).get("password") == Some(password)
        }
        Wanted::Identity(token) => parameters(request).get("refresh_token") == Some(token),
    }
}

/// The parameters of a request, from its query and its form.
fn parameters(request: &Request) -> BTreeMap<String, String> {
    let query = request.head.target().split_once('?').map(|(_, query)| query).unwrap_or_default();
    let form = String::from_utf8_lossy(&request.body).into_owned();
    let pairs = query.split('&').chain(form.split('&')).filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

/// A word of a query without its `%` and `+`.
fn decoded(word: &str) -> String {
    let mut bytes = vec![];
    let mut rest = word.bytes();
    while let Some(byte) = rest.next() {
        let hex: Vec<u8> = if byte == b'%' { rest.by_ref().take(2).collect() } else { vec![] };
        let hex = std::str::from_utf8(&hex).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(hex.unwrap_or(if byte == b'+' { b' ' } else { byte }));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Gives a token, or says no.
fn answer(
    pair: &Pair,
    request: &Request,
    granted: bool,
    stream: &mut TcpStream,
) -> io::Result<After> {
    let kind = [("Content-Type", "application/json")];
    if !granted {
        let body = json!({"errors": [{"code": "UNAUTHORIZED", "message": "who are you"}]});
        reply(stream, 401, &kind, body.to_string().as_bytes())?;
        return Ok(After::Stay);
    }
    let token = token(pair, &parameters(request)).map_err(io::Error::other)?;
    let body = json!({"token": token, "access_token": token, "expires_in": 300});
    reply(stream, 200, &kind, body.to_string().as_bytes())?;
    Ok(After::Stay)
}

/// A token for what the parameters ask for, with its certificate in it.
fn token(pair: &Pair, parameters: &BTreeMap<String, String>) -> Result<String> {
    let now = now()?;
    let scope = parameters.get("scope").map(String::as_str).unwrap_or_default();
    let access: Vec<Value> = scope.split(' ').filter_map(granted).collect();
    let certificate: String = fs::read_to_string(&pair.certificate)?
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    let head = json!({"typ": "JWT", "alg": "ES256", "x5c": [certificate]});
    let claims = json!({
        "iss": ISSUER, "aud": SERVICE, "sub": "somebody", "jti": "1",
        "nbf": now - 60, "iat": now, "exp": now + 300, "access": access,
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&head), part(&claims));
    let signature = plain(&pair.sign(signed.as_bytes())?).context("a signature in DER")?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// The clock of tokens.
#[expect(clippy::disallowed_methods, reason = "a real registry compares it with its own")]
fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

/// One scope, `repository:NAME:ACTIONS`, as what is granted.
fn granted(scope: &str) -> Option<Value> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    let actions: Vec<&str> = actions.split(',').collect();
    Some(json!({"type": kind, "name": name, "actions": actions}))
}

/// A signature of ECDSA as JWT wants it, its two numbers in 32 bytes each, from DER.
fn plain(der: &[u8]) -> Option<Vec<u8>> {
    let mut plain = vec![];
    let mut rest = der.get(2..)?;
    for _ in 0..2 {
        let length = usize::from(*rest.get(1)?);
        let number = rest.get(2..2 + length)?;
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        plain.extend(std::iter::repeat_n(0, 32_usize.checked_sub(number.len())?));
        plain.extend(number);
        rest = &rest[2 + length..];
    }
    Some(plain)
}
