//! One GET as the kubelet makes it: no proxy, no connection kept, no compression, redirects only on the same host.

use std::time::Duration;

use hyper::{
    Request,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};

use super::{
    Error,
    connection::{Connection, Stream},
    limited,
    redirect::{self, Place},
    tcp, tls,
};

/// How much of a body is read.
const BODY_LIMIT: usize = 10 << 10;

/// How many requests are made before redirects are a circle.
const REQUESTS: usize = 10;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// Whether by TLS.
    pub tls: bool,
    /// The host to connect to.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// Path and query.
    pub path: &'a str,
    /// Headers, in their order.
    pub headers: &'a [(String, String)],
    /// What to call ourselves when the headers do not say.
    pub agent: &'a str,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The beginning of the body.
    pub body: String,
}

/// Gets a page, following redirects on the same host.
pub async fn get(page: Page<'_>, limit: Option<Duration>) -> Result<Answer, Error> {
    let Page { tls, host, port, .. } = page;
    let mut place = Place { tls, host: host.into(), port, path: page.path.into() };
    let failed = |place: &Place, source| Error::Get { url: place.to_string(), source };
    let first = place.clone();
    let got = limited(limit, async {
        match follow(page, &mut place).await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(failed(&place, Box::new(error))),
        }
    });
    got.await.unwrap_or_else(|| Err(failed(&first, Box::new(Error::Deadline))))
}

/// Asks at `place` and wherever redirects lead from there.
async fn follow(page: Page<'_>, place: &mut Place) -> Result<Answer, Error> {
    let mut headers = headers(page)?;
    for made in 1.. {
        let (answer, location) = one(place, headers.clone()).await?;
        let Some(location) = location else {
            return Ok(answer);
        };
        let Some((next, names_host)) = place.follow(&location) else {
            return Err(Error::Location { location });
        };
        if next.host != page.host {
            return Ok(answer);
        }
        if made == REQUESTS {
            return Err(Error::Redirects);
        }
        if names_host {
            headers.remove(header::HOST);
        }
        *place = next;
    }
    Err(Error::Redirects)
}

/// The headers of every request; `Host` is among them only when the page's own override it.
fn headers(page: Page<'_>) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in page.headers {
        let wrong = |what| Error::Request(format!("invalid header field {what} for {name:?}"));
        let name: HeaderName = name.parse().map_err(|_| wrong("name"))?;
        let value = HeaderValue::from_str(value).map_err(|_| wrong("value"))?;
        // Go writes these itself, whatever a caller wants of them.
        if name == header::CONTENT_LENGTH
            || name == header::TRANSFER_ENCODING
            || name == header::TRAILER
        {
            continue;
        }
        if name == header::HOST && (value.is_empty() || headers.contains_key(header::HOST)) {
            continue;
        }
        headers.append(name, value);
    }
    for (name, value) in [(header::USER_AGENT, page.agent), (header::ACCEPT, "*/*")] {
        match headers.get(&name) {
            None => {
                let value = HeaderValue::from_str(value).map_err(|_| Error::Request(value.into()));
                headers.insert(name, value?);
            }
            // Given but empty means without.
            Some(given) if given.is_empty() => drop(headers.remove(&name)),
            Some(_) => {}
        }
    }
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(headers)
}

/// One request; the second value is where the answer redirects to.
async fn one(place: &Place, headers: HeaderMap) -> Result<(Answer, Option<String>), Error> {
    let mut request = Request::builder()
        .uri(&place.path)
        .body(String::new())
        .map_err(|error| Error::Request(format!("invalid path {:?}: {error}", place.path)))?;
    *request.headers_mut() = headers;
    if !request.headers().contains_key(header::HOST) {
        let host = HeaderValue::from_str(&place.host_header());
        let host = host.map_err(|_| Error::Request(format!("invalid host {:?}", place.host)))?;
        request.headers_mut().insert(header::HOST, host);
    }
    let mut stream: Box<dyn Stream> = Box::new(tcp::dial(&place.host, place.port).await?);
    if place.tls {
        stream = tls::wrap(stream, &place.host, tls::believing()?).await?;
    }
    Box::pin(read(Connection::over(stream).await?, request)).await
}

/// Sends a request; reads the answer's status and the beginning of its body.
async fn read(
    mut connection: Connection,
    request: Request<String>,
) -> Result<(Answer, Option<String>), Error> {
    let response = connection.exchange(request).await?;
    let location = redirect::location(&response);
    let status = response.status().as_u16();
    let mut incoming = response.into_body();
    let mut body = Vec::new();
    while body.len() < BODY_LIMIT {
        let Some(data) = connection.bytes(&mut incoming).await? else { break };
        body.extend_from_slice(&data);
    }
    body.truncate(BODY_LIMIT);
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok((Answer { status, body }, location))
}

/// Whether a server that was asked by TLS turned out to speak plain HTTP.
pub fn speaks_plainly(error: &Error) -> bool {
    matches!(error, Error::Get { source, .. } if matches!(**source, Error::NotTls))
}
