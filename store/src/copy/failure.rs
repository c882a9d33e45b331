//! What a failure is told to have happened to.

use formats::error::ResultExt;
use formats::{Error, Result};

use super::{Beneath, Copy, Unreadable};

/// What was being done when something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// Asking what the sources hold.
    Asking,
    /// Reading the sources.
    Reading,
    /// Reading what will be beneath the target instead.
    Comparing,
    /// Writing to the target.
    Writing,
}

impl Copy<'_> {
    /// Tells what was done at that byte, if it failed.
    pub(super) fn tell<T, E: Into<Error>>(
        &self,
        doing: Doing,
        at: u64,
        result: std::result::Result<T, E>,
    ) -> Result<T> {
        let replaces = matches!(self.beneath, Beneath::Replaced(_));
        let as_dd = matches!(self.unreadable, Unreadable::FailsAsRead);
        match (doing, replaces) {
            (Doing::Asking, false) => {
                result.context(|| format!("error while reading block status at offset {at}"))
            }
            (Doing::Asking, true) => result.context(|| "error while reading image metadata".to_owned()),
            (Doing::Reading, false) if as_dd => {
                result.context(|| "error while reading from input image file".to_owned())
            }
            (Doing::Writing, false) if as_dd => {
                result.context(|| "error while writing to output image file".to_owned())
            }
            (Doing::Reading, false) => result.context(|| format!("error while reading at byte {at}")),
            (Doing::Reading, true) => bare(result, "error while reading from old backing file"),
            (Doing::Comparing, _) => bare(result, "error while reading from new backing file"),
            (Doing::Writing, false) => result.context(|| format!("error while writing at byte {at}")),
            (Doing::Writing, true) => result.context(|| "Error while writing to COW image".to_owned()),
        }
    }
}

/// A sentence that is told without its reason, which goes to the log.
fn bare<T, E: Into<Error>>(result: std::result::Result<T, E>, sentence: &str) -> Result<T> {
    result.map_err(|error| {
        let error = error.into();
        tracing::debug!(error = %error.report(), "{sentence}");
        Error::new(error.kind(), sentence)
    })
}
