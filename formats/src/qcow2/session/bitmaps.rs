//! Persistent bitmaps: new ones, and those that record what a session writes.

use std::ops::Range;
use std::sync::Arc;

use journal::Disk;
use zerocopy::IntoBytes;

use super::Session;
use super::ranges::RangeSet;
use crate::qcow2::bitmap::{
    Bitmap, BitmapCluster, FLAG_AUTO, FLAG_IN_USE, MAX_NAME, RawDirectoryEntry, TYPE_DIRTY,
    directory_entry_size, read_directory,
};
use crate::qcow2::extension::BitmapDirectoryLocation;
use crate::qcow2::feature::Autoclear;
use crate::qcow2::geometry::{Geometry, TABLE_ENTRY_SIZE, Version};
use crate::qcow2::header::Header;
use crate::{BitmapInfo, Error, GuestOffset, Result};

/// The bitmaps of an image that is being changed.
#[derive(Debug, Default)]
pub(super) struct BitmapSet {
    directory: Vec<Bitmap>,
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
    /// See [`crate::Writer::store_bitmap`].
    pub fn store_bitmap(&mut self, info: &BitmapInfo, dirty: &[Range<u64>]) -> Result<()> {
        let name = &info.name;
        if self.geometry.version < Version::V3 {
            return Err(Error::unsupported("This image format does not support bitmaps"));
        }
        if name.len() > MAX_NAME {
            return Err(Error::invalid(format!("Bitmap name too long: {name}")));
        }
        if self.bitmaps.directory.iter().any(|bitmap| bitmap.info.name == *name) {
            return Err(Error::invalid(format!("Bitmap already exists: {name}")));
        }
        let bitmap = self.write_bitmap(BitmapInfo { in_use: false, ..info.clone() }, dirty)?;
        self.bitmaps.recording |= is_recording(&bitmap);
        self.bitmaps.directory.push(bitmap);
        self.bitmaps.changed = true;
        Ok(())
    }

    /// Writes a bitmap's table and bits to clusters of the session's own.
    fn write_bitmap(&mut self, info: BitmapInfo, dirty: &[Range<u64>]) -> Result<Bitmap> {
        let cluster_size = self.geometry.cluster_size();
        let bits_per_cluster = cluster_size * 8;
        let bits = self.header.virtual_size().div_ceil(info.granularity);
        let entries = bits.div_ceil(bits_per_cluster);
        let table = self.space.take_bytes(entries * TABLE_ENTRY_SIZE)?;
        let mut words = vec![0_u8; (entries * TABLE_ENTRY_SIZE) as usize];
        let mut cluster = vec![0_u8; cluster_size as usize];
        let mut runs =
            dirty.iter().map(|run| run.start / info.granularity..run.end.div_ceil(info.granularity));
        let mut run = runs.next();
        for (number, word) in words.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let first = number as u64 * bits_per_cluster;
            let end = (first + bits_per_cluster).min(bits);
            let mut empty = true;
            cluster.fill(0);
            while let Some(current) = run.clone().filter(|run| run.start < end) {
                empty = false;
                set_bits(&mut cluster, current.start.max(first) - first..current.end.min(end) - first);
                if current.end > end {
                    break;
                }
                run = runs.next();
            }
            if !empty {
                let place = self.space.take_one()?;
                self.files.main.write_at(place.0, &cluster)?;
                *word = place.0.to_be_bytes();
            }
        }
        self.files.main.write_at(table.0, &words)?;
        let table_entries = u32::try_from(entries)
            .map_err(|_| Error::invalid(format!("Bitmap '{}' would be too large", info.name)))?;
        Ok(Bitmap { info, table, table_entries })
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
        let old = self.bitmaps.directory[number].clone();
        if !is_recording(&old) {
            return Ok(());
        }
        let size = self.header.virtual_size();
        let disk = Arc::clone(&self.files.main);
        let mut dirty = written.clone();
        old.visit(&*disk, &self.geometry, size, &mut |run| {
            dirty.insert(run);
            Ok(())
        })?;
        // Whole bits, so that runs that share one become one.
        let mut whole = RangeSet::default();
        let granularity = old.info.granularity;
        for run in dirty.iter() {
            whole.insert(run.start / granularity * granularity..run.end.next_multiple_of(granularity));
        }
        let runs: Vec<_> = whole.iter().collect();
        let new = self.write_bitmap(old.info.clone(), &runs)?;
        for cluster in old.clusters(&*disk, &self.geometry, size)? {
            if let BitmapCluster::At(offset) = cluster {
                self.space.release(offset, self.geometry.cluster_size())?;
            }
        }
        self.space.release(old.table, u64::from(old.table_entries) * TABLE_ENTRY_SIZE)?;
        self.bitmaps.directory[number] = new;
        self.bitmaps.changed = true;
        Ok(())
    }

    /// Writes the directory to a new place.
    fn move_directory(&mut self) -> Result<()> {
        let old = self.header.extensions.bitmaps.take();
        if let Some(old) = old {
            self.space.release(old.offset, old.len)?;
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
    let name = bitmap.info.name.as_bytes();
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
    let mut bytes = [raw.as_bytes(), name].concat();
    bytes.resize(directory_entry_size(name.len()) as usize, 0);
    bytes
}

/// Sets a run of bits, the least significant bit of each byte first.
fn set_bits(bytes: &mut [u8], bits: Range<u64>) {
    let mut bit = bits.start;
    while bit < bits.end {
        let (byte, shift) = ((bit / 8) as usize, bit % 8);
        let count = (8 - shift).min(bits.end - bit);
        let mask = ((0xff_u16 >> (8 - count)) << shift) as u8;
        if let Some(byte) = bytes.get_mut(byte) {
            *byte |= mask;
        }
        bit += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HostOffset;

    #[test]
    fn runs_of_bits_start_and_end_anywhere() {
        for start in 0..24 {
            for end in start..=24 {
                let mut bytes = [0; 3];
                set_bits(&mut bytes, start..end);
                let value = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
                let expected = ((1_u64 << end) - (1_u64 << start)) as u32;
                assert_eq!(value, expected, "{start}..{end}");
            }
        }
    }

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
