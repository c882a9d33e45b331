//! Writing into a VDI image.
//!
//! A guest block that is there is written where it is; one that is not takes a free block of the file.

use std::ops::Range;
use std::sync::{Arc, MutexGuard, PoisonError};

use journal::{Disk, Zeroing};
use zerocopy::IntoBytes;
use zerocopy::little_endian::U32;

use super::Vdi;
use super::header::{ALLOCATED_OFFSET, BLOCK_SIZE};
use crate::paged_table::Bits;
use crate::{Allocation, Durability, Error, GuestOffset, HostOffset, Result, Writer};

/// Which blocks of the file are in use.
#[derive(Debug)]
pub(super) struct Space {
    used: Bits,
    /// Those that the committed image does not use.
    fresh: Bits,
    /// Where free blocks are looked for first.
    next: u64,
    /// Blocks in use, as the header counts them.
    allocated: u32,
}

impl Vdi {
    /// The blocks in use, found out when they are first needed.
    fn space<'a>(&self, space: &'a mut Option<Space>) -> Result<&'a mut Space> {
        match space {
            Some(space) => Ok(space),
            None => Ok(space.insert(self.look_for_space()?)),
        }
    }

    fn look_for_space(&self) -> Result<Space> {
        if self.header.data_offset < self.header.table_end() {
            return Err(Error::corrupt("The blocks lie over the block map"));
        }
        let count = u64::from(self.header.blocks);
        let mut used = Bits::new(count);
        for guest_block in 0..count {
            if let Some(block) = self.block(guest_block)? {
                used.insert(block.into());
            }
        }
        let allocated = self.header.allocated;
        Ok(Space { used, fresh: Bits::default(), next: allocated.into(), allocated })
    }

    fn locked(&self) -> MutexGuard<'_, Option<Space>> {
        self.space.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a guest block's bytes are to be written, and whether the committed image looks there.
    fn place(&self, guest_block: u64, whole: bool) -> Result<(u32, bool)> {
        let mut guard = self.locked();
        if let Some(block) = self.block(guest_block)? {
            let fresh = guard.as_ref().is_some_and(|space| space.fresh.contains(block.into()));
            return Ok((block, !fresh));
        }
        let space = self.space(&mut guard)?;
        let block = space.take(self.header.blocks)?;
        let start = self.header.host(block);
        self.make_room(start..start + BLOCK_SIZE, whole)?;
        self.table.set(guest_block, U32::new(block))?;
        space.allocated = space.allocated.saturating_add(1);
        Ok((block, false))
    }

    /// Gives a new block its place in the file, with zeroes where nothing will be written.
    fn make_room(&self, range: Range<u64>, whole: bool) -> Result<()> {
        let len = self.disk.len()?;
        if !whole && range.start < len {
            self.disk.zero(range.start..range.end.min(len), Zeroing::Keep)?;
        }
        if range.end > len {
            self.disk.set_len(range.end)?;
        }
        Ok(())
    }

    fn disk_for(&self, is_committed: bool) -> &Arc<dyn Disk> {
        if is_committed { &self.in_place } else { &self.disk }
    }
}

impl Space {
    /// Takes a free block.
    fn take(&mut self, blocks: u32) -> Result<u32> {
        let count = u64::from(blocks);
        let found = self.used.first_absent(self.next.min(count));
        let found = if found < count { found } else { self.used.first_absent(0) };
        let block = u32::try_from(found).ok().filter(|&block| block < blocks);
        let block = block.ok_or_else(|| Error::corrupt("The image has no free block"))?;
        if self.fresh.is_empty() {
            self.fresh = Bits::new(count);
        }
        self.used.insert(found);
        self.fresh.insert(found);
        self.next = found + 1;
        Ok(block)
    }
}

impl Writer for Vdi {
    fn granularity(&self) -> u64 {
        1
    }

    fn prepare(&self, at: GuestOffset, len: u64) -> Result<Allocation> {
        let within = at.0 % BLOCK_SIZE;
        let len = len.min(BLOCK_SIZE - within);
        let (block, is_committed) = self.place(at.0 / BLOCK_SIZE, len == BLOCK_SIZE)?;
        let offset = HostOffset(self.header.host(block) + within);
        Ok(Allocation { at, len, disk: Arc::clone(self.disk_for(is_committed)), offset })
    }

    /// The block has been entered already: until it is written it reads as before, as zeroes.
    fn link(&self, _allocation: &Allocation) -> Result<()> {
        Ok(())
    }

    fn zero(&self, at: GuestOffset, len: u64, how: Zeroing) -> Result<()> {
        let end = at.0.saturating_add(len);
        let mut start = at.0;
        while start < end {
            let (guest_block, within) = (start / BLOCK_SIZE, start % BLOCK_SIZE);
            let len = (end - start).min(BLOCK_SIZE - within);
            if let Some(block) = self.block(guest_block)? {
                let guard = self.locked();
                let fresh = guard.as_ref().is_some_and(|space| space.fresh.contains(block.into()));
                drop(guard);
                let host = self.header.host(block) + within;
                self.disk_for(!fresh).zero(host..host + len, how)?;
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

    fn commit(&self, durability: Durability) -> Result<()> {
        let mut guard = self.locked();
        self.table.flush()?;
        if let Some(space) = guard.as_mut() {
            self.in_place.write_at(ALLOCATED_OFFSET, U32::new(space.allocated).as_bytes())?;
            space.fresh = Bits::default();
        }
        match durability {
            Durability::Durable => Ok(self.in_place.sync()?),
            Durability::Volatile => Ok(()),
        }
    }
}
