//! The snapshot table.

use journal::Disk;
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::extension::until_nul;
use super::header::TableLocation;
use crate::error::ResultExt;
use crate::{Error, ErrorKind, HostOffset, Result, SnapshotInfo};

/// Most extra data of one snapshot, in bytes.
const MAX_EXTRA: u32 = 1024;
/// Largest snapshot table: 64 Ki snapshots of 1 KiB.
const MAX_TABLE: u64 = 64 << 20;

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

/// Reads the snapshot table, whose place and count have passed the header's door.
///
/// `disk_size` stands in for entries that do not say how large the disk was.
pub fn read_table(disk: &dyn Disk, location: TableLocation, disk_size: u64) -> Result<SnapshotTable> {
    let mut table = SnapshotTable::default();
    for number in 0..location.count {
        let start = table.len.next_multiple_of(8);
        let (snapshot, len) = read_entry(disk, location.offset + start, number, disk_size)?;
        table.len = start + len;
        if table.len > MAX_TABLE {
            let left = location.count - number;
            return Err(Error::new(ErrorKind::TooLarge, "Snapshot table is too big").with_hint(format!(
                "You can force-remove all {left} overhanging snapshots with qemu-img check -r all"
            )));
        }
        table.snapshots.push(snapshot);
    }
    Ok(table)
}

/// Reads the entry at an offset; returns it with its length.
fn read_entry(disk: &dyn Disk, at: HostOffset, number: u32, disk_size: u64) -> Result<(Snapshot, u64)> {
    let mut raw = RawSnapshot::read_from_bytes(&[0; size_of::<RawSnapshot>()]).map_err(|_| torn())?;
    read(disk, at.0, raw.as_mut_bytes())?;
    let extra_size = raw.extra_size.get();
    if extra_size > MAX_EXTRA {
        let text = format!("Too much extra metadata in snapshot table entry {number}");
        return Err(Error::new(ErrorKind::TooLarge, text)
            .with_hint("You can force-remove this extra metadata with qemu-img check -r all"));
    }
    let (id_size, name_size) = (usize::from(raw.id_size.get()), usize::from(raw.name_size.get()));
    let mut tail = vec![0; extra_size as usize + id_size + name_size];
    read(disk, at.0 + size_of::<RawSnapshot>() as u64, &mut tail)?;
    let (extra, names) = tail.split_at(extra_size as usize);
    let (id, name) = names.split_at(id_size);
    let snapshot = Snapshot {
        info: describe(&raw, extra, id, name, disk_size),
        l1: TableLocation { offset: HostOffset(raw.l1_offset.get()), count: raw.l1_size.get() },
        extra_size,
        unknown_extra: extra.get(size_of::<RawExtra>()..).unwrap_or_default().to_vec(),
    };
    Ok((snapshot, (size_of::<RawSnapshot>() + tail.len()) as u64))
}

fn describe(raw: &RawSnapshot, extra: &[u8], id: &[u8], name: &[u8], disk_size: u64) -> SnapshotInfo {
    let word = |at: usize| {
        U64::read_from_prefix(extra.get(at..).unwrap_or_default()).ok().map(|(word, _)| word.get())
    };
    let text = |bytes| String::from_utf8_lossy(until_nul(bytes)).into_owned();
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
