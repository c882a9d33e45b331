//! The batmap of Xen's disks: blocks all of whose sectors are in use, so that their bitmaps need not be read.
//!
//! ```text
//!   footer │ header │ table │ batmap's header │ batmap │ (bitmap │ block)… │ footer
//! ```
//!
//! It is a hint. One that contradicts itself or its surroundings is none, and whatever is set is what Xen
//! would read, too.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use journal::Disk;
use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::footer::RawFooter;
use super::header::Header;
use crate::Result;
use crate::paged_table::PagedTable;
use crate::raw::{SECTOR, sectors};
use crate::sector_bitmap::FirstBit;

const COOKIE: [u8; 8] = *b"tdbatmap";
/// The newest version.
const NEWEST: u32 = 0x0001_0002;
/// The version whose checksum adds bytes with their signs.
const SIGNED: u32 = 0x0001_0001;
/// Bytes that are added up at a time.
const STEP: u64 = 64 << 10;

/// The batmap's header as it is in the file (Xen, `libvhd.h`), on the first sector behind the table.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawBatmap {
    cookie: [u8; 8],
    /// Where the map is in the file.
    offset: U64,
    /// Its sectors.
    sectors: U32,
    version: U32,
    /// The one's complement of the sum of the map's bytes.
    checksum: U32,
}

/// Where the checksum is in the header.
const CHECKSUM: u64 = std::mem::offset_of!(RawBatmap, checksum) as u64;

/// A batmap.
#[derive(Debug)]
pub(super) struct Batmap {
    in_place: Arc<dyn Disk>,
    /// Where its header is.
    header_at: u64,
    /// Where it ends.
    pub(super) end: u64,
    version: u32,
    map: PagedTable<u8>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The sum of its bytes.
    sum: u32,
    is_changed: bool,
}

impl Batmap {
    /// The batmap of a disk whose first block is there, if it has one.
    pub(super) fn find(
        footer: &RawFooter,
        header: &Header,
        first_block: u64,
        in_place: &Arc<dyn Disk>,
    ) -> Result<Option<Self>> {
        if !footer.is_by_xen() {
            return Ok(None);
        }
        let header_at = header.table_offset.saturating_add(sectors(u64::from(header.entries) * 4));
        let mut raw = RawBatmap::new_zeroed();
        in_place.read_padded(header_at, raw.as_mut_bytes())?;
        let (start, len) = (raw.offset.get(), u64::from(raw.sectors.get()) * SECTOR);
        let Some(end) = start.checked_add(len) else { return Ok(None) };
        let needed = u64::from(header.entries).div_ceil(8).next_multiple_of(SECTOR);
        let is_placed = start >= header_at + SECTOR && end <= first_block.min(in_place.len()?);
        let version = raw.version.get();
        if raw.cookie != COOKIE || version > NEWEST || !is_placed || !(1..=needed).contains(&len) {
            return Ok(None);
        }
        let sum = sum(&**in_place, start, end, version)?;
        if !sum != raw.checksum.get() {
            return Ok(None);
        }
        let map = PagedTable::new(Arc::clone(in_place), start, len);
        let state = Mutex::new(State { sum, is_changed: false });
        Ok(Some(Self { in_place: Arc::clone(in_place), header_at, end, version, map, state }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all sectors of a block are in use.
    pub(super) fn is_full(&self, block: u64) -> Result<bool> {
        let byte = block / 8;
        Ok(byte < self.map.count() && self.map.get(byte)? & FirstBit::Highest.mask(block) != 0)
    }

    /// Says of a block that its bitmap must be read.
    pub(super) fn forget(&self, block: u64) -> Result<()> {
        if self.is_full(block)? {
            let byte = self.map.get(block / 8)?;
            self.set(block / 8, byte & !FirstBit::Highest.mask(block))?;
        }
        Ok(())
    }

    /// Says that of all blocks.
    pub(super) fn forget_all(&self) -> Result<()> {
        for byte in 0..self.map.count() {
            if self.map.get(byte)? != 0 {
                self.set(byte, 0)?;
            }
        }
        Ok(())
    }

    fn set(&self, place: u64, byte: u8) -> Result<()> {
        let old = self.map.get(place)?;
        self.map.set_spilling(place, byte)?;
        let mut state = self.state();
        state.sum =
            state.sum.wrapping_sub(weight(old, self.version)).wrapping_add(weight(byte, self.version));
        state.is_changed = true;
        Ok(())
    }

    /// Writes what was changed.
    pub(super) fn flush(&self) -> Result<()> {
        let mut state = self.state();
        if std::mem::take(&mut state.is_changed) {
            self.map.flush()?;
            self.in_place.write_at(self.header_at + CHECKSUM, U32::new(!state.sum).as_bytes())?;
        }
        Ok(())
    }
}

/// What a byte adds to the checksum.
fn weight(byte: u8, version: u32) -> u32 {
    match version {
        SIGNED => i32::from(byte.cast_signed()).cast_unsigned(),
        _ => byte.into(),
    }
}

fn sum(disk: &dyn Disk, start: u64, end: u64, version: u32) -> Result<u32> {
    let mut sum = 0_u32;
    let mut at = start;
    let mut buffer = vec![0; STEP.min(end - start) as usize];
    while at < end {
        let bytes = &mut buffer[..STEP.min(end - at) as usize];
        disk.read_padded(at, bytes)?;
        sum = bytes.iter().fold(sum, |sum, &byte| sum.wrapping_add(weight(byte, version)));
        at += bytes.len() as u64;
    }
    Ok(sum)
}
