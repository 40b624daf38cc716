//! What stands between podward and a registry: it sees every request, and does to the answers whatever a bad day does.

use std::fmt::Write as _;
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::http::{After, Head, Request, Server, reply};
use super::wait::{PATIENCE, patiently};

/// What is done to an answer.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The connection ends after so many bytes of the body.
    Cut(u64),
    /// Nothing more comes after so many bytes of the body, until the proxy is healed.
    Hold(u64),
    /// So many bytes of the body come in a second.
    Slow(u64),
    /// This status is the answer.
    Status(u16),
    /// This is the body, whatever the registry says.
    Instead(Vec<u8>),
    /// The answer is to be had at the same path of another place.
    Redirect(SocketAddr),
    /// The whole body comes, whatever part was asked for.
    Whole,
}

/// A fault, the paths that it concerns, and how often it still does.
#[derive(Debug)]
struct Rule {
    /// What the path contains.
    path: String,
    /// What is done.
    fault: Fault,
    /// How often.
    times: usize,
}

/// A request that came by.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Its head.
    pub(crate) head: Head,
    /// The status of its answer; 0 before there is one.
    pub(crate) status: u16,
    /// How many bytes of a body went back.
    pub(crate) sent: u64,
    /// Whether its answer is on its way.
    pub(crate) open: bool,
    /// Whether a fault holds it.
    pub(crate) held: bool,
}

impl Seen {
    /// The path without its query.
    pub(crate) fn path(&self) -> &str {
        self.head.target().split('?').next().unwrap_or_default()
    }

    /// The part of a blob that was asked for.
    pub(crate) fn range(&self) -> Option<&str> {
        self.head.header("range")
    }

    /// Whether credentials were shown.
    pub(crate) fn authorized(&self) -> bool {
        self.head.header("authorization").is_some()
    }

    /// The repository.
    fn repository(&self) -> &str {
        let path = self.path();
        let end = path.find("/blobs/").or_else(|| path.find("/manifests/"));
        &path[..end.unwrap_or(path.len())]
    }
}

/// What the proxy's threads share.
#[derive(Debug, Default)]
struct State {
    /// Where requests go.
    upstream: Option<SocketAddr>,
    /// What is done to them, the first that fits.
    rules: Vec<Rule>,
    /// Counts the healings.
    healed: u64,
    /// The requests so far.
    seen: Vec<Seen>,
    /// How many repositories' blobs were on their way at once at most.
    peak: usize,
}

/// What stands between; it ends with this value.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// What answers.
    server: Server,
    /// What its threads know.
    shared: Arc<Shared>,
}

/// The state, and who waits for it to change.
#[derive(Debug, Default)]
struct Shared {
    /// The state.
    state: Mutex<State>,
    /// Told of each healing.
    healed: Condvar,
}

impl Shared {
    /// The state.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this")
    }
}

impl Proxy {
    /// A proxy before a registry.
    pub(crate) fn before(upstream: SocketAddr) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        shared.state().upstream = Some(upstream);
        let known = Arc::clone(&shared);
        let server = Server::start(move |request, stream| {
            let number = known.begin(request);
            let after = known.pass(number, request, stream);
            known.end(number);
            after
        })?;
        Ok(Self { server, shared })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Sends what comes from now on to another place.
    pub(crate) fn turn_to(&self, upstream: SocketAddr) {
        self.shared.state().upstream = Some(upstream);
    }

    /// Does this to every answer whose path contains `path`.
    pub(crate) fn always(&self, path: &str, fault: Fault) {
        self.times(usize::MAX, path, fault);
    }

    /// Does this to the next answers whose path contains `path`.
    pub(crate) fn times(&self, times: usize, path: &str, fault: Fault) {
        self.shared.state().rules.push(Rule { path: path.into(), fault, times });
    }

    /// Ends every fault, and lets go what is held.
    pub(crate) fn heal(&self) {
        let mut state = self.shared.state();
        state.rules.clear();
        state.healed += 1;
        self.shared.healed.notify_all();
    }

    /// Ends every connection and refuses new ones, as a host does on which nobody listens.
    pub(crate) fn close(&mut self) {
        self.server.close();
    }

    /// Takes connections again.
    pub(crate) fn open(&mut self) -> Result<()> {
        self.server.open()
    }

    /// The requests so far whose path contains `path`.
    pub(crate) fn seen(&self, path: &str) -> Vec<Seen> {
        let state = self.shared.state();
        state.seen.iter().filter(|seen| seen.path().contains(path)).cloned().collect()
    }

    /// How many bytes went back of what `path` is in.
    pub(crate) fn sent(&self, path: &str) -> u64 {
        self.seen(path).iter().map(|seen| seen.sent).sum()
    }

    /// How many repositories' blobs were on their way at once at most.
    pub(crate) fn peak(&self) -> usize {
        self.shared.state().peak
    }

    /// Waits until so many requests are held.
    pub(crate) fn until_held(&self, number: usize) -> Result<()> {
        let what = format!("{number} requests to be held");
        let held = patiently(&what, PATIENCE, || {
            let held = self.shared.state().seen.iter().filter(|seen| seen.held).count();
            Ok((held >= number).then_some(()))
        });
        held.map_err(|error| error.context(self.story()))
    }

    /// What came by, for a failure's report.
    pub(crate) fn story(&self) -> String {
        let mut story = String::from("what came by:\n");
        for seen in &self.shared.state().seen {
            let range = seen.range().unwrap_or("all");
            let _ = writeln!(
                story,
                "  {} ({range}): {}, {} bytes",
                seen.head.first, seen.status, seen.sent
            );
        }
        story
    }
}

impl Shared {
    /// Notes a request.
    fn begin(&self, request: &Request) -> usize {
        let mut state = self.state();
        let head = request.head.clone();
        state.seen.push(Seen { head, status: 0, sent: 0, open: true, held: false });
        let blobs = state.seen.iter().filter(|seen| seen.open && seen.path().contains("/blobs/"));
        let mut repositories: Vec<&str> = blobs.map(Seen::repository).collect();
        repositories.sort_unstable();
        repositories.dedup();
        state.peak = state.peak.max(repositories.len());
        state.seen.len() - 1
    }

    /// Notes its end.
    fn end(&self, number: usize) {
        self.state().seen[number].open = false;
    }

    /// The fault that is due to a path.
    fn fault(&self, path: &str) -> Option<Fault> {
        let mut state = self.state();
        let due = |rule: &&mut Rule| rule.times > 0 && path.contains(&rule.path);
        let rule = state.rules.iter_mut().find(due)?;
        rule.times -= 1;
        Some(rule.fault.clone())
    }

    /// Answers one request.
    fn pass(&self, number: usize, request: &Request, to: &mut TcpStream) -> io::Result<After> {
        let fault = self.fault(request.head.target());
        match &fault {
            Some(Fault::Status(status)) => {
                self.state().seen[number].status = *status;
                reply(to, *status, &[], b"a bad day\n")?;
                return Ok(After::Stay);
            }
            Some(Fault::Redirect(place)) => {
                self.state().seen[number].status = 307;
                let location = format!("http://{place}{}", request.head.target());
                reply(to, 307, &[("Location", &location)], b"")?;
                return Ok(After::Stay);
            }
            _ => {}
        }
        let upstream = self.state().upstream.ok_or(io::ErrorKind::NotConnected)?;
        let mut from = TcpStream::connect(upstream)?;
        let drop: &[&str] = match fault {
            Some(Fault::Whole) => &["connection", "range"],
            _ => &["connection"],
        };
        request.head.write(&mut from, drop, &[("Connection", "close")])?;
        from.write_all(&request.body)?;
        let mut from = BufReader::new(from);
        let head = Head::read(&mut from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.state().seen[number].status = head.status();
        if let Some(Fault::Instead(body)) = &fault {
            let length = body.len().to_string();
            head.write(to, &["connection", "content-length"], &[("Content-Length", &length)])?;
            to.write_all(body)?;
            return Ok(After::Stay);
        }
        head.write(to, &["connection"], &[])?;
        if request.head.method() == "HEAD" || [204, 304].contains(&head.status()) {
            return Ok(After::Stay);
        }
        let length = head.length();
        self.relay(number, fault.as_ref(), &mut from.take(length.unwrap_or(u64::MAX)), to)?;
        Ok(if length.is_some() { After::Stay } else { After::Close })
    }

    /// Hands a body on, as the fault lets it.
    fn relay(
        &self,
        number: usize,
        fault: Option<&Fault>,
        from: &mut impl Read,
        to: &mut TcpStream,
    ) -> io::Result<()> {
        let limit = match fault {
            Some(Fault::Cut(limit) | Fault::Hold(limit)) => *limit,
            _ => u64::MAX,
        };
        let mut piece = vec![0; 32 << 10];
        let mut sent = 0;
        let before = self.state().healed;
        loop {
            let room = usize::try_from(limit.saturating_sub(sent)).unwrap_or(usize::MAX);
            let wanted = room.min(piece.len());
            if wanted == 0 {
                match fault {
                    Some(Fault::Hold(_)) => self.hold(number),
                    _ => return Err(io::ErrorKind::ConnectionAborted.into()),
                }
                return self.relay(number, None, from, to);
            }
            let length = from.read(&mut piece[..wanted])?;
            if length == 0 {
                return Ok(());
            }
            to.write_all(&piece[..length])?;
            sent += length as u64;
            let healed = {
                let mut state = self.state();
                state.seen[number].sent += length as u64;
                state.healed != before
            };
            if let Some(Fault::Slow(rate)) = fault.filter(|_| !healed) {
                thread::park_timeout(Duration::from_micros(length as u64 * 1_000_000 / rate));
            }
        }
    }

    /// Waits until the proxy is healed.
    fn hold(&self, number: usize) {
        let mut state = self.state();
        let before = state.healed;
        state.seen[number].held = true;
        while state.healed == before {
            state = self.healed.wait(state).expect("nothing panics while it holds this");
        }
        state.seen[number].held = false;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // So that no thread waits for ever.
        self.heal();
    }
}
