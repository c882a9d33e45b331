//! The bytes of a file that its nature is told from.

use journal::Disk;

use crate::Result;

/// The first and the last bytes of a file.
#[derive(Debug)]
pub(super) struct Sample {
    /// The first ones, filled up with zeroes.
    pub(super) start: Vec<u8>,
    /// The last ones, after zeroes if there are fewer.
    pub(super) end: Vec<u8>,
}

impl Sample {
    /// How many of the first bytes are looked at: the last signature is that of ISO 9660's third descriptor.
    pub(super) const START: usize = 40 << 10;
    /// How many of the last: two sectors, a VMDK footer's.
    pub(super) const END: usize = 1024;

    pub(super) fn of(disk: &dyn Disk) -> Result<Self> {
        let mut start = vec![0; Self::START];
        disk.read_padded(0, &mut start)?;
        let mut end = vec![0; Self::END];
        let len = disk.len()?;
        let got = len.min(Self::END as u64);
        disk.read_padded(len - got, &mut end[Self::END - got as usize..])?;
        Ok(Self { start, end })
    }

    /// Whether these bytes stand at that place.
    pub(super) fn has(&self, at: usize, bytes: &[u8]) -> bool {
        self.start.get(at..).is_some_and(|rest| rest.starts_with(bytes))
    }

    /// Whether the last sector begins with these bytes.
    pub(super) fn last_sector_has(&self, bytes: &[u8]) -> bool {
        self.end[Self::END - 512..].starts_with(bytes)
    }

    /// Bytes of a fixed number, zeroes past the sample's end.
    pub(super) fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|index| self.start.get(at + index).copied().unwrap_or(0))
    }
}
