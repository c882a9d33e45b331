//! New VDI images.

use std::sync::Arc;

use journal::{Access, Disk};
use zerocopy::IntoBytes;
use zerocopy::little_endian::U32;

use super::Vdi;
use super::header::{Header, TABLE_OFFSET, UNALLOCATED};
use crate::create::CreateOptions;
use crate::paged_table::PAGE_ENTRIES;
use crate::raw::sectors;
use crate::{Driver, OpenFlags, Result, uuid};

/// Lays out an image in an empty file.
pub(super) fn create(options: &CreateOptions, disk: Arc<dyn Disk>) -> Result<Box<dyn Driver>> {
    let header = Header::new(options.size().unwrap_or(0), options.flag("static"))?;
    disk.write_at(0, &header.to_bytes(uuid::to_guid(uuid::random()), uuid::to_guid(uuid::random())))?;
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
