//! VHDX: Hyper-V's disks since 2012 ([MS-VHDX]).
//!
//! ```text
//!   signature │ two headers │ two region tables │ log │ block table │ metadata │ blocks …
//! ```
//!
//! Of the two headers the one with the higher number counts. It names the log, whose entries must be replayed
//! before anything else is looked at: into the file if it may be written, else before a reader's eyes.

mod bat;
mod check;
mod create;
mod grow;
mod header;
mod log;
mod metadata;
mod parent;
mod regions;
mod replay;
mod writer;

use std::sync::{Arc, Mutex};

use journal::{Access, Disk};
use zerocopy::little_endian::U64;

use self::bat::Block;
use self::check::{Listener, Table};
use self::header::{Content, FILE_SIGNATURE, HEADER_OFFSETS, Header, Region, RegionTable, read_headers};
use self::metadata::{MAX_SIZE, Metadata};
use self::parent::{Locator, Parent};
use self::regions::Regions;
use self::replay::{Replay, Replayed};
use self::writer::State;
use crate::differencing::require_parent;
use crate::paged_table::{PAGE_ENTRIES, PagedTable};
use crate::registry::{Creation, Registered, Source};
use crate::resizable::Resizable;
use crate::sector_bitmap::{self, FirstBit};
use crate::{
    BackingReference, CheckReport, DiskIdentity, Driver, Error, Finding, Format, FormatDetails, GuestOffset,
    Holes, HostOffset, ImageFile, Mapping, OpenFlags, Repair, Repaired, Repairer, Result, Target, Writer,
};

/// How the format gets in.
pub(crate) const REGISTERED: Registered = Registered {
    format: Format::Vhdx,
    open: |source| Ok(Box::new(Resizable::new(Vhdx::open(source)?))),
    create: Creation::InFiles(create::create),
};

/// A VHDX image.
#[derive(Debug)]
pub struct Vhdx {
    /// The file as it was given.
    file: Arc<dyn Disk>,
    /// The same with the log replayed; what is written here replaces something.
    in_place: Arc<dyn Disk>,
    bat: Region,
    metadata_region: Region,
    table: PagedTable<U64>,
    metadata: Metadata,
    regions: Regions,
    /// The disk that this one stands on.
    parent: Option<Parent>,
    state: Mutex<State>,
    /// Whether a log has been replayed into the file.
    was_replayed: bool,
    flags: OpenFlags,
    name: String,
}

/// Why an image is not opened.
#[derive(Debug)]
enum Refusal {
    /// It contradicts the format.
    Invalid,
    /// It needs something that is not there.
    Unsupported,
    /// For this reason.
    Because(Error),
}

impl Refusal {
    fn said(text: &str) -> Self {
        Self::Because(Error::corrupt(text))
    }

    /// What a person is told: the operating system's words, where QEMU has no own ones.
    fn into_error(self, name: &str) -> Error {
        match self {
            Self::Invalid => Error::corrupt(format!("Could not open '{name}': Invalid argument")),
            Self::Unsupported => {
                Error::unsupported(format!("Could not open '{name}': Operation not supported"))
            }
            Self::Because(error) => error,
        }
    }
}

impl<E: Into<Error>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Because(error.into())
    }
}

impl Vhdx {
    /// An image in a file.
    pub(crate) fn open(source: Source<'_>) -> Result<Self> {
        let name = source.name.to_owned();
        Self::try_open(source).map_err(|refusal| refusal.into_error(&name))
    }

    fn try_open(source: Source<'_>) -> std::result::Result<Self, Refusal> {
        let Source { disk: file, flags, name, .. } = source;
        let mut in_place = file.in_place().unwrap_or_else(|| Arc::clone(&file));
        let mut signature = [0; FILE_SIGNATURE.len()];
        in_place.read_padded(0, &mut signature)?;
        if signature != FILE_SIGNATURE {
            return Err(Refusal::Invalid);
        }
        let (mut header, index) = read_headers(&*in_place)?;
        let mut regions = Regions::default();
        let log = header.log();
        regions.add(log.start, log.end - log.start)?;
        let mut was_replayed = false;
        if let Some(replay) = log::read(&*in_place, &header)? {
            if flags.access == Access::Write {
                header = write_back(&replay, &*in_place, &header, index)?;
                was_replayed = true;
            } else if flags.check {
                return Err(needs_replay(name).into());
            } else {
                in_place = Arc::new(Replayed::new(in_place, replay));
            }
        }
        let table = RegionTable::read(&*in_place, &mut regions)?;
        let metadata = Metadata::read(&*in_place, table.metadata)?;
        let entries = metadata.entries();
        if entries > u64::from(table.bat.length) / size_of::<U64>() as u64 {
            return Err(Refusal::Invalid);
        }
        if metadata.size > i64::MAX as u64 {
            return Err(Refusal::said("Could not refresh total sector count: File too large"));
        }
        if metadata.size > MAX_SIZE {
            return Err(Refusal::Invalid);
        }
        let RegionTable { bat, metadata: metadata_region } = table;
        let table = PagedTable::new(Arc::clone(&in_place), bat.offset, entries);
        let name = name.to_owned();
        let state = Mutex::new(State::new(header, index));
        let flags = *flags;
        let parent = match metadata.parent_locator {
            Some(at) => Some(Locator::read(&*in_place, metadata_region.offset + u64::from(at))?.parent()?),
            None => None,
        };
        let image = Self {
            file,
            in_place,
            bat,
            metadata_region,
            table,
            metadata,
            regions,
            parent,
            state,
            was_replayed,
            flags,
            name,
        };
        if !flags.check {
            image.refuse_damage()?;
        }
        Ok(image)
    }

    fn table_to_check(&self) -> Table<'_> {
        Table { disk: &*self.in_place, bat: self.bat, metadata: &self.metadata, regions: &self.regions }
    }

    /// Refuses an image whose blocks lie where none can be.
    fn refuse_damage(&self) -> std::result::Result<(), Refusal> {
        let mut is_damaged = false;
        self.table_to_check().check(&mut |text| {
            crate::notice::complain(&text);
            is_damaged = true;
            Listener::HasEnough
        })?;
        if is_damaged { Err(Refusal::Invalid) } else { Ok(()) }
    }

    /// What the table says of a guest block.
    fn block(&self, block: u64) -> Result<Block> {
        let entry = self.table.get(self.metadata.entry_of(block))?.get();
        Ok(Block::of(entry, self.parent.is_some()))
    }
}

impl Vhdx {
    /// What stands behind a range of a block of which the parent has a part.
    fn map_sectors(&self, block: u64, host: u64, within: u64, len: u64) -> Result<Mapping> {
        let bitmap = self.table.get(self.metadata.bitmap_entry_of(block))?.get();
        let Block::Present(bitmap) = Block::of(bitmap, true) else {
            return Err(Error::corrupt("Input/output error"));
        };
        let sector_size = self.metadata.sector_size;
        let before = block % self.metadata.chunk_ratio() * self.metadata.block_size;
        let first = (before + within) / sector_size;
        let end = (before + within + len).div_ceil(sector_size);
        let (is_here, past) = sector_bitmap::run(&*self.in_place, bitmap, first, end, FirstBit::Lowest)?;
        let target = match is_here {
            true => Target::Data {
                disk: Arc::clone(&self.in_place),
                offset: HostOffset(host.saturating_add(within)),
                holes: Holes::Ignored,
            },
            false => Target::Unallocated { host: None },
        };
        Ok(Mapping { len: len.min(past * sector_size - before - within), target })
    }
}

fn needs_replay(name: &str) -> Error {
    let text =
        format!("VHDX image file '{name}' opened read-only, but contains a log that needs to be replayed");
    Error::invalid(text).with_hint(format!("To replay the log, run:\nqemu-img check -r all '{name}'"))
}

/// Replays a log into the file, and says so in the headers. The one that counts then.
fn write_back(replay: &Replay, disk: &dyn Disk, header: &Header, index: usize) -> Result<Header> {
    replay.apply(disk)?;
    let next = header.next([0; 16], Content::Same);
    write_headers(disk, &next, index)?;
    Ok(next.following())
}

/// Replaces the header that does not count, and then the other one. One of them is whole at any time.
fn write_headers(disk: &dyn Disk, header: &Header, index: usize) -> Result<()> {
    disk.write_at(HEADER_OFFSETS[1 - index], &header.to_bytes())?;
    Ok(disk.write_at(HEADER_OFFSETS[index], &header.following().to_bytes())?)
}

impl Driver for Vhdx {
    fn format(&self) -> Format {
        Format::Vhdx
    }

    fn virtual_size(&self) -> u64 {
        self.metadata.virtual_size()
    }

    fn map(&self, at: GuestOffset, len: u64) -> Result<Mapping> {
        let block_size = self.metadata.block_size;
        let (first, within) = (at.0 / block_size, at.0 % block_size);
        // No further than a page of the table: who asks may need only a little of it.
        let last = ((at.0 + len - 1) / block_size).min((first / PAGE_ENTRIES + 1) * PAGE_ENTRIES - 1);
        let start = self.block(first)?;
        let mut next = first + 1;
        while matches!(start, Block::Zero | Block::Parent) && next <= last && self.block(next)? == start {
            next += 1;
        }
        let target = match start {
            Block::Parent => Target::Unallocated { host: None },
            Block::Partial(host) => {
                return self.map_sectors(first, host, within, len.min(block_size - within));
            }
            Block::Zero => Target::Zero { host: None },
            Block::Present(host) => Target::Data {
                disk: Arc::clone(&self.in_place),
                offset: HostOffset(host.saturating_add(within)),
                holes: Holes::Ignored,
            },
            Block::Unreadable => return Err(Error::corrupt("Input/output error")),
        };
        Ok(Mapping { len: len.min(next * block_size - at.0), target })
    }

    /// Of this format QEMU does not tell what is allocated; it does not know differencing disks.
    fn tells_allocation(&self) -> bool {
        self.parent.is_some()
    }

    fn backing(&self) -> Option<&BackingReference> {
        self.parent.as_ref().map(|parent| &parent.reference)
    }

    fn stand_on(&mut self, backing: &dyn Driver) -> Result<()> {
        let parent = self.parent.as_ref();
        parent.map_or(Ok(()), |parent| require_parent(backing, |identity| parent.is(identity)))
    }

    /// The parent's content, which has another identity whenever it is changed.
    fn identity(&self) -> Result<Option<DiskIdentity>> {
        let modified = self.file.status()?.modified;
        Ok(Some(DiskIdentity { id: self.data_write(), modified, sector_size: self.metadata.sector_size }))
    }

    fn details(&self) -> Result<FormatDetails> {
        let cluster_size = Some(self.metadata.block_size);
        Ok(FormatDetails { cluster_size, dirty: Some(false), ..FormatDetails::default() })
    }

    fn files(&self) -> Vec<ImageFile> {
        vec![ImageFile { role: "file".to_owned(), disk: Arc::clone(&self.file), name: Vec::new() }]
    }

    fn writer(&self) -> Option<&dyn Writer> {
        (self.flags.access == Access::Write && self.can_write()).then_some(self as _)
    }

    fn can_check(&self) -> bool {
        true
    }

    fn check(&self, tell: &mut dyn FnMut(Finding)) -> Result<CheckReport> {
        let mut report = CheckReport::default();
        self.table_to_check().check(&mut |text| {
            report.corruptions += 1;
            tell(Finding::Complaint(text));
            Listener::WantsMore
        })?;
        Ok(report)
    }

    fn repairer(&self) -> Option<&dyn Repairer> {
        Some(self)
    }
}

/// What is repaired is a log that was not replayed, and that has happened when the image was opened.
impl Repairer for Vhdx {
    fn repair(&self, _what: Repair, tell: &mut dyn FnMut(Finding)) -> Repaired {
        let found = self.check(tell);
        let report = found.as_ref().cloned().unwrap_or_default();
        let report = CheckReport { corruptions_fixed: self.was_replayed.into(), ..report };
        let again = || {
            let source = Source::alone(Arc::clone(&self.file), &self.flags, &self.name);
            Ok(Box::new(Self::open(source)?) as _)
        };
        Repaired { report, lost: 0, image: found.and_then(|_| again()) }
    }
}
