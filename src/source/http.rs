//! The HTTP source: one page, asked for again and again. What is here fetches once and says when to ask the next time.
//!
//! Whatever goes wrong, the page's last good copy goes on; so an answer that may be a part of the page, or not the page
//! at all, is a failure and not a shorter page.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use flate2::bufread::MultiGzDecoder;
use hyper::StatusCode;
use jiff::{Timestamp, civil};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::base::{errors::Chain, fault::Fault, time::go_millis};
use crate::net::{
    client::{Ask, Client, Limits, Reply},
    proxy::Proxies,
    redirect::Place,
    trust::Trust as Believed,
};
use crate::spec::{FieldValidation, pieces};

use super::file;
use super::merge::FileReading;

/// The longest wait that a server may ask for.
const LONGEST_WISH: Duration = Duration::from_hours(1);

/// How much a page that fails is asked for less often at least.
const SELDOM: Duration = Duration::from_mins(5);

/// The largest window of a zstd frame: what its standard wants every reader to have, and no more.
const WINDOW: u64 = 8 << 20;

/// What a secret in a file may be long.
const SECRET_LIMIT: u64 = 64 << 10;

/// How a page is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its address.
    pub url: String,
    /// How long it may take as a whole.
    pub timeout: Duration,
    /// How long it may be in bytes, unpacked.
    pub max_size: u64,
    /// The authority of the server's certificate, beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate and its key.
    pub pair: Option<(PathBuf, PathBuf)>,
    /// The file with the bearer token.
    pub token_file: Option<PathBuf>,
    /// The user's name, and the file with the password.
    pub user: Option<(String, PathBuf)>,
}

/// By what a server tells whether a page changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    /// The page's `ETag`.
    pub etag: Option<String>,
    /// Its `Last-Modified`.
    pub last_modified: Option<String>,
}

/// What a page turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// What it was.
    Unchanged,
    /// These bytes.
    Changed(Vec<u8>, Validators),
}

/// Why a page could not be had. It is told with the same words as long as it fails for the same reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchError {
    /// The status of the answer, when there was one.
    pub status: Option<u16>,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
    /// How long the server wants us to wait.
    pub retry_after: Option<Duration>,
}

impl FetchError {
    /// A failure with a remedy.
    fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status: None, problem: problem.into(), remedy: remedy.into(), retry_after: None }
    }

    /// The fault of the page at an address.
    pub fn fault(&self, url: &str) -> Fault {
        Fault::of_file(url, &self.problem, &self.remedy)
    }
}

impl Request {
    /// The same for the page's detached signature: `.sig` behind the path.
    pub fn of_signature(&self) -> Self {
        let url = self.url.split('#').next().unwrap_or_default();
        let url = match url.split_once('?') {
            Some((path, query)) => format!("{path}.sig?{query}"),
            None => format!("{url}.sig"),
        };
        Self { url, ..self.clone() }
    }

    /// Asks for the page once. `now` is for dates in the answer.
    pub async fn fetch(&self, known: &Validators, now: Timestamp) -> Result<Fetched, FetchError> {
        let proxies = Proxies::of(|name| std::env::var(name).ok());
        self.fetch_by(proxies, known, now).await
    }

    /// The same by these proxies.
    async fn fetch_by(
        &self,
        proxies: Proxies,
        known: &Validators,
        now: Timestamp,
    ) -> Result<Fetched, FetchError> {
        let limit = self.timeout;
        let limits = Limits { handshake: limit, answer: limit, stall: limit };
        let agent = concat!("podward/", env!("CARGO_PKG_VERSION")).to_owned();
        let asked = Box::pin(async {
            // A client for one exchange: files that changed count at once, and nothing is held open in between.
            let client = Client::new(agent, proxies, limits);
            let reply = self.send(&client, known).await?;
            self.take(reply, known, now).await
        });
        tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| {
            Err(FetchError::new(
                format!("not answered in full within {}", go_millis(limit)),
                "check the server and the way to it, or raise the source's timeout",
            ))
        })
    }

    /// Sends the request.
    async fn send(&self, client: &Arc<Client>, known: &Validators) -> Result<Reply, FetchError> {
        let wrong = || FetchError::new("not an address by http or https", "correct the url");
        let place = Place::parse(&self.url).ok_or_else(wrong)?;
        let mut headers = vec![
            (
                "accept".to_owned(),
                "application/yaml, application/json, text/*;q=0.9, */*;q=0.8".to_owned(),
            ),
            ("accept-encoding".to_owned(), "gzip, zstd".to_owned()),
        ];
        let conditions =
            [("if-none-match", &known.etag), ("if-modified-since", &known.last_modified)];
        for (name, value) in conditions {
            headers.extend(value.as_ref().map(|value| (name.to_owned(), value.clone())));
        }
        let secrets: Vec<(String, String)> = self
            .authorization()?
            .map(|shown| ("authorization".to_owned(), shown))
            .into_iter()
            .collect();
        let trust = Believed {
            ca: self.ca_file.iter().cloned().collect(),
            client: self.pair.iter().cloned().collect(),
            skip_verify: false,
        };
        let ask = Ask {
            place: &place,
            trust: &trust,
            dial: self.timeout,
            headers: &headers,
            secrets: &secrets,
            form: None,
        };
        client.send(ask).await.map_err(|error| {
            let error = error.of_source();
            FetchError::new(Chain(&error).to_string(), "check the server, and the way to it")
        })
    }

    /// What we show the server, read from its file just now.
    fn authorization(&self) -> Result<Option<String>, FetchError> {
        if let Some(file) = &self.token_file {
            return Ok(Some(format!("Bearer {}", secret(file)?)));
        }
        let Some((user, file)) = &self.user else { return Ok(None) };
        let both = format!("{user}:{}", secret(file)?);
        Ok(Some(format!("Basic {}", BASE64_STANDARD.encode(both))))
    }

    /// Reads an answer.
    async fn take(
        &self,
        reply: Reply,
        known: &Validators,
        now: Timestamp,
    ) -> Result<Fetched, FetchError> {
        match reply.status {
            200 | 203 => {}
            204 => return Ok(Fetched::Changed(Vec::new(), Validators::default())),
            304 if *known != Validators::default() => return Ok(Fetched::Unchanged),
            _ => return Err(self.refused(&reply, now)),
        }
        let (validators, encoding) = head(&reply)?;
        let limit = usize::try_from(self.max_size).unwrap_or(usize::MAX);
        let (bytes, whole) = reply.body.all(limit).await.map_err(|error| {
            FetchError::new(
                format!("cut off: {}", Chain(&error.of_source())),
                "check the server, and the way to it",
            )
        })?;
        if !whole {
            return Err(self.too_large());
        }
        let bytes = match encoding.as_str() {
            "" | "identity" => bytes,
            "gzip" | "x-gzip" => self.gunzip(&bytes)?,
            "zstd" => self.unzstd(&bytes)?,
            _ => {
                return Err(FetchError::new(
                    "an encoding that was not asked for",
                    "let the server send it plain, or by gzip or zstd",
                ));
            }
        };
        Ok(Fetched::Changed(bytes, validators))
    }

    /// Unpacks gzip, and no more than the page may be long.
    fn gunzip(&self, bytes: &[u8]) -> Result<Vec<u8>, FetchError> {
        let mut whole = Vec::new();
        let read = MultiGzDecoder::new(bytes).take(self.max_size + 1).read_to_end(&mut whole);
        match read {
            _ if whole.len() as u64 > self.max_size => Err(self.too_large()),
            Ok(_) if !bytes.is_empty() => Ok(whole),
            _ => Err(damaged("gzip")),
        }
    }

    /// Unpacks zstd, and no more than the page may be long.
    fn unzstd(&self, bytes: &[u8]) -> Result<Vec<u8>, FetchError> {
        let (mut rest, mut whole) = (bytes, Vec::new());
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW);
        while !rest.is_empty() || bytes.is_empty() {
            decoder.reset(&mut rest).map_err(|_| damaged("zstd"))?;
            while !decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                decoder.decode_blocks(&mut rest, one).map_err(|_| damaged("zstd"))?;
                whole.extend(decoder.collect().unwrap_or_default());
                if (whole.len() + decoder.can_collect()) as u64 > self.max_size {
                    return Err(self.too_large());
                }
            }
            whole.extend(decoder.collect().unwrap_or_default());
        }
        Ok(whole)
    }

    /// The failure of a page that is too long.
    fn too_large(&self) -> FetchError {
        FetchError::new(
            format!("more than {} bytes, unpacked", self.max_size),
            "split it into several pages, or raise the source's maxSize (4Mi at most)",
        )
    }

    /// The failure of an answer that is no page.
    fn refused(&self, reply: &Reply, now: Timestamp) -> FetchError {
        let name = StatusCode::from_u16(reply.status).ok();
        let name = name.and_then(|status| status.canonical_reason()).unwrap_or_default();
        let file = |file: &Path, what: &str| format!("check the {what} in {}", file.display());
        let remedy = match (reply.status, &self.token_file, &self.user, &self.pair) {
            (401 | 403, Some(token), _, _) => file(token, "token"),
            (401 | 403, _, Some((user, password)), _) => {
                file(password, &format!("password of {user}"))
            }
            (401 | 403, _, _, Some((certificate, _))) => file(certificate, "certificate"),
            (401 | 403, ..) => "name tokenFile, or username and passwordFile".to_owned(),
            (404 | 410, ..) => {
                "check the address; remove the source to delete what it brought".into()
            }
            (300..=399, ..) => "check the address; where it redirects to is not told".into(),
            (407, ..) => "write user and password into the proxy's variable before an @".into(),
            _ => "check the server".into(),
        };
        let problem = format!("{} {name}", reply.status).trim_end().to_owned();
        let retry_after = reply.header("retry-after").and_then(|wish| wish_of(wish, now));
        FetchError { status: Some(reply.status), retry_after, ..FetchError::new(problem, remedy) }
    }
}

/// What the headers of a good answer say: whether it will have changed the next time, and how it is packed. Answers that
/// cannot be the page, or may not be all of it, are failures.
fn head(reply: &Reply) -> Result<(Validators, String), FetchError> {
    let text = |name: &str| reply.header(name).map(str::to_owned);
    let kind = text("content-type").unwrap_or_default().to_ascii_lowercase();
    if kind.starts_with("text/html") || kind.starts_with("application/xhtml") {
        return Err(FetchError::new(
            "a web page (text/html) and no documents",
            "check the address, and whether a login or a proxy stands before it",
        ));
    }
    let encoding = text("content-encoding").unwrap_or_default().trim().to_ascii_lowercase();
    let plain = matches!(encoding.as_str(), "" | "identity");
    if plain && text("content-length").is_none() && text("transfer-encoding").is_none() {
        // It ends where the connection does, for whatever reason.
        return Err(FetchError::new(
            "an answer without a length, which may have been cut off",
            "let the server send Content-Length or chunks",
        ));
    }
    let validators = Validators { etag: text("etag"), last_modified: text("last-modified") };
    Ok((validators, encoding))
}

/// The failure of a body that cannot be unpacked.
fn damaged(encoding: &str) -> FetchError {
    let problem = format!("cut off or damaged: its {encoding} cannot be unpacked");
    FetchError::new(problem, "check the server, and the way to it")
}

/// A secret out of its file, without the line's end.
fn secret(path: &Path) -> Result<String, FetchError> {
    let wrong = |problem: String| {
        let problem = format!("{}: {problem}", path.display());
        FetchError::new(problem, "write the secret into that file, readable for root")
    };
    let mut text = String::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(SECRET_LIMIT).read_to_string(&mut text));
    read.map_err(|error| wrong(format!("cannot be read: {error}")))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(wrong("empty".into())),
        text if text.contains(['\r', '\n']) => Err(wrong("has more than one line".into())),
        text => Ok(text.to_owned()),
    }
}

/// How long a server wants us to wait, in seconds or until a date; an hour at most.
fn wish_of(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let wish = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => Duration::try_from(date(text)?.duration_since(now)).unwrap_or(Duration::ZERO),
    };
    Some(wish.min(LONGEST_WISH))
}

/// A date as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn date(text: &str) -> Option<Timestamp> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let parts: Vec<&str> = text.split_once(", ")?.1.split([' ', ':']).collect();
    let [day, month, year, hour, minute, second, "GMT"] = parts[..] else { return None };
    let month = MONTHS.find(month).filter(|at| month.len() == 3 && at % 3 == 0)? / 3 + 1;
    let small = |text: &str| text.parse::<i8>().ok();
    let date = civil::DateTime::new(
        year.parse().ok()?,
        i8::try_from(month).ok()?,
        small(day)?,
        small(hour)?,
        small(minute)?,
        small(second)?,
        0,
    );
    Some(date.ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

/// How long to wait until a page is asked for again, after so many failures in a row. `seed` is any number, a new one
/// each time: hosts that began together must not go on together.
pub fn next_wait(
    interval: Duration,
    failures: u32,
    retry_after: Option<Duration>,
    seed: u64,
) -> Duration {
    // In thousandths, so many from `from` on.
    let share = |of: Duration, from: u32, width: u64| {
        of * (from + u32::try_from(seed % (width + 1)).unwrap_or(0)) / 1000
    };
    let longest = (interval * 10).max(SELDOM);
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).filter(|times| *times > 0);
    let usual = doubled.and_then(|times| interval.checked_mul(times)).unwrap_or(longest);
    let usual = share(usual.min(longest), 900, 200);
    match retry_after {
        // Nobody comes before he was asked to.
        Some(wish) => usual.max(share(wish.min(LONGEST_WISH), 1000, 100)),
        None => usual,
    }
}

/// What a page's bytes say. A page that brings nothing is not one that deletes everything, whatever it says instead: an
/// API's error is a valid object, too. Only an empty List is.
pub fn understand(url: &str, bytes: &[u8], validation: FieldValidation) -> FileReading {
    let mut read = file::understand(url, bytes, validation);
    let brings = !read.sets.is_empty() || !read.objects.is_empty();
    let bare = || {
        str::from_utf8(bytes)
            .is_ok_and(|text| pieces(text).iter().all(|piece| !piece.text.contains("List")))
    };
    if read.empty || !brings && read.faults.is_empty() && bare() {
        read.empty = true;
        read.faults.push(Fault::of_file(
            url,
            "SourceEmpty: the page holds no DaemonSet, ConfigMap or Secret",
            "write the documents, or an empty List to delete what it brought",
        ));
    }
    read
}

#[cfg(test)]
mod tests;
