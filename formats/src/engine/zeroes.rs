//! Looking for zeroes at memory speed.

use std::ops::Range;

/// Bytes looked at between two decisions: wide enough for vector instructions, small enough to
/// stop early.
const STRIDE: usize = 256;

/// Whether all bytes are zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(STRIDE).all(|stride| stride.iter().fold(0, |seen, byte| seen | byte) == 0)
}

/// A run of units that are all zero, or none of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The bytes of the run.
    pub range: Range<usize>,
    /// Whether they are all zero.
    pub zero: bool,
}

/// Splits `bytes` into runs of whole `unit`s (the last may be shorter), ascending.
pub fn runs(bytes: &[u8], unit: usize) -> impl Iterator<Item = Run> + '_ {
    let mut units = bytes.chunks(unit.max(1)).map(|unit| (unit.len(), is_zero(unit))).peekable();
    let mut start = 0;
    std::iter::from_fn(move || {
        let (mut len, zero) = units.next()?;
        while let Some((more, _)) = units.next_if(|&(_, next)| next == zero) {
            len += more;
        }
        let range = start..start + len;
        start += len;
        Some(Run { range, zero })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_set_bit_anywhere_is_seen() {
        for len in [0, 1, 255, 256, 257, 4096, 5000] {
            let mut bytes = vec![0; len];
            assert!(is_zero(&bytes));
            for at in [0, len / 2, len.saturating_sub(1)] {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = 0x80;
                    assert!(!is_zero(&bytes));
                    bytes[at] = 0;
                }
            }
        }
    }

    #[test]
    fn runs_cover_everything_once_and_alternate() {
        let mut bytes = vec![0; 10 * 512 + 100];
        bytes[512] = 1;
        bytes[1024] = 1;
        bytes[10 * 512 + 99] = 1;
        let found: Vec<Run> = runs(&bytes, 512).collect();
        let expected = [(0..512, true), (512..1536, false), (1536..5120, true), (5120..5220, false)];
        assert_eq!(found, expected.map(|(range, zero)| Run { range, zero }));
    }
}
