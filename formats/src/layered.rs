//! An image as the file of another: a disk whose bytes are an image's guest bytes.

use std::io::IoSlice;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use journal::{Allocate, Claim, Disk, DiskKind, DiskStatus, ErrorKind, Extent, ExtentKind, Zeroing};

use crate::engine::{self, Write};
use crate::raw::sectors;
use crate::resize::{Fit, NewSize, Remainder};
use crate::{Durability, Image, Result};

/// The virtual disk of an image.
///
/// What is written here is written by a guest of that image: it is there for others when that image commits, so that no
/// second [view](Disk::in_place) is needed for what replaces something.
#[derive(Debug)]
pub(crate) struct ImageDisk {
    image: Arc<Image>,
    /// Parts of one cluster are written one after another.
    writing: Mutex<()>,
}

impl ImageDisk {
    pub(crate) fn new(image: Arc<Image>) -> Self {
        Self { image, writing: Mutex::new(()) }
    }

    /// Lets one change of the disk after another happen.
    fn change(
        &self,
        op: &'static str,
        offset: u64,
        change: impl FnOnce() -> Result<()>,
    ) -> journal::Result<()> {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        change().map_err(|error| self.failed(op, offset, &error))
    }

    /// Makes the disk as large as what is to be written needs it.
    fn reach(&self, end: u64) -> Result<()> {
        if end <= self.image.virtual_size() { Ok(()) } else { self.resize(end) }
    }

    fn resize(&self, size: u64) -> Result<()> {
        let size = sectors(size);
        if size == self.image.virtual_size() {
            return Ok(());
        }
        let resizer = self.image.driver().writer().and_then(|writer| writer.resizer());
        let resizer = resizer
            .ok_or_else(|| crate::Error::unsupported("Image format driver does not support resize"))?;
        match resizer.resize(&NewSize::plain(size, Fit::AtLeast))? {
            Remainder::None => Ok(()),
            Remainder::Clear(range) | Remainder::Write(range) => resizer.settle(&mut || {
                let zeroes = Write::Zeroes { len: range.end - range.start, how: Zeroing::Keep };
                engine::write(&self.image, range.start, zeroes)
            }),
        }
    }

    fn failed(&self, op: &'static str, offset: u64, error: &crate::Error) -> journal::Error {
        let kind = error.floor().map_or(ErrorKind::Io, journal::Error::kind);
        journal::Error::new(kind, op, Path::new(self.image.filename()), Some(offset))
    }

    fn refuse(&self, op: &'static str) -> journal::Error {
        journal::Error::new(ErrorKind::Unsupported, op, Path::new(self.image.filename()), None)
    }
}

impl Disk for ImageDisk {
    fn len(&self) -> journal::Result<u64> {
        Ok(self.image.virtual_size())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> journal::Result<usize> {
        let left = self.image.virtual_size().saturating_sub(offset);
        let wanted = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        engine::read(&self.image, offset, &mut buf[..wanted])
            .map_err(|error| self.failed("read", offset, &error))?;
        Ok(wanted)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> journal::Result<()> {
        if self.read_at(offset, buf)? == buf.len() {
            return Ok(());
        }
        let path = Path::new(self.image.filename());
        Err(journal::Error::new(ErrorKind::UnexpectedEnd, "read", path, Some(offset)))
    }

    fn write_vectored_at(&self, offset: u64, bufs: &[IoSlice<'_>]) -> journal::Result<()> {
        self.change("write", offset, || {
            let mut at = offset;
            for buf in bufs {
                let end = at.saturating_add(buf.len() as u64);
                self.reach(end)?;
                engine::write(&self.image, at, Write::Data(buf))?;
                at = end;
            }
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> journal::Result<()> {
        self.change("resize", len, || self.resize(len))
    }

    fn can_resize(&self) -> bool {
        self.image.driver().writer().is_some_and(|writer| writer.resizer().is_some())
    }

    /// Commits the image, if it can be written.
    fn sync(&self) -> journal::Result<()> {
        match self.image.driver().writer() {
            Some(writer) => self.change("sync", 0, || writer.commit(Durability::Durable)),
            None => Ok(()),
        }
    }

    fn allocate(&self, _range: Range<u64>, _how: Allocate) -> journal::Result<()> {
        Err(self.refuse("allocate in"))
    }

    fn zero(&self, range: Range<u64>, how: Zeroing) -> journal::Result<()> {
        self.change("write zeroes to", range.start, || {
            self.reach(range.end)?;
            let len = range.end.saturating_sub(range.start);
            engine::write(&self.image, range.start, Write::Zeroes { len, how })
        })
    }

    /// The disk keeps its size.
    fn release(&self, range: Range<u64>) -> journal::Result<()> {
        let end = range.end.min(self.image.virtual_size());
        if range.start >= end { Ok(()) } else { self.zero(range.start..end, Zeroing::Unmap) }
    }

    fn copy_from(&self, _: u64, _: &dyn Disk, _: u64, _: u64) -> journal::Result<u64> {
        Err(self.refuse("copy to"))
    }

    fn extent_at(&self, offset: u64) -> journal::Result<Extent> {
        let left = self.image.virtual_size().saturating_sub(offset);
        if left == 0 {
            return Ok(Extent { kind: ExtentKind::Hole, end: u64::MAX });
        }
        let status =
            engine::status(&self.image, offset, left).map_err(|error| self.failed("map", offset, &error))?;
        let kind = if status.zero { ExtentKind::Hole } else { ExtentKind::Data };
        Ok(Extent { kind, end: offset + status.len })
    }

    fn status(&self) -> journal::Result<DiskStatus> {
        let mut status = match self.image.primary_file() {
            Some(file) => file.disk.status()?,
            None => return Err(self.refuse("get the status of")),
        };
        status.kind = DiskKind::Regular;
        status.len = self.image.virtual_size();
        status.direct_alignment = None;
        Ok(status)
    }

    /// The files below have been locked when the image was opened.
    fn lock(&self, _claim: Claim) -> journal::Result<()> {
        Ok(())
    }
}
