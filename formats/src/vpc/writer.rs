//! Writing into a VPC image.
//!
//! Bytes that are there are written where they are. A block that is not there goes to the end of the
//! file, its bitmap over the footer, which is written anew behind it.

use std::sync::Arc;

use journal::{Disk, Zeroing};
use zerocopy::IntoBytes;
use zerocopy::big_endian::U32;

use super::batmap::Batmap;
use super::blocks::{Blocks, State};
use super::footer::FOOTER_SIZE;
use super::header::{HEADER_SIZE, UNALLOCATED};
use super::{Layout, Vpc, read_header};
use crate::paged_table::Bits;
use crate::raw::{SECTOR, sectors};
use crate::sector_bitmap::FirstBit;
use crate::{
    Allocation, BackingReference, Driver, Durability, Error, ErrorKind, Format, GuestOffset, HostOffset,
    Overlay, Result, Writer,
};

impl Vpc {
    /// The disk to write to at a place of the file.
    fn disk_for(&self, host: u64, state: &State) -> &Arc<dyn Disk> {
        if host >= state.fresh_from { &self.disk } else { &self.in_place }
    }

    /// Where a guest block is in the file, its bitmap first; if it is nowhere, it gets a place.
    fn place(&self, blocks: &Blocks, block: u64, whole: bool, state: &mut State) -> Result<u64> {
        if let Some(host) = blocks.host(block)? {
            let table = blocks.header.table_offset..blocks.header.table_end();
            let is_before = host.saturating_add(blocks.header.stride()) <= table.start;
            if host < HEADER_SIZE + FOOTER_SIZE || !is_before && host < table.end {
                return Err(Error::corrupt("A block lies over the block table"));
            }
            return Ok(host);
        }
        let host = state.free;
        let entry = u32::try_from(host / SECTOR).ok().filter(|&entry| entry < UNALLOCATED);
        let entry = entry.ok_or_else(|| {
            Error::new(ErrorKind::TooLarge, "The image file would exceed the limits of its format")
        })?;
        let end = host + blocks.header.stride();
        let data = host + blocks.header.bitmap_size();
        let len = self.disk.len()?;
        if !whole && data < len {
            // Bitmaps are as large as a footer at least, which is all that the committed image has here.
            self.disk.zero(data..end.min(len), Zeroing::Keep)?;
        }
        if end + FOOTER_SIZE > len {
            self.disk.set_len(end + FOOTER_SIZE)?;
        }
        // What a parent has shows through until it is written.
        let mark = if blocks.is_differencing { 0 } else { 0xff };
        let bitmap = vec![mark; blocks.header.bitmap_size() as usize];
        self.disk_for(host, state).write_at(host, &bitmap)?;
        if let Some(batmap) = &blocks.batmap {
            batmap.forget(block)?;
        }
        blocks.table.set(block, U32::new(entry))?;
        if !blocks.is_differencing {
            state.learn_full(blocks, block);
        }
        (state.free, state.has_grown) = (end, true);
        Ok(host)
    }

    /// Marks the sectors of a range within one block as in use.
    fn mark(&self, blocks: &Blocks, at: u64, len: u64) -> Result<()> {
        let (block, within) = (at / blocks.header.block_size, at % blocks.header.block_size);
        let mut state = blocks.state();
        if state.full.contains(block) {
            return Ok(());
        }
        let Some(host) = blocks.host(block)? else { return Ok(()) };
        let mut bitmap = vec![0; blocks.header.bitmap_size() as usize];
        self.in_place.read_padded(host, &mut bitmap)?;
        let before = bitmap.clone();
        for sector in within / SECTOR..(within + len).div_ceil(SECTOR) {
            if let Some(byte) = bitmap.get_mut((sector / 8) as usize) {
                *byte |= FirstBit::Highest.mask(sector);
            }
        }
        if bitmap != before {
            self.in_place.write_at(host, &bitmap)?;
        }
        if bitmap.iter().all(|&byte| byte == 0xff) {
            state.learn_full(blocks, block);
        }
        Ok(())
    }
}

impl Vpc {
    /// Writes what has become of the parent.
    fn write_parent(&self, state: &mut State) -> Result<()> {
        let change = std::mem::take(&mut state.parent);
        if change.name.is_none() && change.identity.is_none() {
            return Ok(());
        }
        let mut header = read_header(&*self.in_place, &self.footer)?;
        let place = |room: u64| {
            let at = state.free;
            (state.free, state.has_grown) = (at + room, true);
            at
        };
        let name = header.change_parent(&change, place);
        self.in_place.write_at(self.footer.data_offset.get(), header.as_bytes())?;
        let Some(name) = name else { return Ok(()) };
        // A new place begins where the committed image has its footer.
        Ok(self.in_place.write_at(name.at, &name.bytes)?)
    }
}

/// Of a differencing disk.
impl Overlay for Vpc {
    fn set_backing(&self, reference: Option<&BackingReference>) -> Result<()> {
        let Layout::Dynamic(blocks) = &self.layout else {
            return Err(Error::unsupported("Operation not supported"));
        };
        blocks.state().parent.rename(Format::Vpc, reference)
    }

    fn make_empty(&self) -> Result<()> {
        let Layout::Dynamic(blocks) = &self.layout else {
            return Err(Error::unsupported("Operation not supported"));
        };
        let mut state = blocks.state();
        for block in 0..blocks.table.count() {
            if blocks.host(block)?.is_some() {
                blocks.table.set_spilling(block, U32::new(UNALLOCATED))?;
            }
        }
        let names_end = sectors(read_header(&*self.in_place, &self.footer)?.names_end());
        let batmap_end = blocks.batmap.as_ref().map_or(0, |batmap| batmap.end);
        blocks.batmap.as_ref().map_or(Ok(()), Batmap::forget_all)?;
        let end = blocks.header.table_end().max(names_end).max(batmap_end);
        (state.free, state.has_grown) = (end.min(state.free), true);
        Ok(())
    }
}

impl State {
    fn learn_full(&mut self, blocks: &Blocks, block: u64) {
        if self.full.is_empty() {
            self.full = Bits::new(blocks.header.entries.into());
        }
        self.full.insert(block);
    }
}

/// A fixed disk ends before its footer.
fn check_room(room: u64, at: u64, len: u64) -> Result<()> {
    match at.checked_add(len) {
        Some(end) if end <= room => Ok(()),
        _ => Err(Error::corrupt("The file is too short for the disk")),
    }
}

impl Writer for Vpc {
    fn granularity(&self) -> u64 {
        match &self.layout {
            Layout::Dynamic(blocks) if blocks.is_differencing => SECTOR,
            _ => 1,
        }
    }

    fn prepare(&self, at: GuestOffset, len: u64) -> Result<Allocation> {
        let blocks = match &self.layout {
            Layout::Dynamic(blocks) => blocks,
            Layout::Fixed { room } => {
                check_room(*room, at.0, len)?;
                let disk = Arc::clone(&self.in_place);
                return Ok(Allocation { at, len, disk, offset: HostOffset(at.0) });
            }
        };
        let header = &blocks.header;
        let within = at.0 % header.block_size;
        let mut state = blocks.state();
        let mut len = len.min(header.block_size - within);
        let whole = len == header.block_size;
        let host = self.place(blocks, at.0 / header.block_size, whole, &mut state)?;
        let host = host + header.bitmap_size() + within;
        if host < state.fresh_from {
            len = len.min(state.fresh_from - host);
        }
        let disk = Arc::clone(self.disk_for(host, &state));
        Ok(Allocation { at, len, disk, offset: HostOffset(host) })
    }

    /// The block has been entered already: until its sectors are marked they read as before.
    fn link(&self, allocation: &Allocation) -> Result<()> {
        match &self.layout {
            Layout::Fixed { .. } => Ok(()),
            Layout::Dynamic(blocks) => self.mark(blocks, allocation.at.0, allocation.len),
        }
    }

    fn zero(&self, at: GuestOffset, len: u64, how: Zeroing) -> Result<()> {
        let end = at.0.saturating_add(len);
        let blocks = match &self.layout {
            Layout::Dynamic(blocks) => blocks,
            Layout::Fixed { room } => {
                check_room(*room, at.0, len)?;
                return Ok(self.in_place.zero(at.0..end, how)?);
            }
        };
        let mut start = at.0;
        while start < end {
            let within = start % blocks.header.block_size;
            let len = (end - start).min(blocks.header.block_size - within);
            if blocks.is_differencing || blocks.host(start / blocks.header.block_size)?.is_some() {
                let run = self.prepare(GuestOffset(start), len)?;
                run.disk.zero(run.offset.0..run.offset.0 + run.len, how)?;
                self.link(&run)?;
                start += run.len;
            } else {
                start += len;
            }
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
        if let (Layout::Dynamic(blocks), Some(_), Format::Vpc) =
            (&self.layout, &self.parent, backing.format())
        {
            blocks.state().parent.identity = backing.identity().ok().flatten();
        }
    }

    fn overlay(&self) -> Option<&dyn Overlay> {
        self.parent.is_some().then_some(self as _)
    }

    fn commit(&self, durability: Durability) -> Result<()> {
        if let Layout::Dynamic(blocks) = &self.layout {
            let mut state = blocks.state();
            blocks.table.flush()?;
            blocks.batmap.as_ref().map_or(Ok(()), Batmap::flush)?;
            self.write_parent(&mut state)?;
            if std::mem::take(&mut state.has_grown) {
                let end = state.free + FOOTER_SIZE;
                self.disk_for(state.free, &state).write_at(state.free, self.footer.as_bytes())?;
                if self.disk.len()? > end {
                    self.in_place.set_len(end)?;
                }
                state.fresh_from = state.fresh_from.max(end);
            }
        }
        match durability {
            Durability::Durable => Ok(self.in_place.sync()?),
            Durability::Volatile => Ok(()),
        }
    }
}
