//! Clusters that a repair may write to.

use std::ops::Range;

use journal::RangeSet;

use super::Check;
use super::compare::Block;
use crate::qcow2::geometry::HostCluster;
use crate::{HostOffset, Result};

/// Clusters that are looked for: beyond them a repair makes the file longer.
const WANTED: u64 = 1 << 16;
/// How far behind the end of the file references are noted one by one, and how many, both in clusters:
/// others are never counted, but nothing is put where they lead either.
const BEHIND_END: u64 = 1 << 20;
const DANGLING: u64 = 1 << 20;
/// Most runs of clusters that such others are noted as.
const FAR_RUNS: usize = 1 << 16;

/// A reference that leads behind the end of the file.
#[derive(Debug, Clone)]
pub(in crate::qcow2) struct Dangling {
    /// The clusters.
    pub(in crate::qcow2) clusters: Range<u64>,
    /// The first byte behind the region.
    pub(in crate::qcow2) end: u64,
}

/// Every reference that leads behind the end of the file, as far as a repair cares.
#[derive(Debug, Default)]
pub(in crate::qcow2) struct Outside {
    /// Those that can come to count, because the file is going to be longer.
    pub(in crate::qcow2) near: Vec<Dangling>,
    /// How many clusters they lead to.
    near_clusters: u64,
    /// Clusters that others lead to.
    pub(in crate::qcow2) far: RangeSet,
}

impl Outside {
    fn note(&mut self, region: Dangling, is_near: bool) {
        let clusters = self.near_clusters + (region.clusters.end - region.clusters.start);
        if is_near && clusters <= DANGLING {
            self.near_clusters = clusters;
            self.near.push(region);
            return;
        }
        self.far.insert(region.clusters);
        if self.far.runs() > FAR_RUNS {
            let ends = (self.far.iter().next(), self.far.iter().next_back());
            if let (Some(first), Some(last)) = ends {
                self.far.insert(first.start..last.end);
            }
        }
    }
}

impl Check<'_> {
    /// Clusters that neither the file's refcounts nor any reference know of, some of them. Only
    /// after [`Check::compare`].
    pub(super) fn spare(&self) -> Result<RangeSet> {
        let mut spare = RangeSet::default();
        let per_block = self.geometry.refcount_block_entries();
        let end = self.real_clusters;
        let (mut found, mut bytes) = (0, vec![0; self.geometry.cluster_size() as usize]);
        for index in 0..end.div_ceil(per_block) {
            match self.block(index) {
                Block::Missing => bytes.fill(0),
                Block::At(offset) if self.read(offset, &mut bytes).is_ok() => {}
                Block::At(_) | Block::Unusable(_) => continue,
            }
            for cluster in index * per_block..((index + 1) * per_block).min(end) {
                let stored = self.width.get(&bytes, (cluster % per_block) as usize);
                if stored == 0 && self.counts.get(cluster) == 0 {
                    spare.insert(cluster..cluster + 1);
                    found += 1;
                }
            }
            if found >= WANTED {
                break;
            }
        }
        for guarded in self.guarded() {
            spare.remove(guarded..guarded + 1);
        }
        Ok(spare)
    }

    /// Clusters of structures that are given up, or that are not where they may be: nothing refers to
    /// them properly, but the file as it is has nothing else.
    fn guarded(&self) -> impl Iterator<Item = u64> + '_ {
        let cluster = |offset: HostOffset| self.geometry.host_cluster(offset).0;
        let blocks = self.refcount_table.iter().filter_map(|entry| entry.block());
        let parts = blocks.flat_map(move |offset| [cluster(offset), cluster(offset) + 1]);
        parts.chain(self.structures.iter().copied())
    }

    /// Takes note of a reference that leads behind the end of the file: what a repair writes there
    /// must not come to stand where it leads, and may make the file so long that it counts.
    pub(super) fn note_dangling(&mut self, offset: HostOffset, len: u64) {
        let HostCluster(first) = self.geometry.host_cluster(offset);
        let Some(last) = offset.checked_add(len - 1).map(|last| self.geometry.host_cluster(last).0) else {
            return;
        };
        let is_near = last < self.geometry.clusters_for(self.file_len) + BEHIND_END;
        if self.repair.is_some() {
            let region = Dangling { clusters: first..last + 1, end: offset.0 + len };
            self.outside.note(region, is_near);
        }
    }
}
