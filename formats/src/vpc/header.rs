//! The header of a dynamic disk: where its blocks' table is.

use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::footer::checksum;
use crate::raw::{SECTOR, sectors};
use crate::{Error, ErrorKind, Result};

/// Guest bytes in a block of a new image.
pub const NEW_BLOCK_SIZE: u32 = 2 << 20;
/// The entry of a block that is not in the file.
pub const UNALLOCATED: u32 = 0xffff_ffff;
/// Bytes of the header.
pub const HEADER_SIZE: u64 = 1024;
const COOKIE: [u8; 8] = *b"cxsparse";
/// The most entries whose table's bytes fit into 31 bits.
const MAX_ENTRIES: u32 = i32::MAX as u32 / 4;
/// The longest request that QEMU makes: 31 bits, in whole sectors.
const MAX_REQUEST: u64 = i32::MAX as u64 / SECTOR * SECTOR;

/// A header as it is in the file (VHD specification, "Dynamic Disk Header Format").
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawHeader {
    cookie: [u8; 8],
    /// All ones: there is no next structure.
    data_offset: U64,
    /// Where the table starts.
    table_offset: U64,
    version: U32,
    /// Entries in the table.
    entries: U32,
    /// Guest bytes in a block.
    block_size: U32,
    checksum: U32,
    /// The identity of the disk that this one stands on.
    pub parent_uuid: [u8; 16],
    /// When its file was last changed, in seconds since 2000.
    pub parent_timestamp: U32,
    reserved: U32,
    /// The name of that disk's file, in UTF-16.
    pub parent_name: [U16; 256],
    /// Where to look for it.
    pub locators: [RawLocator; 8],
    rest: [u8; 256],
}

const _: () = assert!(size_of::<RawHeader>() == HEADER_SIZE as usize);

/// A place to look for the disk that a differencing one stands on (VHD specification, "Parent Locators").
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawLocator {
    /// What kind of name it is.
    pub code: [u8; 4],
    /// Room for the name in the file, in bytes or sectors.
    pub space: U32,
    /// Bytes of the name.
    pub length: U32,
    reserved: U32,
    /// Where the name is in the file.
    pub offset: U64,
}

/// What a header says, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Where the table starts in the file.
    pub table_offset: u64,
    /// Entries in the table.
    pub entries: u32,
    /// Guest bytes in a block: a power of two, whole sectors.
    pub block_size: u64,
}

impl RawHeader {
    /// The same with the right checksum.
    pub fn sealed(&self) -> Self {
        let sum = Self { checksum: 0.into(), ..*self };
        Self { checksum: checksum(sum.as_bytes()).into(), ..sum }
    }

    /// The same with its table elsewhere.
    pub fn with_table(&self, at: u64, entries: u32) -> Self {
        Self { table_offset: at.into(), entries: entries.into(), ..*self }.sealed()
    }
}

impl Header {
    /// Entries for a disk of `size` bytes.
    pub fn entries_for(&self, size: u64) -> Result<u32> {
        let entries =
            u32::try_from(size.div_ceil(self.block_size)).ok().filter(|&entries| entries <= MAX_ENTRIES);
        entries
            .ok_or_else(|| Error::new(ErrorKind::TooLarge, "The disk is too large for blocks of this size"))
    }

    /// Checks the header of a disk of `size` bytes, in qemu-img's order.
    pub fn parse(raw: &RawHeader, size: u64) -> Result<Self> {
        if raw.cookie != COOKIE {
            return Err(Error::invalid("Invalid header magic"));
        }
        let block_size = u64::from(raw.block_size.get());
        if !block_size.is_power_of_two() || block_size < SECTOR {
            return Err(Error::corrupt(format!("Invalid block size {block_size}")));
        }
        let entries = raw.entries.get();
        if size / block_size > u64::from(u32::MAX) {
            return Err(Error::corrupt("Too many blocks"));
        }
        if block_size * u64::from(entries) < size {
            return Err(Error::corrupt("Page table too small"));
        }
        if entries > MAX_ENTRIES {
            let text = format!("Max Table Entries too large ({})", entries.cast_signed());
            return Err(Error::corrupt(text));
        }
        let header = Self { table_offset: raw.table_offset.get(), entries, block_size };
        let bytes = u64::from(entries) * 4;
        let end = header.table_offset.checked_add(bytes);
        if bytes > MAX_REQUEST || end.is_none_or(|end| end > crate::resize::MAX_DISK_SIZE) {
            return Err(Error::corrupt("Error reading pagetable"));
        }
        Ok(header)
    }

    /// The header of a new disk.
    pub fn new(size: u64, table_offset: u64) -> Self {
        let block_size = u64::from(NEW_BLOCK_SIZE);
        // Disks are bounded, and so is the number of their blocks.
        Self { table_offset, entries: size.div_ceil(block_size) as u32, block_size }
    }

    /// The bytes of a new disk's header.
    pub fn to_raw(self) -> RawHeader {
        let mut raw = RawHeader::new_zeroed();
        raw.cookie = COOKIE;
        raw.data_offset = u64::MAX.into();
        raw.table_offset = self.table_offset.into();
        raw.version = 0x0001_0000.into();
        raw.entries = self.entries.into();
        raw.block_size = NEW_BLOCK_SIZE.into();
        raw.sealed()
    }

    /// Bytes before each block that tell which of its sectors are in use.
    pub fn bitmap_size(&self) -> u64 {
        sectors(self.block_size / SECTOR / 8)
    }

    /// Where the table ends, rounded up to whole sectors.
    pub fn table_end(&self) -> u64 {
        // The sum was checked when the header was.
        sectors(self.table_offset.saturating_add(u64::from(self.entries) * 4))
    }

    /// Bytes of a block in the file.
    pub fn stride(&self) -> u64 {
        self.bitmap_size() + self.block_size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_header_is_read_back() {
        for size in [0, 512, 5_257_216, 2040 << 30] {
            let header = Header::new(size, 1536);
            assert_eq!(Header::parse(&header.to_raw(), size).unwrap(), header);
        }
        let header = Header::new(4 << 20, 1536);
        assert_eq!((header.entries, header.bitmap_size(), header.table_end()), (2, 512, 2048));
        assert!(Header::parse(&header.to_raw(), (4 << 20) + 512).is_err());
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let good = Header::new(4 << 20, 1536).to_raw();
        for at in 0..0x40 {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut raw = good;
                raw.as_mut_bytes()[at] = value;
                if let Ok(header) = Header::parse(&raw, 4 << 20) {
                    assert!(header.table_end() >= header.table_offset && header.stride() > header.block_size);
                }
            }
        }
    }
}
