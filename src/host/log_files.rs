//! The files of one container run: the live log and those that rotation put aside.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::cri_log::{Piece, Stream};

/// How a rotated file's name ends: the time of its rotation.
const STAMP: &str = "%Y%m%d-%H%M%S";

/// How much is read at once when going backwards.
const BLOCK: usize = 64 << 10;

/// How many bytes of a line tell its stream and tag.
const HEAD: usize = 64;

/// How far to look for the beginning of a long line whose end is wanted.
const REACH: u64 = 1 << 20;

/// The name that rotation at a time gives a log.
pub(super) fn rotated_name(live: &Path, at: Timestamp) -> PathBuf {
    let mut name = live.as_os_str().to_owned();
    name.push(format!(".{}", at.strftime(STAMP)));
    name.into()
}

/// When a file was rotated, by its name.
pub(super) fn rotated_at(live: &Path, file: &Path) -> Option<Timestamp> {
    let stamp = file.to_str()?.strip_prefix(live.to_str()?)?.strip_prefix('.')?;
    let time = DateTime::strptime(STAMP, stamp).ok()?;
    time.to_zoned(TimeZone::UTC).ok().map(|time| time.timestamp())
}

/// The rotated files of a log, the oldest first.
pub(super) fn rotated(live: &Path) -> io::Result<Vec<PathBuf>> {
    let directory = live.parent().unwrap_or(Path::new("."));
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if rotated_at(live, &path).is_some() {
            files.push(path);
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Where the last lines of a log begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    /// Which of the files.
    pub(super) file: usize,
    /// The offset in it.
    pub(super) offset: u64,
    /// How many lines from there do not belong.
    pub(super) skip: u64,
}

/// Finds the last `count` lines in files that are given the oldest first, reading backwards and no
/// further than needed.
pub(super) fn last_lines(files: &[PathBuf], count: u64) -> io::Result<Start> {
    let mut search = Search { wanted: count, ..Search::default() };
    for (index, path) in files.iter().enumerate().rev() {
        let file = match File::open(path) {
            Ok(file) => file,
            // Rotation removed it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let size = file.metadata()?.len();
        if count == 0 {
            return Ok(Start { file: index, offset: size, skip: 0 });
        }
        if let Some(offset) = search.through(&file, size)? {
            let skip = search.found.saturating_sub(count);
            return Ok(Start { file: index, offset, skip });
        }
    }
    Ok(Start { file: 0, offset: 0, skip: search.found.saturating_sub(count) })
}

/// A search from a log's end towards its beginning.
#[derive(Debug, Default)]
struct Search {
    /// How many lines are wanted.
    wanted: u64,
    /// How many ends of lines were found.
    found: u64,
    /// For each stream, whether a later piece of it was seen: without one, even a piece that is marked
    /// as going on is the end of a line.
    later: [bool; 2],
    /// For each stream, whether the beginning of a wanted line may still lie further ahead.
    open: [bool; 2],
    /// How much was read since enough ends were found.
    beyond: u64,
}

impl Search {
    /// Goes through one file; returns the offset at which reading should begin, once it is found.
    fn through(&mut self, file: &File, size: u64) -> io::Result<Option<u64>> {
        let mut end = size;
        let mut behind = Vec::new();
        while end > 0 {
            let start = end.saturating_sub(BLOCK as u64);
            let length = usize::try_from(end - start).unwrap_or(BLOCK);
            let mut block = vec![0; length];
            file.read_exact_at(&mut block, start)?;
            let next: Vec<u8> = block.iter().copied().take(HEAD).collect();
            block.append(&mut behind);
            behind = next;
            for at in (0..length).rev() {
                let begins = if at == 0 { start == 0 } else { block[at - 1] == b'\n' };
                // A block's first byte begins a line if the block before ends with a newline.
                let begins = begins || (at == 0 && start > 0 && ends_line(file, start)?);
                let head = &block[at..block.len().min(at + HEAD)];
                if begins && self.line(head) {
                    return Ok(Some(start + at as u64));
                }
            }
            if self.found > self.wanted {
                self.beyond += length as u64;
            }
            end = start;
        }
        Ok(None)
    }

    /// Takes the beginning of one line of the file; `true` when reading should begin there.
    fn line(&mut self, head: &[u8]) -> bool {
        let end = head.iter().position(|byte| *byte == b'\n').unwrap_or(head.len());
        let Some(Piece { stream, partial, .. }) = Piece::parse(&head[..end]) else {
            self.found += 1;
            return self.done();
        };
        let ends = !partial || !self.later[stream as usize];
        self.later[stream as usize] = true;
        if ends {
            self.found += 1;
            self.open[stream as usize] = self.found <= self.wanted;
        }
        self.done()
    }

    /// Whether all that is wanted lies behind.
    fn done(&self) -> bool {
        let complete = !Stream::ALL.iter().any(|stream| self.open[*stream as usize]);
        self.found > self.wanted && (complete || self.beyond > REACH)
    }
}

/// Whether the byte before `offset` is a newline.
fn ends_line(file: &File, offset: u64) -> io::Result<bool> {
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset - 1)?;
    Ok(byte == [b'\n'])
}
