//! The snapshot table.

use journal::Disk;
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::extension::until_nul;
use super::header::TableLocation;
use crate::error::ResultExt;
use crate::shown::shown_bytes;
use crate::{Error, ErrorKind, HostOffset, Result, SnapshotInfo};

/// Most extra data of one snapshot, in bytes.
const MAX_EXTRA: u32 = 1024;
/// Largest snapshot table: 64 Ki snapshots of 1 KiB.
pub const MAX_TABLE: u64 = 64 << 20;

/// The fixed part of a snapshot table entry. Extra data, id and name follow; the next entry
/// starts on a multiple of 8.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawSnapshot {
    /// Where the snapshot's L1 table starts, cluster-aligned.
    l1_offset: U64,
    /// Entries of the L1 table.
    l1_size: U32,
    /// Bytes of the id.
    id_size: U16,
    /// Bytes of the name.
    name_size: U16,
    /// When it was taken: seconds since 1970.
    date_seconds: U32,
    /// When it was taken: nanoseconds within the second.
    date_nanoseconds: U32,
    /// Guest clock in nanoseconds.
    vm_clock: U64,
    /// Bytes of saved machine state, if they fit into 32 bits.
    vm_state_size: U32,
    /// Bytes of extra data.
    extra_size: U32,
}

/// The extra data that is known; an entry may have less of it, or more.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawExtra {
    /// Bytes of saved machine state.
    vm_state_size: U64,
    /// Bytes of the virtual disk when the snapshot was taken.
    disk_size: U64,
    /// Instruction count, or all ones.
    icount: U64,
}

const _: () = assert!(size_of::<RawSnapshot>() == 40);
const _: () = assert!(size_of::<RawExtra>() == 24);

/// An internal snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What a person is told of it.
    pub info: SnapshotInfo,
    /// Its L1 table as the entry says, not validated.
    pub l1: TableLocation,
    /// Bytes of extra data that the entry has.
    pub extra_size: u32,
    /// Extra data that this program does not know.
    pub unknown_extra: Vec<u8>,
    /// The id, byte for byte, at most 65535 of them.
    pub id: Vec<u8>,
    /// The name, byte for byte, at most 65535 of them.
    pub name: Vec<u8>,
}

impl Snapshot {
    /// Whether the entry has all that version 3 demands.
    pub fn is_complete(&self) -> bool {
        self.extra_size >= 16
    }
}

/// A snapshot table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotTable {
    /// The snapshots, in the table's order.
    pub snapshots: Vec<Snapshot>,
    /// Bytes of the table.
    pub len: u64,
}

/// More than a snapshot table may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// An entry has so many bytes of extra data.
    ExtraData {
        /// The entry's number.
        number: u32,
        /// The bytes.
        bytes: u32,
    },
    /// The table would be too long with the last so many entries.
    Entries(u32),
}

impl Excess {
    /// The limit of [`Excess::ExtraData`] in bytes.
    pub const MAX_EXTRA_DATA: u32 = MAX_EXTRA;

    /// Why a table with it cannot be used.
    fn refused(self) -> Error {
        let (text, hint) = match self {
            Self::ExtraData { number, .. } => (
                format!("Too much extra metadata in snapshot table entry {number}"),
                "You can force-remove this extra metadata with qemu-img check -r all".to_owned(),
            ),
            Self::Entries(left) => (
                "Snapshot table is too big".to_owned(),
                format!("You can force-remove all {left} overhanging snapshots with qemu-img check -r all"),
            ),
        };
        Error::new(ErrorKind::TooLarge, text).with_hint(hint)
    }
}

/// Reads the snapshot table, whose place and count have passed the header's door.
///
/// `disk_size` stands in for entries that do not say how large the disk was.
pub fn read_table(disk: &dyn Disk, location: TableLocation, disk_size: u64) -> Result<SnapshotTable> {
    read_within_limits(disk, location, disk_size, &mut |excess| Err(excess.refused()))
}

/// The same for a repair: what is too much is told, and left out.
pub fn read_table_for_repair(
    disk: &dyn Disk,
    location: TableLocation,
    disk_size: u64,
    tell: &mut dyn FnMut(Excess),
) -> Result<SnapshotTable> {
    read_within_limits(disk, location, disk_size, &mut |excess| {
        tell(excess);
        Ok(())
    })
}

/// Decides about what is too much: `Ok` leaves it out.
type OnExcess<'a> = dyn FnMut(Excess) -> Result<()> + 'a;

fn read_within_limits(
    disk: &dyn Disk,
    location: TableLocation,
    disk_size: u64,
    on_excess: &mut OnExcess<'_>,
) -> Result<SnapshotTable> {
    let mut table = SnapshotTable::default();
    for number in 0..location.count {
        let start = table.len.next_multiple_of(8);
        let (snapshot, len) = read_entry(disk, location.offset + start, number, disk_size, on_excess)?;
        if start + len > MAX_TABLE {
            on_excess(Excess::Entries(location.count - number))?;
            break;
        }
        table.len = start + len;
        table.snapshots.push(snapshot);
    }
    Ok(table)
}

/// Reads the entry at an offset; returns it with its length.
fn read_entry(
    disk: &dyn Disk,
    at: HostOffset,
    number: u32,
    disk_size: u64,
    on_excess: &mut OnExcess<'_>,
) -> Result<(Snapshot, u64)> {
    let mut raw = RawSnapshot::read_from_bytes(&[0; size_of::<RawSnapshot>()]).map_err(|_| torn())?;
    read(disk, at.0, raw.as_mut_bytes())?;
    let stored_extra = raw.extra_size.get();
    let mut extra_size = stored_extra;
    if extra_size > MAX_EXTRA {
        on_excess(Excess::ExtraData { number, bytes: extra_size })?;
        extra_size = size_of::<RawExtra>() as u32;
    }
    let mut extra = vec![0; extra_size as usize];
    let extra_at = at.0 + size_of::<RawSnapshot>() as u64;
    read(disk, extra_at, &mut extra)?;
    let (id_size, name_size) = (usize::from(raw.id_size.get()), usize::from(raw.name_size.get()));
    let mut names = vec![0; id_size + name_size];
    let names_at = extra_at + u64::from(stored_extra);
    read(disk, names_at, &mut names)?;
    let (id, name) = names.split_at(id_size);
    let snapshot = Snapshot {
        info: describe(&raw, &extra, id, name, disk_size),
        l1: TableLocation { offset: HostOffset(raw.l1_offset.get()), count: raw.l1_size.get() },
        extra_size,
        unknown_extra: extra.get(size_of::<RawExtra>()..).unwrap_or_default().to_vec(),
        id: id.to_vec(),
        name: name.to_vec(),
    };
    Ok((snapshot, names_at + names.len() as u64 - at.0))
}

impl SnapshotTable {
    /// The table as bytes, every entry complete.
    pub fn serialize(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for snapshot in &self.snapshots {
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            snapshot.append_to(&mut bytes);
        }
        bytes
    }
}

impl Snapshot {
    fn append_to(&self, bytes: &mut Vec<u8>) {
        let info = &self.info;
        let extra = RawExtra {
            vm_state_size: info.vm_state_size.into(),
            disk_size: info.disk_size.into(),
            icount: info.icount.unwrap_or(u64::MAX).into(),
        };
        let raw = RawSnapshot {
            l1_offset: self.l1.offset.0.into(),
            l1_size: self.l1.count.into(),
            id_size: (self.id.len() as u16).into(),
            name_size: (self.name.len() as u16).into(),
            date_seconds: info.date_seconds.into(),
            date_nanoseconds: info.date_nanoseconds.into(),
            vm_clock: info.vm_clock_nanoseconds.into(),
            // What does not fit stands in the extra data alone.
            vm_state_size: u32::try_from(info.vm_state_size).unwrap_or(0).into(),
            extra_size: ((size_of::<RawExtra>() + self.unknown_extra.len()) as u32).into(),
        };
        for part in [raw.as_bytes(), extra.as_bytes(), &self.unknown_extra, &self.id, &self.name] {
            bytes.extend_from_slice(part);
        }
    }
}

/// The id that QEMU gives the next snapshot: one more than the highest number that an id begins
/// with.
pub fn next_id(snapshots: &[Snapshot]) -> String {
    let highest = snapshots.iter().map(|snapshot| leading_number(&snapshot.info.id)).max().unwrap_or(0);
    highest.wrapping_add(1).to_string()
}

/// The number that a text begins with, as C's `strtoul` reads it; 0 if there is none.
fn leading_number(text: &str) -> u64 {
    let text = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.bytes().map_while(|byte| (byte as char).to_digit(10));
    let value =
        digits.map(u64::from).try_fold(0_u64, |value, digit| value.checked_mul(10)?.checked_add(digit));
    match value {
        Some(value) if negative => value.wrapping_neg(),
        Some(value) => value,
        None => u64::MAX,
    }
}

fn describe(raw: &RawSnapshot, extra: &[u8], id: &[u8], name: &[u8], disk_size: u64) -> SnapshotInfo {
    let word = |at: usize| {
        U64::read_from_prefix(extra.get(at..).unwrap_or_default()).ok().map(|(word, _)| word.get())
    };
    let text = |bytes| shown_bytes(until_nul(bytes));
    SnapshotInfo {
        id: text(id),
        name: text(name),
        vm_state_size: word(0).unwrap_or(u64::from(raw.vm_state_size.get())),
        date_seconds: raw.date_seconds.get(),
        date_nanoseconds: raw.date_nanoseconds.get(),
        vm_clock_nanoseconds: raw.vm_clock.get(),
        icount: word(16).filter(|&count| count != u64::MAX),
        disk_size: word(8).unwrap_or(disk_size),
    }
}

fn read(disk: &dyn Disk, at: u64, buf: &mut [u8]) -> Result<()> {
    disk.read_padded(at, buf).context(|| "Failed to read snapshot table".to_owned())
}

fn torn() -> Error {
    Error::corrupt("Failed to read snapshot table")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_c_reads_numbers() {
        let cases = [
            ("", 0),
            ("7", 7),
            (" \t+12abc", 12),
            ("abc", 0),
            ("-1", u64::MAX),
            ("99999999999999999999", u64::MAX),
            ("-99999999999999999999", u64::MAX),
        ];
        for (text, number) in cases {
            assert_eq!(leading_number(text), number, "{text}");
        }
    }
}
