//! Taking typed values out of a dictionary, with QEMU's complaints.

use super::dict::Dict;
use crate::numbers::{self, NumberError};
use crate::{Error, Result};

/// What the reader is told about the spelling of sizes.
const SIZE_HINT: &str = "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\n\
                         and exabytes, respectively.";

/// Takes a switch.
pub(super) fn switch(options: &mut Dict, key: &str) -> Result<Option<bool>> {
    let Some(value) = options.take(key).and_then(|value| value.spelled()) else { return Ok(None) };
    match value.as_str() {
        "on" | "yes" | "true" | "y" => Ok(Some(true)),
        "off" | "no" | "false" | "n" => Ok(Some(false)),
        _ => Err(Error::invalid(format!("Parameter '{key}' expects 'on' or 'off'"))),
    }
}

/// Takes a number of bytes.
pub(super) fn size(options: &mut Dict, key: &str) -> Result<Option<u64>> {
    let Some(value) = options.take(key).and_then(|value| value.spelled()) else { return Ok(None) };
    numbers::parse_size(&value).map(Some).map_err(|error| match error {
        NumberError::Range => {
            Error::invalid(format!("Value '{value}' is out of range for parameter '{key}'"))
        }
        NumberError::Syntax => {
            Error::invalid(format!("Parameter '{key}' expects a non-negative number below 2^64"))
                .with_hint(SIZE_HINT)
        }
    })
}

/// Takes a number.
pub(super) fn number(options: &mut Dict, key: &str) -> Result<Option<u64>> {
    let Some(value) = options.take(key).and_then(|value| value.spelled()) else { return Ok(None) };
    numbers::parse_u64(&value).map(Some).map_err(|error| {
        Error::invalid(match error {
            NumberError::Range => format!("Value '{value}' is too large for parameter '{key}'"),
            NumberError::Syntax => format!("Parameter '{key}' expects a number"),
        })
    })
}

/// Takes one of a few words.
pub(super) fn choice<T: Copy>(options: &mut Dict, key: &str, words: &[(&str, T)]) -> Result<Option<T>> {
    let Some(value) = options.take(key).and_then(|value| value.spelled()) else { return Ok(None) };
    match words.iter().find(|(word, _)| *word == value) {
        Some((_, meaning)) => Ok(Some(*meaning)),
        None => Err(Error::invalid(format!("invalid parameter value: {value}"))),
    }
}
