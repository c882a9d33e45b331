//! New VPC images.

use std::sync::Arc;
use std::time::SystemTime;

use journal::{Access, Disk};
use zerocopy::IntoBytes;

use super::blocks::Blocks;
use super::footer::{EPOCH, FOOTER_SIZE, Kind, NewFooter, RawFooter};
use super::geometry::{SizeIn, of_new_disk};
use super::header::{HEADER_SIZE, Header, RawHeader};
use super::parent::{NEW_ROOM, Parent};
use super::{Layout, Vpc};
use crate::create::{CreateOptions, Preallocation, grow};
use crate::differencing::NewParent;
use crate::raw::sectors;
use crate::registry::NewFiles;
use crate::{Driver, Error, Format, Result, uuid};

/// What Azure counts in.
const MIB: u64 = 1 << 20;
/// Where a new dynamic disk has its header.
const HEADER_AT: u64 = FOOTER_SIZE;
/// Where it has its table, or before that the name of its parent.
const TABLE_AT: u64 = HEADER_AT + HEADER_SIZE;

/// Lays out an image in an empty file.
pub(super) fn create(options: &CreateOptions, files: &mut dyn NewFiles) -> Result<Box<dyn Driver>> {
    let disk = files.begin(&files.target()?)?;
    let parent = NewParent::find(Format::Vpc, options, files)?;
    let kind = match options.text("subformat") {
        None | Some(b"dynamic") if parent.is_some() => Kind::Differencing,
        None | Some(b"dynamic") => Kind::Dynamic,
        Some(b"fixed") if parent.is_some() => {
            return Err(Error::invalid("A fixed disk does not stand on another"));
        }
        Some(b"fixed") => Kind::Fixed,
        Some(other) => {
            let other = String::from_utf8_lossy(other);
            return Err(Error::invalid(format!("Parameter 'subformat' does not accept value '{other}'")));
        }
    };
    let is_aligned = options.flag("align_mib");
    let wanted = options.size().unwrap_or(0);
    let wanted = if is_aligned { wanted.checked_next_multiple_of(MIB).unwrap_or(wanted) } else { wanted };
    // A differencing disk is as large as its parent, to the byte.
    if parent.as_ref().is_some_and(|parent| sectors(wanted) != sectors(parent.size)) {
        return Err(Error::invalid("A differencing disk has the size of the disk that it stands on"));
    }
    let is_told = options.flag("force_size") || is_aligned || parent.is_some();
    let told = if is_told { SizeIn::Bytes } else { SizeIn::Geometry };
    let (geometry, size) = of_new_disk(wanted, told)?;
    let timestamp = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_secs().saturating_sub(EPOCH));
    let header_at = (kind != Kind::Fixed).then_some(HEADER_AT);
    // The format's time ends in 2136, and begins anew.
    let timestamp = timestamp as u32;
    let new = NewFooter { kind, header_at, size, geometry, told, timestamp, uuid: uuid::random() };
    let footer = RawFooter::new(&new);
    let layout = match kind {
        Kind::Fixed => {
            grow(&*disk, size + FOOTER_SIZE, Preallocation::Off)?;
            disk.write_at(size, footer.as_bytes())?;
            Layout::Fixed { room: size }
        }
        Kind::Dynamic => {
            let header = Header::new(size, TABLE_AT).to_raw();
            Layout::Dynamic(Box::new(lay_out_blocks(&disk, &footer, &header, size)?))
        }
        Kind::Differencing => {
            let mut header = Header::new(size, TABLE_AT + NEW_ROOM).to_raw();
            if let Some(parent) = &parent {
                header.know(&parent.identity);
                let name = header.name(&parent.name, |_| TABLE_AT);
                disk.write_at(name.at, &name.bytes)?;
            }
            let blocks = lay_out_blocks(&disk, &footer, &header.sealed(), size)?;
            Layout::Dynamic(Box::new(blocks.over_parent()))
        }
    };
    let in_place = disk.in_place().unwrap_or_else(|| Arc::clone(&disk));
    let parent =
        parent.map(|parent| Parent { reference: parent.reference(Format::Vpc), uuid: parent.identity.id });
    Ok(Box::new(Vpc { footer, size_in: None, size, layout, parent, disk, in_place, access: Access::Write }))
}

fn lay_out_blocks(disk: &Arc<dyn Disk>, footer: &RawFooter, raw: &RawHeader, size: u64) -> Result<Blocks> {
    let header = Header::parse(raw, size)?;
    disk.write_at(0, footer.as_bytes())?;
    disk.write_at(HEADER_AT, raw.as_bytes())?;
    let room = header.table_end() - header.table_offset;
    // The largest disk's table has 4 MiB.
    disk.write_at(header.table_offset, &vec![0xff; room as usize])?;
    disk.write_at(header.table_end(), footer.as_bytes())?;
    Blocks::open(header, footer, disk)
}
