//! The disk that a differencing one stands on: what its file is called.

use journal::Disk;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Refusal;
use super::header::{Guid, guid};
use crate::windows_name::{base_name, decode_bytes, with_slashes};
use crate::{BackingReference, Format};

/// A parent that is a VHDX image, too.
const VHDX_PARENT: Guid = guid(0xb04a_efb7, 0xd19e, 0x4a81, 0xb789_25b8_e944_5913);
/// More than anybody has to say of a parent.
const MAX_ENTRIES: usize = 64;

/// A parent locator as it is in the file ([MS-VHDX] 2.6.2.6.1); the entries follow.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawLocator {
    kind: Guid,
    reserved: U16,
    count: U16,
}

/// A key and a value ([MS-VHDX] 2.6.2.6.2), counted from the locator's start.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawEntry {
    key_offset: U32,
    value_offset: U32,
    key_length: U16,
    value_length: U16,
}

/// The parent, as the locator at a place of the file names it.
pub(super) fn reference(disk: &dyn Disk, at: u64) -> Result<BackingReference, Refusal> {
    let mut locator = RawLocator::new_zeroed();
    disk.read_padded(at, locator.as_mut_bytes())?;
    let count = usize::from(locator.count.get());
    if locator.kind != VHDX_PARENT || count > MAX_ENTRIES {
        return Err(Refusal::Unsupported);
    }
    let mut entries = vec![RawEntry::new_zeroed(); count];
    disk.read_padded(at + size_of::<RawLocator>() as u64, entries.as_mut_slice().as_mut_bytes())?;
    let (mut relative, mut absolute) = (None, None);
    for entry in entries {
        let text = |offset: U32, length: U16| -> Result<String, Refusal> {
            let mut bytes = vec![0; usize::from(length.get())];
            disk.read_padded(at + u64::from(offset.get()), &mut bytes)?;
            Ok(decode_bytes(&bytes))
        };
        match text(entry.key_offset, entry.key_length)?.as_str() {
            "relative_path" => relative = Some(with_slashes(&text(entry.value_offset, entry.value_length)?)),
            "absolute_win32_path" => {
                absolute = Some(base_name(&text(entry.value_offset, entry.value_length)?));
            }
            _ => {}
        }
    }
    let name = relative.or(absolute).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Refusal::said("The differencing disk does not name its parent"))?;
    Ok(BackingReference { name: name.into_bytes(), format: Some(Format::Vhdx.name().to_owned()) })
}
