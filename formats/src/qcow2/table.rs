//! L1 and L2 tables in memory.

use std::sync::Arc;

use journal::Disk;
use zerocopy::FromBytes;
use zerocopy::big_endian::U64;

use super::entry::{L1Entry, L2Entry, SubclusterBitmap};
use super::geometry::{Geometry, TABLE_ENTRY_SIZE};
use super::header::TableLocation;
use crate::Result;

/// An L2 table as its bytes in the file; cheap to clone, copied when a shared one is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct L2Table {
    bytes: Arc<Vec<u8>>,
}

impl L2Table {
    /// A table of those bytes, one cluster of them.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes: Arc::new(bytes) }
    }

    /// A table that is shared with whoever else holds its bytes.
    pub fn from_shared(bytes: Arc<Vec<u8>>) -> Self {
        Self { bytes }
    }

    /// The bytes as they stand in the file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes for reuse: the table's own, or a copy if the table is shared.
    pub fn into_bytes(self) -> Vec<u8> {
        Arc::unwrap_or_clone(self.bytes)
    }

    /// The entry at that index; nothing past the table's end.
    pub fn entry(&self, geometry: &Geometry, index: usize) -> L2Entry {
        entry_at(geometry, &self.bytes, index)
    }

    /// The entries from that index on.
    #[inline]
    pub fn entries_from(&self, geometry: &Geometry, index: usize) -> Entries<'_> {
        entries(geometry, self.bytes.get(index * geometry.l2_entry_size() as usize..).unwrap_or_default())
    }

    /// Puts an entry; past the table's end, nothing happens.
    pub fn set(&mut self, geometry: &Geometry, index: usize, entry: L2Entry) {
        put_entry(geometry, Arc::<Vec<u8>>::make_mut(&mut self.bytes), index, entry);
    }
}

/// The entry at that index of an L2 table's bytes; nothing past the table's end.
#[inline]
pub fn entry_at(geometry: &Geometry, bytes: &[u8], index: usize) -> L2Entry {
    let start = index * geometry.l2_entry_size() as usize;
    entries(geometry, bytes.get(start..).unwrap_or_default()).next().unwrap_or(L2Entry::NONE)
}

/// Puts an entry into an L2 table's bytes; past the table's end, nothing happens.
pub fn put_entry(geometry: &Geometry, bytes: &mut [u8], index: usize, entry: L2Entry) {
    let size = geometry.l2_entry_size() as usize;
    let Some(place) = bytes.get_mut(index * size..(index + 1) * size) else { return };
    place[..8].copy_from_slice(&entry.descriptor.to_be_bytes());
    if let Some(bitmap) = place.get_mut(8..16) {
        bitmap.copy_from_slice(&entry.bitmap.0.to_be_bytes());
    }
}

/// Entries of a stretch of an L2 table.
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    words: std::slice::Iter<'a, U64>,
    extended: bool,
}

/// The entries in a stretch of an L2 table's bytes.
#[inline]
pub fn entries<'a>(geometry: &Geometry, bytes: &'a [u8]) -> Entries<'a> {
    Entries { words: words(bytes).iter(), extended: geometry.extended_l2 }
}

impl Iterator for Entries<'_> {
    type Item = L2Entry;

    #[inline]
    fn next(&mut self) -> Option<L2Entry> {
        let descriptor = self.words.next()?.get();
        let bitmap = if self.extended { self.words.next()?.get() } else { 0 };
        Some(L2Entry { descriptor, bitmap: SubclusterBitmap(bitmap) })
    }
}

/// Whole big-endian words at the start of `bytes`.
#[inline]
pub fn words(bytes: &[u8]) -> &[U64] {
    let whole = bytes.len() / size_of::<U64>();
    <[U64]>::ref_from_prefix_with_elems(bytes, whole).map_or(&[], |(words, _)| words)
}

/// Reads an L1 table. Its location has passed the header's door; what lies past the end of the
/// file is zeroes.
pub fn read_l1(disk: &dyn Disk, location: TableLocation) -> Result<Vec<L1Entry>> {
    let mut bytes = vec![0; location.count as usize * TABLE_ENTRY_SIZE as usize];
    disk.read_padded(location.offset.0, &mut bytes)?;
    Ok(words(&bytes).iter().map(|word| L1Entry(word.get())).collect())
}

/// Where a mapping finds its L2 tables: the image as it was opened, a snapshot of it, or a writer
/// with tables of its own over it.
pub trait L2Tables {
    /// Entries of the L1 table.
    fn l1_len(&self) -> usize;

    /// The L1 entry at that index; none past the end.
    fn l1_entry(&self, index: usize) -> L1Entry;

    /// The L2 table behind that L1 entry.
    fn l2_table(&self, index: usize) -> Result<Option<L2Table>>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HostOffset;
    use crate::qcow2::entry::Ownership;
    use crate::qcow2::geometry::Version;

    #[test]
    fn entries_are_put_and_found() {
        for extended_l2 in [false, true] {
            let geometry = Geometry {
                version: Version::V3,
                cluster_bits: 14,
                extended_l2,
                refcount_order: 4,
                external_data: false,
            };
            let mut table = L2Table::new(vec![0; 1 << 14]);
            let before = table.clone();
            let bitmap = SubclusterBitmap::new(u32::from(extended_l2), 0);
            let entry = L2Entry::normal(HostOffset(0x8000), Ownership::Sole).with_bitmap(bitmap);
            let last = geometry.l2_entries() - 1;
            table.set(&geometry, last, entry);
            table.set(&geometry, last + 1, entry);
            assert_eq!(table.entry(&geometry, last), entry);
            assert_eq!(table.entry(&geometry, last - 1), L2Entry::NONE);
            assert_eq!(table.entry(&geometry, last + 1), L2Entry::NONE);
            assert_eq!(before.entry(&geometry, last), L2Entry::NONE);
            assert_eq!(table.entries_from(&geometry, 0).count(), last + 1);
        }
    }
}
