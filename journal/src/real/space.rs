//! Holes, zeroes and reserved space, as far as the filesystem has them.

use std::ops::Range;
use std::os::fd::BorrowedFd;

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::{Errno, Result};

use super::retry;
use crate::{Extent, ExtentKind, Zeroing};

const PUNCH: FallocateFlags = FallocateFlags::PUNCH_HOLE.union(FallocateFlags::KEEP_SIZE);
const KEEP: FallocateFlags = FallocateFlags::ZERO_RANGE.union(FallocateFlags::KEEP_SIZE);

/// What lies past the end of every file.
pub(super) const PAST_THE_END: Extent = Extent { kind: ExtentKind::Hole, end: u64::MAX };

/// Whether the filesystem has the request at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offered {
    /// It has, and did it.
    Done,
    /// It has not, or not for this range.
    No,
}

/// Makes a range within the file read as zeroes without writing them, if that is possible.
pub(super) fn zero(fd: BorrowedFd<'_>, range: Range<u64>, how: Zeroing) -> Result<Offered> {
    let ways: &[FallocateFlags] = match how {
        Zeroing::Unmap => &[PUNCH, KEEP],
        Zeroing::Keep => &[KEEP],
    };
    for &way in ways {
        match retry(|| rustix::fs::fallocate(fd, way, range.start, range.end - range.start)) {
            Ok(()) => return Ok(Offered::Done),
            // A device refuses ranges that are not whole sectors as invalid, and files that are
            // no files as no device.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::NODEV) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(Offered::No)
}

/// The run of data or hole that contains `offset`, if the filesystem can tell.
pub(super) fn extent_at(fd: BorrowedFd<'_>, offset: u64) -> Option<Extent> {
    if i64::try_from(offset).is_err() {
        return Some(PAST_THE_END);
    }
    match rustix::fs::seek(fd, SeekFrom::Data(offset)) {
        Ok(start) if start > offset => return Some(Extent { kind: ExtentKind::Hole, end: start }),
        Ok(_) => {}
        Err(Errno::NXIO) => return Some(PAST_THE_END),
        Err(_) => return None,
    }
    // An answer that does not lie ahead means that the file shrank between the two questions.
    let end = rustix::fs::seek(fd, SeekFrom::Hole(offset)).ok().filter(|&end| end > offset)?;
    Some(Extent { kind: ExtentKind::Data, end })
}
