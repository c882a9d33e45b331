//! Reference counts as they lie in a refcount block: 1 to 64 bits each.
//!
//! Counts of a byte and more are big-endian. Smaller ones fill each byte from its least significant
//! bit upwards.

/// The width of one reference count, a power of two of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefcountWidth {
    order: u32,
}

impl RefcountWidth {
    /// The width of every version 2 image, and of version 3 images by default.
    pub const DEFAULT: Self = Self { order: 4 };

    /// The width of `1 << order` bits, as the header's `refcount_order` gives it.
    pub fn from_order(order: u32) -> Option<Self> {
        (order <= 6).then_some(Self { order })
    }

    /// The width of that many bits: 1, 2, 4, 8, 16, 32 or 64.
    pub fn from_bits(bits: u64) -> Option<Self> {
        if bits.is_power_of_two() { Self::from_order(bits.trailing_zeros()) } else { None }
    }

    /// Binary logarithm of the width, the header's `refcount_order`.
    pub fn order(self) -> u32 {
        self.order
    }

    /// Bits in one count.
    pub fn bits(self) -> u32 {
        1 << self.order
    }

    /// The highest count that can be stored.
    pub fn max(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }

    /// How many counts lie in that many bytes.
    pub fn counts_in(self, bytes: u64) -> u64 {
        (bytes << 3) >> self.order
    }

    /// The count at `index`; what lies past the block is not counted.
    pub fn get(self, block: &[u8], index: usize) -> u64 {
        match self.order {
            0..=2 => {
                let (byte, shift, mask) = self.place_in_byte(index);
                u64::from(block.get(byte).map_or(0, |value| (value >> shift) & mask))
            }
            _ => {
                let size = 1_usize << (self.order - 3);
                let bytes = index.checked_mul(size).and_then(|start| block.get(start..start + size));
                bytes.map_or(0, |bytes| bytes.iter().fold(0, |count, byte| (count << 8) | u64::from(*byte)))
            }
        }
    }

    /// Stores a count that fits; past the block, nothing happens.
    pub fn set(self, block: &mut [u8], index: usize, count: u64) {
        debug_assert!(count <= self.max(), "the caller checks that counts fit");
        let bytes = count.to_be_bytes();
        match self.order {
            0..=2 => {
                let (byte, shift, mask) = self.place_in_byte(index);
                if let Some(value) = block.get_mut(byte) {
                    *value = (*value & !(mask << shift)) | ((bytes[7] & mask) << shift);
                }
            }
            _ => {
                let size = 1_usize << (self.order - 3);
                let target = index.checked_mul(size).and_then(|start| block.get_mut(start..start + size));
                if let Some(target) = target {
                    target.copy_from_slice(&bytes[8 - size..]);
                }
            }
        }
    }

    /// How many counts in a row, at most `max`, are zero from `from` on.
    pub fn zero_run(self, block: &[u8], from: usize, max: usize) -> usize {
        let total = self.len(block);
        let limit = total.saturating_sub(from).min(max);
        let mut run = 0;
        while run < limit {
            let within = |skipped: &usize| *skipped <= limit - run;
            let skipped =
                [512, 8].into_iter().find_map(|len| self.zeroes(block, from + run, len).filter(within));
            if let Some(skipped) = skipped {
                run += skipped;
            } else if self.get(block, from + run) == 0 {
                run += 1;
            } else {
                break;
            }
        }
        run
    }

    /// The first index from `from` on whose count is zero.
    pub fn next_zero(self, block: &[u8], from: usize) -> Option<usize> {
        (from..self.len(block)).find(|index| self.get(block, *index) == 0)
    }

    fn len(self, block: &[u8]) -> usize {
        (block.len() << 3) >> self.order
    }

    /// If a 64-bit word starts with the count at `index`, and from there so many bytes, at most 512, are all zero: how many
    /// counts they hold.
    fn zeroes(self, block: &[u8], index: usize, len: usize) -> Option<usize> {
        const ZEROES: [u8; 512] = [0; 512];
        let bit = index << self.order;
        if bit & 63 != 0 {
            return None;
        }
        let bytes = block.get(bit >> 3..(bit >> 3) + len)?;
        (Some(bytes) == ZEROES.get(..len)).then_some((len << 3) >> self.order)
    }

    /// Byte, shift and mask of a count narrower than a byte.
    fn place_in_byte(self, index: usize) -> (usize, usize, u8) {
        let bit = index << self.order;
        (bit >> 3, bit & 7, (1_u8 << self.bits()) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_laid_out_as_the_specification_says() {
        let mut block = [0_u8; 8];
        RefcountWidth::from_bits(16).unwrap().set(&mut block, 1, 0x0102);
        assert_eq!(block, [0, 0, 1, 2, 0, 0, 0, 0]);
        let mut block = [0_u8; 8];
        RefcountWidth::from_bits(1).unwrap().set(&mut block, 9, 1);
        RefcountWidth::from_bits(4).unwrap().set(&mut block, 4, 0xa);
        assert_eq!(block, [0, 2, 0xa, 0, 0, 0, 0, 0]);
        let mut block = [0_u8; 8];
        RefcountWidth::from_bits(64).unwrap().set(&mut block, 0, u64::MAX - 1);
        assert_eq!(block[7], 0xfe);
    }

    #[test]
    fn every_width_returns_what_was_stored() {
        for order in 0..=6 {
            let width = RefcountWidth::from_order(order).unwrap();
            let mut block = vec![0_u8; 64];
            let entries = usize::try_from(width.counts_in(64)).unwrap();
            let value = |index: usize| (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) & width.max();
            for index in 0..entries {
                width.set(&mut block, index, value(index));
            }
            for index in 0..entries {
                assert_eq!(width.get(&block, index), value(index), "order {order} index {index}");
            }
            assert_eq!(width.get(&block, entries), 0);
        }
    }

    #[test]
    fn zero_runs_end_at_the_first_count_and_at_the_limit() {
        for order in 0..=6 {
            let width = RefcountWidth::from_order(order).unwrap();
            let mut block = vec![0_u8; 512];
            let entries = usize::try_from(width.counts_in(512)).unwrap();
            width.set(&mut block, entries - 3, 1);
            assert_eq!(width.zero_run(&block, 1, usize::MAX), entries - 4);
            assert_eq!(width.zero_run(&block, 1, 5), 5);
            assert_eq!(width.zero_run(&block, entries - 3, 5), 0);
            assert_eq!(width.zero_run(&block, entries - 2, 5), 2);
            assert_eq!(width.next_zero(&block, entries - 3), Some(entries - 2));
            assert_eq!(width.next_zero(&block, entries), None);
        }
    }

    #[test]
    fn the_largest_counts() {
        assert_eq!(RefcountWidth::from_bits(1).unwrap().max(), 1);
        assert_eq!(RefcountWidth::DEFAULT.max(), 0xffff);
        assert_eq!(RefcountWidth::from_bits(64).unwrap().max(), u64::MAX);
        assert_eq!(RefcountWidth::from_bits(3), None);
        assert_eq!(RefcountWidth::from_bits(128), None);
    }
}
