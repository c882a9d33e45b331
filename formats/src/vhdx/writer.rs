//! Writing into a VHDX image.
//!
//! A block that is there is written where it is; one that is not gets a place at the end of the file. Over a
//! parent blocks are written as a whole: then no bitmap has to tell whose their sectors are.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use journal::{Disk, Zeroing};
use zerocopy::little_endian::U64;

use super::bat::Block;
use super::header::{Content, Guid, Header, MIB};
use super::metadata::{parent_locator, replace_parent_locator};
use super::parent::Locator;
use super::{Refusal, Vhdx, write_headers};
use crate::differencing::ParentChange;
use crate::paged_table::Bits;
use crate::{
    Allocation, BackingReference, Driver, Durability, Error, Format, GuestOffset, HostOffset, Overlay,
    Result, Writer,
};

/// Larger blocks are not held in memory.
const MAX_WHOLE_BLOCK: u64 = 32 * MIB;

/// What changes as an image is written.
#[derive(Debug)]
pub(super) struct State {
    /// The header that counts, and which of the two it is.
    header: (Header, usize),
    /// Blocks that the committed image does not have.
    fresh: Bits,
    /// Blocks that are the parent's, in whole or in part, until they are written: where they go.
    pending: BTreeMap<u64, u64>,
    /// Whether anything was written since the last commit.
    is_changed: bool,
    /// What becomes of the parent's name and identity.
    parent: ParentChange,
    /// Whether everything that the image held has been given up.
    is_emptied: bool,
}

impl State {
    pub(super) fn new(header: Header, index: usize) -> Self {
        Self {
            header: (header, index),
            fresh: Bits::default(),
            pending: BTreeMap::new(),
            is_changed: false,
            parent: ParentChange::default(),
            is_emptied: false,
        }
    }
}

impl Vhdx {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a block is, and the disk to write it to.
    fn place(&self, block: u64, state: &mut State) -> Result<(u64, &Arc<dyn Disk>)> {
        state.is_changed = true;
        match self.block(block)? {
            Block::Present(host) if state.fresh.contains(block) => Ok((host, &self.file)),
            Block::Present(host) => Ok((host, &self.in_place)),
            Block::Unreadable => Err(Error::corrupt("Input/output error")),
            Block::Partial(host) => {
                state.pending.insert(block, host);
                Ok((host, &self.in_place))
            }
            Block::Parent => {
                let host = self.append(block, state)?;
                state.pending.insert(block, host);
                Ok((host, &self.file))
            }
            Block::Zero => {
                let host = self.append(block, state)?;
                self.enter(block, host)?;
                Ok((host, &self.file))
            }
        }
    }

    /// Gives a block a place at the end of the file.
    fn append(&self, block: u64, state: &mut State) -> Result<u64> {
        let host = self.file.len()?.next_multiple_of(MIB);
        self.file.set_len(host + self.metadata.block_size)?;
        if state.fresh.is_empty() {
            state.fresh = Bits::new(self.metadata.blocks());
        }
        state.fresh.insert(block);
        Ok(host)
    }

    /// Puts a block into the table.
    fn enter(&self, block: u64, host: u64) -> Result<()> {
        self.table.set(self.metadata.entry_of(block), U64::new(Block::present(host)))
    }

    /// The header that counts, and which of the two it is.
    pub(super) fn header(&self) -> (Header, usize) {
        self.state().header
    }

    /// Which content the image has.
    pub(super) fn data_write(&self) -> Guid {
        self.state().header.0.data_write
    }

    /// Writes what has become of the parent.
    fn write_parent(&self, change: &ParentChange) -> std::result::Result<(), Refusal> {
        let Some(at) = parent_locator(&*self.in_place, self.metadata_region)? else { return Ok(()) };
        let mut locator = Locator::read(&*self.in_place, at)?;
        locator.apply(change);
        replace_parent_locator(&*self.in_place, self.metadata_region, &locator.to_bytes())
    }

    /// Cuts off the blocks of an image that holds none.
    fn drop_blocks(&self) -> Result<()> {
        let end = self.regions.end().next_multiple_of(MIB);
        if self.in_place.len()? > end {
            self.in_place.set_len(end)?;
        }
        Ok(())
    }

    /// Whether blocks are small enough to be written as a whole where that must be.
    pub(super) fn can_write(&self) -> bool {
        self.parent.is_none() || self.metadata.block_size <= MAX_WHOLE_BLOCK
    }
}

impl Writer for Vhdx {
    fn granularity(&self) -> u64 {
        if self.parent.is_some() { self.metadata.block_size } else { 1 }
    }

    fn prepare(&self, at: GuestOffset, len: u64) -> Result<Allocation> {
        let block_size = self.metadata.block_size;
        let (block, within) = (at.0 / block_size, at.0 % block_size);
        let mut state = self.state();
        let (host, disk) = self.place(block, &mut state)?;
        let offset = HostOffset(host.saturating_add(within));
        Ok(Allocation { at, len: len.min(block_size - within), disk: Arc::clone(disk), offset })
    }

    /// A block of zeroes has been entered already: until it is written it reads as before.
    fn link(&self, allocation: &Allocation) -> Result<()> {
        let block = allocation.at.0 / self.metadata.block_size;
        match self.state().pending.remove(&block) {
            Some(host) => self.enter(block, host),
            None => Ok(()),
        }
    }

    fn zero(&self, at: GuestOffset, len: u64, how: Zeroing) -> Result<()> {
        let block_size = self.metadata.block_size;
        let end = at.0.saturating_add(len);
        let mut start = at.0;
        while start < end {
            let len = (end - start).min(block_size - start % block_size);
            if self.block(start / block_size)? != Block::Zero {
                let run = self.prepare(GuestOffset(start), len)?;
                run.disk.zero(run.offset.0..run.offset.0.saturating_add(len), how)?;
                self.link(&run)?;
            }
            start += len;
        }
        Ok(())
    }

    fn discard(&self, at: GuestOffset, len: u64) -> Result<()> {
        self.zero(at, len, Zeroing::Unmap)
    }

    fn overwrites(&self) -> bool {
        true
    }

    fn follow(&self, backing: &dyn Driver) {
        if self.parent.is_some() && backing.format() == Format::Vhdx {
            self.state().parent.identity = backing.identity().ok().flatten();
        }
    }

    fn overlay(&self) -> Option<&dyn Overlay> {
        self.parent.is_some().then_some(self as _)
    }

    fn commit(&self, durability: Durability) -> Result<()> {
        let mut state = self.state();
        self.table.flush()?;
        let change = std::mem::take(&mut state.parent);
        // Who puts the disk on another parent writes what the guest would miss of the old one.
        let is_kept = !state.is_changed || change.name.is_some();
        let content = if is_kept { Content::Same } else { Content::Other };
        if change.name.is_some() || change.identity.is_some() {
            self.write_parent(&change).map_err(|refusal| refusal.into_error(&self.name))?;
            state.is_changed = true;
        }
        if std::mem::take(&mut state.is_emptied) {
            self.drop_blocks()?;
        }
        if std::mem::take(&mut state.is_changed) {
            let (header, index) = state.header;
            let next = header.next(header.log_guid, content);
            write_headers(&*self.in_place, &next, index)?;
            state.header = (next.following(), index);
            state.fresh = Bits::default();
        }
        match durability {
            Durability::Durable => Ok(self.in_place.sync()?),
            Durability::Volatile => Ok(()),
        }
    }
}

/// Of a differencing disk.
impl Overlay for Vhdx {
    fn set_backing(&self, reference: Option<&BackingReference>) -> Result<()> {
        self.state().parent.rename(Format::Vhdx, reference)
    }

    fn make_empty(&self) -> Result<()> {
        let mut state = self.state();
        for index in 0..self.table.count() {
            if self.table.get(index)?.get() != 0 {
                self.table.set_spilling(index, U64::ZERO)?;
            }
        }
        state.fresh = Bits::default();
        (state.is_changed, state.is_emptied) = (true, true);
        Ok(())
    }
}
