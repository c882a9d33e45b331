//! Bitmaps that tell of each sector of a differencing disk whether the disk holds it.

use journal::Disk;

use crate::Result;

/// Bytes of a bitmap that are looked at at a time.
const LOOKED_AT: u64 = 8 << 10;

/// Which bit of a byte is the first sector's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstBit {
    /// The most significant one, as in VHD.
    Highest,
    /// The least significant one, as in VHDX.
    Lowest,
}

impl FirstBit {
    /// The bit of a sector in its byte.
    pub(crate) fn mask(self, sector: u64) -> u8 {
        match self {
            Self::Highest => 0x80 >> (sector % 8),
            Self::Lowest => 1 << (sector % 8),
        }
    }
}

/// Sectors from `first` on, before `end`, that the bitmap at a place of the file marks as it does the first
/// one: whether it does, and where that ends, or where nobody has looked further.
pub(crate) fn run(disk: &dyn Disk, at: u64, first: u64, end: u64, order: FirstBit) -> Result<(bool, u64)> {
    let start = first / 8;
    let end = end.min((start + LOOKED_AT) * 8);
    let mut bytes = vec![0; (end.div_ceil(8) - start) as usize];
    disk.read_padded(at.saturating_add(start), &mut bytes)?;
    let is_marked = |sector: u64| {
        let byte = bytes.get((sector / 8 - start) as usize).copied().unwrap_or(0);
        byte & order.mask(sector) != 0
    };
    let marked = is_marked(first);
    let past = (first + 1..end).find(|&sector| is_marked(sector) != marked);
    Ok((marked, past.unwrap_or(end)))
}
