//! Space-efficient sparse extents, as ESXi 6.5 and later make them for snapshots.
//!
//! VMware has published nothing of them; QEMU reads what is known to be understood, and so does this.

use journal::Disk;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::grains::Grain;
use crate::raw::SECTOR;
use crate::{Error, Result};

const CONST_MAGIC: u64 = 0xcafe_babe;
const VOLATILE_MAGIC: u64 = 0xcafe_cafe;
/// 2.1.
const VERSION: u64 = 0x0000_0002_0000_0001;
/// Sectors in a grain.
const GRAIN: u64 = 8;
/// Sectors in a grain table.
const TABLE: u64 = 64;
/// Entries in a grain table.
pub(super) const TABLE_ENTRIES: u64 = TABLE * SECTOR / size_of::<U64>() as u64;

/// The header that never changes; offsets and sizes are in sectors.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ConstHeader {
    magic: U64,
    version: U64,
    /// Of the disk.
    pub(super) capacity: U64,
    pub(super) grain: U64,
    table: U64,
    flags: U64,
    reserved: [U64; 4],
    volatile_at: U64,
    volatile_len: U64,
    journal_header_at: U64,
    journal_header_len: U64,
    journal_at: U64,
    journal_len: U64,
    pub(super) directory_at: U64,
    pub(super) directory_len: U64,
    pub(super) tables_at: U64,
    tables_len: U64,
    free_bitmap_at: U64,
    free_bitmap_len: U64,
    backmap_at: U64,
    backmap_len: U64,
    pub(super) grains_at: U64,
    grains_len: U64,
    padding: [u8; 304],
}

/// The header that changes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct VolatileHeader {
    magic: U64,
    free_table: U64,
    next_transaction: U64,
    /// Whether the journal must be replayed first.
    replay: U64,
    padding: [u8; 480],
}

const _: () = assert!(size_of::<ConstHeader>() == SECTOR as usize);
const _: () = assert!(size_of::<VolatileHeader>() == SECTOR as usize);

impl ConstHeader {
    /// Reads both headers; what is not understood of them is refused.
    pub(super) fn read(disk: &dyn Disk) -> Result<Self> {
        let mut header = Self::new_zeroed();
        disk.read_padded(0, header.as_mut_bytes())?;
        header.check()?;
        let mut volatile = VolatileHeader::new_zeroed();
        disk.read_padded(header.volatile_at.get().wrapping_mul(SECTOR), volatile.as_mut_bytes())?;
        volatile.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<()> {
        if self.magic.get() != CONST_MAGIC {
            return Err(Error::invalid(format!("Bad const header magic: {:#018x}", self.magic.get())));
        }
        let unsupported = |what: String| Err(Error::unsupported(format!("Unsupported {what}")));
        if self.version.get() != VERSION {
            return unsupported(format!("version: {:#018x}", self.version.get()));
        }
        if self.grain.get() != GRAIN {
            return unsupported(format!("grain size: {}", self.grain));
        }
        if self.table.get() != TABLE {
            return unsupported(format!("grain table size: {}", self.table));
        }
        if self.flags.get() != 0 {
            return unsupported(format!("flags: {:#018x}", self.flags.get()));
        }
        if self.reserved.iter().any(|word| word.get() != 0) {
            let [a, b, c, d] = self.reserved.map(U64::get);
            return unsupported(format!("reserved bits: {a:#018x} {b:#018x} {c:#018x} {d:#018x}"));
        }
        if self.padding.iter().any(|&byte| byte != 0) {
            return unsupported("non-zero const header padding".to_owned());
        }
        Ok(())
    }
}

impl VolatileHeader {
    fn check(&self) -> Result<()> {
        if self.magic.get() != VOLATILE_MAGIC {
            return Err(Error::invalid(format!("Bad volatile header magic: {:#018x}", self.magic.get())));
        }
        if self.replay.get() != 0 {
            return Err(Error::unsupported("Image is dirty, Replaying journal not supported"));
        }
        if self.padding.iter().any(|&byte| byte != 0) {
            return Err(Error::unsupported("Unsupported non-zero volatile header padding"));
        }
        Ok(())
    }
}

/// Where a directory's entry says that its grain table is, in bytes; `None` if there is none.
pub(super) fn table_at(entry: u64, tables_at: u64) -> Result<Option<u64>> {
    /// What the upper half of an entry of a table that is there is.
    const PRESENT: u64 = 0x1000_0000;
    if entry == 0 {
        return Ok(None);
    }
    let sector = (entry & 0xffff_ffff) * TABLE;
    let sector = sector.checked_add(tables_at).filter(|&sector| sector <= u64::from(u32::MAX));
    match sector {
        Some(sector) if entry >> 32 == PRESENT => Ok((sector != 0).then_some(sector * SECTOR)),
        _ => Err(super::io_error()),
    }
}

/// What an entry of a grain table says.
pub(super) fn grain(entry: u64, grains_at: u64) -> Result<Grain> {
    /// Twelve bits of the number stand above the other 48.
    const HIGH_BITS: u32 = 48;
    match entry >> 60 {
        0 if entry == 0 => Ok(Grain::Absent),
        // Given back by the guest, or zeroes.
        1 | 2 => Ok(Grain::Zero),
        3 => {
            let high = entry >> HIGH_BITS & 0xfff;
            let number = high | (entry & ((1 << HIGH_BITS) - 1)) << 12;
            let sector = number.checked_mul(GRAIN).and_then(|sectors| sectors.checked_add(grains_at));
            let bytes = sector.and_then(|sector| sector.checked_mul(SECTOR));
            match bytes {
                // No sector at all stands for no grain.
                Some(0) => Ok(Grain::Absent),
                Some(bytes) if bytes <= i64::MAX as u64 => Ok(Grain::At(bytes)),
                _ => Err(super::io_error()),
            }
        }
        _ => Err(super::io_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read() {
        assert_eq!(table_at(0, 5).unwrap(), None);
        assert_eq!(table_at(0x1000_0000_0000_0002, 5).unwrap(), Some((5 + 128) * SECTOR));
        assert!(table_at(2, 5).is_err() && table_at(0x1000_0001_0000_0002, 5).is_err());
        assert_eq!(grain(0, 9).unwrap(), Grain::Absent);
        assert_eq!((grain(1 << 60, 9).unwrap(), grain(2 << 60, 9).unwrap()), (Grain::Zero, Grain::Zero));
        let entry = 3 << 60 | 2 << 48 | 1;
        assert_eq!(grain(entry, 9).unwrap(), Grain::At((9 + (2 | 1 << 12) * GRAIN) * SECTOR));
        assert!(grain(1, 9).is_err() && grain(4 << 60, 9).is_err());
    }
}
