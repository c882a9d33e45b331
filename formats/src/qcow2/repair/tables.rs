//! L1, L2 and snapshot tables: which move, and what becomes of their entries.

use std::collections::BTreeSet;

use super::Plan;
use crate::driver::Finding;
use crate::qcow2::check::mended;
use crate::qcow2::entry::{ClusterKind, L1Entry, L2Entry, Ownership};
use crate::qcow2::geometry::{HostCluster, TABLE_ENTRY_SIZE};
use crate::qcow2::header::{MAX_L1_SIZE, TableLocation};
use crate::qcow2::snapshot::Snapshot;
use crate::qcow2::table::{L2Table, read_l1};
use crate::{HostOffset, Result};

/// Where an L2 table goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moved {
    /// The cluster.
    pub(super) place: u64,
    /// How many L1 entries refer to it.
    uses: u64,
    /// Whether the active L1 table does.
    active: bool,
}

impl Plan<'_> {
    /// Gives L2 tables new places, and with them every L1 table that refers to them.
    pub(super) fn move_tables(&mut self, tables: &BTreeSet<HostOffset>) -> Result<()> {
        for &table in tables {
            let place = self.take(1)?;
            self.tables.insert(table, Moved { place, uses: 0, active: false });
        }
        let l1 = std::mem::take(&mut self.l1);
        let changes = self.leave(&l1, tables, Users::Active) || self.remedy.l1_flagged;
        self.l1 = l1;
        if changes {
            self.move_l1()?;
        }
        if !tables.is_empty() {
            self.move_snapshot_l1s(tables)?;
        }
        for table in tables {
            if let Some(&Moved { place, uses, .. }) = self.tables.get(table) {
                self.set_count(place, uses);
            }
        }
        Ok(())
    }

    /// Counts the entries of an L1 table that refer to moving tables; answers whether any does.
    fn leave(&mut self, l1: &[L1Entry], tables: &BTreeSet<HostOffset>, users: Users) -> bool {
        let mut any = false;
        for table in l1.iter().filter_map(|entry| entry.table()).filter(|table| tables.contains(table)) {
            any = true;
            if let Some(moved) = self.tables.get_mut(&table) {
                moved.uses += 1;
                moved.active |= users == Users::Active;
            }
            self.vacate(table, self.geometry.cluster_size());
        }
        any
    }

    fn move_l1(&mut self) -> Result<()> {
        if !std::mem::replace(&mut self.l1_moves, true) {
            let old = self.header.l1;
            self.header.l1.offset = self.move_l1_at(old)?;
        }
        Ok(())
    }

    /// Gives an L1 table a new place.
    fn move_l1_at(&mut self, old: TableLocation) -> Result<HostOffset> {
        let len = u64::from(old.count) * TABLE_ENTRY_SIZE;
        let place = self.take(self.geometry.clusters_for(len).max(1))?;
        self.vacate(old.offset, len);
        Ok(self.geometry.host_offset(HostCluster(place)))
    }

    fn move_snapshot_l1s(&mut self, tables: &BTreeSet<HostOffset>) -> Result<()> {
        for index in 0..self.remedy.snapshots.snapshots.len() {
            let Some(snapshot) = self.remedy.snapshots.snapshots.get(index) else { break };
            // Where a table that has moved already stood before tells what it holds.
            let location = self.snapshot_l1.get(&index).copied().unwrap_or(snapshot.l1);
            if !self.has_sound_l1(location) {
                continue;
            }
            let l1 = read_l1(&**self.image.file(), location)?;
            if self.leave(&l1, tables, Users::Snapshots) && !self.snapshot_l1.contains_key(&index) {
                let offset = self.move_l1_at(location)?;
                self.snapshot_l1.insert(index, location);
                self.remedy.rewrite_snapshots = true;
                if let Some(Snapshot { l1, .. }) = self.remedy.snapshots.snapshots.get_mut(index) {
                    l1.offset = offset;
                }
            }
        }
        Ok(())
    }

    /// Whether the check has walked an L1 table.
    fn has_sound_l1(&self, location: TableLocation) -> bool {
        self.geometry.is_cluster_start(location.offset)
            && u64::from(location.count) <= MAX_L1_SIZE / TABLE_ENTRY_SIZE
            && location.offset.0 <= i64::MAX as u64 - MAX_L1_SIZE
    }

    /// Gives the snapshot table a new place if it changes.
    pub(super) fn move_snapshot_table(&mut self, tell: &mut dyn FnMut(Finding)) -> Result<()> {
        if !self.remedy.rewrite_snapshots || std::mem::replace(&mut self.snapshots_move, true) {
            return Ok(());
        }
        let bytes = self.remedy.snapshots.serialize();
        let old = self.header.snapshots.offset;
        self.header.snapshots = TableLocation::default();
        if !bytes.is_empty() {
            let place = self.take(self.geometry.clusters_for(bytes.len() as u64))?;
            self.header.snapshots = TableLocation {
                offset: self.geometry.host_offset(HostCluster(place)),
                count: self.remedy.snapshots.snapshots.len() as u32,
            };
        }
        if !self.vacate(old, self.remedy.snapshots.len) {
            tell(Finding::Line("qcow2_free_clusters failed: Invalid argument".to_owned()));
        }
        Ok(())
    }

    /// Tables with flags that became wrong because something has moved away from a cluster which
    /// somebody else uses as well, or because a cluster has come to be counted. A sound image has
    /// neither.
    pub(super) fn tables_with_stale_flags(&self) -> Result<BTreeSet<HostOffset>> {
        let mut stale = BTreeSet::new();
        let counts = self.counts();
        let shared = |run: std::ops::Range<u64>| run.into_iter().any(|cluster| counts.get(cluster) > 0);
        let changed = self.absorbed > 0 || self.vacated.iter().any(shared);
        if !self.remedy.repairs_flags || !changed {
            return Ok(stale);
        }
        let mut buffer = vec![0; self.geometry.cluster_size() as usize];
        // A table is looked at once, however often it is referred to.
        let tables: BTreeSet<HostOffset> = self.l1.iter().filter_map(|entry| entry.table()).collect();
        for offset in tables {
            if self.tables.contains_key(&offset) || !self.geometry.is_cluster_start(offset) {
                continue;
            }
            self.image.file().read_padded(offset.0, &mut buffer)?;
            let table = L2Table::new(std::mem::take(&mut buffer));
            if table.entries_from(&self.geometry, 0).any(|entry| self.flagged(entry) != entry) {
                stale.insert(offset);
            }
            buffer = table.into_bytes();
        }
        Ok(stale)
    }

    /// An L1 entry after the repair.
    pub(super) fn repaired_l1_entry(&self, entry: L1Entry, users: Users) -> L1Entry {
        let Some(table) = entry.table() else { return entry };
        let moved = self.tables.get(&table).map(|moved| self.geometry.host_offset(HostCluster(moved.place)));
        let entry = moved.map_or(entry, |place| entry.moved_to(place));
        match users {
            Users::Active if self.remedy.repairs_flags || moved.is_some() => {
                entry.owned(self.ownership(moved.unwrap_or(table)))
            }
            _ => entry,
        }
    }

    /// A moving L2 table after the repair.
    pub(super) fn repaired_table(&self, offset: HostOffset, moved: &Moved) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.geometry.cluster_size() as usize];
        self.image.file().read_padded(offset.0, &mut bytes)?;
        let mut table = L2Table::new(bytes);
        let is_mended = self.remedy.mended.contains(&offset);
        let flags = moved.active && self.remedy.repairs_flags;
        for index in 0..self.geometry.l2_entries() {
            let old = table.entry(&self.geometry, index);
            let entry = if is_mended { mended(&self.geometry, old) } else { old };
            let entry = if flags { self.flagged(entry) } else { entry };
            if entry != old {
                table.set(&self.geometry, index, entry);
            }
        }
        Ok(table.into_bytes())
    }

    /// An L2 entry with the right "copied" flag.
    fn flagged(&self, entry: L2Entry) -> L2Entry {
        match entry.kind(&self.geometry) {
            ClusterKind::Normal(_) | ClusterKind::ZeroAllocated(_) if self.geometry.external_data => {
                entry.owned(Ownership::Sole)
            }
            ClusterKind::Normal(offset) | ClusterKind::ZeroAllocated(offset) => {
                entry.owned(self.ownership(offset))
            }
            _ => entry,
        }
    }

    fn ownership(&self, offset: HostOffset) -> Ownership {
        if self.is_sole(offset) { Ownership::Sole } else { Ownership::Shared }
    }
}

/// Whose L1 table it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Users {
    /// The image's own.
    Active,
    /// A snapshot's.
    Snapshots,
}
