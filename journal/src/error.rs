//! Errors of the floor: a kind for the program, context for the reader, the source for the chain.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Result of this crate's operations.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed operation on a file.
///
/// `Display` says what was attempted on which file; the reason is the [`source`](std::error::Error::source)
/// and, as the operating system words it, [`Error::reason`].
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    op: &'static str,
    path: PathBuf,
    offset: Option<u64>,
    /// What a person is told instead of the usual sentence.
    told: Option<String>,
    source: Option<io::Error>,
}

/// Small, stable classification to match on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No such file or directory.
    NotFound,
    /// Permission denied, or a read-only filesystem.
    Denied,
    /// The name exists.
    Exists,
    /// No space or quota left.
    NoSpace,
    /// A claim of another process conflicts; which one says [`Error::op`].
    Locked,
    /// The file, filesystem or kernel has no such operation.
    Unsupported,
    /// The file ended before the range did.
    UnexpectedEnd,
    /// An earlier sync of this handle failed; nothing on it is trusted again.
    Latched,
    /// The user asked to stop.
    Interrupted,
    /// A transaction is decided but not finished: recovery finishes it.
    Pending,
    /// An unfinished transaction and what somebody else did since do not fit together.
    Conflict,
    /// Anything else the operating system reported.
    Io,
}

impl Error {
    /// An error of the operating system.
    pub fn os(op: &'static str, path: &Path, offset: Option<u64>, source: io::Error) -> Self {
        let kind = match source.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => ErrorKind::NotFound,
            Some(libc::EACCES | libc::EPERM | libc::EROFS) => ErrorKind::Denied,
            Some(libc::EEXIST) => ErrorKind::Exists,
            Some(libc::ENOSPC | libc::EDQUOT) => ErrorKind::NoSpace,
            Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::ENOTTY) => ErrorKind::Unsupported,
            _ => ErrorKind::Io,
        };
        Self { kind, op, path: path.to_owned(), offset, told: None, source: Some(source) }
    }

    /// An error that this crate found by itself.
    pub fn new(kind: ErrorKind, op: &'static str, path: &Path, offset: Option<u64>) -> Self {
        Self { kind, op, path: path.to_owned(), offset, told: None, source: None }
    }

    /// The same, told by a sentence of its own.
    pub(crate) fn saying(self, sentence: impl Into<String>) -> Self {
        Self { told: Some(sentence.into()), ..self }
    }

    /// The same, as another kind.
    pub(crate) fn into_kind(self, kind: ErrorKind) -> Self {
        Self { kind, ..self }
    }

    /// The same, about a file that the caller knows by another name.
    pub(crate) fn about(self, path: &Path) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    /// The classification.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What was attempted, as a verb phrase; for [`ErrorKind::Locked`] the whole complaint.
    pub fn op(&self) -> &'static str {
        self.op
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The operating system's error number, if it reported one.
    pub fn os_code(&self) -> Option<i32> {
        self.source.as_ref().and_then(io::Error::raw_os_error)
    }

    /// The reason alone, worded as `strerror` does ("No such file or directory"); for
    /// [`ErrorKind::Locked`] the complaint, and where there is a sentence of its own, that, such as what
    /// a person can do about it.
    pub fn reason(&self) -> String {
        match (self.os_code(), self.kind) {
            (_, ErrorKind::Pending | ErrorKind::Conflict | ErrorKind::Denied) if self.told.is_some() => {
                self.to_string()
            }
            (Some(code), _) => strerror(code),
            (None, ErrorKind::Locked) => self.op.to_owned(),
            (None, ErrorKind::Interrupted) => strerror(libc::EINTR),
            (None, ErrorKind::Pending | ErrorKind::Conflict) => strerror(libc::EBUSY),
            (None, ErrorKind::Unsupported) => strerror(libc::ENOTSUP),
            (None, ErrorKind::UnexpectedEnd | ErrorKind::Latched | ErrorKind::Io) => strerror(libc::EIO),
            (None, ErrorKind::NotFound) => strerror(libc::ENOENT),
            (None, ErrorKind::Denied) => strerror(libc::EACCES),
            (None, ErrorKind::Exists) => strerror(libc::EEXIST),
            (None, ErrorKind::NoSpace) => strerror(libc::ENOSPC),
        }
    }
}

/// The C library's text for an error number.
pub(crate) fn strerror(code: i32) -> String {
    reason(&io::Error::from_raw_os_error(code))
}

/// An input or output error as the C library words it, without Rust's "(os error N)".
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(told) = &self.told {
            return f.write_str(told);
        }
        if self.kind == ErrorKind::Locked {
            return f.write_str(self.op);
        }
        write!(f, "Could not {} '{}'", self.op, self.path.display())?;
        if let Some(offset) = self.offset {
            write!(f, " at offset {offset}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
