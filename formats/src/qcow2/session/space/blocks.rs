//! Refcount blocks: loaded, moved to places of the session's own, and written.

use std::ops::Range;

use super::{Mode, Space, beyond_limit};
use crate::error::ResultExt;
use crate::qcow2::entry::RefcountTableEntry;
use crate::qcow2::geometry::{HostCluster, TABLE_ENTRY_SIZE};
use crate::qcow2::header::MAX_REFCOUNT_TABLE_SIZE;
use crate::qcow2::session::cache::Dirty;
use crate::{Error, HostOffset, Result};

/// Blocks that moved lately in which room is looked for.
const TRIED_BLOCKS: usize = 4;

impl Space {
    /// The refcount block of a cluster, and the count's index in it.
    pub(super) fn place(&self, cluster: u64) -> (usize, usize) {
        let bits = self.geometry.refcount_block_bits();
        let index = usize::try_from(cluster >> bits).unwrap_or(usize::MAX);
        (index, (cluster & ((1 << bits) - 1)) as usize)
    }

    pub(super) fn block_offset(&self, index: usize) -> Option<HostOffset> {
        self.table.get(index).and_then(|entry| entry.block())
    }

    pub(super) fn is_block_own(&self, index: usize) -> bool {
        self.block_offset(index).is_some_and(|offset| self.is_own(self.geometry.host_cluster(offset)))
    }

    /// The bytes of a refcount block, if there is one.
    pub(super) fn block(&mut self, index: usize) -> Result<Option<&[u8]>> {
        let Some(offset) = self.block_offset(index) else { return Ok(None) };
        self.load(index, offset)?;
        Ok(self.blocks.get(index).map(|bytes| bytes.as_slice()))
    }

    fn load(&mut self, index: usize, offset: HostOffset) -> Result<()> {
        if self.blocks.get(index).is_some() {
            return Ok(());
        }
        if !self.geometry.is_cluster_start(offset) {
            return Err(Error::corrupt(format!(
                "Refblock offset {offset} unaligned (reftable index: {index:#x})"
            )));
        }
        let mut bytes = vec![0; self.geometry.cluster_size() as usize];
        self.disk.read_exact_at(offset.0, &mut bytes).context(|| "Could not read refcount block".into())?;
        self.make_room()?;
        self.blocks.insert(index, bytes);
        Ok(())
    }

    fn make_room(&mut self) -> Result<()> {
        let dirty = self.blocks.shed();
        self.write_blocks(dirty)
    }

    pub(super) fn write_blocks(&self, mut dirty: Vec<Dirty>) -> Result<()> {
        dirty.sort_unstable_by_key(|block| block.index);
        for block in dirty {
            if let Some(offset) = self.block_offset(block.index) {
                self.disk
                    .write_at(offset.0, &block.bytes)
                    .context(|| "Could not write refcount block".into())?;
            }
        }
        Ok(())
    }

    /// Makes every block that counts these clusters the session's own.
    ///
    /// A block's new place needs counting itself, perhaps in a block that has to move in turn. Each
    /// block moves at most once in a session, so this ends.
    pub(super) fn own_blocks(&mut self, clusters: Range<u64>) -> Result<()> {
        let (first, last) = (self.place(clusters.start).0, self.place(clusters.end.saturating_sub(1)).0);
        let mut todo: Vec<usize> = (first..=last).filter(|&index| !self.is_block_own(index)).collect();
        let mut places = Vec::new();
        while let Some(index) = todo.pop() {
            if self.is_block_own(index) {
                continue;
            }
            let place = self.find_place(index, &clusters, &todo)?;
            self.note_own(place..place + 1);
            // It has no count yet.
            self.guarded.insert(place..place + 1);
            self.move_block(index, HostCluster(place))?;
            places.push(place);
            todo.push(self.place(place).0);
        }
        for place in places {
            self.guarded.remove(place..place + 1);
            self.set_counts(place..place + 1, 1)?;
        }
        Ok(())
    }

    /// Where a block goes: the next free cluster, unless another block would have to move for it.
    /// Then rather where this one counts it, or one that moved lately, or the last one; else
    /// holes far apart would make one block move after the other.
    fn find_place(&mut self, index: usize, except: &Range<u64>, todo: &[usize]) -> Result<u64> {
        let place = self.find_run(1, 1)?.start;
        let counted_by = self.place(place).0;
        let is_known = counted_by == index || self.is_block_own(counted_by) || todo.contains(&counted_by);
        if !is_known && self.mode == Mode::Shadow {
            let lately = self.moved.iter().rev().take(TRIED_BLOCKS).copied();
            let last = self.table.iter().rposition(|entry| entry.block().is_some());
            let candidates: Vec<usize> = [index].into_iter().chain(lately).chain(last).collect();
            for candidate in candidates {
                if let Some(found) = self.find_in_block(candidate, except)? {
                    return Ok(found);
                }
            }
        }
        self.cursor = place + 1;
        Ok(place)
    }

    fn move_block(&mut self, index: usize, place: HostCluster) -> Result<()> {
        if index as u64 >= MAX_REFCOUNT_TABLE_SIZE / TABLE_ENTRY_SIZE {
            return Err(beyond_limit());
        }
        match self.block_offset(index) {
            Some(offset) => {
                self.load(index, offset)?;
                self.released
                    .insert(self.geometry.host_cluster(offset).0..self.geometry.host_cluster(offset).0 + 1);
            }
            None => {
                self.make_room()?;
                self.blocks.insert(index, vec![0; self.geometry.cluster_size() as usize]);
            }
        }
        if self.table.len() <= index {
            self.table.resize(index + 1, RefcountTableEntry::default());
        }
        self.table[index] = RefcountTableEntry::new(self.geometry.host_offset(place));
        self.table_dirty = true;
        self.moved.push(index);
        self.blocks.touch(index);
        Ok(())
    }

    /// Stores a count for every cluster of a run whose blocks are the session's own.
    pub(super) fn set_counts(&mut self, clusters: Range<u64>, count: u64) -> Result<()> {
        let (width, per_block) = (self.width, self.geometry.refcount_block_entries());
        let mut cluster = clusters.start;
        while cluster < clusters.end {
            let (index, within) = self.place(cluster);
            let len = (per_block - within as u64).min(clusters.end - cluster);
            self.block(index)?;
            let block = self.blocks.get_mut(index).ok_or_else(beyond_limit)?;
            for at in within..within + len as usize {
                width.set(block, at, count);
            }
            cluster += len;
        }
        Ok(())
    }
}
