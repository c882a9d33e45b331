//! Reference counts of another width: all blocks and the table that lists them, made anew.

use std::ops::Range;
use std::sync::Arc;

use super::Space;
use crate::qcow2::geometry::{Geometry, HostCluster};
use crate::qcow2::refcount::RefcountWidth;
use crate::{Error, Result};

impl Space {
    /// Counts everything in another width, in blocks behind all that is counted, so that the
    /// committed state keeps its own.
    pub(in crate::qcow2::session) fn change_width(&mut self, width: RefcountWidth) -> Result<()> {
        self.check_fits(width)?;
        let end = self.counted_end()?;
        let geometry = Geometry { refcount_order: width.order(), ..self.geometry };
        let mut new = Self::new(Arc::clone(&self.disk), geometry, self.mode, self.location, Vec::new())?;
        new.cursor = end.max(self.cursor);
        // Before that, a count of zero is only not copied yet.
        new.floor = new.cursor;
        new.own = self.own.clone();
        new.guarded = self.guarded.clone();
        self.copy_counts(&mut new)?;
        new.released = self.released.clone();
        for entry in std::mem::take(&mut self.table) {
            if let Some(block) = entry.block() {
                new.release(block, geometry.cluster_size())?;
            }
        }
        *self = new;
        Ok(())
    }

    /// Whether every count can be said in that width.
    fn check_fits(&mut self, width: RefcountWidth) -> Result<()> {
        let geometry = self.geometry;
        self.visit_counts(&mut |count, clusters| {
            if count <= width.max() {
                return Ok(());
            }
            let (bits, offset) = (width.bits(), geometry.host_offset(HostCluster(clusters.start)));
            Err(Error::invalid(format!(
                "Cannot decrease refcount entry width to {bits} bits: Cluster at offset {offset} has a refcount of {count}"
            )))
        })
    }

    /// The end of the last cluster that is counted.
    pub(in crate::qcow2::session) fn counted_end(&mut self) -> Result<u64> {
        let (width, per_block) = (self.width, self.geometry.refcount_block_entries());
        for index in (0..self.table.len()).rev() {
            let Some(block) = self.block(index)? else { continue };
            let last = (0..per_block as usize).rev().find(|&at| width.get(block, at) > 0);
            if let Some(last) = last {
                return Ok(index as u64 * per_block + last as u64 + 1);
            }
        }
        Ok(0)
    }

    fn copy_counts(&mut self, new: &mut Self) -> Result<()> {
        self.visit_counts(&mut |count, clusters| {
            new.own_blocks(clusters.clone())?;
            new.set_counts(clusters, count)
        })
    }

    /// Tells every run of clusters with equal counts, but for those that are free.
    fn visit_counts(&mut self, visitor: &mut dyn FnMut(u64, Range<u64>) -> Result<()>) -> Result<()> {
        let per_block = self.geometry.refcount_block_entries();
        for index in 0..self.table.len() as u64 {
            let mut rest = index * per_block..(index + 1) * per_block;
            while !rest.is_empty() {
                let (count, run) = self.equal_run(rest.clone())?;
                rest.start = run.end;
                if count > 0 {
                    visitor(count, run)?;
                }
            }
        }
        Ok(())
    }
}
