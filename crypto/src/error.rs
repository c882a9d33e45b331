//! What goes wrong, in sentences.

/// Result of this crate's operations.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure. `Display` is the sentence that a person is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are no LUKS header, or contradict themselves.
    #[error("{0}")]
    Corrupt(String),
    /// A cipher, mode or hash that is not known, or not in this combination.
    #[error("{0}")]
    Unsupported(String),
    /// The caller's options or secrets do not fit.
    #[error("{0}")]
    Invalid(String),
    /// A named secret does not exist.
    #[error("{0}")]
    NotFound(String),
}

impl Error {
    pub(crate) fn corrupt(text: impl Into<String>) -> Self {
        Self::Corrupt(text.into())
    }

    pub(crate) fn unsupported(text: impl Into<String>) -> Self {
        Self::Unsupported(text.into())
    }

    /// A failure that the caller's options or secrets are the reason of.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }
}
