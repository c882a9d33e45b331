//! Headers of sparse extents.

use journal::Disk;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::raw::SECTOR;
use crate::{Error, Result};

/// The magic of hosted sparse extents.
pub(super) const HOSTED_MAGIC: [u8; 4] = *b"KDMV";
/// The magic of the sparse extents of ESX Server.
pub(super) const COWD_MAGIC: [u8; 4] = *b"COWD";

/// A redundant copy of the tables is there.
pub(super) const FLAG_REDUNDANT: u32 = 1 << 1;
/// Grains of zeroes are marked in the tables.
pub(super) const FLAG_ZEROED: u32 = 1 << 2;
/// Line ends can be tested.
pub(super) const FLAG_LINE_ENDS: u32 = 1 << 0;
/// Grains are compressed.
pub(super) const FLAG_COMPRESSED: u32 = 1 << 16;
/// Compressed grains have markers.
pub(super) const FLAG_MARKERS: u32 = 1 << 17;

/// Grains are compressed by deflate.
pub(super) const DEFLATE: u16 = 1;
/// Where the directory is, if only the footer knows.
const AT_END: u64 = u64::MAX;
/// A marker of the footer.
const FOOTER: u32 = 3;
/// More entries in a grain table than that nobody has.
const MAX_TABLE: u32 = 512;

/// The header of a hosted sparse extent (Virtual Disk Format 1.1, "Hosted Sparse Extent Header"); offsets and
/// sizes are in sectors.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Hosted {
    pub(super) magic: [u8; 4],
    pub(super) version: U32,
    pub(super) flags: U32,
    /// Of the disk.
    pub(super) capacity: U64,
    pub(super) grain: U64,
    pub(super) descriptor_at: U64,
    pub(super) descriptor_len: U64,
    /// Entries in a grain table.
    pub(super) table_len: U32,
    /// The redundant directory.
    pub(super) redundant_at: U64,
    pub(super) directory_at: U64,
    /// What is before the first grain.
    pub(super) overhead: U64,
    pub(super) is_in_use: u8,
    /// Four characters that a transfer as text would change.
    pub(super) line_ends: [u8; 4],
    pub(super) algorithm: U16,
    pub(super) rest: [u8; 433],
}

const _: () = assert!(size_of::<Hosted>() == SECTOR as usize);

impl Hosted {
    pub(super) fn read(disk: &dyn Disk, at: u64) -> Result<Self> {
        let mut header = Self::new_zeroed();
        disk.read_padded(at, header.as_mut_bytes())?;
        Ok(header)
    }

    /// Where a descriptor is, of a file that is nothing but one.
    pub(super) fn descriptor_alone(&self) -> Option<u64> {
        let at = self.descriptor_at.get();
        (self.capacity.get() == 0 && at != 0).then(|| at.wrapping_mul(SECTOR))
    }

    /// Whether another header, at the end of the file, counts.
    pub(super) fn is_at_end(&self) -> bool {
        self.directory_at.get() == AT_END
    }

    /// The header that counts: at the end of the file, if this one says so.
    pub(super) fn settle(self, disk: &dyn Disk) -> Result<Self> {
        if !self.is_at_end() {
            return Ok(self);
        }
        let invalid = || Error::invalid("Invalid footer");
        let at = crate::raw::sectors(disk.len()?).checked_sub(3 * SECTOR).ok_or_else(invalid)?;
        let mut markers = [Marker::new_zeroed(); 2];
        for (marker, at) in markers.iter_mut().zip([at, at + 2 * SECTOR]) {
            disk.read_padded(at, marker.as_mut_bytes())?;
        }
        let footer = Self::read(disk, at + SECTOR)?;
        let [before, after] = markers;
        let is_sound = footer.magic == HOSTED_MAGIC
            && (before.len.get(), before.kind.get()) == (0, FOOTER)
            && after.as_bytes().iter().all(|&byte| byte == 0);
        if is_sound { Ok(footer) } else { Err(invalid()) }
    }

    /// Sectors that a grain table tells of.
    fn table_span(&self) -> u32 {
        u64::from(self.table_len.get()).wrapping_mul(self.grain.get()) as u32
    }

    /// How many grain tables there are; what no such extent has is refused.
    pub(super) fn tables(&self, file_len: u64) -> Result<u64> {
        if self.table_len.get() > MAX_TABLE {
            return Err(Error::invalid("L2 table size too big"));
        }
        let span = u64::from(self.table_span());
        if span == 0 {
            return Err(Error::invalid("L1 entry size is invalid"));
        }
        let overhead = self.overhead.get();
        if file_len.div_ceil(SECTOR) < overhead {
            let bytes = overhead.wrapping_mul(SECTOR).cast_signed();
            return Err(Error::invalid(format!("File truncated, expecting at least {bytes} bytes")));
        }
        Ok(u64::from((self.capacity.get().wrapping_add(span - 1) / span) as u32))
    }
}

/// What stands in a stream before something else than a grain (Virtual Disk Format 1.1, "Markers").
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Marker {
    sectors: U64,
    len: U32,
    kind: U32,
}

/// The header of an extent of ESX Server (Virtual Disk Format 1.1, "ESX Server Sparse Extent Header"); offsets
/// and sizes are in sectors.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Cowd {
    pub(super) magic: [u8; 4],
    pub(super) version: U32,
    pub(super) flags: U32,
    /// Of the disk.
    pub(super) capacity: U32,
    pub(super) grain: U32,
    pub(super) directory_at: U32,
    /// Entries of the directory.
    pub(super) tables: U32,
    /// Where the next grain goes.
    pub(super) next_free: U32,
}

/// Where [`Cowd::next_free`] is.
pub(super) const NEXT_FREE_OFFSET: u64 = std::mem::offset_of!(Cowd, next_free) as u64;

/// Entries in a grain table of ESX Server.
pub(super) const COWD_TABLE: u64 = 4096;

impl Cowd {
    pub(super) fn read(disk: &dyn Disk) -> Result<Self> {
        let mut header = Self::new_zeroed();
        disk.read_padded(0, header.as_mut_bytes())?;
        Ok(header)
    }
}
