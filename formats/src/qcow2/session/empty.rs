//! An image that gives up all that it holds.

use journal::Zeroing;

use super::space::Space;
use super::tables::Tables;
use super::{RangeSet, Session};
use crate::Result;
use crate::qcow2::entry::L1Entry;
use crate::qcow2::geometry::TABLE_ENTRY_SIZE;
use crate::qcow2::header::TableLocation;

impl Session {
    /// See [`crate::Overlay::make_empty`].
    pub fn make_empty(&mut self) -> Result<()> {
        self.release_unlinked()?;
        self.tail = None;
        self.content_end = 0;
        if let Some(data) = &self.files.data {
            let len = data.len()?;
            if len > 0 {
                data.zero(0..len, Zeroing::Unmap)?;
            }
        }
        if self.holds_only_the_disk() { self.start_afresh() } else { self.drop_tables() }
    }

    /// Whether nothing but the virtual disk's own clusters and tables lies in the file.
    fn holds_only_the_disk(&self) -> bool {
        let Self { header, .. } = self;
        header.snapshots.count == 0 && header.encryption.is_none() && !self.bitmaps.are_any()
    }

    /// Begins with new, empty tables and gives up the rest of the file in one piece: what it takes
    /// does not depend on how much that is.
    fn start_afresh(&mut self) -> Result<()> {
        let count = self.tables.l1_len() as u32;
        let l1_size = u64::from(count) * TABLE_ENTRY_SIZE;
        let end = self.geometry.clusters_for(self.files.main.len()?);
        self.space = Space::afresh(&mut self.space, end, self.geometry.clusters_for(l1_size))?;
        let mut location = TableLocation { count, ..TableLocation::default() };
        if count > 0 {
            location.offset = self.space.take_bytes(l1_size)?;
        }
        self.tables = Tables::create(self.files.main.clone(), self.geometry, location);
        self.prepared = RangeSet::default();
        Ok(())
    }

    /// Drops every L2 table with what it refers to; snapshots may refer to that too.
    fn drop_tables(&mut self) -> Result<()> {
        let l1 = self.tables.take_l1()?;
        for (index, table) in l1.iter().enumerate() {
            let Some(table) = table.table() else { continue };
            if self.files.data.is_some() {
                self.space.release(table, self.geometry.cluster_size())?;
            } else {
                let bytes = self.tables.read(index, table)?;
                self.release_table(table, &bytes)?;
            }
        }
        self.tables.replace_l1(vec![L1Entry::NONE; l1.len()]);
        Ok(())
    }
}
