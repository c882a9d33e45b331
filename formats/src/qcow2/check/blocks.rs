//! Refcount blocks: where they stand, and that nothing else does.

use super::Check;
use crate::{HostOffset, Result};

impl Check<'_> {
    /// Counts the reference to every refcount block, and looks whether it is the only one.
    pub(super) fn check_blocks(&mut self) -> Result<()> {
        let table = std::mem::take(&mut self.refcount_table);
        for (index, entry) in table.iter().enumerate() {
            let offset = entry.block().unwrap_or_default();
            if entry.has_reserved_bits() {
                self.corruption(format!("ERROR refcount table entry {index} has reserved bits set"));
            } else if !self.geometry.is_cluster_start(offset) {
                self.corruption(format!(
                    "ERROR refcount block {index} is not cluster aligned; refcount table entry corrupted"
                ));
            } else if self.geometry.host_cluster(offset).0 >= self.counts.len() {
                self.corruption(format!("ERROR refcount block {index} is outside image"));
            } else if offset.0 != 0 {
                self.check_block(index, offset)?;
            }
        }
        self.refcount_table = table;
        Ok(())
    }

    fn check_block(&mut self, index: usize, offset: HostOffset) -> Result<()> {
        self.mark(offset, self.geometry.cluster_size())?;
        let count = self.counts.get(self.geometry.host_cluster(offset).0);
        if count != 1 {
            self.corruption(format!("ERROR refcount block {index} refcount={count}"));
        }
        Ok(())
    }
}
