//! Dirty bits of a bitmap as runs of guest bytes.

use std::ops::Range;

use crate::Result;

/// Runs of dirty bits on their way to guest bytes, adjacent ones joined.
pub(crate) struct DirtyRuns<'a> {
    granularity: u64,
    size: u64,
    open: Option<Range<u64>>,
    visitor: &'a mut dyn FnMut(Range<u64>) -> Result<()>,
}

impl<'a> DirtyRuns<'a> {
    /// Runs of a bitmap with a bit for so many guest bytes, on a disk of `size` bytes.
    pub(crate) fn new(
        granularity: u64,
        size: u64,
        visitor: &'a mut dyn FnMut(Range<u64>) -> Result<()>,
    ) -> Self {
        Self { granularity, size, open: None, visitor }
    }

    /// Adds a run of bits.
    pub(crate) fn add(&mut self, bits: Range<u64>) -> Result<()> {
        match &mut self.open {
            Some(open) if open.end == bits.start => open.end = bits.end,
            _ => {
                self.finish()?;
                self.open = Some(bits);
            }
        }
        Ok(())
    }

    /// Adds the set bits of `bytes`, the least significant bit of each byte first.
    pub(crate) fn add_bits(&mut self, first: u64, bytes: &[u8]) -> Result<()> {
        for (number, chunk) in bytes.as_chunks::<8>().0.iter().enumerate() {
            let word = u64::from_le_bytes(*chunk);
            let base = first + number as u64 * 64;
            let mut bit = 0;
            while bit < 64 && word >> bit != 0 {
                let start = bit + (word >> bit).trailing_zeros();
                let end = start + (!(word >> start)).trailing_zeros().min(64 - start);
                self.add(base + u64::from(start)..base + u64::from(end))?;
                bit = end;
            }
        }
        Ok(())
    }

    /// Tells the open run, cut to the disk.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let Some(bits) = self.open.take() else { return Ok(()) };
        let start = bits.start.saturating_mul(self.granularity);
        let end = bits.end.saturating_mul(self.granularity).min(self.size);
        if start < end { (self.visitor)(start..end) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs_of(bytes: &[u8], size: u64) -> Vec<Range<u64>> {
        let mut found = Vec::new();
        let mut visitor = |run| {
            found.push(run);
            Ok(())
        };
        let mut runs = DirtyRuns::new(512, size, &mut visitor);
        runs.add_bits(0, bytes).unwrap();
        runs.finish().unwrap();
        found
    }

    #[test]
    fn bits_become_runs() {
        let mut bytes = [0; 24];
        assert!(runs_of(&bytes, 1 << 20).is_empty());
        bytes[0] = 0b1000_0110;
        bytes[1] = 1;
        bytes[7] = 0x80;
        bytes[8..16].fill(0xff);
        bytes[16] = 1;
        assert_eq!(runs_of(&bytes, 1 << 20), [512..1536, 7 * 512..9 * 512, 63 * 512..129 * 512]);
        assert_eq!(runs_of(&bytes, 8 * 512 + 100), [512..1536, 7 * 512..8 * 512 + 100]);
    }
}
