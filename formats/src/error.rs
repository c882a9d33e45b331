//! Errors of image formats: a kind for the program, a sentence for the reader, the source for the
//! chain.

use std::error::Error as StdError;
use std::fmt;

/// Result of this crate's operations.
pub type Result<T> = std::result::Result<T, Error>;

/// Small, stable classification to match on. New formats need no new kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The floor failed: see the source.
    Io,
    /// The bytes are not of this format, or contradict it.
    Corrupt,
    /// The format or feature is known, but tximg cannot do this with it.
    Unsupported,
    /// The caller's arguments do not fit.
    Invalid,
    /// A file, snapshot, bitmap or option that was named does not exist.
    NotFound,
    /// The gate refused to open a file that an image named.
    Refused,
    /// A limit was exceeded.
    TooLarge,
}

/// A failed operation on an image.
///
/// `Display` is this error's own sentence; [`Error::report`] is the whole chain as a person is
/// told it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A new error with its sentence (no final period, no source text).
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, source: None }
    }

    /// Malformed bytes.
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// Arguments that do not fit.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Something tximg cannot do.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// This error as the reason of another sentence.
    pub fn context(self, message: impl Into<String>) -> Self {
        let kind = self.kind;
        Self { kind, message: message.into(), hint: None, source: Some(Box::new(self)) }
    }

    /// The reason of this sentence alone, if it is one of this crate's.
    #[must_use]
    pub fn into_reason(mut self) -> Self {
        match self.source.take().map(|source| source.downcast::<Self>()) {
            Some(Ok(reason)) => *reason,
            Some(Err(source)) => Self { source: Some(source), ..self },
            None => self,
        }
    }

    /// A second line for the reader: what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The classification.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The advice, the nearest one in the chain.
    pub fn hint(&self) -> Option<&str> {
        match (&self.hint, self.source()) {
            (Some(hint), _) => Some(hint),
            (None, Some(source)) => source.downcast_ref::<Self>().and_then(Self::hint),
            (None, None) => None,
        }
    }

    /// The floor's error at the end of the chain, if one is there.
    pub fn floor(&self) -> Option<&journal::Error> {
        let mut source = self.source();
        while let Some(error) = source {
            if let Some(floor) = error.downcast_ref::<journal::Error>() {
                return Some(floor);
            }
            source = error.source();
        }
        None
    }

    /// The class of the failure, as `strerror` words it: what is told where nobody told the reason.
    pub fn class(&self) -> String {
        let class = match (self.floor(), self.kind) {
            (Some(floor), _) => return floor.reason(),
            (None, ErrorKind::Io | ErrorKind::Corrupt) => "Input/output error",
            (None, ErrorKind::Unsupported) => "Operation not supported",
            (None, ErrorKind::Invalid) => "Invalid argument",
            (None, ErrorKind::NotFound) => "No such file or directory",
            (None, ErrorKind::Refused) => "Operation not permitted",
            (None, ErrorKind::TooLarge) => "File too large",
        };
        class.to_owned()
    }

    /// The whole chain, joined by `": "`, the floor's part as `strerror` words it.
    pub fn report(&self) -> String {
        let mut text = self.message.clone();
        let mut source = self.source();
        while let Some(error) = source {
            if let Some(floor) = error.downcast_ref::<journal::Error>() {
                append(&mut text, &floor.reason());
                break;
            }
            append(&mut text, &error.to_string());
            source = error.source();
        }
        text
    }
}

fn append(text: &mut String, part: &str) {
    if !text.is_empty() && !part.is_empty() {
        text.push_str(": ");
    }
    text.push_str(part);
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

impl From<journal::Error> for Error {
    /// A failure of the floor without a sentence of its own: the report is the reason alone.
    fn from(source: journal::Error) -> Self {
        let hint = (source.kind() == journal::ErrorKind::Locked).then(|| {
            format!(
                "Is another process using the image [{}]?",
                crate::shown::shown(source.path().as_os_str())
            )
        });
        Self { kind: ErrorKind::Io, message: String::new(), hint, source: Some(Box::new(source)) }
    }
}

/// Adds a sentence to a failure on its way up.
pub trait ResultExt<T> {
    /// Wraps the error as the reason of `message`.
    fn context(self, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Error>> ResultExt<T> for std::result::Result<T, E> {
    fn context(self, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| error.into().context(message()))
    }
}
