//! This command's own terminal: its size, and its raw mode, in which every key goes to somebody else.

use std::io::{self, IsTerminal};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Whether standard input is a terminal.
pub fn there() -> bool {
    io::stdin().is_terminal()
}

/// Columns and rows.
pub fn size() -> Option<(u32, u32)> {
    let size = tcgetwinsize(io::stdin()).ok()?;
    Some((size.ws_col.into(), size.ws_row.into()))
}

/// The terminal in raw mode; it is as before once this is dropped.
#[derive(Debug)]
pub struct Raw {
    /// How the terminal was.
    before: Termios,
}

impl Raw {
    /// Puts the terminal into raw mode.
    pub fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // What was typed and not read belongs to the shell again. A terminal that is gone needs no mode.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}
