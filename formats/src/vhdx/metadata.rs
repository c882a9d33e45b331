//! The metadata: what the virtual disk is.

use journal::Disk;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Refusal;
use super::header::{Guid, MIB, Region, guid};
use crate::raw::SECTOR;

/// Bytes of the table; the items are behind it.
const TABLE_SIZE: usize = 64 << 10;
const SIGNATURE: [u8; 8] = *b"metadata";
/// The largest disk: 64 TiB.
pub const MAX_SIZE: u64 = 64 << 40;
/// The smallest block.
pub const MIN_BLOCK: u64 = MIB;
/// The largest block.
pub const MAX_BLOCK: u64 = 256 * MIB;
/// Sectors of which a sector bitmap block tells.
const SECTORS_PER_CHUNK: u64 = 1 << 23;

/// The table's head as it is in the file ([MS-VHDX] 2.6.1.1); the entries follow.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawTable {
    signature: [u8; 8],
    reserved: U16,
    count: U16,
    rest: [u8; 20],
}

/// An entry ([MS-VHDX] 2.6.1.2).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawEntry {
    item: Guid,
    /// Where the item is in the region.
    offset: U32,
    length: U32,
    flags: U32,
    reserved: U32,
}

/// Of an entry: the item tells of the virtual disk, not of the file.
const OF_DISK: u32 = 2;
/// Of an entry: who does not know the item cannot read the image.
const REQUIRED: u32 = 4;
/// Of the file: blocks stay allocated.
const LEAVE_ALLOCATED: u32 = 1;
/// Of the file: it stands on another.
const HAS_PARENT: u32 = 2;

/// Items ([MS-VHDX] 2.6.2), those that every image has first, in the order in which they are written.
const ITEMS: [Guid; 6] = [
    guid(0xcaa1_6737, 0xfa36, 0x4d43, 0xb3b6_33f0_aa44_e76b),
    guid(0x2fa5_4224, 0xcd1b, 0x4876, 0xb211_5dbe_d83b_f4b8),
    guid(0xbeca_12ab, 0xb2e6, 0x4523, 0x93ef_c309_e000_c746),
    guid(0x8141_bf1d, 0xa96f, 0x4709, 0xba47_f233_a8fa_ab5f),
    guid(0xcda3_48c7, 0x445d, 0x4471, 0x9cc9_e988_5251_c556),
    guid(0xa8d3_5f2d, 0xb30b, 0x454d, 0xabf7_d3d8_4834_ab0c),
];
/// How long they are.
const LENGTHS: [u32; 5] = [8, 8, 16, 4, 4];
const FILE_PARAMETERS: usize = 0;
const DISK_SIZE: usize = 1;
const DISK_ID: usize = 2;
const LOGICAL_SECTOR: usize = 3;
const PHYSICAL_SECTOR: usize = 4;
const PARENT_LOCATOR: usize = 5;

/// What the metadata says, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// Bytes of the virtual disk, as they are told.
    pub size: u64,
    /// Guest bytes in a block: a power of two from 1 MiB to 256 MiB.
    pub block_size: u64,
    /// Guest bytes in a logical sector: 512 or 4096.
    pub sector_size: u64,
    /// Whether all blocks are meant to be allocated from the start.
    pub is_fixed: bool,
    /// Where in the region the parent is named, if there is one.
    pub parent_locator: Option<u32>,
}

/// Where a new image names its parent: after the other items.
pub const NEW_PARENT_LOCATOR: u32 = TABLE_SIZE as u32 + 40;

impl Metadata {
    /// Reads the metadata.
    pub fn read(disk: &dyn Disk, region: Region) -> Result<Self, Refusal> {
        let offsets = item_offsets(disk, region)?;
        let read = |item: usize, bytes: &mut [u8]| -> Result<(), Refusal> {
            let offset = offsets.get(item).copied().flatten().ok_or(Refusal::Unsupported)?;
            let at = region.offset.checked_add(offset.into()).ok_or(Refusal::Invalid)?;
            Ok(disk.read_padded(at, bytes)?)
        };
        let (mut parameters, mut size) = ([U32::ZERO; 2], [0; 8]);
        let (mut logical, mut physical) = ([0; 4], [0; 4]);
        read(PHYSICAL_SECTOR, &mut physical)?;
        read(DISK_ID, &mut [0; 16])?;
        read(LOGICAL_SECTOR, &mut logical)?;
        read(DISK_SIZE, &mut size)?;
        read(FILE_PARAMETERS, parameters.as_mut_bytes())?;
        let [block_size, flags] = parameters.map(U32::get);
        let parent_locator = match (flags & HAS_PARENT != 0, offsets[PARENT_LOCATOR]) {
            (false, None) => None,
            (true, Some(offset)) => Some(offset),
            (true, None) => return Err(Refusal::Invalid),
            (false, Some(_)) => return Err(Refusal::Unsupported),
        };
        let metadata = Self {
            size: u64::from_le_bytes(size),
            block_size: block_size.into(),
            sector_size: u32::from_le_bytes(logical).into(),
            is_fixed: flags & LEAVE_ALLOCATED != 0,
            parent_locator,
        };
        if !(MIN_BLOCK..=MAX_BLOCK).contains(&metadata.block_size) {
            return Err(Refusal::Invalid);
        }
        if ![512, 4096].contains(&metadata.sector_size) {
            return Err(Refusal::Unsupported);
        }
        if !metadata.block_size.is_power_of_two() {
            return Err(Refusal::Invalid);
        }
        Ok(metadata)
    }

    /// Bytes of the virtual disk that a guest sees: whole sectors of 512 bytes.
    pub fn virtual_size(&self) -> u64 {
        self.size / SECTOR * SECTOR
    }

    /// Blocks of the virtual disk.
    pub fn blocks(&self) -> u64 {
        self.size.div_ceil(self.block_size)
    }

    /// Blocks of which one sector bitmap tells.
    pub fn chunk_ratio(&self) -> u64 {
        SECTORS_PER_CHUNK * self.sector_size / self.block_size
    }

    /// Entries that the block table has: one for each block, and one for a bitmap between chunks.
    pub fn entries(&self) -> u64 {
        if self.parent_locator.is_some() {
            return self.blocks().div_ceil(self.chunk_ratio()).saturating_mul(self.chunk_ratio() + 1);
        }
        // Of an empty disk, counting goes wrong as it does in QEMU, so that both read what the other made.
        // Of one that is too large it does not matter.
        let blocks = self.blocks() as u32;
        let bitmaps = blocks.wrapping_sub(1) >> self.chunk_ratio().trailing_zeros();
        blocks.wrapping_add(bitmaps).into()
    }

    /// Where the entry of a block is in the table.
    pub fn entry_of(&self, block: u64) -> u64 {
        block + block / self.chunk_ratio()
    }

    /// Where the entry of the bitmap is in the table that tells of a block.
    pub fn bitmap_entry_of(&self, block: u64) -> u64 {
        let ratio = self.chunk_ratio();
        block / ratio * (ratio + 1) + ratio
    }

    /// Guest bytes in a block: the last one may have fewer.
    pub fn bytes_of(&self, block: u64) -> u64 {
        self.block_size.min(self.size.saturating_sub(block * self.block_size))
    }

    /// The table and the items of a new image with physical sectors of so many bytes, to be written where the
    /// region starts.
    pub fn to_bytes(self, physical: u32, parent: Option<&[u8]>) -> Vec<u8> {
        // A locator has less than 64 KiB.
        let locator = parent.map(|locator| locator.len() as u32);
        let lengths = LENGTHS.into_iter().chain(locator);
        let count = (lengths.clone().count() as u16).into();
        let table = RawTable { signature: SIGNATURE, count, ..RawTable::new_zeroed() };
        let mut bytes = table.as_bytes().to_vec();
        let mut offset = TABLE_SIZE as u32;
        for (number, (item, length)) in ITEMS.into_iter().zip(lengths).enumerate() {
            let is_of_file = [FILE_PARAMETERS, PARENT_LOCATOR].contains(&number);
            let flags = if is_of_file { REQUIRED } else { REQUIRED | OF_DISK };
            let (offset_field, length_field) = (offset.into(), length.into());
            let entry = RawEntry {
                item,
                offset: offset_field,
                length: length_field,
                flags: flags.into(),
                reserved: 0.into(),
            };
            bytes.extend_from_slice(entry.as_bytes());
            offset += length;
        }
        bytes.resize(TABLE_SIZE, 0);
        // All of them are far below 2^32.
        let flags = if self.is_fixed { LEAVE_ALLOCATED } else { 0 };
        let flags = if parent.is_some() { flags | HAS_PARENT } else { flags };
        for number in [self.block_size as u32, flags] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.size.to_le_bytes());
        bytes.extend_from_slice(&crate::uuid::random());
        for number in [self.sector_size as u32, physical] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(parent.unwrap_or_default());
        bytes
    }
}

/// Writes another size of the disk.
pub fn write_size(disk: &dyn Disk, region: Region, size: u64) -> Result<(), Refusal> {
    let offset = item_offsets(disk, region)?[DISK_SIZE].ok_or(Refusal::Unsupported)?;
    Ok(disk.write_at(region.offset + u64::from(offset), &size.to_le_bytes())?)
}

/// Where in the file the parent is named now.
pub fn parent_locator(disk: &dyn Disk, region: Region) -> Result<Option<u64>, Refusal> {
    let offset = item_offsets(disk, region)?[PARENT_LOCATOR];
    Ok(offset.map(|offset| region.offset.saturating_add(offset.into())))
}

/// Writes another parent locator into an image that has one, behind all other items if it has become too long
/// for its place.
pub fn replace_parent_locator(disk: &dyn Disk, region: Region, locator: &[u8]) -> Result<(), Refusal> {
    let (bytes, count) = read_table(disk, region)?;
    let (_, entries) = RawTable::read_from_prefix(&bytes).map_err(|_| Refusal::Invalid)?;
    let entries = entries.chunks_exact(size_of::<RawEntry>()).take(count).enumerate();
    let (mut found, mut others) = (None, Vec::new());
    for (number, entry) in entries {
        let entry = RawEntry::read_from_bytes(entry).map_err(|_| Refusal::Invalid)?;
        match entry.item == ITEMS[PARENT_LOCATOR] {
            true => found = Some((number, entry)),
            false => others.push(
                u64::from(entry.offset.get())..u64::from(entry.offset.get()) + u64::from(entry.length.get()),
            ),
        }
    }
    let (number, entry) = found.ok_or(Refusal::Invalid)?;
    let len = locator.len() as u64;
    let is_free = |start: u64| others.iter().all(|other| start + len <= other.start || start >= other.end);
    let behind = others.iter().map(|other| other.end).max().unwrap_or(0).max(TABLE_SIZE as u64);
    let start = Some(u64::from(entry.offset.get())).filter(|&start| is_free(start)).unwrap_or(behind);
    let offset = u32::try_from(start).ok().filter(|_| start + len <= region.length.into());
    let offset = offset.ok_or_else(|| Refusal::said("The image has no room for the name of its parent"))?;
    let entry = RawEntry { offset: offset.into(), length: (len as u32).into(), ..entry };
    let at = size_of::<RawTable>() + number * size_of::<RawEntry>();
    disk.write_at(region.offset + start, locator)?;
    Ok(disk.write_at(region.offset + at as u64, entry.as_bytes())?)
}

/// The bytes of the table, and how many entries it has.
fn read_table(disk: &dyn Disk, region: Region) -> Result<(Vec<u8>, usize), Refusal> {
    if region.offset > crate::resize::MAX_DISK_SIZE - TABLE_SIZE as u64 {
        return Err(Refusal::Invalid);
    }
    let mut bytes = vec![0; TABLE_SIZE];
    disk.read_padded(region.offset, &mut bytes)?;
    let (table, rest) = RawTable::read_from_prefix(&bytes).map_err(|_| Refusal::Invalid)?;
    let count = usize::from(table.count.get());
    if table.signature != SIGNATURE || count * size_of::<RawEntry>() > rest.len() {
        return Err(Refusal::Invalid);
    }
    Ok((bytes, count))
}

/// Where the known items are in the region.
fn item_offsets(disk: &dyn Disk, region: Region) -> Result<[Option<u32>; ITEMS.len()], Refusal> {
    let (bytes, count) = read_table(disk, region)?;
    let (_, rest) = RawTable::read_from_prefix(&bytes).map_err(|_| Refusal::Invalid)?;
    let mut offsets = [None; ITEMS.len()];
    for entry in rest.chunks_exact(size_of::<RawEntry>()).take(count) {
        let entry = RawEntry::read_from_bytes(entry).map_err(|_| Refusal::Invalid)?;
        let known = ITEMS.iter().zip(&mut offsets).find(|(item, _)| **item == entry.item);
        match known {
            Some((_, Some(_))) => return Err(Refusal::Invalid),
            Some((_, offset)) => *offset = Some(entry.offset.get()),
            None if entry.flags.get() & REQUIRED != 0 => return Err(Refusal::Unsupported),
            None => {}
        }
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitmaps_stand_between_chunks() {
        let metadata = Metadata {
            size: 0,
            block_size: 8 * MIB,
            sector_size: 512,
            is_fixed: false,
            parent_locator: None,
        };
        assert_eq!((metadata.chunk_ratio(), metadata.entries()), (512, 8_388_607));
        let of = |size| Metadata { size, ..metadata };
        assert_eq!(of(1).entries(), 1);
        assert_eq!(of(4 << 30).entries(), 512);
        assert_eq!(of((4 << 30) + 1).entries(), 514);
        assert_eq!((metadata.entry_of(511), metadata.entry_of(512)), (511, 513));
        assert_eq!(of(9 * MIB).bytes_of(1), MIB);
        let with_large_sectors = Metadata { sector_size: 4096, ..of(32 << 30) };
        assert_eq!(with_large_sectors.entries(), 4096);
    }
}
