//! "Copied" flags: set where, and only where, the refcount is one.

use super::Check;
use crate::qcow2::entry::{ClusterKind, L1Entry, L2Entry};
use crate::qcow2::table::L2Table;
use crate::{HostOffset, Result};

impl Check<'_> {
    /// Looks at the flags of the active tables.
    pub(super) fn check_copied(&mut self) -> Result<()> {
        let mut buffer = vec![0; self.geometry.cluster_size() as usize];
        let image = self.image;
        for (index, entry) in image.l1().iter().enumerate() {
            if let Some(offset) = entry.table() {
                self.check_l1_flag(index, *entry, offset, &mut buffer)?;
            }
        }
        Ok(())
    }

    fn check_l1_flag(
        &mut self,
        index: usize,
        entry: L1Entry,
        offset: HostOffset,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        let Some(refcount) = self.refcount(self.geometry.host_cluster(offset)) else { return Ok(()) };
        if (refcount == 1) != entry.is_copied() {
            self.corruption(format!(
                "ERROR OFLAG_COPIED L2 cluster: l1_index={index} l1_entry={:x} refcount={refcount}",
                entry.0
            ));
        }
        self.spend(self.geometry.l2_entries() as u64)?;
        if let Err(error) = self.read(offset, buffer) {
            self.report.check_errors += 1;
            self.line(format!("ERROR: Could not read L2 table: {}", error.report()));
            return Err(error);
        }
        let table = L2Table::new(std::mem::take(buffer));
        for entry in table.entries_from(&self.geometry, 0) {
            if entry != L2Entry::NONE {
                self.check_l2_flag(entry);
            }
        }
        *buffer = table.into_bytes();
        Ok(())
    }

    #[inline]
    fn check_l2_flag(&mut self, entry: L2Entry) {
        let (ClusterKind::Normal(offset) | ClusterKind::ZeroAllocated(offset)) = entry.kind(&self.geometry)
        else {
            return;
        };
        let cluster = self.geometry.host_cluster(offset);
        if entry.is_copied()
            && !self.geometry.external_data
            && self.counts.bytes(cluster.0).first() == Some(&1)
        {
            return;
        }
        let refcount = if self.geometry.external_data { Some(1) } else { self.refcount(cluster) };
        let Some(refcount) = refcount else { return };
        if (refcount == 1) != entry.is_copied() {
            self.corruption(format!(
                "ERROR OFLAG_COPIED data cluster: l2_entry={:x} refcount={refcount}",
                entry.descriptor
            ));
        }
    }
}
