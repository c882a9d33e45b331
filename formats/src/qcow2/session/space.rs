//! Space in the file: reference counts, and the search for free clusters.
//!
//! A cluster that a session releases keeps its count until the session is settled, so that a
//! count of zero means: free in the committed state and free in this session.
//!
//! * [`search`]: taking clusters. [`references`]: counting and dropping references.
//! * [`blocks`]: the counts themselves. [`settle`]: the end. [`afresh`]: when everything is given up.

mod afresh;
mod blocks;
mod references;
mod search;
mod settle;
mod width;

use std::ops::Range;
use std::sync::Arc;

use journal::{Disk, RangeSet};

pub(super) use self::references::Shared;
use super::Mode;
use super::cache::Cache;
use crate::error::ResultExt;
use crate::qcow2::entry::RefcountTableEntry;
use crate::qcow2::geometry::{Geometry, HostCluster};
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
    /// Where the search was left for the last block's free clusters.
    passed_over: Option<u64>,
    /// Clusters handed out in this session.
    handed_out: u64,
    /// The refcount blocks that moved in this session, in order.
    moved: Vec<usize>,
    /// No cluster before it is taken, wherever the cursor is.
    floor: u64,
    /// Clusters taken in this session. Not kept in [`Mode::InPlace`], where all are.
    own: RangeSet,
    /// Clusters whose count is to drop by one when the session is settled.
    released: RangeSet,
    /// Clusters that are known to hold metadata, whatever their counts say.
    guarded: RangeSet,
    /// Clusters that were given up without looking at their counts.
    given_up: RangeSet,
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
            passed_over: None,
            handed_out: 0,
            moved: Vec::new(),
            floor: 0,
            own: RangeSet::default(),
            released: RangeSet::default(),
            guarded: RangeSet::default(),
            given_up: RangeSet::default(),
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

    /// How many clusters the session took that the committed state does not know.
    pub(super) fn taken(&self) -> u64 {
        self.own.total()
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

    fn note_own(&mut self, run: Range<u64>) {
        if self.mode == Mode::Shadow {
            self.own.insert(run);
        }
    }
}

fn beyond_limit() -> Error {
    Error::new(ErrorKind::TooLarge, "The image file would exceed the limits of its format")
}
