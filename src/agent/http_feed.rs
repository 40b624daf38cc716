//! Keeps asking for a page, and tells what it says. Whatever goes wrong, its last good copy goes on.

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::{Notify, mpsc, watch};
use tracing::debug;

use crate::base::{fault::Fault, keyed::keyed, time};
use crate::config::HttpSettings;
use crate::fleet::envelope::digest_of;
use crate::source::{
    http::{FetchError, Fetched, Request, Validators, next_wait, understand},
    merge::{FileReading, SourceReading},
    trust::{SIGNATURE_LIMIT, Trust},
};
use crate::spec::FieldValidation;

use super::{effects::blocking, feeds::News};

/// One page.
pub(super) struct HttpFeed {
    /// The number of its source.
    pub index: usize,
    /// How it is asked for.
    pub request: Arc<Request>,
    /// How often.
    pub interval: Duration,
    /// What happens to unknown fields.
    pub validation: FieldValidation,
    /// Whom to believe.
    pub trust: Arc<Trust>,
    /// Where the news go.
    pub news: mpsc::UnboundedSender<News>,
    /// Wakes the feed before its time.
    pub poke: Arc<Notify>,
    /// What is known of the page.
    pub page: Page,
}

/// What is known of a page.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// By what the server tells whether it changed since the last good copy.
    validators: Validators,
    /// The last good copy.
    good: Option<FileReading>,
    /// The digest of its bytes: not every server can tell whether a page changed.
    digest: String,
    /// When the server last vouched for it.
    since: Option<Timestamp>,
    /// Failures in a row.
    failures: u32,
    /// What was told last.
    told: Option<String>,
}

/// Why a page does not count: a fault, and how long the server wants us to wait.
type Refused = (Fault, Option<Duration>);

/// A page that changed: what it says, the digest of its bytes, and by what the next change is told.
type Changed = (FileReading, String, Validators);

/// How a page is asked for, by its settings.
pub(super) fn request(http: &HttpSettings) -> Request {
    let both = |one: &Option<PathBuf>, other: &Option<PathBuf>| one.clone().zip(other.clone());
    Request {
        url: http.url.clone(),
        timeout: http.timeout,
        max_size: http.max_size,
        ca_file: http.ca_file.clone(),
        pair: both(&http.cert_file, &http.key_file),
        token_file: http.token_file.clone(),
        user: http.username.clone().zip(http.password_file.clone()),
    }
}

impl HttpFeed {
    /// Asks until the agent stops.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let wait = tokio::select! {
                wait = self.ask() => wait,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let delay_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            debug!(source = %self.request.url, delay_ms, "the page is asked for again later");
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.poke.notified() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Asks once, tells what came of it, and says how long to wait.
    async fn ask(&mut self) -> Duration {
        let outcome = self.fetch().await;
        let now = time::now().wall;
        let (reading, wish) = self.page.take(&self.request.url, outcome, now);
        if let Some(reading) = reading {
            // The agent is stopping when nobody listens.
            let _ = self.news.send(News::Source(self.index, reading));
        }
        // Hosts that began together must not go on together.
        let seed =
            u64::from_le_bytes(uuid::Uuid::new_v4().as_bytes()[8..].try_into().unwrap_or_default());
        next_wait(self.interval, self.page.failures, wish, seed)
    }

    /// The page, when it changed and is believed.
    async fn fetch(&self) -> Result<Option<Changed>, Refused> {
        let url = &self.request.url;
        let failed = |error: FetchError| (error.fault(url), error.retry_after);
        let fetched = self.request.fetch(&self.page.validators, time::now().wall).await;
        let Fetched::Changed(bytes, validators) = fetched.map_err(failed)? else {
            return Ok(None);
        };
        let digest = digest_of(&bytes);
        if digest == self.page.digest {
            return Ok(None);
        }
        let signature = if self.trust.is_required() { self.signature().await? } else { None };
        let (request, trust) = (Arc::clone(&self.request), Arc::clone(&self.trust));
        let validation = self.validation;
        let understood = blocking(move || {
            trust.check(&request.url, &bytes, signature.as_deref())?;
            trust.save();
            Ok(understand(&request.url, &bytes, validation))
        });
        let read: Result<FileReading, Fault> = understood.await;
        let read = read.map_err(|fault| (fault, None))?;
        let nothing = read.sets.is_empty() && read.objects.is_empty();
        match read.faults.first() {
            Some(fault) if read.empty || read.unreadable && nothing => Err((fault.clone(), None)),
            _ => Ok(Some((read, digest, validators))),
        }
    }

    /// The page's signature, if there is one.
    async fn signature(&self) -> Result<Option<Vec<u8>>, Refused> {
        let request = Request { max_size: SIGNATURE_LIMIT, ..self.request.of_signature() };
        match request.fetch(&Validators::default(), time::now().wall).await {
            Ok(Fetched::Changed(bytes, _)) => Ok(Some(bytes)),
            Ok(Fetched::Unchanged) | Err(FetchError { status: Some(404 | 410), .. }) => Ok(None),
            Err(error) => Err((error.fault(&request.url), error.retry_after)),
        }
    }
}

impl Page {
    /// Takes an outcome up: what to tell, unless that was told already, and how long the server wants us to wait.
    fn take(
        &mut self,
        url: &str,
        outcome: Result<Option<Changed>, Refused>,
        now: Timestamp,
    ) -> (Option<SourceReading>, Option<Duration>) {
        let (fault, wish) = match outcome {
            Ok(changed) => {
                if let Some((read, digest, validators)) = changed {
                    (self.good, self.digest, self.validators) = (Some(read), digest, validators);
                }
                (self.failures, self.since) = (0, Some(now));
                (None, None)
            }
            Err((fault, wish)) => {
                self.failures = self.failures.saturating_add(1);
                (Some(self.aged(fault)), wish)
            }
        };
        // The same fault again is no news; a good answer is, for it moves the time of the last one.
        let told = fault.as_ref().map(ToString::to_string);
        let news = told.is_none() || told != self.told;
        self.told = told;
        let path = PathBuf::from(url);
        let files = self.good.iter().map(|read| (path.clone(), read.clone()));
        let files = keyed(files);
        (news.then_some(SourceReading { path, files, awaited: false, fault }), wish)
    }

    /// A fault that says since when there is nothing better. The time, not the age: the text must not change by itself.
    fn aged(&self, fault: Fault) -> Fault {
        let goes_on = match self.since {
            Some(since) => {
                format!("the copy of {} goes on", since.strftime("%Y-%m-%dT%H:%M:%SZ"))
            }
            None => {
                "no answer yet since the agent started; what it brought before goes on".to_owned()
            }
        };
        let remedy = fault.remedy.replace("; until then what it brought goes on", "");
        let remedy = if remedy.is_empty() { goes_on } else { format!("{goes_on}; {remedy}") };
        Fault { remedy, ..fault }
    }
}

#[cfg(test)]
mod tests;
