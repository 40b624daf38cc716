//! The container logger: containerd's shim starts one per container, and it writes the container's
//! output as CRI lines. It runs without async runtime and without the agent.
//!
//! *Guarantees*: the container is never blocked and never loses its reader for want of disk space or
//! by a signal; the logger ends when both streams do; memory does not grow.
//! *Assumptions*: descriptor 3 is the container's stdout, 4 its stderr, and closing 5 says "ready".

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read},
    os::fd::{AsFd, RawFd},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{SigSet, Signal},
};

use super::{
    cri_log::{Piece, Splitter, Stream},
    log_file::LogFile,
};
use crate::base::time;

/// The descriptor whose closing tells the shim that the logger reads.
const READY: RawFd = 5;

/// What stands before the value of a container with a terminal.
const TERMINAL: &str = "tty:";

/// Where one container's log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogTarget {
    /// The live file, such as `/var/log/pods/<pod>/<container>/0.log`.
    pub path: PathBuf,
    /// The size at which it is put aside.
    pub max_size: u64,
    /// How many files to keep in all.
    pub max_files: u32,
    /// Whether the container writes to a terminal, which has one stream: the shim never ends the other one.
    pub terminal: bool,
}

/// Why a logger could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum LoggerError {
    /// The argument names no log. The container's output is read and thrown away.
    #[error(
        "podward log {0:?}: not of the form [tty:]SIZE:FILES:/PATH; containerd's shim starts this command"
    )]
    Target(String),
    /// A stream is missing.
    #[error("podward log: cannot read descriptor {fd}; containerd's shim starts this command")]
    Stream {
        /// Its descriptor.
        fd: RawFd,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The `stdout` of a task that makes containerd's shim start `exe` as its logger. Everything stands in one
/// key, because the shim hands several over in random order.
pub fn uri(exe: &Path, target: &LogTarget) -> String {
    let LogTarget { path, max_size, max_files, terminal } = target;
    let mark = if *terminal { TERMINAL } else { "" };
    let value = format!("{mark}{max_size}:{max_files}:{}", path.display());
    format!("binary://{}?log={}", escape(&exe.to_string_lossy()), escape(&value))
}

/// Writes the log of one container until its streams end. `value` is what [`uri`] gave the shim.
pub fn run(value: &str) -> Result<(), LoggerError> {
    // Before the word "ready": the container may end, and the shim with its signal come, right after it.
    ignore_signals();
    let _ = nix::unistd::close(READY);
    close_strays();
    // The shim starts loggers in the container's bundle, which shall not be held.
    let _ = std::env::set_current_dir("/");
    let target = LogTarget::parse(value);
    let mut log = target.clone().map(LogFile::new);
    let mut sources = vec![Source::open(3, Stream::Stdout)?];
    if target.as_ref().is_some_and(|target| target.terminal) {
        let _ = nix::unistd::close(4);
    } else {
        sources.push(Source::open(4, Stream::Stderr)?);
    }
    let mut at = String::with_capacity(40);
    while !sources.is_empty() {
        let ready = wait(&sources);
        let mut index = 0;
        sources.retain_mut(|source| {
            let lives = !ready[index] || source.copy(log.as_mut(), &mut at);
            index += 1;
            lives
        });
    }
    if let Some(log) = &mut log {
        log.close(&at);
    }
    target.map(|_| ()).ok_or_else(|| LoggerError::Target(value.to_owned()))
}

impl LogTarget {
    /// Reads what [`uri`] wrote.
    fn parse(value: &str) -> Option<Self> {
        let (terminal, rest) = match value.strip_prefix(TERMINAL) {
            Some(rest) => (true, rest),
            None => (false, value),
        };
        let mut words = rest.splitn(3, ':');
        let max_size = words.next()?.parse().ok()?;
        let max_files = words.next()?.parse().ok()?;
        let path = PathBuf::from(words.next()?);
        path.is_absolute().then_some(Self { path, max_size, max_files, terminal })
    }
}

/// One stream of the container.
struct Source {
    /// The pipe.
    pipe: File,
    /// Which one it is.
    stream: Stream,
    /// The line at hand.
    splitter: Splitter,
}

impl Source {
    /// Takes over a descriptor: a new one is opened on the same pipe, which needs no unsafe code.
    fn open(fd: RawFd, stream: Stream) -> Result<Self, LoggerError> {
        let pipe = File::open(format!("/proc/self/fd/{fd}"))
            .map_err(|source| LoggerError::Stream { fd, source })?;
        let _ = nix::unistd::close(fd);
        Ok(Self { pipe, stream, splitter: Splitter::default() })
    }

    /// Copies what can be read now into the log; `false` when the stream has ended.
    fn copy(&mut self, log: Option<&mut LogFile>, at: &mut String) -> bool {
        let Self { pipe, stream, splitter } = self;
        let count = match pipe.read(splitter.room()) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            Err(_) => 0,
        };
        at.clear();
        let _ = write!(at, "{:.9}", time::now().wall);
        let mut log = log;
        let mut emit = |partial, content: &[u8]| {
            if let Some(log) = &mut log {
                log.add(Piece { at, stream: *stream, partial, content });
            }
        };
        if count > 0 {
            splitter.advance(count, &mut emit);
        } else {
            splitter.finish(&mut emit);
        }
        if let Some(log) = log {
            log.flush(*stream, at);
        }
        count > 0
    }
}

/// Waits until a stream can be read or has ended; says which.
fn wait(sources: &[Source]) -> Vec<bool> {
    let mut polled: Vec<PollFd<'_>> =
        sources.iter().map(|source| PollFd::new(source.pipe.as_fd(), PollFlags::POLLIN)).collect();
    loop {
        match poll(&mut polled, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            // Reading blindly is slower, and still right, when poll does not work.
            Err(_) => return vec![true; sources.len()],
            Ok(_) => return polled.iter().map(|fd| fd.any().unwrap_or(true)).collect(),
        }
    }
}

/// Makes the signals wait for ever by which shims and operators end their children: the shim sends SIGTERM
/// while there is still output in the pipes. SIGKILL remains.
fn ignore_signals() {
    let mut signals = SigSet::empty();
    for signal in
        [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGPIPE]
    {
        signals.add(signal);
    }
    let _ = signals.thread_block();
}

/// Closes what leaked in from the daemon's parents: a logger may live for years.
fn close_strays() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else {
        return;
    };
    let open: Vec<RawFd> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > READY)
        .collect();
    for fd in open {
        // One of them was the listing's own and is closed already.
        let _ = nix::unistd::close(fd);
    }
}

/// A text for a URI, in which everything special is escaped.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b':' | b'.' | b'-' | b'_' => {
                escaped.push(byte.into());
            }
            _ => {
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uri_carries_all_in_one_key() {
        let target = LogTarget {
            path: "/var/log/pods/a_b_c/main & co/0.log".into(),
            max_size: 10 << 20,
            max_files: 5,
            terminal: false,
        };
        let uri = uri(Path::new("/usr/bin/podward"), &target);
        assert_eq!(
            uri,
            "binary:///usr/bin/podward?log=10485760:5:/var/log/pods/a_b_c/main%20%26%20co/0.log"
        );
        assert_eq!(
            LogTarget::parse("10485760:5:/var/log/pods/a_b_c/main & co/0.log"),
            Some(target.clone())
        );
        let with_terminal = LogTarget { terminal: true, ..target };
        assert_eq!(
            LogTarget::parse("tty:10485760:5:/var/log/pods/a_b_c/main & co/0.log"),
            Some(with_terminal)
        );
    }

    #[test]
    fn other_arguments_name_no_log() {
        for value in ["", "1:2", "1:2:relative", "x:2:/a", "1:x:/a"] {
            assert_eq!(LogTarget::parse(value), None, "{value}");
        }
    }
}
