//! Where on the disk the parts of the filesystem are.

use crate::raw::SECTOR;
use crate::{Error, Result};

/// Sectors of a cluster.
pub(super) const CLUSTER_SECTORS: u32 = 16;
/// Bytes of a cluster.
pub(super) const CLUSTER_SIZE: u64 = CLUSTER_SECTORS as u64 * SECTOR;
/// Entries that the root directory has room for.
pub(super) const ROOT_ENTRIES: usize = 2 * CLUSTER_ENTRIES;
/// Directory entries in a cluster.
pub(super) const CLUSTER_ENTRIES: usize = CLUSTER_SIZE as usize / ENTRY_SIZE;
/// Bytes of a directory entry.
pub(super) const ENTRY_SIZE: usize = 32;

/// How wide the entries of the file allocation table are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FatType {
    /// 12 bits.
    Fat12,
    /// 16 bits.
    Fat16,
    /// 32 bits, of which 28 count.
    Fat32,
}

impl FatType {
    fn from_bits(bits: u64) -> Result<Self> {
        match bits {
            12 => Ok(Self::Fat12),
            16 => Ok(Self::Fat16),
            32 => Ok(Self::Fat32),
            _ => Err(Error::invalid("Valid FAT types are only 12, 16 and 32")),
        }
    }

    pub(super) fn bits(self) -> u32 {
        match self {
            Self::Fat12 => 12,
            Self::Fat16 => 16,
            Self::Fat32 => 32,
        }
    }

    /// What stands at the end of a chain of clusters.
    pub(super) fn end_of_chain(self) -> u32 {
        match self {
            Self::Fat12 => 0xfff,
            Self::Fat16 => 0xffff,
            Self::Fat32 => 0x0fff_ffff,
        }
    }
}

/// What the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// A hard disk with one partition.
    HardDisk,
    /// A floppy disk, which is all filesystem.
    Floppy,
}

/// The disk's geometry, and what follows from it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) fat_type: FatType,
    pub(super) medium: Medium,
    pub(super) cylinders: u32,
    pub(super) heads: u32,
    /// Sectors of a track.
    pub(super) track: u32,
    /// Sectors of each of the two tables.
    pub(super) sectors_per_fat: u32,
    /// Clusters that there is room for, counted from the root directory's first.
    pub(super) clusters: u32,
}

impl Layout {
    /// The layout for the bits of an entry, of which 0 leaves the choice.
    pub(super) fn new(bits: u64, medium: Medium) -> Result<Self> {
        let (usual, cylinders, heads) = match medium {
            Medium::Floppy => (FatType::Fat12, 80, 2),
            Medium::HardDisk => (FatType::Fat16, if bits == 12 { 64 } else { 1024 }, 16),
        };
        let track = match medium {
            Medium::Floppy if bits == 12 => 18,
            Medium::Floppy => 36,
            Medium::HardDisk => 63,
        };
        let fat_type = if bits == 0 { usual } else { FatType::from_bits(bits)? };
        let mut layout = Self { fat_type, medium, cylinders, heads, track, sectors_per_fat: 0, clusters: 0 };
        // Sectors of clusters that a sector of the table tells of, and itself.
        let step = 1 + CLUSTER_SECTORS * SECTOR as u32 * 8 / fat_type.bits();
        layout.sectors_per_fat = (layout.partition_sectors() + step) / step;
        layout.clusters = (layout.partition_sectors() - layout.root_start()) / CLUSTER_SECTORS;
        Ok(layout)
    }

    /// Sectors of the disk.
    pub(super) fn sectors(&self) -> u32 {
        self.cylinders * self.heads * self.track
    }

    /// Sectors of the partition.
    pub(super) fn partition_sectors(&self) -> u32 {
        self.sectors() - self.boot_sector()
    }

    /// The sector in which the filesystem starts.
    pub(super) fn boot_sector(&self) -> u32 {
        match self.medium {
            Medium::HardDisk => 63,
            Medium::Floppy => 0,
        }
    }

    /// The sector in which the first table starts.
    pub(super) fn fat_start(&self) -> u32 {
        self.boot_sector() + 1
    }

    /// The sector in which the root directory starts, the disk's first cluster.
    pub(super) fn root_start(&self) -> u32 {
        self.fat_start() + 2 * self.sectors_per_fat
    }

    /// The refusal of a directory that has more than there is room for.
    pub(super) fn does_not_fit(&self) -> Error {
        let (bits, capacity) = (self.fat_type.bits(), f64::from(self.partition_sectors()) / 2000.0);
        Error::corrupt(format!("Directory does not fit in FAT{bits} (capacity {capacity:.2} MB)"))
    }
}
