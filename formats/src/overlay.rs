//! What can be done to images that stand on others.

use crate::{BackingReference, Error, Result};

/// What differencing disks of Hyper-V's formats remember of the disk that they stand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskIdentity {
    /// Which disk it is, or which content it has, as the format stores it.
    pub id: [u8; 16],
    /// When its file was last changed, in nanoseconds since 1970.
    pub modified: u64,
    /// Guest bytes in a logical sector.
    pub sector_size: u64,
}

/// Changes of what shows through an image. As with all of a [`Writer`](crate::Writer), they are
/// visible after its commit.
pub trait Overlay {
    /// Names another backing image, or none.
    ///
    /// What the image holds stays; what it does not hold is read from there by whoever opens it
    /// next, while this opened image goes on reading from the one that it was opened with.
    fn set_backing(&self, reference: Option<&BackingReference>) -> Result<()>;

    /// Gives up everything that the image holds, so that all of its backing image shows through.
    /// Its snapshots and bitmaps stay. Unsupported where the format cannot.
    fn make_empty(&self) -> Result<()> {
        Err(Error::unsupported("Operation not supported"))
    }
}
