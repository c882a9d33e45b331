//! Counting one more reference to clusters, and dropping one.

use std::ops::Range;

use super::Space;
use crate::qcow2::geometry::HostCluster;
use crate::{Error, HostOffset, Result};

/// What became of [`Space::share`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::qcow2::session) enum Shared {
    /// The references are counted.
    Counted,
    /// A count cannot go higher; some of those before it have.
    Full,
}

impl Space {
    /// Counts one more reference to each cluster of a run in use, or answers that a count is full.
    pub(in crate::qcow2::session) fn share(&mut self, clusters: Range<u64>) -> Result<Shared> {
        let mut rest = clusters;
        while !rest.is_empty() {
            let (count, run) = self.equal_run(rest.clone())?;
            if count == 0 {
                return Err(self.uncounted(run.start));
            }
            if count >= self.width.max() {
                return Ok(Shared::Full);
            }
            self.own_blocks(run.clone())?;
            self.set_counts(run.clone(), count + 1)?;
            rest.start = run.end;
        }
        Ok(Shared::Counted)
    }

    /// Drops one reference to each cluster that holds some of these bytes of the file.
    pub(in crate::qcow2::session) fn release(&mut self, offset: HostOffset, len: u64) -> Result<()> {
        let last = offset.checked_add(len.saturating_sub(1)).ok_or_else(super::beyond_limit)?;
        let first = self.geometry.host_cluster(offset).0;
        self.release_run(first..self.geometry.host_cluster(last).0 + 1)
    }

    /// Drops one reference to each cluster of a run. A last one is dropped when the session is
    /// settled.
    pub(in crate::qcow2::session) fn release_run(&mut self, clusters: Range<u64>) -> Result<()> {
        let mut rest = clusters;
        while !rest.is_empty() {
            let (remaining, run) = self.remaining(rest.clone())?;
            let count = remaining + self.pending(run.start);
            if count > 1 {
                self.own_blocks(run.clone())?;
                self.set_counts(run.clone(), count - 1)?;
            } else {
                self.released.insert(run.clone());
            }
            rest.start = run.end;
        }
        Ok(())
    }

    /// Drops so many references to a cluster.
    pub(in crate::qcow2::session) fn release_times(&mut self, cluster: u64, times: u64) -> Result<()> {
        let run = cluster..cluster + 1;
        let remaining = self.remaining(run.clone())?.0;
        if times > remaining {
            return Err(self.uncounted(cluster));
        }
        if times > 1 {
            // All but one at once.
            let count = remaining + self.pending(cluster);
            self.own_blocks(run.clone())?;
            self.set_counts(run.clone(), count - (times - 1))?;
        }
        if times > 0 { self.release_run(run) } else { Ok(()) }
    }

    /// Takes one cluster that has so many references.
    pub(in crate::qcow2::session) fn take_counted(&mut self, references: u64) -> Result<HostOffset> {
        let place = self.take_one()?;
        let cluster = self.geometry.host_cluster(place).0;
        self.set_counts(cluster..cluster + 1, references.min(self.width.max()))?;
        Ok(place)
    }

    /// How many references to the first of these clusters in use remain when the session is
    /// settled, and how many of them from there on have as many.
    pub(in crate::qcow2::session) fn remaining(&mut self, clusters: Range<u64>) -> Result<(u64, Range<u64>)> {
        let (count, mut run) = self.equal_run(clusters)?;
        let pending = self.pending(run.start);
        let bound = match self.released.run_at(run.start) {
            Some(released) => Some(released.end),
            None => self.released.next_start(run.start),
        };
        run.end = bound.map_or(run.end, |bound| run.end.min(bound));
        match count.checked_sub(pending) {
            None | Some(0) => Err(self.uncounted(run.start)),
            Some(remaining) => Ok((remaining, run)),
        }
    }

    /// How many references to a cluster are dropped when the session is settled.
    fn pending(&self, cluster: u64) -> u64 {
        u64::from(self.released.contains(cluster))
    }

    /// A cluster's count as the session sees it.
    pub(in crate::qcow2::session) fn count(&mut self, cluster: HostCluster) -> Result<u64> {
        let (index, within) = self.place(cluster.0);
        let width = self.width;
        Ok(self.block(index)?.map_or(0, |block| width.get(block, within)))
    }

    /// The count of the first of these clusters, and how many of them from there on have it too.
    pub(super) fn equal_run(&mut self, clusters: Range<u64>) -> Result<(u64, Range<u64>)> {
        let (index, within) = self.place(clusters.start);
        let in_block = self.geometry.refcount_block_entries() - within as u64;
        let len = in_block.min(clusters.end - clusters.start) as usize;
        let width = self.width;
        let Some(block) = self.block(index)? else {
            return Ok((0, clusters.start..clusters.start + len as u64));
        };
        let count = width.get(block, within);
        let same = (within..within + len).take_while(|&at| width.get(block, at) == count).count();
        Ok((count, clusters.start..clusters.start + same as u64))
    }

    fn uncounted(&self, cluster: u64) -> Error {
        let offset = self.geometry.host_offset(HostCluster(cluster));
        Error::corrupt(format!("Cluster at offset {offset} is used but not counted"))
    }
}
