//! Transfers past the page cache, through a second descriptor on the same file.
//!
//! Only whole pages go this way. What is left over at either end goes through the cache, so that
//! no page is ever written by both ways at once; the kernel keeps the two coherent.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use rustix::io::{Errno, Result};

use super::{sys, transfer};
use crate::buffer::PAGE;
use crate::{AlignedBuf, DiskKind};

/// Shorter bulk writes are left to the cache, which gathers them.
const MIN_BULK: usize = 64 << 10;
/// Unaligned direct transfers are bounced in pieces of this size.
const BOUNCE: usize = 1 << 20;

/// The way past the cache, opened when it is first wanted.
#[derive(Debug)]
pub(super) struct Bypass {
    kind: DiskKind,
    descriptor: OnceLock<Option<OwnedFd>>,
    alignment: OnceLock<Option<u32>>,
    refused: AtomicBool,
}

impl Bypass {
    pub(super) fn new(kind: DiskKind) -> Self {
        Self {
            kind,
            descriptor: OnceLock::new(),
            alignment: OnceLock::new(),
            refused: AtomicBool::new(false),
        }
    }

    /// Opens the way at once, and says why if there is none.
    pub(super) fn require(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let direct = reopen(fd)?;
        self.descriptor.get_or_init(|| Some(direct));
        Ok(())
    }

    /// The alignment of address, offset and length that direct writes need, if they are possible.
    pub(super) fn alignment(&self, fd: BorrowedFd<'_>) -> Option<u32> {
        *self.alignment.get_or_init(|| {
            if !matches!(self.kind, DiskKind::Regular | DiskKind::Block) {
                return None;
            }
            let stated = stated_alignment(fd);
            let usable = stated.is_none_or(|bytes| bytes > 0) && self.descriptor(fd).is_some();
            usable.then(|| stated.unwrap_or(0).max(PAGE as u32))
        })
    }

    fn descriptor(&self, fd: BorrowedFd<'_>) -> Option<BorrowedFd<'_>> {
        self.descriptor.get_or_init(|| reopen(fd).ok()).as_ref().map(OwnedFd::as_fd)
    }

    /// The descriptor and the alignment, while the filesystem has not refused a direct write.
    fn way(&self, fd: BorrowedFd<'_>) -> Option<(BorrowedFd<'_>, usize)> {
        if self.refused.load(Ordering::Relaxed) {
            return None;
        }
        let alignment = usize::try_from(self.alignment(fd)?).ok()?;
        Some((self.descriptor(fd)?, alignment))
    }

    /// The direct descriptor, if the range can be transferred on it from or to aligned memory.
    pub(super) fn descriptor_for<'a>(
        &'a self,
        fd: BorrowedFd<'a>,
        offset: u64,
        len: usize,
    ) -> Option<BorrowedFd<'a>> {
        let (direct, alignment) = self.way(fd)?;
        (offset.is_multiple_of(alignment as u64) && len.is_multiple_of(alignment)).then_some(direct)
    }

    /// Writes bulk data directly if it can be, else through the cache with early writeback.
    pub(super) fn write_bulk(&self, fd: BorrowedFd<'_>, offset: u64, buf: &[u8]) -> Result<()> {
        let mut done = 0;
        if buf.len() >= MIN_BULK
            && let Some((direct, alignment)) = self.way(fd)
            && is_aligned(offset, buf, alignment)
        {
            let whole = buf.len() - buf.len() % alignment;
            match transfer::write(direct, offset, &buf[..whole]) {
                Ok(()) => done = whole,
                // The filesystem changed its mind, or a short write left an odd rest.
                Err(Errno::INVAL | Errno::OPNOTSUPP) => self.refused.store(true, Ordering::Relaxed),
                Err(errno) => return Err(errno),
            }
        }
        if done == buf.len() {
            return Ok(());
        }
        let rest = &buf[done..];
        transfer::write(fd, offset + done as u64, rest)?;
        if rest.len() >= MIN_BULK {
            // Only a hint: if it fails, the final sync does all the work.
            let _ = sys::start_writeback(fd, offset + done as u64, rest.len() as u64);
        }
        Ok(())
    }

    /// Reads directly, through an aligned buffer where the caller's is not aligned.
    pub(super) fn read(&self, fd: BorrowedFd<'_>, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let Some((direct, alignment)) = self.way(fd) else { return transfer::read(fd, offset, buf) };
        if is_aligned(offset, buf, alignment) && buf.len().is_multiple_of(alignment) {
            return transfer::read(direct, offset, buf);
        }
        let mut bounce = AlignedBuf::new(bounce_len(buf.len(), alignment));
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let skip = (at % alignment as u64) as usize;
            let want = (skip + buf.len() - done).next_multiple_of(alignment).min(bounce.len());
            let got = transfer::read(direct, at - skip as u64, &mut bounce[..want])?;
            let fresh = &bounce[..got].get(skip..).unwrap_or_default();
            let step = fresh.len().min(buf.len() - done);
            buf[done..done + step].copy_from_slice(&fresh[..step]);
            done += step;
            if got < want {
                break;
            }
        }
        Ok(done)
    }

    /// Writes directly what are whole pages, bounced where the address is odd.
    pub(super) fn write_vectored(&self, fd: BorrowedFd<'_>, offset: u64, bufs: &[IoSlice<'_>]) -> Result<()> {
        let Some((direct, alignment)) = self.way(fd) else {
            return transfer::write_vectored(fd, offset, bufs);
        };
        let mut offset = offset;
        for buf in bufs {
            let head = (offset.next_multiple_of(alignment as u64) - offset).min(buf.len() as u64) as usize;
            let (head, rest) = buf.split_at(head);
            let (middle, tail) = rest.split_at(rest.len() - rest.len() % alignment);
            write_through(fd, offset, head)?;
            offset += head.len() as u64;
            write_aligned(direct, offset, middle, alignment)?;
            offset += middle.len() as u64;
            write_through(fd, offset, tail)?;
            offset += tail.len() as u64;
        }
        Ok(())
    }
}

/// Writes whole pages directly, from memory of any alignment.
fn write_aligned(direct: BorrowedFd<'_>, offset: u64, buf: &[u8], alignment: usize) -> Result<()> {
    if buf.is_empty() || is_aligned(offset, buf, alignment) {
        return transfer::write(direct, offset, buf);
    }
    let mut bounce = AlignedBuf::new(bounce_len(buf.len(), alignment));
    let step = bounce.len();
    for (index, piece) in buf.chunks(step).enumerate() {
        bounce[..piece.len()].copy_from_slice(piece);
        transfer::write(direct, offset + (index * step) as u64, &bounce[..piece.len()])?;
    }
    Ok(())
}

/// Writes through the cache, and asks for the pages' writeback.
pub(super) fn write_through(fd: BorrowedFd<'_>, offset: u64, buf: &[u8]) -> Result<()> {
    if buf.is_empty() {
        return Ok(());
    }
    transfer::write(fd, offset, buf)?;
    // Only a hint, as above.
    let _ = sys::start_writeback(fd, offset, buf.len() as u64);
    Ok(())
}

fn is_aligned(offset: u64, buf: &[u8], alignment: usize) -> bool {
    offset.is_multiple_of(alignment as u64) && buf.as_ptr().addr().is_multiple_of(alignment)
}

fn bounce_len(len: usize, alignment: usize) -> usize {
    (len + 2 * alignment).next_multiple_of(alignment).min(BOUNCE.next_multiple_of(alignment))
}

/// A descriptor on the same file with `O_DIRECT`.
fn reopen(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let access = rustix::fs::fcntl_getfl(fd)? & OFlags::ACCMODE;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    Ok(rustix::fs::open(path, access | OFlags::DIRECT | OFlags::CLOEXEC, Mode::empty())?)
}

/// The alignment that the kernel states: `Some(0)` for "never", `None` if it does not say.
fn stated_alignment(fd: BorrowedFd<'_>) -> Option<u32> {
    let stat = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).ok()?;
    (stat.stx_mask & StatxFlags::DIOALIGN.bits() != 0).then(|| {
        if stat.stx_dio_mem_align == 0 { 0 } else { stat.stx_dio_mem_align.max(stat.stx_dio_offset_align) }
    })
}
