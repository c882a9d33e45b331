//! The parts of a disk, and how they are opened.

use std::sync::Arc;

use journal::{Access, Disk};
use serde_json::{Value, json};

use super::EMBEDDED_AT;
use super::descriptor::{self, ExtentKind, ExtentLine};
use super::grains::{Layout, Sparse, Storage, Zeroes};
use super::header::{
    COWD_MAGIC, COWD_TABLE, Cowd, DEFLATE, FLAG_MARKERS, FLAG_REDUNDANT, FLAG_ZEROED, HOSTED_MAGIC, Hosted,
    NEXT_FREE_OFFSET,
};
use crate::raw::SECTOR;
use crate::registry::{FileContent, FurtherFile, OpenedFile, Source};
use crate::{Error, Framing, Holes, HostOffset, Mapping, Result, Target};

/// Types of images whose extents are in files of their own.
const DESCRIBED: [&str; 6] =
    ["monolithicFlat", "vmfs", "vmfsSparse", "seSparse", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"];

/// Whether the extents of images of a type are in files of their own.
pub(super) fn is_described(create_type: &str) -> bool {
    DESCRIBED.contains(&create_type)
}

/// A part of a disk.
#[derive(Debug)]
pub(super) struct Extent {
    /// Its first byte of the disk.
    pub(super) start: u64,
    /// The first byte after it.
    pub(super) end: u64,
    /// What its file is called.
    pub(super) name: String,
    /// What the descriptor calls its kind.
    spelled: String,
    pub(super) body: Body,
}

/// How an extent lies in its file.
#[derive(Debug)]
pub(super) enum Body {
    /// As it is, from that byte on.
    Flat { disk: Arc<dyn Disk>, in_place: Arc<dyn Disk>, offset: u64 },
    /// In grains.
    Sparse(Box<Sparse>),
}

impl Extent {
    /// What stands behind a range of it.
    pub(super) fn map(&self, at: u64, len: u64) -> Result<Mapping> {
        match &self.body {
            Body::Flat { disk, offset, .. } => {
                let (disk, offset) = (Arc::clone(disk), HostOffset(offset.saturating_add(at)));
                Ok(Mapping { len, target: Target::Data { disk, offset, holes: Holes::Zero } })
            }
            Body::Sparse(sparse) => sparse.map(at, len, self.start),
        }
    }

    /// Its file.
    pub(super) fn file(&self) -> &Arc<dyn Disk> {
        match &self.body {
            Body::Flat { disk, .. } => disk,
            Body::Sparse(sparse) => &sparse.file,
        }
    }

    /// The size of its grains, if it has any.
    pub(super) fn grain_size(&self) -> Option<u64> {
        match &self.body {
            Body::Flat { .. } => None,
            Body::Sparse(sparse) => Some(sparse.layout.grain_size()),
        }
    }

    /// Whether its grains are compressed.
    pub(super) fn is_compressed(&self) -> bool {
        matches!(&self.body, Body::Sparse(sparse) if sparse.layout.storage != Storage::Plain)
    }

    /// Whether another one is of the same kind.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.grain_size() == other.grain_size() && self.is_compressed() == other.is_compressed()
    }

    /// What `info` tells of it.
    pub(super) fn details(&self) -> Value {
        let mut details = json!({
            "virtual-size": self.end - self.start,
            "filename": self.name,
            "format": self.spelled,
        });
        if let Some(size) = self.grain_size() {
            details["cluster-size"] = size.into();
        }
        if self.is_compressed() {
            details["compressed"] = true.into();
        }
        details
    }
}

/// The extents of an image.
#[derive(Debug)]
pub(super) struct Extents {
    /// In the order of the disk, without gaps.
    pub(super) list: Vec<Extent>,
    /// Where the descriptor is in the file that the image is opened from.
    pub(super) descriptor_at: u64,
    /// The type of the image.
    pub(super) create_type: String,
}

impl Extents {
    /// None yet, of an image of that type.
    pub(super) fn none(create_type: &str, descriptor_at: u64) -> Self {
        Self { list: Vec::new(), descriptor_at, create_type: create_type.to_owned() }
    }

    /// Opens the extents of an image.
    pub(super) fn open(source: &Source<'_>) -> Result<Self> {
        let text = descriptor::read(&*source.disk, 0)?;
        if ![HOSTED_MAGIC, COWD_MAGIC].iter().any(|magic| text.starts_with(magic)) {
            let mut extents = Self::none("", 0);
            extents.add_described(source, &text)?;
            return Ok(extents);
        }
        let mut extents = Self::none("", EMBEDDED_AT);
        let header = Hosted::read(&*source.disk, 0)?;
        match header.descriptor_alone().filter(|_| header.magic == HOSTED_MAGIC) {
            Some(at) => extents.add_described(source, &descriptor::read(&*source.disk, at)?)?,
            None => {
                let file = OpenedFile { disk: Arc::clone(&source.disk), name: source.name.to_owned() };
                extents.add_sparse(file, "", source.flags.access)?;
            }
        }
        Ok(extents)
    }

    /// Adds those that a descriptor names.
    fn add_described(&mut self, source: &Source<'_>, text: &[u8]) -> Result<()> {
        let create_type = String::from_utf8_lossy(descriptor::create_type(text)?).into_owned();
        if !is_described(&create_type) {
            return Err(Error::unsupported(format!("Unsupported image type '{create_type}'")));
        }
        self.create_type = create_type;
        for line in descriptor::extents(text)? {
            self.add(source, &line)?;
        }
        Ok(())
    }

    fn add(&mut self, source: &Source<'_>, line: &ExtentLine<'_>) -> Result<()> {
        let content = if line.kind == ExtentKind::Flat { FileContent::Data } else { FileContent::Metadata };
        let role = format!("extents.{}", self.list.len());
        let file = source.further.open(FurtherFile { role, name: line.name, content })?;
        match line.kind {
            ExtentKind::Flat => {
                let offset = line.offset.wrapping_mul(SECTOR);
                if offset > i64::MAX as u64 {
                    return Err(super::invalid());
                }
                let in_place = file.disk.in_place().unwrap_or_else(|| Arc::clone(&file.disk));
                let body = Body::Flat { disk: file.disk, in_place, offset };
                self.push(line.sectors, file.name, line.spelled, body)
            }
            ExtentKind::Sparse => self.add_sparse(file, line.spelled, source.flags.access),
            ExtentKind::SeSparse => {
                if source.flags.access == Access::Write {
                    return Err(Error::invalid("No write support for seSparse images available"));
                }
                let sparse = Sparse::open_wide(file.disk, &file.name)?;
                self.push(sparse.layout.capacity, file.name, line.spelled, Body::Sparse(Box::new(sparse)))
            }
        }
    }

    /// Adds a sparse extent, whose file tells what it is.
    fn add_sparse(&mut self, file: OpenedFile, spelled: &str, access: Access) -> Result<()> {
        let header = Hosted::read(&*file.disk, 0)?;
        let layout = match header.magic {
            HOSTED_MAGIC => self.hosted(header, &*file.disk, access)?,
            COWD_MAGIC => cowd(&Cowd::read(&*file.disk)?),
            _ => return Err(Error::invalid("Image not in VMDK format")),
        };
        let sparse = Sparse::open(file.disk, &file.name, layout)?;
        self.push(layout.capacity, file.name, spelled, Body::Sparse(Box::new(sparse)))
    }

    fn hosted(&mut self, header: Hosted, disk: &dyn Disk, access: Access) -> Result<Layout> {
        if self.create_type.is_empty() {
            self.create_type = "monolithicSparse".to_owned();
        }
        let has_footer = header.is_at_end();
        let header = header.settle(disk)?;
        let is_compressed = header.algorithm.get() == DEFLATE;
        let version = header.version.get();
        if version > 3 {
            return Err(Error::unsupported(format!("Unsupported VMDK version {version}")));
        }
        // There, changes since a backup are tracked, which nobody else could do.
        if version == 3 && access == Access::Write && !is_compressed {
            return Err(Error::invalid("VMDK version 3 must be read only"));
        }
        let tables = header.tables(disk.len()?)?;
        let flags = header.flags.get();
        let storage = match is_compressed {
            true if flags & FLAG_MARKERS != 0 => Storage::Compressed(Framing::Marked),
            true => Storage::Compressed(Framing::Bare),
            false => Storage::Plain,
        };
        if is_compressed {
            self.create_type = "streamOptimized".to_owned();
        }
        let redundant = header.redundant_at.get();
        Ok(Layout {
            capacity: header.capacity.get(),
            grain: header.grain.get(),
            table_len: header.table_len.get().into(),
            tables,
            directory_at: header.directory_at.get().wrapping_mul(SECTOR),
            redundant_at: (flags & FLAG_REDUNDANT != 0 && redundant != 0)
                .then(|| redundant.wrapping_mul(SECTOR)),
            storage,
            zeroes: if flags & FLAG_ZEROED != 0 { Zeroes::Marked } else { Zeroes::Stored },
            next_free_at: None,
            has_footer,
        })
    }

    fn push(&mut self, sectors: u64, name: String, spelled: &str, body: Body) -> Result<()> {
        let start = self.list.last().map_or(0, |last| last.end);
        let too_large = || Error::corrupt("Could not refresh total sector count: File too large");
        let end = sectors.checked_mul(SECTOR).and_then(|len| start.checked_add(len)).ok_or_else(too_large)?;
        self.list.push(Extent { start, end, name, spelled: spelled.to_owned(), body });
        Ok(())
    }
}

fn cowd(header: &Cowd) -> Layout {
    Layout {
        capacity: header.capacity.get().into(),
        grain: header.grain.get().into(),
        table_len: COWD_TABLE,
        tables: header.tables.get().into(),
        directory_at: u64::from(header.directory_at.get()) * SECTOR,
        redundant_at: None,
        storage: Storage::Plain,
        zeroes: Zeroes::Stored,
        next_free_at: Some(NEXT_FREE_OFFSET),
        has_footer: false,
    }
}
