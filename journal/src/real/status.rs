//! What kind of file it is, and how long.

use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, SeekFrom, Stat, StatxFlags};

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
        owner: stat.st_uid,
        born: 0,
        modified: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// When a file was made, which only `statx` tells; 0 if it does not. An empty path stands for the
/// directory descriptor itself.
pub(super) fn born(directory: BorrowedFd<'_>, path: &Path) -> u64 {
    match rustix::fs::statx(directory, path, AtFlags::EMPTY_PATH, StatxFlags::BTIME) {
        Ok(stat) if stat.stx_mask & StatxFlags::BTIME.bits() != 0 => {
            nanoseconds(stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec)
        }
        _ => 0,
    }
}

/// A time after 1970 in nanoseconds.
fn nanoseconds(seconds: i64, rest: impl TryInto<u64>) -> u64 {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(rest.try_into().unwrap_or(0))
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
