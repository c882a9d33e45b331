//! Persistent dirty bitmaps: the directory, their tables, and their bits.

use std::collections::HashSet;
use std::ops::Range;

use journal::Disk;
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::extension::{BitmapDirectoryLocation, until_nul};
use super::geometry::{Geometry, TABLE_ENTRY_SIZE};
use super::table::words;
use crate::dirty_runs::DirtyRuns;
use crate::error::ResultExt;
use crate::shown::{printed, shown_bytes};
use crate::{BitmapInfo, Error, HostOffset, Result};

/// Most entries in a bitmap table.
pub const MAX_TABLE_ENTRIES: u32 = 0x800_0000;
/// Most bytes that the bits of one bitmap may take.
pub const MAX_BITMAP_BYTES: u64 = 0x2000_0000;
/// Fewest and most guest bytes per bit, as logarithms.
const GRANULARITY_BITS: std::ops::RangeInclusive<u8> = 9..=31;
/// Longest name in bytes.
pub const MAX_NAME: usize = 1023;

/// Most entries of bitmap tables that are validated when the image is opened.
const MAX_EAGER_ENTRIES: u64 = 1 << 23;

/// The content cannot be trusted.
pub const FLAG_IN_USE: u32 = 1;
/// Writes are to be recorded.
pub const FLAG_AUTO: u32 = 2;
/// The only type of bitmap: dirty tracking.
pub const TYPE_DIRTY: u8 = 1;

/// An entry of the bitmap directory. Extra data and the name follow; the next entry starts on a
/// multiple of 8.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawDirectoryEntry {
    /// Where the bitmap table starts, cluster-aligned.
    pub table_offset: U64,
    /// Entries of the bitmap table.
    pub table_size: U32,
    /// [`FLAG_IN_USE`], [`FLAG_AUTO`].
    pub flags: U32,
    /// [`TYPE_DIRTY`].
    pub kind: u8,
    /// Logarithm of the guest bytes per bit.
    pub granularity_bits: u8,
    /// Bytes of the name.
    pub name_size: U16,
    /// Bytes of extra data, which must be none.
    pub extra_size: U32,
}

const _: () = assert!(size_of::<RawDirectoryEntry>() == 24);

/// An entry of a bitmap table: a cluster of bits, or what all bits of the cluster would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BitmapTableEntry(pub u64);

/// What a bitmap table entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BitmapCluster {
    /// All bits are clear.
    Clear,
    /// All bits are set.
    Set,
    /// The bits are in that cluster.
    At(HostOffset),
}

impl BitmapTableEntry {
    const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
    const RESERVED: u64 = 0xff00_0000_0000_01fe;
    const ALL_ONES: u64 = 1;

    /// The door: what the entry says, if it is sound.
    pub fn validate(self, geometry: &Geometry) -> Option<BitmapCluster> {
        let offset = HostOffset(self.0 & Self::OFFSET);
        let ones = self.0 & Self::ALL_ONES != 0;
        match offset.0 {
            _ if self.0 & Self::RESERVED != 0 => None,
            0 if ones => Some(BitmapCluster::Set),
            0 => Some(BitmapCluster::Clear),
            _ => (!ones && geometry.is_cluster_start(offset)).then_some(BitmapCluster::At(offset)),
        }
    }
}

impl BitmapCluster {
    /// The table entry that says so.
    pub fn entry(self) -> BitmapTableEntry {
        BitmapTableEntry(match self {
            Self::Clear => 0,
            Self::Set => BitmapTableEntry::ALL_ONES,
            Self::At(offset) => offset.0,
        })
    }
}

/// A bitmap of the directory, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bitmap {
    /// What a person is told of it.
    pub info: BitmapInfo,
    /// Where its table starts, cluster-aligned.
    pub table: HostOffset,
    /// Entries of the table.
    pub table_entries: u32,
}

/// Bytes of the directory entry of a bitmap with a name of that many bytes.
pub fn directory_entry_size(name: usize) -> u64 {
    (size_of::<RawDirectoryEntry>() as u64 + name as u64).next_multiple_of(8)
}

/// Reads the directory and judges every entry against a disk of `size` bytes.
pub fn read_directory(
    disk: &dyn Disk,
    geometry: &Geometry,
    location: BitmapDirectoryLocation,
    size: u64,
) -> Result<Vec<Bitmap>> {
    if location.len == 0 {
        return Err(Error::corrupt("Requested bitmap directory size is zero"));
    }
    let mut directory = vec![0; location.len as usize];
    disk.read_padded(location.offset.0, &mut directory)
        .context(|| "Failed to read bitmap directory".to_owned())?;
    let mut bitmaps = Vec::new();
    let mut rest = directory.as_slice();
    while !rest.is_empty() {
        let (raw, tail) = RawDirectoryEntry::read_from_prefix(rest).map_err(|_| broken_directory())?;
        if bitmaps.len() == location.count as usize {
            return Err(Error::corrupt("More bitmaps found than specified in header extension"));
        }
        let (name, extra) = (usize::from(raw.name_size.get()), raw.extra_size.get() as usize);
        let len = (size_of::<RawDirectoryEntry>() + name + extra).next_multiple_of(8);
        let next = rest.get(len..).ok_or_else(broken_directory)?;
        if extra != 0 {
            return Err(Error::corrupt("Bitmap extra data is not supported"));
        }
        let name = until_nul(tail.get(..name).unwrap_or_default());
        let name = shown_bytes(name);
        bitmaps.push(validate(&raw, name, geometry, size)?);
        rest = next;
    }
    if bitmaps.len() < location.count as usize {
        return Err(Error::corrupt("Less bitmaps found than specified in header extension"));
    }
    Ok(bitmaps)
}

fn broken_directory() -> Error {
    Error::corrupt("Broken bitmap directory")
}

fn validate(raw: &RawDirectoryEntry, name: String, geometry: &Geometry, size: u64) -> Result<Bitmap> {
    let (offset, entries, flags) =
        (HostOffset(raw.table_offset.get()), raw.table_size.get(), raw.flags.get());
    let bytes = u64::from(entries) * geometry.cluster_size();
    let in_use = flags & FLAG_IN_USE != 0;
    let sound = (1..=MAX_TABLE_ENTRIES).contains(&entries)
        && offset.0 != 0
        && geometry.is_cluster_start(offset)
        && GRANULARITY_BITS.contains(&raw.granularity_bits)
        && flags & !(FLAG_IN_USE | FLAG_AUTO) == 0
        && usize::from(raw.name_size.get()) <= MAX_NAME
        && raw.kind == TYPE_DIRTY
        && bytes <= MAX_BITMAP_BYTES
        && (in_use || size <= (bytes * 8) << raw.granularity_bits);
    if !sound {
        return Err(Error::corrupt(format!("Bitmap '{name}' doesn't satisfy the constraints")));
    }
    let info =
        BitmapInfo { name, granularity: 1 << raw.granularity_bits, in_use, auto: flags & FLAG_AUTO != 0 };
    Ok(Bitmap { info, table: offset, table_entries: entries })
}

impl Bitmap {
    /// Bytes that the bits of a disk of `size` bytes take.
    pub fn bytes_for(&self, size: u64) -> u64 {
        size.div_ceil(self.info.granularity).div_ceil(8)
    }

    /// Bytes of its directory entry.
    pub fn entry_size(&self) -> u64 {
        directory_entry_size(printed(self.info.name.as_bytes()).len())
    }

    /// Reads the bitmap table as it stands.
    pub fn read_table(&self, disk: &dyn Disk) -> Result<Vec<BitmapTableEntry>> {
        let mut bytes = vec![0; (u64::from(self.table_entries) * TABLE_ENTRY_SIZE) as usize];
        disk.read_padded(self.table.0, &mut bytes)?;
        Ok(words(&bytes).iter().map(|word| BitmapTableEntry(word.get())).collect())
    }

    /// The clusters of bits of a disk of `size` bytes, if the table is sound.
    pub fn clusters(&self, disk: &dyn Disk, geometry: &Geometry, size: u64) -> Result<Vec<BitmapCluster>> {
        let name = &self.info.name;
        let entries: Option<Vec<_>> =
            self.read_table(disk)?.into_iter().map(|entry| entry.validate(geometry)).collect();
        let clusters = entries.ok_or_else(|| {
            Error::corrupt(format!(
                "Could not read bitmap_table table from image for bitmap '{name}': Invalid argument"
            ))
        })?;
        if clusters.len() as u64 != geometry.clusters_for(self.bytes_for(size)) {
            return Err(Error::corrupt(format!(
                "Could not read bitmap '{name}' from image: Invalid argument"
            )));
        }
        Ok(clusters)
    }

    /// Tells every dirty run of a disk of `size` bytes, in guest bytes, ascending.
    pub fn visit(
        &self,
        disk: &dyn Disk,
        geometry: &Geometry,
        size: u64,
        visitor: &mut dyn FnMut(Range<u64>) -> Result<()>,
    ) -> Result<()> {
        let cluster_bits = geometry.cluster_size() * 8;
        let mut runs = DirtyRuns::new(self.info.granularity, size, visitor);
        let mut bits = vec![0; geometry.cluster_size() as usize];
        for (number, cluster) in self.clusters(disk, geometry, size)?.into_iter().enumerate() {
            let first = number as u64 * cluster_bits;
            match cluster {
                BitmapCluster::Clear => {}
                BitmapCluster::Set => runs.add(first..first + cluster_bits)?,
                BitmapCluster::At(offset) => {
                    disk.read_padded(offset.0, &mut bits)?;
                    runs.add_bits(first, &bits)?;
                }
            }
        }
        runs.finish()
    }
}

/// Bitmaps that cannot stand beside each other, or whose tables are broken, make the image
/// unusable.
///
/// Beyond [`MAX_EAGER_ENTRIES`], which no sane image has, tables are validated when they are used.
pub fn validate_all(bitmaps: &[Bitmap], disk: &dyn Disk, geometry: &Geometry, size: u64) -> Result<()> {
    let mut names = HashSet::new();
    let mut entries = 0;
    for bitmap in bitmaps {
        let name = bitmap.info.name.as_str();
        let new = names.insert(name);
        if bitmap.info.in_use {
            continue;
        }
        if !new {
            return Err(Error::corrupt(format!("Bitmap already exists: {name}")));
        }
        entries += u64::from(bitmap.table_entries);
        if entries <= MAX_EAGER_ENTRIES {
            bitmap.clusters(disk, geometry, size)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qcow2::geometry::Version;

    #[test]
    fn table_entries_pass_one_door() {
        let geometry = Geometry {
            version: Version::V3,
            cluster_bits: 16,
            extended_l2: false,
            refcount_order: 4,
            external_data: false,
        };
        let cases = [
            (0, Some(BitmapCluster::Clear)),
            (1, Some(BitmapCluster::Set)),
            (0x10000, Some(BitmapCluster::At(HostOffset(0x10000)))),
            (0x10001, None),
            (0x10200, None),
            (2, None),
            (1 << 63, None),
        ];
        for (entry, expected) in cases {
            assert_eq!(BitmapTableEntry(entry).validate(&geometry), expected, "{entry:#x}");
        }
    }
}
