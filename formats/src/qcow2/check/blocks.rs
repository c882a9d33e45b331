//! Refcount blocks: where they stand, and that nothing else does.

use super::{Check, MAX_CLUSTERS};
use crate::driver::Finding;
use crate::{HostOffset, Result};

impl Check<'_> {
    /// Counts the reference to every refcount block, and looks whether it is the only one.
    pub(super) fn check_blocks(&mut self) -> Result<()> {
        let table = std::mem::take(&mut self.refcount_table);
        for (index, entry) in table.iter().enumerate() {
            let offset = entry.block().unwrap_or_default();
            if entry.has_reserved_bits() {
                self.rebuild = true;
                self.corruption(format!("ERROR refcount table entry {index} has reserved bits set"));
            } else if !self.geometry.is_cluster_start(offset) {
                self.rebuild = true;
                self.corruption(format!(
                    "ERROR refcount block {index} is not cluster aligned; refcount table entry corrupted"
                ));
            } else if self.geometry.host_cluster(offset).0 >= self.counts.len() {
                self.block_outside(index, offset)?;
            } else if offset.0 != 0 {
                self.check_block(index, offset)?;
            }
        }
        self.refcount_table = table;
        Ok(())
    }

    /// QEMU's repair makes the file so long that the block is inside it, where it can; the block is
    /// empty then. Here it is only thought to be there.
    fn block_outside(&mut self, index: usize, offset: HostOffset) -> Result<()> {
        let what = format!("refcount block {index} is outside image");
        if !self.repairs_all() {
            self.corruption(format!("ERROR {what}"));
            return Ok(());
        }
        let end = offset.0.saturating_add(self.geometry.cluster_size());
        let obstacle = if end > i64::MAX as u64 {
            "Invalid argument"
        } else if self.geometry.clusters_for(end) > MAX_CLUSTERS {
            "File too large"
        } else {
            self.damage(true, what);
            self.file_len = self.file_len.max(end);
            self.counts.grow(self.geometry.clusters_for(end));
            return self.mark_structure(offset, self.geometry.cluster_size());
        };
        self.corruption(format!("Repairing {what}"));
        if obstacle == "File too large" {
            (self.tell)(Finding::Complaint(format!("Could not resize file: {obstacle}")));
        }
        self.line(format!("ERROR could not resize image: {obstacle}"));
        self.rebuild = true;
        Ok(())
    }

    fn check_block(&mut self, index: usize, offset: HostOffset) -> Result<()> {
        self.mark_structure(offset, self.geometry.cluster_size())?;
        let count = self.counts.get(self.geometry.host_cluster(offset).0);
        if count != 1 {
            self.rebuild = true;
            self.corruption(format!("ERROR refcount block {index} refcount={count}"));
        }
        Ok(())
    }
}
