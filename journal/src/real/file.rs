//! A regular file or a device.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::direct::{Bypass, write_through};
use super::lock::Locks;
use super::space::{self, Offered};
use super::status::{kind_of, length_of, status_of};
use super::{retry, transfer};
use crate::{
    Allocate, Caching, Claim, Disk, DiskKind, DiskStatus, Error, ErrorKind, Extent, ExtentKind, Held, Result,
    Zeroing,
};

/// The most bytes that one offloaded copy is asked for, so that it stays interruptible.
const COPY_STEP: u64 = 1 << 30;
/// Where zeroes must be written as data, this many go at once.
const ZERO_STEP: usize = 1 << 20;

/// An open file of the operating system.
#[derive(Debug)]
pub(super) struct FileDisk {
    fd: OwnedFd,
    path: PathBuf,
    kind: DiskKind,
    caching: Caching,
    syncing: Syncing,
    latched: AtomicBool,
    bypass: Bypass,
    locks: Mutex<Locks>,
    /// Writers share it; whoever compares the length and then changes it holds it alone.
    length: RwLock<()>,
}

/// Whether a sync reaches the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syncing {
    /// It does.
    Durable,
    /// The caller asked for a file that may be lost.
    Skipped,
}

impl FileDisk {
    /// A disk over a descriptor that goes through the page cache.
    pub(super) fn new(fd: OwnedFd, path: &Path, caching: Caching, syncing: Syncing) -> Result<Self> {
        let failed = |error: io::Error| Error::os("open", path, None, error);
        let stat = rustix::fs::fstat(&fd).map_err(|errno| failed(errno.into()))?;
        let kind = kind_of(&stat);
        let bypass = Bypass::new(kind);
        if caching == Caching::Direct {
            bypass.require(fd.as_fd()).map_err(failed)?;
        }
        Ok(Self {
            fd,
            path: path.to_owned(),
            kind,
            caching,
            syncing,
            latched: AtomicBool::new(false),
            bypass,
            locks: Mutex::new(Locks::new()),
            length: RwLock::new(()),
        })
    }

    /// The kind of file, as it was when it was opened.
    pub(super) fn kind(&self) -> DiskKind {
        self.kind
    }

    /// The path it was opened by.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes data, length and attributes durable; after a failure nothing is trusted again.
    pub(super) fn sync_all(&self) -> Result<()> {
        self.sync_by(|fd| rustix::fs::fsync(fd))
    }

    fn sync_by(&self, sync: impl Fn(BorrowedFd<'_>) -> rustix::io::Result<()>) -> Result<()> {
        let fd = self.usable("sync", None)?;
        if self.syncing == Syncing::Skipped {
            return Ok(());
        }
        match retry(|| sync(fd)) {
            Ok(()) => Ok(()),
            // Pipes and some character devices have nothing to sync.
            Err(Errno::INVAL | Errno::ROFS) if self.kind != DiskKind::Regular => Ok(()),
            Err(errno) => {
                self.latched.store(true, Ordering::SeqCst);
                Err(self.error("sync", None, errno))
            }
        }
    }

    /// The descriptor, unless the disk is latched.
    fn usable(&self, op: &'static str, offset: Option<u64>) -> Result<BorrowedFd<'_>> {
        if self.latched.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Latched, op, &self.path, offset));
        }
        Ok(self.fd.as_fd())
    }

    fn error(&self, op: &'static str, offset: Option<u64>, errno: Errno) -> Error {
        Error::os(op, &self.path, offset, errno.into())
    }

    fn locks(&self) -> MutexGuard<'_, Locks> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a write, which must not meet a change of length that was decided before it.
    fn writing<T>(
        &self,
        offset: u64,
        write: impl FnOnce(BorrowedFd<'_>) -> rustix::io::Result<T>,
    ) -> Result<T> {
        let fd = self.usable("write", Some(offset))?;
        let _shared = self.length.read().unwrap_or_else(PoisonError::into_inner);
        write(fd).map_err(|errno| self.error("write", Some(offset), errno))
    }

    /// Grows a file to `len`, unless it is longer already.
    fn grow_to(&self, fd: BorrowedFd<'_>, len: u64) -> Result<()> {
        let _alone = self.length.write().unwrap_or_else(PoisonError::into_inner);
        if self.len()? < len {
            retry(|| rustix::fs::ftruncate(fd, len)).map_err(|errno| self.error("resize", None, errno))?;
        }
        Ok(())
    }

    /// Makes a range within the file read as zeroes by the cheapest way that works.
    fn zero_within(&self, range: Range<u64>, how: Zeroing) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let fd = self.usable("write zeroes to", Some(range.start))?;
        match space::zero(fd, range.clone(), how) {
            Ok(Offered::Done) => Ok(()),
            Ok(Offered::No) => self.write_zeroes(range),
            Err(errno) => Err(self.error("write zeroes to", Some(range.start), errno)),
        }
    }

    fn write_zeroes(&self, range: Range<u64>) -> Result<()> {
        let zeroes = vec![0; usize::try_from(range.end - range.start).unwrap_or(ZERO_STEP).min(ZERO_STEP)];
        let mut offset = range.start;
        while offset < range.end {
            let step = usize::try_from(range.end - offset).unwrap_or(ZERO_STEP).min(ZERO_STEP);
            self.write_at(offset, &zeroes[..step])?;
            offset += step as u64;
        }
        Ok(())
    }
}

impl Disk for FileDisk {
    fn len(&self) -> Result<u64> {
        let fd = self.usable("get the length of", None)?;
        length_of(fd, self.kind).map_err(|errno| self.error("get the length of", None, errno))
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let fd = self.usable("read", Some(offset))?;
        match self.caching {
            Caching::Cached => transfer::read(fd, offset, buf),
            Caching::Direct => self.bypass.read(fd, offset, buf),
        }
        .map_err(|errno| self.error("read", Some(offset), errno))
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        if self.read_at(offset, buf)? < buf.len() {
            return Err(Error::new(ErrorKind::UnexpectedEnd, "read", &self.path, Some(offset)));
        }
        Ok(())
    }

    fn write_vectored_at(&self, offset: u64, bufs: &[IoSlice<'_>]) -> Result<()> {
        self.writing(offset, |fd| match self.caching {
            Caching::Cached => transfer::write_vectored(fd, offset, bufs),
            Caching::Direct => self.bypass.write_vectored(fd, offset, bufs),
        })
    }

    fn write_bulk_at(&self, offset: u64, buf: &[u8]) -> Result<()> {
        self.writing(offset, |fd| match self.caching {
            Caching::Cached => self.bypass.write_bulk(fd, offset, buf),
            Caching::Direct => self.bypass.write_vectored(fd, offset, &[IoSlice::new(buf)]),
        })
    }

    fn write_early_at(&self, offset: u64, buf: &[u8]) -> Result<()> {
        self.writing(offset, |fd| match self.caching {
            Caching::Cached => write_through(fd, offset, buf),
            Caching::Direct => self.bypass.write_vectored(fd, offset, &[IoSlice::new(buf)]),
        })
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let fd = self.usable("resize", None)?;
        // A stream has no length either, but the kernel says that best.
        if matches!(self.kind, DiskKind::Regular | DiskKind::Stream) {
            let _alone = self.length.write().unwrap_or_else(PoisonError::into_inner);
            return retry(|| rustix::fs::ftruncate(fd, len))
                .map_err(|errno| self.error("resize", None, errno));
        }
        if len <= self.len()? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unsupported, "grow the device", &self.path, None))
    }

    fn sync(&self) -> Result<()> {
        self.sync_by(|fd| rustix::fs::fdatasync(fd))
    }

    fn allocate(&self, range: Range<u64>, how: Allocate) -> Result<()> {
        let fd = self.usable("allocate space in", Some(range.start))?;
        let flags = match how {
            Allocate::Grow => FallocateFlags::empty(),
            Allocate::KeepLength => FallocateFlags::KEEP_SIZE,
        };
        if range.is_empty() {
            return Ok(());
        }
        retry(|| rustix::fs::fallocate(fd, flags, range.start, range.end - range.start))
            .map_err(|errno| self.error("allocate space in", Some(range.start), errno))
    }

    fn zero(&self, range: Range<u64>, how: Zeroing) -> Result<()> {
        let fd = self.usable("write zeroes to", Some(range.start))?;
        let len = self.len()?;
        self.zero_within(range.start..range.end.min(len), how)?;
        if range.end <= len || range.is_empty() {
            return Ok(());
        }
        if self.kind != DiskKind::Regular {
            return Err(Error::new(ErrorKind::Unsupported, "grow the device", &self.path, None));
        }
        self.grow_to(fd, range.end)?;
        match how {
            Zeroing::Unmap => Ok(()),
            Zeroing::Keep => match self.allocate(range.start.max(len)..range.end, Allocate::KeepLength) {
                Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
                other => other,
            },
        }
    }

    fn copy_from(&self, offset: u64, source: &dyn Disk, source_offset: u64, len: u64) -> Result<u64> {
        let unsupported = || Error::new(ErrorKind::Unsupported, "copy into", &self.path, Some(offset));
        let from = source.descriptor().ok_or_else(unsupported)?;
        let step = usize::try_from(len.min(COPY_STEP)).unwrap_or(usize::MAX);
        let fd = self.usable("copy into", Some(offset))?;
        let _shared = self.length.read().unwrap_or_else(PoisonError::into_inner);
        let copied = retry(|| {
            let (mut read_from, mut write_to) = (source_offset, offset);
            rustix::fs::copy_file_range(from, Some(&mut read_from), fd, Some(&mut write_to), step)
        });
        match copied {
            // Some filesystems answer "nothing" where they mean "cannot".
            Ok(0) if len > 0 && source_offset < source.len()? => Err(unsupported()),
            Ok(copied) => Ok(copied as u64),
            Err(Errno::INVAL | Errno::XDEV | Errno::BADF | Errno::TXTBSY | Errno::PERM) => Err(unsupported()),
            Err(errno) => Err(self.error("copy into", Some(offset), errno)),
        }
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        let fd = self.usable("find holes in", Some(offset))?;
        if let Some(extent) = space::extent_at(fd, offset) {
            return Ok(extent);
        }
        let len = self.len()?;
        Ok(if offset < len { Extent { kind: ExtentKind::Data, end: len } } else { space::PAST_THE_END })
    }

    fn status(&self) -> Result<DiskStatus> {
        let fd = self.usable("get the status of", None)?;
        let failed = |errno| self.error("get the status of", None, errno);
        let stat = rustix::fs::fstat(fd).map_err(failed)?;
        let mut status = status_of(&stat);
        status.len = length_of(fd, self.kind).map_err(failed)?;
        status.direct_alignment = self.bypass.alignment(fd);
        status.born = super::status::born(fd, Path::new(""));
        Ok(status)
    }

    fn lock(&self, claim: Claim) -> Result<()> {
        let fd = self.usable("lock", None)?;
        self.locks().change(fd, &self.path, claim)
    }

    fn hold(&self) -> Result<Held> {
        let fd = self.usable("hold", None)?;
        let failed = |error| Error::os("hold", &self.path, None, error);
        // The copy of the descriptor shares the lock, which therefore outlives it.
        let file = std::fs::File::from(fd.try_clone_to_owned().map_err(failed)?);
        match fs2::FileExt::try_lock_exclusive(&file) {
            Ok(()) => Ok(Held::ByUs),
            Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => {
                Ok(Held::ByOthers)
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        (!self.latched.load(Ordering::SeqCst)).then(|| self.fd.as_fd())
    }

    fn transfer_descriptor(&self, offset: u64, len: usize) -> Option<BorrowedFd<'_>> {
        let fd = self.descriptor()?;
        match self.caching {
            Caching::Cached => Some(fd),
            Caching::Direct => self.bypass.descriptor_for(fd, offset, len),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_sync_is_final() {
        let file = tempfile::tempfile().unwrap();
        let disk = FileDisk::new(file.into(), Path::new("x"), Caching::Cached, Syncing::Durable).unwrap();
        disk.write_at(0, b"x").unwrap();
        assert_eq!(disk.sync_by(|_| Err(Errno::IO)).unwrap_err().kind(), ErrorKind::Io);
        let refusals = [
            disk.sync().unwrap_err(),
            disk.write_at(0, b"y").unwrap_err(),
            disk.write_bulk_at(0, b"y").unwrap_err(),
            disk.read_at(0, &mut [0]).unwrap_err(),
            disk.set_len(0).unwrap_err(),
            disk.zero(0..1, Zeroing::Unmap).unwrap_err(),
            disk.allocate(0..1, Allocate::Grow).unwrap_err(),
            disk.extent_at(0).unwrap_err(),
            disk.status().unwrap_err(),
            disk.lock(Claim::reader()).unwrap_err(),
        ];
        for refusal in refusals {
            assert_eq!(refusal.kind(), ErrorKind::Latched, "{refusal}");
        }
        assert!(disk.descriptor().is_none());
    }

    #[test]
    fn zeroes_are_written_where_nothing_else_works() {
        let file = tempfile::tempfile().unwrap();
        let disk = FileDisk::new(file.into(), Path::new("x"), Caching::Cached, Syncing::Durable).unwrap();
        let len = 2 * ZERO_STEP + 100;
        disk.write_at(0, &vec![1; len]).unwrap();
        disk.write_zeroes(50..len as u64 - 50).unwrap();
        let mut bytes = vec![9; len];
        disk.read_exact_at(0, &mut bytes).unwrap();
        let ones = bytes.iter().enumerate().filter(|(_, byte)| **byte == 1).map(|(at, _)| at);
        assert!(ones.eq((0..50).chain(len - 50..len)));
    }
}
