//! New VPC images.

use std::sync::Arc;
use std::time::SystemTime;

use journal::{Access, Disk};
use zerocopy::IntoBytes;

use super::blocks::Blocks;
use super::footer::{EPOCH, FOOTER_SIZE, NewFooter, RawFooter};
use super::geometry::{SizeIn, of_new_disk};
use super::header::{HEADER_SIZE, Header};
use super::{Layout, Vpc};
use crate::create::{CreateOptions, Preallocation, grow};
use crate::{Driver, Error, Result, uuid};

/// Where a new dynamic disk has its header.
const HEADER_AT: u64 = FOOTER_SIZE;
/// Where it has its table.
const TABLE_AT: u64 = HEADER_AT + HEADER_SIZE;

/// Lays out an image in an empty file.
pub(super) fn create(options: &CreateOptions, disk: Arc<dyn Disk>) -> Result<Box<dyn Driver>> {
    let header_at = match options.text("subformat") {
        None | Some(b"dynamic") => Some(HEADER_AT),
        Some(b"fixed") => None,
        Some(other) => {
            let other = String::from_utf8_lossy(other);
            return Err(Error::invalid(format!("Parameter 'subformat' does not accept value '{other}'")));
        }
    };
    let told = if options.flag("force_size") { SizeIn::Bytes } else { SizeIn::Geometry };
    let (geometry, size) = of_new_disk(options.size().unwrap_or(0), told)?;
    let timestamp = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_secs().saturating_sub(EPOCH));
    // The format's time ends in 2136, and begins anew.
    let new =
        NewFooter { header_at, size, geometry, told, timestamp: timestamp as u32, uuid: uuid::random() };
    let footer = RawFooter::new(&new);
    let layout = match header_at {
        Some(_) => Layout::Dynamic(lay_out_dynamic(&disk, &footer, size)?),
        None => {
            grow(&*disk, size + FOOTER_SIZE, Preallocation::Off)?;
            disk.write_at(size, footer.as_bytes())?;
            Layout::Fixed { room: size }
        }
    };
    let in_place = disk.in_place().unwrap_or_else(|| Arc::clone(&disk));
    Ok(Box::new(Vpc { footer, size, layout, parent: None, disk, in_place, access: Access::Write }))
}

fn lay_out_dynamic(disk: &Arc<dyn Disk>, footer: &RawFooter, size: u64) -> Result<Blocks> {
    let header = Header::new(size, TABLE_AT);
    disk.write_at(0, footer.as_bytes())?;
    disk.write_at(HEADER_AT, header.to_raw().as_bytes())?;
    let room = header.table_end() - TABLE_AT;
    // The largest disk's table has 4 MiB.
    disk.write_at(TABLE_AT, &vec![0xff; room as usize])?;
    disk.write_at(header.table_end(), footer.as_bytes())?;
    Blocks::open(header, disk)
}
