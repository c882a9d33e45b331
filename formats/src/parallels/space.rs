//! Which clusters of the file are in use.

use std::ops::Range;

use super::Parallels;
use crate::paged_table::Bits;
use crate::{Error, ErrorKind, Result};

/// The clusters of the file, counted from where the first one can be.
#[derive(Debug)]
pub(super) struct Space {
    /// Where the first one is.
    start: u64,
    cluster_size: u64,
    count: u64,
    used: Bits,
    /// Those that the committed image does not use.
    fresh: Bits,
    /// None before it is free.
    next: u64,
    /// Where the last one in use ends.
    end: u64,
    /// Whether every guest cluster stands exactly on one of them.
    is_regular: bool,
}

/// No sound file has more of them: tables have fewer entries.
const MAX_CLUSTERS: u64 = 1 << 31;

impl Space {
    /// Looks through the table of an image.
    pub(super) fn of(image: &Parallels) -> Result<Self> {
        let header = &image.header;
        let at = image.data_start.at();
        let start = if header.is_extended() { at.next_multiple_of(header.cluster_size) } else { at };
        let mut others = image.file.withheld();
        if let Some(extension) = &image.extension {
            extension.visit_clusters(&*image.in_place, &mut |range| others.push(range))?;
        }
        // A cluster that stands between two of these takes both, and one is to be left.
        let cells = |range: &Range<u64>| (range.end - range.start).div_ceil(header.cluster_size) + 1;
        let count = 2 * u64::from(header.entries) + 1;
        let count = others.iter().fold(count, |count, range| count.saturating_add(cells(range)));
        let count = count.min(MAX_CLUSTERS);
        let (used, fresh) = (Bits::new(count), Bits::default());
        let cluster_size = header.cluster_size;
        let mut space =
            Self { start, cluster_size, count, used, fresh, next: 0, end: start, is_regular: true };
        image.visit(&mut |_, host| {
            space.is_regular &= host >= start && (host - start).is_multiple_of(cluster_size);
            space.mark(host..host + cluster_size);
            space.end = space.end.max(host + cluster_size);
            Ok(())
        })?;
        others.into_iter().for_each(|range| space.mark(range));
        Ok(space)
    }

    /// Takes note that a range of the file is in use.
    fn mark(&mut self, range: Range<u64>) {
        if range.end <= self.start || range.is_empty() {
            return;
        }
        let first = range.start.saturating_sub(self.start) / self.cluster_size;
        let last = (range.end - 1 - self.start) / self.cluster_size;
        for cluster in first..=last.min(self.count) {
            self.used.insert(cluster);
        }
    }

    /// Takes free clusters, as many as are wanted or fewer: where the first is, and how many they are.
    pub(super) fn take(&mut self, wanted: u64) -> Result<(u64, u64)> {
        let first = self.used.first_absent(self.next);
        let too_large =
            || Error::new(ErrorKind::TooLarge, "The image file would exceed the limits of its format");
        let mut past = first;
        while past < self.count && past - first < wanted && self.used.insert(past) {
            past += 1;
        }
        if past == first {
            return Err(too_large());
        }
        if self.fresh.is_empty() {
            self.fresh = Bits::new(self.count);
        }
        (first..past).for_each(|cluster| {
            self.fresh.insert(cluster);
        });
        self.next = past;
        let host = self.start + first * self.cluster_size;
        self.end = self.end.max(self.start + past * self.cluster_size);
        Ok((host, past - first))
    }

    /// Whether the committed image does not use a cluster.
    pub(super) fn is_fresh(&self, host: u64) -> bool {
        let cluster = host.checked_sub(self.start).map(|offset| offset / self.cluster_size);
        cluster.is_some_and(|cluster| self.fresh.contains(cluster))
    }

    /// Forgets which clusters are fresh: the image is committed.
    pub(super) fn settle(&mut self) {
        self.fresh = Bits::default();
    }

    /// Where the last cluster in use ends.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Whether every guest cluster stands exactly on one of the file's.
    pub(super) fn is_regular(&self) -> bool {
        self.is_regular
    }
}
