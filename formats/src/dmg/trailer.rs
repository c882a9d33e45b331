//! The trailer of a dmg file: 512 bytes, numbers with their high byte first.

use std::ops::Range;

use journal::Disk;
use zerocopy::big_endian::U64;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::raw::{SECTOR, sectors};
use crate::{Error, Result};

const MAGIC: [u8; 4] = *b"koly";
/// Where the trailer may start, counted from the end of the file's last sector.
const LOOKED_AT: Range<u64> = 512..1024;

/// The trailer as it stands in the file.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawTrailer {
    magic: [u8; 4],
    /// Version, length of the trailer, flags.
    unused: [u8; 12],
    /// Where the part of the file that is in use starts, in a segmented image.
    running_offset: U64,
    /// Where the chunks' bytes start.
    data_offset: U64,
    data_len: U64,
    /// The resource fork.
    resources_offset: U64,
    resources_len: U64,
    /// Segments and checksums.
    more: [u8; 160],
    /// The property list.
    list_offset: U64,
    list_len: U64,
    /// Checksums and the kind of image.
    still_more: [u8; 260],
    /// Length of the disk.
    sectors: U64,
    end: [u8; 12],
}

/// What the trailer says.
#[derive(Debug)]
pub(super) struct Trailer {
    /// Where it stands.
    at: u64,
    raw: RawTrailer,
}

impl Trailer {
    /// Finds the trailer in the end of a file.
    pub(super) fn find(disk: &dyn Disk) -> Result<Self> {
        let len = sectors(disk.len()?);
        if len < SECTOR {
            return Err(Error::corrupt("dmg file must be at least 512 bytes long"));
        }
        let start = (len + 1).saturating_sub(LOOKED_AT.end);
        let mut bytes = [0; (LOOKED_AT.end - LOOKED_AT.start + MAGIC.len() as u64 - 1) as usize];
        disk.read_padded(start, &mut bytes)?;
        let place = bytes.windows(MAGIC.len()).position(|bytes| *bytes == MAGIC);
        let place = place.ok_or_else(|| Error::corrupt("Could not locate UDIF trailer in dmg file"))?;
        let at = start + place as u64;
        let mut raw = RawTrailer::new_zeroed();
        disk.read_padded(at, raw.as_mut_bytes())?;
        Ok(Self { at, raw })
    }

    /// Length of the disk in bytes, as far as it can be told.
    pub(super) fn size(&self) -> Option<u64> {
        let sectors = self.raw.sectors.get();
        (sectors <= i64::MAX as u64).then(|| sectors.saturating_mul(SECTOR))
    }

    /// Where the chunks' bytes start.
    pub(super) fn data_offset(&self) -> Option<u64> {
        Some(self.raw.data_offset.get()).filter(|&offset| offset <= self.at)
    }

    /// The resource fork; empty if there is none.
    pub(super) fn resources(&self) -> Option<Range<u64>> {
        self.before(self.raw.resources_offset, self.raw.resources_len)
    }

    /// The property list; empty if there is none.
    pub(super) fn list(&self) -> Option<Range<u64>> {
        self.before(self.raw.list_offset, self.raw.list_len)
    }

    /// A part of the file, if it ends before the trailer.
    fn before(&self, offset: U64, len: U64) -> Option<Range<u64>> {
        let (offset, len) = (offset.get(), len.get());
        let end = offset.checked_add(len)?;
        (offset < self.at && end <= self.at).then_some(offset..end)
    }
}
