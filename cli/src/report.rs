//! From an error to lines on standard error and an exit code.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;

use journal::{Holder, RefusedLock};

use crate::getopt::Problem;
use crate::program::{Program, stderr_line};

/// How a command ended: its exit code, or why it did not get there.
pub(crate) type Outcome = Result<u8, Failure>;

/// Exit code of a command that did what it was asked.
pub(crate) const SUCCESS: u8 = 0;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    hint: Option<String>,
    /// The lock of somebody else that stood against it.
    refused: Option<RefusedLock>,
    code: u8,
}

#[derive(Debug)]
enum Kind {
    /// The help was asked for, which is no failure.
    Help,
    /// An option's value asked a question; this is the answer.
    Answer(String),
    /// The option parser met something it does not know.
    Getopt(OsString),
    /// The arguments do not fit; the help is pointed to.
    Usage(OsString),
    /// Anything else that is told in a line.
    Message(OsString),
    /// Everything has been said.
    Silent,
}

impl Failure {
    /// A failure told as `<program>: <message>`.
    pub(crate) fn message(message: impl Into<OsString>) -> Self {
        Self::new(Kind::Message(message.into()))
    }

    /// The same, followed by a line that points to the command's help.
    pub(crate) fn usage(message: impl Into<OsString>) -> Self {
        Self::new(Kind::Usage(message.into()))
    }

    /// What the option parser complains about.
    pub(crate) fn getopt(problem: &Problem) -> Self {
        Self::new(Kind::Getopt(problem.0.clone()))
    }

    /// Not a failure: the help is to be printed instead.
    pub(crate) fn help() -> Self {
        Self { code: SUCCESS, ..Self::new(Kind::Help) }
    }

    /// Not a failure either: an option's value asked for this text on standard output.
    pub(crate) fn answer(text: String) -> Self {
        Self { code: SUCCESS, ..Self::new(Kind::Answer(text)) }
    }

    /// A failure about which everything has been said.
    pub(crate) fn silent(code: u8) -> Self {
        Self { code, ..Self::new(Kind::Silent) }
    }

    /// The same failure with another exit code than 1.
    pub(crate) fn with_code(self, code: u8) -> Self {
        match self.kind {
            Kind::Help | Kind::Answer(_) => self,
            _ => Self { code, ..self },
        }
    }

    /// The same failure with a second line that says what to do about it.
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Whether it might have gone well without somebody else's lock.
    pub(crate) fn is_for_a_lock(&self) -> bool {
        self.refused.is_some()
    }

    /// What was asked for on standard output instead of the command's work, if anything was.
    pub(crate) fn asked(&self, help: impl FnOnce() -> String) -> Option<String> {
        match &self.kind {
            Kind::Help => Some(help()),
            Kind::Answer(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// Says it on standard error; the exit code remains.
    pub(crate) fn tell(&self, program: &Program) -> u8 {
        match &self.kind {
            Kind::Help | Kind::Answer(_) | Kind::Silent => {}
            Kind::Getopt(message) => {
                program.complain_as_invoked(message.as_bytes());
                program.point_to_help();
            }
            Kind::Usage(message) => {
                program.complain(message.as_bytes());
                program.point_to_help();
            }
            Kind::Message(message) => program.complain(message.as_bytes()),
        }
        if let Some(hint) = &self.hint {
            stderr_line(hint.as_bytes());
        }
        if let Some(refused) = self.refused.as_ref().filter(|_| !program.is_stock()) {
            stderr_line(held_by(&refused.holders()).as_bytes());
        }
        self.code
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// What it says, without the program's name.
    pub(crate) fn text(&self) -> String {
        match &self.kind {
            Kind::Help | Kind::Answer(_) | Kind::Silent => String::new(),
            Kind::Getopt(text) | Kind::Usage(text) | Kind::Message(text) => text.display().to_string(),
        }
    }

    fn new(kind: Kind) -> Self {
        Self { kind, hint: None, refused: None, code: 1 }
    }
}

/// Names those who stand against a lock.
fn held_by(holders: &[Holder]) -> String {
    let name = |holder: &Holder| match holder.pid == std::process::id() {
        true => "this command itself".to_owned(),
        false => format!("{} (process {})", holder.program, holder.pid),
    };
    match holders {
        [] => "It is in use by an unknown process.".to_owned(),
        holders => format!("It is in use by {}.", holders.iter().map(name).collect::<Vec<_>>().join(", ")),
    }
}

impl From<formats::Error> for Failure {
    fn from(error: formats::Error) -> Self {
        let refused = error.floor().and_then(RefusedLock::of);
        Self { hint: error.hint().map(str::to_owned), refused, ..Self::message(error.report()) }
    }
}

impl From<journal::Error> for Failure {
    fn from(error: journal::Error) -> Self {
        formats::Error::from(error).into()
    }
}

impl From<store::catalog::CatalogError> for Failure {
    fn from(error: store::catalog::CatalogError) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self { hint, ..Self::message(error.to_string()) }
    }
}

/// Output that could not be written. A reader that went away wants no more words.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::silent(1),
            _ => Self::message(format!("Could not write output: {}", journal::reason(&error))),
        }
    }
}
