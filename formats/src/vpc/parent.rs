//! The disk that a differencing one stands on: what its file is called.

use journal::Disk;

use super::header::{RawHeader, RawLocator};
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
    let units = bytes.chunks_exact(2).filter_map(|unit| unit.try_into().ok().map(u16::from_le_bytes));
    Ok(Some(decode(units)))
}

/// Text up to its first zero.
fn decode(units: impl Iterator<Item = u16>) -> String {
    let units = units.take_while(|&unit| unit != 0);
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

fn with_slashes(name: &str) -> String {
    let name = name.replace('\\', "/");
    name.strip_prefix("./").map(str::to_owned).unwrap_or(name)
}

fn base_name(name: &str) -> String {
    name.rsplit(['\\', '/']).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_what_only_windows_understands() {
        assert_eq!(with_slashes(r".\base.vhd"), "base.vhd");
        assert_eq!(with_slashes(r"..\disks\base.vhd"), "../disks/base.vhd");
        assert_eq!(base_name(r"C:\disks\base.vhd"), "base.vhd");
        assert_eq!(base_name("base.vhd"), "base.vhd");
        assert_eq!(decode("base\0rest".encode_utf16()), "base");
    }
}
