//! Raw: the guest's bytes as they are, in a whole file or in a part of it.

use std::sync::Arc;

use journal::{Disk, Zeroing};

use crate::options::RawOptions;
use crate::{
    Allocation, Driver, Durability, Error, Format, FormatDetails, GuestOffset, Holes, HostOffset, ImageFile,
    Mapping, Result, Target, Writer,
};

/// Disks are counted in sectors of this many bytes; what a file lacks to the next reads as zeroes.
pub const SECTOR: u64 = 512;

/// A raw image.
#[derive(Debug)]
pub struct Raw {
    disk: Arc<dyn Disk>,
    offset: u64,
    size: u64,
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
        Ok(Self { disk, offset, size: size.unwrap_or_else(|| sectors(left)), access })
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
        self.size
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

    fn commit(&self, durability: Durability) -> Result<()> {
        match durability {
            Durability::Durable => Ok(self.disk.sync()?),
            Durability::Volatile => Ok(()),
        }
    }
}
