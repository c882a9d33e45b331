//! Persistent bitmaps: those that record what a session writes, and their directory.
//!
//! * [`changes`]: bitmaps made, removed, cleared and merged. [`content`]: their bits.

mod changes;
mod content;

use journal::{Disk, RangeSet};
use zerocopy::IntoBytes;

use super::Session;
use crate::qcow2::bitmap::{
    Bitmap, FLAG_AUTO, FLAG_IN_USE, RawDirectoryEntry, TYPE_DIRTY, directory_entry_size, read_directory,
};
use crate::qcow2::extension::BitmapDirectoryLocation;
use crate::qcow2::feature::Autoclear;
use crate::qcow2::geometry::Geometry;
use crate::qcow2::header::Header;
use crate::shown::printed;
use crate::{GuestOffset, Recording, Result};

/// The bitmaps of an image that is being changed.
#[derive(Debug, Default)]
pub(super) struct BitmapSet {
    pub(super) directory: Vec<Bitmap>,
    changed: bool,
    /// Whether some bitmap wants to know what is written.
    recording: bool,
    /// Guest bytes written since the last commit, if anybody wants to know.
    written: RangeSet,
}

impl BitmapSet {
    pub(super) fn open(disk: &dyn Disk, geometry: &Geometry, header: &Header) -> Result<Self> {
        let Some(location) = header.extensions.bitmaps else { return Ok(Self::default()) };
        let directory = read_directory(disk, geometry, location, header.virtual_size())?;
        let recording = directory.iter().any(is_recording);
        Ok(Self { directory, recording, ..Self::default() })
    }

    /// Whether the image has any.
    pub(super) fn are_any(&self) -> bool {
        !self.directory.is_empty()
    }

    /// Takes note of guest bytes that change.
    pub(super) fn record(&mut self, at: GuestOffset, len: u64) {
        if self.recording {
            self.written.insert(at.0..at.0.saturating_add(len));
        }
    }
}

/// What is in use already cannot be trusted, and needs no record any more.
fn is_recording(bitmap: &Bitmap) -> bool {
    bitmap.info.auto && !bitmap.info.in_use
}

impl Session {
    /// Does work that bitmaps take no notice of: guest bytes are not changed by it, as far as a backup
    /// is concerned.
    pub(super) fn unrecorded<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let recording = self.record_writes(Recording::Off);
        let result = work(self);
        self.record_writes(recording);
        result
    }

    /// Whether bitmaps take notice of what is written from now on. Returns what it was before.
    pub fn record_writes(&mut self, recording: Recording) -> Recording {
        let recording = std::mem::replace(&mut self.bitmaps.recording, recording == Recording::On);
        if recording { Recording::On } else { Recording::Off }
    }

    /// Adds what was written to the bitmaps that record it, and gives the directory its place.
    pub(super) fn settle_bitmaps(&mut self) -> Result<()> {
        let written = std::mem::take(&mut self.bitmaps.written);
        if !written.is_empty() {
            for number in 0..self.bitmaps.directory.len() {
                self.add_to_bitmap(number, &written)?;
            }
        }
        if std::mem::take(&mut self.bitmaps.changed) {
            self.move_directory()?;
        }
        Ok(())
    }

    fn add_to_bitmap(&mut self, number: usize, written: &RangeSet) -> Result<()> {
        if !self.bitmaps.directory.get(number).is_some_and(is_recording) {
            return Ok(());
        }
        self.merge_into_bitmap(number, &mut |visitor| written.iter().try_for_each(&mut *visitor))
    }

    /// Writes the directory to a new place.
    fn move_directory(&mut self) -> Result<()> {
        let old = self.header.extensions.bitmaps.take();
        if let Some(old) = old {
            self.space.release(old.offset, old.len)?;
        }
        if self.bitmaps.directory.is_empty() {
            self.header.autoclear -= Autoclear::BITMAPS;
            return Ok(());
        }
        let bytes: Vec<u8> = self.bitmaps.directory.iter().flat_map(directory_entry).collect();
        let (count, len) = (self.bitmaps.directory.len() as u32, bytes.len() as u64);
        let offset = self.space.take_bytes(len)?;
        self.files.main.write_at(offset.0, &bytes)?;
        self.header.extensions.bitmaps = Some(BitmapDirectoryLocation { count, offset, len });
        self.header.autoclear |= Autoclear::BITMAPS;
        Ok(())
    }
}

fn directory_entry(bitmap: &Bitmap) -> Vec<u8> {
    let name = printed(bitmap.info.name.as_bytes());
    let flag = |on: bool, flag: u32| if on { flag } else { 0 };
    let raw = RawDirectoryEntry {
        table_offset: bitmap.table.0.into(),
        table_size: bitmap.table_entries.into(),
        flags: (flag(bitmap.info.in_use, FLAG_IN_USE) | flag(bitmap.info.auto, FLAG_AUTO)).into(),
        kind: TYPE_DIRTY,
        granularity_bits: bitmap.info.granularity.trailing_zeros() as u8,
        name_size: (name.len() as u16).into(),
        extra_size: 0.into(),
    };
    let mut bytes = [raw.as_bytes(), &name].concat();
    bytes.resize(directory_entry_size(name.len()) as usize, 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BitmapInfo, HostOffset};

    #[test]
    fn directory_entries_are_padded() {
        let info = BitmapInfo { name: "daily".into(), granularity: 65536, in_use: false, auto: true };
        let bytes = directory_entry(&Bitmap { info, table: HostOffset(0x50000), table_entries: 3 });
        assert_eq!(bytes.len(), 32);
        assert_eq!(bytes[..8], 0x50000_u64.to_be_bytes());
        assert_eq!(bytes[8..18], [0, 0, 0, 3, 0, 0, 0, 2, 1, 16]);
        assert_eq!(bytes[24..], *b"daily\0\0\0");
    }
}
