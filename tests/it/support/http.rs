//! Just enough of HTTP/1.1 to push images, to stand between a client and a registry, and to hand out tokens.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long a peer may be silent.
const SILENCE: Duration = Duration::from_mins(1);

/// The head of a request or of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// The first line.
    pub(crate) first: String,
    /// The headers, as they were written.
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    /// Reads a head; none where the connection ends before it.
    pub(crate) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut lines = vec![];
        loop {
            let mut line = String::new();
            if from.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            lines.push(line.to_owned());
        }
        let Some((first, headers)) = lines.split_first() else {
            return Ok(None);
        };
        let headers = headers.iter().filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        Ok(Some(Self { first: first.clone(), headers: headers.collect() }))
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The length of the body, where it is told.
    pub(crate) fn length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }

    /// A request's method.
    pub(crate) fn method(&self) -> &str {
        self.first.split(' ').next().unwrap_or_default()
    }

    /// A request's path with its query.
    pub(crate) fn target(&self) -> &str {
        self.first.split(' ').nth(1).unwrap_or_default()
    }

    /// An answer's status.
    pub(crate) fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default()
    }

    /// Writes it, without the headers that `drop` names and with those of `add`.
    pub(crate) fn write(
        &self,
        to: &mut impl Write,
        drop: &[&str],
        add: &[(&str, &str)],
    ) -> io::Result<()> {
        let mut text = format!("{}\r\n", self.first);
        for (name, value) in &self.headers {
            let (name, value) = (name.as_str(), value.as_str());
            if !drop.iter().any(|dropped| dropped.eq_ignore_ascii_case(name)) {
                text.extend([name, ": ", value, "\r\n"]);
            }
        }
        for (name, value) in add {
            text.extend([*name, ": ", *value, "\r\n"]);
        }
        to.write_all(format!("{text}\r\n").as_bytes())
    }
}

/// An answer as a whole.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// Status and headers.
    pub(crate) head: Head,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// Asks once, on a connection of its own.
pub(crate) fn ask(
    address: SocketAddr,
    request: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer> {
    let about = || format!("{request} at {address}");
    let mut stream = TcpStream::connect(address).with_context(about)?;
    stream.set_read_timeout(Some(SILENCE))?;
    let head = Head { first: format!("{request} HTTP/1.1"), headers: vec![] };
    let (host, length) = (address.to_string(), body.len().to_string());
    let mut all = vec![("Host", &*host), ("Content-Length", &*length), ("Connection", "close")];
    all.extend(headers);
    head.write(&mut stream, &[], &all)?;
    stream.write_all(body)?;
    let mut reader = BufReader::new(stream);
    let head = Head::read(&mut reader)?.with_context(about)?;
    let mut body = vec![];
    match head.length() {
        _ if request.starts_with("HEAD ") => {}
        Some(length) => drop(reader.take(length).read_to_end(&mut body)?),
        None => drop(reader.read_to_end(&mut body)?),
    }
    Ok(Answer { head, body })
}

/// Writes a short answer as a whole.
pub(crate) fn reply(
    to: &mut TcpStream,
    status: u16,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<()> {
    let head = Head { first: format!("HTTP/1.1 {status} said-so"), headers: vec![] };
    let length = body.len().to_string();
    let mut all = vec![("Content-Length", &*length)];
    all.extend(headers);
    head.write(to, &[], &all)?;
    to.write_all(body)
}

/// A request as a whole.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Its head.
    pub(crate) head: Head,
    /// Its body.
    pub(crate) body: Vec<u8>,
}

/// Whether a connection goes on after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// The next request may follow.
    Stay,
    /// It is closed.
    Close,
}

/// What answers the requests of a server.
type Handler = dyn Fn(&Request, &mut TcpStream) -> io::Result<After> + Send + Sync;

/// A server at a free port of this machine; it ends with this value.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What answers.
    answer: Arc<Handler>,
    /// The connections that were made.
    connections: Arc<Mutex<Vec<TcpStream>>>,
    /// Who takes them, and what tells it to end.
    listener: Option<(JoinHandle<()>, Arc<AtomicBool>)>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Answers every request by `answer`, one thread for each connection.
    pub(crate) fn start(
        answer: impl Fn(&Request, &mut TcpStream) -> io::Result<After> + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = bind()?;
        let address = listener.local_addr()?;
        let (answer, connections) = (Arc::new(answer), Arc::default());
        let mut server = Self { address, answer, connections, listener: None };
        server.take(listener);
        Ok(server)
    }

    /// Listens again where it listened before.
    pub(crate) fn open(&mut self) -> Result<()> {
        let listener = TcpListener::bind(self.address)?;
        self.take(listener);
        Ok(())
    }

    /// Takes connections.
    fn take(&mut self, listener: TcpListener) {
        let ended = Arc::new(AtomicBool::new(false));
        let (over, kept) = (Arc::clone(&ended), Arc::clone(&self.connections));
        let answer = Arc::clone(&self.answer);
        let taking = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::Acquire) {
                    break;
                }
                if let Ok(copy) = stream.try_clone() {
                    kept.lock().expect("nothing panics while it holds this").push(copy);
                }
                let answer = Arc::clone(&answer);
                thread::spawn(move || {
                    let _ = converse(&stream, &*answer);
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        self.listener = Some((taking, ended));
    }

    /// Ends every connection that there is, in the middle of whatever it carries.
    pub(crate) fn cut(&self) {
        let mut connections = self.connections.lock().expect("nothing panics while it holds this");
        for connection in connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Listens no more, so that whoever comes is refused, and ends every connection.
    pub(crate) fn close(&mut self) {
        if let Some((taking, ended)) = self.listener.take() {
            ended.store(true, Ordering::Release);
            // It looks up when somebody comes.
            let _ = TcpStream::connect(self.address);
            let _ = taking.join();
        }
        self.cut();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close();
    }
}

/// Binds a port that the kernel gives to nobody, so that it is still free after the server was closed for a while.
fn bind() -> Result<TcpListener> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let lowest = range.split_whitespace().next().and_then(|port| port.parse().ok());
    let end: u32 = lowest.filter(|port| (12_000..=65_535).contains(port)).unwrap_or(32_768);
    let count = end - 10_000;
    let first = std::process::id().wrapping_mul(97) + NEXT.fetch_add(1, Ordering::Relaxed);
    for number in 0..count {
        let port = u16::try_from(10_000 + (first.wrapping_add(number * 31)) % count)?;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return Ok(listener);
        }
    }
    bail!("no port is free between 10000 and {end}")
}

/// Where the next server looks for a port first.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Reads requests from one connection and answers them until one side has enough.
fn converse(stream: &TcpStream, answer: &Handler) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream.try_clone()?;
    while let Some(head) = Head::read(&mut reader)? {
        let mut body = vec![];
        (&mut reader).take(head.length().unwrap_or_default()).read_to_end(&mut body)?;
        let request = Request { head, body };
        if answer(&request, &mut writer)? == After::Close {
            break;
        }
    }
    Ok(())
}
