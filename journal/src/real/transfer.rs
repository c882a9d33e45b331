//! Reads and writes that finish what the kernel does by halves.

use std::io::IoSlice;
use std::os::fd::BorrowedFd;

use rustix::io::{Errno, Result};

use super::retry;

/// The most buffers that one call takes.
const MAX_BUFFERS: usize = 1024;

/// Fills `buf` from `offset`, or up to the end of the file.
pub(super) fn read(fd: BorrowedFd<'_>, offset: u64, buf: &mut [u8]) -> Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        let Some(at) = position(offset, done) else { break };
        match retry(|| rustix::io::pread(fd, &mut buf[done..], at))? {
            0 => break,
            got => done += got,
        }
    }
    Ok(done)
}

/// Writes all of `buf` at `offset`.
pub(super) fn write(fd: BorrowedFd<'_>, offset: u64, buf: &[u8]) -> Result<()> {
    let mut done = 0;
    while done < buf.len() {
        let at = position(offset, done).ok_or(Errno::FBIG)?;
        match retry(|| rustix::io::pwrite(fd, &buf[done..], at))? {
            0 => return Err(Errno::IO),
            put => done += put,
        }
    }
    Ok(())
}

/// Writes all of `bufs`, one after another, at `offset`.
pub(super) fn write_vectored(fd: BorrowedFd<'_>, offset: u64, bufs: &[IoSlice<'_>]) -> Result<()> {
    let mut offset = offset;
    for group in bufs.chunks(MAX_BUFFERS) {
        if let [single] = group {
            write(fd, offset, single)?;
        } else {
            let at = position(offset, 0).ok_or(Errno::FBIG)?;
            let put = retry(|| rustix::io::pwritev(fd, group, at))?;
            finish(fd, offset, group, put)?;
        }
        offset += group.iter().map(|buf| buf.len() as u64).sum::<u64>();
    }
    Ok(())
}

/// Writes what is left of `bufs` after their first `put` bytes.
fn finish(fd: BorrowedFd<'_>, offset: u64, bufs: &[IoSlice<'_>], put: usize) -> Result<()> {
    let mut start = 0;
    for buf in bufs {
        let skip = put.saturating_sub(start).min(buf.len());
        if skip < buf.len() {
            write(fd, offset + (start + skip) as u64, &buf[skip..])?;
        }
        start += buf.len();
    }
    Ok(())
}

/// `offset + done`, if a file can have such a position.
fn position(offset: u64, done: usize) -> Option<u64> {
    offset.checked_add(done as u64).filter(|&at| i64::try_from(at).is_ok())
}
