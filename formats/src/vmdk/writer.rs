//! Writing into a VMDK image.
//!
//! A grain that is there is written where it is; one that is not gets a place at the end of its file. Over
//! another image grains are written as a whole, and entered in the tables when they are. Compressed grains are
//! written once.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, MutexGuard, PoisonError};

use journal::{Disk, Zeroing};
use zerocopy::IntoBytes;
use zerocopy::little_endian::U32;

use super::descriptor;
use super::extents::{Body, Extent};
use super::grains::{Grain, MAX_WHOLE_GRAIN, Sparse, Storage, Tables, ZEROED, Zeroes};
use super::{EMBEDDED_AT, NO_PARENT, Vmdk, invalid, io_error};
use crate::codec::Encoder;
use crate::codec::grain::Marker;
use crate::paged_table::PagedTable;
use crate::raw::{SECTOR, sectors};
use crate::{
    Allocation, Compressing, Compression, Driver, Durability, Error, GuestOffset, HostOffset, Result, Stream,
    Writer,
};

/// New grains that are given a place at once.
const AT_ONCE: u64 = 64;

/// What changes of an image as a whole.
#[derive(Debug)]
pub(super) struct Changes {
    /// Its identity now.
    pub(super) identity: u32,
    /// The identity of the image behind it, if that has become another one.
    parent: Option<u32>,
    /// Whether its content was changed since the last commit.
    has_changed: bool,
}

impl Changes {
    pub(super) fn new(identity: u32) -> Self {
        Self { identity, parent: None, has_changed: false }
    }
}

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
enum Entering {
    /// At once: until it is written it reads as before, as zeroes.
    AtOnce,
    /// When it is written.
    WhenWritten,
}

/// A place for some bytes.
struct Place {
    disk: Arc<dyn Disk>,
    offset: u64,
    len: u64,
}

/// An identity for new content.
pub(super) fn random_identity() -> u32 {
    let random = RandomState::new().hash_one(std::process::id()) as u32;
    if random == NO_PARENT { 1 } else { random }
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
    fn place(&self, at: u64, len: u64, entering: Entering) -> Result<Place> {
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
    fn reach(&self, host: u64) -> Result<U32> {
        u32::try_from(host / SECTOR).map(U32::new).map_err(|_| invalid())
    }

    /// Enters grains that stand there one after another.
    fn enter_run(&self, first: u64, count: u64, host: u64) -> Result<()> {
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
    fn zero(&self, at: u64, len: u64, start: u64, how: Zeroing, entering: Entering) -> Result<()> {
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
    fn put(&self, number: u64, sector: u64, payload: &[u8]) -> Result<()> {
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
    fn written_once(&self) -> Error {
        if !std::mem::replace(&mut self.space().has_complained, true) {
            crate::notice::complain("Could not write to allocated cluster for streamOptimized");
        }
        io_error()
    }

    /// Writes the tables.
    fn flush(&self) -> Result<()> {
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
fn max_payload(grain: u64) -> u64 {
    grain + grain / 64 + 64
}

impl Vmdk {
    pub(super) fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sparse(&self) -> impl Iterator<Item = (&Extent, &Sparse)> {
        self.extents.iter().filter_map(|extent| match &extent.body {
            Body::Sparse(sparse) => Some((extent, &**sparse)),
            Body::Flat { .. } => None,
        })
    }

    fn is_compressed(&self) -> bool {
        self.extents.iter().any(Extent::is_compressed)
    }

    fn entering(&self) -> Entering {
        if self.parent.is_some() { Entering::WhenWritten } else { Entering::AtOnce }
    }

    /// Whether what is written goes into whole grains.
    fn needs_whole_grains(&self) -> bool {
        self.parent.is_some() || self.is_compressed()
    }

    /// Whether it can be written: whole grains must be of one size, and one unit of the disk each; and what
    /// ends with its header cannot grow.
    pub(super) fn can_write(&self) -> bool {
        let is_regular = |(extent, sparse): (&Extent, &Sparse)| {
            let size = sparse.layout.grain_size();
            let is_whole = size <= MAX_WHOLE_GRAIN && extent.start.is_multiple_of(size);
            !sparse.layout.has_footer
                && (is_whole && size == self.granularity() || !self.needs_whole_grains())
        };
        let is_alike = self.extents.iter().all(|extent| extent.is_compressed() == self.is_compressed());
        let is_nothing = self.extents.is_empty() && !super::extents::is_described(&self.create_type);
        is_alike && !is_nothing && self.sparse().all(is_regular)
    }

    /// Writes the descriptor with the identities as they are now.
    fn write_descriptor(&self, changes: &Changes) -> Result<()> {
        let in_place = self.file.in_place().unwrap_or_else(|| Arc::clone(&self.file));
        let is_embedded = self.descriptor_at == EMBEDDED_AT;
        let mut text = descriptor::read(&*in_place, self.descriptor_at)?;
        if is_embedded {
            text.truncate(descriptor::LOOKED_AT);
        }
        let before = text.len();
        let set = descriptor::set_identity(&mut text, b"CID", changes.identity);
        let set_parent = match changes.parent {
            Some(parent) => descriptor::set_identity(&mut text, b"parentCID", parent),
            None => Some(()),
        };
        set.and(set_parent).ok_or_else(invalid)?;
        if is_embedded && text.len() > descriptor::LOOKED_AT {
            return Err(Error::corrupt("The descriptor has no room for another identity"));
        }
        // Whole sectors, as QEMU leaves it.
        let len = sectors(text.len().max(before) as u64) as usize;
        text.resize(if is_embedded { len.min(descriptor::LOOKED_AT) } else { len }, 0);
        Ok(in_place.write_at(self.descriptor_at, &text)?)
    }
}

impl Writer for Vmdk {
    fn granularity(&self) -> u64 {
        let size = self.sparse().next().map(|(_, sparse)| sparse.layout.grain_size());
        size.filter(|_| self.needs_whole_grains()).unwrap_or(1)
    }

    fn prepare(&self, at: GuestOffset, len: u64) -> Result<Allocation> {
        let extent = self.extent(at.0)?;
        let (within, len) = (at.0 - extent.start, len.min(extent.end - at.0));
        let place = match &extent.body {
            Body::Flat { in_place, offset, .. } => {
                Place { disk: Arc::clone(in_place), offset: offset.saturating_add(within), len }
            }
            Body::Sparse(sparse) if sparse.layout.storage == Storage::Plain => {
                sparse.place(within, len, self.entering())?
            }
            Body::Sparse(sparse) => {
                let is_there = matches!(sparse.grain(within / sparse.layout.grain_size())?, Grain::At(_));
                return Err(if is_there { sparse.written_once() } else { invalid() });
            }
        };
        self.changes().has_changed = true;
        Ok(Allocation { at, len: place.len, disk: place.disk, offset: HostOffset(place.offset) })
    }

    fn link(&self, allocation: &Allocation) -> Result<()> {
        let extent = self.extent(allocation.at.0)?;
        match &extent.body {
            Body::Sparse(sparse) if self.parent.is_some() => {
                let size = sparse.layout.grain_size();
                let count = allocation.len.div_ceil(size);
                sparse.enter_run((allocation.at.0 - extent.start) / size, count, allocation.offset.0)
            }
            _ => Ok(()),
        }
    }

    fn zero(&self, at: GuestOffset, len: u64, how: Zeroing) -> Result<()> {
        let end = at.0.saturating_add(len);
        let mut at = at.0;
        self.changes().has_changed |= at < end;
        while at < end {
            let extent = self.extent(at)?;
            let (within, len) = (at - extent.start, end.min(extent.end) - at);
            match &extent.body {
                Body::Flat { in_place, offset, .. } => {
                    let start = offset.saturating_add(within);
                    in_place.zero(start..start.saturating_add(len), how)?;
                }
                Body::Sparse(sparse) => sparse.zero(within, len, extent.start, how, self.entering())?,
            }
            at += len;
        }
        Ok(())
    }

    fn discard(&self, at: GuestOffset, len: u64) -> Result<()> {
        self.zero(at, len, Zeroing::Unmap)
    }

    fn compression(&self) -> Option<Compression> {
        let cluster_size = self.granularity();
        let compression =
            Compression { stream: Stream::Zlib, cluster_size, max_len: max_payload(cluster_size) };
        self.is_compressed().then_some(compression)
    }

    fn compressing(&self) -> Compressing {
        if self.is_compressed() {
            Compressing::Always
        } else if self.sparse().next().is_some() {
            Compressing::InVain
        } else {
            Compressing::Never
        }
    }

    fn write_compressed(&self, at: GuestOffset, payload: &[u8]) -> Result<()> {
        let extent = self.extent(at.0)?;
        let Body::Sparse(sparse) = &extent.body else { return Err(invalid()) };
        let number = (at.0 - extent.start) / sparse.layout.grain_size();
        sparse.put(number, at.0 / SECTOR, payload)?;
        self.changes().has_changed = true;
        Ok(())
    }

    fn overwrites(&self) -> bool {
        !self.is_compressed()
    }

    fn follow(&self, backing: &dyn Driver) {
        if self.parent.is_some() {
            self.changes().parent = backing.content_id().filter(|&id| id != self.identities.1);
        }
    }

    fn commit(&self, durability: Durability) -> Result<()> {
        let mut changes = self.changes();
        for (_, sparse) in self.sparse() {
            sparse.flush()?;
        }
        if changes.has_changed || changes.parent.is_some() {
            if std::mem::take(&mut changes.has_changed) {
                changes.identity = random_identity();
            }
            self.write_descriptor(&changes)?;
            changes.parent = None;
        }
        if durability == Durability::Durable {
            for file in self.files() {
                file.disk.sync()?;
            }
        }
        Ok(())
    }
}
