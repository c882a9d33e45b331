//! Space in the file: reference counts, and the search for free clusters.
//!
//! A cluster that a session releases keeps its count until the session is settled, so that a
//! count of zero means: free in the committed state and free in this session.

use std::ops::Range;
use std::sync::Arc;

use journal::Disk;

use super::Mode;
use super::cache::{Cache, Dirty};
use super::ranges::RangeSet;
use crate::error::ResultExt;
use crate::qcow2::entry::RefcountTableEntry;
use crate::qcow2::geometry::{Geometry, HostCluster, TABLE_ENTRY_SIZE};
use crate::qcow2::header::{MAX_REFCOUNT_TABLE_SIZE, TableLocation};
use crate::qcow2::refcount::RefcountWidth;
use crate::{Error, ErrorKind, HostOffset, Result};

/// Memory for refcount blocks.
const CACHE_BUDGET: u64 = 4 << 20;
/// Host offsets in tables have 56 bits.
const MAX_HOST_OFFSET: u64 = 1 << 56;

/// The refcount table and its blocks as a session changes them.
#[derive(Debug)]
pub(super) struct Space {
    disk: Arc<dyn Disk>,
    geometry: Geometry,
    width: RefcountWidth,
    mode: Mode,
    location: TableLocation,
    table: Vec<RefcountTableEntry>,
    table_dirty: bool,
    blocks: Cache,
    /// Everything before it is in use or was passed over.
    cursor: u64,
    /// Clusters taken in this session. Not kept in [`Mode::InPlace`], where all are.
    own: RangeSet,
    /// Clusters whose count is to drop by one when the session is settled.
    released: RangeSet,
    /// Clusters that are known to hold metadata, whatever their counts say.
    guarded: RangeSet,
}

impl Space {
    /// Space of an empty file: the header's cluster and a refcount table of one cluster after it.
    pub(super) fn create(disk: Arc<dyn Disk>, geometry: Geometry) -> Result<Self> {
        let location = TableLocation { offset: HostOffset(geometry.cluster_size()), count: 1 };
        let mut space = Self::new(disk, geometry, Mode::InPlace, location, Vec::new())?;
        space.cursor = 2;
        space.table_dirty = true;
        space.own_blocks(0..2)?;
        space.set_counts(0..2, 1)?;
        Ok(space)
    }

    /// Space of an existing image.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        geometry: Geometry,
        mode: Mode,
        location: TableLocation,
    ) -> Result<Self> {
        let size = u64::from(location.count) << geometry.cluster_bits;
        if size > MAX_REFCOUNT_TABLE_SIZE {
            return Err(Error::corrupt("Reference count table too large"));
        }
        let mut bytes = vec![0; size as usize];
        disk.read_exact_at(location.offset.0, &mut bytes)
            .context(|| "Could not read reference count table".into())?;
        let entries = bytes.as_chunks::<8>().0.iter().map(|raw| RefcountTableEntry(u64::from_be_bytes(*raw)));
        let table = entries.collect();
        let mut space = Self::new(disk, geometry, mode, location, table)?;
        space.guard_refcounts();
        Ok(space)
    }

    fn new(
        disk: Arc<dyn Disk>,
        geometry: Geometry,
        mode: Mode,
        location: TableLocation,
        table: Vec<RefcountTableEntry>,
    ) -> Result<Self> {
        let width = RefcountWidth::from_order(geometry.refcount_order)
            .ok_or_else(|| Error::corrupt("Reference count entry width too large; may not exceed 64 bits"))?;
        Ok(Self {
            disk,
            geometry,
            width,
            mode,
            location,
            table,
            table_dirty: false,
            blocks: Cache::new(CACHE_BUDGET, geometry.cluster_size()),
            cursor: 0,
            own: RangeSet::default(),
            released: RangeSet::default(),
            guarded: RangeSet::default(),
        })
    }

    /// Where the refcount table stands.
    pub(super) fn location(&self) -> TableLocation {
        self.location
    }

    /// The end of the last cluster that was handed out.
    pub(super) fn end(&self) -> u64 {
        self.cursor << self.geometry.cluster_bits
    }

    /// Never hands out these bytes of the file, even if their counts are zero.
    pub(super) fn guard(&mut self, offset: HostOffset, len: u64) {
        let end = offset.0.saturating_add(len).div_ceil(self.geometry.cluster_size());
        self.guarded.insert(self.geometry.host_cluster(offset).0..end);
    }

    fn guard_refcounts(&mut self) {
        let size = self.geometry.cluster_size();
        self.guard(HostOffset(0), size);
        self.guard(self.location.offset, u64::from(self.location.count) * size);
        let blocks: Vec<_> = self.table.iter().filter_map(|entry| entry.block()).collect();
        for block in blocks {
            self.guard(block, size);
        }
    }

    /// Whether the session may overwrite a cluster where it stands, as far as its owner is
    /// concerned (its count is another matter).
    pub(super) fn is_own(&self, cluster: HostCluster) -> bool {
        self.mode == Mode::InPlace || self.own.contains(cluster.0)
    }

    /// Takes between `min` and `max` clusters in a row, each now counted once.
    pub(super) fn take(&mut self, min: u64, max: u64) -> Result<Range<u64>> {
        let run = self.find_run(min, max)?;
        self.take_run(run.clone())?;
        Ok(run)
    }

    /// Takes a run that was found to be free. Blocks that must be made to count it stand behind it.
    fn take_run(&mut self, run: Range<u64>) -> Result<()> {
        self.cursor = run.end;
        self.own_blocks(run.clone())?;
        self.set_counts(run.clone(), 1)?;
        self.note_own(run);
        Ok(())
    }

    /// Makes the blocks that the next so many clusters need.
    pub(super) fn cover(&mut self, clusters: u64) -> Result<()> {
        self.own_blocks(self.cursor..self.cursor.saturating_add(clusters))
    }

    /// Takes one cluster.
    pub(super) fn take_one(&mut self) -> Result<HostOffset> {
        let run = self.take(1, 1)?;
        Ok(self.geometry.host_offset(HostCluster(run.start)))
    }

    /// Takes as many clusters in a row as `len` bytes need.
    pub(super) fn take_bytes(&mut self, len: u64) -> Result<HostOffset> {
        let count = self.geometry.clusters_for(len).max(1);
        let run = self.take(count, count)?;
        Ok(self.geometry.host_offset(HostCluster(run.start)))
    }

    /// Takes this very cluster if it is the next one in line.
    pub(super) fn take_at(&mut self, cluster: HostCluster) -> Result<bool> {
        let run = self.find_run(1, 1)?;
        let is_next = run.start == cluster.0;
        if is_next {
            self.take_run(run)?;
        }
        Ok(is_next)
    }

    /// Counts one more reference to a cluster, or answers that its count is full.
    pub(super) fn share(&mut self, cluster: HostCluster) -> Result<Shared> {
        let count = self.count(cluster)?;
        if count >= self.width.max() {
            return Ok(Shared::Full);
        }
        self.own_blocks(cluster.0..cluster.0 + 1)?;
        self.set_counts(cluster.0..cluster.0 + 1, count + 1)?;
        Ok(Shared::Counted)
    }

    /// Drops one reference to each cluster that holds some of these bytes of the file.
    pub(super) fn release(&mut self, offset: HostOffset, len: u64) -> Result<()> {
        let last = offset.checked_add(len.saturating_sub(1)).ok_or_else(beyond_limit)?;
        let first = self.geometry.host_cluster(offset).0;
        for cluster in first..=self.geometry.host_cluster(last).0 {
            self.release_one(HostCluster(cluster))?;
        }
        Ok(())
    }

    fn release_one(&mut self, cluster: HostCluster) -> Result<()> {
        let pending = u64::from(self.released.contains(cluster.0));
        let count = self.count(cluster)?;
        if count <= pending {
            let offset = self.geometry.host_offset(cluster);
            return Err(Error::corrupt(format!("Cluster at offset {offset} is used but not counted")));
        }
        if pending == 1 || count > 1 {
            self.own_blocks(cluster.0..cluster.0 + 1)?;
            return self.set_counts(cluster.0..cluster.0 + 1, count - 1);
        }
        self.released.insert(cluster.0..cluster.0 + 1);
        Ok(())
    }

    /// A cluster's count as the session sees it.
    pub(super) fn count(&mut self, cluster: HostCluster) -> Result<u64> {
        let (index, within) = self.place(cluster.0);
        let width = self.width;
        Ok(self.block(index)?.map_or(0, |block| width.get(block, within)))
    }

    fn note_own(&mut self, run: Range<u64>) {
        if self.mode == Mode::Shadow {
            self.own.insert(run);
        }
    }

    /// The refcount block of a cluster, and the count's index in it.
    fn place(&self, cluster: u64) -> (usize, usize) {
        let bits = self.geometry.refcount_block_bits();
        let index = usize::try_from(cluster >> bits).unwrap_or(usize::MAX);
        (index, (cluster & ((1 << bits) - 1)) as usize)
    }

    fn block_offset(&self, index: usize) -> Option<HostOffset> {
        self.table.get(index).and_then(|entry| entry.block())
    }

    fn is_block_own(&self, index: usize) -> bool {
        self.block_offset(index).is_some_and(|offset| self.is_own(self.geometry.host_cluster(offset)))
    }

    /// The bytes of a refcount block, if there is one.
    fn block(&mut self, index: usize) -> Result<Option<&[u8]>> {
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

    fn write_blocks(&self, mut dirty: Vec<Dirty>) -> Result<()> {
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
    fn own_blocks(&mut self, clusters: Range<u64>) -> Result<()> {
        let (first, last) = (self.place(clusters.start).0, self.place(clusters.end.saturating_sub(1)).0);
        let mut todo: Vec<usize> = (first..=last).filter(|&index| !self.is_block_own(index)).collect();
        let mut places = Vec::new();
        while let Some(index) = todo.pop() {
            if self.is_block_own(index) {
                continue;
            }
            let place = self.find_run(1, 1)?.start;
            self.cursor = place + 1;
            self.note_own(place..place + 1);
            self.move_block(index, HostCluster(place))?;
            places.push(place);
            todo.push(self.place(place).0);
        }
        for place in places {
            self.set_counts(place..place + 1, 1)?;
        }
        Ok(())
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
        self.blocks.touch(index);
        Ok(())
    }

    /// Stores a count for every cluster of a run whose blocks are the session's own.
    fn set_counts(&mut self, clusters: Range<u64>, count: u64) -> Result<()> {
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

    /// The first run of at least `min` free clusters, at most `max` of it. Changes nothing.
    fn find_run(&mut self, min: u64, max: u64) -> Result<Range<u64>> {
        let (width, per_block) = (self.width, self.geometry.refcount_block_entries());
        let mut run = self.cursor..self.cursor;
        while run.end - run.start < max {
            if run.end >= MAX_HOST_OFFSET >> self.geometry.cluster_bits {
                return Err(beyond_limit());
            }
            if let Some(guarded) = self.guarded.run_at(run.end) {
                if run.end - run.start >= min {
                    break;
                }
                run = guarded.end..guarded.end;
                continue;
            }
            let (index, within) = self.place(run.end);
            let guarded = self.guarded.next_start(run.end).map_or(u64::MAX, |start| start - run.end);
            let limit = (per_block - within as u64).min(max - (run.end - run.start)).min(guarded);
            let Some(block) = self.block(index)? else {
                run.end += limit;
                continue;
            };
            let free = width.zero_run(block, within, limit as usize) as u64;
            if free == limit {
                run.end += free;
            } else if run.end + free - run.start >= min {
                run.end += free;
                break;
            } else {
                let next = width.next_zero(block, within + free as usize);
                let base = run.end - within as u64;
                let start = base + next.map_or(per_block, |next| next as u64);
                run = start..start;
            }
        }
        Ok(run)
    }

    /// Whether anything of the counts differs from the committed state.
    pub(super) fn is_changed(&self) -> bool {
        self.table_dirty || !self.released.is_empty()
    }

    /// Applies the releases and finds the refcount table its place. Returns the clusters that
    /// nothing refers to any more; all counts are final after this.
    pub(super) fn settle(&mut self) -> Result<RangeSet> {
        let mut gone = RangeSet::default();
        self.apply_releases(&mut gone)?;
        let moves = self.mode == Mode::Shadow && self.table_dirty;
        if moves || self.table_clusters() > u64::from(self.location.count) {
            self.move_table(&mut gone)?;
        }
        Ok(gone)
    }

    fn apply_releases(&mut self, gone: &mut RangeSet) -> Result<()> {
        while !self.released.is_empty() {
            for run in std::mem::take(&mut self.released).iter() {
                self.own_blocks(run.clone())?;
                for cluster in run {
                    let count = self.count(HostCluster(cluster))?.saturating_sub(1);
                    self.set_counts(cluster..cluster + 1, count)?;
                    if count == 0 {
                        // The committed state still has it: what settling takes must not be this.
                        self.guarded.insert(cluster..cluster + 1);
                        gone.insert(cluster..cluster + 1);
                    }
                }
            }
        }
        Ok(())
    }

    fn table_clusters(&self) -> u64 {
        self.geometry.clusters_for(self.table.len() as u64 * TABLE_ENTRY_SIZE).max(1)
    }

    /// Gives the refcount table a place of its own, large enough for itself.
    fn move_table(&mut self, gone: &mut RangeSet) -> Result<()> {
        loop {
            let old = self.location;
            let count = self.table_clusters().max(u64::from(old.count));
            let run = self.take(count, count)?;
            self.location = TableLocation {
                offset: self.geometry.host_offset(HostCluster(run.start)),
                count: u32::try_from(count).map_err(|_| beyond_limit())?,
            };
            self.release(old.offset, u64::from(old.count) << self.geometry.cluster_bits)?;
            self.apply_releases(gone)?;
            if self.table_clusters() <= count {
                return Ok(());
            }
        }
    }

    /// Writes everything to its place.
    pub(super) fn write(&mut self) -> Result<()> {
        let dirty = self.blocks.clean();
        self.write_blocks(dirty)?;
        if std::mem::take(&mut self.table_dirty) {
            let mut bytes: Vec<u8> = self.table.iter().flat_map(|entry| entry.0.to_be_bytes()).collect();
            bytes.resize((u64::from(self.location.count) << self.geometry.cluster_bits) as usize, 0);
            self.disk
                .write_at(self.location.offset.0, &bytes)
                .context(|| "Could not write reference count table".into())?;
        }
        Ok(())
    }

    /// The session is committed: what it took belongs to the committed state now.
    pub(super) fn close_epoch(&mut self, gone: &RangeSet) {
        self.own = RangeSet::default();
        for run in gone.iter() {
            self.guarded.remove(run);
        }
        let lowest = gone.iter().next().map_or(self.cursor, |run| run.start);
        self.cursor = self.cursor.min(lowest);
        if self.mode == Mode::Shadow {
            self.guard_refcounts();
        }
    }
}

/// What became of [`Space::share`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shared {
    /// The reference is counted.
    Counted,
    /// The count cannot go higher.
    Full,
}

fn beyond_limit() -> Error {
    Error::new(ErrorKind::TooLarge, "The image file would exceed the limits of its format")
}
