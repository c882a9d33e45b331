//! Standard output: gathered, written in large pieces, and never lost without a word.

use std::cell::RefCell;
use std::io::{self, Write};

/// Gathered output is written when it is this long.
const CHUNK: usize = 64 * 1024;

/// Standard output of a command.
#[derive(Debug, Default)]
pub(crate) struct Output {
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    gathered: Vec<u8>,
    failure: Option<io::Error>,
}

impl Output {
    /// Adds text.
    pub(crate) fn print(&self, text: impl AsRef<[u8]>) {
        let mut state = self.state.borrow_mut();
        state.gathered.extend_from_slice(text.as_ref());
        if state.gathered.len() >= CHUNK {
            state.drain();
        }
    }

    /// Adds text and a line's end.
    pub(crate) fn line(&self, text: impl AsRef<[u8]>) {
        self.print(text);
        self.print("\n");
    }

    /// Writes what was gathered, so that a reader sees it now.
    pub(crate) fn flush(&self) {
        self.state.borrow_mut().drain();
    }

    /// Writes the rest; tells whether everything ever printed arrived.
    pub(crate) fn finish(&self) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.drain();
        state.failure.take().map_or(Ok(()), Err)
    }
}

impl State {
    fn drain(&mut self) {
        if self.failure.is_none() && !self.gathered.is_empty() {
            self.failure = write_stdout(&self.gathered).err();
        }
        self.gathered.clear();
    }
}

fn write_stdout(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}
