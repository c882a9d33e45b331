//! Standard output: gathered, written in large pieces, and never lost without a word.

mod closed;
pub(crate) mod node;
pub(crate) mod snapshots;
pub(crate) mod time;
pub(crate) mod words;

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Gathered output is written when it is this long.
const CHUNK: usize = 64 * 1024;

/// Standard output of a command, from any thread.
#[derive(Debug, Default)]
pub(crate) struct Output {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    gathered: Vec<u8>,
    /// Nothing is written: somebody takes what was gathered.
    is_kept: bool,
    failure: Option<io::Error>,
}

impl Output {
    /// Output that is kept for who asks for it.
    pub(crate) fn kept() -> Self {
        Self { state: Mutex::new(State { is_kept: true, ..State::default() }) }
    }

    /// What was gathered.
    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.lock().gathered)
    }

    /// Adds text.
    pub(crate) fn print(&self, text: impl AsRef<[u8]>) {
        let mut state = self.lock();
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

    /// Drops what was gathered and not written yet.
    pub(crate) fn forget(&self) {
        self.lock().gathered.clear();
    }

    /// Writes what was gathered, so that a reader sees it now.
    pub(crate) fn flush(&self) {
        self.lock().drain();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the rest; tells whether everything ever printed arrived.
    pub(crate) fn finish(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.drain();
        state.failure.take().map_or(Ok(()), Err)
    }
}

impl State {
    fn drain(&mut self) {
        if self.is_kept {
            return;
        }
        if self.failure.is_none() && !self.gathered.is_empty() {
            self.failure = write_stdout(&self.gathered).err();
        }
        self.gathered.clear();
    }
}

fn write_stdout(bytes: &[u8]) -> io::Result<()> {
    if closed::at_start() {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}
