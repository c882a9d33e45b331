//! Bytes that nobody can guess.

use crate::{Error, Result};

/// Fills a buffer with random bytes of the operating system.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| Error::invalid(format!("Unable to read random bytes: {error}")))
}
