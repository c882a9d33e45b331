//! An image as the file of another: a disk whose bytes are an image's guest bytes.

use std::io::IoSlice;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use journal::{Allocate, Claim, Disk, DiskKind, DiskStatus, ErrorKind, Extent, ExtentKind, Zeroing};

use crate::{Image, engine};

/// The virtual disk of an image, for reading.
#[derive(Debug)]
pub(crate) struct ImageDisk {
    image: Arc<Image>,
}

impl ImageDisk {
    pub(crate) fn new(image: Arc<Image>) -> Self {
        Self { image }
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

    fn write_vectored_at(&self, _offset: u64, _bufs: &[IoSlice<'_>]) -> journal::Result<()> {
        Err(self.refuse("write through two formats to"))
    }

    fn set_len(&self, _len: u64) -> journal::Result<()> {
        Err(self.refuse("resize"))
    }

    fn sync(&self) -> journal::Result<()> {
        Ok(())
    }

    fn allocate(&self, _range: Range<u64>, _how: Allocate) -> journal::Result<()> {
        Err(self.refuse("allocate in"))
    }

    fn zero(&self, _range: Range<u64>, _how: Zeroing) -> journal::Result<()> {
        Err(self.refuse("write through two formats to"))
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
