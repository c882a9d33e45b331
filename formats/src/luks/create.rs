//! New volumes.

use std::sync::Arc;

use crypto::luks::Header;
use journal::{Access, Disk};

use super::header::HeaderFile;
use super::{AnyHeader, Luks};
use crate::create::{CreateOptions, Measurement, Preallocation, grow};
use crate::encryption::details::Placed;
use crate::encryption::options::Prefixed;
use crate::encryption::{Encryption, Numbering};
use crate::options::RawOptions;
use crate::raw::Raw;
use crate::{Error, OpenContext, Result};

/// "File too large", as the operating system numbers it.
const EFBIG: i32 = 27;

/// Lays out a new volume in an empty file, and opens it for writing.
pub(crate) fn lay_out(
    options: &CreateOptions,
    context: &OpenContext<'_>,
    disk: Arc<dyn Disk>,
) -> Result<Luks> {
    let luks = Prefixed { options, prefix: "" };
    let volume = luks.volume()?;
    if options.is_given("detached-header") {
        return Err(Error::invalid("Parameter 'detached-header' is unexpected"));
    }
    let preallocation = Preallocation::from_options(options)?;
    let passphrase = luks.passphrase(context)?;
    volume.check()?;
    let (header, key, material) = volume.make(passphrase.bytes())?;
    let offset = header.payload_offset;
    reserve(&*disk, offset, options.size().unwrap_or(0), preallocation)?;
    disk.write_at(0, &header.serialize())?;
    disk.write_at(material.offset, &material.bytes)?;
    let cipher = header.payload_cipher(&key)?;
    let raw = Raw::open(Arc::clone(&disk), &RawOptions { offset, ..RawOptions::default() }, Access::Write)?;
    Ok(Luks {
        header: AnyHeader::One(Box::new(HeaderFile::new(disk, header, Placed::Attached))),
        raw,
        encryption: Some(Encryption::new(cipher, Numbering::Guest)),
        passphrase: Some(passphrase),
        access: Access::Write,
    })
}

/// Gives the file its length.
fn reserve(disk: &dyn Disk, offset: u64, size: u64, preallocation: Preallocation) -> Result<()> {
    let too_large = || Error::invalid("The requested file size is too large");
    let len = size.checked_add(offset).filter(|&len| len <= i64::MAX as u64).ok_or_else(too_large)?;
    grow(disk, len, preallocation).map_err(|error| match error.os_code() {
        Some(EFBIG) => too_large(),
        _ => error.into(),
    })
}

/// How large the file of a new volume for so many bytes becomes.
pub(crate) fn measure(options: &CreateOptions, context: &OpenContext<'_>, size: u64) -> Result<Measurement> {
    let luks = Prefixed { options, prefix: "" };
    let volume = luks.volume()?;
    luks.passphrase(context)?;
    volume.check()?;
    let bytes = Header::attached_payload_offset(&volume.scheme)
        .checked_add(size)
        .ok_or_else(|| Error::invalid("The image size is too large"))?;
    Ok(Measurement { required: bytes, fully_allocated: bytes, bitmaps: None })
}
