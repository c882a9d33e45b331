//! Disks whose bytes are made when they are asked for.

use std::fmt::Debug;
use std::io::IoSlice;
use std::ops::Range;
use std::path::PathBuf;

use journal::{Allocate, Claim, Disk, DiskStatus, ErrorKind, Extent, ExtentKind, Result, Zeroing};

/// What makes the bytes.
pub(crate) trait Bytes: Debug + Send + Sync {
    /// How many there are.
    fn size(&self) -> u64;

    /// Makes those from `at`, all of which there are.
    fn make(&self, at: u64, buf: &mut [u8]) -> Result<()>;

    /// Takes bytes in their place, where that means something.
    fn take(&self, at: u64, bytes: &[u8]) -> Result<()> {
        let _ = bytes;
        Err(journal::Error::new(ErrorKind::Unsupported, "write to", &self.name(), Some(at)))
    }

    /// What they are called, for messages.
    fn name(&self) -> PathBuf;
}

/// Such a disk.
#[derive(Debug)]
pub(crate) struct MadeUpDisk<B>(pub(crate) B);

impl<B: Bytes> MadeUpDisk<B> {
    fn refuse(&self, op: &'static str) -> journal::Error {
        journal::Error::new(ErrorKind::Unsupported, op, &self.0.name(), None)
    }
}

impl<B: Bytes> Disk for MadeUpDisk<B> {
    fn len(&self) -> Result<u64> {
        Ok(self.0.size())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let left = usize::try_from(self.0.size().saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = buf.len().min(left);
        self.0.make(offset, &mut buf[..wanted])?;
        Ok(wanted)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        if self.read_at(offset, buf)? == buf.len() {
            return Ok(());
        }
        Err(journal::Error::new(ErrorKind::UnexpectedEnd, "read", &self.0.name(), Some(offset)))
    }

    fn write_vectored_at(&self, offset: u64, bufs: &[IoSlice<'_>]) -> Result<()> {
        let mut at = offset;
        for buf in bufs {
            self.0.take(at, buf)?;
            at = at.saturating_add(buf.len() as u64);
        }
        Ok(())
    }

    fn can_resize(&self) -> bool {
        false
    }

    fn set_len(&self, _len: u64) -> Result<()> {
        Err(self.refuse("resize"))
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn allocate(&self, _range: Range<u64>, _how: Allocate) -> Result<()> {
        Err(self.refuse("allocate in"))
    }

    fn zero(&self, _range: Range<u64>, _how: Zeroing) -> Result<()> {
        Err(self.refuse("write to"))
    }

    fn copy_from(&self, _: u64, _: &dyn Disk, _: u64, _: u64) -> Result<u64> {
        Err(self.refuse("copy to"))
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        match self.0.size() {
            size if offset < size => Ok(Extent { kind: ExtentKind::Data, end: size }),
            _ => Ok(Extent { kind: ExtentKind::Hole, end: u64::MAX }),
        }
    }

    fn status(&self) -> Result<DiskStatus> {
        Ok(DiskStatus::without_file(self.0.size()))
    }

    fn lock(&self, _claim: Claim) -> Result<()> {
        Ok(())
    }
}
