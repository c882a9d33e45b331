//! Clusters that a repair may write to.

use journal::RangeSet;

use super::Check;
use super::compare::Block;
use crate::qcow2::geometry::HostCluster;
use crate::{HostOffset, Result};

/// Clusters that are looked for: beyond them a repair makes the file longer.
const WANTED: u64 = 1 << 16;
/// How far behind the end of the file references are noted, and how many, both in clusters: a repair
/// adds less to a file than that.
const BEHIND_END: u64 = 1 << 20;
const DANGLING: u64 = 1 << 20;

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
        let is_near = last < self.real_clusters + BEHIND_END;
        let clusters = self.dangling_clusters + last + 1 - first;
        if self.repair.is_some() && is_near && clusters <= DANGLING {
            self.dangling_clusters = clusters;
            self.dangling.push(first..last + 1);
        }
    }
}
