//! Changing the internal snapshots of an image.

use crate::Result;

/// Changes to internal snapshots. They are seen by others with [`crate::Writer::commit`].
///
/// Snapshots are named by their place in [`crate::Snapshots::list`].
pub trait SnapshotWriter {
    /// Whether this image can have snapshots.
    fn supported(&self) -> Result<()>;

    /// Keeps the disk as it is now under a new id.
    fn create(&self, new: &NewSnapshot) -> Result<()>;

    /// Makes the disk what it was when the snapshot was taken, its size included.
    fn apply(&self, index: usize) -> Result<()>;

    /// Forgets a snapshot and gives back what only it needed.
    fn delete(&self, index: usize) -> Result<()>;
}

/// An internal snapshot to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSnapshot {
    /// The name a person gave, as [`crate::shown`] has it.
    pub name: String,
    /// When it is taken: seconds since 1970.
    pub date_seconds: u32,
    /// When it is taken: nanoseconds within the second.
    pub date_nanoseconds: u32,
}
