//! A set of numbers, offsets or clusters, kept as runs.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of numbers that mostly come in runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RangeSet {
    /// Start to end of each run; runs neither overlap nor touch.
    runs: BTreeMap<u64, u64>,
}

impl RangeSet {
    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many runs there are.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// How many numbers are in it.
    pub fn total(&self) -> u64 {
        self.iter().map(|run| run.end - run.start).sum()
    }

    /// Whether a number is in it.
    pub fn contains(&self, value: u64) -> bool {
        self.run_at(value).is_some()
    }

    /// The run that holds `value`.
    pub fn run_at(&self, value: u64) -> Option<Range<u64>> {
        let (&start, &end) = self.runs.range(..=value).next_back()?;
        (value < end).then_some(start..end)
    }

    /// Where the first run from `value` on begins.
    pub fn next_start(&self, value: u64) -> Option<u64> {
        self.runs.range(value..).next().map(|(&start, _)| start)
    }

    /// Adds every number of a range.
    pub fn insert(&mut self, range: Range<u64>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        while let Some((&other, &other_end)) = self.runs.range(..=end).next_back() {
            if other_end < start {
                break;
            }
            start = start.min(other);
            end = end.max(other_end);
            self.runs.remove(&other);
        }
        self.runs.insert(start, end);
    }

    /// Takes every number of a range out.
    pub fn remove(&mut self, range: Range<u64>) {
        let Range { start, end } = range;
        if start >= end {
            return;
        }
        while let Some((&other, &other_end)) = self.runs.range(..end).next_back() {
            if other_end <= start {
                break;
            }
            self.runs.remove(&other);
            if end < other_end {
                self.runs.insert(end, other_end);
            }
            if other < start {
                self.runs.insert(other, start);
                break;
            }
        }
    }

    /// The runs, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + '_ {
        self.runs.iter().map(|(&start, &end)| start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(set: &RangeSet) -> Vec<(u64, u64)> {
        set.iter().map(|run| (run.start, run.end)).collect()
    }

    #[test]
    fn touching_runs_become_one() {
        let mut set = RangeSet::default();
        set.insert(10..20);
        set.insert(30..40);
        set.insert(20..30);
        assert_eq!(runs(&set), [(10, 40)]);
        set.insert(5..6);
        set.insert(0..100);
        assert_eq!(runs(&set), [(0, 100)]);
        set.insert(7..7);
        assert_eq!(runs(&set), [(0, 100)]);
    }

    #[test]
    fn removing_splits() {
        let mut set = RangeSet::default();
        set.insert(0..10);
        set.insert(20..30);
        set.remove(5..25);
        assert_eq!(runs(&set), [(0, 5), (25, 30)]);
        set.remove(2..3);
        assert_eq!(runs(&set), [(0, 2), (3, 5), (25, 30)]);
        set.remove(0..100);
        assert!(set.is_empty());
    }

    #[test]
    fn membership() {
        let mut set = RangeSet::default();
        set.insert(4..8);
        assert!(set.contains(4) && set.contains(7) && !set.contains(8) && !set.contains(3));
        assert_eq!(set.run_at(5), Some(4..8));
        assert_eq!((set.next_start(4), set.next_start(5)), (Some(4), None));
    }

    #[test]
    fn agrees_with_a_plain_set() {
        let mut set = RangeSet::default();
        let mut model = [false; 64];
        let mut seed = 7_u64;
        for _ in 0..4000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let start = (seed >> 33) % 64;
            let end = (start + (seed >> 40) % 9).min(64);
            let add = seed >> 60 & 1 == 0;
            if add {
                set.insert(start..end)
            } else {
                set.remove(start..end)
            }
            model[start as usize..end as usize].fill(add);
            for (value, expected) in model.iter().enumerate() {
                assert_eq!(set.contains(value as u64), *expected);
            }
            assert!(runs(&set).windows(2).all(|pair| pair[0].1 < pair[1].0));
        }
    }
}
