//! Growing.
//!
//! A block table that has no room for more entries goes to the end of the file, in whole MiB.

use std::sync::Arc;

use zerocopy::little_endian::U64;

use super::bat::Block;
use super::header::{Content, MIB, Region, move_block_table};
use super::metadata::{MAX_SIZE, Metadata, write_size};
use super::{Refusal, Vhdx, write_headers};
use crate::paged_table::PagedTable;
use crate::registry::Source;
use crate::resizable::{Grow, clear, copy};
use crate::{Durability, Error, Result, Writer};

impl Grow for Vhdx {
    /// What a differencing disk would show of its parent behind its end must not show.
    fn can_grow(&self) -> bool {
        self.parent.is_none()
    }

    fn grow(&self, size: u64) -> Result<Self> {
        self.commit(Durability::Volatile)?;
        let old = self.reopened()?;
        let size = size.checked_next_multiple_of(old.metadata.sector_size).filter(|&size| size <= MAX_SIZE);
        let size = size.ok_or_else(|| Error::invalid("Image size too large; max of 64TB"))?;
        let new = Metadata { size, ..old.metadata };
        old.clear_tail()?;
        let bat = old.grow_table(&new).map_err(|refusal| refusal.into_error(&self.name))?;
        if new.is_fixed {
            old.allocate(&new, bat)?;
        }
        write_size(&*self.in_place, self.metadata_region, size)
            .map_err(|refusal| refusal.into_error(&self.name))?;
        let (header, index) = old.header();
        write_headers(&*self.in_place, &header.next(header.log_guid, Content::Other), index)?;
        self.reopened()
    }
}

impl Vhdx {
    fn reopened(&self) -> Result<Self> {
        Self::open(Source::alone(Arc::clone(&self.file), &self.flags, &self.name))
    }

    /// What the last block has behind the disk's end must not show.
    fn clear_tail(&self) -> Result<()> {
        let block_size = self.metadata.block_size;
        let (last, within) = (self.metadata.size / block_size, self.metadata.size % block_size);
        if within == 0 {
            return Ok(());
        }
        match self.block(last)? {
            Block::Present(host) => {
                clear(&*self.in_place, host.saturating_add(within)..host.saturating_add(block_size))
            }
            _ => Ok(()),
        }
    }

    /// Gives the table entries for a larger disk. Where it is then.
    fn grow_table(&self, new: &Metadata) -> std::result::Result<Region, Refusal> {
        let used = match self.metadata.blocks() {
            0 => 0,
            blocks => (self.metadata.entry_of(blocks - 1) + 1) * size_of::<U64>() as u64,
        };
        let needed = new.entries() * size_of::<U64>() as u64;
        if needed <= self.bat.length.into() {
            clear(&*self.in_place, self.bat.offset + used..self.bat.offset + needed)?;
            return Ok(self.bat);
        }
        let length = u32::try_from(needed.next_multiple_of(MIB)).map_err(|_| Refusal::Invalid)?;
        let bat = Region { offset: self.file.len()?.next_multiple_of(MIB), length };
        self.file.set_len(bat.offset + u64::from(length))?;
        copy(&*self.in_place, self.bat.offset, &*self.file, bat.offset, used)?;
        move_block_table(&*self.in_place, bat)?;
        Ok(bat)
    }

    /// Gives the new blocks of a fixed disk their places.
    fn allocate(&self, new: &Metadata, bat: Region) -> Result<()> {
        let start = self.file.len()?.next_multiple_of(MIB);
        let first = self.metadata.blocks();
        let table = PagedTable::new(Arc::clone(&self.in_place), bat.offset, new.entries());
        for block in first..new.blocks() {
            let host = start + (block - first) * new.block_size;
            table.set_spilling(new.entry_of(block), U64::new(Block::present(host)))?;
        }
        table.flush()?;
        Ok(self.file.set_len(start + (new.blocks() - first) * new.block_size)?)
    }
}
