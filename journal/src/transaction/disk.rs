//! Handles on files that a transaction changes.

use std::io::IoSlice;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::{Member, Standing};
use super::overlay::Bytes;
use crate::{Access, Allocate, Claim, Disk, DiskStatus, Error, ErrorKind, Extent, Held, Result, Zeroing};

/// A handle on a file that a transaction changes.
#[derive(Debug)]
pub(super) struct Handle {
    member: Arc<Member>,
    /// The file's name as the caller gave it, which it is told again.
    given: PathBuf,
    number: u64,
    access: Access,
    way: Way,
}

/// What writing through a handle means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Bytes go to the file at once.
    AtOnce,
    /// Bytes are replaced at the commit.
    AtCommit,
}

impl Handle {
    pub(super) fn new(member: Arc<Member>, given: &Path, access: Access) -> Self {
        let number = member.shared.next_handle();
        Self { member, given: given.to_owned(), number, access, way: Way::AtOnce }
    }

    fn require_writable(&self, op: &'static str) -> Result<()> {
        if self.access == Access::Write {
            return Ok(());
        }
        let refusal = std::io::Error::from_raw_os_error(libc::EBADF);
        Err(Error::os(op, &self.given, None, refusal))
    }

    /// The file, for a change that takes effect at once.
    fn at_once(&self, op: &'static str) -> Result<&Arc<dyn Disk>> {
        self.require_writable(op)?;
        self.member.to_write()
    }

    /// Whether a write to the range waits for the commit: also if what it goes over does.
    fn waits(&self, range: Range<u64>) -> bool {
        self.way == Way::AtCommit || self.member.state().replaces(range)
    }

    fn unsupported(&self, op: &'static str) -> Error {
        Error::new(ErrorKind::Unsupported, op, &self.given, None)
    }
}

impl Disk for Handle {
    fn len(&self) -> Result<u64> {
        self.member.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.member.read_at(offset, buf)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        if self.read_at(offset, buf)? < buf.len() {
            return Err(Error::new(ErrorKind::UnexpectedEnd, "read", &self.given, Some(offset)));
        }
        Ok(())
    }

    fn write_vectored_at(&self, offset: u64, bufs: &[IoSlice<'_>]) -> Result<()> {
        let len: u64 = bufs.iter().map(|buf| buf.len() as u64).sum();
        if !self.waits(offset..offset.saturating_add(len)) {
            return self.at_once("write")?.write_vectored_at(offset, bufs);
        }
        self.require_writable("write")?;
        match bufs {
            [one] => self.member.replace(offset, one),
            many => self
                .member
                .replace(offset, &many.iter().flat_map(|buf| buf.iter().copied()).collect::<Vec<_>>()),
        }
    }

    fn write_bulk_at(&self, offset: u64, buf: &[u8]) -> Result<()> {
        if self.waits(offset..offset.saturating_add(buf.len() as u64)) {
            return self.write_at(offset, buf);
        }
        self.at_once("write")?.write_bulk_at(offset, buf)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.require_writable("resize")?;
        // What others know is not cut off before the commit, whoever asks for it.
        let cuts = len < self.member.len()?.min(self.member.before.len);
        let waits = self.way == Way::AtCommit || cuts || self.member.state().len.is_some();
        if self.member.standing == Standing::Known && waits {
            return self.member.put_len(len);
        }
        self.at_once("resize")?.set_len(len)
    }

    /// Everything is synced at the commit, in the order that it takes.
    fn sync(&self) -> Result<()> {
        self.member.shared.check()
    }

    fn allocate(&self, range: Range<u64>, how: Allocate) -> Result<()> {
        let grows = how == Allocate::Grow && range.end > self.member.len()?;
        if self.way == Way::AtOnce || !grows {
            return match how {
                Allocate::Grow => self.at_once("allocate space in")?.allocate(range, how),
                Allocate::KeepLength => {
                    self.require_writable("allocate space in")?;
                    self.member.reserve(range)
                }
            };
        }
        self.require_writable("allocate space in")?;
        self.member.reserve(range.clone())?;
        self.member.put_len(range.end)
    }

    fn zero(&self, range: Range<u64>, how: Zeroing) -> Result<()> {
        if !self.waits(range.clone()) {
            return self.at_once("write zeroes to")?.zero(range, how);
        }
        self.require_writable("write zeroes to")?;
        self.member.put_zeroes(range)
    }

    fn release(&self, range: Range<u64>) -> Result<()> {
        match self.member.standing {
            Standing::Known => {
                self.member.release(range);
                Ok(())
            }
            Standing::Draft => self.at_once("write zeroes to")?.release(range),
        }
    }

    fn retire(&self, range: Range<u64>) {
        if self.member.standing == Standing::Known {
            self.member.state_mut().retired.insert(range);
        }
    }

    fn withheld(&self) -> Vec<Range<u64>> {
        let state = self.member.state();
        let mut withheld = state.released.clone();
        state.retired.iter().for_each(|range| withheld.insert(range));
        withheld.iter().collect()
    }

    fn in_place(&self) -> Option<Arc<dyn Disk>> {
        let writes = self.access == Access::Write && self.way == Way::AtOnce;
        if self.member.standing == Standing::Draft || !writes {
            return None;
        }
        let member = Arc::clone(&self.member);
        let (given, number) = (self.given.clone(), member.shared.next_handle());
        Some(Arc::new(Self { member, given, number, access: self.access, way: Way::AtCommit }))
    }

    fn copy_from(&self, offset: u64, source: &dyn Disk, source_offset: u64, len: u64) -> Result<u64> {
        self.require_writable("copy into")?;
        let end = source_offset.checked_add(len).ok_or_else(|| self.unsupported("copy into"))?;
        if !self.waits(offset..offset.saturating_add(len)) {
            return self.at_once("copy into")?.copy_from(offset, source, source_offset, len);
        }
        // Past its end the source has nothing to refer to.
        if end > source.len()? {
            return Err(self.unsupported("copy into"));
        }
        let file = self.member.shared.source(source, source_offset..end);
        let file = file.ok_or_else(|| self.unsupported("copy into"))?;
        self.member.put(offset, len, Bytes::InFile { file, offset: source_offset })?;
        Ok(len)
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        self.member.extent_at(offset)
    }

    fn status(&self) -> Result<DiskStatus> {
        let status = self.member.inner.status()?;
        Ok(DiskStatus { len: self.member.len()?, ..status })
    }

    fn lock(&self, claim: Claim) -> Result<()> {
        self.member.claim(self.number, claim).map_err(|error| error.about(&self.given))
    }

    fn hold(&self) -> Result<Held> {
        self.member.inner.hold()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        let is_plain = self.way == Way::AtOnce && !self.member.state().is_replaced();
        if is_plain { self.member.inner.descriptor() } else { None }
    }

    fn transfer_descriptor(&self, offset: u64, len: usize) -> Option<BorrowedFd<'_>> {
        self.descriptor()?;
        self.member.to_write().ok()?;
        self.member.inner.transfer_descriptor(offset, len)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.member.forget(self.number);
    }
}
