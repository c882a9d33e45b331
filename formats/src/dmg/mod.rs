//! dmg: disk images of macOS ("UDIF"). They are read only.
//!
//! Chunks of the disk, most of them compressed, a list of them, and a trailer at the end of the file
//! that says where the list is: in a property list, or in a resource fork.

mod blocks;
mod lists;
mod trailer;

use std::sync::Arc;

use journal::Disk;

use self::blocks::{Chunk, Chunks, Kind};
use self::trailer::Trailer;
use crate::raw::SECTOR;
use crate::registry::{Creation, Registered, Source, no_creation, require_reading};
use crate::{
    CompressedRun, Driver, Error, Format, FormatDetails, GuestOffset, Holes, HostOffset, ImageFile, Mapping,
    Result, Stream, Target,
};

/// How the format gets in.
pub(crate) const REGISTERED: Registered = Registered {
    format: Format::Dmg,
    open: |source| Ok(Box::new(Dmg::open(source)?)),
    create: Creation::InOneFile(|_, _| Err(no_creation(Format::Dmg))),
};

/// A macOS disk image.
#[derive(Debug)]
pub struct Dmg {
    size: u64,
    chunks: Chunks,
    disk: Arc<dyn Disk>,
}

impl Dmg {
    /// An image in a file.
    pub(crate) fn open(source: Source<'_>) -> Result<Self> {
        require_reading(source.flags)?;
        let Source { disk, name, .. } = source;
        let trailer = Trailer::find(&*disk)?;
        let invalid = || Error::corrupt(format!("Could not open '{name}': Invalid argument"));
        let size = trailer.size().ok_or_else(invalid)?;
        if size > i64::MAX as u64 {
            return Err(Error::corrupt("Could not refresh total sector count: File too large"));
        }
        let chunks = lists::read(&*disk, &trailer)?.ok_or_else(invalid)?;
        Ok(Self { size, chunks, disk })
    }

    /// What no chunk holds: something of which nothing is stored, so that only who reads it fails.
    fn nothing(&self, at: GuestOffset, len: u64) -> Mapping {
        let len = len.min(SECTOR - at.0 % SECTOR);
        let (disk, offset) = (Arc::clone(&self.disk), HostOffset(0));
        let stream = Stream::Zlib;
        let run = CompressedRun { disk, offset, len: 0, cluster: at, cluster_size: len, stream };
        Mapping { len, target: Target::Compressed(run) }
    }

    /// What stands behind the guest bytes from `within` a chunk on.
    fn target(&self, chunk: &Chunk, within: u64, len: u64) -> Mapping {
        let zero = |len| Mapping { len, target: Target::Zero { host: None } };
        match chunk.kind {
            Kind::Zero => zero(len),
            // What is not stored is not there.
            Kind::Plain if within >= chunk.stored => zero(len),
            Kind::Plain => {
                let disk = Arc::clone(&self.disk);
                let offset = HostOffset(chunk.offset + within);
                let target = Target::Data { disk, offset, holes: Holes::Ignored };
                Mapping { len: len.min(chunk.stored - within), target }
            }
            Kind::Compressed(stream) => {
                let run = CompressedRun {
                    disk: Arc::clone(&self.disk),
                    offset: HostOffset(chunk.offset),
                    len: chunk.stored,
                    cluster: GuestOffset(chunk.first * SECTOR),
                    cluster_size: chunk.sectors * SECTOR,
                    stream,
                };
                Mapping { len, target: Target::Compressed(run) }
            }
        }
    }
}

impl Driver for Dmg {
    fn format(&self) -> Format {
        Format::Dmg
    }

    fn virtual_size(&self) -> u64 {
        self.size
    }

    fn map(&self, at: GuestOffset, len: u64) -> Result<Mapping> {
        let sector = at.0 / SECTOR;
        let Some(chunk) = self.chunks.find(sector).filter(|chunk| chunk.is_in_reach()) else {
            return Ok(self.nothing(at, len));
        };
        let within = at.0 - chunk.first * SECTOR;
        // A chunk of zeroes may be longer than any disk.
        let rest = (chunk.sectors - (sector - chunk.first)).saturating_mul(SECTOR) - at.0 % SECTOR;
        Ok(self.target(chunk, within, len.min(rest)))
    }

    fn tells_allocation(&self) -> bool {
        false
    }

    fn details(&self) -> Result<FormatDetails> {
        Ok(FormatDetails::default())
    }

    fn files(&self) -> Vec<ImageFile> {
        vec![ImageFile { role: "file".to_owned(), disk: Arc::clone(&self.disk), name: Vec::new() }]
    }
}
