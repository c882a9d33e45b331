//! New QED images.

use std::sync::Arc;

use journal::{Access, Disk};

use super::Qed;
use super::header::{HEADER_LEN, Header};
use crate::create::CreateOptions;
use crate::{BackingReference, Driver, OpenFlags, Result};

/// Lays out an image in an empty file.
pub(super) fn create(options: &CreateOptions, disk: Arc<dyn Disk>) -> Result<Box<dyn Driver>> {
    let size = options.size().unwrap_or(0);
    let header = Header::new(size, options.number("cluster_size"), options.number("table_size"))?;
    let reference = options.text("backing_file").map(|name| BackingReference {
        name: name.to_vec(),
        format: options.text("backing_fmt").map(|format| String::from_utf8_lossy(format).into_owned()),
    });
    let header = header.over(reference.as_ref())?;
    disk.write_at(0, header.bytes())?;
    if let Some(reference) = &reference {
        disk.write_at(HEADER_LEN, &reference.name)?;
    }
    disk.set_len(header.file_size)?;
    let flags = OpenFlags { access: Access::Write, ..OpenFlags::READ };
    Ok(Box::new(Qed::new(header, reference, disk, flags)))
}
