//! Space for what is not written yet.

use std::ops::Range;

use journal::{AlignedBuf, Allocate, Disk, DiskKind, ErrorKind, Result};

use super::Preallocation;

/// Bytes written at a time.
const STEP: u64 = 2 << 20;
/// What qemu-img writes at the start of a sparse file, so that its alignment can be probed.
const FIRST_BLOCK: u64 = 4096;
/// What it writes at the start of a device, so that the old content is not probed.
const FIRST_SECTOR: u64 = 512;

/// Reserves space for a range that reads as zeroes.
pub(crate) fn fill(disk: &dyn Disk, range: Range<u64>, how: Preallocation) -> Result<()> {
    match how {
        Preallocation::Off | Preallocation::Metadata => Ok(()),
        _ if range.is_empty() => Ok(()),
        Preallocation::Falloc => disk.allocate(range, Allocate::Grow),
        Preallocation::Full => write_zeroes(disk, range),
    }
}

fn write_zeroes(disk: &dyn Disk, range: Range<u64>) -> Result<()> {
    let zeroes = AlignedBuf::new(STEP.min(range.end - range.start) as usize);
    let mut at = range.start;
    while at < range.end {
        let len = STEP.min(range.end - at);
        disk.write_bulk_at(at, &zeroes[..len as usize])?;
        at += len;
    }
    Ok(())
}

/// Gives an empty file its length, and the space that is asked for.
pub(crate) fn grow(disk: &dyn Disk, size: u64, how: Preallocation) -> Result<()> {
    disk.set_len(size)?;
    match how {
        Preallocation::Off | Preallocation::Metadata => {
            let first = if disk.status()?.kind == DiskKind::Regular { FIRST_BLOCK } else { FIRST_SECTOR };
            write_zeroes(disk, 0..size.min(first))
        }
        Preallocation::Falloc | Preallocation::Full => fill(disk, 0..size, how),
    }
}

/// Gives a file another length, and a new part of it the space that is asked for.
///
/// Space is reserved, even where it is to be written: in a transaction, zeroes that replace
/// nothing would be written twice.
pub(crate) fn extend(disk: &dyn Disk, len: u64, how: Preallocation) -> Result<()> {
    let old = disk.len()?;
    match how {
        _ if len == old => Ok(()),
        Preallocation::Falloc | Preallocation::Full if len > old => {
            match disk.allocate(old..len, Allocate::Grow) {
                Err(error) if error.kind() == ErrorKind::Unsupported && how == Preallocation::Full => {
                    write_zeroes(disk, old..len)
                }
                result => result,
            }
        }
        _ => disk.set_len(len),
    }
}
