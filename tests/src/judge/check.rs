//! Whether the metadata agrees with itself: reference counts, "copied" flags, overlaps.

use std::ops::Range;

use super::bitmaps::Bitmaps;
use super::guest::{COMPRESSED, COPIED, Entry, Kind, OFFSET};
use super::image::Image;
use super::snapshots::Snapshot;

/// What a check finds.
#[derive(Debug, Default)]
pub struct Findings {
    /// What is wrong, in words.
    pub faults: Vec<String>,
    /// Clusters counted too often.
    pub leaks: u64,
}

/// What a cluster is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Header,
    RefcountTable,
    RefcountBlock,
    L1,
    L2,
    Data,
    Compressed,
    SnapshotTable,
    BitmapDirectory,
    BitmapTable,
    BitmapBits,
    LuksHeader,
}

impl Use {
    /// Whether a cluster may be used twice so: what snapshots share.
    fn is_shared(self) -> bool {
        matches!(self, Self::L2 | Self::Data | Self::Compressed)
    }
}

/// As many faults are enough to see what is wrong.
const ENOUGH: usize = 8;

struct Check<'a> {
    image: &'a Image<'a>,
    /// By cluster: how often it is referred to, and as what.
    uses: Vec<(u64, Option<Use>)>,
    findings: Findings,
}

/// Looks at everything that refers to clusters.
pub fn check(image: &Image<'_>, snapshots: &[Snapshot], bitmaps: &Bitmaps) -> Result<Findings, String> {
    let uses = Vec::new();
    let findings = Findings { faults: bitmaps.faults.clone(), leaks: 0 };
    let mut check = Check { image, uses, findings };
    check.count_tables(snapshots, bitmaps);
    check.count_guest(&image.l1)?;
    for snapshot in snapshots {
        check.count_guest(&snapshot.l1)?;
    }
    let counts = check.compare()?;
    check.check_copied(&counts)?;
    Ok(check.findings)
}

impl Check<'_> {
    fn fault(&mut self, tell: impl FnOnce() -> String) {
        if self.findings.faults.len() < ENOUGH {
            self.findings.faults.push(tell());
        }
    }

    fn cluster_size(&self) -> u64 {
        self.image.header.cluster_size()
    }

    /// Notes that a range is used.
    fn claim(&mut self, range: Range<u64>, usage: Use) {
        if range.is_empty() {
            return;
        }
        let cluster_size = self.cluster_size();
        if usage != Use::Compressed && !range.start.is_multiple_of(cluster_size) {
            self.fault(|| format!("{usage:?} at {:#x} is not aligned", range.start));
        }
        if !self.image.reader.reaches(self.image.file, range.end.saturating_sub(cluster_size) + 1) {
            self.fault(|| format!("{usage:?} at {:#x} is past the end of the file", range.start));
            return;
        }
        let end = range.end.div_ceil(cluster_size);
        if self.uses.len() < end as usize {
            self.uses.resize(end as usize, (0, None));
        }
        for cluster in range.start / cluster_size..end {
            let (count, before) = self.uses[cluster as usize];
            let clashes = before.is_some_and(|before| before != usage || !usage.is_shared());
            if clashes {
                self.fault(|| format!("cluster {cluster} is {before:?} and {usage:?}"));
            }
            self.uses[cluster as usize] = (count + 1, Some(usage));
        }
    }

    fn claim_at(&mut self, offset: u64, len: u64, usage: Use) {
        self.claim(offset..offset.saturating_add(len), usage);
    }

    /// Everything but L2 tables and guest data.
    fn count_tables(&mut self, snapshots: &[Snapshot], bitmaps: &Bitmaps) {
        let header = &self.image.header;
        let cluster = self.cluster_size();
        self.claim_at(0, cluster, Use::Header);
        self.claim_at(
            header.refcount_table,
            u64::from(header.refcount_table_clusters) * cluster,
            Use::RefcountTable,
        );
        self.claim_at(header.l1_offset, u64::from(header.l1_size) * 8, Use::L1);
        let table_len = snapshots.iter().map(|snapshot| snapshot.entry_len).sum();
        self.claim_at(header.snapshots_offset, table_len, Use::SnapshotTable);
        for snapshot in snapshots {
            self.claim_at(snapshot.l1_offset, snapshot.l1.len() as u64 * 8, Use::L1);
        }
        if let Some((offset, len)) = header.luks {
            self.claim_at(offset, len, Use::LuksHeader);
        }
        if let Some(place) = header.bitmaps {
            self.claim_at(place.offset, place.size, Use::BitmapDirectory);
        }
        for bitmap in &bitmaps.list {
            self.claim_at(bitmap.table_offset, bitmap.table.len() as u64 * 8, Use::BitmapTable);
            for word in &bitmap.table {
                let offset = word & OFFSET;
                if word & !OFFSET & !1 != 0 || offset != 0 && word & 1 != 0 {
                    self.fault(|| format!("bitmap table entry {word:#x}"));
                }
                if offset != 0 {
                    self.claim_at(offset, cluster, Use::BitmapBits);
                }
            }
        }
    }

    /// L2 tables and guest data under an L1 table.
    fn count_guest(&mut self, l1: &[u64]) -> Result<(), String> {
        for (index, &word) in l1.iter().enumerate() {
            if word & !OFFSET & !COPIED != 0 {
                self.fault(|| format!("L1 entry {word:#x}"));
            }
            if word & OFFSET == 0 {
                continue;
            }
            self.claim_at(word & OFFSET, self.cluster_size(), Use::L2);
            let first = index as u64 * self.image.header.l1_coverage();
            for number in 0..self.image.header.l2_entries() {
                let at = first + number * self.cluster_size();
                let entry = self.image.entry(l1, at)?;
                if entry.word != 0 || entry.bitmap != 0 {
                    self.count_entry(entry, at);
                }
            }
        }
        Ok(())
    }

    fn count_entry(&mut self, entry: Entry, at: u64) {
        let header = &self.image.header;
        if entry.word & COMPRESSED != 0 {
            if entry.word & COPIED != 0 || header.external_data() {
                self.fault(|| format!("compressed entry {:#x}", entry.word));
            }
            self.claim(self.image.compressed_range(entry.word), Use::Compressed);
            return;
        }
        let zero_flag = u64::from(header.facts.version >= 3 && !header.extended_l2());
        if entry.word & !OFFSET & !COPIED & !zero_flag != 0 {
            self.fault(|| format!("L2 entry {:#x}", entry.word));
        }
        if entry.bitmap & (entry.bitmap >> 32) & 0xffff_ffff != 0 {
            self.fault(|| format!("subclusters {:#x} are data and zero", entry.bitmap));
        }
        let offset = entry.word & OFFSET;
        if header.external_data() {
            if header.raw_data() && offset != at && entry.kind(self.image, 0) == Kind::Data(offset) {
                self.fault(|| format!("guest offset {at:#x} is at {offset:#x} of a raw data file"));
            }
        } else if offset != 0 {
            self.claim_at(offset, self.cluster_size(), Use::Data);
        }
    }

    /// The file's counts, compared with what was counted.
    fn compare(&mut self) -> Result<Counts, String> {
        let header = &self.image.header;
        let len = u64::from(header.refcount_table_clusters) * self.cluster_size();
        let table = self.image.reader.bytes(self.image.file, header.refcount_table, len)?;
        let table = super::bytes::words(&table);
        for &word in &table {
            if word & !OFFSET != 0 {
                self.fault(|| format!("refcount table entry {word:#x}"));
            }
            if word & OFFSET != 0 {
                self.claim_at(word & OFFSET, self.cluster_size(), Use::RefcountBlock);
            }
        }
        let counts = Counts::read(self.image, &table, self.uses.len())?;
        for (cluster, &(used, usage)) in self.uses.iter().enumerate() {
            let counted = counts.of(cluster as u64);
            if counted > used {
                self.findings.leaks += 1;
            } else if counted < used && self.findings.faults.len() < ENOUGH {
                let text =
                    format!("cluster {cluster} ({usage:?}) is used {used} times and counted {counted}");
                self.findings.faults.push(text);
            }
        }
        self.findings.leaks += counts.beyond;
        Ok(counts)
    }

    /// The flags that say that a cluster may be overwritten where it stands.
    fn check_copied(&mut self, counts: &Counts) -> Result<(), String> {
        let cluster_size = self.cluster_size();
        let wrong = |word: u64| (word & COPIED != 0) != (counts.of((word & OFFSET) / cluster_size) == 1);
        for (index, &word) in self.image.l1.iter().enumerate() {
            if word & OFFSET == 0 {
                continue;
            }
            if wrong(word) {
                self.fault(|| format!("copied flag of L1 entry {word:#x}"));
            }
            if self.image.header.external_data() {
                continue;
            }
            let first = index as u64 * self.image.header.l1_coverage();
            for number in 0..self.image.header.l2_entries() {
                let entry = self.image.entry(&self.image.l1, first + number * cluster_size)?;
                if entry.word & COMPRESSED == 0 && entry.word & OFFSET != 0 && wrong(entry.word) {
                    self.fault(|| format!("copied flag of L2 entry {:#x}", entry.word));
                }
            }
        }
        Ok(())
    }
}

/// The reference counts in the file.
struct Counts {
    counts: Vec<u64>,
    /// Clusters behind all that are used that are counted.
    beyond: u64,
}

impl Counts {
    fn read(image: &Image<'_>, table: &[u64], clusters: usize) -> Result<Self, String> {
        let order = image.header.facts.refcount_order;
        let per_block = (image.header.cluster_size() * 8) >> order;
        let mut all = Self { counts: vec![0; clusters], beyond: 0 };
        for (index, word) in table.iter().enumerate().filter(|(_, word)| *word & OFFSET != 0) {
            let block = image.reader.bytes(image.file, word & OFFSET, image.header.cluster_size())?;
            let first = index as u64 * per_block;
            for number in 0..per_block {
                let count = count_in(&block, number as usize, order);
                match all.counts.get_mut((first + number) as usize) {
                    Some(place) => *place = count,
                    None => all.beyond += u64::from(count != 0),
                }
            }
        }
        Ok(all)
    }

    fn of(&self, cluster: u64) -> u64 {
        self.counts.get(cluster as usize).copied().unwrap_or(0)
    }
}

/// The count with that number in a block of counts of 2^order bits.
fn count_in(block: &[u8], number: usize, order: u32) -> u64 {
    let bits = 1_usize << order;
    if bits < 8 {
        let per_byte = 8 / bits;
        let byte = block[number / per_byte] >> (number % per_byte * bits);
        return u64::from(byte) & ((1 << bits) - 1);
    }
    let bytes = &block[number * bits / 8..][..bits / 8];
    bytes.iter().fold(0, |count, byte| count << 8 | u64::from(*byte))
}
