//! Everything that refers to clusters.

use std::collections::HashMap;

use super::Check;
use crate::qcow2::bitmap::BitmapCluster;
use crate::qcow2::entry::{AltHex, ClusterKind, L1Entry, L2Entry};
use crate::qcow2::geometry::{Geometry, HostCluster, TABLE_ENTRY_SIZE};
use crate::qcow2::header::{MAX_L1_SIZE, TableLocation};
use crate::qcow2::snapshot::{Snapshot, SnapshotTable};
use crate::qcow2::table::{L2Table, words};
use crate::{Error, HostOffset, Result};

/// L2 tables that snapshots share, by their place. A table that was found sound twice is not read
/// again each time: how often it is met is counted, and its references are added in one go.
#[derive(Debug, Default)]
pub(super) struct SharedTables {
    /// How often each was met beyond the times it was read.
    unread: HashMap<HostOffset, u64>,
}

/// Whose tables are walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// The image's own: fragmentation is counted.
    Active,
    /// A snapshot's.
    Snapshot,
}

impl Check<'_> {
    /// Counts every reference but those to refcount blocks.
    pub(super) fn count_references(&mut self, snapshots: &SnapshotTable) -> Result<()> {
        let header = self.image.header();
        self.mark(HostOffset(0), self.geometry.cluster_size())?;
        self.walk_l1(header.l1, Owner::Active)?;
        if self.geometry.external_data && !snapshots.snapshots.is_empty() {
            let count = snapshots.snapshots.len();
            self.corruption(format!("ERROR {count} snapshots in image with data file"));
        }
        for snapshot in &snapshots.snapshots {
            self.walk_snapshot(snapshot)?;
        }
        self.add_shared()?;
        self.mark(header.snapshots.offset, snapshots.len)?;
        if !self.rebuilt {
            let table = header.refcount_table;
            self.mark_structure(table.offset, u64::from(table.count) << self.geometry.cluster_bits)?;
        }
        if let Some(encryption) = header.extensions.encryption {
            self.mark(encryption.offset, encryption.len)?;
        }
        self.walk_bitmaps()
    }

    fn walk_snapshot(&mut self, snapshot: &Snapshot) -> Result<()> {
        let Snapshot { info, l1, .. } = snapshot;
        let (id, name) = (&info.id, &info.name);
        if !self.geometry.is_cluster_start(l1.offset) {
            let offset = AltHex(l1.offset.0);
            self.corruption(format!(
                "ERROR snapshot {id} ({name}) l1_offset={offset}: L1 table is not cluster aligned; \
                 snapshot table entry corrupted"
            ));
        } else if u64::from(l1.count) > MAX_L1_SIZE / TABLE_ENTRY_SIZE {
            let size = AltHex(u64::from(l1.count));
            self.corruption(format!(
                "ERROR snapshot {id} ({name}) l1_size={size}: L1 table is too large; \
                 snapshot table entry corrupted"
            ));
        } else {
            self.walk_l1(*l1, Owner::Snapshot)?;
        }
        Ok(())
    }

    fn walk_l1(&mut self, location: TableLocation, owner: Owner) -> Result<()> {
        if location.count == 0 {
            return Ok(());
        }
        let size = u64::from(location.count) * TABLE_ENTRY_SIZE;
        self.mark(location.offset, size)?;
        self.spend(u64::from(location.count))?;
        let mut bytes = vec![0; self.within_file(location.offset, size) as usize];
        self.read_named(location.offset, &mut bytes, "check_refcounts_l1")?;
        let mut buffer = vec![0; self.geometry.cluster_size() as usize];
        for entry in words(&bytes).iter().map(|word| L1Entry(word.get())) {
            if entry != L1Entry::NONE {
                self.walk_l2(entry, owner, &mut buffer)?;
            }
        }
        Ok(())
    }

    fn walk_l2(&mut self, entry: L1Entry, owner: Owner, buffer: &mut Vec<u8>) -> Result<()> {
        if entry.has_reserved_bits() {
            self.corruption(format!("ERROR found L1 entry with reserved bits set: {:x}", entry.0));
        }
        let offset = entry.table().unwrap_or_default();
        self.mark(offset, self.geometry.cluster_size())?;
        let aligned = self.geometry.is_cluster_start(offset);
        if !aligned {
            let offset = offset.0;
            self.corruption(format!(
                "ERROR l2_offset={offset:x}: Table is not cluster aligned; L1 entry corrupted"
            ));
        }
        let again = aligned && self.counts.get(self.geometry.host_cluster(offset).0) > 1;
        if again && owner == Owner::Snapshot && self.count_shared(offset) {
            return self.spend(1);
        }
        let told = self.told;
        self.scan_l2(offset, owner, buffer)?;
        if again && self.told == told {
            self.shared.unread.insert(offset, 0);
        }
        Ok(())
    }

    /// Counts a table that need not be read again, if this is one.
    fn count_shared(&mut self, table: HostOffset) -> bool {
        match self.shared.unread.get_mut(&table) {
            Some(unread) => {
                *unread += 1;
                true
            }
            None => false,
        }
    }

    /// Adds the references of tables as often as they were met and not read.
    fn add_shared(&mut self) -> Result<()> {
        let mut shared: Vec<(HostOffset, u64)> =
            std::mem::take(&mut self.shared.unread).into_iter().collect();
        shared.retain(|(_, times)| *times > 0);
        shared.sort_unstable();
        let mut buffer = vec![0; self.geometry.cluster_size() as usize];
        for (offset, times) in shared {
            self.spend(self.geometry.l2_entries() as u64)?;
            self.read_named(offset, &mut buffer, "check_refcounts_l2")?;
            let table = L2Table::new(std::mem::take(&mut buffer));
            let mended_here = self.mended.contains(&offset);
            for entry in table.entries_from(&self.geometry, 0) {
                let entry = if mended_here { mended(&self.geometry, entry) } else { entry };
                self.add_entry(entry, times)?;
            }
            buffer = table.into_bytes();
        }
        Ok(())
    }

    /// Adds the references of a sound entry.
    fn add_entry(&mut self, entry: L2Entry, times: u64) -> Result<()> {
        let (offset, len) = match entry.kind(&self.geometry) {
            ClusterKind::Compressed(descriptor) => (descriptor.offset, descriptor.len),
            ClusterKind::Normal(offset) | ClusterKind::ZeroAllocated(offset)
                if !self.geometry.external_data =>
            {
                (offset, self.geometry.cluster_size())
            }
            _ => return Ok(()),
        };
        let first = self.geometry.host_cluster(offset).0;
        let last = self.geometry.host_cluster(offset + (len - 1)).0;
        for cluster in first..=last {
            let refused = self.counts.add(cluster, times);
            self.spend(refused)?;
            for _ in 0..refused {
                self.overflow(HostCluster(cluster));
            }
        }
        Ok(())
    }

    fn scan_l2(&mut self, offset: HostOffset, owner: Owner, buffer: &mut Vec<u8>) -> Result<()> {
        self.spend(self.geometry.l2_entries() as u64)?;
        self.read_named(offset, buffer, "check_refcounts_l2")?;
        let table = L2Table::new(std::mem::take(buffer));
        let mut scan = Scan { owner, table: offset, next: 0, run: 0..0 };
        let mended_before = self.mended.contains(&offset);
        for (index, entry) in table.entries_from(&self.geometry, 0).enumerate() {
            let entry = if mended_before { mended(&self.geometry, entry) } else { entry };
            if entry != L2Entry::NONE && !self.scan_simple(&mut scan, entry) {
                self.flush(&mut scan);
                self.scan_entry(&mut scan, index, entry)?;
            }
        }
        self.flush(&mut scan);
        *buffer = table.into_bytes();
        Ok(())
    }

    /// Takes an entry of the kind that all but all are: a sound cluster inside the file. Runs of
    /// them are counted together.
    #[inline]
    fn scan_simple(&mut self, scan: &mut Scan, entry: L2Entry) -> bool {
        let offset = entry.offset();
        let simple =
            matches!(entry.kind(&self.geometry), ClusterKind::Normal(_) | ClusterKind::ZeroAllocated(_))
                && !entry.has_reserved_bits()
                && !entry.bitmap.is_contradictory()
                && self.geometry.is_cluster_start(offset)
                && offset.0 < self.file_len
                && !self.geometry.external_data;
        if simple {
            let cluster = offset.0 >> self.geometry.cluster_bits;
            if scan.run.end != cluster {
                self.flush(scan);
                scan.run.start = cluster;
            }
            scan.run.end = cluster + 1;
            self.count_cluster(scan, offset);
        }
        simple
    }

    fn flush(&mut self, scan: &mut Scan) {
        let run = std::mem::take(&mut scan.run);
        if !run.is_empty() {
            self.mark_clusters(run.start, run.end - run.start);
        }
    }

    /// Fragmentation of the active image.
    #[inline]
    fn count_cluster(&mut self, scan: &mut Scan, offset: HostOffset) {
        if scan.owner == Owner::Active {
            self.report.allocated_clusters += 1;
            if scan.next != 0 && scan.next != offset.0 {
                self.report.fragmented_clusters += 1;
            }
            scan.next = offset.0 + self.geometry.cluster_size();
        }
    }

    fn scan_entry(&mut self, scan: &mut Scan, index: usize, entry: L2Entry) -> Result<()> {
        if entry.has_reserved_bits() {
            self.corruption(format!("ERROR found l2 entry with reserved bits set: {:x}", entry.descriptor));
        }
        match entry.kind(&self.geometry) {
            ClusterKind::Compressed(_) => self.scan_compressed(scan, index, entry),
            ClusterKind::Normal(offset) | ClusterKind::ZeroAllocated(offset) => {
                self.scan_cluster(scan, entry, offset)
            }
            ClusterKind::Unallocated if entry.bitmap.allocated() != 0 => {
                self.corruption("ERROR: Unallocated cluster has non-zero subcluster allocation map");
                Ok(())
            }
            ClusterKind::Unallocated | ClusterKind::ZeroPlain => Ok(()),
        }
    }

    fn scan_compressed(&mut self, scan: &mut Scan, index: usize, entry: L2Entry) -> Result<()> {
        let ClusterKind::Compressed(descriptor) = entry.kind(&self.geometry) else { return Ok(()) };
        let mut bits = entry.descriptor;
        if entry.is_copied() {
            let mask = (1 << self.geometry.compressed_size_shift()) - 1;
            self.corruption(format!(
                "ERROR: coffset={:#x}: copied flag must never be set for compressed clusters",
                bits & mask
            ));
            bits &= !(1 << 63);
        }
        if self.geometry.external_data {
            self.corruption(format!("ERROR compressed cluster {index} with data file, entry={bits:#x}"));
            return Ok(());
        }
        if entry.bitmap.0 != 0 {
            self.corruption(format!(
                "ERROR compressed cluster {index} with non-zero subcluster allocation bitmap, entry={bits:#x}"
            ));
            return Ok(());
        }
        self.mark(descriptor.offset, descriptor.len)?;
        if scan.owner == Owner::Active {
            // Compressed clusters count as fragmented by nature.
            self.report.allocated_clusters += 1;
            self.report.compressed_clusters += 1;
            self.report.fragmented_clusters += 1;
        }
        Ok(())
    }

    fn scan_cluster(&mut self, scan: &mut Scan, entry: L2Entry, offset: HostOffset) -> Result<()> {
        if entry.bitmap.is_contradictory() {
            self.corruption(format!(
                "ERROR offset={:x}: Allocated cluster has corrupted subcluster allocation bitmap",
                offset.0
            ));
        }
        if mended(&self.geometry, entry) != entry {
            let repaired = self.repairs_all() && self.is_replaceable(scan.table);
            let what = "Preallocated cluster is not properly aligned; L2 entry corrupted.";
            self.damage(repaired, format_args!("offset={:x}: {what}", offset.0));
            if repaired {
                self.mended.insert(scan.table);
                return Ok(());
            }
        } else if !self.geometry.is_cluster_start(offset) {
            self.corruption(format!(
                "ERROR offset={:x}: Data cluster is not properly aligned; L2 entry corrupted.",
                offset.0
            ));
        }
        self.count_cluster(scan, offset);
        if !self.geometry.external_data {
            self.mark(offset, self.geometry.cluster_size())?;
        }
        Ok(())
    }

    fn walk_bitmaps(&mut self) -> Result<()> {
        let Some(location) = self.image.header().extensions.bitmaps else { return Ok(()) };
        self.mark(location.offset, location.len)?;
        let image = self.image;
        for bitmap in image.bitmap_directory() {
            self.mark(bitmap.table, u64::from(bitmap.table_entries) * TABLE_ENTRY_SIZE)?;
            self.spend(u64::from(bitmap.table_entries))?;
            let entries = bitmap.read_table(&**image.file())?;
            let clusters: Option<Vec<_>> =
                entries.into_iter().map(|entry| entry.validate(&self.geometry)).collect();
            let Some(clusters) = clusters else {
                self.report.corruptions += 1;
                return Err(Error::corrupt("Invalid argument"));
            };
            for cluster in clusters {
                if let BitmapCluster::At(offset) = cluster {
                    self.mark(offset, self.geometry.cluster_size())?;
                }
            }
        }
        Ok(())
    }

    /// Whether an L2 table can be replaced by another: one that is not where tables may be is no
    /// table, and stays what it is.
    pub(super) fn is_replaceable(&self, table: HostOffset) -> bool {
        table.0 != 0 && self.geometry.is_cluster_start(table)
    }

    /// Reads a table, or tells in QEMU's words which one cannot be read.
    fn read_named(&mut self, offset: HostOffset, buffer: &mut [u8], reader: &str) -> Result<()> {
        let result = self.read(offset, buffer);
        if result.is_err() {
            self.report.check_errors += 1;
            self.line(format!("ERROR: I/O error in {reader}"));
        }
        result
    }
}

/// What a repair makes of an entry: space that is kept for zeroes, but stands where no cluster can,
/// is given up. Every other entry stays.
pub(in crate::qcow2) fn mended(geometry: &Geometry, entry: L2Entry) -> L2Entry {
    let has_data = match entry.kind(geometry) {
        ClusterKind::Normal(_) => !geometry.extended_l2 || entry.bitmap.allocated() != 0,
        ClusterKind::ZeroAllocated(_) => false,
        _ => return entry,
    };
    match has_data || geometry.is_cluster_start(entry.offset()) {
        true => entry,
        false if geometry.extended_l2 => L2Entry::NONE.with_bitmap(entry.bitmap),
        false => L2Entry::zero_plain(),
    }
}

/// One L2 table being looked at.
struct Scan {
    owner: Owner,
    /// Where it stands.
    table: HostOffset,
    /// Where the next cluster would stand if the data were not fragmented; 0 at the start.
    next: u64,
    /// Sound clusters that follow one another and are not counted yet.
    run: std::ops::Range<u64>,
}
