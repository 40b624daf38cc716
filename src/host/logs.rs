//! Reading logs: the last lines, since a time, and onwards as they are written.

use std::{
    fs,
    future::Future,
    io::{self, BufRead as _, BufReader, Seek as _},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    pin::pin,
};

use jiff::Timestamp;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _},
    net::unix::pipe,
    sync::mpsc,
    task,
};

use super::{
    cri_log::Piece,
    log_files::{Start, last_lines, rotated, rotated_at},
};

/// How much is read at once.
const CHUNK: usize = 32 << 10;

/// The longest line that is put together before it is passed on.
const LINE_LIMIT: usize = 256 << 10;

/// Which part of a log is wanted, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRequest {
    /// The directory of the container's logs.
    pub dir: PathBuf,
    /// Which attempt at the container.
    pub attempt: u32,
    /// Only so many lines from the end.
    pub tail: Option<u64>,
    /// Only lines written then or later.
    pub since: Option<Timestamp>,
    /// Whether each line begins with its time.
    pub timestamps: bool,
    /// Whether to go on as the container writes.
    pub follow: bool,
}

impl LogRequest {
    /// The live file.
    fn live(&self) -> PathBuf {
        self.dir.join(format!("{}.log", self.attempt))
    }
}

/// Sends a log to `out`. A followed log ends when `ended` does and all that was written before is sent,
/// or when the receiver leaves.
pub async fn stream(
    request: LogRequest,
    out: mpsc::Sender<Vec<u8>>,
    ended: impl Future<Output = ()>,
) -> io::Result<()> {
    // Watched before it is read: nothing written in between goes unnoticed.
    let watch = request.follow.then(|| Watch::on(&request.dir)).transpose()?;
    let mut reader = Reader::open(&request).await?;
    let mut ended = pin!(ended);
    let mut over = false;
    loop {
        while let Some(text) = reader.next().await? {
            if !text.is_empty() && out.send(text).await.is_err() {
                return Ok(());
            }
        }
        let Some(watch) = watch.as_ref().filter(|_| !over) else {
            break;
        };
        tokio::select! {
            // cancel-safe: what a change would say is found by reading again.
            changed = watch.changed() => changed?,
            // cancel-safe: polled again, or never after it is over.
            () = &mut ended => over = true,
            // cancel-safe: nothing is lost with it.
            () = out.closed() => return Ok(()),
        }
    }
    let rest = reader.joiner.finish();
    if !rest.is_empty() {
        let _ = out.send(rest).await;
    }
    Ok(())
}

/// A reader of one attempt's files, from one to the next.
struct Reader {
    /// The live file's path.
    live: PathBuf,
    /// The file at hand.
    file: File,
    /// Which file that is, whatever its name.
    identity: (u64, u64),
    /// Whether the file was found rotated: it is read to its end once more, then left.
    leaving: bool,
    /// The bytes of a line whose end is not read yet.
    begun: Vec<u8>,
    /// Puts lines together.
    joiner: Joiner,
}

impl Reader {
    /// Finds where the wanted part begins and opens that file.
    async fn open(request: &LogRequest) -> io::Result<Self> {
        let live = request.live();
        let wanted = request.clone();
        let (path, start) = blocking(move || find_start(&wanted)).await?;
        let mut file = File::open(&path).await.map_err(|error| named(&error, &path))?;
        file.seek(io::SeekFrom::Start(start.offset)).await?;
        let identity = identity(&file.metadata().await?);
        let joiner = Joiner {
            skip: start.skip,
            since: request.since,
            timestamps: request.timestamps,
            ..Joiner::default()
        };
        Ok(Self { live, file, identity, leaving: false, begun: Vec::new(), joiner })
    }

    /// The next lines, perhaps none of a piece that was read; `None` when all that is written is read.
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut chunk = vec![0; CHUNK];
        let count = self.file.read(&mut chunk).await?;
        if count > 0 {
            return Ok(Some(self.take(&chunk[..count])));
        }
        if self.leaving {
            return Ok(self.advance().await?.then(Vec::new));
        }
        // More may have been written between the read above and a rotation: read once more before leaving.
        self.leaving = match tokio::fs::metadata(&self.live).await {
            Ok(metadata) => identity(&metadata) != self.identity,
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(named(&error, &self.live)),
        };
        Ok(self.leaving.then(Vec::new))
    }

    /// Goes on to the file after the one at hand; `false` when there is none yet.
    async fn advance(&mut self) -> io::Result<bool> {
        let (live, current) = (self.live.clone(), self.identity);
        let Some(path) = blocking(move || successor(&live, current)).await? else {
            self.leaving = false;
            return Ok(false);
        };
        match File::open(&path).await {
            Ok(file) => {
                self.identity = identity(&file.metadata().await?);
                self.file = file;
                self.leaving = false;
                self.begun.clear();
            }
            // Rotated again or removed meanwhile: look once more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(named(&error, &path)),
        }
        Ok(true)
    }

    /// Takes bytes of the file and returns the lines that they complete.
    fn take(&mut self, chunk: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(chunk.len());
        for part in chunk.split_inclusive(|byte| *byte == b'\n') {
            let Some(end) = part.strip_suffix(b"\n") else {
                self.begun.extend_from_slice(part);
                break;
            };
            if self.begun.is_empty() {
                self.joiner.line(end, &mut out);
            } else {
                self.begun.extend_from_slice(end);
                self.joiner.line(&self.begun, &mut out);
                self.begun.clear();
            }
        }
        if self.begun.len() > LINE_LIMIT {
            // No logger writes this; it is shown as it is.
            out.append(&mut self.begun);
        }
        out
    }
}

/// Puts the pieces of lines together and leaves out what is not wanted.
#[derive(Debug, Default)]
struct Joiner {
    /// For each stream, the line whose end has not come.
    lines: [Option<Line>; 2],
    /// How many lines are left out at the beginning.
    skip: u64,
    /// The time before which lines are left out.
    since: Option<Timestamp>,
    /// Whether each line begins with its time.
    timestamps: bool,
}

/// A line whose end has not come.
#[derive(Debug)]
struct Line {
    /// Whether it is wanted.
    shown: bool,
    /// Its text so far.
    text: Vec<u8>,
}

impl Joiner {
    /// Takes one line of the log.
    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some(piece) = Piece::parse(line) else {
            if !self.skipped() && self.since.is_none() {
                out.extend_from_slice(line);
                out.push(b'\n');
            }
            return;
        };
        let here = piece.stream as usize;
        let mut begun = self.lines[here].take().unwrap_or_else(|| self.begin(&piece));
        if begun.shown {
            begun.text.extend_from_slice(piece.content);
        }
        if !piece.partial {
            if !self.skipped() && begun.shown {
                out.append(&mut begun.text);
                out.push(b'\n');
            }
            return;
        }
        if begun.text.len() > LINE_LIMIT {
            if self.skip == 0 {
                out.append(&mut begun.text);
            }
            begun.text.clear();
        }
        self.lines[here] = Some(begun);
    }

    /// A new line, with its time where that is wanted.
    fn begin(&self, piece: &Piece<'_>) -> Line {
        let old = |since: Timestamp| piece.at.parse::<Timestamp>().is_ok_and(|at| at < since);
        let shown = !self.since.is_some_and(old);
        let mut text = Vec::new();
        if shown && self.timestamps {
            text.extend_from_slice(piece.at.as_bytes());
            text.push(b' ');
        }
        Line { shown, text }
    }

    /// Whether the line that ends here is one of those left out at the beginning.
    fn skipped(&mut self) -> bool {
        let skipped = self.skip > 0;
        self.skip = self.skip.saturating_sub(1);
        skipped
    }

    /// The lines whose end never came.
    fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        for line in [self.lines[0].take(), self.lines[1].take()].into_iter().flatten() {
            if !self.skipped() {
                out.extend(line.text);
            }
        }
        out
    }
}

/// The end of one attempt's log: of its last lines the last bytes. For a log that nobody writes to any more.
pub fn last_words(dir: &Path, attempt: u32, lines: u64, limit: usize) -> io::Result<Vec<u8>> {
    let (dir, tail) = (dir.to_owned(), Some(lines));
    let request = LogRequest { dir, attempt, tail, since: None, timestamps: false, follow: false };
    let (first, start) = find_start(&request)?;
    let mut joiner = Joiner { skip: start.skip, ..Joiner::default() };
    let (mut said, mut line) = (Vec::new(), Vec::new());
    let (mut next, mut offset) = (Some(first), start.offset);
    while let Some(path) = next {
        let mut file = fs::File::open(&path)?;
        file.seek(io::SeekFrom::Start(offset))?;
        let identity = identity(&file.metadata()?);
        let mut file = BufReader::with_capacity(CHUNK, file);
        while file.read_until(b'\n', &mut line)? > 0 {
            joiner.line(line.strip_suffix(b"\n").unwrap_or(&line), &mut said);
            line.clear();
            said.drain(..said.len().saturating_sub(limit));
        }
        (next, offset) = (successor(&request.live(), identity)?, 0);
    }
    said.extend(joiner.finish());
    said.drain(..said.len().saturating_sub(limit));
    Ok(said)
}

/// Notices changes in a directory without polling. To tokio, inotify's descriptor is a pipe: something
/// that can be waited for and read.
struct Watch(pipe::Receiver);

impl Watch {
    /// Watches a directory: its files are renamed and made anew by rotation.
    fn on(dir: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let changes = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF;
        inotify.add_watch(dir, changes).map_err(|errno| named(&errno.into(), dir))?;
        Ok(Self(pipe::Receiver::from_owned_fd_unchecked(inotify.into())?))
    }

    /// Waits for a change.
    async fn changed(&self) -> io::Result<()> {
        let mut events = [0; 4096];
        let mut changed = false;
        loop {
            match self.0.try_read(&mut events) {
                Ok(_) => changed = true,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) if changed => return Ok(()),
                // cancel-safe: events stay in the descriptor until they are read.
                Err(_) => self.0.readable().await?,
            }
        }
    }
}

/// The file and the place in it where the wanted part begins.
fn find_start(request: &LogRequest) -> io::Result<(PathBuf, Start)> {
    let live = request.live();
    let mut files = rotated(&live).map_err(|error| named(&error, &live))?;
    if live.exists() {
        files.push(live.clone());
    }
    if files.is_empty() {
        return Err(named(&io::ErrorKind::NotFound.into(), &live));
    }
    let start = if let Some(count) = request.tail {
        last_lines(&files, count)?
    } else {
        let old = |file: &PathBuf| {
            request.since.zip(rotated_at(&live, file)).is_some_and(|(since, at)| at < since)
        };
        let file = files.iter().take_while(|file| old(file)).count().min(files.len() - 1);
        Start { file, offset: 0, skip: 0 }
    };
    Ok((files.swap_remove(start.file), start))
}

/// The file that comes after the one at hand.
fn successor(live: &Path, current: (u64, u64)) -> io::Result<Option<PathBuf>> {
    let mut files = rotated(live)?;
    files.push(live.to_owned());
    let here = files
        .iter()
        .position(|file| fs::metadata(file).is_ok_and(|metadata| identity(&metadata) == current));
    // A file that is gone was the oldest.
    let next = here.map_or(0, |here| here + 1);
    Ok(files.into_iter().skip(next).find(|file| file.exists()))
}

/// What tells files apart whatever their names.
fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Runs blocking work beside the runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// An error that names its file.
fn named(error: &io::Error, path: &Path) -> io::Error {
    let text = match error.kind() {
        io::ErrorKind::NotFound => {
            format!(
                "no log at {}: the container has not started, or its log was removed",
                path.display()
            )
        }
        _ => format!("read log {}: {error}", path.display()),
    };
    io::Error::new(error.kind(), text)
}

#[cfg(test)]
mod tests;
