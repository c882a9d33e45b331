//! What a person changes of bitmaps.

use std::ops::Range;
use std::sync::Arc;

use super::content::{Content, table_bytes};
use super::is_recording;
use crate::bitmaps::{DirtySource, Recording};
use crate::error::ResultExt;
use crate::qcow2::bitmap::{
    Bitmap, BitmapCluster, MAX_BITMAP_BYTES, MAX_NAME, MAX_TABLE_ENTRIES, directory_entry_size,
};
use crate::qcow2::extension::{MAX_BITMAP_DIRECTORY, MAX_BITMAPS};
use crate::qcow2::geometry::{Geometry, TABLE_ENTRY_SIZE, Version};
use crate::qcow2::session::Session;
use crate::shown::printed;
use crate::{BitmapInfo, Error, ErrorKind, Result};

/// Fewest and most guest bytes for each bit of a bitmap about which nobody said how many it should
/// be.
const DEFAULT_GRANULARITY: Range<u64> = 4096..65536;

impl Session {
    /// See [`crate::BitmapWriter::list`].
    pub fn bitmap_infos(&self) -> Vec<BitmapInfo> {
        self.bitmaps.directory.iter().map(|bitmap| bitmap.info.clone()).collect()
    }

    /// See [`crate::BitmapWriter::default_granularity`].
    pub fn default_bitmap_granularity(&self) -> u64 {
        self.geometry.cluster_size().clamp(DEFAULT_GRANULARITY.start, DEFAULT_GRANULARITY.end)
    }

    /// See [`crate::BitmapWriter::add`].
    pub fn add_bitmap(&mut self, info: &BitmapInfo) -> Result<()> {
        let size = self.header.virtual_size();
        self.check_new_bitmap(info, size)?;
        let bitmap = Bitmap { info: info.clone(), table: Default::default(), table_entries: 0 };
        let entries = self.geometry.clusters_for(bitmap.bytes_for(size));
        let number = self.bitmaps.directory.len();
        self.bitmaps.directory.push(bitmap);
        self.place_bitmap_table(number, &vec![BitmapCluster::Clear; entries as usize])
    }

    /// See [`crate::BitmapWriter::remove`].
    pub fn remove_bitmap(&mut self, index: usize) -> Result<()> {
        let bitmap = self.bitmap(index)?;
        let entries = bitmap.read_table(&*self.files.main)?;
        self.bitmaps.directory.remove(index);
        self.bitmaps.change();
        // What a broken table names is left to a repair.
        let clusters = entries.iter().filter_map(|entry| entry.validate(&self.geometry)).collect::<Vec<_>>();
        self.release_bits(&clusters)?;
        self.release_bitmap_table(&bitmap)
    }

    /// See [`crate::BitmapWriter::clear`].
    pub fn clear_bitmap(&mut self, index: usize) -> Result<()> {
        let bitmap = self.bitmap(index)?;
        let mut clusters = self.bitmap_clusters(&bitmap)?;
        self.release_bits(&clusters)?;
        clusters.fill(BitmapCluster::Clear);
        self.place_bitmap_table(index, &clusters)
    }

    /// See [`crate::BitmapWriter::record`].
    pub fn record_in_bitmap(&mut self, index: usize, recording: Recording) -> Result<()> {
        let bitmap = self.bitmaps.directory.get_mut(index).ok_or_else(no_bitmap)?;
        bitmap.info.auto = recording == Recording::On;
        self.bitmaps.change();
        Ok(())
    }

    /// See [`crate::BitmapWriter::merge`].
    pub fn merge_into_bitmap(&mut self, index: usize, source: &mut DirtySource<'_>) -> Result<()> {
        let bitmap = self.bitmap(index)?;
        let clusters = self.bitmap_clusters(&bitmap)?;
        let disk = Arc::clone(&self.files.main);
        let mut content = Content::new(&*disk, &mut self.space, self.geometry, clusters);
        let granularity = bitmap.info.granularity;
        source(&mut |run| content.set(run.start / granularity..run.end.div_ceil(granularity)))?;
        let clusters = content.finish()?;
        self.place_bitmap_table(index, &clusters)
    }

    /// See [`crate::BitmapWriter::merge_own`].
    pub fn merge_own_bitmap(&mut self, index: usize, source: usize) -> Result<()> {
        if index == source {
            return self.bitmap(index).map(|_| ());
        }
        let (source, disk) = (self.bitmap(source)?, Arc::clone(&self.files.main));
        let (geometry, size) = (self.geometry, self.header.virtual_size());
        self.merge_into_bitmap(index, &mut |visitor| source.visit(&*disk, &geometry, size, visitor))
    }

    /// Fits every bitmap to a disk of another size: what lies past its end is forgotten, and what is
    /// new is clean.
    pub fn resize_bitmaps(&mut self, size: u64) -> Result<()> {
        for index in 0..self.bitmaps.directory.len() {
            let bitmap = self.bitmap(index)?;
            if bitmap.info.in_use {
                continue;
            }
            check_space(&self.geometry, &bitmap, size).map_err(|error| {
                error.context(format!("Bitmap '{}' doesn't satisfy the constraints", bitmap.info.name))
            })?;
            let mut clusters = self.bitmap_clusters(&bitmap)?;
            let entries = self.geometry.clusters_for(bitmap.bytes_for(size)) as usize;
            let dropped = clusters.split_off(entries.min(clusters.len()));
            self.release_bits(&dropped)?;
            // Others may have set bits behind the old end.
            let per_cluster = self.geometry.cluster_size() * 8;
            let bits = size.min(self.header.virtual_size()).div_ceil(bitmap.info.granularity);
            let partial = clusters.get((bits / per_cluster) as usize).copied();
            let disk = Arc::clone(&self.files.main);
            let mut content = Content::new(&*disk, &mut self.space, self.geometry, clusters);
            if partial.is_some_and(|partial| partial != BitmapCluster::Clear) {
                content.clear(bits..bits.next_multiple_of(per_cluster))?;
            }
            let mut clusters = content.finish()?;
            clusters.resize(entries, BitmapCluster::Clear);
            self.place_bitmap_table(index, &clusters)?;
        }
        Ok(())
    }

    fn bitmap(&self, index: usize) -> Result<Bitmap> {
        self.bitmaps.directory.get(index).cloned().ok_or_else(no_bitmap)
    }

    fn bitmap_clusters(&self, bitmap: &Bitmap) -> Result<Vec<BitmapCluster>> {
        bitmap.clusters(&*self.files.main, &self.geometry, self.header.virtual_size())
    }

    fn release_bits(&mut self, clusters: &[BitmapCluster]) -> Result<()> {
        for cluster in clusters {
            if let BitmapCluster::At(offset) = cluster {
                self.space.release(*offset, self.geometry.cluster_size())?;
            }
        }
        Ok(())
    }

    fn release_bitmap_table(&mut self, bitmap: &Bitmap) -> Result<()> {
        match bitmap.table_entries {
            0 => Ok(()),
            entries => self.space.release(bitmap.table, u64::from(entries) * TABLE_ENTRY_SIZE),
        }
    }

    /// Writes the table of a bitmap to a new place.
    fn place_bitmap_table(&mut self, index: usize, clusters: &[BitmapCluster]) -> Result<()> {
        let old = self.bitmap(index)?;
        let bytes = table_bytes(clusters);
        let table = self.space.take_bytes(bytes.len() as u64)?;
        self.files.main.write_at(table.0, &bytes).context(|| "Could not write bitmap table".to_owned())?;
        self.release_bitmap_table(&old)?;
        if let Some(bitmap) = self.bitmaps.directory.get_mut(index) {
            bitmap.table = table;
            // Bitmaps take 512 MiB at most, so that their tables have a million entries at most.
            bitmap.table_entries = clusters.len() as u32;
        }
        self.bitmaps.change();
        Ok(())
    }

    /// Whether the image can have such a bitmap too.
    fn check_new_bitmap(&self, info: &BitmapInfo, size: u64) -> Result<()> {
        if self.geometry.version < Version::V3 {
            return Err(Error::unsupported("Cannot store dirty bitmaps in qcow2 v2 files"));
        }
        if !info.granularity.is_power_of_two() || !(512..=1 << 31).contains(&info.granularity) {
            return Err(Error::invalid("Granularity must be power of 2 and at least 512"));
        }
        let name_len = printed(info.name.as_bytes()).len();
        if name_len > MAX_NAME {
            return Err(Error::invalid(format!("Name length exceeds maximum ({MAX_NAME} characters)")));
        }
        let bitmap = Bitmap { info: info.clone(), table: Default::default(), table_entries: 0 };
        check_space(&self.geometry, &bitmap, size)?;
        if self.bitmaps.directory.len() >= MAX_BITMAPS as usize {
            return Err(too_large("Maximum number of persistent bitmaps is already reached"));
        }
        let used: u64 = self.bitmaps.directory.iter().map(|bitmap| bitmap.entry_size()).sum();
        if used + directory_entry_size(name_len) > MAX_BITMAP_DIRECTORY {
            return Err(too_large("Not enough space in the bitmap directory"));
        }
        if size == 0 {
            return Err(Error::invalid("The disk is empty"));
        }
        Ok(())
    }
}

/// Whether the bits of a disk of `size` bytes are not too many.
fn check_space(geometry: &Geometry, bitmap: &Bitmap, size: u64) -> Result<()> {
    let bytes = bitmap.bytes_for(size);
    if bytes > MAX_BITMAP_BYTES || geometry.clusters_for(bytes) > u64::from(MAX_TABLE_ENTRIES) {
        let text = "Too much space will be occupied by the bitmap. Use larger granularity";
        return Err(too_large(text));
    }
    Ok(())
}

fn too_large(text: &str) -> Error {
    Error::new(ErrorKind::TooLarge, text)
}

fn no_bitmap() -> Error {
    Error::new(ErrorKind::NotFound, "There is no such bitmap")
}

impl super::BitmapSet {
    /// Takes note that the directory has to be written.
    fn change(&mut self) {
        self.changed = true;
        self.recording = self.directory.iter().any(is_recording);
    }
}
