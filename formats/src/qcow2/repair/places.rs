//! Clusters that a repair writes to.

use std::ops::Range;

use journal::RangeSet;

use crate::qcow2::check::Remedy;
use crate::qcow2::geometry::Geometry;
use crate::{Error, ErrorKind, Result};

/// Host offsets in tables have 56 bits.
const MAX_HOST_OFFSET: u64 = 1 << 56;

/// Clusters that the damaged image does not use by any account: first those inside the file, then
/// those behind its end.
#[derive(Debug)]
pub(super) struct Places {
    spare: RangeSet,
    end: u64,
    /// Clusters behind the end that something refers to, whether it counts or not.
    dangling: RangeSet,
    limit: u64,
}

impl Places {
    pub(super) fn new(remedy: &mut Remedy, geometry: &Geometry, withheld: Vec<Range<u64>>) -> Self {
        let mut spare = std::mem::take(&mut remedy.spare);
        for range in withheld {
            spare.remove(range.start >> geometry.cluster_bits..range.end.div_ceil(geometry.cluster_size()));
        }
        let mut dangling = remedy.counts.used_from(remedy.end);
        let near = remedy.outside.near.iter().map(|region| region.clusters.clone());
        for clusters in near.chain(remedy.outside.far.iter()) {
            dangling.insert(clusters);
        }
        Self { spare, end: remedy.end, dangling, limit: MAX_HOST_OFFSET >> geometry.cluster_bits }
    }

    /// The first cluster behind the end of the file as it is going to be.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Makes the file at least so many clusters long.
    pub(super) fn reach(&mut self, end: u64) {
        self.end = self.end.max(end);
    }

    /// The first of so many clusters in a row.
    pub(super) fn take(&mut self, count: u64) -> Result<u64> {
        let found = self.spare.iter().find(|run| run.end - run.start >= count);
        if let Some(run) = found {
            self.spare.remove(run.start..run.start + count);
            return Ok(run.start);
        }
        while let Some(taken) = self.dangling_in(self.end..self.end.saturating_add(count)) {
            self.end = taken.end;
        }
        let first = self.end;
        self.end = first.saturating_add(count);
        if self.end > self.limit {
            let text = "The image file would exceed the limits of its format";
            return Err(Error::new(ErrorKind::TooLarge, text));
        }
        Ok(first)
    }

    fn dangling_in(&self, range: Range<u64>) -> Option<Range<u64>> {
        let start = self.dangling.run_at(range.start).map(|run| run.start);
        let start = start.or_else(|| self.dangling.next_start(range.start))?;
        if start < range.end { self.dangling.run_at(start) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spare_clusters_come_first_and_dangling_ones_never() {
        let mut places =
            Places { spare: RangeSet::default(), end: 100, dangling: RangeSet::default(), limit: 1000 };
        places.spare.insert(7..8);
        places.spare.insert(20..24);
        places.dangling.insert(102..105);
        assert_eq!(places.take(3).unwrap(), 20);
        assert_eq!(places.take(1).unwrap(), 7);
        assert_eq!(places.take(1).unwrap(), 23);
        assert_eq!(places.take(2).unwrap(), 100);
        assert_eq!(places.take(1).unwrap(), 105);
        assert!(places.take(1000).is_err());
    }
}
