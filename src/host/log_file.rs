//! The live log of one container: appends, rotates, and drops whole lines when the disk takes no more.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    cri_log::{OVERHEAD, PIECE, Piece, Stream},
    log_files::{rotated, rotated_name},
    logger::LogTarget,
};

/// How much is written at once.
const BATCH: usize = PIECE + (8 << 10);

/// The live log.
#[derive(Debug)]
pub(super) struct LogFile {
    /// Where it is and when it rotates.
    target: LogTarget,
    /// The open file; none while it cannot be opened.
    file: Option<File>,
    /// Its size.
    size: u64,
    /// Pieces of one stream that are not written yet.
    batch: Vec<u8>,
    /// What was lost since writing last worked.
    lost: Lost,
    /// For each stream, whether the last piece written goes on.
    open: [bool; 2],
    /// For each stream, whether the line at hand has lost its beginning and so loses its end.
    skipping: [bool; 2],
    /// For each stream, whether the last piece written goes on but its continuation was lost.
    torn: [bool; 2],
    /// The time in the last rotated file's name.
    rotated: Timestamp,
}

/// Lines that were not written.
#[derive(Debug, Default)]
struct Lost {
    /// How many.
    lines: u64,
    /// Why.
    cause: Option<io::Error>,
}

impl LogFile {
    /// A log that is opened by the first write.
    pub(super) fn new(target: LogTarget) -> Self {
        Self {
            target,
            file: None,
            size: 0,
            batch: Vec::with_capacity(BATCH),
            lost: Lost::default(),
            open: [false; 2],
            skipping: [false; 2],
            torn: [false; 2],
            rotated: Timestamp::UNIX_EPOCH,
        }
    }

    /// Adds a piece. Every piece since the last [`Self::flush`] is of one stream.
    pub(super) fn add(&mut self, piece: Piece<'_>) {
        let stream = piece.stream;
        if self.skip(stream, piece.partial) {
            return;
        }
        if self.batch.len() + piece.content.len() + OVERHEAD > BATCH {
            self.flush(stream, piece.at);
            // The flush may have lost this line's beginning.
            if self.skip(stream, piece.partial) {
                return;
            }
        }
        piece.write(&mut self.batch);
    }

    /// Leaves out a piece whose line has lost its beginning.
    fn skip(&mut self, stream: Stream, partial: bool) -> bool {
        let skipping = self.skipping[stream as usize];
        if skipping && !partial {
            self.lost.lines += 1;
            self.skipping[stream as usize] = false;
        }
        skipping
    }

    /// Writes what was added; `at` is the time by the log's reckoning.
    pub(super) fn flush(&mut self, stream: Stream, at: &str) {
        if self.batch.is_empty() {
            return;
        }
        if let Err(cause) = self.make_ready(at) {
            self.lose(stream, 0, cause);
        } else if let Err((kept, cause)) = self.write_batch() {
            self.lose(stream, kept, cause);
        } else {
            self.note_written(stream, self.batch.len());
        }
        self.batch.clear();
    }

    /// Says what was lost, if the disk takes it now. For the end of a log.
    pub(super) fn close(&mut self, at: &str) {
        if self.lost.lines > 0 {
            // There is nobody left to tell of a failure.
            let _ = self.make_ready(at);
        }
    }

    /// Sees to an open file with room, and to a word about what was lost.
    fn make_ready(&mut self, at: &str) -> io::Result<()> {
        let incoming = self.batch.len() as u64;
        let full = self.size > 0 && self.size + incoming > self.target.max_size;
        // A line is kept in one file unless it has no end.
        let between_lines = self.open == [false; 2];
        if full && (between_lines || self.size >= self.target.max_size.saturating_mul(2)) {
            self.rotate(at);
        }
        if self.file.is_none() {
            let file = open(&self.target.path)?;
            self.size = file.metadata()?.len();
            self.file = Some(file);
        }
        if self.lost.lines > 0 || self.torn != [false; 2] {
            self.confess(at)?;
        }
        Ok(())
    }

    /// Puts the file aside and removes the oldest. Nothing of this may fail the log: whatever does not
    /// work leaves the file growing, to be tried again by the next write.
    fn rotate(&mut self, at: &str) {
        let path = &self.target.path;
        let now = at.parse().unwrap_or(Timestamp::UNIX_EPOCH);
        // Names must differ and sort even when the log fills up several times a second.
        let mut time = now.max(self.rotated + SignedDuration::from_secs(1));
        while rotated_name(path, time).exists() {
            time += SignedDuration::from_secs(1);
        }
        match fs::rename(path, rotated_name(path, time)) {
            // Somebody removed the file: what is written to it now is seen by nobody.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => return,
            Ok(()) => {}
        }
        self.rotated = time;
        self.file = None;
        self.size = 0;
        let kept = usize::try_from(self.target.max_files).unwrap_or(usize::MAX).saturating_sub(1);
        let files = rotated(path).unwrap_or_default();
        for old in files.iter().take(files.len().saturating_sub(kept)) {
            let _ = fs::remove_file(old);
        }
    }

    /// Writes the line about lost lines, and ends those that lost only their end.
    fn confess(&mut self, at: &str) -> io::Result<()> {
        let mut words = Vec::with_capacity(256);
        for stream in Stream::ALL {
            if self.torn[stream as usize] {
                Piece { at, stream, partial: false, content: b"" }.write(&mut words);
            }
        }
        if self.lost.lines > 0 {
            let cause = self.lost.cause.as_ref().map(io::Error::to_string).unwrap_or_default();
            let text = format!("podward: {} lines dropped: {cause}", self.lost.lines);
            let content = text.as_bytes();
            Piece { at, stream: Stream::Stderr, partial: false, content }.write(&mut words);
        }
        self.write_all(&words).map_err(|(_, cause)| cause)?;
        self.lost = Lost::default();
        self.torn = [false; 2];
        Ok(())
    }

    /// Writes the batch; on failure, how much of it stays: whole pieces only.
    fn write_batch(&mut self) -> Result<(), (usize, io::Error)> {
        let batch = std::mem::take(&mut self.batch);
        let outcome = self.write_all(&batch);
        self.batch = batch;
        outcome
    }

    /// Appends bytes; on failure, takes back what is no whole piece and says how much stays.
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let Some(file) = &mut self.file else {
            return Err((0, io::ErrorKind::NotFound.into()));
        };
        let mut written = 0;
        let cause = loop {
            match file.write(&bytes[written..]) {
                Ok(0) => break io::ErrorKind::WriteZero.into(),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break error,
            }
            if written == bytes.len() {
                self.size += written as u64;
                return Ok(());
            }
        };
        let kept = bytes[..written].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if let Ok(metadata) = file.metadata() {
            let size = metadata.len().saturating_sub((written - kept) as u64);
            // Should this fail, one line is garbled; there is nothing better to do.
            let _ = file.set_len(size);
            self.size = size;
        }
        Err((kept, cause))
    }

    /// Counts what of the batch was not written.
    fn lose(&mut self, stream: Stream, kept: usize, cause: io::Error) {
        self.note_written(stream, kept);
        let here = stream as usize;
        let mut goes_on = false;
        for line in lines(&self.batch[kept..]) {
            goes_on = line.partial;
            self.lost.lines += u64::from(!goes_on);
        }
        self.skipping[here] = goes_on;
        self.torn[here] |= self.open[here];
        self.open[here] = false;
        self.lost.cause = Some(cause);
    }

    /// Remembers whether the last piece written goes on.
    fn note_written(&mut self, stream: Stream, kept: usize) {
        if let Some(last) = lines(&self.batch[..kept]).last() {
            self.open[stream as usize] = last.partial;
        }
    }
}

/// The pieces of a batch.
fn lines(batch: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    batch.split_inclusive(|byte| *byte == b'\n').filter_map(Piece::parse)
}

/// Opens a log for appending, and makes its directory if that is missing.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = path.parent().unwrap_or(Path::new("/"));
            DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
            options.open(path)
        }
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "2026-01-02T03:04:05.000000000Z";

    fn target(path: &Path) -> LogTarget {
        LogTarget { path: path.to_owned(), max_size: 1 << 20, max_files: 2, terminal: false }
    }

    fn add(log: &mut LogFile, partial: bool, content: &[u8]) {
        log.add(Piece { at: AT, stream: Stream::Stdout, partial, content });
        log.flush(Stream::Stdout, AT);
    }

    #[test]
    fn lost_lines_are_counted_and_told_once_writing_works() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gone/0.log");
        // A file where the log's directory should be: nothing can be opened.
        fs::write(directory.path().join("gone"), "").unwrap();
        let mut log = LogFile::new(target(&path));
        for content in [b"one", b"two"] {
            add(&mut log, false, content);
        }
        add(&mut log, true, b"three, first half");
        fs::remove_file(directory.path().join("gone")).unwrap();
        add(&mut log, false, b"three, second half");
        add(&mut log, false, b"four");
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].starts_with(&format!("{AT} stderr F podward: 3 lines dropped: ")),
            "{text}"
        );
        assert_eq!(lines[1..], [format!("{AT} stdout F four")]);
    }

    #[test]
    fn a_line_that_loses_its_end_is_ended() {
        let mut log = LogFile::new(target(Path::new("/dev/full")));
        log.batch = format!("{AT} stdout P kept\n{AT} stdout P lost\n").into_bytes();
        let kept = log.batch.len() / 2;
        log.lose(Stream::Stdout, kept, io::ErrorKind::StorageFull.into());
        assert_eq!((log.torn, log.skipping, log.lost.lines), ([true, false], [true, false], 0));
        log.batch.clear();
        let directory = tempfile::tempdir().unwrap();
        log.target.path = directory.path().join("0.log");
        add(&mut log, false, b"the rest, which is lost too");
        add(&mut log, false, b"next");
        let text = fs::read_to_string(&log.target.path).unwrap();
        let tags: Vec<&str> = text.lines().map(|line| &line[31..]).collect();
        assert_eq!(tags[0], "stdout F ");
        assert!(tags[1].starts_with("stderr F podward: 1 lines dropped"), "{text}");
        assert_eq!(tags[2], "stdout F next");
    }

    #[test]
    fn a_log_that_somebody_removed_is_made_anew_when_it_is_full() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let mut log = LogFile::new(LogTarget {
            path: path.clone(),
            max_size: 100,
            max_files: 3,
            terminal: false,
        });
        add(&mut log, false, &[b'x'; 60]);
        fs::remove_file(&path).unwrap();
        add(&mut log, false, b"after");
        assert!(fs::read_to_string(&path).unwrap().ends_with("stdout F after\n"));
        assert_eq!(rotated(&path).unwrap(), Vec::<std::path::PathBuf>::new());
    }

    #[test]
    fn a_full_log_is_put_aside_and_the_oldest_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("7.log");
        let mut log = LogFile::new(LogTarget {
            path: path.clone(),
            max_size: 200,
            max_files: 3,
            terminal: false,
        });
        for number in 0..40 {
            add(&mut log, false, format!("line {number}").as_bytes());
        }
        let files = rotated(&path).unwrap();
        assert_eq!(files.len(), 2);
        let mut text = String::new();
        for file in files.iter().chain([&path]) {
            assert!(fs::metadata(file).unwrap().len() <= 200);
            text += &fs::read_to_string(file).unwrap();
        }
        let numbers: Vec<usize> =
            text.lines().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
        let first = numbers[0];
        assert_eq!(numbers, (first..40).collect::<Vec<_>>());
    }
}
