//! Entries of the L1, L2 and refcount tables.
//!
//! An entry is its bits as they stand in the file, host-endian. Classification
//! ([`L2Entry::kind`], [`L2Entry::subcluster`]) never fails, because a check must be able to name
//! what is wrong; [`L2Entry::validate`] is the one door through which an entry comes to be
//! *used*.

use std::fmt;

use super::geometry::{Geometry, SUBCLUSTERS, Version};
use crate::HostOffset;

/// Bit 63: exactly one reference, so that the cluster may be written in place.
const COPIED: u64 = 1 << 63;
/// Bit 62 of an L2 entry: the cluster is compressed.
const COMPRESSED: u64 = 1 << 62;
/// Bit 0 of a plain L2 entry: the cluster reads as zeroes.
const ZERO: u64 = 1;
/// Bits 9–55: where the table or cluster stands in the file.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// Bits of an L1 entry that must be zero.
const L1_RESERVED: u64 = 0x7f00_0000_0000_01ff;
/// Bits of a plain L2 entry that must be zero.
const L2_RESERVED: u64 = 0x3f00_0000_0000_01fe;
/// Bits 9–63 of a refcount table entry: where the block stands in the file.
const REFCOUNT_OFFSET: u64 = 0xffff_ffff_ffff_fe00;
/// Compressed data is measured in these units.
const SECTOR: u64 = 512;

/// Whether a cluster has exactly one reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// One reference: may be written in place.
    Sole,
    /// More, or unknown.
    Shared,
}

impl Ownership {
    fn bits(self) -> u64 {
        match self {
            Self::Sole => COPIED,
            Self::Shared => 0,
        }
    }
}

/// An entry of an L1 table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct L1Entry(pub u64);

impl L1Entry {
    /// No L2 table.
    pub const NONE: Self = Self(0);

    /// An entry for an L2 table at a cluster-aligned offset.
    pub fn new(table: HostOffset, ownership: Ownership) -> Self {
        Self(table.0 & OFFSET | ownership.bits())
    }

    /// Where the L2 table stands, aligned or not; `None` if there is none.
    pub fn table(self) -> Option<HostOffset> {
        let offset = self.0 & OFFSET;
        (offset != 0).then_some(HostOffset(offset))
    }

    /// Whether the table may be written in place.
    pub fn is_copied(self) -> bool {
        self.0 & COPIED != 0
    }

    /// The entry for the same table at another cluster-aligned offset.
    #[must_use]
    pub fn moved_to(self, table: HostOffset) -> Self {
        Self(self.0 & !OFFSET | table.0 & OFFSET)
    }

    /// The entry saying whether the table may be written in place.
    #[must_use]
    pub fn owned(self, ownership: Ownership) -> Self {
        Self(self.0 & !COPIED | ownership.bits())
    }

    /// Whether bits are set that must not be.
    pub fn has_reserved_bits(self) -> bool {
        self.0 & L1_RESERVED != 0
    }
}

/// An entry of the refcount table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RefcountTableEntry(pub u64);

impl RefcountTableEntry {
    /// An entry for a refcount block at a cluster-aligned offset.
    pub fn new(block: HostOffset) -> Self {
        Self(block.0 & REFCOUNT_OFFSET)
    }

    /// Where the refcount block stands, aligned or not; `None` if there is none.
    pub fn block(self) -> Option<HostOffset> {
        let offset = self.0 & REFCOUNT_OFFSET;
        (offset != 0).then_some(HostOffset(offset))
    }

    /// Whether bits are set that must not be.
    pub fn has_reserved_bits(self) -> bool {
        self.0 & !REFCOUNT_OFFSET != 0
    }
}

/// The second half of an extended L2 entry: bit `n` says that subcluster `n` is allocated, bit
/// `32 + n` that it reads as zeroes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SubclusterBitmap(pub u64);

impl SubclusterBitmap {
    /// Nothing allocated, nothing zero.
    pub const NONE: Self = Self(0);

    /// Of these two sets, one bit for each subcluster.
    pub fn new(allocated: u32, zero: u32) -> Self {
        Self(u64::from(zero) << SUBCLUSTERS | u64::from(allocated))
    }

    /// Subclusters with data.
    pub fn allocated(self) -> u32 {
        self.0 as u32
    }

    /// Subclusters that read as zeroes.
    pub fn zero(self) -> u32 {
        (self.0 >> SUBCLUSTERS) as u32
    }

    /// Whether a subcluster is called both.
    pub fn is_contradictory(self) -> bool {
        self.allocated() & self.zero() != 0
    }
}

/// Where a compressed cluster's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompressedDescriptor {
    /// The first byte, at any alignment.
    pub offset: HostOffset,
    /// At most so many bytes: up to the end of the last 512-byte sector.
    pub len: u64,
}

/// What an L2 entry says of its cluster, before anything is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterKind {
    /// Nothing here.
    Unallocated,
    /// Reads as zeroes, no space behind it.
    ZeroPlain,
    /// Reads as zeroes, with space kept for it.
    ZeroAllocated(HostOffset),
    /// Space with data (or, with subclusters, whatever the bitmap says).
    Normal(HostOffset),
    /// A compressed stream.
    Compressed(CompressedDescriptor),
}

/// What a subcluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubclusterKind {
    /// Nothing here, and no cluster behind it.
    UnallocatedPlain,
    /// Nothing here, but the cluster has space for it.
    UnallocatedAllocated,
    /// Reads as zeroes, no space behind it.
    ZeroPlain,
    /// Reads as zeroes, with space kept for it.
    ZeroAllocated,
    /// Data.
    Normal,
    /// Part of a compressed stream.
    Compressed,
}

/// An entry of an L2 table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct L2Entry {
    /// The cluster descriptor.
    pub descriptor: u64,
    /// The subcluster bitmap, [`SubclusterBitmap::NONE`] in images without subclusters.
    pub bitmap: SubclusterBitmap,
}

impl L2Entry {
    /// An entry that says nothing.
    pub const NONE: Self = Self { descriptor: 0, bitmap: SubclusterBitmap::NONE };

    /// A plain cluster with data at a cluster-aligned offset.
    pub fn normal(offset: HostOffset, ownership: Ownership) -> Self {
        Self { descriptor: offset.0 & OFFSET | ownership.bits(), bitmap: SubclusterBitmap::NONE }
    }

    /// A cluster of an image without subclusters that reads as zeroes and has no space.
    pub fn zero_plain() -> Self {
        Self { descriptor: ZERO, bitmap: SubclusterBitmap::NONE }
    }

    /// A cluster of an image without subclusters that reads as zeroes, over kept space.
    pub fn zero_allocated(offset: HostOffset, ownership: Ownership) -> Self {
        Self { descriptor: Self::normal(offset, ownership).descriptor | ZERO, bitmap: SubclusterBitmap::NONE }
    }

    /// A compressed cluster of `len` bytes at `offset`, if the descriptor can say so.
    pub fn compressed(geometry: &Geometry, offset: HostOffset, len: u64) -> Option<Self> {
        let shift = geometry.compressed_size_shift();
        let last = offset.checked_add(len.checked_sub(1)?)?;
        let sectors = last.0 / SECTOR - offset.0 / SECTOR;
        let fits = offset.0 < 1 << shift && sectors < 1 << (geometry.cluster_bits - 8);
        let descriptor = COMPRESSED | sectors << shift | offset.0;
        fits.then_some(Self { descriptor, bitmap: SubclusterBitmap::NONE })
    }

    /// With a subcluster bitmap.
    #[must_use]
    pub fn with_bitmap(self, bitmap: SubclusterBitmap) -> Self {
        Self { bitmap, ..self }
    }

    /// With another ownership; not for compressed clusters.
    #[must_use]
    pub fn with_ownership(self, ownership: Ownership) -> Self {
        Self { descriptor: self.descriptor & !COPIED | ownership.bits(), ..self }
    }

    /// Whether the cluster may be written in place.
    pub fn is_copied(self) -> bool {
        self.descriptor & COPIED != 0
    }

    /// The entry saying whether the cluster may be written in place.
    #[must_use]
    pub fn owned(self, ownership: Ownership) -> Self {
        Self { descriptor: self.descriptor & !COPIED | ownership.bits(), ..self }
    }

    /// Whether the cluster is compressed.
    pub fn is_compressed(self) -> bool {
        self.descriptor & COMPRESSED != 0
    }

    /// The offset field of a cluster that is not compressed, aligned or not.
    pub fn offset(self) -> HostOffset {
        HostOffset(self.descriptor & OFFSET)
    }

    /// Whether bits are set that must not be. Compressed descriptors have none.
    pub fn has_reserved_bits(self) -> bool {
        !self.is_compressed() && self.descriptor & L2_RESERVED != 0
    }

    /// What the descriptor says of the cluster.
    #[inline]
    pub fn kind(self, geometry: &Geometry) -> ClusterKind {
        let offset = self.offset();
        if self.is_compressed() {
            ClusterKind::Compressed(self.compressed_descriptor(geometry))
        } else if self.descriptor & ZERO != 0 && !geometry.extended_l2 {
            if offset.0 == 0 { ClusterKind::ZeroPlain } else { ClusterKind::ZeroAllocated(offset) }
        } else if offset.0 == 0 && !(geometry.external_data && self.is_copied()) {
            ClusterKind::Unallocated
        } else {
            // Offset 0 of an external data file is a guest cluster like any other; there the
            // copied bit says that it is in use.
            ClusterKind::Normal(offset)
        }
    }

    fn compressed_descriptor(self, geometry: &Geometry) -> CompressedDescriptor {
        let shift = geometry.compressed_size_shift();
        let offset = self.descriptor & ((1 << shift) - 1);
        let sectors = (self.descriptor >> shift & ((1 << (geometry.cluster_bits - 8)) - 1)) + 1;
        CompressedDescriptor { offset: HostOffset(offset), len: sectors * SECTOR - offset % SECTOR }
    }

    /// What the entry says of one subcluster (0 in images without them), or `None` if it
    /// contradicts itself.
    #[inline]
    pub fn subcluster(self, geometry: &Geometry, index: u32) -> Option<SubclusterKind> {
        let zero = self.bitmap.zero() >> index & 1 != 0;
        let allocated = self.bitmap.allocated() >> index & 1 != 0;
        Some(match self.kind(geometry) {
            ClusterKind::Compressed(_) => SubclusterKind::Compressed,
            ClusterKind::ZeroPlain => SubclusterKind::ZeroPlain,
            ClusterKind::ZeroAllocated(_) => SubclusterKind::ZeroAllocated,
            ClusterKind::Normal(_) if !geometry.extended_l2 => SubclusterKind::Normal,
            ClusterKind::Normal(_) if self.bitmap.is_contradictory() => return None,
            ClusterKind::Normal(_) if zero => SubclusterKind::ZeroAllocated,
            ClusterKind::Normal(_) if allocated => SubclusterKind::Normal,
            ClusterKind::Normal(_) => SubclusterKind::UnallocatedAllocated,
            ClusterKind::Unallocated if !geometry.extended_l2 => SubclusterKind::UnallocatedPlain,
            ClusterKind::Unallocated if self.bitmap.allocated() != 0 => return None,
            ClusterKind::Unallocated if zero => SubclusterKind::ZeroPlain,
            ClusterKind::Unallocated => SubclusterKind::UnallocatedPlain,
        })
    }

    /// The door: an entry whose cluster may be read, or what is wrong with it.
    #[inline]
    pub fn validate(self, geometry: &Geometry) -> Result<ClusterKind, EntryFault> {
        let kind = self.kind(geometry);
        match kind {
            ClusterKind::Compressed(_) if geometry.external_data => Err(EntryFault::CompressedInDataFile),
            ClusterKind::ZeroPlain | ClusterKind::ZeroAllocated(_) if geometry.version == Version::V2 => {
                Err(EntryFault::ZeroBeforeVersion3)
            }
            ClusterKind::Normal(offset) | ClusterKind::ZeroAllocated(offset)
                if !geometry.is_cluster_start(offset) =>
            {
                Err(EntryFault::Unaligned(offset))
            }
            ClusterKind::Normal(_) if self.bitmap.is_contradictory() => Err(EntryFault::Bitmap),
            ClusterKind::Unallocated if self.bitmap.allocated() != 0 => Err(EntryFault::Bitmap),
            _ => Ok(kind),
        }
    }
}

/// A number as C prints it with `%#x`: in hexadecimal, but 0 without a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AltHex(pub u64);

impl fmt::Display for AltHex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { f.write_str("0") } else { write!(f, "{:#x}", self.0) }
    }
}

/// Why an L2 entry cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryFault {
    /// Compression and external data files exclude each other.
    CompressedInDataFile,
    /// The zero flag is a reserved bit in version 2.
    ZeroBeforeVersion3,
    /// The cluster's offset is not a multiple of the cluster size.
    Unaligned(HostOffset),
    /// The subcluster bitmap contradicts itself or the descriptor.
    Bitmap,
}

impl fmt::Display for EntryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CompressedInDataFile => {
                f.write_str("Compressed cluster entry found in image with external data file")
            }
            Self::ZeroBeforeVersion3 => f.write_str("Zero cluster entry found in pre-v3 image"),
            Self::Unaligned(offset) => write!(f, "Cluster allocation offset {offset} unaligned"),
            // Two spaces follow, as QEMU prints it.
            Self::Bitmap => f.write_str("Invalid cluster entry found "),
        }
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
    const EXTENDED: Geometry = Geometry { extended_l2: true, ..PLAIN };
    const AT: HostOffset = HostOffset(0x50000);

    #[test]
    fn kinds_of_plain_entries() {
        let cases = [
            (L2Entry::NONE, ClusterKind::Unallocated),
            (L2Entry::zero_plain(), ClusterKind::ZeroPlain),
            (L2Entry::zero_allocated(AT, Ownership::Sole), ClusterKind::ZeroAllocated(AT)),
            (L2Entry::normal(AT, Ownership::Shared), ClusterKind::Normal(AT)),
        ];
        for (entry, kind) in cases {
            assert_eq!(entry.kind(&PLAIN), kind);
            assert_eq!(entry.validate(&PLAIN), Ok(kind));
            assert!(!entry.has_reserved_bits());
        }
    }

    #[test]
    fn the_first_cluster_of_a_data_file() {
        let entry = L2Entry::normal(HostOffset(0), Ownership::Sole);
        assert_eq!(entry.kind(&PLAIN), ClusterKind::Unallocated);
        let external = Geometry { external_data: true, ..PLAIN };
        assert_eq!(entry.kind(&external), ClusterKind::Normal(HostOffset(0)));
    }

    #[test]
    fn compressed_descriptors_lead_back() {
        for (offset, len) in [(0x50000, 1), (0x50001, 511), (0x501ff, 2), (0x123_4567, 65536), (511, 65536)] {
            let entry = L2Entry::compressed(&PLAIN, HostOffset(offset), len).unwrap();
            let ClusterKind::Compressed(run) = entry.kind(&PLAIN) else { panic!("{entry:?}") };
            assert_eq!(run.offset.0, offset);
            assert!(run.len >= len && run.len < len + 512, "{run:?}");
        }
        assert_eq!(L2Entry::compressed(&PLAIN, HostOffset(1 << 54), 1), None);
        assert_eq!(L2Entry::compressed(&PLAIN, HostOffset(0), 257 * 512), None);
        assert_eq!(L2Entry::compressed(&PLAIN, HostOffset(0), 0), None);
    }

    #[test]
    fn faults_are_found_at_the_door() {
        let unaligned = L2Entry { descriptor: 0x50200, bitmap: SubclusterBitmap::NONE };
        assert_eq!(unaligned.validate(&PLAIN), Err(EntryFault::Unaligned(HostOffset(0x50200))));
        assert_eq!(
            L2Entry::zero_plain().validate(&Geometry { version: Version::V2, ..PLAIN }),
            Err(EntryFault::ZeroBeforeVersion3)
        );
        let both = L2Entry::normal(AT, Ownership::Sole).with_bitmap(SubclusterBitmap::new(6, 4));
        assert_eq!(both.validate(&EXTENDED), Err(EntryFault::Bitmap));
        let homeless = L2Entry::NONE.with_bitmap(SubclusterBitmap::new(1, 0));
        assert_eq!(homeless.validate(&EXTENDED), Err(EntryFault::Bitmap));
    }

    #[test]
    fn subclusters() {
        let entry = L2Entry::normal(AT, Ownership::Sole).with_bitmap(SubclusterBitmap::new(1, 2));
        assert_eq!(entry.subcluster(&EXTENDED, 0), Some(SubclusterKind::Normal));
        assert_eq!(entry.subcluster(&EXTENDED, 1), Some(SubclusterKind::ZeroAllocated));
        assert_eq!(entry.subcluster(&EXTENDED, 2), Some(SubclusterKind::UnallocatedAllocated));
        let zero = L2Entry::NONE.with_bitmap(SubclusterBitmap::new(0, 1 << 31));
        assert_eq!(zero.subcluster(&EXTENDED, 31), Some(SubclusterKind::ZeroPlain));
        assert_eq!(zero.subcluster(&EXTENDED, 30), Some(SubclusterKind::UnallocatedPlain));
    }
}
