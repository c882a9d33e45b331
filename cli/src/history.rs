//! What a command did is remembered in the catalog.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::SystemTime;

use journal::Fs;
use store::catalog::{Ending, Event, record};

use crate::program::Program;
use crate::report::Outcome;

/// Exit codes from here on tell of a signal.
const SIGNALLED: u8 = 128;

/// A command that has begun.
#[derive(Debug)]
pub(crate) struct Begun {
    command: Vec<OsString>,
    started: SystemTime,
}

impl Begun {
    /// A command that begins now.
    pub(crate) fn now(program: &Program, name: &str, args: &[OsString]) -> Self {
        let words = [program.name()].into_iter().chain(name.split(' '));
        let command = words.map(OsString::from).chain(args.iter().cloned()).collect();
        Self { command, started: SystemTime::now() }
    }

    /// It has ended, and changed these images or tried to.
    pub(crate) fn ended(&self, fs: &dyn Fs, changed: &[PathBuf], outcome: &Outcome) {
        let (ending, code, message) = match outcome {
            Ok(code) => (Ending::Done, *code, String::new()),
            Err(failure) if failure.code() >= SIGNALLED => {
                (Ending::Interrupted, failure.code(), failure.text())
            }
            Err(failure) => (Ending::Failed, failure.code(), failure.text()),
        };
        record(
            fs,
            &Event {
                command: &self.command,
                started: self.started,
                ended: SystemTime::now(),
                ending,
                code,
                message: &message,
                changed,
            },
        );
    }
}
