//! The disk that a differencing one stands on: what its file is called, and which disk it is.

use journal::Disk;
use zerocopy::FromZeros;

use super::footer::EPOCH;
use super::header::{RawHeader, RawLocator};
use crate::differencing::ParentChange;
use crate::raw::{SECTOR, sectors};
use crate::windows_name::{WindowsName, absolute, decode, decode_bytes, encode_bytes, with_slashes};
use crate::{BackingReference, DiskIdentity, Error, Format, Result};

/// A name relative to the differencing disk, in UTF-16.
const RELATIVE: [u8; 4] = *b"W2ru";
/// An absolute name on a Windows machine, in UTF-16.
const ABSOLUTE: [u8; 4] = *b"W2ku";
/// Longer names are not read, in bytes.
const MAX_NAME: u32 = 4096;
/// Room for the name in a new image, so that a longer one can take its place.
pub(super) const NEW_ROOM: u64 = MAX_NAME as u64;

/// The disk that a differencing one stands on.
#[derive(Debug)]
pub(super) struct Parent {
    /// What it is called.
    pub(super) reference: BackingReference,
    /// Which disk it is; zeroes if that is not told.
    pub(super) uuid: [u8; 16],
}

impl Parent {
    /// The parent as the header tells of it.
    pub(super) fn read(disk: &dyn Disk, header: &RawHeader) -> Result<Self> {
        Ok(Self { reference: reference(disk, header)?, uuid: header.parent_uuid })
    }

    /// Whether a disk is the parent, as far as can be told. When a file was changed, which is remembered, too,
    /// tells nothing of one that was copied.
    pub(super) fn is(&self, identity: &DiskIdentity) -> bool {
        [[0; 16], identity.id].contains(&self.uuid)
    }
}

/// The parent, as the header and its locators name it (VHD specification, "Parent Locators").
fn reference(disk: &dyn Disk, header: &RawHeader) -> Result<BackingReference> {
    let relative = locator(disk, header, RELATIVE)?.map(|name| with_slashes(&name));
    let name = match relative {
        Some(name) => Some(name),
        None => match locator(disk, header, ABSOLUTE)? {
            Some(name) => Some(absolute(&name)),
            None => Some(absolute(&decode(header.parent_name.iter().map(|unit| unit.get())))),
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

/// A name and where it is to be written.
#[derive(Debug)]
pub(super) struct Placed {
    /// Its first byte.
    pub(super) at: u64,
    /// Its bytes, up to the end of the room that it has.
    pub(super) bytes: Vec<u8>,
}

impl RawLocator {
    /// Room for the name in bytes. Some programs count it in sectors.
    fn room(&self) -> u64 {
        match u64::from(self.space.get()) {
            sectors if sectors < SECTOR => sectors * SECTOR,
            bytes => bytes,
        }
    }

    /// Where that ends, if there is a name.
    fn end(&self) -> Option<u64> {
        (self.code != [0; 4]).then(|| self.offset.get().saturating_add(self.room()))
    }
}

impl RawHeader {
    /// Where the last name of the parent ends.
    pub(super) fn names_end(&self) -> u64 {
        self.locators.iter().filter_map(RawLocator::end).max().unwrap_or(0)
    }

    /// Takes note of what the parent is.
    pub(super) fn know(&mut self, parent: &DiskIdentity) {
        self.parent_uuid = parent.id;
        // The format's time ends in 2136, and begins anew.
        self.parent_timestamp = ((parent.modified / 1_000_000_000).saturating_sub(EPOCH) as u32).into();
    }

    /// Gives the parent a name, which takes the place of others where it has room, and else one that is made for
    /// it.
    pub(super) fn name(&mut self, name: &WindowsName, make: impl FnOnce(u64) -> u64) -> Placed {
        let mut bytes = encode_bytes(name.text());
        let needed = bytes.len() as u64;
        let is_ours = |locator: &&RawLocator| [RELATIVE, ABSOLUTE].contains(&locator.code);
        let old = self.locators.iter().filter(is_ours).max_by_key(|locator| locator.room());
        let (at, room) = match old.filter(|old| old.room() >= needed) {
            Some(old) => (old.offset.get(), old.room()),
            None => {
                let room = NEW_ROOM.max(sectors(needed));
                (make(room), room)
            }
        };
        let code = if matches!(name, WindowsName::Relative(_)) { RELATIVE } else { ABSOLUTE };
        // What is left of the others is another platform's, which nobody asks for here.
        self.locators = [RawLocator::new_zeroed(); 8];
        self.locators[0].code = code;
        // Names are short.
        self.locators[0].length = (needed as u32).into();
        self.locators[0].space = u32::try_from(room).unwrap_or(u32::MAX).into();
        self.locators[0].offset = at.into();
        self.parent_name = std::array::from_fn(|_| 0.into());
        // A zero is left at the end.
        let room_for_last = self.parent_name.len() - 1;
        let last = name.last();
        for (place, unit) in self.parent_name.iter_mut().zip(last.encode_utf16().take(room_for_last)) {
            *place = unit.into();
        }
        bytes.resize(room.min(NEW_ROOM).max(needed) as usize, 0);
        Placed { at, bytes }
    }

    /// Takes in a change.
    pub(super) fn change_parent(
        &mut self,
        change: &ParentChange,
        make: impl FnOnce(u64) -> u64,
    ) -> Option<Placed> {
        if let Some(identity) = &change.identity {
            self.know(identity);
        }
        let placed = change.name.as_ref().map(|name| self.name(name, make));
        *self = self.sealed();
        placed
    }
}
