//! New VDI images.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use journal::{Access, Disk};
use zerocopy::IntoBytes;
use zerocopy::little_endian::U32;

use super::Vdi;
use super::header::{Header, TABLE_OFFSET, UNALLOCATED};
use crate::create::{CreateOptions, Preallocation};
use crate::paged_table::PAGE_ENTRIES;
use crate::raw::sectors;
use crate::{Driver, Error, OpenFlags, Result};

/// Lays out an image in an empty file.
pub(super) fn create(options: &CreateOptions, disk: Arc<dyn Disk>) -> Result<Box<dyn Driver>> {
    // It is the file that is asked for that, and while it is empty.
    if Preallocation::from_options(options)? == Preallocation::Metadata {
        return Err(Error::unsupported("Unsupported preallocation mode: metadata"));
    }
    let header = Header::new(options.size().unwrap_or(0), options.flag("static"))?;
    disk.write_at(0, &header.to_bytes(new_uuid(), new_uuid()))?;
    write_table(&header, &*disk)?;
    let end = if header.is_static { header.host(header.blocks) } else { header.data_offset };
    disk.set_len(end)?;
    let flags = OpenFlags { access: Access::Write, ..OpenFlags::READ };
    Ok(Box::new(Vdi::open(disk, &flags)?))
}

fn write_table(header: &Header, disk: &dyn Disk) -> Result<()> {
    let mut first = 0;
    while first < header.blocks {
        let past = header.blocks.min(first.saturating_add(PAGE_ENTRIES as u32));
        let entry = |block| U32::new(if header.is_static { block } else { UNALLOCATED });
        let entries: Vec<U32> = (first..past).map(entry).collect();
        disk.write_at(TABLE_OFFSET + u64::from(first) * 4, entries.as_slice().as_bytes())?;
        first = past;
    }
    // What is left of the last sector is part of the table's room.
    let end = TABLE_OFFSET + u64::from(header.blocks) * 4;
    Ok(disk.set_len(sectors(end))?)
}

/// A random UUID, version 4.
fn new_uuid() -> [u8; 16] {
    let random = || RandomState::new().hash_one(std::process::id());
    let mut uuid = (u128::from(random()) << 64 | u128::from(random())).to_le_bytes();
    // The first three fields are stored with their low byte first.
    uuid[7] = uuid[7] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}
