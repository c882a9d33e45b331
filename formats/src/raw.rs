//! Raw: the guest's bytes as they are, in a whole file or in a part of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use journal::{Disk, DiskKind, Zeroing};

use crate::create::{Preallocation, extend};
use crate::error::ResultExt;
use crate::options::RawOptions;
use crate::resize::{Fit, Remainder};
use crate::{
    Allocation, Driver, Durability, Error, ErrorKind, Format, FormatDetails, GuestOffset, Holes, HostOffset,
    ImageFile, Mapping, NewSize, Resize, Result, Target, Writer,
};

/// Disks are counted in sectors of this many bytes; what a file lacks to the next reads as zeroes.
pub const SECTOR: u64 = 512;

/// A raw image.
#[derive(Debug)]
pub struct Raw {
    disk: Arc<dyn Disk>,
    offset: u64,
    size: AtomicU64,
    /// Whether the size is the options', not the file's.
    is_fixed: bool,
    access: journal::Access,
}

impl Raw {
    /// A raw image in (a part of) a file.
    pub fn open(disk: Arc<dyn Disk>, options: &RawOptions, access: journal::Access) -> Result<Self> {
        let disk = disk.in_place().unwrap_or(disk);
        let file_size = sectors(disk.len()?);
        let RawOptions { offset, size, .. } = *options;
        if offset > file_size {
            return Err(Error::invalid(format!(
                "Offset ({offset}) cannot be greater than size of the containing file ({file_size})"
            )));
        }
        let left = file_size - offset;
        if size.is_some_and(|size| size > left) {
            return Err(Error::invalid(format!(
                "The sum of offset ({offset}) and size ({}) has to be smaller or equal to the  actual size of the \
                 containing file ({file_size})",
                size.unwrap_or_default()
            )));
        }
        if size.is_some_and(|size| size % SECTOR != 0) {
            return Err(Error::invalid("Specified size is not multiple of 512"));
        }
        let is_fixed = size.is_some();
        let size = AtomicU64::new(size.unwrap_or_else(|| sectors(left)));
        Ok(Self { disk, offset, size, is_fixed, access })
    }

    /// A raw image that is the whole file.
    pub fn whole(disk: Arc<dyn Disk>, access: journal::Access) -> Result<Self> {
        Self::open(disk, &RawOptions::default(), access)
    }

    fn host(&self, at: GuestOffset) -> HostOffset {
        // `open` has checked that the disk lies in the file, but for the last sector's rest.
        HostOffset(self.offset.saturating_add(at.0))
    }
}

/// A length rounded up to whole sectors.
pub fn sectors(len: u64) -> u64 {
    len.checked_next_multiple_of(SECTOR).unwrap_or(len)
}

impl Driver for Raw {
    fn format(&self) -> Format {
        Format::Raw
    }

    fn virtual_size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    fn map(&self, at: GuestOffset, len: u64) -> Result<Mapping> {
        let disk = Arc::clone(&self.disk);
        Ok(Mapping { len, target: Target::Data { disk, offset: self.host(at), holes: Holes::Transparent } })
    }

    fn details(&self) -> Result<FormatDetails> {
        Ok(FormatDetails { dirty: Some(false), ..FormatDetails::default() })
    }

    fn files(&self) -> Vec<ImageFile> {
        vec![ImageFile { role: "file".to_owned(), disk: Arc::clone(&self.disk), name: Vec::new() }]
    }

    fn writer(&self) -> Option<&dyn Writer> {
        (self.access == journal::Access::Write).then_some(self as _)
    }
}

/// Bytes are written in place: there is no metadata to link.
impl Writer for Raw {
    fn granularity(&self) -> u64 {
        1
    }

    fn prepare(&self, at: GuestOffset, len: u64) -> Result<Allocation> {
        Ok(Allocation { at, len, disk: Arc::clone(&self.disk), offset: self.host(at) })
    }

    fn link(&self, _allocation: &Allocation) -> Result<()> {
        Ok(())
    }

    fn zero(&self, at: GuestOffset, len: u64, how: Zeroing) -> Result<()> {
        let start = self.host(at).0;
        Ok(self.disk.zero(start..start.saturating_add(len), how)?)
    }

    fn discard(&self, at: GuestOffset, len: u64) -> Result<()> {
        self.zero(at, len, Zeroing::Unmap)
    }

    fn overwrites(&self) -> bool {
        true
    }

    fn resizer(&self) -> Option<&dyn Resize> {
        Some(self)
    }

    fn commit(&self, durability: Durability) -> Result<()> {
        match durability {
            Durability::Durable => Ok(self.disk.sync()?),
            Durability::Volatile => Ok(()),
        }
    }
}

/// The length of the file is the size of the disk.
impl Resize for Raw {
    fn resize(&self, request: &NewSize) -> Result<Remainder> {
        if self.is_fixed {
            return Err(Error::unsupported("Cannot resize fixed-size raw disks"));
        }
        let len = self.offset.checked_add(request.size).filter(|&len| len <= i64::MAX as u64);
        let len =
            len.ok_or_else(|| Error::new(ErrorKind::TooLarge, "Disk size too large for the chosen offset"))?;
        NewSize { size: len, ..*request }.check_range()?;
        if self.disk.status()?.kind != DiskKind::Regular {
            return self.resize_device(len, request);
        }
        if request.preallocation == Preallocation::Metadata {
            return Err(Error::unsupported("Unsupported preallocation mode: metadata"));
        }
        if !self.disk.can_resize() {
            return Err(Error::unsupported("Image format driver does not support resize"));
        }
        extend(&*self.disk, len, request.preallocation).context(|| match request.preallocation {
            Preallocation::Falloc => "Could not preallocate data for the new file".into(),
            _ => "Could not resize file".into(),
        })?;
        self.size.store(sectors(request.size), Ordering::Release);
        Ok(Remainder::None)
    }
}

impl Raw {
    /// A device keeps its size, which may be larger than the disk's.
    fn resize_device(&self, len: u64, request: &NewSize) -> Result<Remainder> {
        if request.preallocation != Preallocation::Off {
            let mode = request.preallocation.name();
            return Err(Error::unsupported(format!(
                "Preallocation mode '{mode}' unsupported for this non-regular file"
            )));
        }
        match request.fit {
            Fit::Exact if len != self.disk.len()? => Err(Error::unsupported("Cannot resize device files")),
            Fit::AtLeast if len > self.disk.len()? => Err(Error::unsupported("Cannot grow device files")),
            _ => Ok(Remainder::None),
        }
    }
}
