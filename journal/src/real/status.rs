//! What kind of file it is, and how long.

use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, SeekFrom, Stat};

use crate::{DiskKind, DiskStatus};

/// What a `stat` alone tells; the length of a device and the direct alignment need a descriptor.
pub(super) fn status_of(stat: &Stat) -> DiskStatus {
    DiskStatus {
        kind: kind_of(stat),
        len: u64::try_from(stat.st_size).unwrap_or(0),
        allocated: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
        direct_alignment: None,
        identity: (stat.st_dev, stat.st_ino),
        links: stat.st_nlink,
    }
}

/// What kind of file a `stat` is of.
pub(super) fn kind_of(stat: &Stat) -> DiskKind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => DiskKind::Regular,
        FileType::BlockDevice => DiskKind::Block,
        FileType::CharacterDevice => DiskKind::Character,
        _ => DiskKind::Stream,
    }
}

/// The length in bytes; of a device, its capacity.
pub(super) fn length_of(fd: BorrowedFd<'_>, kind: DiskKind) -> rustix::io::Result<u64> {
    match kind {
        DiskKind::Regular => Ok(u64::try_from(rustix::fs::fstat(fd)?.st_size).unwrap_or(0)),
        // The position is not used by anybody, so it may be moved.
        DiskKind::Block => rustix::fs::seek(fd, SeekFrom::End(0)),
        DiskKind::Character | DiskKind::Stream => Ok(0),
    }
}
