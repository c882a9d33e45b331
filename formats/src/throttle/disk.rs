//! A file behind a throttle group.

use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use journal::{Allocate, Claim, Disk, DiskStatus, Extent, Held, Result, Zeroing};

use super::{Passing, ThrottleGroup};

/// A disk that is read and written as fast as its group allows. All else is the disk's own affair.
#[derive(Debug)]
pub(crate) struct ThrottledDisk {
    disk: Arc<dyn Disk>,
    group: Arc<ThrottleGroup>,
}

impl ThrottledDisk {
    pub(crate) fn new(disk: Arc<dyn Disk>, group: Arc<ThrottleGroup>) -> Self {
        Self { disk, group }
    }
}

impl Disk for ThrottledDisk {
    fn len(&self) -> Result<u64> {
        self.disk.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.group.pass(Passing::In, buf.len() as u64);
        self.disk.read_at(offset, buf)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.group.pass(Passing::In, buf.len() as u64);
        self.disk.read_exact_at(offset, buf)
    }

    fn write_vectored_at(&self, offset: u64, bufs: &[IoSlice<'_>]) -> Result<()> {
        self.group.pass(Passing::Out, bufs.iter().map(|buf| buf.len() as u64).sum());
        self.disk.write_vectored_at(offset, bufs)
    }

    fn write_bulk_at(&self, offset: u64, buf: &[u8]) -> Result<()> {
        self.group.pass(Passing::Out, buf.len() as u64);
        self.disk.write_bulk_at(offset, buf)
    }

    fn write_early_at(&self, offset: u64, buf: &[u8]) -> Result<()> {
        self.group.pass(Passing::Out, buf.len() as u64);
        self.disk.write_early_at(offset, buf)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.disk.set_len(len)
    }

    fn can_resize(&self) -> bool {
        self.disk.can_resize()
    }

    fn sync(&self) -> Result<()> {
        self.disk.sync()
    }

    fn allocate(&self, range: Range<u64>, how: Allocate) -> Result<()> {
        self.disk.allocate(range, how)
    }

    fn zero(&self, range: Range<u64>, how: Zeroing) -> Result<()> {
        self.group.pass(Passing::Out, range.end.saturating_sub(range.start));
        self.disk.zero(range, how)
    }

    fn release(&self, range: Range<u64>) -> Result<()> {
        self.disk.release(range)
    }

    fn retire(&self, range: Range<u64>) {
        self.disk.retire(range);
    }

    fn withheld(&self) -> Vec<Range<u64>> {
        self.disk.withheld()
    }

    fn in_place(&self) -> Option<Arc<dyn Disk>> {
        Some(Arc::new(Self { disk: self.disk.in_place()?, group: Arc::clone(&self.group) }))
    }

    fn copy_from(&self, offset: u64, source: &dyn Disk, source_offset: u64, len: u64) -> Result<u64> {
        self.group.pass(Passing::Out, len);
        self.disk.copy_from(offset, source, source_offset, len)
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        self.disk.extent_at(offset)
    }

    fn status(&self) -> Result<DiskStatus> {
        self.disk.status()
    }

    fn lock(&self, claim: Claim) -> Result<()> {
        self.disk.lock(claim)
    }

    fn hold(&self) -> Result<Held> {
        self.disk.hold()
    }
}
