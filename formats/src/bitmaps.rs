//! Changing the persistent bitmaps of an image.

use std::ops::Range;

use crate::{BitmapInfo, Error, Result};

/// Changes to persistent bitmaps. They are seen by others with [`crate::Writer::commit`].
///
/// Bitmaps are named by their place in [`BitmapWriter::list`].
pub trait BitmapWriter {
    /// All of them as they are now.
    fn list(&self) -> Vec<BitmapInfo>;

    /// The guest bytes for each bit of a bitmap about which nobody said how many it should be.
    fn default_granularity(&self) -> u64;

    /// Makes a bitmap in which nothing is dirty, the last one in the list. Its name must be new.
    fn add(&self, bitmap: &BitmapInfo) -> Result<()>;

    /// Removes a bitmap, even one whose content cannot be trusted.
    fn remove(&self, index: usize) -> Result<()>;

    /// Makes nothing dirty.
    fn clear(&self, index: usize) -> Result<()>;

    /// Begins or ends the recording of writes.
    fn record(&self, index: usize, recording: Recording) -> Result<()>;

    /// Makes dirty what `source` tells.
    fn merge(&self, index: usize, source: &mut DirtySource<'_>) -> Result<()>;

    /// Makes a bitmap in which that is dirty what `source` tells.
    fn store(&self, bitmap: &BitmapInfo, source: &mut DirtySource<'_>) -> Result<()> {
        let list = self.list();
        if list.iter().any(|other| other.name == bitmap.name) {
            return Err(Error::invalid(format!("Bitmap already exists: {}", bitmap.name)));
        }
        self.add(bitmap)?;
        self.merge(list.len(), source)
    }

    /// Makes dirty what is dirty in another bitmap of the same image.
    fn merge_own(&self, index: usize, source: usize) -> Result<()>;
}

/// Tells every dirty run of a bitmap, in guest bytes, ascending, as [`crate::Bitmaps::visit`] does.
pub type DirtySource<'a> = dyn FnMut(&mut DirtyVisitor<'_>) -> Result<()> + 'a;

/// Is told a dirty run in guest bytes.
pub type DirtyVisitor<'a> = dyn FnMut(Range<u64>) -> Result<()> + 'a;

/// Whether writes are recorded in a bitmap when the image is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recording {
    /// They are.
    On,
    /// They are not.
    Off,
}
