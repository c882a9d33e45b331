//! Growing.
//!
//! A table that has no room for more entries goes to the end of the file.

use std::sync::Arc;

use zerocopy::IntoBytes;

use super::blocks::Blocks;
use super::footer::FOOTER_SIZE;
use super::header::Header;
use super::{Layout, Vpc, read_header};
use crate::options::VpcOptions;
use crate::raw::sectors;
use crate::registry::Source;
use crate::resizable::{Grow, clear, copy};
use crate::{Durability, OpenFlags, Result, Writer};

impl Grow for Vpc {
    /// A differencing disk has its parent's size.
    fn can_grow(&self) -> bool {
        match &self.layout {
            Layout::Fixed { room } => *room >= self.size,
            // Xen looks for a batmap behind the table.
            Layout::Dynamic(blocks) => self.parent.is_none() && blocks.batmap.is_none(),
        }
    }

    fn grow(&self, size: u64) -> Result<Self> {
        self.commit(Durability::Volatile)?;
        let old = self.reopened()?;
        let told = old.size_in.unwrap_or_else(|| old.footer.size_in());
        let (footer, size) = old.footer.grown(size, told)?;
        let footer_at = match &old.layout {
            Layout::Fixed { room } => {
                clear(&*self.in_place, old.size..room + FOOTER_SIZE)?;
                // The committed image ends in its footer.
                self.in_place.set_len(size + FOOTER_SIZE)?;
                size
            }
            Layout::Dynamic(blocks) => {
                old.clear_tail(blocks)?;
                let at = old.grow_table(blocks, size)?;
                self.in_place.write_at(0, footer.as_bytes())?;
                at
            }
        };
        self.in_place.write_at(footer_at, footer.as_bytes())?;
        self.reopened()
    }
}

impl Vpc {
    fn reopened(&self) -> Result<Self> {
        let flags = OpenFlags { access: self.access, ..OpenFlags::READ };
        let options = VpcOptions { size_in: self.size_in, ..VpcOptions::default() };
        Self::open(Source::alone(Arc::clone(&self.disk), &flags, ""), &options)
    }

    /// What the last block has behind the disk's end must not show.
    fn clear_tail(&self, blocks: &Blocks) -> Result<()> {
        let block_size = blocks.header.block_size;
        let within = self.size % block_size;
        if within == 0 {
            return Ok(());
        }
        let Some(host) = blocks.host(self.size / block_size)? else { return Ok(()) };
        let start = host + blocks.header.bitmap_size();
        clear(&*self.in_place, start + within..start + block_size)
    }

    /// Gives the table entries for a disk of that size. Where the footer goes.
    fn grow_table(&self, blocks: &Blocks, size: u64) -> Result<u64> {
        let (header, free) = (&blocks.header, blocks.state().free);
        let entries = header.entries_for(size)?;
        if entries <= header.entries {
            return Ok(free);
        }
        let old_end = header.table_offset + u64::from(header.entries) * 4;
        let new = Header { entries, ..*header };
        let (at, end) = if new.table_end() <= header.table_end() {
            let added = u64::from(entries - header.entries) * 4;
            self.in_place.write_at(old_end, &vec![0xff; added as usize])?;
            (header.table_offset, free)
        } else {
            // Behind the footer there is nothing that is committed.
            let at = free + FOOTER_SIZE;
            let end = at + sectors(u64::from(entries) * 4);
            self.disk.set_len(end + FOOTER_SIZE)?;
            let old_len = old_end - header.table_offset;
            copy(&*self.in_place, header.table_offset, &*self.disk, at, old_len)?;
            self.fill_table(at + old_len, end)?;
            (at, end)
        };
        let raw = read_header(&*self.in_place, &self.footer)?.with_table(at, entries);
        self.in_place.write_at(self.footer.data_offset.get(), raw.as_bytes())?;
        Ok(end)
    }

    /// Makes entries of blocks that are not there.
    fn fill_table(&self, start: u64, end: u64) -> Result<()> {
        let ones = [0xff; 64 << 10];
        let mut at = start;
        while at < end {
            let len = (end - at).min(ones.len() as u64);
            self.disk.write_at(at, &ones[..len as usize])?;
            at += len;
        }
        Ok(())
    }
}
