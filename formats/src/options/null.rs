//! What `null-co` and `null-aio` can be told: disks that keep nothing.

use std::ffi::OsStr;

use super::dict::{Dict, Scalar};
use super::driver::GenericOptions;
use super::take;
use crate::{Error, Result};

/// Bytes of such a disk, if nobody says how many.
const DEFAULT_SIZE: u64 = 1 << 30;

/// A disk that keeps nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct NullNode {
    /// `null-co` or `null-aio`.
    pub driver: &'static str,
    /// Bytes of the disk.
    pub size: u64,
    /// The options that change what a guest sees, as they were spelled.
    pub spelled: Vec<(&'static str, Scalar)>,
    /// What every node is told.
    pub generic: GenericOptions,
    /// Options that the driver does not know.
    pub unknown: Dict,
}

impl NullNode {
    /// Takes what the driver knows. Such a disk has one name only.
    pub(super) fn take(
        driver: &'static str,
        filename: Option<&OsStr>,
        generic: GenericOptions,
        mut options: Dict,
    ) -> Result<Self> {
        let only = format!("{driver}://");
        if filename.is_some_and(|name| name != OsStr::new(&only)) {
            return Err(Error::invalid(format!("The only allowed filename for this driver is '{only}'")));
        }
        let spelled = options.spelled(&["read-zeroes", "size"]);
        let size = take::size(&mut options, "size")?.unwrap_or(DEFAULT_SIZE);
        // It always reads as zeroes, and at once.
        take::switch(&mut options, "read-zeroes")?;
        if take::number(&mut options, "latency-ns")?.is_some_and(|nanoseconds| nanoseconds > i64::MAX as u64)
        {
            return Err(Error::invalid("latency-ns is invalid"));
        }
        Ok(Self { driver, size, spelled, generic, unknown: options })
    }
}
