//! The first sectors: the partition table, and the filesystem's own.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::layout::{CLUSTER_SECTORS, FatType, Layout, Medium, ROOT_ENTRIES};
use crate::raw::SECTOR;

/// What the disk calls itself.
const DISK_ID: u32 = 0xbe1a_fdfa;
/// What the filesystem calls itself.
const VOLUME_ID: u32 = 0xfabe_1afd;
const MAGIC: [u8; 2] = [0x55, 0xaa];
const BOOTABLE: u8 = 0x80;
/// The first hard disk, as the firmware knows it.
const FIRST_HARD_DISK: u8 = 0x80;
const EXTENDED_SIGNATURE: u8 = 0x29;

/// A sector's place as old firmware has it: cylinder, head and sector.
#[derive(Debug, FromZeros, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Place {
    head: u8,
    /// Counted from 1; above it two bits of the cylinder.
    sector: u8,
    cylinder: u8,
}

/// A partition's entry in the table.
#[derive(Debug, FromZeros, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Partition {
    attributes: u8,
    start: Place,
    /// The filesystem in it.
    kind: u8,
    end: Place,
    first_sector: U32,
    sectors: U32,
}

/// The disk's first sector.
#[derive(Debug, FromZeros, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct MasterBootRecord {
    code: [u8; 440],
    disk_id: U32,
    unused: [u8; 2],
    partitions: [Partition; 4],
    magic: [u8; 2],
}

/// The filesystem's first sector (FAT specification 3.1 and 3.2; of FAT32, too, QEMU has this).
#[derive(Debug, FromZeros, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BootSector {
    jump: [u8; 3],
    /// Who has made it.
    maker: [u8; 8],
    sector_size: U16,
    cluster_sectors: u8,
    reserved_sectors: U16,
    fats: u8,
    root_entries: U16,
    /// All sectors, if 16 bits can tell.
    sectors_short: U16,
    media: u8,
    sectors_per_fat: U16,
    track: U16,
    heads: U16,
    /// Sectors before the partition.
    hidden: U32,
    /// All sectors, if 16 bits cannot tell.
    sectors: U32,
    drive: u8,
    reserved: u8,
    signature: u8,
    volume_id: U32,
    label: [u8; 11],
    kind: [u8; 8],
    code: [u8; 448],
    magic: [u8; 2],
}

const _: () = assert!(size_of::<MasterBootRecord>() == SECTOR as usize);
const _: () = assert!(size_of::<BootSector>() == SECTOR as usize);

/// What tells a hard disk from a floppy disk, in the boot sector and in the table's first byte.
pub(super) fn media(medium: Medium) -> u8 {
    match medium {
        Medium::HardDisk => 0xf8,
        Medium::Floppy => 0xf0,
    }
}

/// All sectors before the first table.
pub(super) fn first_sectors(layout: &Layout, label: [u8; 11]) -> Vec<u8> {
    let mut sectors = vec![0; layout.fat_start() as usize * SECTOR as usize];
    if layout.medium == Medium::HardDisk {
        sectors[..SECTOR as usize].copy_from_slice(partition_table(layout).as_bytes());
    }
    let boot_sector = layout.boot_sector() as usize * SECTOR as usize;
    sectors[boot_sector..].copy_from_slice(boot(layout, label).as_bytes());
    sectors
}

fn partition_table(layout: &Layout) -> MasterBootRecord {
    let mut table = MasterBootRecord::new_zeroed();
    table.disk_id = DISK_ID.into();
    table.partitions[0] = Partition {
        attributes: BOOTABLE,
        start: place(layout, layout.boot_sector()),
        kind: match layout.fat_type {
            FatType::Fat12 => 0x01,
            FatType::Fat16 => 0x06,
            FatType::Fat32 => 0x0b,
        },
        end: place(layout, layout.sectors() - 1),
        first_sector: layout.boot_sector().into(),
        sectors: layout.partition_sectors().into(),
    };
    table.magic = MAGIC;
    table
}

/// The place of a sector, all of which old firmware can reach.
fn place(layout: &Layout, sector: u32) -> Place {
    let (track, within) = (sector / layout.track, sector % layout.track);
    let (cylinder, head) = (track / layout.heads, track % layout.heads);
    Place {
        head: head as u8,
        sector: (within + 1) as u8 | ((cylinder >> 8) << 6) as u8,
        cylinder: (cylinder & 0xff) as u8,
    }
}

fn boot(layout: &Layout, label: [u8; 11]) -> BootSector {
    let sectors = layout.partition_sectors();
    let short = u16::try_from(sectors).unwrap_or(0);
    BootSector {
        jump: [0xeb, 0x3e, 0x90],
        maker: *b"MSWIN4.1",
        sector_size: (SECTOR as u16).into(),
        cluster_sectors: CLUSTER_SECTORS as u8,
        reserved_sectors: 1.into(),
        fats: 2,
        root_entries: (ROOT_ENTRIES as u16).into(),
        sectors_short: short.into(),
        media: media(layout.medium),
        sectors_per_fat: (layout.sectors_per_fat as u16).into(),
        track: (layout.track as u16).into(),
        heads: (layout.heads as u16).into(),
        hidden: layout.boot_sector().into(),
        sectors: if short == 0 { sectors } else { 0 }.into(),
        drive: if layout.medium == Medium::HardDisk { FIRST_HARD_DISK } else { 0 },
        reserved: 0,
        signature: EXTENDED_SIGNATURE,
        volume_id: VOLUME_ID.into(),
        label,
        kind: if layout.fat_type == FatType::Fat12 { *b"FAT12   " } else { *b"FAT16   " },
        code: [0; 448],
        magic: MAGIC,
    }
}
