//! Refcount blocks and their table: which are written anew, and where.

use std::collections::BTreeSet;
use std::ops::Range;

use super::Plan;
use crate::qcow2::check::Counts;
use crate::qcow2::entry::RefcountTableEntry;
use crate::qcow2::geometry::{HostCluster, TABLE_ENTRY_SIZE};
use crate::qcow2::header::{MAX_REFCOUNT_TABLE_SIZE, TableLocation};
use crate::{Error, ErrorKind, HostOffset, Result};

impl Plan<'_> {
    /// Gives every block that changes a place, and then the table. Each place needs counting
    /// itself, perhaps in a block that has to move for that; each block moves at most once.
    pub(super) fn settle_refcounts(&mut self) -> Result<()> {
        if std::mem::take(&mut self.remedy.recount) {
            self.find_dirty_blocks()?;
        }
        while !self.dirty.is_empty() {
            while let Some(index) = self.dirty.pop_first() {
                self.place_block(index)?;
            }
            let clusters = self.geometry.clusters_for(self.refcount_table.len() as u64 * TABLE_ENTRY_SIZE);
            if self.table_clusters < clusters.max(1) {
                self.place_table(clusters.max(1))?;
            }
        }
        Ok(())
    }

    /// Counts of clusters that the file does not have yet must not come to be leaks when it is longer.
    pub(super) fn touch_blocks_of(&mut self, clusters: Range<u64>) {
        let bits = self.geometry.refcount_block_bits();
        let blocks = clusters.start >> bits..clusters.end.div_ceil(1 << bits);
        let known = (blocks.start..blocks.end.min(self.refcount_table.len() as u64))
            .filter(|&index| self.block_offset(index).is_some());
        let known: Vec<u64> = known.collect();
        self.dirty.extend(known);
    }

    /// Blocks that stand behind the end of the file hold nothing.
    pub(super) fn drop_outside_blocks(&mut self) {
        for index in 0..self.refcount_table.len() {
            let offset = self.refcount_table[index].block();
            let outside = |offset: &HostOffset| self.geometry.host_cluster(*offset).0 >= self.remedy.end;
            if let Some(offset) = offset.filter(outside).filter(|_| self.remedy.repairs_all) {
                self.refcount_table[index] = RefcountTableEntry::default();
                self.vacate(offset, self.geometry.cluster_size());
            }
        }
    }

    /// Blocks whose counts are not those of the file; all of them, if they are made anew. What a block
    /// counts behind the end of the file does not matter.
    fn find_dirty_blocks(&mut self) -> Result<()> {
        let bits = self.geometry.refcount_block_bits();
        let covering = (self.refcount_table.len() as u64).min(self.remedy.end.div_ceil(1 << bits));
        let known = (0..covering).filter(|&index| self.block_offset(index).is_some());
        let used = self.counts().pages().flat_map(|page| page.start >> bits..=(page.end - 1) >> bits);
        let candidates: BTreeSet<u64> = known.chain(used).collect();
        for index in candidates {
            if self.new_block(index)? != self.old_block(index)? {
                self.dirty.insert(index);
            }
        }
        Ok(())
    }

    /// A refcount block as it is in the file; zeroes where there is none that counts.
    fn old_block(&self, index: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.geometry.cluster_size() as usize];
        let table = self.remedy.refcount_table.as_deref().unwrap_or_default();
        if let Some(offset) = table.get(index as usize).and_then(|entry| entry.block()) {
            self.image.file().read_padded(offset.0, &mut bytes)?;
        }
        Ok(bytes)
    }

    fn block_offset(&self, index: u64) -> Option<HostOffset> {
        self.refcount_table.get(index as usize).and_then(|entry| entry.block())
    }

    fn place_block(&mut self, index: u64) -> Result<()> {
        if self.blocks.contains_key(&index) {
            return Ok(());
        }
        if index >= MAX_REFCOUNT_TABLE_SIZE / TABLE_ENTRY_SIZE {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "The image file would exceed the limits of its format",
            ));
        }
        let place = self.take(1)?;
        self.blocks.insert(index, place);
        if let Some(old) = self.block_offset(index) {
            self.vacate(old, self.geometry.cluster_size());
        }
        if self.refcount_table.len() as u64 <= index {
            self.refcount_table.resize(index as usize + 1, RefcountTableEntry::default());
        }
        let offset = self.geometry.host_offset(HostCluster(place));
        self.refcount_table[index as usize] = RefcountTableEntry::new(offset);
        Ok(())
    }

    fn place_table(&mut self, clusters: u64) -> Result<()> {
        let old = self.header.refcount_table;
        let is_first = std::mem::replace(&mut self.table_clusters, clusters) == 0;
        let place = self.take(clusters)?;
        self.header.refcount_table =
            TableLocation { offset: self.geometry.host_offset(HostCluster(place)), count: clusters as u32 };
        // One that is given up as a whole has not been counted.
        if !is_first || self.remedy.refcount_table.is_some() {
            self.vacate(old.offset, u64::from(old.count) << self.geometry.cluster_bits);
        }
        Ok(())
    }

    /// A refcount block as it is to be. Counts behind the end of the file, which no check has looked
    /// at, stay.
    pub(super) fn new_block(&self, index: u64) -> Result<Vec<u8>> {
        let mut bytes = self.old_block(index)?;
        let per_block = self.geometry.refcount_block_entries();
        let first = index.saturating_mul(per_block);
        self.clear_counts(&mut bytes, self.places.end().saturating_sub(first).min(per_block));
        let mut at = 0;
        while at < per_block {
            let counts = self.counts();
            let stretch = Counts::left_in_page(first + at).min(per_block - at);
            let present = counts.bytes(first + at);
            let present = &present[..present.len().min(stretch as usize)];
            for (number, _) in present.iter().enumerate().filter(|(_, count)| **count != 0) {
                let within = at + number as u64;
                self.width.set(&mut bytes, within as usize, counts.get(first + within));
            }
            at += stretch;
        }
        Ok(bytes)
    }

    /// Clears the first so many counts of a block.
    fn clear_counts(&self, bytes: &mut [u8], counts: u64) {
        let bits = counts << self.geometry.refcount_order;
        let whole = (bits / 8) as usize;
        if let Some(bytes) = bytes.get_mut(..whole) {
            bytes.fill(0);
        }
        for index in (whole as u64 * 8) >> self.geometry.refcount_order..counts {
            self.width.set(bytes, index as usize, 0);
        }
    }
}
