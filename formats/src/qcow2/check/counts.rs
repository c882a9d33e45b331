//! References per cluster, a byte each, for as much of the file as has any.

use std::collections::HashMap;
use std::ops::Range;

use journal::RangeSet;

/// Clusters in a page.
const PAGE: u64 = 1 << 16;
/// A byte that says: the count is in the map of large ones.
const LARGE: u8 = u8::MAX;

/// How often each cluster of a file is referred to.
///
/// Pages come with their first reference, so that holes of a huge sparse file cost nothing.
#[derive(Debug)]
pub(in crate::qcow2) struct Counts {
    pages: Vec<Option<Box<[u8]>>>,
    /// Counts from 255 on.
    large: HashMap<u64, u64>,
    /// The largest count that the image's refcounts can express.
    max: u64,
    /// Clusters that are accounted for: those of the file, and perhaps the one it ends in.
    len: u64,
}

impl Counts {
    /// Counts of zero for a file of `len` clusters.
    pub(super) fn new(len: u64, max: u64) -> Self {
        Self { pages: Vec::new(), large: HashMap::new(), max, len }
    }

    /// Clusters that are accounted for.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The count of a cluster; 0 past the end.
    #[inline]
    pub(in crate::qcow2) fn get(&self, cluster: u64) -> u64 {
        match self.bytes(cluster).first() {
            None => 0,
            Some(&LARGE) => self.large.get(&cluster).copied().unwrap_or(u64::from(LARGE)),
            Some(&small) => u64::from(small),
        }
    }

    /// The counts from a cluster to the end of its page as bytes, of which 255 stands for every
    /// larger count; empty where no cluster of the page is referred to.
    #[inline]
    pub(in crate::qcow2) fn bytes(&self, cluster: u64) -> &[u8] {
        match self.pages.get((cluster / PAGE) as usize) {
            Some(Some(page)) => &page[(cluster % PAGE) as usize..],
            _ => &[],
        }
    }

    /// Accounts for at least so many clusters.
    pub(super) fn grow(&mut self, len: u64) {
        self.len = self.len.max(len);
    }

    /// Takes one off the count of a cluster, if it has any.
    pub(in crate::qcow2) fn drop_one(&mut self, cluster: u64) {
        let count = self.get(cluster);
        if count > 0 {
            self.set(cluster, count - 1);
        }
    }

    /// Numbers of the runs of clusters, one page each, that have counts.
    pub(in crate::qcow2) fn pages(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let present = self.pages.iter().enumerate().filter(|(_, page)| page.is_some());
        present.map(|(index, _)| index as u64 * PAGE..(index as u64 + 1) * PAGE)
    }

    /// The first cluster behind all that have counts.
    pub(in crate::qcow2) fn end(&self) -> u64 {
        let used = |(index, page): (usize, &Option<Box<[u8]>>)| {
            let last = page.as_ref()?.iter().rposition(|&count| count != 0)?;
            Some(index as u64 * PAGE + last as u64 + 1)
        };
        self.pages.iter().enumerate().rev().find_map(used).unwrap_or(0)
    }

    /// Runs of clusters from this one on that have counts.
    pub(in crate::qcow2) fn used_from(&self, first: u64) -> RangeSet {
        let mut used = RangeSet::default();
        for page in self.pages().filter(|page| page.end > first) {
            let start = page.start.max(first);
            let stretches = self.bytes(start).chunk_by(|a, b| (*a == 0) == (*b == 0));
            let mut at = start;
            for stretch in stretches {
                let end = at + stretch.len() as u64;
                if stretch.first().is_some_and(|&count| count != 0) {
                    used.insert(at..end);
                }
                at = end;
            }
        }
        used
    }

    /// Clusters from this one to the end of its page.
    pub(in crate::qcow2) fn left_in_page(cluster: u64) -> u64 {
        PAGE - cluster % PAGE
    }

    /// Puts a count.
    pub(in crate::qcow2) fn set(&mut self, cluster: u64, count: u64) {
        let byte = if count >= u64::from(LARGE) {
            self.large.insert(cluster, count);
            LARGE
        } else {
            count as u8
        };
        self.page_mut(cluster)[(cluster % PAGE) as usize] = byte;
    }

    /// Adds one to each of a run of clusters. Returns those whose count is at its maximum already.
    pub(super) fn add_run(&mut self, first: u64, count: u64) -> Vec<u64> {
        let mut refused = Vec::new();
        self.len = self.len.max(first + count);
        // Below this, a byte can be increased without a second thought.
        let simple = self.max.min(u64::from(LARGE) - 1) as u8;
        let (mut at, end) = (first, first + count);
        while at < end {
            let start = (at % PAGE) as usize;
            let stop = (start as u64 + end - at).min(PAGE) as usize;
            let bytes = &mut self.page_mut(at)[start..stop];
            if bytes.iter().all(|&byte| byte < simple) {
                bytes.iter_mut().for_each(|byte| *byte += 1);
            } else {
                let clusters = at..at + bytes.len() as u64;
                refused.extend(clusters.filter(|&cluster| self.add(cluster, 1) > 0));
            }
            at += (stop - start) as u64;
        }
        refused
    }

    /// Adds to the count of a cluster. Returns by how much that exceeds the maximum.
    pub(super) fn add(&mut self, cluster: u64, times: u64) -> u64 {
        self.len = self.len.max(cluster + 1);
        let wanted = self.get(cluster).saturating_add(times);
        self.set(cluster, wanted.min(self.max));
        wanted.saturating_sub(self.max)
    }

    fn page_mut(&mut self, cluster: u64) -> &mut [u8] {
        let index = (cluster / PAGE) as usize;
        if self.pages.len() <= index {
            self.pages.resize_with(index + 1, || None);
        }
        self.pages[index].get_or_insert_with(|| vec![0; PAGE as usize].into_boxed_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cross_pages() {
        let mut counts = Counts::new(10, 65535);
        assert!(counts.add_run(PAGE - 2, 4).is_empty());
        assert!(counts.add_run(PAGE, 1).is_empty());
        let found: Vec<u64> = (PAGE - 3..PAGE + 3).map(|cluster| counts.get(cluster)).collect();
        assert_eq!(found, [0, 1, 1, 2, 1, 0]);
        assert_eq!(counts.len(), PAGE + 2);
    }

    #[test]
    fn ends_and_runs_are_those_of_counts() {
        let mut counts = Counts::new(10, 65535);
        assert_eq!(counts.end(), 0);
        counts.add_run(3, 4);
        counts.add_run(PAGE - 1, 3);
        counts.set(PAGE * 2, 0);
        assert_eq!(counts.end(), PAGE + 2);
        assert_eq!(counts.used_from(5).iter().collect::<Vec<_>>(), [5..7, PAGE - 1..PAGE + 2]);
    }

    #[test]
    fn large_counts_are_exact() {
        let mut counts = Counts::new(1, 65535);
        for _ in 0..300 {
            assert!(counts.add_run(7, 1).is_empty());
        }
        assert_eq!(counts.get(7), 300);
        assert_eq!(counts.add(7, 65535), 300);
        assert_eq!(counts.get(7), 65535);
        counts.set(7, 1);
        assert_eq!(counts.get(7), 1);
    }

    #[test]
    fn narrow_refcounts_overflow_early() {
        let mut counts = Counts::new(4, 1);
        assert!(counts.add_run(0, 3).is_empty());
        assert_eq!(counts.add_run(1, 3), [1, 2]);
        assert_eq!((0..4).map(|cluster| counts.get(cluster)).collect::<Vec<_>>(), [1, 1, 1, 1]);
    }
}
