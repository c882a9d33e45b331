//! Growing.
//!
//! Where the table meets the blocks, the blocks that stand first go to the end of the file. Blocks are counted
//! from where the first one stands, so all of them get other numbers then.

use zerocopy::little_endian::U32;

use super::Vdi;
use super::header::{BLOCK_SIZE, DISCARDED, Header, RawHeader, UNALLOCATED};
use crate::paged_table::{Bits, PAGE_ENTRIES, PagedTable};
use crate::raw::SECTOR;
use crate::resizable::{Grow, clear, copy};
use crate::{Durability, OpenFlags, Result, Writer};

impl Grow for Vdi {
    fn grow(&self, size: u64) -> Result<Self> {
        self.commit(Durability::Volatile)?;
        let old = self.reopened()?;
        old.clear_tail()?;
        let (mut header, shift) = old.header.grown(size)?;
        let mut moves = Moves::new(&old, &header, shift)?;
        moves.make_room()?;
        let table = PagedTable::new(self.in_place.clone(), header.table_offset, header.blocks.into());
        header.allocated = moves.fill(&table)?;
        table.flush()?;
        let mut bytes = [0; SECTOR as usize];
        self.in_place.read_padded(0, &mut bytes)?;
        self.in_place.write_at(0, &RawHeader::resized(&bytes, &header))?;
        self.reopened()
    }
}

impl Vdi {
    fn reopened(&self) -> Result<Self> {
        Self::open(self.disk.clone(), &OpenFlags { access: self.access, ..OpenFlags::READ })
    }

    /// What the last block has behind the disk's end must not show.
    fn clear_tail(&self) -> Result<()> {
        let within = self.header.size % BLOCK_SIZE;
        match self.header.size.checked_sub(within).filter(|_| within != 0) {
            Some(start) => match self.block(start / BLOCK_SIZE)? {
                Some(block) => {
                    let host = self.header.host(block);
                    clear(&*self.in_place, host + within..host + BLOCK_SIZE)
                }
                None => Ok(()),
            },
            None => Ok(()),
        }
    }
}

/// Where blocks go. Numbers count from where the old first block stands, unless it is said otherwise.
struct Moves<'a> {
    old: &'a Vdi,
    new: &'a Header,
    /// How many blocks make way for the table.
    shift: u32,
    used: Bits,
    next: u64,
    /// Blocks that have made way, by their old numbers, and where they are.
    moved: Vec<(u32, u32)>,
}

impl<'a> Moves<'a> {
    fn new(old: &'a Vdi, new: &'a Header, shift: u32) -> Result<Self> {
        let mut used = Bits::new(u64::from(new.blocks) + u64::from(shift));
        for guest_block in 0..u64::from(old.header.blocks) {
            if let Some(block) = old.block(guest_block)? {
                used.insert(block.into());
            }
        }
        Ok(Self { old, new, shift, used, next: shift.into(), moved: Vec::new() })
    }

    /// Takes a free place. There are as many as the new disk has blocks.
    fn take(&mut self) -> u32 {
        let place = self.used.first_absent(self.next);
        self.used.insert(place);
        self.next = place + 1;
        place as u32
    }

    /// Copies the blocks that stand where the table is to be.
    fn make_room(&mut self) -> Result<()> {
        for block in 0..self.shift {
            if !self.used.contains(block.into()) {
                continue;
            }
            let place = self.take();
            let (from, to) = (self.old.header.host(block), self.old.header.host(place));
            copy(&*self.old.in_place, from, &*self.old.disk, to, BLOCK_SIZE)?;
            self.moved.push((block, place));
        }
        Ok(())
    }

    /// The entry of a block in the new table.
    fn entry(&self, old: u32) -> u32 {
        if old >= DISCARDED {
            return old;
        }
        let moved = self.moved.binary_search_by_key(&old, |&(block, _)| block).ok();
        let place = moved.and_then(|index| self.moved.get(index)).map_or(old, |&(_, place)| place);
        place.saturating_sub(self.shift)
    }

    /// Fills the new table, which may lie over the old one. How many blocks it has.
    fn fill(&mut self, table: &PagedTable<U32>) -> Result<u32> {
        let old_blocks = u64::from(self.old.header.blocks);
        let mut index = 0;
        while index < old_blocks && self.shift != 0 {
            for (number, entry) in (index..).zip(self.old.table.run(index, PAGE_ENTRIES)?) {
                table.set_spilling(number, U32::new(self.entry(entry.get())))?;
                index = number + 1;
            }
        }
        let mut allocated = self.old.header.allocated;
        for index in old_blocks..self.new.blocks.into() {
            let entry = match self.new.is_static {
                true => {
                    allocated = allocated.saturating_add(1);
                    self.take_zeroed()?
                }
                false => UNALLOCATED,
            };
            table.set_spilling(index, U32::new(entry))?;
        }
        Ok(allocated)
    }

    /// Gives a block of a static disk its place. The entry in the new table.
    fn take_zeroed(&mut self) -> Result<u32> {
        let place = self.take();
        let start = self.old.header.host(place);
        clear(&*self.old.disk, start..start + BLOCK_SIZE)?;
        if self.old.disk.len()? < start + BLOCK_SIZE {
            self.old.disk.set_len(start + BLOCK_SIZE)?;
        }
        Ok(place - self.shift)
    }
}
