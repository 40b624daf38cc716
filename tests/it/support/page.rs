//! A page by HTTP that says what a test wants, rightly or wrongly.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::Result;
use serde_json::{Value, json};

use super::http::{After, Request, Server, reply};

/// A page that deletes everything, because somebody wrote so.
pub(crate) const NOTHING: &str = "apiVersion: v1\nkind: List\nitems: []\n";

/// What the server says.
#[derive(Debug, Default)]
pub(crate) struct Says {
    /// The page.
    pub(crate) text: String,
    /// Its signature.
    pub(crate) signature: Option<String>,
    /// Bytes that are sent instead of any answer.
    pub(crate) raw: Option<Vec<u8>>,
    /// The token that it wants.
    pub(crate) token: Option<String>,
    /// How often the page was sent.
    pub(crate) sent: usize,
    /// How often it was said that it is the same.
    pub(crate) unchanged: usize,
}

/// The page and its server.
#[derive(Debug)]
pub(crate) struct Page {
    /// The server.
    pub(crate) server: Server,
    /// What it says.
    says: Arc<Mutex<Says>>,
}

impl Page {
    /// Serves a text.
    pub(crate) fn new(text: impl Into<String>) -> Result<Self> {
        let says = Arc::new(Mutex::new(Says { text: text.into(), ..Says::default() }));
        let told = Arc::clone(&says);
        let server = Server::start(move |request, to| {
            answer(request, to, &mut told.lock().expect("nothing panics while it holds this"))
        })?;
        Ok(Self { server, says })
    }

    /// What it says, to be changed.
    pub(crate) fn says(&self) -> MutexGuard<'_, Says> {
        self.says.lock().expect("nothing panics while it holds this")
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/fleet.yaml", self.server.address)
    }

    /// Sources that are this page alone, with more keys.
    pub(crate) fn sources(&self, more: &[(&str, &str)]) -> Value {
        let mut http = json!({"url": self.url(), "interval": "1s", "timeout": "5s"});
        for (key, value) in more {
            http[*key] = json!(value);
        }
        json!([{ "http": http }])
    }
}

/// Answers one request.
fn answer(request: &Request, to: &mut TcpStream, says: &mut Says) -> io::Result<After> {
    if let Some(raw) = &says.raw {
        to.write_all(raw)?;
        return Ok(After::Close);
    }
    let shown = request.head.header("authorization").unwrap_or_default();
    if says.token.as_ref().is_some_and(|token| shown != format!("Bearer {token}")) {
        reply(to, 401, &[], b"")?;
        return Ok(After::Stay);
    }
    if request.head.target().strip_suffix(".sig").is_some() {
        match &says.signature {
            Some(signature) => reply(to, 200, &[], signature.as_bytes())?,
            None => reply(to, 404, &[], b"")?,
        }
        return Ok(After::Stay);
    }
    let etag = format!(
        "\"{:x}\"",
        says.text.bytes().fold(7_u64, |sum, byte| sum * 31 % 0xffff_fffb + u64::from(byte))
    );
    if request.head.header("if-none-match") == Some(&etag) {
        says.unchanged += 1;
        to.write_all(format!("HTTP/1.1 304 same\r\nETag: {etag}\r\n\r\n").as_bytes())?;
    } else {
        says.sent += 1;
        reply(to, 200, &[("ETag", &etag)], says.text.as_bytes())?;
    }
    Ok(After::Stay)
}
