//! Zero clusters, written out for version 2, which has none.
//!
//! Where nothing shows through, an unallocated cluster reads as zeroes too. Elsewhere each gets a
//! cluster of the file. The active state and its snapshots go on sharing the tables that they share.

use std::collections::HashMap;
use std::sync::Arc;

use super::Session;
use super::snapshots::l1_bytes;
use crate::error::ResultExt;
use crate::qcow2::entry::{ClusterKind, L1Entry, L2Entry, Ownership};
use crate::qcow2::geometry::TABLE_ENTRY_SIZE;
use crate::qcow2::table::{entries, put_entry};
use crate::{Allocation, GuestOffset, HostOffset, Result};

/// Tables with several references, and those that stand in their place.
type Replaced = HashMap<HostOffset, HostOffset>;

/// Whose tables they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Active,
    Snapshot,
}

impl Session {
    /// Leaves no zero cluster in the active tables nor in those of any snapshot.
    pub(super) fn expand_zeroes(&mut self) -> Result<()> {
        let mut replaced = Replaced::new();
        self.skip_recycled()?;
        let mut active = self.tables.take_l1()?;
        self.expand_l1(&mut active, Owner::Active, &mut replaced)?;
        self.tables.replace_l1(active);
        let mut snapshots = self.read_snapshots()?;
        let mut changed = false;
        for snapshot in &mut snapshots {
            let mut l1 = self.snapshot_l1(snapshot)?;
            if self.expand_l1(&mut l1, Owner::Snapshot, &mut replaced)? {
                let bytes = l1_bytes(&l1);
                let place = self.space.take_bytes(bytes.len() as u64)?;
                self.files.main.write_at(place.0, &bytes).context(|| "Could not write L1 table".into())?;
                self.space.release(snapshot.l1.offset, u64::from(snapshot.l1.count) * TABLE_ENTRY_SIZE)?;
                snapshot.l1.offset = place;
                changed = true;
            }
        }
        if changed { self.replace_snapshots(snapshots) } else { Ok(()) }
    }

    /// Returns whether anything of the L1 table has changed.
    fn expand_l1(&mut self, l1: &mut [L1Entry], owner: Owner, replaced: &mut Replaced) -> Result<bool> {
        let mut changed = false;
        for (index, entry) in l1.iter_mut().enumerate() {
            let Some(table) = entry.table() else { continue };
            let new = match replaced.get(&table) {
                Some(new) => *new,
                None => self.expand_table(index, table, owner, replaced)?,
            };
            if new != table {
                let ownership = if entry.is_copied() { Ownership::Sole } else { Ownership::Shared };
                *entry = L1Entry::new(new, ownership);
                changed = true;
            }
        }
        Ok(changed)
    }

    /// The table that stands in place of an L2 table, which may be the same.
    fn expand_table(
        &mut self,
        index: usize,
        table: HostOffset,
        owner: Owner,
        replaced: &mut Replaced,
    ) -> Result<HostOffset> {
        let geometry = self.geometry;
        let cluster = geometry.host_cluster(table).0;
        let references = self.space.remaining(cluster..cluster + 1)?.0;
        let ownership =
            if references == 1 && owner == Owner::Active { Ownership::Sole } else { Ownership::Shared };
        let mut bytes = self.tables.read(index, table)?;
        let before = bytes.clone();
        for (number, entry) in entries(&geometry, &before).enumerate() {
            match self.kind(entry)? {
                ClusterKind::ZeroPlain => {}
                ClusterKind::ZeroAllocated(host) => {
                    let cluster = geometry.host_cluster(host).0;
                    self.space.release_times(cluster, references)?;
                }
                _ => continue,
            }
            let entry = match self.has_backing() {
                true => {
                    let at = geometry.guest_offset(index, number);
                    L2Entry::normal(self.zero_cluster(at, references)?, ownership)
                }
                false => L2Entry::NONE,
            };
            put_entry(&geometry, &mut bytes, number, entry);
        }
        let mut new = table;
        if bytes != before {
            new = self.space.take_counted(references)?;
            self.files.main.write_at(new.0, &bytes).context(|| "Could not write L2 table".into())?;
            self.space.release_times(cluster, references)?;
        }
        if references > 1 {
            replaced.insert(table, new);
        }
        Ok(new)
    }

    /// A cluster behind the file's end, which reads as zeroes, with so many references.
    fn zero_cluster(&mut self, at: GuestOffset, references: u64) -> Result<HostOffset> {
        let place = self.space.take_counted(references)?;
        let len = self.geometry.cluster_size();
        self.content_end = self.content_end.max(place.0 + len);
        let disk = Arc::clone(&self.files.main);
        self.write_guest_zeroes(&Allocation { at, len, disk, offset: place })?;
        Ok(place)
    }
}
