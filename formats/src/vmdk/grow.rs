//! Growing: the last extent gets longer, and the descriptor says so.
//!
//! New grain tables go to the end of the extent's file, and so does a directory that has no room for them.

use std::sync::Arc;

use zerocopy::IntoBytes;
use zerocopy::little_endian::U32;

use super::extents::{Body, Extent, Extents};
use super::grains::{Grain, Layout, MAX_DIRECTORY, Sparse, Storage, Tables};
use super::header::Hosted;
use super::{EMBEDDED_AT, Vmdk, descriptor, invalid};
use crate::paged_table::PagedTable;
use crate::raw::{SECTOR, sectors};
use crate::registry::{FurtherFile, FurtherFiles, OpenedFile, Source};
use crate::resizable::{Grow, clear, copy};
use crate::{Durability, Error, ErrorKind, OpenFlags, Result, Writer};

/// Types of images of which the last extent can be any longer.
const ENDLESS: [&str; 3] = ["monolithicSparse", "monolithicFlat", "vmfs"];
/// Types of images whose extents have 2 GiB at most.
const IN_PIECES: [&str; 2] = ["twoGbMaxExtentSparse", "twoGbMaxExtentFlat"];
/// The length of these extents.
const PIECE: u64 = 2 << 30;

impl Grow for Vmdk {
    fn can_grow(&self) -> bool {
        let Some((last, others)) = self.extents.split_last() else { return false };
        let identity = |extent: &Extent| extent.file().status().ok().map(|status| status.identity);
        // What is behind it in its file is another's then.
        let is_shared = others.iter().any(|other| identity(other) == identity(last));
        let create_type = self.create_type.as_str();
        !is_shared && last.can_grow() && (ENDLESS.contains(&create_type) || IN_PIECES.contains(&create_type))
    }

    fn grow(&self, size: u64) -> Result<Self> {
        let start = self.extents.last().map_or(0, |last| last.start);
        let len = size.checked_next_multiple_of(SECTOR).and_then(|size| size.checked_sub(start));
        let len = len.ok_or_else(invalid)?;
        if IN_PIECES.contains(&self.create_type.as_str()) && len > PIECE {
            return Err(Error::new(ErrorKind::TooLarge, "The last extent would have more than 2 GiB"));
        }
        self.commit(Durability::Volatile)?;
        let old = self.reopened()?;
        old.extents.last().ok_or_else(invalid)?.grow(len)?;
        old.describe(len)?;
        Ok(Self { is_parent_known: self.is_parent_known, ..old.reopened()? })
    }
}

impl Vmdk {
    fn reopened(&self) -> Result<Self> {
        let flags = OpenFlags { access: self.access, ..OpenFlags::READ };
        let further = Again(&self.extents);
        let source = Source { disk: Arc::clone(&self.file), flags: &flags, name: "", further: &further };
        let extents = Extents::open(&source)?;
        Self::assemble(source, extents)
    }

    /// Writes the length of the last extent into the descriptor.
    fn describe(&self, len: u64) -> Result<()> {
        let last = self.extents.len().saturating_sub(1);
        let size = self.extents.last().map_or(0, |last| last.start + len);
        self.edit_descriptor(|text| {
            let is_told = descriptor::set_extent_length(text, last, len / SECTOR).is_some();
            // Of an extent with the descriptor in it, its header tells the length.
            if !is_told && self.descriptor_at != EMBEDDED_AT {
                return Err(invalid());
            }
            descriptor::set_cylinders(text, size);
            Ok(())
        })
    }
}

/// The files of an image that is opened already.
struct Again<'a>(&'a [Extent]);

impl FurtherFiles for Again<'_> {
    fn open(&self, file: FurtherFile<'_>) -> Result<OpenedFile> {
        let is_it = |(number, _): &(usize, &Extent)| file.role == format!("extents.{number}");
        let (_, extent) = self.0.iter().enumerate().find(is_it).ok_or_else(invalid)?;
        Ok(OpenedFile { disk: Arc::clone(extent.file()), name: extent.name.clone() })
    }
}

impl Extent {
    fn can_grow(&self) -> bool {
        match &self.body {
            Body::Flat { .. } => true,
            Body::Sparse(sparse) => sparse.can_grow(),
        }
    }

    /// Makes the extent longer in its file.
    fn grow(&self, len: u64) -> Result<()> {
        match &self.body {
            Body::Flat { disk, in_place, offset } => {
                let old_end = offset.saturating_add(self.end - self.start);
                let end = offset.checked_add(len).ok_or_else(invalid)?;
                clear(&**in_place, old_end..end)?;
                if disk.len()? < end {
                    disk.set_len(end)?;
                }
                Ok(())
            }
            Body::Sparse(sparse) => sparse.grow(len / SECTOR),
        }
    }
}

impl Sparse {
    /// Streams are written once, from the beginning to the end; of ESX Server's extents nobody has said how they grow.
    fn can_grow(&self) -> bool {
        let Layout { storage, has_footer, next_free_at, .. } = self.layout;
        let is_narrow = matches!(self.tables, Tables::Narrow { .. });
        is_narrow && storage == Storage::Plain && !has_footer && next_free_at.is_none()
    }

    /// Makes the disk of the extent as long as so many sectors.
    fn grow(&self, capacity: u64) -> Result<()> {
        let tables = capacity.div_ceil(self.layout.grain.saturating_mul(self.layout.table_len));
        if tables > MAX_DIRECTORY {
            return Err(Error::new(ErrorKind::TooLarge, "The image is too large for its tables"));
        }
        self.clear_tail()?;
        let mut header = Hosted::read(&*self.in_place, 0)?;
        header.capacity = capacity.into();
        if tables > self.layout.tables {
            header.directory_at = (self.grow_directory(self.layout.directory_at, tables)? / SECTOR).into();
            if let Some(at) = self.layout.redundant_at {
                header.redundant_at = (self.grow_directory(at, tables)? / SECTOR).into();
            }
        }
        Ok(self.in_place.write_at(0, header.as_bytes())?)
    }

    /// What the last grain has behind the disk's end must not show.
    fn clear_tail(&self) -> Result<()> {
        let size = self.layout.grain_size();
        let end = self.layout.capacity.saturating_mul(SECTOR);
        match (self.grain_before(end)?, end % size) {
            (_, 0) => Ok(()),
            (Grain::At(host), within) => {
                clear(&*self.in_place, host.saturating_add(within)..host.saturating_add(size))
            }
            _ => Ok(()),
        }
    }

    /// The grain in which the disk ends.
    fn grain_before(&self, end: u64) -> Result<Grain> {
        match end.checked_sub(1) {
            Some(last) => self.grain(last / self.layout.grain_size()),
            None => Ok(Grain::Absent),
        }
    }

    /// Gives a directory more tables, which are empty. Where it is then.
    fn grow_directory(&self, at: u64, tables: u64) -> Result<u64> {
        let old = self.layout.tables;
        let bytes_of = |entries: u64| entries * size_of::<U32>() as u64;
        let (room, needed) = (sectors(bytes_of(old)), sectors(bytes_of(tables)));
        let (at, disk) = if needed <= room {
            (at, &self.in_place)
        } else {
            let new = self.extend(needed)?;
            copy(&*self.in_place, at, &*self.file, new, bytes_of(old))?;
            (new, &self.file)
        };
        let table = sectors(bytes_of(self.layout.table_len));
        let first = self.extend((tables - old) * table)?;
        let directory = PagedTable::new(Arc::clone(disk), at, tables);
        for number in old..tables {
            directory.set_spilling(number, self.reach(first + (number - old) * table)?)?;
        }
        directory.flush()?;
        Ok(at)
    }

    /// Makes the file longer by zeroes, to a whole number of sectors. Where they begin.
    fn extend(&self, len: u64) -> Result<u64> {
        let at = sectors(self.file.len()?);
        self.reach(at + len)?;
        self.file.set_len(at + len)?;
        Ok(at)
    }
}
