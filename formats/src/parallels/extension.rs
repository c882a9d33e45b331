//! The format extension: dirty bitmaps.

use std::collections::HashSet;
use std::ops::Range;

use journal::Disk;
use md5::{Digest, Md5};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::header::Header;
use crate::dirty_runs::DirtyRuns;
use crate::error::ResultExt;
use crate::raw::SECTOR;
use crate::{BitmapInfo, Error, Result, uuid};

const MAGIC: u64 = 0xab23_4cef_23dc_ea87;
/// The last feature.
const END: u64 = 0;
const DIRTY_BITMAP: u64 = 0x2038_5fae_252c_b34a;
/// What follows a feature starts on such a boundary.
const ALIGNMENT: u64 = 8;
/// More bitmaps nobody has.
const MAX_BITMAPS: usize = 65535;
/// Bytes that are read at a time.
const STEP: u64 = 1 << 20;
/// Entries that are read at a time.
const ENTRIES: u64 = 4096;
/// All bits of a cluster are clear.
const CLEAR: u64 = 0;
/// All bits of a cluster are set.
const SET: u64 = 1;

/// The start of the extension (Parallels Expandable Image File Format, "Format Extension").
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawExtension {
    magic: U64,
    /// MD5 of the rest of the cluster.
    checksum: [u8; 16],
}

/// What stands before the data of a feature.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawFeature {
    magic: U64,
    flags: U64,
    data_size: U32,
    unused: U32,
}

/// The data of a dirty bitmap, up to its table ("Dirty bitmaps feature").
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawBitmap {
    /// Sectors of the disk.
    size: U64,
    id: [u8; 16],
    /// Sectors for each bit.
    granularity: U32,
    /// Entries in the table.
    entries: U32,
}

/// The format extension of an image.
#[derive(Debug)]
pub(super) struct Extension {
    /// The cluster that it is.
    range: Range<u64>,
    cluster_size: u64,
    /// Bytes of the disk.
    size: u64,
    infos: Vec<BitmapInfo>,
    tables: Vec<Table>,
}

/// Where the clusters of a bitmap are told.
#[derive(Debug, Clone, Copy)]
struct Table {
    at: u64,
    entries: u64,
}

impl Extension {
    /// The extension at a place of the file.
    pub(super) fn read(disk: &dyn Disk, at: u64, header: &Header) -> Result<Self> {
        let mut start = RawExtension::new_zeroed();
        disk.read_padded(at, start.as_mut_bytes()).context(unreadable)?;
        if start.magic.get() != MAGIC {
            let text = format!(
                "Wrong parallels Format Extension magic: {:#x}, expected: {MAGIC:#x}",
                start.magic.get()
            );
            return Err(Error::corrupt(text));
        }
        let range = at..at.saturating_add(header.cluster_size);
        let features = at + size_of::<RawExtension>() as u64..range.end;
        if checksum(disk, features.clone())? != start.checksum {
            return Err(Error::corrupt(
                "Wrong checksum in Format Extension header. Format extension is corrupted.",
            ));
        }
        let (cluster_size, size) = (header.cluster_size, header.size);
        let mut extension = Self { range, cluster_size, size, infos: Vec::new(), tables: Vec::new() };
        extension.read_features(disk, features)?;
        Ok(extension)
    }

    fn read_features(&mut self, disk: &dyn Disk, mut left: Range<u64>) -> Result<()> {
        let mut names = HashSet::new();
        loop {
            let remaining = left.end.saturating_sub(left.start);
            let needed = size_of::<RawFeature>() as u64;
            if remaining < needed {
                return Err(Error::corrupt(format!(
                    "Can not read feature header, as remaining bytes ({remaining}) in Format Extension is less \
                     than Feature header size ({needed})"
                )));
            }
            let mut feature = RawFeature::new_zeroed();
            disk.read_padded(left.start, feature.as_mut_bytes()).context(unreadable)?;
            let data = left.start + needed;
            if feature.flags.get() != 0 {
                return Err(Error::corrupt("Flags for extension feature are unsupported"));
            }
            let len = u64::from(feature.data_size.get());
            let past = data + len.next_multiple_of(ALIGNMENT);
            if past > left.end {
                return Err(Error::corrupt("Feature data_size exceedes Format Extension cluster"));
            }
            match feature.magic.get() {
                END => return Ok(()),
                DIRTY_BITMAP => self.add_bitmap(disk, data, len, &mut names)?,
                other => return Err(Error::corrupt(format!("Unknown feature: {other:#x}"))),
            }
            left.start = past;
        }
    }

    fn add_bitmap(&mut self, disk: &dyn Disk, at: u64, len: u64, names: &mut HashSet<String>) -> Result<()> {
        let known = size_of::<RawBitmap>() as u64;
        let Some(room) = len.checked_sub(known) else {
            return Err(Error::corrupt(format!(
                "Too small Bitmap Feature area in Parallels Format Extension: {len} bytes, expected at least \
                 {known} bytes"
            )));
        };
        let mut raw = RawBitmap::new_zeroed();
        disk.read_padded(at, raw.as_mut_bytes()).context(unreadable)?;
        let (size, sectors) = (raw.size.get(), self.size / SECTOR);
        if size != sectors {
            return Err(Error::corrupt(format!(
                "Bitmap size (in sectors) {size} differs from disk size in sectors {sectors}"
            )));
        }
        let granularity = u64::from(raw.granularity.get()) * SECTOR;
        if !granularity.is_power_of_two() || granularity > u32::MAX.into() {
            return Err(Error::corrupt(format!(
                "Invalid bitmap granularity {granularity}, expected a power of two of at least {SECTOR} bytes"
            )));
        }
        let entries = u64::from(raw.entries.get());
        if entries * size_of::<U64>() as u64 > room {
            return Err(Error::corrupt("Bitmaps feature corrupted: l1 table exceeds extension data_size"));
        }
        let name = uuid::text(&raw.id);
        if !names.insert(name.clone()) {
            return Err(Error::corrupt(format!("Bitmap already exists: {name}")));
        }
        let expected = self.clusters_of_bits(granularity);
        if entries != expected {
            return Err(Error::corrupt(format!(
                "Bitmap table size {entries} does not correspond to bitmap size and cluster size. Expected {expected}"
            )));
        }
        if self.infos.len() >= MAX_BITMAPS {
            return Err(Error::corrupt("Too many bitmaps in Parallels Format Extension"));
        }
        self.infos.push(BitmapInfo { name, granularity, in_use: false, auto: false });
        self.tables.push(Table { at: at + known, entries });
        Ok(())
    }

    /// How many clusters the bits for the whole disk take, in words of 64 bits.
    fn clusters_of_bits(&self, granularity: u64) -> u64 {
        (self.size.div_ceil(granularity).div_ceil(64) * 8).div_ceil(self.cluster_size)
    }

    /// The bitmaps.
    pub(super) fn bitmaps(&self) -> &[BitmapInfo] {
        &self.infos
    }

    /// Tells the dirty runs of a bitmap.
    pub(super) fn visit(
        &self,
        disk: &dyn Disk,
        index: usize,
        visitor: &mut dyn FnMut(Range<u64>) -> Result<()>,
    ) -> Result<()> {
        let (Some(info), Some(table)) = (self.infos.get(index), self.tables.get(index)) else {
            return Ok(());
        };
        let bits = self.cluster_size * 8;
        let mut runs = DirtyRuns::new(info.granularity, self.size, visitor);
        table.visit(disk, &mut |number, entry| {
            let first = number * bits;
            match entry {
                CLEAR => Ok(()),
                SET => runs.add(first..first + bits),
                sector => self.add_cluster(disk, first, sector, &mut runs),
            }
        })?;
        runs.finish()
    }

    fn add_cluster(&self, disk: &dyn Disk, first: u64, sector: u64, runs: &mut DirtyRuns<'_>) -> Result<()> {
        let at = sector.checked_mul(SECTOR).filter(|&at| at < i64::MAX as u64 - self.cluster_size);
        let at = at.ok_or_else(|| Error::corrupt("Input/output error").context(cluster_unreadable()))?;
        let mut done = 0;
        while done < self.cluster_size {
            let mut bytes = vec![0; STEP.min(self.cluster_size - done) as usize];
            disk.read_padded(at + done, &mut bytes).context(cluster_unreadable)?;
            runs.add_bits(first + done * 8, &bytes)?;
            done += bytes.len() as u64;
        }
        Ok(())
    }

    /// Tells every cluster of the file that the extension takes.
    pub(super) fn visit_clusters(&self, disk: &dyn Disk, visitor: &mut dyn FnMut(Range<u64>)) -> Result<()> {
        visitor(self.range.clone());
        for table in &self.tables {
            table.visit(disk, &mut |_, entry| {
                let at = entry.checked_mul(SECTOR).filter(|&at| at < i64::MAX as u64 - self.cluster_size);
                if let (Some(at), false) = (at, matches!(entry, CLEAR | SET)) {
                    visitor(at..at + self.cluster_size);
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

impl Table {
    /// Tells every entry.
    fn visit(&self, disk: &dyn Disk, visitor: &mut dyn FnMut(u64, u64) -> Result<()>) -> Result<()> {
        let mut done = 0;
        while done < self.entries {
            let mut entries = vec![U64::ZERO; ENTRIES.min(self.entries - done) as usize];
            disk.read_padded(self.at + done * size_of::<U64>() as u64, entries.as_mut_slice().as_mut_bytes())
                .context(unreadable)?;
            for (number, entry) in (done..).zip(&entries) {
                visitor(number, entry.get())?;
            }
            done += entries.len() as u64;
        }
        Ok(())
    }
}

fn unreadable() -> String {
    "Failed to read Format Extension cluster".to_owned()
}

fn cluster_unreadable() -> String {
    "Failed to read bitmap data cluster".to_owned()
}

fn checksum(disk: &dyn Disk, mut range: Range<u64>) -> Result<[u8; 16]> {
    let mut digest = Md5::new();
    let mut bytes = vec![0; STEP.min(range.end - range.start) as usize];
    while range.start < range.end {
        let len = STEP.min(range.end - range.start) as usize;
        let Some(piece) = bytes.get_mut(..len) else { break };
        disk.read_padded(range.start, piece).context(unreadable)?;
        digest.update(&*piece);
        range.start += len as u64;
    }
    Ok(digest.finalize().into())
}
