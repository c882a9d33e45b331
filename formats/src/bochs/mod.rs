//! Bochs: growing disks ("redologs") of the Bochs emulator. They are read only.
//!
//! A header, a catalog with the number of each extent in the file, and the extents: a bitmap that says
//! which of the extent's sectors are there, and room for all of them.

mod header;

use std::sync::Arc;

use journal::Disk;
use zerocopy::little_endian::U32;

use self::header::Header;
use crate::paged_table::PagedTable;
use crate::raw::SECTOR;
use crate::registry::{Creation, Registered, no_creation, require_reading};
use crate::{
    Driver, Error, Format, FormatDetails, GuestOffset, Holes, HostOffset, ImageFile, Mapping, OpenFlags,
    Result, Target,
};

/// How the format gets in.
pub(crate) const REGISTERED: Registered = Registered {
    format: Format::Bochs,
    open: |source| Ok(Box::new(Bochs::open(source.disk, source.flags)?)),
    create: Creation::InOneFile(|_, _| Err(no_creation(Format::Bochs))),
};

/// The catalog's entry of an extent that is not in the file.
const ABSENT: u32 = u32::MAX;

/// A Bochs image.
#[derive(Debug)]
pub struct Bochs {
    header: Header,
    catalog: PagedTable<U32>,
    disk: Arc<dyn Disk>,
}

impl Bochs {
    /// An image in a file.
    pub fn open(disk: Arc<dyn Disk>, flags: &OpenFlags) -> Result<Self> {
        require_reading(flags)?;
        let header = Header::read(&*disk)?;
        let catalog = PagedTable::new(Arc::clone(&disk), header.catalog_offset, header.catalog_entries);
        Ok(Self { header, catalog, disk })
    }

    /// Where an extent starts in the file, with its bitmap, if it is there.
    fn extent(&self, index: u64) -> Result<Option<u64>> {
        let entry = self.catalog.get(index)?.get();
        if entry == ABSENT {
            return Ok(None);
        }
        let step = self.header.bitmap_room + self.header.extent_room;
        let offset = u64::from(entry).checked_mul(step).and_then(|at| at.checked_add(self.header.extents));
        // What a failing disk is told as, since nothing can be there.
        let offset = offset.filter(|&offset| offset <= i64::MAX as u64 - step);
        offset.map(Some).ok_or_else(|| Error::corrupt("Input/output error"))
    }

    /// How many of the sectors from `first` on, at most `count`, are there, or are not there, like the
    /// first.
    fn alike(&self, bitmap: u64, first: u64, count: u64) -> Result<(bool, u64)> {
        let (start, end) = (first / 8, (first + count).div_ceil(8));
        let mut bits = vec![0; (end - start) as usize];
        self.disk.read_padded(bitmap + start, &mut bits)?;
        let is_there = |sector: u64| {
            let byte = bits.get((sector / 8 - start) as usize).copied().unwrap_or_default();
            byte >> (sector % 8) & 1 == 1
        };
        let kind = is_there(first);
        let same = (first..first + count).take_while(|&sector| is_there(sector) == kind).count();
        Ok((kind, same as u64))
    }
}

impl Driver for Bochs {
    fn format(&self) -> Format {
        Format::Bochs
    }

    fn virtual_size(&self) -> u64 {
        self.header.size
    }

    fn map(&self, at: GuestOffset, len: u64) -> Result<Mapping> {
        let extent_size = self.header.extent_size;
        let (index, within) = (at.0 / extent_size, at.0 % extent_size);
        let len = len.min(extent_size - within);
        let Some(extent) = self.extent(index)? else {
            return Ok(Mapping { len, target: Target::Zero { host: None } });
        };
        let first = within / SECTOR;
        let (is_there, sectors) = self.alike(extent, first, (within + len).div_ceil(SECTOR) - first)?;
        let len = len.min((first + sectors) * SECTOR - within);
        let target = if is_there {
            let offset = HostOffset(extent + self.header.bitmap_room + within);
            Target::Data { disk: Arc::clone(&self.disk), offset, holes: Holes::Ignored }
        } else {
            Target::Zero { host: None }
        };
        Ok(Mapping { len, target })
    }

    fn tells_allocation(&self) -> bool {
        false
    }

    fn details(&self) -> Result<FormatDetails> {
        Ok(FormatDetails::default())
    }

    fn files(&self) -> Vec<ImageFile> {
        vec![ImageFile { role: "file".to_owned(), disk: Arc::clone(&self.disk), name: Vec::new() }]
    }
}
