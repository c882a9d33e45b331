//! What a container of bytes must do.

use std::fmt::Debug;
use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use crate::{Claim, Result};

/// A container of bytes: a regular file, a block device, or a simulated one.
///
/// All methods are positioned, blocking, and safe to call from several threads. Offsets and
/// lengths are bytes. Errors carry the path and the offset.
pub trait Disk: Debug + Send + Sync {
    /// The current length in bytes. For a device, its capacity.
    fn len(&self) -> Result<u64>;

    /// Whether the length is zero.
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buf` from `offset`; returns fewer bytes than asked only where the disk ends.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize>;

    /// Fills `buf` from `offset`, with zeroes for what lies past the end.
    fn read_padded(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let got = self.read_at(offset, buf)?;
        buf[got..].fill(0);
        Ok(())
    }

    /// Fills `buf` from `offset`, or fails with [`crate::ErrorKind::UnexpectedEnd`].
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()>;

    /// Writes all of `bufs`, one after another, at `offset`, growing the file as needed.
    fn write_vectored_at(&self, offset: u64, bufs: &[IoSlice<'_>]) -> Result<()>;

    /// Writes all of `buf` at `offset`, growing the file as needed.
    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<()> {
        self.write_vectored_at(offset, &[IoSlice::new(buf)])
    }

    /// Writes bulk data that will not be read back soon.
    ///
    /// A real file takes this past the page cache where address, offset and length are aligned to
    /// [`DiskStatus::direct_alignment`] and the filesystem allows; elsewhere it is [`Disk::write_at`]
    /// with early writeback. Coherent with all other methods.
    fn write_bulk_at(&self, offset: u64, buf: &[u8]) -> Result<()> {
        self.write_at(offset, buf)
    }

    /// Writes what replaces bytes that were just read, and starts to make it durable: a
    /// [`Disk::sync`] soon after has less to wait for.
    fn write_early_at(&self, offset: u64, buf: &[u8]) -> Result<()> {
        self.write_at(offset, buf)
    }

    /// Cuts or grows the file; a grown part reads as zeroes. Fails on a device unless `len` fits.
    fn set_len(&self, len: u64) -> Result<()>;

    /// Whether there could be another length.
    fn can_resize(&self) -> bool {
        true
    }

    /// Makes all earlier writes of this disk durable. After a failure the disk is latched.
    fn sync(&self) -> Result<()>;

    /// Reserves space for `range`, whose unwritten parts read as zeroes.
    ///
    /// Fails with [`crate::ErrorKind::Unsupported`] where the filesystem cannot.
    fn allocate(&self, range: Range<u64>, how: Allocate) -> Result<()>;

    /// Makes `range` read as zeroes, growing the file if the range ends past its end.
    fn zero(&self, range: Range<u64>, how: Zeroing) -> Result<()>;

    /// Gives back a range that nothing refers to: cut off where it is the file's end, else a hole.
    ///
    /// In a transaction this happens after the commit, and the range is [withheld](Disk::withheld)
    /// until then. Space that the filesystem will not take back is no error.
    fn release(&self, range: Range<u64>) -> Result<()> {
        let len = self.len()?;
        if range.start >= len {
            return Ok(());
        }
        if range.end >= len {
            return self.set_len(range.start);
        }
        match self.zero(range, Zeroing::Unmap) {
            Err(error) if error.kind() == crate::ErrorKind::Unsupported => Ok(()),
            result => result,
        }
    }

    /// Tells of a range that nothing refers to any more, and whose space the file keeps. In a transaction
    /// it is [withheld](Disk::withheld) until the commit, too.
    fn retire(&self, range: Range<u64>) {
        let _ = range;
    }

    /// Ranges that were released or retired in the transaction that this disk is part of, ascending:
    /// the state on the disk may still need them, so they are not free yet.
    fn withheld(&self) -> Vec<Range<u64>> {
        Vec::new()
    }

    /// A view of this disk for overwriting what its committed state consists of.
    ///
    /// In a transaction, what is written through the view, a changed length included, is seen by
    /// every reader inside the transaction at once and by the file at the commit, while what is
    /// written to the disk itself goes to the file at once, and must only go where the committed
    /// state does not look. `None`: there is no transaction, or nobody knows the file yet, and
    /// every write takes effect at once.
    fn in_place(&self) -> Option<Arc<dyn Disk>> {
        None
    }

    /// Copies `len` bytes from `source` without moving them through this process.
    ///
    /// Returns how many bytes were copied, which may be fewer. Fails with
    /// [`crate::ErrorKind::Unsupported`] where the two disks have no such path.
    fn copy_from(&self, offset: u64, source: &dyn Disk, source_offset: u64, len: u64) -> Result<u64>;

    /// The run of data or hole that contains `offset`, and where it ends.
    ///
    /// At or past the end the answer is a hole to `u64::MAX`. Where holes cannot be seen,
    /// everything is data.
    fn extent_at(&self, offset: u64) -> Result<Extent>;

    /// What kind of file this is, and its figures.
    fn status(&self) -> Result<DiskStatus>;

    /// Takes, changes or (with [`Claim::none`]) drops this handle's locks, all or none.
    ///
    /// Fails with [`crate::ErrorKind::Locked`] when somebody else's claim conflicts.
    fn lock(&self, claim: Claim) -> Result<()>;

    /// Keeps the file for this handle alone among tximg's processes until the handle is gone.
    ///
    /// Returns whether it could be had. QEMU's locks neither see this nor are seen by it.
    fn hold(&self) -> Result<Held> {
        Ok(Held::ByUs)
    }

    /// The descriptor behind the disk, for offloads between two real files.
    fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }

    /// The descriptor on which the kernel may be asked to transfer this range to or from
    /// page-aligned memory, as the disk itself would; `None` where only the disk can do it.
    fn transfer_descriptor(&self, offset: u64, len: usize) -> Option<std::os::fd::BorrowedFd<'_>> {
        let _ = (offset, len);
        None
    }
}

/// What came of [`Disk::hold`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// The file is this handle's.
    ByUs,
    /// A living process has it.
    ByOthers,
}

/// How [`Disk::allocate`] reserves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocate {
    /// Reserve and, if the range ends past the end of the file, grow it.
    Grow,
    /// Reserve only; the length stays.
    KeepLength,
}

/// How [`Disk::zero`] makes zeroes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zeroing {
    /// Give the space back where possible.
    Unmap,
    /// Keep the space reserved.
    Keep,
}

/// A run of bytes of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// What the run is.
    pub kind: ExtentKind,
    /// The offset just past the run.
    pub end: u64,
}

/// Whether a run holds bytes or is known to read as zeroes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtentKind {
    /// Bytes that must be read to be known.
    Data,
    /// Reads as zeroes; no space behind it.
    Hole,
}

/// What [`Disk::status`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskStatus {
    /// The kind of file.
    pub kind: DiskKind,
    /// Length in bytes.
    pub len: u64,
    /// Bytes allocated on the filesystem (`st_blocks` × 512).
    pub allocated: u64,
    /// Alignment in bytes for [`Disk::write_bulk_at`] to bypass the cache, if it can at all.
    pub direct_alignment: Option<u32>,
    /// Device and inode number: the file's identity while it exists.
    pub identity: (u64, u64),
    /// Number of names (hard links).
    pub links: u64,
    /// The user that it belongs to.
    pub owner: u32,
    /// When the file was made, in nanoseconds since 1970; 0 where the filesystem does not tell.
    /// With the inode number, which may be given out again, it identifies a file for ever.
    pub born: u64,
    /// When its content was last changed, in nanoseconds since 1970.
    pub modified: u64,
}

impl DiskStatus {
    /// That of `len` bytes which are in no file.
    pub fn without_file(len: u64) -> Self {
        Self {
            kind: DiskKind::Regular,
            len,
            allocated: 0,
            direct_alignment: None,
            identity: (0, 0),
            links: 1,
            owner: 0,
            born: 0,
            modified: 0,
        }
    }
}

/// Kinds of file that can hold an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskKind {
    /// A regular file.
    Regular,
    /// A block device.
    Block,
    /// A character device.
    Character,
    /// A pipe, socket or anything else without positions.
    Stream,
}
