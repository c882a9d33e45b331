//! The sizes and index arithmetic that follow from a header.

use crate::{GuestOffset, HostOffset};

/// The smallest cluster: 512 bytes.
pub const MIN_CLUSTER_BITS: u32 = 9;
/// The largest cluster: 2 MiB.
pub const MAX_CLUSTER_BITS: u32 = 21;
/// Subclusters in a cluster of an image with extended L2 entries.
pub const SUBCLUSTERS: u32 = 32;
/// Bytes of an entry in an L1 table, a refcount table or a bitmap table.
pub const TABLE_ENTRY_SIZE: u64 = 8;

/// Version of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// "compat=0.10": a header of 72 bytes, no feature bits, no zero clusters.
    V2,
    /// "compat=1.1".
    V3,
}

impl Version {
    /// The number in the header.
    pub fn number(self) -> u32 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }

    /// The version of that number, if this program knows it.
    pub fn from_number(number: u32) -> Option<Self> {
        match number {
            2 => Some(Self::V2),
            3 => Some(Self::V3),
            _ => None,
        }
    }
}

/// Index of a cluster of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HostCluster(pub u64);

/// Where a guest offset is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestIndex {
    /// The entry of the L1 table.
    pub l1: usize,
    /// The entry of the L2 table behind it.
    pub l2: usize,
    /// The byte within the cluster.
    pub within: u64,
}

/// Sizes of an image's structures, all derived from a validated header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// The header's version.
    pub version: Version,
    /// Logarithm of the cluster size.
    pub cluster_bits: u32,
    /// Whether L2 entries are 16 bytes with a subcluster bitmap.
    pub extended_l2: bool,
    /// Logarithm of the width of a refcount in bits.
    pub refcount_order: u32,
    /// Whether guest clusters are in an external data file.
    pub external_data: bool,
}

impl Geometry {
    /// Bytes in a cluster.
    pub fn cluster_size(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Bytes of an L2 entry.
    pub fn l2_entry_size(&self) -> u64 {
        if self.extended_l2 { 16 } else { 8 }
    }

    /// Logarithm of the number of entries in an L2 table.
    pub fn l2_bits(&self) -> u32 {
        self.cluster_bits - self.l2_entry_size().trailing_zeros()
    }

    /// Entries in an L2 table.
    pub fn l2_entries(&self) -> usize {
        1 << self.l2_bits()
    }

    /// Guest bytes behind one L2 table.
    pub fn l2_coverage(&self) -> u64 {
        1 << (self.l2_bits() + self.cluster_bits)
    }

    /// Entries of an L1 table that covers `size` guest bytes.
    pub fn l1_entries_for(&self, size: u64) -> u64 {
        size.div_ceil(self.l2_coverage())
    }

    /// Subclusters in a cluster: 32, or the cluster itself.
    pub fn subclusters(&self) -> u32 {
        if self.extended_l2 { SUBCLUSTERS } else { 1 }
    }

    /// Bytes in a subcluster.
    pub fn subcluster_size(&self) -> u64 {
        self.cluster_size() / u64::from(self.subclusters())
    }

    /// Width of a refcount in bits.
    pub fn refcount_bits(&self) -> u32 {
        1 << self.refcount_order
    }

    /// The largest refcount.
    pub fn refcount_max(&self) -> u64 {
        u64::MAX >> (64 - self.refcount_bits())
    }

    /// Logarithm of the number of refcounts in a refcount block.
    pub fn refcount_block_bits(&self) -> u32 {
        self.cluster_bits + 3 - self.refcount_order
    }

    /// Refcounts in a refcount block.
    pub fn refcount_block_entries(&self) -> u64 {
        1 << self.refcount_block_bits()
    }

    /// Position of the length field in a compressed cluster's descriptor.
    pub fn compressed_size_shift(&self) -> u32 {
        62 - (self.cluster_bits - 8)
    }

    /// Where a guest offset is looked up.
    pub fn index(&self, at: GuestOffset) -> GuestIndex {
        let cluster = at.0 >> self.cluster_bits;
        GuestIndex {
            l1: usize::try_from(cluster >> self.l2_bits()).unwrap_or(usize::MAX),
            l2: (cluster as usize) & (self.l2_entries() - 1),
            within: self.within(at.0),
        }
    }

    /// The guest offset behind the first byte of an L2 entry.
    pub fn guest_offset(&self, l1: usize, l2: usize) -> GuestOffset {
        GuestOffset(((l1 as u64) << self.l2_bits() | l2 as u64) << self.cluster_bits)
    }

    /// The byte within its cluster.
    pub fn within(&self, offset: u64) -> u64 {
        offset & (self.cluster_size() - 1)
    }

    /// Whether an offset in the file is a cluster's first byte.
    pub fn is_cluster_start(&self, offset: HostOffset) -> bool {
        offset.is_aligned(self.cluster_size())
    }

    /// The cluster of the file that holds an offset.
    pub fn host_cluster(&self, offset: HostOffset) -> HostCluster {
        HostCluster(offset.0 >> self.cluster_bits)
    }

    /// The first byte of a cluster of the file.
    pub fn host_offset(&self, cluster: HostCluster) -> HostOffset {
        HostOffset(cluster.0 << self.cluster_bits)
    }

    /// How many clusters `bytes` bytes need.
    pub fn clusters_for(&self, bytes: u64) -> u64 {
        bytes.div_ceil(self.cluster_size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Geometry = Geometry {
        version: Version::V3,
        cluster_bits: 16,
        extended_l2: false,
        refcount_order: 4,
        external_data: false,
    };

    #[test]
    fn plain_geometry() {
        assert_eq!(PLAIN.l2_entries(), 8192);
        assert_eq!(PLAIN.l2_coverage(), 512 << 20);
        assert_eq!(PLAIN.l1_entries_for(1 << 40), 2048);
        assert_eq!(PLAIN.l1_entries_for((512 << 20) + 1), 2);
        assert_eq!(PLAIN.refcount_block_entries(), 32768);
        assert_eq!(PLAIN.refcount_max(), 65535);
        assert_eq!(PLAIN.compressed_size_shift(), 54);
    }

    #[test]
    fn indexes_lead_back() {
        let extended = Geometry { extended_l2: true, cluster_bits: 14, ..PLAIN };
        for geometry in [PLAIN, extended, Geometry { cluster_bits: 9, refcount_order: 0, ..PLAIN }] {
            for at in [0, 1, 65535, 65536, 123_456_789_012] {
                let index = geometry.index(GuestOffset(at));
                assert_eq!(geometry.guest_offset(index.l1, index.l2) + index.within, GuestOffset(at));
            }
        }
        assert_eq!(extended.l2_entries(), 1024);
        assert_eq!(extended.subcluster_size(), 512);
    }

    #[test]
    fn widest_refcounts() {
        let wide = Geometry { refcount_order: 6, ..PLAIN };
        assert_eq!(wide.refcount_max(), u64::MAX);
        assert_eq!(wide.refcount_block_entries(), 8192);
        let bits = Geometry { refcount_order: 0, ..PLAIN };
        assert_eq!((bits.refcount_max(), bits.refcount_block_entries()), (1, 524_288));
    }
}
