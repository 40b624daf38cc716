//! Image archives as streams: what is in them, and their files once more. Nothing is unpacked to disk
//! or memory; an archive is read once for its table of contents and once for the blobs that are wanted.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::base::ids::hex;
use crate::image::documents::DOCUMENT_LIMIT;

/// The size of a piece: small enough for HTTP/2's window, where larger ones are slower.
const PIECE: usize = 32 << 10;

/// How many bytes of documents one archive may hold in all.
const DOCUMENTS_LIMIT: u64 = 64 << 20;

/// How a file is compressed, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

impl Compression {
    /// Looks at a file's first bytes.
    fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A zstd stream may begin with a frame that is to be skipped.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// The suffix of a layer's media type.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => "+gzip",
            Self::Zstd => "+zstd",
        }
    }
}

/// A file in an archive.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Its place among the archive's entries.
    pub(super) ordinal: usize,
    /// The digest of its bytes.
    pub(super) digest: String,
    /// Its size.
    pub(super) size: u64,
    /// How it is compressed.
    pub(super) compression: Compression,
    /// Its bytes, if it looks like a JSON document.
    pub(super) document: Option<Vec<u8>>,
}

/// An archive's table of contents.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// The files by their paths.
    files: BTreeMap<String, Entry>,
    /// Links by their paths, and where they point.
    links: BTreeMap<String, String>,
}

impl Contents {
    /// Reads a whole archive once.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let mut contents = Self::default();
        let mut documents = 0;
        for_each_entry(path, |ordinal, entry| {
            let name = clean(&entry.path()?.to_string_lossy(), "");
            match entry.header().entry_type() {
                tar::EntryType::Symlink | tar::EntryType::Link => {
                    let symbolic = entry.header().entry_type() == tar::EntryType::Symlink;
                    let target = entry.link_name()?.unwrap_or_default();
                    let base = if symbolic { parent(&name) } else { "" };
                    contents.links.insert(name.clone(), clean(&target.to_string_lossy(), base));
                }
                kind if kind.is_file() => {
                    let file = Entry::read(ordinal, entry, &mut documents)?;
                    contents.files.insert(name, file);
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(contents)
    }

    /// The file at a path, links followed.
    pub(super) fn file(&self, path: &str) -> Option<&Entry> {
        let mut path = clean(path, "");
        for _ in 0..8 {
            if let Some(file) = self.files.get(&path) {
                return Some(file);
            }
            path.clone_from(self.links.get(&path)?);
        }
        None
    }
}

impl Entry {
    /// Reads an entry to its end.
    fn read(ordinal: usize, entry: &mut impl SizedRead, documents: &mut u64) -> io::Result<Self> {
        let size = entry.expected();
        let mut hash = Sha256::new();
        let mut buffer = vec![0; PIECE];
        let mut document = None;
        let mut compression = Compression::None;
        let mut read = 0;
        loop {
            let count = fill(entry, &mut buffer)?;
            let piece = &buffer[..count];
            if read == 0 {
                compression = Compression::of(piece);
                let looks_like_json = matches!(piece.first(), Some(b'{' | b'['));
                document = (looks_like_json && size <= DOCUMENT_LIMIT).then(Vec::new);
            }
            hash.update(piece);
            read += count as u64;
            if let Some(document) = &mut document {
                document.extend_from_slice(piece);
            }
            if count < buffer.len() {
                break;
            }
        }
        if read != size {
            return Err(truncated());
        }
        if document.is_some() {
            *documents += size;
        }
        if *documents > DOCUMENTS_LIMIT {
            return Err(io::Error::other("holds more than 64 MiB of JSON documents"));
        }
        let digest = format!("sha256:{}", hex(&hash.finalize()));
        Ok(Self { ordinal, digest, size, compression, document })
    }
}

/// An entry that is being sent: which one, and its pieces.
pub(super) type Sending = (usize, mpsc::Receiver<Vec<u8>>);

/// Reads an archive again and sends the wanted entries, one after the other. Ends early and without an
/// error when the receiver leaves: it knows why it did.
pub(super) fn send(
    path: &Path,
    wanted: &BTreeSet<usize>,
    out: &mpsc::Sender<Sending>,
) -> io::Result<()> {
    for_each_entry(path, |ordinal, entry| {
        if !wanted.contains(&ordinal) || out.is_closed() {
            return Ok(());
        }
        let (pieces, receiver) = mpsc::channel(2);
        if out.blocking_send((ordinal, receiver)).is_err() {
            return Ok(());
        }
        loop {
            let mut piece = vec![0; PIECE];
            let count = fill(entry, &mut piece)?;
            piece.truncate(count);
            if count > 0 && pieces.blocking_send(piece).is_err() {
                return Ok(());
            }
            if count < PIECE {
                return Ok(());
            }
        }
    })
}

/// A reader that knows how much it should give.
trait SizedRead: Read {
    /// How much.
    fn expected(&self) -> u64;
}

impl<R: Read> SizedRead for tar::Entry<'_, R> {
    fn expected(&self) -> u64 {
        self.size()
    }
}

/// Visits each entry of an archive, in order.
fn for_each_entry(
    path: &Path,
    mut visit: impl FnMut(usize, &mut tar::Entry<'_, Box<dyn Read>>) -> io::Result<()>,
) -> io::Result<()> {
    let mut archive = tar::Archive::new(open(path)?);
    for (ordinal, entry) in archive.entries()?.enumerate() {
        visit(ordinal, &mut entry?)?;
    }
    Ok(())
}

/// Opens an archive and takes off its compression.
fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut file = BufReader::with_capacity(64 << 10, File::open(path)?);
    Ok(match Compression::of(file.fill_buf()?) {
        Compression::None => Box::new(file),
        Compression::Gzip => Box::new(MultiGzDecoder::new(file)),
        Compression::Zstd => {
            Box::new(Zstd { source: file, decoder: FrameDecoder::new(), inside: false })
        }
    })
}

/// A zstd stream of any number of frames.
struct Zstd<R> {
    /// The compressed bytes.
    source: R,
    /// The decoder of the frame at hand.
    decoder: FrameDecoder,
    /// Whether there is one.
    inside: bool,
}

impl<R: BufRead> Zstd<R> {
    /// Begins the next frame; `false` at the end of the stream.
    fn begin_frame(&mut self) -> io::Result<bool> {
        if self.source.fill_buf()?.is_empty() {
            return Ok(false);
        }
        match self.decoder.reset(&mut self.source) {
            Ok(()) => self.inside = true,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                io::copy(&mut (&mut self.source).take(length.into()), &mut io::sink())?;
            }
            Err(error) => return Err(io::Error::other(error)),
        }
        Ok(true)
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.inside {
                if !self.begin_frame()? {
                    return Ok(0);
                }
                continue;
            }
            if self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(io::Error::other)?;
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            self.inside = !self.decoder.is_finished();
        }
    }
}

/// Reads until the buffer is full or the reader ends.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The error of an archive that ends too soon.
fn truncated() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "ends in the middle of a file; copy it again")
}

/// The directory part of a path.
fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// A path below `base` without dots. The result is only ever looked up in the table of contents.
fn clean(path: &str, base: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
