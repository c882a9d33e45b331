//! The disk that a differencing one stands on: what its file is called.

use journal::Disk;

use super::header::{RawHeader, RawLocator};
use crate::windows_name::{base_name, decode, decode_bytes, with_slashes};
use crate::{BackingReference, Error, Format, Result};

/// A name relative to the differencing disk, in UTF-16.
const RELATIVE: [u8; 4] = *b"W2ru";
/// An absolute name on a Windows machine, in UTF-16.
const ABSOLUTE: [u8; 4] = *b"W2ku";
/// Longer names are not read, in bytes.
const MAX_NAME: u32 = 4096;

/// The parent, as the header and its locators name it (VHD specification, "Parent Locators").
///
/// An absolute name means nothing here: the file is looked for beside the image.
pub(super) fn reference(disk: &dyn Disk, header: &RawHeader) -> Result<BackingReference> {
    let relative = locator(disk, header, RELATIVE)?.map(|name| with_slashes(&name));
    let name = match relative {
        Some(name) => Some(name),
        None => match locator(disk, header, ABSOLUTE)? {
            Some(name) => Some(base_name(&name)),
            None => Some(base_name(&decode(header.parent_name.iter().map(|unit| unit.get())))),
        },
    };
    let name = name.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Error::corrupt("The differencing disk does not name its parent"))?;
    Ok(BackingReference { name: name.into_bytes(), format: Some(Format::Vpc.name().to_owned()) })
}

fn locator(disk: &dyn Disk, header: &RawHeader, code: [u8; 4]) -> Result<Option<String>> {
    let is_usable =
        |locator: &&RawLocator| locator.code == code && (2..=MAX_NAME).contains(&locator.length.get());
    let Some(locator) = header.locators.iter().find(is_usable) else { return Ok(None) };
    let mut bytes = vec![0; locator.length.get() as usize];
    if disk.read_at(locator.offset.get(), &mut bytes)? < bytes.len() {
        return Err(Error::corrupt("The name of the parent lies beyond the end of the file"));
    }
    Ok(Some(decode_bytes(&bytes)))
}
