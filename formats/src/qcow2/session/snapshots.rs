//! Internal snapshots: taken, applied and deleted without touching what the committed state uses.
//!
//! A snapshot shares L2 tables and clusters with the active state, and whatever is shared must be
//! marked so in the active tables. Marks that change are made in copies of the tables: the
//! committed state keeps its own.

use std::sync::Arc;

use journal::Disk;

use super::Session;
use super::references::{counted_runs, disown, is_owning, owned_cluster};
use super::space::Shared;
use crate::error::ResultExt;
use crate::qcow2::entry::{L1Entry, L2Entry, Ownership};
use crate::qcow2::geometry::{HostCluster, TABLE_ENTRY_SIZE};
use crate::qcow2::header::{MAX_SNAPSHOTS, TableLocation, check_l1};
use crate::qcow2::snapshot::{self, MAX_TABLE, Snapshot, SnapshotTable, next_id};
use crate::qcow2::table::{entries, put_entry, read_l1};
use crate::shown::printed;
use crate::snapshots::NewSnapshot;
use crate::{Error, ErrorKind, HostOffset, Result, SnapshotInfo, notice};
use journal::RangeSet;

impl Session {
    /// See [`crate::SnapshotWriter::create`].
    pub fn create_snapshot(&mut self, new: &NewSnapshot) -> Result<()> {
        let mut snapshots = self.read_snapshots()?;
        if snapshots.len() >= MAX_SNAPSHOTS as usize {
            return Err(file_too_large());
        }
        let mut l1 = self.tables.take_l1()?;
        let all: Vec<_> = tables_of(&l1).collect();
        let owning = self.share_tables(&all)?;
        for (index, table) in all {
            let place = match owning.contains(index as u64) {
                true => self.move_shared(index, table)?,
                false => table,
            };
            l1[index] = L1Entry::new(place, Ownership::Shared);
        }
        let bytes = l1_bytes(&l1);
        let mut offset = HostOffset(0);
        if !bytes.is_empty() {
            offset = self.space.take_bytes(bytes.len() as u64)?;
            self.files.main.write_at(offset.0, &bytes).context(|| "Could not write L1 table".into())?;
        }
        let id = next_id(&snapshots);
        snapshots.push(Snapshot {
            id: id.clone().into_bytes(),
            name: printed(new.name.as_bytes()),
            info: SnapshotInfo {
                id,
                name: new.name.clone(),
                vm_state_size: 0,
                date_seconds: new.date_seconds,
                date_nanoseconds: new.date_nanoseconds,
                vm_clock_nanoseconds: 0,
                icount: Some(0),
                disk_size: self.header.virtual_size(),
            },
            l1: TableLocation { offset, count: l1.len() as u32 },
            extra_size: 0,
            unknown_extra: Vec::new(),
        });
        self.tables.replace_l1(l1);
        self.replace_snapshots(snapshots)
    }

    /// See [`crate::SnapshotWriter::delete`].
    pub fn delete_snapshot(&mut self, index: usize) -> Result<()> {
        let mut snapshots = self.read_snapshots()?;
        if index >= snapshots.len() {
            return Err(no_snapshot());
        }
        let gone = snapshots.remove(index);
        let l1 = self.snapshot_l1(&gone)?;
        let mut active = self.tables.take_l1()?;
        for (index, table) in l1.iter().enumerate() {
            let Some(table) = table.table() else { continue };
            let bytes = self.tables.read(index, table)?;
            self.release_table(table, &bytes)?;
            if let Some(entry) = active.get_mut(index) {
                *entry = self.own_again(index, *entry, table, &bytes)?;
            }
        }
        if gone.l1.count > 0 {
            self.space.release(gone.l1.offset, u64::from(gone.l1.count) * TABLE_ENTRY_SIZE)?;
        }
        self.tables.replace_l1(active);
        self.replace_snapshots(snapshots)
    }

    /// See [`crate::SnapshotWriter::apply`].
    pub fn apply_snapshot(&mut self, index: usize) -> Result<()> {
        let snapshots = self.read_snapshots()?;
        let snapshot = snapshots.get(index).ok_or_else(no_snapshot)?;
        // A reason in C's words, which the caller tells; the sentence comes before it.
        let mut l1 = self.snapshot_l1(snapshot).map_err(told)?;
        let size = snapshot.info.disk_size;
        if size != self.header.virtual_size() {
            self.check_size(size).map_err(told)?;
            self.header.size = size;
        }
        let active = self.tables.take_l1()?;
        let needed = self.geometry.l1_entries_for(size) as usize;
        l1.resize(l1.len().max(active.len()).max(needed), L1Entry::NONE);
        let same = |index: usize, entry: &L1Entry| {
            active.get(index).is_some_and(|active| active.table() == entry.table())
        };
        let coming: Vec<_> = tables_of(&l1).filter(|(index, _)| !same(*index, &l1[*index])).collect();
        let going: Vec<_> = tables_of(&active).filter(|(index, _)| !same(*index, &l1[*index])).collect();
        let owning = self.share_tables(&coming)?;
        for (index, table) in coming {
            l1[index] = match owning.contains(index as u64) {
                true => self.own_copy(index, table)?,
                false => L1Entry::new(table, Ownership::Shared),
            };
        }
        for (index, table) in going {
            let bytes = self.tables.read(index, table)?;
            self.release_table(table, &bytes)?;
        }
        for (entry, active) in
            l1.iter_mut().zip(&active).filter(|(entry, active)| entry.table() == active.table())
        {
            *entry = *active;
        }
        self.tables.replace_l1(l1);
        Ok(())
    }

    pub(super) fn read_snapshots(&self) -> Result<Vec<Snapshot>> {
        let table =
            snapshot::read_table(&*self.files.main, self.header.snapshots, self.header.virtual_size())?;
        Ok(table.snapshots)
    }

    pub(super) fn snapshot_l1(&self, snapshot: &Snapshot) -> Result<Vec<L1Entry>> {
        check_l1(&self.geometry, snapshot.l1, "Snapshot L1 table")?;
        read_l1(&*self.files.main, snapshot.l1).context(|| "Failed to read l1 table for snapshot".to_owned())
    }

    /// Writes the snapshot table to a new place.
    pub(super) fn replace_snapshots(&mut self, snapshots: Vec<Snapshot>) -> Result<()> {
        let old = self.header.snapshots;
        let old_len = snapshot::read_table(&*self.files.main, old, 0)?.len;
        let count = snapshots.len() as u32;
        let bytes = SnapshotTable { snapshots, len: 0 }.serialize();
        if bytes.len() as u64 > MAX_TABLE {
            return Err(file_too_large());
        }
        let mut offset = HostOffset(0);
        if !bytes.is_empty() {
            offset = self.space.take_bytes(bytes.len() as u64)?;
            let disk: &Arc<dyn Disk> = &self.files.main;
            disk.write_at(offset.0, &bytes).context(|| "Could not write snapshot table".into())?;
        }
        if old_len > 0 {
            self.space.release(old.offset, old_len)?;
        }
        self.header.snapshots = TableLocation { offset, count };
        Ok(())
    }

    /// Counts L2 tables, and all that they refer to, once more: the tables of some places of an L1
    /// table. Returns at which of them there are entries that call a cluster their own.
    ///
    /// All of it is done before anything is written, because this is where a full count or a
    /// broken table is met.
    fn share_tables(&mut self, tables: &[(usize, HostOffset)]) -> Result<RangeSet> {
        let mut owning = RangeSet::default();
        for &(index, table) in tables {
            let bytes = self.tables.read(index, table)?;
            self.share_counted(&bytes)?;
            self.share_cluster(table)?;
            if is_owning(&self.geometry, &bytes) {
                owning.insert(index as u64..index as u64 + 1);
            }
        }
        Ok(owning)
    }

    /// Moves an L2 table that the active state and a snapshot share to a place of the session's own,
    /// where its entries call nothing their own.
    fn move_shared(&mut self, index: usize, table: HostOffset) -> Result<HostOffset> {
        let mut bytes = self.tables.read(index, table)?;
        disown(&self.geometry, &mut bytes);
        let place = self.place_table(&bytes)?;
        self.share_cluster(place)?;
        // Once for the active state, once for the snapshot.
        self.space.release(table, self.geometry.cluster_size())?;
        self.space.release(table, self.geometry.cluster_size())?;
        Ok(place)
    }

    /// Gives the active state its own copy of a snapshot's L2 table that calls clusters its own
    /// although they are shared, as the tables of snapshots may.
    fn own_copy(&mut self, index: usize, table: HostOffset) -> Result<L1Entry> {
        let mut bytes = self.tables.read(index, table)?;
        disown(&self.geometry, &mut bytes);
        self.space.release(table, self.geometry.cluster_size())?;
        Ok(L1Entry::new(self.place_table(&bytes)?, Ownership::Sole))
    }

    fn share_counted(&mut self, table: &[u8]) -> Result<()> {
        for run in counted_runs(&self.geometry, table)? {
            if self.space.share(run)? == Shared::Full {
                return Err(Error::invalid("Invalid argument"));
            }
        }
        Ok(())
    }

    fn share_cluster(&mut self, at: HostOffset) -> Result<()> {
        let cluster = self.geometry.host_cluster(at).0;
        match self.space.share(cluster..cluster + 1)? {
            Shared::Counted => Ok(()),
            Shared::Full => Err(Error::invalid("Invalid argument")),
        }
    }

    /// Drops a reference to an L2 table and to all that it refers to.
    pub(super) fn release_table(&mut self, table: HostOffset, bytes: &[u8]) -> Result<()> {
        for run in counted_runs(&self.geometry, bytes)? {
            self.space.release_run(run)?;
        }
        self.space.release(table, self.geometry.cluster_size())
    }

    /// The entry of an active L2 table after a snapshot lost its table of the same index: what only
    /// the active state refers to now is its own again.
    fn own_again(
        &mut self,
        index: usize,
        entry: L1Entry,
        lost: HostOffset,
        lost_bytes: &[u8],
    ) -> Result<L1Entry> {
        let Some(table) = entry.table() else { return Ok(entry) };
        let mut bytes = if table == lost { lost_bytes.to_vec() } else { self.tables.read(index, table)? };
        if self.own_entries(&mut bytes, lost_bytes)? {
            let place = self.place_table(&bytes)?;
            self.space.release(table, self.geometry.cluster_size())?;
            return Ok(L1Entry::new(place, Ownership::Sole));
        }
        let cluster = self.geometry.host_cluster(table).0;
        let sole = self.space.remaining(cluster..cluster + 1)?.0 == 1;
        Ok(L1Entry::new(table, if sole { Ownership::Sole } else { Ownership::Shared }))
    }

    /// Marks the entries that a lost table had too and whose clusters have one reference now.
    /// Returns whether there are any.
    fn own_entries(&mut self, table: &mut [u8], lost: &[u8]) -> Result<bool> {
        let geometry = self.geometry;
        let cluster = |entry: L2Entry| owned_cluster(&geometry, entry);
        let common: Vec<(usize, L2Entry, HostCluster)> = entries(&geometry, table)
            .zip(entries(&geometry, lost))
            .enumerate()
            .filter(|(_, (entry, lost))| !entry.is_copied() && cluster(*entry) == cluster(*lost))
            .filter_map(|(index, (entry, _))| Some((index, entry, cluster(entry)?)))
            .collect();
        let mut known = (0, 0..0);
        let mut changed = false;
        for (index, entry, HostCluster(cluster)) in common {
            if !known.1.contains(&cluster) {
                known = self.space.remaining(cluster..cluster + geometry.l2_entries() as u64)?;
            }
            if known.0 == 1 {
                put_entry(&geometry, table, index, entry.with_ownership(Ownership::Sole));
                changed = true;
            }
        }
        Ok(changed)
    }

    /// Writes an L2 table to a place of the session's own.
    pub(super) fn place_table(&mut self, bytes: &[u8]) -> Result<HostOffset> {
        let place = self.space.take_one()?;
        self.files.main.write_at(place.0, bytes).context(|| "Could not write L2 table".into())?;
        Ok(place)
    }
}

/// The L2 tables of an L1 table, with their places in it.
fn tables_of(l1: &[L1Entry]) -> impl Iterator<Item = (usize, HostOffset)> + '_ {
    l1.iter().enumerate().filter_map(|(index, entry)| Some((index, entry.table()?)))
}

pub(super) fn l1_bytes(l1: &[L1Entry]) -> Vec<u8> {
    l1.iter().flat_map(|entry| entry.0.to_be_bytes()).collect()
}

fn no_snapshot() -> Error {
    Error::new(ErrorKind::NotFound, "No such file or directory")
}

fn file_too_large() -> Error {
    Error::new(ErrorKind::TooLarge, "File too large")
}

/// Tells a sentence of which the caller is told no more than the class of the failure.
fn told(error: Error) -> Error {
    notice::complain(&error.report());
    let class = match error.kind() {
        ErrorKind::Corrupt | ErrorKind::Invalid => "Invalid argument",
        ErrorKind::Unsupported => "Operation not supported",
        ErrorKind::TooLarge => "File too large",
        _ => "Input/output error",
    };
    Error::new(error.kind(), class)
}
