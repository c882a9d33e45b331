//! Changing the size of the virtual disk.

use std::ops::Range;

use crate::create::Preallocation;
use crate::{Error, ErrorKind, Result};

/// The largest disk that QEMU handles, in bytes.
pub const MAX_DISK_SIZE: u64 = (1 << 63) - (1 << 30);

/// Changes the size. As with all of a [`Writer`](crate::Writer), others see it with its commit, while
/// [`Driver::virtual_size`](crate::Driver::virtual_size) tells the new size at once.
pub trait Resize {
    /// Gives the disk another size. Of a smaller one, what lies beyond is lost; of a larger one, the
    /// new part reads as zeroes, but for what the answer tells.
    fn resize(&self, request: &NewSize) -> Result<Remainder>;

    /// Does what the answer tells. No bitmap takes note of it: a guest changes nothing by it.
    fn settle(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        work()
    }
}

/// The size that a disk is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewSize {
    /// In bytes.
    pub size: u64,
    /// What is allocated for a new part.
    pub preallocation: Preallocation,
    /// What is behind a new part.
    pub behind: Behind,
    /// Whether a device, which keeps its own size, may be larger.
    pub fit: Fit,
}

/// How a disk's size is met by something whose size cannot be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It has that size.
    Exact,
    /// It has that size or a larger one.
    AtLeast,
}

/// What a backing image has where an image over it grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// Nothing: its end is before.
    Nothing,
    /// Bytes, which must not show.
    Bytes,
}

/// What is left to be done after a resize, before the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remainder {
    /// Nothing.
    None,
    /// These guest bytes, in the cluster that the old disk ended in, are to read as zeroes.
    Clear(Range<u64>),
    /// These must be written as zeroes, whatever they read as.
    Write(Range<u64>),
}

impl NewSize {
    /// That size, nothing allocated for a new part and nothing behind it.
    pub fn plain(size: u64, fit: Fit) -> Self {
        Self { size, preallocation: Preallocation::Off, behind: Behind::Nothing, fit }
    }

    /// Refuses sizes that no disk of any format can have.
    pub fn check_range(&self) -> Result<()> {
        if self.size > i64::MAX as u64 {
            return Err(Error::invalid("Image size cannot be negative"));
        }
        if self.size > MAX_DISK_SIZE {
            let text = format!("offset({}) exceeds maximum({MAX_DISK_SIZE})", self.size);
            return Err(Error::new(ErrorKind::Io, text));
        }
        Ok(())
    }

    /// Whether the new part is given its clusters in one run.
    pub(crate) fn is_reserved(&self) -> bool {
        matches!(self.preallocation, Preallocation::Falloc | Preallocation::Full)
    }
}
