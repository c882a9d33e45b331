//! System calls that rustix does not wrap.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::ioctl::{Getter, Opcode, Setter, ioctl, opcode};

/// What an open-file-description lock request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByteLock {
    /// Share the byte.
    Share,
    /// Give the byte back.
    Release,
}

/// Takes or gives back a shared lock on one byte of the file.
pub(super) fn set_byte_lock(fd: BorrowedFd<'_>, byte: u64, how: ByteLock) -> io::Result<()> {
    let kind = match how {
        ByteLock::Share => libc::F_RDLCK,
        ByteLock::Release => libc::F_UNLCK,
    };
    lock_request(fd, libc::F_OFD_SETLK, kind, byte).map(|_| ())
}

/// Whether another open file description holds a lock on the byte.
pub(super) fn byte_is_locked(fd: BorrowedFd<'_>, byte: u64) -> io::Result<bool> {
    let answer = lock_request(fd, libc::F_OFD_GETLK, libc::F_WRLCK, byte)?;
    Ok(i32::from(answer.l_type) != libc::F_UNLCK)
}

fn lock_request(fd: BorrowedFd<'_>, command: i32, kind: i32, byte: u64) -> io::Result<libc::flock> {
    // SAFETY: `flock` is a plain structure of integers, for which all zeroes is a valid value.
    let mut request: libc::flock = unsafe { mem::zeroed() };
    request.l_type = kind as libc::c_short;
    request.l_whence = libc::SEEK_SET as libc::c_short;
    request.l_start = byte as libc::off_t;
    request.l_len = 1;
    // SAFETY: the descriptor is open, and `request` outlives the call, which only reads and
    // writes that structure.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), command, &raw mut request) })?;
    Ok(request)
}

/// Starts writing the cached pages of a range to the disk, without waiting for them.
pub(super) fn start_writeback(fd: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()> {
    let (offset, len) = (offset as libc::off64_t, len as libc::off64_t);
    // SAFETY: the call takes integers only.
    check(unsafe { libc::sync_file_range(fd.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) })
}

/// The kernel's `struct fsxattr`.
#[repr(C)]
struct FsXattr {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    cow_extent_size: u32,
    padding: [u8; 8],
}

/// `FS_XFLAG_EXTSIZE`: the extent size of this structure is to be used.
const USE_EXTENT_SIZE: u32 = 0x0000_0800;

/// Tells the filesystem in what steps the file should grow.
pub(super) fn set_extent_size_hint(fd: BorrowedFd<'_>, hint: u32) -> io::Result<()> {
    const GET: Opcode = opcode::read::<FsXattr>(b'X', 31);
    const SET: Opcode = opcode::write::<FsXattr>(b'X', 32);
    // SAFETY: the request fills in the structure whose size its number states.
    let mut attributes = unsafe { ioctl(fd, Getter::<GET, FsXattr>::new()) }?;
    attributes.flags |= USE_EXTENT_SIZE;
    attributes.extent_size = hint;
    // SAFETY: the request reads the structure whose size its number states.
    Ok(unsafe { ioctl(fd, Setter::<SET, FsXattr>::new(attributes)) }?)
}

fn check(status: i32) -> io::Result<()> {
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
