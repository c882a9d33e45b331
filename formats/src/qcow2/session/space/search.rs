//! The search for free clusters.

use std::ops::Range;

use super::{MAX_HOST_OFFSET, Space, beyond_limit};
use crate::qcow2::geometry::HostCluster;
use crate::qcow2::session::Mode;
use crate::{Error, HostOffset, Result};

/// Full refcount blocks that a small session looks at.
const LOOKED_AT: u32 = 8;
/// Clusters up to which a session is a small one.
const SMALL_SESSION: u64 = 64;

impl Space {
    /// Takes between `min` and `max` clusters in a row, each now counted once.
    pub(in crate::qcow2::session) fn take(&mut self, min: u64, max: u64) -> Result<Range<u64>> {
        let run = self.find_run(min, max)?;
        self.take_run(run.clone())?;
        Ok(run)
    }

    /// Takes a run that was found to be free. Blocks that must be made to count it stand behind it.
    pub(super) fn take_run(&mut self, run: Range<u64>) -> Result<()> {
        self.cursor = run.end;
        self.handed_out += run.end - run.start;
        // The search for the blocks' places may come back to what lies before the cursor.
        self.guarded.insert(run.clone());
        let owned = self.own_blocks(run.clone());
        self.guarded.remove(run.clone());
        owned?;
        self.require_free(run.clone())?;
        self.set_counts(run.clone(), 1)?;
        self.note_own(run);
        Ok(())
    }

    /// Fails if one of these clusters is counted: better no image than two owners of a cluster.
    fn require_free(&mut self, clusters: Range<u64>) -> Result<()> {
        let mut rest = clusters;
        while !rest.is_empty() {
            let (count, run) = self.equal_run(rest.clone())?;
            if count > 0 {
                let offset = self.geometry.host_offset(HostCluster(run.start));
                return Err(Error::corrupt(format!("Cluster at offset {offset} is in use already")));
            }
            rest.start = run.end;
        }
        Ok(())
    }

    /// Takes this very cluster if it is the next one in line.
    pub(in crate::qcow2::session) fn take_at(&mut self, cluster: HostCluster) -> Result<bool> {
        let run = self.find_run(1, 1)?;
        let is_next = run.start == cluster.0;
        if is_next {
            self.take_run(run)?;
        }
        Ok(is_next)
    }

    /// Makes the blocks that the next so many clusters need.
    pub(in crate::qcow2::session) fn cover(&mut self, clusters: u64) -> Result<()> {
        self.own_blocks(self.cursor..self.cursor.saturating_add(clusters))
    }

    /// From here on, takes no cluster before this one.
    pub(in crate::qcow2::session) fn skip_to(&mut self, cluster: u64) {
        self.cursor = self.cursor.max(cluster);
        self.floor = self.floor.max(cluster);
    }

    /// Takes one cluster.
    pub(in crate::qcow2::session) fn take_one(&mut self) -> Result<HostOffset> {
        let run = self.take(1, 1)?;
        Ok(self.geometry.host_offset(HostCluster(run.start)))
    }

    /// Takes as many clusters in a row as `len` bytes need.
    pub(in crate::qcow2::session) fn take_bytes(&mut self, len: u64) -> Result<HostOffset> {
        let count = self.geometry.clusters_for(len).max(1);
        let run = self.take(count, count)?;
        Ok(self.geometry.host_offset(HostCluster(run.start)))
    }

    /// A free cluster that a block counts itself, not one of `except`.
    pub(super) fn find_in_block(&mut self, index: usize, except: &Range<u64>) -> Result<Option<u64>> {
        let (width, per_block) = (self.width, self.geometry.refcount_block_entries());
        let (first, floor) = (index as u64 * per_block, self.floor);
        if self.block(index)?.is_none() {
            return Ok(None);
        }
        let mut from = floor.saturating_sub(first);
        while from < per_block {
            let free = self.block(index)?.and_then(|block| width.next_zero(block, from as usize));
            let Some(within) = free else { break };
            let cluster = first + within as u64;
            let taken = [self.guarded.run_at(cluster), self.own.run_at(cluster)].into_iter().flatten().next();
            let taken = taken.or_else(|| except.contains(&cluster).then(|| except.clone()));
            match taken {
                Some(run) => from = run.end - first,
                None => return Ok(Some(cluster)),
            }
        }
        Ok(None)
    }

    /// The first run of at least `min` free clusters, at most `max` of it. Takes nothing.
    pub(super) fn find_run(&mut self, min: u64, max: u64) -> Result<Range<u64>> {
        let (width, per_block) = (self.width, self.geometry.refcount_block_entries());
        self.come_back();
        let mut full_blocks = 0;
        let mut run = self.cursor..self.cursor;
        while run.end - run.start < max {
            if run.end >= MAX_HOST_OFFSET >> self.geometry.cluster_bits {
                return Err(beyond_limit());
            }
            if let Some(guarded) = self.guarded.run_at(run.end) {
                if run.end - run.start >= min {
                    break;
                }
                run = guarded.end..guarded.end;
                continue;
            }
            let (index, within) = self.place(run.end);
            let guarded = self.guarded.next_start(run.end).map_or(u64::MAX, |start| start - run.end);
            let limit = (per_block - within as u64).min(max - (run.end - run.start)).min(guarded);
            let Some(block) = self.block(index)? else {
                run.end += limit;
                continue;
            };
            let free = width.zero_run(block, within, limit as usize) as u64;
            if free == limit {
                run.end += free;
            } else if run.end + free - run.start >= min {
                run.end += free;
                break;
            } else {
                let next = width.next_zero(block, within + free as usize);
                let base = run.end - within as u64;
                let start = match next {
                    Some(next) => base + next as u64,
                    None => {
                        full_blocks += 1;
                        self.go_on(full_blocks, base + per_block)
                    }
                };
                run = start..start;
            }
        }
        Ok(run)
    }

    /// Where a search goes on after so many blocks without room. A small session's goes to the last
    /// block, where the file can also grow: it must not look through the counts of a whole image.
    fn go_on(&mut self, full_blocks: u32, next: u64) -> u64 {
        if full_blocks < LOOKED_AT || self.handed_out >= SMALL_SESSION || self.mode == Mode::InPlace {
            return next;
        }
        let last = self.table.iter().rposition(|entry| entry.block().is_some()).unwrap_or_default();
        let last = last as u64 * self.geometry.refcount_block_entries();
        if last <= next {
            return next;
        }
        self.passed_over.get_or_insert(next);
        last
    }

    /// Goes back to what was passed over, once the session is a large one: the file must not grow
    /// while it has room.
    fn come_back(&mut self) {
        if self.handed_out >= SMALL_SESSION
            && let Some(passed_over) = self.passed_over.take()
        {
            self.cursor = passed_over.max(self.floor);
        }
    }
}
