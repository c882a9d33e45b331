//! Sparse extents: grains that tables lead to.
//!
//! ```text
//!   directory ──► grain tables ──► grains
//! ```
//!
//! A redundant copy of directory and tables is written along, and never read.

use std::sync::{Arc, Mutex};

use journal::Disk;
use zerocopy::little_endian::{U32, U64};

use super::io_error;
use super::sesparse;
use super::space::Space;
use crate::paged_table::{Page, PageCache, PagedTable};
use crate::raw::SECTOR;
use crate::{CompressedRun, Error, Framing, GuestOffset, Holes, HostOffset, Mapping, Result, Stream, Target};

/// The most sectors of a grain, and the most entries of a directory, that are believed.
const MAX_GRAIN: u64 = 0x20_0000;
pub(super) const MAX_DIRECTORY: u64 = 32 << 20;
/// The largest grain that is held in memory.
pub(super) const MAX_WHOLE_GRAIN: u64 = 32 << 20;
/// Entries of the directory that are looked at at a time.
const LOOKED_AT: u64 = 4096;
/// The entry of a grain of zeroes, where there are such.
pub(super) const ZEROED: u32 = 1;

/// What there is of a grain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grain {
    /// Nothing.
    Absent,
    /// Zeroes.
    Zero,
    /// Its bytes, at this place of the file.
    At(u64),
}

/// How grains are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Storage {
    /// As they are.
    Plain,
    /// Compressed.
    Compressed(Framing),
}

/// Whether an entry can say that a grain is zeroes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zeroes {
    /// It can.
    Marked,
    /// It cannot.
    Stored,
}

/// Where things are in an extent's file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Sectors of the disk.
    pub(super) capacity: u64,
    /// Sectors in a grain.
    pub(super) grain: u64,
    /// Entries in a grain table.
    pub(super) table_len: u64,
    /// Entries in the directory.
    pub(super) tables: u64,
    /// The directory's first byte.
    pub(super) directory_at: u64,
    /// The redundant directory's, if there is one.
    pub(super) redundant_at: Option<u64>,
    /// How grains are stored.
    pub(super) storage: Storage,
    /// Whether entries can say that grains are zeroes.
    pub(super) zeroes: Zeroes,
    /// Where the file tells the sector of the next grain, if it does.
    pub(super) next_free_at: Option<u64>,
    /// Whether the header is at the end of the file.
    pub(super) has_footer: bool,
}

/// Directory and tables.
#[derive(Debug)]
pub(super) enum Tables {
    /// Of 32 bits each: sectors.
    Narrow { directory: PagedTable<U32>, redundant: Option<PagedTable<U32>>, tables: PageCache<U32> },
    /// Of 64 bits each, as [`sesparse`] has them.
    Wide { directory: PagedTable<U64>, tables: PageCache<U64>, tables_at: u64, grains_at: u64 },
}

/// A sparse extent.
#[derive(Debug)]
pub(super) struct Sparse {
    /// For what goes where the committed image does not look, and for reading.
    pub(super) file: Arc<dyn Disk>,
    /// For what replaces something.
    pub(super) in_place: Arc<dyn Disk>,
    pub(super) layout: Layout,
    pub(super) tables: Tables,
    pub(super) space: Mutex<Space>,
}

impl Layout {
    /// Bytes in a grain.
    pub(super) fn grain_size(&self) -> u64 {
        // No more than a gibibyte.
        self.grain * SECTOR
    }

    /// Refuses what no extent has.
    fn check(&self, name: &str) -> Result<()> {
        if self.grain > MAX_GRAIN {
            return Err(Error::invalid("Invalid granularity, image may be corrupt"));
        }
        if self.tables > MAX_DIRECTORY {
            return Err(Error::invalid("L1 size too big"));
        }
        if self.grain == 0 {
            return Err(Error::invalid("L1 entry size is invalid"));
        }
        for (at, what) in [(Some(self.directory_at), "l1 table"), (self.redundant_at, "l1 backup table")] {
            if at.is_some_and(|at| at > i64::MAX as u64) {
                let reason = Error::corrupt("Input/output error");
                return Err(reason.context(format!("Could not read {what} from extent '{name}'")));
            }
        }
        if self.storage != Storage::Plain && self.grain_size() > MAX_WHOLE_GRAIN {
            let size = self.grain_size();
            return Err(Error::unsupported(format!("Compressed grains of {size} bytes are not supported")));
        }
        Ok(())
    }
}

impl Sparse {
    /// An extent in a file, which is called so.
    pub(super) fn open(file: Arc<dyn Disk>, name: &str, layout: Layout) -> Result<Self> {
        layout.check(name)?;
        let in_place = file.in_place().unwrap_or_else(|| Arc::clone(&file));
        let table = |at| PagedTable::new(Arc::clone(&in_place), at, layout.tables);
        let tables = Tables::Narrow {
            directory: table(layout.directory_at),
            redundant: layout.redundant_at.map(table),
            tables: PageCache::new(Arc::clone(&in_place)),
        };
        Ok(Self { file, in_place, layout, tables, space: Mutex::default() })
    }

    /// The same of a space-efficient extent.
    pub(super) fn open_wide(file: Arc<dyn Disk>, name: &str) -> Result<Self> {
        let header = sesparse::ConstHeader::read(&*file)?;
        let entries_per_sector = SECTOR / size_of::<U64>() as u64;
        let layout = Layout {
            capacity: header.capacity.get(),
            grain: header.grain.get(),
            table_len: sesparse::TABLE_ENTRIES,
            tables: header.directory_len.get().saturating_mul(entries_per_sector),
            directory_at: header.directory_at.get().wrapping_mul(SECTOR),
            redundant_at: None,
            storage: Storage::Plain,
            zeroes: Zeroes::Marked,
            next_free_at: None,
            has_footer: false,
        };
        layout.check(name)?;
        let tables = Tables::Wide {
            directory: PagedTable::new(Arc::clone(&file), layout.directory_at, layout.tables),
            tables: PageCache::new(Arc::clone(&file)),
            tables_at: header.tables_at.get(),
            grains_at: header.grains_at.get(),
        };
        Ok(Self { in_place: Arc::clone(&file), file, layout, tables, space: Mutex::default() })
    }

    /// Where the grain table of that number is, if it is there.
    pub(super) fn table_at(&self, number: u64) -> Result<Option<u64>> {
        if number >= self.layout.tables {
            return Err(io_error());
        }
        match &self.tables {
            Tables::Narrow { directory, .. } => {
                let sector = u64::from(directory.get(number)?.get());
                Ok((sector != 0).then_some(sector * SECTOR))
            }
            Tables::Wide { directory, tables_at, .. } => {
                sesparse::table_at(directory.get(number)?.get(), *tables_at)
            }
        }
    }

    /// The grain table that starts there.
    pub(super) fn page(&self, at: u64) -> Page {
        // A table has a few thousand entries at most.
        Page { at, len: self.layout.table_len as usize }
    }

    /// What an entry of a narrow table says.
    fn narrow_grain(&self, entry: u32) -> Grain {
        match entry {
            0 => Grain::Absent,
            ZEROED if self.layout.zeroes == Zeroes::Marked => Grain::Zero,
            sector => Grain::At(u64::from(sector) * SECTOR),
        }
    }

    /// Calls for each entry of a table from that one on, until it is told to stop.
    fn look(&self, at: u64, from: usize, mut see: impl FnMut(Result<Grain>) -> Next) -> Result<()> {
        let page = self.page(at);
        match &self.tables {
            Tables::Narrow { tables, .. } => tables.look(page, |entries| {
                let mut entries = entries.iter().skip(from);
                entries.any(|entry| see(Ok(self.narrow_grain(entry.get()))) == Next::Stop)
            })?,
            Tables::Wide { tables, grains_at, .. } => tables.look(page, |entries| {
                let mut entries = entries.iter().skip(from);
                entries.any(|entry| see(sesparse::grain(entry.get(), *grains_at)) == Next::Stop)
            })?,
        };
        Ok(())
    }

    /// What there is of a grain.
    pub(super) fn grain(&self, number: u64) -> Result<Grain> {
        Ok(self.run(number, number)?.0)
    }

    /// What there is of the first grain of a range, and how many there are of which there is the same. Of
    /// grains with bytes only one is told, and no more than a few tables are looked at.
    pub(super) fn run(&self, first: u64, last: u64) -> Result<(Grain, u64)> {
        let table_len = self.layout.table_len;
        let (number, within) = (first / table_len, first % table_len);
        let Some(at) = self.table_at(number)? else {
            let mut next = number + 1;
            let end = (last / table_len + 1).min(number + LOOKED_AT).min(self.layout.tables);
            while next < end && self.table_at(next)?.is_none() {
                next += 1;
            }
            return Ok((Grain::Absent, next.saturating_mul(table_len).min(last + 1) - first));
        };
        let (mut start, mut count) = (None, 0);
        let most = last - first + 1;
        self.look(at, within as usize, |grain| match (&start, grain) {
            (None, grain) => {
                let goes_on = matches!(grain, Ok(Grain::Absent | Grain::Zero)) && most > 1;
                count = 1;
                start = Some(grain);
                if goes_on { Next::GoOn } else { Next::Stop }
            }
            (Some(Ok(start)), Ok(grain)) if *start == grain => {
                count += 1;
                if count < most { Next::GoOn } else { Next::Stop }
            }
            _ => Next::Stop,
        })?;
        Ok((start.unwrap_or_else(|| Err(io_error()))?, count.max(1)))
    }

    /// What stands behind a range of the extent.
    pub(super) fn map(&self, at: u64, len: u64, start: u64) -> Result<Mapping> {
        let size = self.layout.grain_size();
        let (first, within) = (at / size, at % size);
        let (grain, count) = self.run(first, (at + len - 1) / size)?;
        let len = len.min((first + count).saturating_mul(size) - at);
        let target = match (grain, self.layout.storage) {
            (Grain::Absent, _) => Target::Unallocated { host: None },
            (Grain::Zero, _) => Target::Zero { host: None },
            (Grain::At(host), Storage::Plain) => Target::Data {
                disk: Arc::clone(&self.file),
                offset: HostOffset(host.saturating_add(within)),
                holes: Holes::Ignored,
            },
            (Grain::At(host), Storage::Compressed(framing)) => Target::Compressed(CompressedRun {
                disk: Arc::clone(&self.file),
                offset: HostOffset(host),
                // A stream can be longer than what it holds.
                len: 2 * size + size_of::<crate::codec::grain::Marker>() as u64,
                cluster: GuestOffset(start + at - within),
                cluster_size: size,
                stream: Stream::Grain { framing, least: self.least(first) },
            }),
        };
        Ok(Mapping { len, target })
    }

    /// How many bytes of a compressed grain are the disk's.
    fn least(&self, grain: u64) -> u32 {
        let size = self.layout.grain_size();
        let left = self.layout.capacity.saturating_mul(SECTOR).saturating_sub(grain.saturating_mul(size));
        // Compressed grains are not that large.
        left.min(size).try_into().unwrap_or(u32::MAX)
    }
}

/// Whether somebody who looks has seen enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    Stop,
}
