//! The disk that a differencing one stands on: what its file is called, and which content it has.

use journal::Disk;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Refusal;
use super::header::{Guid, guid};
use crate::differencing::{NewParent, ParentChange};
use crate::windows_name::{WindowsName, absolute, decode_bytes, encode_bytes, with_slashes};
use crate::{BackingReference, DiskIdentity, Format, uuid};

/// A parent that is a VHDX image, too.
const VHDX_PARENT: Guid = guid(0xb04a_efb7, 0xd19e, 0x4a81, 0xb789_25b8_e944_5913);
/// More than anybody has to say of a parent.
const MAX_ENTRIES: usize = 64;

/// The parent's content: what its header has for it ([MS-VHDX] 2.6.2.6.3).
const LINKAGE: &str = "parent_linkage";
/// Another content that the parent may have.
const OTHER_LINKAGE: &str = "parent_linkage2";
/// The name of its file, relative to the image.
const RELATIVE: &str = "relative_path";
/// The name on a Windows machine.
const ABSOLUTE: &str = "absolute_win32_path";
/// The name on the same machine, whatever its drives are called.
const VOLUME: &str = "volume_path";

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

/// The disk that an image stands on.
#[derive(Debug)]
pub(super) struct Parent {
    /// What it is called.
    pub(super) reference: BackingReference,
    /// The contents that it may have, as they are written.
    linkages: Vec<String>,
}

impl Parent {
    /// Whether a disk is the parent, as far as can be told.
    pub(super) fn is(&self, identity: &DiskIdentity) -> bool {
        let found = linkage(identity.id);
        self.linkages.is_empty() || self.linkages.iter().any(|known| known.eq_ignore_ascii_case(&found))
    }
}

/// What an image says of its parent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Locator {
    /// Keys and values, in the file's order.
    entries: Vec<(String, String)>,
}

impl Locator {
    /// Reads what stands at a place of the file.
    pub(super) fn read(disk: &dyn Disk, at: u64) -> Result<Self, Refusal> {
        let mut locator = RawLocator::new_zeroed();
        disk.read_padded(at, locator.as_mut_bytes())?;
        let count = usize::from(locator.count.get());
        if locator.kind != VHDX_PARENT || count > MAX_ENTRIES {
            return Err(Refusal::Unsupported);
        }
        let mut raw = vec![RawEntry::new_zeroed(); count];
        let after = at.saturating_add(size_of::<RawLocator>() as u64);
        disk.read_padded(after, raw.as_mut_slice().as_mut_bytes())?;
        let text = |offset: U32, length: U16| -> Result<String, Refusal> {
            let mut bytes = vec![0; usize::from(length.get())];
            disk.read_padded(at.saturating_add(offset.get().into()), &mut bytes)?;
            Ok(decode_bytes(&bytes))
        };
        let mut entries = Vec::new();
        for entry in raw {
            let key = text(entry.key_offset, entry.key_length)?;
            entries.push((key, text(entry.value_offset, entry.value_length)?));
        }
        Ok(Self { entries })
    }

    /// What a new image says.
    pub(super) fn of(parent: NewParent) -> Self {
        let mut locator = Self::default();
        locator.apply(&ParentChange { name: Some(parent.name), identity: Some(parent.identity) });
        locator
    }

    /// Takes in a change.
    pub(super) fn apply(&mut self, change: &ParentChange) {
        if let Some(identity) = &change.identity {
            self.set(&[LINKAGE, OTHER_LINKAGE], LINKAGE, linkage(identity.id));
        }
        if let Some(name) = &change.name {
            let key = if matches!(name, WindowsName::Relative(_)) { RELATIVE } else { ABSOLUTE };
            self.set(&[RELATIVE, ABSOLUTE, VOLUME], key, name.text().to_owned());
        }
    }

    /// Puts an entry in the place of others.
    fn set(&mut self, others: &[&str], key: &str, value: String) {
        self.entries.retain(|(key, _)| !others.contains(&key.as_str()));
        self.entries.push((key.to_owned(), value));
    }

    fn find(&self, key: &str) -> Option<&str> {
        self.entries.iter().rev().find(|(other, _)| other == key).map(|(_, value)| value.as_str())
    }

    /// The parent.
    pub(super) fn parent(&self) -> Result<Parent, Refusal> {
        let linkages = [LINKAGE, OTHER_LINKAGE].into_iter().filter_map(|key| self.find(key));
        let linkages = linkages.map(|known| known.trim().to_owned()).collect();
        Ok(Parent { reference: self.reference()?, linkages })
    }

    /// The parent as it is named.
    fn reference(&self) -> Result<BackingReference, Refusal> {
        let relative = self.find(RELATIVE).map(with_slashes);
        let name = relative.or_else(|| self.find(ABSOLUTE).map(absolute)).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| Refusal::said("The differencing disk does not name its parent"))?;
        Ok(BackingReference { name: name.into_bytes(), format: Some(Format::Vhdx.name().to_owned()) })
    }

    /// The locator's bytes.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let table = size_of::<RawLocator>() + self.entries.len() * size_of::<RawEntry>();
        let (mut raw, mut texts) = (Vec::new(), Vec::new());
        for (key, value) in &self.entries {
            // Keys and values were read with lengths of 16 bits, or are as short.
            let mut put = |text: &str| {
                let offset = (table + texts.len()) as u32;
                let bytes = encode_bytes(text);
                texts.extend_from_slice(&bytes);
                (U32::new(offset), U16::new(bytes.len() as u16))
            };
            let ((key_offset, key_length), (value_offset, value_length)) = (put(key), put(value));
            raw.push(RawEntry { key_offset, value_offset, key_length, value_length });
        }
        let count = U16::new(self.entries.len() as u16);
        let locator = RawLocator { kind: VHDX_PARENT, reserved: U16::ZERO, count };
        [locator.as_bytes(), raw.as_slice().as_bytes(), &texts].concat()
    }
}

/// The identity of a parent's content as it is written.
fn linkage(id: Guid) -> String {
    format!("{{{}}}", uuid::text(&uuid::to_guid(id)))
}

#[cfg(test)]
mod tests {
    use journal::{Fs, SimFs};

    use super::*;
    use crate::DiskIdentity;

    #[test]
    fn what_is_written_is_read_back() {
        let identity = DiskIdentity { id: BAT_LIKE, modified: 0, sector_size: 512 };
        let name = WindowsName::new(b"../base.vhdx").unwrap();
        let mut locator = Locator { entries: vec![("other".to_owned(), "kept".to_owned())] };
        locator.apply(&ParentChange { name: Some(name), identity: Some(identity) });
        let fs = SimFs::new();
        fs.add_file("/image", &locator.to_bytes());
        let disk = fs.open(std::path::Path::new("/image"), journal::OpenOptions::READ).unwrap();
        let read = Locator::read(&*disk, 0).unwrap();
        assert_eq!(read, locator);
        assert_eq!(read.reference().unwrap().name, b"../base.vhdx");
        assert_eq!(read.find(LINKAGE), Some("{2dc27766-f623-4200-9d64-115e9bfd4a08}"));
        assert_eq!(read.find("other"), Some("kept"));
        let (parent, other) = (read.parent().unwrap(), DiskIdentity { id: [7; 16], ..identity });
        assert!(parent.is(&identity) && !parent.is(&other));
        let mut merging = read.clone();
        merging.entries.push((OTHER_LINKAGE.to_owned(), linkage([7; 16]).to_uppercase()));
        let parent = merging.parent().unwrap();
        assert!(parent.is(&identity) && parent.is(&other));
        let mut silent = read.clone();
        silent.entries.retain(|(key, _)| key != LINKAGE);
        assert!(silent.parent().unwrap().is(&other));
        let mut moved = read;
        let name = Some(WindowsName::new(b"/new.vhdx").unwrap());
        moved.apply(&ParentChange { name, identity: None });
        assert_eq!((moved.find(RELATIVE), moved.find(ABSOLUTE)), (None, Some(r"\new.vhdx")));
        assert_eq!(moved.reference().unwrap().name, b"/new.vhdx");
    }

    const BAT_LIKE: Guid = guid(0x2dc2_7766, 0xf623, 0x4200, 0x9d64_115e_9bfd_4a08);
}
