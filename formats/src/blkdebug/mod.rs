//! `blkdebug`: a file or an image whose requests fail as rules say.

pub(crate) mod rules;

use std::io::IoSlice;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;

use journal::{Allocate, Claim, Disk, DiskStatus, Extent, Held, Permissions, Result, Zeroing};
use rules::{Event, Io, Rules};

/// The driver's name.
pub(crate) const DRIVER: &str = "blkdebug";

/// Who uses such a disk, which decides what happens when it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// Nobody but the command.
    Command,
    /// An image of a format with metadata of its own.
    Format,
    /// A raw image.
    Raw,
}

/// What is claimed of the file in addition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extra {
    /// Used as if by the image.
    pub(crate) using: Permissions,
    /// Denied to others.
    pub(crate) denying: Permissions,
}

/// A disk over another.
#[derive(Debug, Clone)]
pub(crate) struct DebugDisk {
    inner: Arc<dyn Disk>,
    /// What it is called, for messages.
    name: PathBuf,
    rules: Arc<Rules>,
    extra: Extra,
    user: User,
}

impl DebugDisk {
    /// A disk over `inner`, as the command uses it.
    pub(crate) fn new(inner: Arc<dyn Disk>, name: PathBuf, rules: Rules, extra: Extra) -> Self {
        Self { inner, name, rules: Arc::new(rules), extra, user: User::Command }
    }

    /// The same disk, as somebody else uses it.
    pub(crate) fn used_by(&self, user: User) -> Self {
        Self { user, ..self.clone() }
    }

    /// Fails if a rule says so.
    fn pass(&self, io: Io, op: &'static str, range: Range<u64>) -> Result<()> {
        let start = range.start;
        match self.rules.error(io, range) {
            None => Ok(()),
            Some(errno) => {
                tracing::debug!(op, start, errno, "A rule makes a request fail.");
                let reason = std::io::Error::from_raw_os_error(errno);
                Err(journal::Error::os(op, &self.name, Some(start), reason))
            }
        }
    }

    fn pass_read(&self, offset: u64, len: usize) -> Result<()> {
        if self.user == User::Raw {
            self.rules.happen(Event::READING);
        }
        self.pass(Io::Read, "read", range_of(offset, len as u64))
    }

    /// Writes, with all that happens before and after it.
    fn write<T>(&self, offset: u64, len: u64, write: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.user == User::Raw {
            self.rules.happen(Event::WRITING);
        }
        self.rules.happen(Event::WRITE);
        let result = self.pass(Io::Write, "write", range_of(offset, len)).and_then(|()| write());
        self.rules.happen(Event::WRITTEN);
        result
    }
}

fn range_of(offset: u64, len: u64) -> Range<u64> {
    offset..offset.saturating_add(len)
}

impl Disk for DebugDisk {
    fn len(&self) -> Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.pass_read(offset, buf.len())?;
        self.inner.read_at(offset, buf)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.pass_read(offset, buf.len())?;
        self.inner.read_exact_at(offset, buf)
    }

    fn write_vectored_at(&self, offset: u64, bufs: &[IoSlice<'_>]) -> Result<()> {
        let len = bufs.iter().map(|buf| buf.len() as u64).sum();
        self.write(offset, len, || self.inner.write_vectored_at(offset, bufs))
    }

    fn write_bulk_at(&self, offset: u64, buf: &[u8]) -> Result<()> {
        self.write(offset, buf.len() as u64, || self.inner.write_bulk_at(offset, buf))
    }

    fn write_early_at(&self, offset: u64, buf: &[u8]) -> Result<()> {
        self.write(offset, buf.len() as u64, || self.inner.write_early_at(offset, buf))
    }

    /// No rule is about lengths.
    fn set_len(&self, len: u64) -> Result<()> {
        self.inner.set_len(len)
    }

    fn can_resize(&self) -> bool {
        self.inner.can_resize()
    }

    fn sync(&self) -> Result<()> {
        if self.user != User::Command {
            self.rules.happen(Event::FLUSHING);
        }
        self.pass(Io::Flush, "flush", 0..0)?;
        self.inner.sync()
    }

    fn allocate(&self, range: Range<u64>, how: Allocate) -> Result<()> {
        self.inner.allocate(range, how)
    }

    fn zero(&self, range: Range<u64>, how: Zeroing) -> Result<()> {
        self.rules.happen(Event::ZEROES);
        let passed = self.pass(Io::WriteZeroes, "write zeroes to", range.clone());
        let result = passed.and_then(|()| self.inner.zero(range, how));
        self.rules.happen(Event::WRITTEN);
        result
    }

    /// Where space cannot be given back it is kept, which is no error.
    fn release(&self, range: Range<u64>) -> Result<()> {
        match self.pass(Io::Discard, "discard", range.clone()) {
            Ok(()) => self.inner.release(range),
            Err(_) => {
                self.inner.retire(range);
                Ok(())
            }
        }
    }

    fn retire(&self, range: Range<u64>) {
        self.inner.retire(range);
    }

    fn withheld(&self) -> Vec<Range<u64>> {
        self.inner.withheld()
    }

    fn in_place(&self) -> Option<Arc<dyn Disk>> {
        let inner = self.inner.in_place()?;
        Some(Arc::new(Self { inner, ..self.clone() }))
    }

    fn copy_from(&self, offset: u64, source: &dyn Disk, source_offset: u64, len: u64) -> Result<u64> {
        self.write(offset, len, || self.inner.copy_from(offset, source, source_offset, len))
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        let extent = self.inner.extent_at(offset)?;
        self.pass(Io::BlockStatus, "map", offset..extent.end)?;
        Ok(extent)
    }

    fn status(&self) -> Result<DiskStatus> {
        self.inner.status()
    }

    fn lock(&self, claim: Claim) -> Result<()> {
        if claim == Claim::none() {
            return self.inner.lock(claim);
        }
        let Extra { using, denying } = self.extra;
        self.inner.lock(Claim { using: claim.using | using, denying: claim.denying | denying })
    }

    fn hold(&self) -> Result<Held> {
        self.inner.hold()
    }

    /// Who has the descriptor does not ask the rules.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        if self.rules.is_empty() { self.inner.descriptor() } else { None }
    }

    fn transfer_descriptor(&self, offset: u64, len: usize) -> Option<BorrowedFd<'_>> {
        if self.rules.is_empty() { self.inner.transfer_descriptor(offset, len) } else { None }
    }
}
