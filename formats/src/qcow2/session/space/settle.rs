//! The end of a session: final counts, and the refcount table's place.

use super::{Space, beyond_limit};
use journal::RangeSet;

use crate::Result;
use crate::error::ResultExt;
use crate::qcow2::geometry::{HostCluster, TABLE_ENTRY_SIZE};
use crate::qcow2::header::TableLocation;
use crate::qcow2::session::Mode;

impl Space {
    /// Whether anything of the counts differs from the committed state.
    pub(in crate::qcow2::session) fn is_changed(&self) -> bool {
        self.table_dirty || !self.released.is_empty()
    }

    /// Applies the releases and finds the refcount table its place. Returns the clusters that
    /// nothing refers to any more; all counts are final after this.
    pub(in crate::qcow2::session) fn settle(&mut self) -> Result<RangeSet> {
        let mut gone = RangeSet::default();
        self.apply_releases(&mut gone)?;
        let moves = self.mode == Mode::Shadow && self.table_dirty;
        if moves || self.table_clusters() > u64::from(self.location.count) {
            self.move_table(&mut gone)?;
        }
        for run in self.take_given_up().iter() {
            gone.insert(run);
        }
        Ok(gone)
    }

    pub(super) fn apply_releases(&mut self, gone: &mut RangeSet) -> Result<()> {
        while !self.released.is_empty() {
            for run in std::mem::take(&mut self.released).iter() {
                self.own_blocks(run.clone())?;
                for cluster in run {
                    let count = self.count(HostCluster(cluster))?.saturating_sub(1);
                    self.set_counts(cluster..cluster + 1, count)?;
                    if count == 0 {
                        // The committed state still has it: what settling takes must not be this.
                        self.guarded.insert(cluster..cluster + 1);
                        gone.insert(cluster..cluster + 1);
                    }
                }
            }
        }
        Ok(())
    }

    fn table_clusters(&self) -> u64 {
        self.geometry.clusters_for(self.table.len() as u64 * TABLE_ENTRY_SIZE).max(1)
    }

    /// Gives the refcount table a place of its own, large enough for itself.
    fn move_table(&mut self, gone: &mut RangeSet) -> Result<()> {
        loop {
            let old = self.location;
            let count = self.table_clusters().max(u64::from(old.count));
            let run = self.take(count, count)?;
            self.location = TableLocation {
                offset: self.geometry.host_offset(HostCluster(run.start)),
                count: u32::try_from(count).map_err(|_| beyond_limit())?,
            };
            if old.count > 0 {
                self.release(old.offset, u64::from(old.count) << self.geometry.cluster_bits)?;
            }
            self.apply_releases(gone)?;
            if self.table_clusters() <= count {
                return Ok(());
            }
        }
    }

    /// Writes everything to its place.
    pub(in crate::qcow2::session) fn write(&mut self) -> Result<()> {
        let dirty = self.blocks.clean();
        self.write_blocks(dirty)?;
        if std::mem::take(&mut self.table_dirty) {
            let mut bytes: Vec<u8> = self.table.iter().flat_map(|entry| entry.0.to_be_bytes()).collect();
            bytes.resize((u64::from(self.location.count) << self.geometry.cluster_bits) as usize, 0);
            self.disk
                .write_at(self.location.offset.0, &bytes)
                .context(|| "Could not write reference count table".into())?;
        }
        Ok(())
    }

    /// The session is committed: what it took belongs to the committed state now.
    pub(in crate::qcow2::session) fn close_epoch(&mut self, gone: &RangeSet) {
        self.own = RangeSet::default();
        self.moved.clear();
        for run in gone.iter() {
            self.guarded.remove(run);
        }
        let lowest = gone.iter().next().map_or(self.cursor, |run| run.start);
        let passed_over = self.passed_over.take().unwrap_or(lowest);
        self.cursor = self.cursor.min(lowest).min(passed_over);
        self.handed_out = 0;
        if self.mode == Mode::Shadow {
            self.guard_refcounts();
        }
    }
}
