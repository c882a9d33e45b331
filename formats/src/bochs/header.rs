//! The header of a Bochs image: 512 bytes, numbers with their low byte first.

use journal::Disk;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::raw::SECTOR;
use crate::{Error, Result};

const MAGIC: &[u8] = b"Bochs Virtual HD Image\0";
const KIND: &[u8] = b"Redolog\0";
const SUBTYPE: &[u8] = b"Growing\0";
const VERSION_1: u32 = 0x1_0000;
const VERSION_2: u32 = 0x2_0000;
/// Catalogs with more entries are refused, as QEMU does.
const MAX_CATALOG: u32 = 0x10_0000;
/// Larger extents are refused, as QEMU does.
const MAX_EXTENT: u32 = 8 << 20;

/// The header as it stands in the file.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawHeader {
    /// What the file is.
    magic: [u8; 32],
    /// Which kind of image.
    kind: [u8; 16],
    /// Which kind of that.
    subtype: [u8; 16],
    version: U32,
    /// Length of the header in bytes; the catalog follows.
    header: U32,
    /// Entries of the catalog.
    catalog: U32,
    /// Length of an extent's bitmap in bytes.
    bitmap: U32,
    /// Length of an extent in bytes.
    extent: U32,
    /// In version 1 the low half of the disk's length in bytes, in version 2 a time.
    first: U32,
    /// The rest of that length, or the low half of it.
    second: U32,
    /// In version 2 the high half of the disk's length.
    third: U32,
}

/// What the header says.
#[derive(Debug)]
pub(super) struct Header {
    /// Length of the disk in bytes.
    pub(super) size: u64,
    /// Bytes in an extent, a power of two.
    pub(super) extent_size: u64,
    pub(super) catalog_offset: u64,
    pub(super) catalog_entries: u64,
    /// Where extent 0 starts in the file.
    pub(super) extents: u64,
    /// Bytes that an extent's bitmap takes.
    pub(super) bitmap_room: u64,
    /// Bytes that an extent's sectors take.
    pub(super) extent_room: u64,
}

impl Header {
    /// Reads and checks the header.
    pub(super) fn read(disk: &dyn Disk) -> Result<Self> {
        let mut raw = RawHeader::new_zeroed();
        disk.read_padded(0, raw.as_mut_bytes())?;
        let disk_size = match raw.version.get() {
            _ if !raw.is_growing() => None,
            VERSION_1 => Some(join(raw.first, raw.second)),
            VERSION_2 => Some(join(raw.second, raw.third)),
            _ => None,
        };
        let disk_size = disk_size.ok_or_else(|| Error::invalid("Image not in Bochs format"))?;
        Self::checked(&raw, disk_size / SECTOR * SECTOR)
    }

    fn checked(raw: &RawHeader, size: u64) -> Result<Self> {
        let (catalog, extent) = (raw.catalog.get(), raw.extent.get());
        if catalog > MAX_CATALOG {
            return Err(Error::corrupt("Catalog size is too large"));
        }
        if u64::from(extent) < SECTOR {
            return Err(Error::corrupt("Extent size must be at least 512"));
        }
        if !extent.is_power_of_two() {
            return Err(Error::corrupt(format!("Extent size {extent} is not a power of two")));
        }
        if extent > MAX_EXTENT {
            return Err(Error::corrupt(format!("Extent size {extent} is too large")));
        }
        if u64::from(catalog) < size.div_ceil(extent.into()) {
            return Err(Error::corrupt("Catalog size is too small for this disk size"));
        }
        // QEMU counts in 32 bits: a length of 0 is the longest of all.
        let blocks = |len: u32| u64::from(len.wrapping_sub(1) / SECTOR as u32) + 1;
        Ok(Self {
            size,
            extent_size: extent.into(),
            catalog_offset: raw.header.get().into(),
            catalog_entries: catalog.into(),
            extents: raw.header.get().wrapping_add(catalog * 4).into(),
            bitmap_room: blocks(raw.bitmap.get()) * SECTOR,
            extent_room: blocks(extent) * SECTOR,
        })
    }
}

impl RawHeader {
    fn is_growing(&self) -> bool {
        self.magic.starts_with(MAGIC) && self.kind.starts_with(KIND) && self.subtype.starts_with(SUBTYPE)
    }
}

fn join(low: U32, high: U32) -> u64 {
    let bytes = [low.to_bytes(), high.to_bytes()].concat();
    U64::read_from_bytes(&bytes).map_or(0, U64::get)
}
