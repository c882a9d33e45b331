//! Counted references against the refcounts in the file.

use std::ops::Range;

use super::Check;
use super::counts::Counts;
use crate::qcow2::entry::AltHex;
use crate::qcow2::geometry::HostCluster;
use crate::qcow2::refcount::RefcountWidth;
use crate::{HostOffset, Repair, Result};

/// What the refcount table says of a block.
pub(super) enum Block {
    /// There is none: its refcounts are 0.
    Missing,
    /// It stands there.
    At(HostOffset),
    /// Its place is none.
    Unusable(HostOffset),
}

/// What a comparison does about a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// Tells it. Afterwards the counts are those of the file.
    Look,
    /// Tells it before a repair. The counts stay.
    Plan,
    /// Tells it as repaired if the repair may. Afterwards the counts are what the repaired file's are
    /// to be.
    Repair(Repair),
}

impl Pass {
    /// Whether a refcount that is wrong becomes what was counted. One of 0 is beyond that.
    fn repairs(self, stored: u64, counted: u64) -> bool {
        match self {
            Self::Repair(Repair::All) => stored > 0,
            Self::Repair(Repair::Leaks) => stored > counted,
            Self::Look | Self::Plan => false,
        }
    }
}

/// Runs of leaked clusters that are noted: the space of others is free, but stays with the file.
const LEAKED_RUNS: usize = 1 << 16;

impl Check<'_> {
    /// Tells every difference; returns the last cluster in use.
    pub(super) fn compare(&mut self, pass: Pass) -> Result<HostCluster> {
        // Here there are at most as many findings as clusters, and all of them are wanted.
        let work = self.work;
        let highest = self.compare_blocks(pass);
        self.work = work;
        Ok(HostCluster(highest))
    }

    fn compare_blocks(&mut self, pass: Pass) -> u64 {
        let per_block = self.geometry.refcount_block_entries();
        let mut highest = 0;
        let mut bytes = vec![0; self.geometry.cluster_size() as usize];
        for index in 0..self.counts.len().div_ceil(per_block) {
            let clusters = index * per_block..((index + 1) * per_block).min(self.counts.len());
            match self.block(index) {
                Block::Missing => bytes.fill(0),
                Block::At(offset) => {
                    if let Err(error) = self.read(offset, &mut bytes) {
                        self.tell_unknown(index, clusters, &error.report());
                        continue;
                    }
                }
                Block::Unusable(offset) => {
                    self.tell_unusable(index, offset);
                    self.tell_unknown(index, clusters, "Input/output error");
                    continue;
                }
            }
            self.compare_block(clusters, &bytes, pass, &mut highest);
        }
        highest
    }

    pub(super) fn block(&self, index: u64) -> Block {
        match self.refcount_table.get(index as usize).and_then(|entry| entry.block()) {
            None => Block::Missing,
            Some(offset) if self.geometry.is_cluster_start(offset) => Block::At(offset),
            Some(offset) => Block::Unusable(offset),
        }
    }

    fn tell_unknown(&mut self, block: u64, clusters: Range<u64>, reason: &str) {
        self.unknown_blocks.insert(block);
        for cluster in clusters {
            self.report.check_errors += 1;
            self.line(format!("Can't get refcount for cluster {cluster}: {reason}"));
        }
    }

    fn tell_unusable(&mut self, index: u64, offset: HostOffset) {
        if !std::mem::replace(&mut self.corruption_told, true) {
            let index = AltHex(index);
            self.line(format!(
                "qcow2: Image is corrupt: Refblock offset {offset} unaligned (reftable index: {index}); \
                 further non-fatal corruption events will be suppressed"
            ));
        }
    }

    /// Compares the refcounts in a block, page by page of the counts.
    fn compare_block(&mut self, clusters: Range<u64>, block: &[u8], pass: Pass, highest: &mut u64) {
        let mut cluster = clusters.start;
        while cluster < clusters.end {
            let end = clusters.end.min(cluster + Counts::left_in_page(cluster));
            let first = (cluster - clusters.start) as usize;
            let refcounts = Refcounts { width: self.width, block, first, len: (end - cluster) as usize };
            let counts = self.counts.bytes(cluster);
            let counts = &counts[..counts.len().min(refcounts.len)];
            if refcounts.equal(counts) {
                if let Some(last) = counts.iter().rposition(|&count| count != 0) {
                    *highest = cluster + last as u64;
                }
            } else {
                self.compare_each(cluster, &refcounts, pass, highest);
            }
            cluster = end;
        }
    }

    fn compare_each(&mut self, first: u64, refcounts: &Refcounts<'_>, pass: Pass, highest: &mut u64) {
        for number in 0..refcounts.len {
            let cluster = first + number as u64;
            let (stored, counted) = (refcounts.get(number), self.counts.get(cluster));
            if stored != 0 || counted != 0 {
                *highest = cluster;
            }
            if stored == counted {
                continue;
            }
            self.difference(pass, cluster, stored, counted);
        }
    }

    fn difference(&mut self, pass: Pass, cluster: u64, stored: u64, counted: u64) {
        let repaired = pass.repairs(stored, counted);
        self.rebuild |= stored == 0;
        let (verdict, figure) = match (repaired, stored < counted) {
            (true, true) => ("Repairing", &mut self.report.corruptions_fixed),
            (true, false) => ("Repairing", &mut self.report.leaks_fixed),
            (false, true) => ("ERROR", &mut self.report.corruptions),
            (false, false) => ("Leaked", &mut self.report.leaks),
        };
        *figure += 1;
        self.line(format!("{verdict} cluster {cluster} refcount={stored} reference={counted}"));
        if pass == Pass::Plan {
            if counted == 0 && self.leaked.runs() < LEAKED_RUNS {
                self.leaked.insert(cluster..cluster + 1);
            }
        } else if !repaired {
            self.counts.set(cluster, stored);
        }
    }

    /// The refcount in the file of any cluster, or nothing where it cannot be known. Only after
    /// [`Check::compare`].
    pub(super) fn refcount(&self, cluster: HostCluster) -> Option<u64> {
        if self.rebuilt {
            return Some(self.counts.get(cluster.0));
        }
        let per_block = self.geometry.refcount_block_entries();
        let index = cluster.0 / per_block;
        match self.block(index) {
            Block::Unusable(_) => None,
            _ if self.unknown_blocks.contains(&index) => None,
            Block::Missing => Some(0),
            _ if cluster.0 < self.counts.len() => Some(self.counts.get(cluster.0)),
            Block::At(offset) => {
                let mut bytes = vec![0; self.geometry.cluster_size() as usize];
                self.read(offset, &mut bytes).ok()?;
                Some(self.width.get(&bytes, (cluster.0 % per_block) as usize))
            }
        }
    }
}

/// A stretch of the refcounts in a block.
struct Refcounts<'a> {
    width: RefcountWidth,
    block: &'a [u8],
    first: usize,
    len: usize,
}

impl Refcounts<'_> {
    fn get(&self, number: usize) -> u64 {
        self.width.get(self.block, self.first + number)
    }

    /// Whether they equal the counts, of which none means that all are 0.
    fn equal(&self, counts: &[u8]) -> bool {
        if counts.is_empty() {
            return self.width.zero_run(self.block, self.first, self.len) == self.len;
        }
        // 255 may stand for a larger count, so it equals nothing here.
        match self.width.bits() {
            16 => {
                let stored = self.block.as_chunks::<2>().0.get(self.first..self.first + self.len);
                let pairs = stored.unwrap_or_default().iter().zip(counts);
                stored.is_some()
                    && pairs.fold(true, |same, (stored, &count)| {
                        same & (u16::from_be_bytes(*stored) == u16::from(count)) & (count != u8::MAX)
                    })
            }
            _ => counts
                .iter()
                .enumerate()
                .all(|(number, &count)| count != u8::MAX && self.get(number) == u64::from(count)),
        }
    }
}
