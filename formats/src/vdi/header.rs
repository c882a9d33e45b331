//! The header of a VDI image.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::raw::{SECTOR, sectors};
use crate::{Error, Result};

/// Guest bytes in a block.
pub const BLOCK_SIZE: u64 = 1 << 20;
/// Entries from here on mean that a block is not in the file: discarded, or never written.
pub const DISCARDED: u32 = 0xffff_fffe;
/// The entry of a block that was never written.
pub const UNALLOCATED: u32 = 0xffff_ffff;
/// The most blocks whose table fits into 31 bits, in whole sectors.
const MAX_BLOCKS: u32 = (0x7fff_ffff_u32 & !0x1ff) / 4;
/// The largest disk.
const MAX_SIZE: u64 = MAX_BLOCKS as u64 * BLOCK_SIZE;
/// Where a new image has its table.
pub const TABLE_OFFSET: u64 = SECTOR;

const TEXT: &[u8] = b"<<< QEMU VM Virtual Disk Image >>>\n";
const SIGNATURE: u32 = 0xbeda_107f;
/// Blocks are found through the table in any order.
const DYNAMIC: u32 = 1;
/// All blocks are there, one after another.
const STATIC: u32 = 2;

/// The header as it is in the file, its first sector.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawHeader {
    /// What the file is, for people.
    text: [u8; 64],
    signature: U32,
    minor: U16,
    major: U16,
    /// Bytes of what follows, up to the end of the known fields.
    header_size: U32,
    /// [`DYNAMIC`] or [`STATIC`].
    image_type: U32,
    flags: U32,
    description: [u8; 256],
    /// Where the table starts.
    table_offset: U32,
    /// Where block 0 of the file starts.
    data_offset: U32,
    cylinders: U32,
    heads: U32,
    sectors: U32,
    sector_size: U32,
    reserved: U32,
    /// Bytes of the virtual disk.
    disk_size: U64,
    block_size: U32,
    /// Bytes before each block that are not the guest's; not in use.
    block_extra: U32,
    /// Entries in the table.
    blocks: U32,
    /// Blocks in the file.
    allocated: U32,
    uuid: [u8; 16],
    last_snapshot: [u8; 16],
    /// The image that this one stands on.
    link: [u8; 16],
    parent: [u8; 16],
    rest: [u8; 56],
}

const _: () = assert!(size_of::<RawHeader>() == SECTOR as usize);
/// Where [`RawHeader::allocated`] is.
pub const ALLOCATED_OFFSET: u64 = std::mem::offset_of!(RawHeader, allocated) as u64;
const _: () = assert!(ALLOCATED_OFFSET == 0x184);

/// What a header says, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the virtual disk, whole sectors.
    pub size: u64,
    /// Where the table starts in the file.
    pub table_offset: u64,
    /// Where block 0 of the file starts.
    pub data_offset: u64,
    /// Entries in the table.
    pub blocks: u32,
    /// Blocks in the file, as the header counts them.
    pub allocated: u32,
    /// Whether all blocks are there from the start.
    pub is_static: bool,
}

impl Header {
    /// Reads and checks a header, in qemu-img's order.
    pub fn parse(bytes: &[u8; SECTOR as usize]) -> Result<Self> {
        let raw: RawHeader = zerocopy::transmute!(*bytes);
        check_size(raw.disk_size.get())?;
        if raw.signature.get() != SIGNATURE {
            let signature = raw.signature.get();
            return Err(Error::invalid(format!("Image not in VDI format (bad signature {signature:08x})")));
        }
        raw.check_geometry()?;
        Ok(Self {
            size: sectors(raw.disk_size.get()),
            table_offset: raw.table_offset.get().into(),
            data_offset: raw.data_offset.get().into(),
            blocks: raw.blocks.get(),
            allocated: raw.allocated.get(),
            is_static: raw.image_type.get() == STATIC,
        })
    }

    /// The header of a new image.
    pub fn new(size: u64, is_static: bool) -> Result<Self> {
        check_size(size)?;
        // The size is bounded, so the number of blocks fits.
        let blocks = size.div_ceil(BLOCK_SIZE) as u32;
        let data_offset = TABLE_OFFSET + sectors(u64::from(blocks) * 4);
        let allocated = if is_static { blocks } else { 0 };
        Ok(Self { size, table_offset: TABLE_OFFSET, data_offset, blocks, allocated, is_static })
    }

    /// The header of the same image with a larger disk, but for the blocks in the file, and how many blocks stand
    /// where its table is to be.
    pub fn grown(&self, size: u64) -> Result<(Self, u32)> {
        check_size(size)?;
        // The size is bounded, and so is everything that comes from it.
        let blocks = (size.div_ceil(BLOCK_SIZE) as u32).max(self.blocks);
        let grown = Self { size: size.next_multiple_of(SECTOR), blocks, ..*self };
        let shift = grown.table_end().saturating_sub(self.data_offset).div_ceil(BLOCK_SIZE);
        let data_offset = self.data_offset + shift * BLOCK_SIZE;
        if data_offset > u64::from(u32::MAX) {
            return Err(Error::corrupt("The block map has no room to grow"));
        }
        Ok((Self { data_offset, ..grown }, shift as u32))
    }

    /// The bytes of a new image's header.
    pub fn to_bytes(self, uuid: [u8; 16], last_snapshot: [u8; 16]) -> [u8; SECTOR as usize] {
        let mut raw = RawHeader::new_zeroed();
        for (place, byte) in raw.text.iter_mut().zip(TEXT) {
            *place = *byte;
        }
        raw.signature = SIGNATURE.into();
        (raw.major, raw.minor) = (1.into(), 1.into());
        raw.header_size = 0x180.into();
        raw.image_type = if self.is_static { STATIC } else { DYNAMIC }.into();
        // Both offsets are below 2^31, as a table is.
        raw.table_offset = (self.table_offset as u32).into();
        raw.data_offset = (self.data_offset as u32).into();
        raw.sector_size = (SECTOR as u32).into();
        raw.disk_size = self.size.into();
        raw.block_size = (BLOCK_SIZE as u32).into();
        raw.blocks = self.blocks.into();
        raw.allocated = self.allocated.into();
        (raw.uuid, raw.last_snapshot) = (uuid, last_snapshot);
        zerocopy::transmute!(raw)
    }

    /// Where the table ends.
    pub fn table_end(&self) -> u64 {
        self.table_offset + u64::from(self.blocks) * 4
    }

    /// Where a block of the file starts.
    pub fn host(&self, block: u32) -> u64 {
        self.data_offset + u64::from(block) * BLOCK_SIZE
    }
}

impl RawHeader {
    /// The bytes of an image's header with another size.
    pub fn resized(bytes: &[u8; SECTOR as usize], header: &Header) -> [u8; SECTOR as usize] {
        let mut raw: Self = zerocopy::transmute!(*bytes);
        raw.disk_size = header.size.into();
        raw.data_offset = (header.data_offset as u32).into();
        (raw.blocks, raw.allocated) = (header.blocks.into(), header.allocated.into());
        zerocopy::transmute!(raw)
    }

    fn check_geometry(&self) -> Result<()> {
        let refuse = |text: String| Err(Error::unsupported(format!("unsupported VDI image ({text})")));
        let room = u64::from(self.blocks.get()) * BLOCK_SIZE;
        let size = sectors(self.disk_size.get());
        let (major, minor) = (self.major.get(), self.minor.get());
        if (major, minor) != (1, 1) {
            return refuse(format!("version {major}.{minor}"));
        }
        let offset = self.table_offset.get();
        if !u64::from(offset).is_multiple_of(SECTOR) {
            return refuse(format!("unaligned block map offset {offset:#x}"));
        }
        let offset = self.data_offset.get();
        if !u64::from(offset).is_multiple_of(SECTOR) {
            return refuse(format!("unaligned data offset {offset:#x}"));
        }
        let sector_size = self.sector_size.get();
        if u64::from(sector_size) != SECTOR {
            return refuse(format!("sector size {sector_size} is not {SECTOR}"));
        }
        let block_size = self.block_size.get();
        if u64::from(block_size) != BLOCK_SIZE {
            return refuse(format!("block size {block_size} is not {BLOCK_SIZE}"));
        }
        if size > room {
            return refuse(format!("disk size {size}, image bitmap has room for {room}"));
        }
        if self.link != [0; 16] {
            return refuse("non-NULL link UUID".to_owned());
        }
        if self.parent != [0; 16] {
            return refuse("non-NULL parent UUID".to_owned());
        }
        let blocks = self.blocks.get();
        if blocks > MAX_BLOCKS {
            return refuse(format!("too many blocks {blocks}, max is {MAX_BLOCKS}"));
        }
        Ok(())
    }
}

fn check_size(size: u64) -> Result<()> {
    if size <= MAX_SIZE {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "Unsupported VDI image size (size is {size:#x}, max supported is {MAX_SIZE:#x})"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_header_is_read_back() {
        for (size, is_static) in [(0, false), (512, true), (10 << 20, false), (MAX_SIZE, true)] {
            let header = Header::new(size, is_static).unwrap();
            assert_eq!(Header::parse(&header.to_bytes([1; 16], [2; 16])).unwrap(), header);
        }
        assert!(Header::new(MAX_SIZE + 1, false).is_err());
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let good = Header::new(10 << 20, false).unwrap().to_bytes([1; 16], [2; 16]);
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = good;
                bytes[at] = value;
                if let Ok(header) = Header::parse(&bytes) {
                    assert!(header.size <= u64::from(header.blocks) * BLOCK_SIZE);
                    assert!(
                        header.host(u32::MAX) > header.data_offset
                            && header.table_end() >= header.table_offset
                    );
                }
            }
        }
    }
}
