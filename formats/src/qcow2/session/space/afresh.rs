//! Counting from the beginning, when an image gives up everything.

use std::sync::Arc;

use super::{RangeSet, Space};
use crate::Result;
use crate::qcow2::header::TableLocation;

impl Space {
    /// Space of which only the header's cluster is in use, in the file of `old`, whose first
    /// `file_end` clusters are given up.
    ///
    /// The committed state needs all that `old` counts, so the new tables, the L1 table's
    /// `l1_clusters` among them, go to a run that is free there, the first one that is large enough.
    pub(in crate::qcow2::session) fn afresh(old: &mut Self, file_end: u64, l1_clusters: u64) -> Result<Self> {
        let per_block = old.geometry.refcount_block_entries();
        // The blocks of the header's cluster and of the run, and the table that lists them.
        let room = l1_clusters + l1_clusters / per_block + u64::from(old.location.count) + 4;
        old.cursor = 0;
        let run = old.find_run(room, room)?;
        let counted = (old.table.len() as u64).saturating_mul(per_block);
        let location = TableLocation { count: 0, ..old.location };
        let mut space = Self::new(Arc::clone(&old.disk), old.geometry, old.mode, location, Vec::new())?;
        space.guarded.insert(0..run.start);
        space.guarded.insert(run.end..file_end.max(counted));
        space.cursor = run.start;
        space.given_up.insert(1..file_end);
        space.own_blocks(0..1)?;
        space.set_counts(0..1, 1)?;
        Ok(space)
    }

    /// The clusters that were given up at once, but for those that are in use again.
    pub(super) fn take_given_up(&mut self) -> RangeSet {
        let mut gone = std::mem::take(&mut self.given_up);
        for run in self.own.iter() {
            gone.remove(run);
        }
        gone
    }
}
