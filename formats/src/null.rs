//! A disk that keeps nothing: what is written to it is forgotten, and it reads as zeroes.

use std::io::IoSlice;
use std::ops::Range;
use std::path::Path;

use journal::{Allocate, Claim, Disk, DiskStatus, ErrorKind, Extent, ExtentKind, Result, Zeroing};

/// A disk that keeps nothing.
#[derive(Debug)]
pub(crate) struct NullDisk {
    /// What it is called, for messages.
    driver: &'static str,
    len: u64,
}

impl NullDisk {
    pub(crate) fn new(driver: &'static str, len: u64) -> Self {
        Self { driver, len }
    }

    fn refuse(&self, kind: ErrorKind, op: &'static str) -> journal::Error {
        journal::Error::new(kind, op, Path::new(self.driver), None)
    }
}

impl Disk for NullDisk {
    fn len(&self) -> Result<u64> {
        Ok(self.len)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = buf.len().min(left);
        buf.iter_mut().take(len).for_each(|byte| *byte = 0);
        Ok(len)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        if self.read_at(offset, buf)? < buf.len() {
            return Err(self.refuse(ErrorKind::UnexpectedEnd, "read"));
        }
        Ok(())
    }

    fn write_vectored_at(&self, _offset: u64, _bufs: &[IoSlice<'_>]) -> Result<()> {
        Ok(())
    }

    fn can_resize(&self) -> bool {
        false
    }

    fn set_len(&self, len: u64) -> Result<()> {
        if len == self.len { Ok(()) } else { Err(self.refuse(ErrorKind::Unsupported, "resize")) }
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn allocate(&self, range: Range<u64>, _how: Allocate) -> Result<()> {
        self.set_len(range.end.max(self.len))
    }

    fn zero(&self, _range: Range<u64>, _how: Zeroing) -> Result<()> {
        Ok(())
    }

    fn copy_from(&self, _: u64, _: &dyn Disk, _: u64, _: u64) -> Result<u64> {
        Err(self.refuse(ErrorKind::Unsupported, "copy to"))
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        let end = if offset < self.len { self.len } else { u64::MAX };
        Ok(Extent { kind: ExtentKind::Hole, end })
    }

    fn status(&self) -> Result<DiskStatus> {
        Ok(DiskStatus::without_file(self.len))
    }

    fn lock(&self, _claim: Claim) -> Result<()> {
        Ok(())
    }
}
