//! The headers and the region table: where log, block table and metadata are.

use journal::Disk;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Refusal;
use super::regions::Regions;

/// A GUID, its bytes as they are in the file.
pub type Guid = [u8; 16];

/// The unit in which everything is placed ([MS-VHDX] 2.1).
pub const MIB: u64 = 1 << 20;
/// Where the two headers are ([MS-VHDX] 2.2).
pub const HEADER_OFFSETS: [u64; 2] = [64 << 10, 128 << 10];
/// Bytes of a header, over which its checksum goes.
pub const HEADER_SIZE: usize = 4096;
/// Where the two copies of the region table are.
pub const REGION_TABLE_OFFSETS: [u64; 2] = [192 << 10, 256 << 10];
/// Bytes of a region table.
pub const REGION_TABLE_SIZE: usize = 64 << 10;
/// What the file starts with.
pub const FILE_SIGNATURE: [u8; 8] = *b"vhdxfile";

const MAX_REGIONS: u32 = 2047;
const BAT_REGION: Guid = guid(0x2dc2_7766, 0xf623, 0x4200, 0x9d64_115e_9bfd_4a08);
const METADATA_REGION: Guid = guid(0x8b7c_a206, 0x4790, 0x4b9a, 0xb8fe_575f_050f_886e);

/// A GUID as it is in the file: the first three fields have their low byte first.
pub const fn guid(a: u32, b: u16, c: u16, d: u64) -> Guid {
    let ([a0, a1, a2, a3], [b0, b1], [c0, c1]) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
    let [d0, d1, d2, d3, d4, d5, d6, d7] = d.to_be_bytes();
    [a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, d2, d3, d4, d5, d6, d7]
}

/// A header as it is in the file ([MS-VHDX] 2.2.2); zeroes follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    signature: [u8; 4],
    checksum: U32,
    /// The header with the higher number counts.
    sequence: U64,
    /// Changes when the file is changed.
    file_write: Guid,
    /// Changes when what a guest sees is changed.
    pub data_write: Guid,
    /// Entries of the log count if they have this; zeroes mean that the log is empty.
    pub log_guid: Guid,
    log_version: U16,
    version: U16,
    log_length: U32,
    log_offset: U64,
}

const HEADER_SIGNATURE: [u8; 4] = *b"head";

impl Header {
    /// A new image's.
    pub fn new(sequence: u32, log_length: u32) -> Self {
        Self {
            signature: HEADER_SIGNATURE,
            sequence: u64::from(sequence).into(),
            file_write: crate::uuid::random(),
            data_write: crate::uuid::random(),
            version: 1.into(),
            log_length: log_length.into(),
            log_offset: MIB.into(),
            ..Self::new_zeroed()
        }
    }

    /// The next one, of a file that is changed.
    pub fn next(&self, log_guid: Guid, content: Content) -> Self {
        let data_write = match content {
            Content::Same => self.data_write,
            Content::Other => crate::uuid::random(),
        };
        Self {
            sequence: self.sequence.get().wrapping_add(1).into(),
            file_write: crate::uuid::random(),
            data_write,
            log_guid,
            ..*self
        }
    }

    /// The same, to be read after the other one.
    pub fn following(&self) -> Self {
        Self { sequence: self.sequence.get().wrapping_add(1).into(), ..*self }
    }

    /// The header's bytes.
    pub fn to_bytes(self) -> [u8; HEADER_SIZE] {
        let mut bytes = [0; HEADER_SIZE];
        let (start, _) = bytes.split_at_mut(size_of::<Self>());
        start.copy_from_slice(self.as_bytes());
        seal(&mut bytes);
        bytes
    }

    /// The log's bytes in the file, if they can be.
    pub fn log(&self) -> std::ops::Range<u64> {
        let start = self.log_offset.get();
        start..start.saturating_add(self.log_length.get().into())
    }

    fn read(disk: &dyn Disk, at: u64) -> crate::Result<Option<Self>> {
        let mut bytes = [0; HEADER_SIZE];
        disk.read_padded(at, &mut bytes)?;
        let Ok((header, _)) = Self::read_from_prefix(&bytes) else { return Ok(None) };
        let is_sound = header.signature == HEADER_SIGNATURE && header.version.get() == 1 && is_sealed(&bytes);
        Ok(is_sound.then_some(header))
    }
}

/// The header that counts, and which of the two it is.
pub fn read_headers(disk: &dyn Disk) -> Result<(Header, usize), Refusal> {
    let [first, second] = HEADER_OFFSETS.map(|at| Header::read(disk, at));
    let found = match (first?, second?) {
        (Some(header), None) => Some((header, 0)),
        (None, Some(header)) => Some((header, 1)),
        (Some(first), Some(second)) if first.sequence.get() > second.sequence.get() || first == second => {
            Some((first, 0))
        }
        (Some(first), Some(second)) if first.sequence.get() < second.sequence.get() => Some((second, 1)),
        _ => None,
    };
    let (header, index) = found.ok_or_else(|| Refusal::said("No valid VHDX header found"))?;
    let log = header.log();
    if log.start < MIB || !log.start.is_multiple_of(MIB) || header.log_version.get() != 0 {
        return Err(Refusal::Invalid);
    }
    Ok((header, index))
}

/// Whether a guest finds on the disk what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// It does: differencing disks stay those of this one.
    Same,
    /// It does not.
    Other,
}

/// Where something is in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Its first byte.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u32,
}

/// The two regions that every image has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegionTable {
    /// The block table.
    pub bat: Region,
    /// The metadata.
    pub metadata: Region,
}

/// The table as it is in the file ([MS-VHDX] 2.2.3.1); the entries follow.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawTable {
    signature: [u8; 4],
    checksum: U32,
    count: U32,
    reserved: U32,
}

/// An entry of it ([MS-VHDX] 2.2.3.2).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawEntry {
    guid: Guid,
    offset: U64,
    length: U32,
    required: U32,
}

const TABLE_SIGNATURE: [u8; 4] = *b"regi";

impl RegionTable {
    /// Reads the table, and takes note of what is in use.
    pub fn read(disk: &dyn Disk, regions: &mut Regions) -> Result<Self, Refusal> {
        let mut bytes = vec![0; REGION_TABLE_SIZE];
        disk.read_padded(REGION_TABLE_OFFSETS[0], &mut bytes)?;
        let (table, rest) = RawTable::read_from_prefix(&bytes).map_err(|_| Refusal::Invalid)?;
        let count = table.count.get();
        if !is_sealed(&bytes) || table.signature != TABLE_SIGNATURE || count > MAX_REGIONS {
            return Err(Refusal::Invalid);
        }
        let (mut bat, mut metadata) = (None, None);
        for entry in rest.chunks_exact(size_of::<RawEntry>()).take(count as usize) {
            let entry = RawEntry::read_from_bytes(entry).map_err(|_| Refusal::Invalid)?;
            let region = Region { offset: entry.offset.get(), length: entry.length.get() };
            regions.add(region.offset, region.length.into())?;
            let place = match entry.guid {
                BAT_REGION => &mut bat,
                METADATA_REGION => &mut metadata,
                _ if entry.required.get() & 1 != 0 => return Err(Refusal::Unsupported),
                _ => continue,
            };
            if place.replace(region).is_some() {
                return Err(Refusal::Invalid);
            }
        }
        match (bat, metadata) {
            (Some(bat), Some(metadata)) => Ok(Self { bat, metadata }),
            _ => Err(Refusal::Invalid),
        }
    }

    /// The table's bytes.
    pub fn to_bytes(self) -> Vec<u8> {
        let table =
            RawTable { signature: TABLE_SIGNATURE, checksum: 0.into(), count: 2.into(), reserved: 0.into() };
        let entry = |guid, region: Region| RawEntry {
            guid,
            offset: region.offset.into(),
            length: region.length.into(),
            required: 0.into(),
        };
        let entries = [entry(BAT_REGION, self.bat), entry(METADATA_REGION, self.metadata)];
        let mut bytes = [table.as_bytes(), entries.as_bytes()].concat();
        bytes.resize(REGION_TABLE_SIZE, 0);
        seal(&mut bytes);
        bytes
    }
}

/// Says in both copies of the region table where the block table is now.
pub fn move_block_table(disk: &dyn Disk, bat: Region) -> Result<(), Refusal> {
    let mut bytes = vec![0; REGION_TABLE_SIZE];
    disk.read_padded(REGION_TABLE_OFFSETS[0], &mut bytes)?;
    let (_, entries) = bytes.split_at_mut(size_of::<RawTable>());
    let mut entries = entries.chunks_exact_mut(size_of::<RawEntry>());
    let entry = entries.find_map(|bytes| {
        let entry = RawEntry::mut_from_bytes(bytes).ok()?;
        (entry.guid == BAT_REGION).then_some(entry)
    });
    let entry = entry.ok_or(Refusal::Invalid)?;
    (entry.offset, entry.length) = (bat.offset.into(), bat.length.into());
    seal(&mut bytes);
    for at in REGION_TABLE_OFFSETS {
        disk.write_at(at, &bytes)?;
    }
    Ok(())
}

/// Where all structures have their checksum.
pub const CHECKSUM: std::ops::Range<usize> = 4..8;

/// The checksum of a structure: itself, it counts as zero.
pub fn checksum(bytes: &[u8]) -> u32 {
    let (before, rest) = bytes.split_at(CHECKSUM.start);
    let (_, after) = rest.split_at(CHECKSUM.len());
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(before), &[0; 4]), after)
}

fn is_sealed(bytes: &[u8]) -> bool {
    bytes[CHECKSUM] == checksum(bytes).to_le_bytes()
}

/// Puts the checksum in.
pub fn seal(bytes: &mut [u8]) {
    let sum = checksum(bytes);
    bytes[CHECKSUM].copy_from_slice(&sum.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_found_sound() {
        let mut bytes = Header::new(7, 1 << 20).to_bytes();
        assert!(is_sealed(&bytes));
        bytes[100] = 1;
        assert!(!is_sealed(&bytes));
        assert_eq!(Header::new(7, 1 << 20).log(), MIB..2 * MIB);
    }

    #[test]
    fn guids_are_in_the_files_order() {
        assert_eq!(BAT_REGION[..4], [0x66, 0x77, 0xc2, 0x2d]);
        assert_eq!(METADATA_REGION[8..], [0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e]);
    }
}
