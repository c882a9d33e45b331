//! The active L1 table and the L2 tables behind it, as a session changes them.

use std::sync::Arc;

use journal::Disk;

use super::Mode;
use super::cache::{Cache, Dirty};
use super::space::Space;
use crate::error::ResultExt;
use crate::qcow2::entry::{L1Entry, L2Entry, Ownership};
use crate::qcow2::geometry::{Geometry, GuestIndex, TABLE_ENTRY_SIZE};
use crate::qcow2::header::{MAX_L1_SIZE, TableLocation};
use crate::qcow2::table::{L2Table, entry_at, put_entry, read_l1};
use crate::{Error, HostOffset, Result};

/// Memory for L2 tables.
const CACHE_BUDGET: u64 = 8 << 20;

/// The L1 table, whole, and some L2 tables.
#[derive(Debug)]
pub(super) struct Tables {
    disk: Arc<dyn Disk>,
    geometry: Geometry,
    location: TableLocation,
    l1: Vec<L1Entry>,
    l1_dirty: bool,
    l2: Cache,
}

impl Tables {
    /// The tables of an image without any L2 table, its L1 table at a place of the session's own.
    pub(super) fn create(disk: Arc<dyn Disk>, geometry: Geometry, location: TableLocation) -> Self {
        let l1 = vec![L1Entry::NONE; location.count as usize];
        Self::new(disk, geometry, location, l1, L1State::Dirty)
    }

    /// The tables of an existing image.
    pub(super) fn open(disk: Arc<dyn Disk>, geometry: Geometry, location: TableLocation) -> Result<Self> {
        let size = u64::from(location.count) * TABLE_ENTRY_SIZE;
        if size > MAX_L1_SIZE {
            return Err(Error::corrupt("Active L1 table too large"));
        }
        let l1 = read_l1(&*disk, location).context(|| "Could not read L1 table".into())?;
        Ok(Self::new(disk, geometry, location, l1, L1State::Clean))
    }

    fn new(
        disk: Arc<dyn Disk>,
        geometry: Geometry,
        location: TableLocation,
        l1: Vec<L1Entry>,
        state: L1State,
    ) -> Self {
        let l2 = Cache::new(CACHE_BUDGET, geometry.cluster_size());
        Self { disk, geometry, location, l1, l1_dirty: state == L1State::Dirty, l2 }
    }

    /// Where the L1 table stands.
    pub(super) fn location(&self) -> TableLocation {
        self.location
    }

    /// Keeps every table from being handed out as free space.
    pub(super) fn guard(&self, space: &mut Space) {
        space.guard(self.location.offset, self.l1_size());
        for table in self.l1.iter().filter_map(|entry| entry.table()) {
            space.guard(table, self.geometry.cluster_size());
        }
    }

    fn l1_size(&self) -> u64 {
        u64::from(self.location.count) * TABLE_ENTRY_SIZE
    }

    /// Whether there is an L2 table at this place of the L1 table.
    pub(super) fn has_table(&self, l1: usize) -> bool {
        self.table_offset(l1).is_some()
    }

    fn table_offset(&self, l1: usize) -> Option<HostOffset> {
        self.l1.get(l1).and_then(|entry| entry.table())
    }

    /// Entries of the L1 table.
    pub(super) fn l1_len(&self) -> usize {
        self.l1.len()
    }

    /// The L1 entry as the session has it.
    pub(super) fn l1_entry(&self, l1: usize) -> L1Entry {
        self.l1.get(l1).copied().unwrap_or(L1Entry::NONE)
    }

    /// An L2 table, if there is one.
    pub(super) fn table(&mut self, l1: usize) -> Result<Option<L2Table>> {
        let Some(offset) = self.table_offset(l1) else { return Ok(None) };
        self.load(l1, offset)?;
        Ok(self.l2.get(l1).map(|bytes| L2Table::from_shared(Arc::clone(bytes))))
    }

    /// The entry of one cluster.
    pub(super) fn entry(&mut self, index: GuestIndex) -> Result<L2Entry> {
        let Some(offset) = self.table_offset(index.l1) else { return Ok(L2Entry::NONE) };
        self.load(index.l1, offset)?;
        let geometry = self.geometry;
        let bytes = self.l2.get(index.l1).map(|bytes| bytes.as_slice()).unwrap_or_default();
        Ok(entry_at(&geometry, bytes, index.l2))
    }

    fn load(&mut self, l1: usize, offset: HostOffset) -> Result<()> {
        if self.l2.get(l1).is_some() {
            return Ok(());
        }
        let bytes = self.read(l1, offset)?;
        self.keep(l1, bytes)
    }

    /// The bytes of the L2 table that an L1 table, the active one or another, has at this index.
    pub(super) fn read(&self, l1: usize, offset: HostOffset) -> Result<Vec<u8>> {
        if !self.geometry.is_cluster_start(offset) {
            return Err(Error::corrupt(format!("L2 table offset {offset} unaligned (L1 index: {l1:#x})")));
        }
        let mut bytes = vec![0; self.geometry.cluster_size() as usize];
        self.disk.read_exact_at(offset.0, &mut bytes).context(|| "Could not read L2 table".into())?;
        Ok(bytes)
    }

    /// The L1 table as the session has it. What is kept of L2 tables is written and forgotten, so
    /// that they may be read, and changed, behind this.
    pub(super) fn take_l1(&mut self) -> Result<Vec<L1Entry>> {
        let dirty = self.l2.clean();
        self.write_tables(dirty)?;
        self.l2 = Cache::new(CACHE_BUDGET, self.geometry.cluster_size());
        Ok(self.l1.clone())
    }

    /// Puts another L1 table in place of this one.
    pub(super) fn replace_l1(&mut self, l1: Vec<L1Entry>) {
        self.l1_dirty |= l1 != self.l1;
        self.l1 = l1;
    }

    fn keep(&mut self, l1: usize, bytes: Vec<u8>) -> Result<()> {
        let shed = self.l2.shed();
        self.write_tables(shed)?;
        self.l2.insert(l1, bytes);
        Ok(())
    }

    fn write_tables(&self, mut dirty: Vec<Dirty>) -> Result<()> {
        dirty.sort_unstable_by_key(|table| self.table_offset(table.index));
        for table in dirty {
            if let Some(offset) = self.table_offset(table.index) {
                self.disk.write_at(offset.0, &table.bytes).context(|| "Could not write L2 table".into())?;
            }
        }
        Ok(())
    }

    /// Makes sure that there is an L2 table at this place and that it may be overwritten where it
    /// stands.
    pub(super) fn own(&mut self, l1: usize, space: &mut Space) -> Result<()> {
        if l1 >= self.l1.len() {
            return Err(Error::invalid("Write past the end of the L1 table"));
        }
        let old = self.table_offset(l1);
        match old {
            Some(offset) if self.l1[l1].is_copied() && space.is_own(self.geometry.host_cluster(offset)) => {
                return self.load(l1, offset);
            }
            Some(offset) => self.load(l1, offset)?,
            None => self.keep(l1, vec![0; self.geometry.cluster_size() as usize])?,
        }
        let place = space.take_one()?;
        self.l1[l1] = L1Entry::new(place, Ownership::Sole);
        self.l1_dirty = true;
        self.l2.touch(l1);
        match old {
            Some(offset) => space.release(offset, self.geometry.cluster_size()),
            None => Ok(()),
        }
    }

    /// The bytes of an L2 table that is the session's own now, to be changed.
    pub(super) fn own_bytes(&mut self, l1: usize, space: &mut Space) -> Result<&mut [u8]> {
        self.own(l1, space)?;
        Ok(self.l2.get_mut(l1).map(Vec::as_mut_slice).unwrap_or_default())
    }

    /// Stores the entry of one cluster, whose table the session owns.
    pub(super) fn set(&mut self, index: GuestIndex, entry: L2Entry) -> Result<()> {
        if let Some(offset) = self.table_offset(index.l1) {
            self.load(index.l1, offset)?;
        }
        let geometry = self.geometry;
        if let Some(bytes) = self.l2.get_mut(index.l1) {
            put_entry(&geometry, bytes, index.l2, entry);
        }
        Ok(())
    }

    /// Gives the L1 table a place of the session's own if it has changed.
    pub(super) fn settle(&mut self, mode: Mode, space: &mut Space) -> Result<()> {
        let (old, old_size) = (self.location.offset, self.l1_size());
        let is_new = old_size > 0 && space.is_own(self.geometry.host_cluster(old));
        let stays = is_new && self.l1.len() == self.location.count as usize;
        if mode == Mode::Shadow && self.l1_dirty && !stays {
            self.location.count = u32::try_from(self.l1.len()).unwrap_or(u32::MAX);
            self.location.offset = space.take_bytes(self.l1_size())?;
            if old_size > 0 {
                space.release(old, old_size)?;
            }
        }
        Ok(())
    }

    /// Writes everything to its place.
    pub(super) fn write(&mut self) -> Result<()> {
        let dirty = self.l2.clean();
        self.write_tables(dirty)?;
        if std::mem::take(&mut self.l1_dirty) {
            let bytes: Vec<u8> = self.l1.iter().flat_map(|entry| entry.0.to_be_bytes()).collect();
            self.disk
                .write_at(self.location.offset.0, &bytes)
                .context(|| "Could not write L1 table".into())?;
        }
        Ok(())
    }

    /// Whether anything of the tables differs from the committed state.
    pub(super) fn is_changed(&self) -> bool {
        self.l1_dirty
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum L1State {
    Clean,
    Dirty,
}
