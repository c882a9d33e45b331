//! Grains of a sparse extent that get a place, and their entries.

use std::sync::{Arc, MutexGuard, PoisonError};

use journal::{Disk, Zeroing};
use zerocopy::IntoBytes;
use zerocopy::little_endian::U32;

use super::grains::{Grain, Sparse, Storage, Tables, ZEROED, Zeroes};
use super::{invalid, io_error};
use crate::codec::Encoder;
use crate::codec::grain::Marker;
use crate::paged_table::PagedTable;
use crate::raw::{SECTOR, sectors};
use crate::{Error, Result, Stream};

/// New grains that are given a place at once.
const AT_ONCE: u64 = 64;

/// The end of an extent's file.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// The first byte that the committed image does not have, once there is something after it.
    fresh_from: Option<u64>,
    /// Where the next compressed grain goes.
    next: Option<u64>,
    /// Whether it was told already that compressed grains are written once.
    has_complained: bool,
}

/// When a new grain is entered in the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entering {
    /// At once: until it is written it reads as before, as zeroes.
    AtOnce,
    /// When it is written.
    WhenWritten,
}

/// A place for some bytes.
pub(super) struct Place {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) offset: u64,
    pub(super) len: u64,
}

impl Sparse {
    fn space(&self) -> MutexGuard<'_, Space> {
        self.space.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk to write to what stands there.
    fn disk_at(&self, host: u64) -> &Arc<dyn Disk> {
        let is_fresh = self.space().fresh_from.is_some_and(|from| host >= from);
        if is_fresh { &self.file } else { &self.in_place }
    }

    /// Finds a place for a range of the extent.
    pub(super) fn place(&self, at: u64, len: u64, entering: Entering) -> Result<Place> {
        let size = self.layout.grain_size();
        let (first, within) = (at / size, at % size);
        let last = (at + len - 1) / size;
        let (host, count) = match self.grain(first)? {
            Grain::At(host) => (host, self.contiguous(first, last, host)?),
            Grain::Absent | Grain::Zero => {
                let count = self.absent(first, last.min(first + AT_ONCE - 1))?;
                let host = self.append(count)?;
                if entering == Entering::AtOnce {
                    self.enter_run(first, count, host)?;
                }
                (host, count)
            }
        };
        let disk = Arc::clone(self.disk_at(host));
        Ok(Place { disk, offset: host.saturating_add(within), len: len.min((first + count) * size - at) })
    }

    /// How many grains from the first one on, which stands there, follow one another.
    fn contiguous(&self, first: u64, last: u64, host: u64) -> Result<u64> {
        let size = self.layout.grain_size();
        let from = self.space().fresh_from.unwrap_or(u64::MAX);
        let mut count = 1;
        while count < AT_ONCE && first + count <= last {
            let next = host.saturating_add(count * size);
            if (next >= from) != (host >= from) || self.grain(first + count)? != Grain::At(next) {
                break;
            }
            count += 1;
        }
        Ok(count)
    }

    /// How many grains from the first one on have no bytes.
    fn absent(&self, first: u64, last: u64) -> Result<u64> {
        let mut count = 1;
        while first + count <= last && !matches!(self.grain(first + count)?, Grain::At(_)) {
            count += 1;
        }
        Ok(count)
    }

    /// Gives some grains a place at the end of the file.
    fn append(&self, count: u64) -> Result<u64> {
        let size = self.layout.grain_size();
        let host = self.file.len()?.next_multiple_of(size);
        let end = host.checked_add(count * size).ok_or_else(invalid)?;
        self.reach(host)?;
        self.file.set_len(end)?;
        self.space().fresh_from.get_or_insert(host);
        Ok(host)
    }

    /// Fails where no table can lead to.
    pub(super) fn reach(&self, host: u64) -> Result<U32> {
        u32::try_from(host / SECTOR).map(U32::new).map_err(|_| invalid())
    }

    /// Enters grains that stand there one after another.
    pub(super) fn enter_run(&self, first: u64, count: u64, host: u64) -> Result<()> {
        for number in first..first + count {
            let host = host + (number - first) * self.layout.grain_size();
            if self.grain(number)? != Grain::At(host) {
                self.enter(number, self.reach(host)?)?;
            }
        }
        Ok(())
    }

    /// Changes a grain's entry, and that of the redundant table.
    fn enter(&self, number: u64, entry: U32) -> Result<()> {
        let Tables::Narrow { directory, redundant, tables } = &self.tables else { return Err(invalid()) };
        let (table, within) = (number / self.layout.table_len, number % self.layout.table_len);
        for directory in std::iter::once(directory).chain(redundant) {
            let at = self.table_in(directory, table)?;
            tables.set_spilling(self.page(at), within as usize, entry)?;
        }
        Ok(())
    }

    /// Where a grain table is; one that is not there is made.
    fn table_in(&self, directory: &PagedTable<U32>, number: u64) -> Result<u64> {
        if number >= directory.count() {
            return Err(io_error());
        }
        let sector = u64::from(directory.get(number)?.get());
        if sector != 0 {
            return Ok(sector * SECTOR);
        }
        let at = sectors(self.file.len()?);
        let entry = self.reach(at)?;
        self.file.set_len(at + sectors(self.layout.table_len * size_of::<U32>() as u64))?;
        self.space().fresh_from.get_or_insert(at);
        directory.set(number, entry)?;
        Ok(at)
    }

    /// Makes a range of the extent zeroes. Over another image it consists of whole grains.
    pub(super) fn zero(&self, at: u64, len: u64, start: u64, how: Zeroing, entering: Entering) -> Result<()> {
        let size = self.layout.grain_size();
        let end = at + len;
        let mut at = at;
        while at < end {
            let (first, within) = (at / size, at % size);
            let (grain, count) = self.run(first, (end - 1) / size)?;
            let count =
                if grain == Grain::Absent { count.min(AT_ONCE.max(self.layout.table_len)) } else { count };
            let len = ((first + count) * size).min(end) - at;
            match (grain, entering, self.layout.storage) {
                (Grain::Zero, ..) | (Grain::Absent, Entering::AtOnce, _) => {}
                (Grain::At(_), _, Storage::Compressed(_)) => return Err(self.written_once()),
                (Grain::At(host), _, Storage::Plain) => {
                    let host = host.saturating_add(within);
                    self.disk_at(host).zero(host..host.saturating_add(len), how)?;
                }
                (Grain::Absent, Entering::WhenWritten, storage) => {
                    self.hide(first, count, start, storage)?;
                }
            }
            at += len;
        }
        Ok(())
    }

    /// Makes absent grains zeroes, whatever is behind them.
    fn hide(&self, first: u64, count: u64, start: u64, storage: Storage) -> Result<()> {
        if self.layout.zeroes == Zeroes::Marked {
            return (first..first + count).try_for_each(|number| self.enter(number, U32::new(ZEROED)));
        }
        match storage {
            Storage::Plain => {
                let host = self.append(count)?;
                self.enter_run(first, count, host)
            }
            Storage::Compressed(_) => {
                let size = self.layout.grain_size();
                let grain = vec![0; size as usize];
                let mut payload = vec![0; max_payload(size) as usize];
                let len = Encoder::new(Stream::Zlib)?.encode(&grain, &mut payload).ok_or_else(invalid)?;
                payload.truncate(len);
                (first..first + count)
                    .try_for_each(|number| self.put(number, (start + number * size) / SECTOR, &payload))
            }
        }
    }

    /// Writes a compressed grain, which begins with that sector of the disk.
    pub(super) fn put(&self, number: u64, sector: u64, payload: &[u8]) -> Result<()> {
        if matches!(self.grain(number)?, Grain::At(_)) {
            return Err(self.written_once());
        }
        let len = u32::try_from(payload.len()).map_err(|_| invalid())?;
        let marker = Marker { sector: sector.into(), len: len.into() };
        let mut bytes = [marker.as_bytes(), payload].concat();
        bytes.resize(sectors(bytes.len() as u64) as usize, 0);
        let host = {
            let mut space = self.space();
            let end = self.file.len()?;
            let host = space.next.unwrap_or(end.next_multiple_of(self.layout.grain_size())).max(sectors(end));
            space.fresh_from.get_or_insert(host);
            space.next = Some(host + bytes.len() as u64);
            host
        };
        let entry = self.reach(host)?;
        self.file.write_at(host, &bytes)?;
        self.enter(number, entry)
    }

    /// The refusal to write a compressed grain again.
    pub(super) fn written_once(&self) -> Error {
        if !std::mem::replace(&mut self.space().has_complained, true) {
            crate::notice::complain("Could not write to allocated cluster for streamOptimized");
        }
        io_error()
    }

    /// Writes the tables.
    pub(super) fn flush(&self) -> Result<()> {
        if let Tables::Narrow { directory, redundant, tables } = &self.tables {
            tables.flush()?;
            directory.flush()?;
            redundant.as_ref().map_or(Ok(()), PagedTable::flush)?;
        }
        let is_longer = self.space().fresh_from.take().is_some();
        if let Some(at) = self.layout.next_free_at.filter(|_| is_longer) {
            let next = self.reach(sectors(self.file.len()?))?;
            self.in_place.write_at(at, next.as_bytes())?;
        }
        Ok(())
    }
}

/// The longest that a compressed grain can be.
pub(super) fn max_payload(grain: u64) -> u64 {
    grain + grain / 64 + 64
}
