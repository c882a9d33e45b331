//! New qcow images.

use std::sync::Arc;

use journal::{Access, Disk, Zeroing};

use super::Qcow;
use super::header::{NewHeader, RawHeader};
use crate::create::CreateOptions;
use crate::encryption::options::Prefixed;
use crate::qcow2::encryption::NewEncryption;
use crate::raw::sectors;
use crate::registry::Source;
use crate::{Driver, Error, OpenContext, OpenFlags, Result};

/// Lays out an image in an empty file.
pub(crate) fn lay_out(
    options: &CreateOptions,
    context: &OpenContext<'_>,
    disk: Arc<dyn Disk>,
) -> Result<Box<dyn Driver>> {
    let encryption = NewEncryption::from_options(options)?;
    if matches!(encryption, Some(NewEncryption::Luks(_))) {
        return Err(Error::unsupported("Unsupported encryption format"));
    }
    let encrypt = Prefixed { options, prefix: "encrypt." };
    let passphrase = encryption.map(|_| encrypt.passphrase(context)).transpose()?;
    let new = NewHeader {
        size: sectors(options.size().unwrap_or(0)),
        backing: options.text("backing_file"),
        is_encrypted: encryption.is_some(),
    };
    let (header, bytes) = RawHeader::lay_out(new)?;
    disk.write_at(0, &bytes)?;
    let l1 = header.tables.l1_offset;
    disk.zero(l1..l1 + sectors(header.tables.l1_entries * 8), Zeroing::Keep)?;
    let flags = OpenFlags { access: Access::Write, ..OpenFlags::READ };
    let source = Source::alone(disk, &flags, "");
    let find = || passphrase.clone().ok_or_else(|| Error::invalid("No secret"));
    Ok(Box::new(Qcow::open(source, &find)?))
}
