//! QEMU copy-on-write, versions 2 and 3.
//!
//! ```text
//!   first cluster            header · extensions · backing file name
//!        │ l1                     │ refcount table      │ snapshots      │ bitmaps
//!        ▼                        ▼                     ▼                ▼
//!   L1 table ──► L2 tables    refcount blocks      table of L1s     directory ──► tables
//!                    │
//!                    ▼
//!              guest clusters: normal · zero · compressed · (32 subclusters each)
//! ```
//!
//! * [`header`], [`feature`], [`extension`], [`entry`]: one door each from bytes to meaning.
//! * [`geometry`]: sizes and index arithmetic.
//! * [`table`], [`cache`], [`map`]: from guest offsets to runs.
//! * [`snapshot`], [`bitmap`]: what else an image holds.
//! * [`encryption`]: encrypted images.
//! * `check`: whether all of it fits together. `repair`: making it so.
//! * [`open`]: all of it put together; [`details`]: what a person is told of it.
//! * [`amend`]: what else can be changed of an image.
//! * [`create`], [`session`], [`writer`]: new images and changes to existing ones.

pub mod amend;
pub mod bitmap;
pub mod cache;
mod check;
pub mod create;
mod details;
pub mod encryption;
pub mod entry;
pub mod extension;
pub mod feature;
mod flip;
pub mod geometry;
pub mod header;
pub mod map;
pub(crate) mod measure;
pub mod open;
mod preallocation;
pub mod refcount;
mod repair;
pub mod session;
pub mod snapshot;
pub mod table;
mod writable;
pub mod writer;

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use journal::Disk;

use self::bitmap::Bitmap;
use self::cache::L2Cache;
use self::encryption::Encrypted;
use self::entry::{L1Entry, RefcountTableEntry};
use self::geometry::{Geometry, TABLE_ENTRY_SIZE, Version};
use self::header::Header;
use self::map::Files;
pub use self::open::OpenRequest;
use self::refcount::RefcountWidth;
use self::snapshot::SnapshotTable;
use self::table::{L2Table, L2Tables};
use self::writer::Qcow2Writer;
use crate::{
    BackingReference, BitmapInfo, Bitmaps, CheckReport, Driver, Error, Finding, Format, FormatDetails,
    GuestOffset, Holes, ImageFile, Mapping, Repair, Repaired, Repairer, Result, SnapshotInfo, Snapshots,
    Writer,
};

/// An opened qcow2 image.
#[derive(Debug)]
pub struct Qcow2 {
    file: Arc<dyn Disk>,
    /// The external data file, if the image has one and it was opened.
    data_file: Option<Arc<dyn Disk>>,
    header: Header,
    geometry: Geometry,
    backing: Option<BackingReference>,
    l1: Vec<L1Entry>,
    cache: L2Cache,
    snapshots: SnapshotTable,
    snapshot_infos: Vec<SnapshotInfo>,
    bitmaps: Vec<Bitmap>,
    bitmap_infos: Vec<BitmapInfo>,
    /// What holes of the file mean, once somebody asked for data.
    holes: OnceLock<Holes>,
    corruption_told: AtomicBool,
    /// Its encryption, if it has one. The writer has it where there is one.
    encrypted: Option<Encrypted>,
    /// How it is changed, if it was opened for that. The tables are the writer's then.
    writer: Option<Qcow2Writer>,
}

impl Qcow2 {
    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The sizes that follow from it.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The image file.
    pub fn file(&self) -> &Arc<dyn Disk> {
        &self.file
    }

    /// The file with plain guest clusters.
    pub fn data_disk(&self) -> Result<&Arc<dyn Disk>> {
        match &self.data_file {
            Some(disk) => Ok(disk),
            None if !self.geometry.external_data => Ok(&self.file),
            None => Err(Error::invalid("The external data file was not opened")),
        }
    }

    /// The active L1 table.
    pub fn l1(&self) -> &[L1Entry] {
        &self.l1
    }

    /// The snapshot table.
    pub fn snapshot_table(&self) -> &SnapshotTable {
        &self.snapshots
    }

    /// The bitmaps of the directory.
    pub fn bitmap_directory(&self) -> &[Bitmap] {
        &self.bitmaps
    }

    /// The refcount table as it stands, at most so many entries of it.
    pub(super) fn read_refcount_table(&self, entries: u64) -> Result<Vec<RefcountTableEntry>> {
        let location = self.header.refcount_table;
        let size = u64::from(location.count) << self.geometry.cluster_bits;
        let mut bytes = vec![0; size.min(entries.saturating_mul(TABLE_ENTRY_SIZE)) as usize];
        self.file.read_padded(location.offset.0, &mut bytes)?;
        Ok(table::words(&bytes).iter().map(|word| RefcountTableEntry(word.get())).collect())
    }

    /// The width of the file's refcounts.
    pub(super) fn refcount_width(&self) -> RefcountWidth {
        // The header's door lets no other order pass.
        RefcountWidth::from_order(self.geometry.refcount_order).unwrap_or(RefcountWidth::DEFAULT)
    }

    pub(crate) fn bitmap_infos(&self) -> &[BitmapInfo] {
        &self.bitmap_infos
    }

    /// What a mapping needs to know of the files.
    pub fn files_for_mapping(&self) -> Result<Files<'_>> {
        Ok(Files {
            image: &self.file,
            data: self.data_disk()?,
            holes: self.holes(),
            codec: self.header.compression,
            corruption_told: &self.corruption_told,
        })
    }

    fn holes(&self) -> Holes {
        // A file whose state cannot be asked keeps its clusters' word.
        *self.holes.get_or_init(|| preallocation::holes(self).unwrap_or(Holes::Ignored))
    }
}

impl L2Tables for Qcow2 {
    fn l1_len(&self) -> usize {
        self.writer.as_ref().map_or(self.l1.len(), |writer| writer.session().l1_len())
    }

    fn l1_entry(&self, index: usize) -> L1Entry {
        if let Some(writer) = &self.writer {
            return writer.session().l1_entry(index);
        }
        self.l1.get(index).copied().unwrap_or_default()
    }

    fn l2_table(&self, index: usize) -> Result<Option<L2Table>> {
        if let Some(writer) = &self.writer {
            return writer.session().l2_table(index);
        }
        self.cache.get(&*self.file, &self.geometry, &self.l1, index)
    }
}

impl Driver for Qcow2 {
    fn format(&self) -> Format {
        Format::Qcow2
    }

    fn virtual_size(&self) -> u64 {
        self.writer.as_ref().map_or_else(|| self.header.virtual_size(), Qcow2Writer::virtual_size)
    }

    fn map(&self, at: GuestOffset, len: u64) -> Result<Mapping> {
        let mapping = map::map(&self.geometry, self, &self.files_for_mapping()?, at, len)?;
        match self.encrypted.as_ref().and_then(|encrypted| encrypted.opened.as_ref()) {
            Some(opened) => Ok(opened.encryption.decrypted(mapping, at)),
            None => Ok(mapping),
        }
    }

    fn backing(&self) -> Option<&BackingReference> {
        self.backing.as_ref()
    }

    fn details(&self) -> Result<FormatDetails> {
        Ok(details::details(self))
    }

    fn files(&self) -> Vec<ImageFile> {
        let file = |role: &str, disk: &Arc<dyn Disk>| ImageFile {
            role: role.to_owned(),
            disk: Arc::clone(disk),
            name: Vec::new(),
        };
        let data_file = self.data_file.iter().map(|disk| file("data-file", disk));
        std::iter::once(file("file", &self.file)).chain(data_file).collect()
    }

    fn writer(&self) -> Option<&dyn Writer> {
        self.writer.as_ref().map(|writer| writer as _)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    fn bitmaps(&self) -> Option<&dyn Bitmaps> {
        (self.geometry.version >= Version::V3).then_some(self as _)
    }

    fn can_check(&self) -> bool {
        true
    }

    fn check(&self, tell: &mut dyn FnMut(Finding)) -> Result<CheckReport> {
        check::check(self, tell)
    }

    fn repairer(&self) -> Option<&dyn Repairer> {
        Some(self)
    }
}

impl Repairer for Qcow2 {
    fn repair(&self, what: Repair, tell: &mut dyn FnMut(Finding)) -> Repaired {
        repair::repair(self, what, tell)
    }
}

impl Snapshots for Qcow2 {
    fn list(&self) -> &[SnapshotInfo] {
        &self.snapshot_infos
    }

    fn view(&self, index: usize) -> Result<Box<dyn Driver>> {
        Ok(Box::new(self.open_snapshot(index)?))
    }
}

impl Bitmaps for Qcow2 {
    fn list(&self) -> &[BitmapInfo] {
        &self.bitmap_infos
    }

    fn visit(&self, index: usize, visitor: &mut dyn FnMut(std::ops::Range<u64>) -> Result<()>) -> Result<()> {
        let Some(bitmap) = self.bitmaps.get(index) else {
            return Err(Error::new(crate::ErrorKind::NotFound, format!("There is no bitmap {index}")));
        };
        bitmap.visit(&*self.file, &self.geometry, self.virtual_size(), visitor)
    }
}
