//! New Parallels images.

use std::sync::Arc;

use journal::{Access, Disk, Zeroing};
use zerocopy::IntoBytes;

use super::header::{RawHeader, TABLE_OFFSET};
use super::{Behind, Parallels};
use crate::create::CreateOptions;
use crate::options::ParallelsOptions;
use crate::raw::SECTOR;
use crate::registry::Source;
use crate::{Driver, OpenFlags, Result};

/// Lays out an image in an empty file.
pub(super) fn create(options: &CreateOptions, disk: Arc<dyn Disk>) -> Result<Box<dyn Driver>> {
    let raw = RawHeader::new(options.size().unwrap_or(0), options.number("cluster_size").unwrap_or(0))?;
    let header = raw.parse("")?;
    let mut first = [0; SECTOR as usize];
    first[..TABLE_OFFSET as usize].copy_from_slice(raw.as_bytes());
    disk.write_at(0, &first)?;
    // The table, and what is left of its last cluster, has its space from the start.
    if header.data_offset > SECTOR {
        disk.zero(SECTOR..header.data_offset, Zeroing::Keep)?;
    }
    let flags = OpenFlags { access: Access::Write, ..OpenFlags::READ };
    let source = Source::alone(disk, &flags, "");
    Ok(Box::new(Parallels::open(source, &ParallelsOptions::default(), Behind::Nothing)?))
}
