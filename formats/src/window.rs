//! A part of a disk as a disk of its own.

use std::io::IoSlice;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::{Allocate, Claim, Disk, DiskStatus, ErrorKind, Extent, ExtentKind, Held, Result, Zeroing};

/// The bytes of a disk from an offset on.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    disk: Arc<dyn Disk>,
    offset: u64,
    /// How many there are; to the end if not said.
    size: Option<u64>,
    /// What the whole is called, for messages.
    name: PathBuf,
}

impl Window {
    pub(crate) fn new(disk: Arc<dyn Disk>, offset: u64, size: Option<u64>, name: PathBuf) -> Self {
        Self { disk, offset, size, name }
    }

    fn error(&self, kind: ErrorKind, op: &'static str, offset: u64) -> journal::Error {
        journal::Error::new(kind, op, &self.name, Some(offset))
    }

    /// A range of the whole, which must not go beyond a window of a given size.
    fn outside(&self, op: &'static str, range: Range<u64>) -> Result<Range<u64>> {
        if self.size.is_some_and(|size| range.end > size) {
            return Err(self.error(ErrorKind::NoSpace, op, range.start));
        }
        Ok(range.start.saturating_add(self.offset)..range.end.saturating_add(self.offset))
    }

    fn outside_len(&self, op: &'static str, offset: u64, len: usize) -> Result<u64> {
        Ok(self.outside(op, offset..offset.saturating_add(len as u64))?.start)
    }

    /// The part of a buffer that the window has bytes for.
    fn within(&self, offset: u64, len: usize) -> Result<usize> {
        let left = self.len()?.saturating_sub(offset);
        Ok(usize::try_from(left).map_or(len, |left| left.min(len)))
    }
}

impl Disk for Window {
    fn len(&self) -> Result<u64> {
        let left = self.disk.len()?.saturating_sub(self.offset);
        Ok(self.size.unwrap_or(left))
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let wanted = self.within(offset, buf.len())?;
        let at = self.outside_len("read", offset, wanted)?;
        self.disk.read_padded(at, &mut buf[..wanted])?;
        Ok(wanted)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        if self.read_at(offset, buf)? == buf.len() {
            return Ok(());
        }
        Err(self.error(ErrorKind::UnexpectedEnd, "read", offset))
    }

    fn write_vectored_at(&self, offset: u64, bufs: &[IoSlice<'_>]) -> Result<()> {
        let len = bufs.iter().map(|buf| buf.len()).sum();
        self.disk.write_vectored_at(self.outside_len("write", offset, len)?, bufs)
    }

    fn write_bulk_at(&self, offset: u64, buf: &[u8]) -> Result<()> {
        self.disk.write_bulk_at(self.outside_len("write", offset, buf.len())?, buf)
    }

    fn write_early_at(&self, offset: u64, buf: &[u8]) -> Result<()> {
        self.disk.write_early_at(self.outside_len("write", offset, buf.len())?, buf)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        match self.size {
            // What is cut off stays where it is: others may stand behind it.
            Some(size) if len <= size => Ok(()),
            _ => self.disk.set_len(self.outside("resize", 0..len)?.end),
        }
    }

    fn can_resize(&self) -> bool {
        self.size.is_none() && self.disk.can_resize()
    }

    fn sync(&self) -> Result<()> {
        self.disk.sync()
    }

    fn allocate(&self, range: Range<u64>, how: Allocate) -> Result<()> {
        self.disk.allocate(self.outside("allocate in", range)?, how)
    }

    fn zero(&self, range: Range<u64>, how: Zeroing) -> Result<()> {
        self.disk.zero(self.outside("write zeroes to", range)?, how)
    }

    fn release(&self, range: Range<u64>) -> Result<()> {
        let range = range.start..range.end.min(self.len()?);
        if range.is_empty() {
            return Ok(());
        }
        let range = self.outside("release", range)?;
        if self.size.is_none() || range.end < self.disk.len()? {
            return self.disk.release(range);
        }
        // It would be cut off.
        self.disk.retire(range);
        Ok(())
    }

    fn retire(&self, range: Range<u64>) {
        if let Ok(range) = self.outside("release", range) {
            self.disk.retire(range);
        }
    }

    fn withheld(&self) -> Vec<Range<u64>> {
        let inside = |range: Range<u64>| {
            let [start, end] = [range.start, range.end].map(|at| at.saturating_sub(self.offset));
            (start < end).then_some(start..end)
        };
        self.disk.withheld().into_iter().filter_map(inside).collect()
    }

    fn in_place(&self) -> Option<Arc<dyn Disk>> {
        let disk = self.disk.in_place()?;
        Some(Arc::new(Self { disk, ..self.clone() }))
    }

    fn copy_from(&self, offset: u64, source: &dyn Disk, source_offset: u64, len: u64) -> Result<u64> {
        let range = self.outside("copy to", offset..offset.saturating_add(len))?;
        self.disk.copy_from(range.start, source, source_offset, len)
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        let len = self.len()?;
        if offset >= len {
            return Ok(Extent { kind: ExtentKind::Hole, end: u64::MAX });
        }
        let extent = self.disk.extent_at(offset.saturating_add(self.offset))?;
        Ok(Extent { end: extent.end.saturating_sub(self.offset).min(len), ..extent })
    }

    fn status(&self) -> Result<DiskStatus> {
        Ok(DiskStatus { len: self.len()?, direct_alignment: None, ..self.disk.status()? })
    }

    fn lock(&self, claim: Claim) -> Result<()> {
        self.disk.lock(claim)
    }

    fn hold(&self) -> Result<Held> {
        self.disk.hold()
    }
}

/// The bytes of `disk` that a raw image in it has, where that is not all of it.
pub(crate) fn part(disk: &Arc<dyn Disk>, offset: u64, size: Option<u64>, name: &Path) -> Arc<dyn Disk> {
    match (offset, size) {
        (0, None) => Arc::clone(disk),
        _ => Arc::new(Window::new(Arc::clone(disk), offset, size, name.to_owned())),
    }
}
