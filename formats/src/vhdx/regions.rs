//! Which parts of the file are in use for something else than blocks.

use super::Refusal;

/// Ranges that do not overlap.
#[derive(Debug, Default)]
pub struct Regions {
    /// By their start: the end, and when they were added.
    sorted: Vec<(u64, u64, usize)>,
}

impl Regions {
    /// Adds a range. One that overlaps another is told of, and refused.
    pub fn add(&mut self, start: u64, length: u64) -> Result<(), Refusal> {
        let end = start.checked_add(length).ok_or(Refusal::Invalid)?;
        if let Some(text) = self.overlap(start, end) {
            crate::notice::complain(&text);
            return Err(Refusal::Invalid);
        }
        let place = self.sorted.partition_point(|&(other, ..)| other <= start);
        self.sorted.insert(place, (start, end, self.sorted.len()));
        Ok(())
    }

    /// Where the last of them ends.
    pub fn end(&self) -> u64 {
        self.sorted.iter().map(|&(_, end, _)| end).max().unwrap_or(0)
    }

    /// What is to be said of a range that overlaps another.
    pub fn overlap(&self, start: u64, end: u64) -> Option<String> {
        let past = self.sorted.partition_point(|&(other, ..)| other < end);
        let before = self.sorted.get(..past)?;
        let met = before.iter().rev().take_while(|&&(_, other_end, _)| other_end > start);
        let (other, other_end, _) = met.max_by_key(|&&(.., added)| added)?;
        Some(format!("VHDX region {start}-{end} overlaps with region {other}-{other_end}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_youngest_overlapped_one_is_told() {
        let mut regions = Regions::default();
        regions.add(30, 10).unwrap();
        regions.add(10, 10).unwrap();
        assert!(regions.add(u64::MAX, 2).is_err());
        assert_eq!(regions.overlap(20, 30), None);
        assert_eq!(regions.overlap(0, 10), None);
        let told = |start, end| regions.overlap(start, end).unwrap();
        assert_eq!(told(0, 100), "VHDX region 0-100 overlaps with region 10-20");
        assert_eq!(told(39, 100), "VHDX region 39-100 overlaps with region 30-40");
    }
}
