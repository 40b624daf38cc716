//! The CRI log format: `<time> <stdout|stderr> <P|F> <content>`, one piece of a container's line each.

/// The longest piece. A longer line becomes several: all but the last are marked `P`.
pub const PIECE: usize = 16 << 10;

/// How much longer than its content a written piece can be.
pub const OVERHEAD: usize = 64;

/// Where a container wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout = 0,
    /// Standard error.
    Stderr = 1,
}

impl Stream {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// Its name in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// A piece as it stands in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// When it was written.
    pub at: &'a str,
    /// Where.
    pub stream: Stream,
    /// Whether the line goes on.
    pub partial: bool,
    /// Its bytes.
    pub content: &'a [u8],
}

impl<'a> Piece<'a> {
    /// Reads a line of a log without its newline; `None` when it is none of this format. Tags after
    /// the first are left out, as the format asks of its readers.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let mut words = line.splitn(4, |byte| *byte == b' ');
        let at = std::str::from_utf8(words.next()?).ok().filter(|at| at.contains('T'))?;
        let stream = match words.next()? {
            b"stdout" => Stream::Stdout,
            b"stderr" => Stream::Stderr,
            _ => return None,
        };
        let partial = match words.next()? {
            [b'P'] | [b'P', b':', ..] => true,
            [b'F'] | [b'F', b':', ..] => false,
            _ => return None,
        };
        Some(Self { at, stream, partial, content: words.next().unwrap_or_default() })
    }

    /// Appends the piece to `out`, newline included.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.at.as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.stream.as_str().as_bytes());
        out.extend_from_slice(if self.partial { b" P " } else { b" F " });
        out.extend_from_slice(self.content);
        out.push(b'\n');
    }
}

/// Cuts one stream into pieces, within a buffer that never grows.
#[derive(Debug)]
pub struct Splitter {
    /// Room for the longest piece and a CR and LF behind it.
    buffer: Box<[u8]>,
    /// How much of it is filled.
    filled: usize,
}

impl Default for Splitter {
    fn default() -> Self {
        Self { buffer: vec![0; PIECE + 2].into_boxed_slice(), filled: 0 }
    }
}

impl Splitter {
    /// Where the next bytes belong; never empty.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.buffer[self.filled..]
    }

    /// Takes the `count` bytes that were put into [`Self::room`] and emits every piece that is complete,
    /// with whether its line goes on.
    pub fn advance(&mut self, count: usize, mut emit: impl FnMut(bool, &[u8])) {
        let before = self.filled;
        self.filled += count;
        let mut start = 0;
        let mut searched = before;
        while let Some(at) = self.buffer[searched..self.filled].iter().position(|b| *b == b'\n') {
            let end = searched + at;
            let mut line = &self.buffer[start..end];
            line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.len() > PIECE {
                emit(true, &line[..PIECE]);
                line = &line[PIECE..];
            }
            emit(false, line);
            start = end + 1;
            searched = start;
        }
        self.buffer.copy_within(start..self.filled, 0);
        self.filled -= start;
        if self.filled == self.buffer.len() {
            emit(true, &self.buffer[..PIECE]);
            self.buffer.copy_within(PIECE.., 0);
            self.filled -= PIECE;
        }
    }

    /// Emits what is left when the stream ends without a newline, as a line that goes on.
    pub fn finish(&mut self, mut emit: impl FnMut(bool, &[u8])) {
        for piece in self.buffer[..self.filled].chunks(PIECE) {
            emit(true, piece);
        }
        self.filled = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Splits `input`, given in reads of at most `read` bytes.
    fn split(input: &[u8], read: usize) -> Vec<(bool, Vec<u8>)> {
        let mut splitter = Splitter::default();
        let mut pieces = Vec::new();
        let mut rest = input;
        while !rest.is_empty() {
            let room = splitter.room();
            let count = rest.len().min(read).min(room.len());
            room[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            splitter.advance(count, |partial, piece| {
                pieces.push((partial, piece.to_vec()));
            });
        }
        splitter.finish(|partial, piece| pieces.push((partial, piece.to_vec())));
        pieces
    }

    #[test]
    fn a_line_of_the_limit_is_one_piece_and_a_longer_one_is_two() {
        let mut line = vec![b'x'; PIECE];
        line.push(b'\n');
        assert_eq!(split(&line, 4096), [(false, vec![b'x'; PIECE])]);
        line.insert(PIECE, b'\r');
        assert_eq!(split(&line, 4096), [(false, vec![b'x'; PIECE])]);
        line[PIECE] = b'y';
        assert_eq!(split(&line, 4096), [(true, vec![b'x'; PIECE]), (false, b"y".to_vec())]);
    }

    #[test]
    fn text_without_a_newline_at_the_end_is_marked_as_going_on() {
        let pieces = split(b"a\r\n\nlast", 3);
        let expected: [(bool, &[u8]); 3] = [(false, b"a"), (false, b""), (true, b"last")];
        assert_eq!(pieces, expected.map(|(partial, piece)| (partial, piece.to_vec())));
    }

    #[test]
    fn lines_of_other_writers_are_read() {
        let piece = Piece::parse(b"2024-05-01T10:00:00.1+02:00 stderr P:x:y  two words ").unwrap();
        assert_eq!(
            (piece.stream, piece.partial, piece.content),
            (Stream::Stderr, true, &b" two words "[..])
        );
        assert_eq!(Piece::parse(b"2024-05-01T10:00:00Z stdout F").unwrap().content, b"");
        for line in [
            &b""[..],
            b"plain text of a tool",
            b"2024-05-01T10:00:00Z stdin F x",
            b"\xff stdout F x",
        ] {
            assert_eq!(Piece::parse(line), None);
        }
    }

    proptest! {
        #[test]
        fn joined_pieces_are_what_was_written(
            lines in prop::collection::vec((0usize..40_000, any::<u8>()), 0..6),
            read in 1usize..70_000,
            ended: bool,
        ) {
            let fill = |byte: u8| if matches!(byte, b'\n' | b'\r') { b'.' } else { byte };
            let mut input = lines.iter().flat_map(|(size, byte)| {
                let mut line = vec![fill(*byte); *size];
                line.push(b'\n');
                line
            }).collect::<Vec<u8>>();
            if !ended {
                input.pop();
            }
            let mut joined = Vec::new();
            for (partial, piece) in split(&input, read) {
                prop_assert!(piece.len() <= PIECE);
                joined.extend_from_slice(&piece);
                if !partial {
                    joined.push(b'\n');
                }
            }
            prop_assert_eq!(joined, input);
        }
    }
}
